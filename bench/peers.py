"""`python -m bench.peers`: the contacts of a case, asked of Lacak's index and of what else one might use.

Each peer runs in a process of its own, loads the same visits (bench.population) in its best reasonable form, and is
asked the same questions. All answers must be equal; the command fails when they are not. See docs/peers.md.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import bench_folder, describe, peak_mib, resident_mib
from bench.ours import Ours
from bench.peer import PROFILE, Contacts, Peer, PeerMissing
from bench.peers_databases import Duckdb, DuckdbIndexed, PostgresBtree, PostgresRange
from bench.peers_memory import Networkx, Numpy, Polars, PolarsSearch
from bench.population import Population, Visits

PEERS: Final[dict[str, type[Peer]]] = {
    "ours": Ours,
    "postgres": PostgresRange,
    "postgres-btree": PostgresBtree,
    "duckdb": Duckdb,
    "duckdb-index": DuckdbIndexed,
    "polars": Polars,
    "polars-search": PolarsSearch,
    "numpy": Numpy,
    "networkx": Networkx,
}
_REFERENCE: Final = Numpy
_ROUNDS: Final = 5


class Task(msgspec.Struct, frozen=True):
    """What one child process does."""

    peer: str
    visits: int
    questions: int
    seed: int
    threads: int
    seconds: float


class Measured(msgspec.Struct):
    """One peer. `load_seconds` is without the making of the visits; `resident_mib` is what loading added.

    `ms` has p50, p95, p99 and max over the questions, each the median of `rounds`; `contacts` the sizes of the answers.
    """

    name: str
    form: str
    missing: str = ""
    load_seconds: float = 0.0
    resident_mib: float = 0.0
    peak_mib: float = 0.0
    disk_mib: float = 0.0
    rounds: int = 0
    ms: dict[str, float] = {}
    contacts: dict[str, float] = {}
    notes: dict[str, Any] = {}
    answers: list[str] = []
    wanted: list[str] | None = None


class Paced:
    """The days of a population, and how long it took to make them."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Visits]:
        days = self._population.days()
        while True:
            began = time.perf_counter()
            visits = next(days, None)
            self.seconds += time.perf_counter() - began
            if visits is None:
                return
            yield visits


def measure(task: Task) -> Measured:
    """Load and ask one peer, in this process."""
    kind = PEERS[task.peer]
    population = Population(task.visits, task.seed)
    window = population.start_ms, population.end_ms
    persons = [question.person for question in population.questions(task.questions)]
    found = Measured(kind.name, kind.form)
    with bench_folder() as folder:
        peer = kind(window, folder, task.threads)
        try:
            days, before, began = Paced(population), resident_mib(), time.perf_counter()
            peer.load(days)
            found.load_seconds = round(time.perf_counter() - began - days.seconds, 2)
            gc.collect()
            found.resident_mib = round(resident_mib() - before, 1)
            found.peak_mib = round(peak_mib() - before, 1)
            found.disk_mib = round(peer.disk_bytes() / 2**20, 1)
            found.notes = peer.notes()
            answers = [peer.ask(person) for person in persons]
            found.answers = [digest(answer) for answer in answers]
            found.contacts = _sizes([len(answer.person) for answer in answers])
            _time(peer, persons, task.seconds, found)
            venues = peer.venues()
            if venues is not None:
                reference = _REFERENCE(window, folder)
                reference.load(_at(population.days(), venues))
                found.wanted = [digest(reference.ask(person)) for person in persons]
        except PeerMissing as error:
            found.missing = str(error)
        finally:
            peer.close()
    return found


def _time(peer: Peer, persons: Sequence[int], seconds: float, found: Measured) -> None:
    """Ask everything in rounds, until there are enough or the time is up."""
    gc.freeze()  # what was loaded is not looked through again while others are timed
    rounds: list[list[float]] = []
    deadline = time.monotonic() + seconds
    while len(rounds) < _ROUNDS and (not rounds or time.monotonic() < deadline):
        times = []
        for person in persons:
            began = time.perf_counter()
            peer.ask(person)
            times.append(1000 * (time.perf_counter() - began))
        rounds.append(times)
    found.rounds = len(rounds)
    found.ms = _quantiles(np.median(rounds, axis=0).tolist(), 3)


def _quantiles(values: Sequence[float], digits: int) -> dict[str, float]:
    points = np.quantile(values, [0.5, 0.95, 0.99, 1.0])
    return {name: round(float(value), digits) for name, value in zip(("p50", "p95", "p99", "max"), points, strict=True)}


def _sizes(counts: Sequence[int]) -> dict[str, float]:
    return {**_quantiles(counts, 0), "all": float(sum(counts))}


def _at(days: Iterator[Visits], venues: np.ndarray[Any, np.dtype[np.uint32]]) -> Iterator[Visits]:
    """The visits at some venues only."""
    for visits in days:
        yield visits.of(np.isin(visits.venue, venues))


def digest(answer: Contacts) -> str:
    """A few letters that say what the answer is, in whatever order it came."""
    columns = answer.ordered()
    state = hashlib.blake2b(np.int64(len(columns.person)).tobytes(), digest_size=12)
    for column in columns:
        state.update(np.ascontiguousarray(column, np.int64).tobytes())
    return state.hexdigest()


def differing(found: Sequence[Measured]) -> list[str]:
    """Sentences about answers that are not the same; empty when all is well.

    Peers are held against the reference, or the first where it was not measured; one that holds a part of the visits
    against the reference over that part.
    """
    said = []
    whole = [each for each in found if each.answers and each.wanted is None]
    whole.sort(key=lambda each: each.name != _REFERENCE.name)
    for each in found:
        if not each.answers:
            continue
        wanted, whose = (whole[0].answers, whole[0].name) if each.wanted is None else (each.wanted, _REFERENCE.name)
        wrong = sum(mine != theirs for mine, theirs in zip(each.answers, wanted, strict=True))
        if wrong:
            said.append(f"{each.name} answers {wrong} of {len(wanted)} questions otherwise than {whose}.")
    return said


def _told(found: Measured) -> dict[str, Any]:
    """A peer's figures, without its answers."""
    return {name: value for name, value in msgspec.to_builtins(found).items() if name not in ("answers", "wanted")}


def in_a_child(task: Task) -> Measured:
    """Measure in a fresh process. Raises RuntimeError when it ends without a word."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(task, theirs))
    child.start()
    theirs.close()
    try:
        found = msgspec.msgpack.decode(ours.recv_bytes(), type=Measured)
    except EOFError:
        raise RuntimeError(f"the process of {task.peer} ended without an answer (out of memory?)") from None
    finally:
        child.join()
    return found


def _child(task: Task, pipe: Connection) -> None:
    pipe.send_bytes(msgspec.msgpack.encode(measure(task)))


def table(found: Sequence[Measured]) -> Table:
    """What was measured, for people."""
    shown = Table("", "load s", "MiB", "on disk", "p50 ms", "p95", "p99", "rounds", box=None, header_style="bold")
    for each in found:
        if each.missing:
            shown.add_row(each.name, each.missing)
            continue
        part = " *" if each.wanted is not None else ""
        cells = [f"{each.load_seconds:.1f}", f"{each.resident_mib:,.0f}", f"{each.disk_mib:,.0f}"]
        cells += [f"{each.ms[point]:.2f}" for point in ("p50", "p95", "p99")]
        shown.add_row(each.name + part, *cells, str(each.rounds))
    return shown


def main() -> int:
    """Measure all peers, or those named, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)} (default: all)")
    parser.add_argument("--visits", type=int, default=20_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of DuckDB and polars (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="after which no new round is begun (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the visits and questions (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/bench-peers.json"), help="(default: %(default)s)")
    given = parser.parse_args()
    unknown = sorted(set(given.peers) - set(PEERS))
    if unknown:
        parser.error(f"there is no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    console, progress = Console(), Console(stderr=True)
    found = []
    for peer in given.peers or PEERS:
        progress.print(f"{PEERS[peer].name}: {PEERS[peer].form}", highlight=False)
        task = Task(peer, given.visits, given.questions, given.seed, given.threads, given.seconds)
        found.append(in_a_child(task))
    machine, said = describe(), differing(found)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    what = f"the contacts of a case ({PROFILE}, 14 days): ms from asking to the answer in memory"
    data = {"what": what, "machine": machine, "visits": given.visits, "questions": given.questions}
    data |= {"all_equal": not said, "peers": [_told(each) for each in found]}
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(data)) + b"\n")
    console.print(table(found))
    for each in found:
        if each.wanted is not None:
            console.print(f"* {each.name} holds a part: {each.notes}", highlight=False)
    sizes = next((each.contacts for each in found if each.contacts and each.wanted is None), None)
    if sizes:
        console.print(f"{given.visits:,} visits; contacts in an answer: {sizes}", highlight=False)
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    for sentence in said:
        progress.print(sentence, style="red")
    return 1 if said else 0


if __name__ == "__main__":
    raise SystemExit(main())

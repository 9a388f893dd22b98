"""`python -m bench.index`: what the visit index costs to build, hold, open and ask, at up to 112 million visits.

Every measurement is a process of its own on one core. The visits are `bench.population`'s, given as arrays; the index
is what a places worker holds after two weeks: all days settled in files, the directory of persons beside them.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.arrivals import Arrivals
from bench.holding import Holding, names_of, one
from bench.hops import Searcher
from bench.machine import bench_folder, describe, page_us
from bench.peer import Contacts, minimum_ms, most_shared
from bench.population import FULL_VISITS, Population, Question, Visits
from contacts.archive import MemoryShelf
from contacts.columns import Ints
from contacts.index import VisitIndex
from contacts.meetings import meetings
from streams.people_file import PeopleFile
from streams.shelf import FileShelf
from streams.snapshots import SnapshotStore

_CLUSTER: Final = "bench"
_TOPIC: Final = "visits"
_RATE: Final = 50_000
_ASKED_AT_ONCE: Final = 5
_IDLE_S: Final = 5.0
"""Of the pages that a question reads under load, most were not read by another for about as long."""

Found = dict[str, Any]


def build(folder: Path, visits: int, partitions: int) -> Found:
    """Build the index from arrays and leave its snapshots in the folder. CPU counts the index's own work alone."""
    population = Population(visits)
    store = SnapshotStore(folder, _CLUSTER)
    people = PeopleFile(folder, "people", _CLUSTER)
    shelves = [FileShelf(store.home(_TOPIC, partition)) for partition in range(partitions)]
    holding = Holding(population.venues, population.start_ms, list(shelves), people.people)
    cpu, began = 0.0, time.process_time()
    for names in names_of(population.people, population.seed):
        began = time.process_time()
        people.people.take(names)
        cpu += time.process_time() - began
    dictionary = cpu
    for day in population.days():
        began = time.process_time()
        holding.fill([day])
        cpu += time.process_time() - began
        del day
    count = holding.visits
    lists, directory, exact = holding.bytes_held()
    segments = _mapped(holding.partitions)
    anonymous = _status("RssAnon")
    began = time.process_time()
    people.sync()()
    for partition, index in enumerate(holding.partitions):
        store.write(_TOPIC, partition, 0, index.dump())
    return {
        "visits": count,
        "people": population.people,
        "venues": population.venues,
        "partitions": partitions,
        "build_cpu_s": cpu,
        "of_which_dictionary_s": dictionary,
        "snapshot_cpu_s": time.process_time() - began,
        "bytes_a_visit": (lists + directory) / count,
        "segments_bytes_a_visit": lists / count,
        "dictionary_bytes_a_visit": directory / count,
        "anonymous_memory_bytes_a_visit": anonymous / count,
        "resident_without_exact_times_bytes_a_visit": (anonymous + segments) / count,
        "exact_times_on_disk_bytes_a_visit": exact / count,
    }


def opened(folder: Path, partitions: int) -> tuple[PeopleFile, list[VisitIndex]]:
    """The index as its files hold it."""
    store, people = SnapshotStore(folder, _CLUSTER), PeopleFile(folder, "people", _CLUSTER)
    found = []
    for partition in range(partitions):
        manifest = store.manifest(_TOPIC, partition)
        assert manifest is not None
        parts = store.read(_TOPIC, partition, manifest)
        assert parts is not None
        index = VisitIndex(1, people.people, FileShelf(store.home(_TOPIC, partition)))
        index.load(parts)
        found.append(index)
    return people, found


class Asker:
    """Asks for the contacts of a case in all partitions."""

    def __init__(self, partitions: Sequence[VisitIndex]) -> None:
        self._partitions, self._minimum_ms = partitions, minimum_ms()

    def contacts(self, person: int, since_ms: int, until_ms: int) -> Contacts:
        """Persons, and the most that each shared in one stay."""
        other: list[Ints] = []
        shared: list[Ints] = []
        for index in self._partitions:
            met = meetings(index, one(person), one(since_ms), one(until_ms), None, 0, "forward", self._minimum_ms)
            other.append(met.other)
            shared.append(met.end - met.start)
        return most_shared(np.concatenate(other), np.concatenate(shared))


def open_and_ask(folder: Path, visits: int, partitions: int) -> Found:
    """Seconds from nothing in memory to the first answer, and what is resident then, with the table of all persons.

    Compiled code is warmed on another, tiny index before.
    """
    population = Population(visits)
    first = population.questions(1)[0]
    _warm()
    before = _status("RssAnon")
    began = time.monotonic()
    people, indexes = opened(folder, partitions)
    ready = time.monotonic() - began
    found = Asker(indexes).contacts(*first)
    answered = time.monotonic() - began
    if (table := people.people.growing()) is not None:
        table()
    return {
        "open_s": ready,
        "first_answer_s": answered,
        "first_contacts": len(found.person),
        "resident_without_exact_times_bytes_a_visit": (_status("RssAnon") - before + _mapped(indexes)) / visits,
    }


def _mapped(indexes: Iterable[VisitIndex]) -> int:
    """The bytes of all segments' mapped arrays, but for exact times."""
    held = (each for index in indexes for each in index.archive.segments)
    return sum(each.words.nbytes + each.begins.nbytes + each.mine.nbytes for each in held)


def hop(folder: Path, visits: int, partitions: int, questions: int) -> Found:
    """One hop over 14 days."""
    _, indexes = opened(folder, partitions)
    asker = Asker(indexes)
    asked = Population(visits).questions(questions)
    for index in indexes:
        for segment in index.archive.all():  # read through once, as a running worker has
            segment.words.sum(), segment.mine.sum()
    asker.contacts(*asked[0])
    took, sizes = _timed(asked, lambda each: len(asker.contacts(*each).person))
    return {**_percentiles(took), "questions": len(asked), **_sizes("contacts", sizes)}


def two_hops(folder: Path, visits: int, questions: int) -> Found:
    """Two hops over 14 days, nobody below a risk of 2 % followed."""
    _, (index,) = opened(folder, 1)
    population = Population(visits)
    searcher = Searcher(index, population)
    for segment in index.archive.all():
        segment.words.sum(), segment.mine.sum()
    asked = population.questions(questions)
    searcher.reached(asked[0])
    took, sizes = _timed(asked, searcher.reached)
    return {**_percentiles(took), "questions": len(asked), **_sizes("reached", sizes)}


def _timed(questions: Iterable[Question], ask: Callable[[Question], int]) -> tuple[list[float], list[int]]:
    """How long each answer took (ms), and its size."""
    took, sizes = [], []
    for each in questions:
        began = time.perf_counter()
        sizes.append(ask(each))
        took.append(1e3 * (time.perf_counter() - began))
    return took, sizes


def _percentiles(took_ms: Sequence[float]) -> Found:
    return {f"p{share}_ms": float(np.percentile(took_ms, share)) for share in (50, 95, 99)} | {"max_ms": max(took_ms)}


def _sizes(name: str, sizes: Sequence[int]) -> Found:
    return {f"{name}_p{share}": int(np.percentile(sizes, share)) for share in (50, 95, 99, 100)}


def _warm() -> None:
    """Have the compiled loops loaded: a worker does so when it starts."""
    holding = Holding(2, 0, [MemoryShelf()])
    few = np.arange(4)
    holding.people.take([f"p{number}" for number in few])
    holding.fill([Visits(few.astype(np.uint32), (few % 2).astype(np.uint32), few * 60_000, few * 60_000 + 3_600_000)])
    Asker(holding.partitions).contacts(0, 0, 86_400_000)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def under_load(folder: Path, visits: int, questions: int, seconds: float) -> Found:
    """The same hop while visits arrive: a twentieth of them late, a fiftieth corrections of earlier ones.

    Ten times a second what is due is taken in and counted as the agent does, then questions are asked, in one thread;
    once a second the windows are told that closed or changed.
    The blocks are made before.
    """
    people, (index,) = opened(folder, 1)
    began = time.monotonic()
    if (table := people.people.growing()) is not None:
        table()
    index.lineages.venues.read_all()  # both as a worker has them before it takes the first block
    ready = time.monotonic() - began
    arrivals = Arrivals(people.people, index, Population(visits))
    asker = Asker([arrivals.index])
    asked = Population(visits).questions(questions)
    asker.contacts(*asked[0])
    coming = [arrivals.block(_RATE // 10) for _ in range(int(10 * seconds))]
    gc.collect()
    gc.freeze()  # what was made for the measurement is not looked through during it
    arrivals.take(coming[0])
    arrivals.tell()  # every venue is told of, and compiled code loaded
    took: list[float] = []
    blocks: list[float] = []
    tells: list[float] = []
    began, rows = time.monotonic(), 0
    for block in coming[1:]:
        at = time.perf_counter()
        arrivals.take(block)
        blocks.append(1e3 * (time.perf_counter() - at))
        if len(blocks) % 10 == 0:
            at = time.perf_counter()
            arrivals.tell()
            tells.append(1e3 * (time.perf_counter() - at))
        rows += _RATE // 10
        some = [asked[(len(took) + number) % len(asked)] for number in range(_ASKED_AT_ONCE)]
        took += _timed(some, lambda each: len(asker.contacts(*each).person))[0]
        time.sleep(max(0.0, rows / _RATE - (time.monotonic() - began)))
    passed = time.monotonic() - began
    page_again_us, page_idle_us = page_us(_IDLE_S)
    return {
        **_percentiles(took),
        "questions": len(took),
        "visits_a_second": rows / passed,
        "block_of_5000_p50_ms": statistics.median(blocks),
        "block_of_5000_p99_ms": float(np.percentile(blocks, 99)),
        "block_of_5000_max_ms": max(blocks),
        "windows_once_a_second_p50_ms": statistics.median(tells),
        "windows_once_a_second_max_ms": max(tells),
        "ready_for_blocks_s": ready,
        "living_visits": len(arrivals.index),
        "memory_page_read_again_us": page_again_us,
        f"memory_page_idle_for_{_IDLE_S:.0f}_s_us": page_idle_us,
    }


_PARTS: Final[dict[str, Callable[[Path, argparse.Namespace], Found]]] = {
    "build": lambda folder, given: build(folder, given.visits, 1),
    "open": lambda folder, given: open_and_ask(folder, given.visits, 1),
    "hop": lambda folder, given: hop(folder, given.visits, 1, given.questions),
    "two-hops": lambda folder, given: two_hops(folder, given.visits, given.questions),
    "load": lambda folder, given: under_load(folder, given.visits, given.questions, given.seconds),
    "build-4": lambda folder, given: build(folder / "four", given.visits, 4),
    "open-4": lambda folder, given: open_and_ask(folder / "four", given.visits, 4),
    "hop-4": lambda folder, given: hop(folder / "four", given.visits, 4, given.questions),
}


def main() -> int:
    """Run all parts, each in a process of its own, and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.index", description=__doc__)
    parser.add_argument("--visits", type=int, default=FULL_VISITS, help="how many visits (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=1000, help="how many cases (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="the median of so many runs (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the run under load")
    parser.add_argument("--parts", nargs="*", choices=list(_PARTS), default=list(_PARTS), help="only these parts")
    parser.add_argument("--folder", type=Path, help="where the index's files are, or are to stay")
    parser.add_argument("--output", type=Path, default=Path("build/bench-index.json"))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for part in given.parts if given.folder is None and not given.part else ():
        made = "build-4" if part.endswith("-4") else "build"
        if made not in given.parts[: given.parts.index(part) + 1]:
            parser.error(f"{part} asks what {made} made: name {made} before it, or the --folder that has it")
    if given.part:
        print(msgspec.json.encode(_PARTS[given.part](given.folder, given)).decode())
        return 0
    console = Console(stderr=True)
    with bench_folder() as temporary:
        folder = given.folder or temporary
        found = {}
        for part in given.parts:
            runs = 1 if part.startswith("build") or part == "load" else given.runs
            console.print(f"{part}: {runs} run{'s' if runs > 1 else ''}")
            found[part] = _medians([_child(part, folder, given) for _ in range(runs)])
            console.print(f"  {found[part]}", highlight=False, style="dim")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    whole = {"what": __doc__, "machine": describe(), "visits": given.visits, **found}
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    _print(Console(), found)
    return 0


def _child(part: str, folder: Path, given: argparse.Namespace) -> Found:
    command = [sys.executable, "-m", "bench.index", "--part", part, "--folder", str(folder)]
    command += ["--visits", str(given.visits), "--questions", str(given.questions), "--seconds", str(given.seconds)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Found)


def _medians(runs: Sequence[Found]) -> Found:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _print(console: Console, found: dict[str, Found]) -> None:
    table = Table("part", "what", "figure", box=None, header_style="bold")
    for part, figures in found.items():
        for number, (name, value) in enumerate(figures.items()):
            table.add_row(
                part if number == 0 else "", name, f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
            )
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in describe().items()), style="dim", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())

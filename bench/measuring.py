"""`python -m bench.measuring`: what the metrics cost the visits and the places agent, in one process, without a broker.

The agents take one partition's day of scans, batch by batch, with every instrument and with instruments that do
nothing, in turns. CPU time of the process in microseconds a scan. For the whole chain, sampled, there is
`python -m bench.stream --sample`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from agents.contacts import Contacts
from agents.occupancy import OccupancyKeeper
from agents.visits import Visits
from bench.machine import describe
from bench.silent import silenced
from bench.visits import batches_of, log_of
from bench.workload import Shape, Workload
from contacts.clusterrules import load_cluster_rules
from contacts.places import Places
from lacak.clock import SystemClock
from schemas.blocks import RegistryChange
from streams import metrics
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.meters import TopicMeters, events_of_records_out
from streams.people_file import PeopleFile
from streams.settings import Partitions, Settings, Times

_SCANS: Final = 0  # the partition


class _Outbox:
    """Keeps what is sent to `visits`; counts what each call sends as acknowledged together."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self._counted = {
            topic: (metrics.RECORDS_OUT.labels(topic), metrics.BYTES_OUT.labels(topic), events_of_records_out(topic))
            for topic in ("visits", "occupancy", "windows", "clusters", "trace-answers", "dead-letters")
        }

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,  # noqa: ARG002
    ) -> None:
        """One record."""
        self.send_many(topic, [(partition, key, value)])

    def send_many(self, topic: str, messages: Sequence[tuple[int, bytes | None, bytes | None]]) -> None:
        """Several."""
        records, size, events = self._counted[topic]
        records.inc(len(messages))
        size.inc(sum(len(value or b"") for _, _, value in messages))
        if events is not None:
            events.inc(len(messages))
        metrics.ACKNOWLEDGE_SECONDS.observe(0.004)
        metrics.OUTSTANDING.set(1)
        if topic == "visits":
            self.blocks += [value or b"" for partition, _, value in messages if partition == 0]

    async def flush(self) -> None:
        """All is."""

    def when_acknowledged(self, told: Callable[[], object]) -> None:
        """It is."""
        told()


def visits_pass(log: bytes, workload: Workload, settings: Settings) -> tuple[float, int, list[bytes]]:
    """CPU seconds of the visits agent over the log, how many scans there were, and the blocks of one partition."""
    outbox, clock = _Outbox(), SystemClock()
    visits = Visits(settings, clock, outbox, DeadLetters(outbox, settings.dead_letters))  # type: ignore[arg-type]
    deriver, meters = visits.make(_SCANS), TopicMeters("scans")
    for number, venue in enumerate(workload.registrations()):
        deriver.control(number, RegistryChange((0, number), venue, 0))
    deriver.packed(0, 1)
    count, began = 0, time.process_time()
    for batch in batches_of(log):
        taken = clock.monotonic()
        meters.took(batch)
        visits.derive(deriver, batch)
        meters.did(batch, clock.monotonic() - taken)
        count += len(batch)
    return time.process_time() - began, count, outbox.blocks


def places_pass(blocks: Sequence[bytes], settings: Settings, folder: Path) -> float:
    """CPU seconds of the occupancy agent over blocks."""
    outbox, clock = _Outbox(), SystemClock()
    letters = DeadLetters(outbox, settings.dead_letters)
    held: dict[int, Places] = {}
    keeper = OccupancyKeeper(
        settings, clock, outbox, letters, Contacts(settings, clock, outbox, letters, held.get),  # type: ignore[arg-type]
        PeopleFile(folder, "people", "bench"), lambda _: folder, lambda: held, load_cluster_rules("default"),
    )  # fmt: skip
    places, meters = keeper.make(0), TopicMeters("visits")
    held[0] = places
    began = time.process_time()
    for offset, block in enumerate(blocks):
        batch = Batch("visits", 0, [offset], [0], [None], [block], highwater=len(blocks))
        taken = clock.monotonic()
        meters.took(batch)
        keeper.apply(places, batch)
        keeper.look(0, places, offset + 1, level=True)
        meters.did(batch, clock.monotonic() - taken)
    return time.process_time() - began


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """The cost in each role."""
    times = Times(retention_days=28.0)
    settings = Settings(clock="file", partitions=Partitions(scans=1, visits=1), times=times)
    workload = Workload(Shape(scans=given.scans, seed=given.seed))
    log = log_of(workload, 1, _SCANS)
    _, count, blocks = visits_pass(log, workload, settings)  # what is compiled is compiled here
    found: dict[str, dict[bool, list[float]]] = {role: {True: [], False: []} for role in ("visits", "places")}
    for number in range(2 * given.pairs):
        measured = number % 4 in (0, 3)  # with, without, without, with: a drift cancels out
        with silenced(not measured), tempfile.TemporaryDirectory() as folder:
            found["visits"][measured].append(visits_pass(log, workload, settings)[0] / count * 1e6)
            found["places"][measured].append(places_pass(blocks, settings, Path(folder)) / count * 1e6)
    costs: dict[str, dict[str, Any]] = {}
    for role, by in found.items():
        differences = [with_ - without for with_, without in zip(by[True], by[False], strict=True)]
        without = statistics.median(by[False])
        cost = statistics.median(differences)
        costs[role] = {"without_us": without, "cost_us": cost, "share": cost / without, "differences_us": differences}
    whole = sum(each["without_us"] for each in costs.values())
    both = sum(each["cost_us"] for each in costs.values())
    return {"scans": count, "roles": costs, "cost_us": both, "share": both / whole}


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.measuring", description=__doc__)
    parser.add_argument("--scans", type=int, default=500_000, help="how many scans (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=8, help="with and without, so many times (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-measuring.json"))
    given = parser.parse_args()
    cost = compare(given)
    table = Table("role", "us without", "metrics add", "share", "least..most", box=None, header_style="bold")
    for role, each in cost["roles"].items():
        spread = f"{min(each['differences_us']):+.3f}..{max(each['differences_us']):+.3f}"
        table.add_row(role, f"{each['without_us']:.3f}", f"{each['cost_us']:+.3f}", f"{each['share']:+.2%}", spread)
    table.add_row("both", "", f"{cost['cost_us']:+.3f}", f"{cost['share']:+.2%}", style="bold")
    console = Console()
    console.print(table)
    machine = describe("none")
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": machine, **cost})) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

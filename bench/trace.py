"""`python -m bench.trace`: from a positive test to the report of its contacts, while scans keep coming.

The clock is `live`. First the most scans a second that the pipeline takes is found (or given with --rate): a burst as
fast as the producer goes, until a trace asked for behind it is complete. Then, at half of that, positives are sent one
after the other for people with visits. Latency: from just before the `test-results` record is handed to the producer
until a SELECT of another connection returns the forward report. Reports are waited for by NOTIFY, as an officer's
screen would.

`--rates 1000,5000` publishes at these instead, one after the other on the same history.

With `--days` the history is of so many days until now, loaded before as a file is (blocks, each scan with its own time
as its arrival); a trace is waited for, and then that the windows are recorded. A positive's onset was then five days
ago: who was met may have been infectious for up to four days, so a second hop has something to find.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import psycopg
from kafka import KafkaConsumer, TopicPartition
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.load import Crowd
from bench.machine import Broker, bench_folder, broker_name, describe, running_broker, usable_broker
from bench.officer import Officer, Report
from bench.producing import Producer, publish, publish_days
from bench.stream import settings_for
from bench.workload import Scans, Shape, Workload
from lacak.deployment import Deployment
from lacak.level import wait_registry
from lacak.venues import publish_venues
from streams.settings import DAY_MS, Settings

_BURST: Final = 400_000
_WARM_SECONDS: Final = 10.0
_SPARE_MS: Final = 5 * 60_000
_EVERY_SECONDS: Final = 1 / 3
_ONSET_DAYS: Final = 5
_CASE_DAYS: Final = 6
_LOAD_SECONDS: Final = 3600.0


class Load(NamedTuple):
    """What the load process said last."""

    sent: int
    late_seconds: float


@contextmanager
def load(settings: Settings, shape: Shape, rate: float, seconds: float, folder: Path) -> Iterator[Path]:
    """The load process, for the length of a `with` block; the file it speaks to."""
    said = folder / "load.txt"
    command = [sys.executable, "-m", "bench.load", settings.brokers, settings.topic("scans")]
    command += ["--partitions", str(settings.partitions.scans), "--rate", str(rate), "--seconds", str(seconds)]
    command += ["--people", str(shape.people), "--venues", str(shape.venues), "--seed", str(shape.seed)]
    with said.open("wb") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out)
        try:
            yield said
        finally:
            child.terminate()
            child.wait()


def heard(said: Path) -> Load:
    """What the load process has said."""
    lines = [line.split() for line in said.read_text().splitlines() if line.startswith("sent ")]
    return Load(int(lines[-1][1]), float(lines[-1][3])) if lines else Load(0, 0.0)


def history(workload: Workload, now_ms: int) -> Scans:
    """The day's scans moved to the hours before now, without given arrivals: they come when they come."""
    made = workload.scans()
    at = made.at_ms - made.at_ms.max() + now_ms - _SPARE_MS
    order = np.argsort(at, kind="stable")
    return Scans(made.person[order], made.venue[order], made.out[order], at[order], np.full(len(at), -1, np.int64))


def history_days(workload: Workload, now_ms: int, days: int) -> Iterator[Scans]:
    """Days of scans that end just before now, each in order of time: a scan arrived when it was made."""
    last_ms = now_ms - _SPARE_MS
    held: list[Scans] = []
    for number in range(days):
        made, first_ms = workload.scans(), last_ms - (days - number) * DAY_MS
        at = made.at_ms - workload.start_ms + first_ms
        held.append(Scans(made.person, made.venue, made.out, at, at))
        scans = Scans(*(np.concatenate(columns) for columns in zip(*held, strict=True)))
        order = np.argsort(scans.at_ms, kind="stable")
        ready = int(np.searchsorted(scans.at_ms[order], first_ms + DAY_MS))
        yield scans.of(order[:ready])
        held = [scans.of(order[ready:])]  # who leaves on the next day


def preload_days(
    lacak: Deployment, workload: Workload, days: int, console: Console
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """Publish days of history; who checked in six days ago, and what it took."""
    settings, counted = lacak.settings, [0]
    began, now_ms, cases = time.monotonic(), time.time_ns() // 1_000_000, np.empty(0, np.int64)

    def seen() -> Iterator[Scans]:
        nonlocal cases
        for number, scans in enumerate(history_days(workload, now_ms, days)):
            if number == max(0, days - _CASE_DAYS):
                cases = np.unique(scans.person[~scans.out])
            yield scans
            passed = time.monotonic() - began
            console.print(f"  day {number + 1} of {days}: {counted[0]:,} scans published after {passed:.0f} s")

    def told(count: int) -> None:
        counted[0] += count
        lacak.watch()

    topic, partitions = settings.topic("scans"), settings.partitions.scans
    asyncio.run(publish_days(settings.brokers, topic, partitions, workload, seen(), told))
    return cases, {"scans": counted[0], "published_s": time.monotonic() - began}


def wait_recorded(lacak: Deployment) -> None:
    """Wait until everything that is in `windows` now is in PostgreSQL."""
    settings, deadline = lacak.settings, time.monotonic() + _LOAD_SECONDS
    topic = settings.topic("windows")
    consumer = KafkaConsumer(bootstrap_servers=settings.brokers)
    try:
        ends = consumer.end_offsets([TopicPartition(topic, each) for each in range(settings.partitions.visits)])
    finally:
        consumer.close()
    with psycopg.connect(settings.database, autocommit=True) as database:
        while any(
            reached < ends[TopicPartition(topic, partition)]
            for partition, reached in database.execute(
                "select partition, next_offset from lacak.applied_positions where topic = 'windows'"
            )
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the windows are not recorded after {_LOAD_SECONDS:.0f} s")
            lacak.watch()
            time.sleep(0.5)


def sustained(settings: Settings, workload: Workload, officer: Officer, probes: Iterator[str]) -> float:
    """Scans a second over a burst: until the first trace asked for behind it is complete."""
    crowd = Crowd(workload.shape, settings.partitions.scans)
    now_ms = time.time_ns() // 1_000_000
    lanes = crowd.scans(_BURST, now_ms - 20_000, now_ms)
    began = time.monotonic()
    asyncio.run(_send(settings, lanes))
    officer.await_any(probes)
    return _BURST / (time.monotonic() - began)


async def _send(settings: Settings, lanes: list[list[tuple[bytes, bytes]]]) -> None:
    async with Producer(settings.brokers, settings.topic("scans")) as producer:
        await asyncio.gather(*(producer.send(number, lane) for number, lane in enumerate(lanes)))


def run(kind: Broker, given: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The whole measurement over a fresh deployment."""
    shape = Shape(scans=given.history // given.days, people=given.people, venues=given.venues, seed=given.seed)
    workload = Workload(shape)
    with (
        bench_folder() as folder,
        running_broker(kind, folder) as brokers,
        Deployment(settings_for(brokers, folder, profile="kmk-413", hops=given.hops)) as lacak,
    ):
        settings = lacak.settings
        began_ms = time.time_ns() // 1_000_000 - 10_000
        publish_venues(settings, workload.registrations())
        wait_registry(settings, began_ms, seconds=_LOAD_SECONDS)
        loaded: dict[str, float] = {}
        if given.days > 1:
            console.print(f"preloading {given.history:,} scans of the last {given.days} days")
            cases, loaded = preload_days(lacak, workload, given.days, console)
        else:
            scans = history(workload, time.time_ns() // 1_000_000)
            cases = np.unique(scans.person[~scans.out])
            console.print(f"preloading {given.history:,} scans of the last hours")
            asyncio.run(publish(brokers, settings.topic("scans"), settings.partitions.scans, workload, scans))
        names = iter([workload.people[each] for each in np.random.default_rng(shape.seed).permutation(cases)])
        onset_ms = _ONSET_DAYS * DAY_MS if given.days > 1 else DAY_MS // 2
        with Officer.at_work(settings, given.hops, onset_ms) as officer:
            began = time.monotonic()
            officer.await_any(names)
            loaded["first_trace_s"] = time.monotonic() - began
            wait_recorded(lacak)
            loaded["recorded_s"] = time.monotonic() - began
            console.print(
                f"the first trace was complete after {loaded['first_trace_s']:.0f} s more,"
                f" the windows recorded after {loaded['recorded_s']:.0f} s"
            )
            most, rates = None, given.rates
            if not rates:
                most = sustained(settings, workload, officer, names) if given.rate == "auto" else float(given.rate)
                console.print(f"the pipeline takes {most:,.0f} scans a second")
                rates = [most / 2]
            loads = []
            for rate in rates:
                console.print(f"publishing {rate:,.0f} scans a second; {given.traces} positives")
                with load(settings, shape, rate, _WARM_SECONDS + given.traces * 10.0, folder) as said:
                    while heard(said).sent < rate * _WARM_SECONDS / 2:
                        lacak.watch()
                        time.sleep(0.2)
                    reports = _positives(lacak, officer, names, given.traces, console)
                    flow = heard(said)
                loads.append({"rate": rate, "load": flow, **_figures(reports), "reports": reports})
            hops = officer.people_by_hop()
    return {"most_scans_per_second": most, "history": loaded, "people_by_hop_p50_p90": hops, "loads": loads}


def _positives(
    lacak: Deployment, officer: Officer, names: Iterator[str], count: int, console: Console
) -> list[Report | None]:
    reports: list[Report | None] = []
    for number in range(count):
        began = time.monotonic()
        person = next(names)
        reports.append(officer.report(person, officer.positive(person)))
        lacak.watch()
        if (number + 1) % 20 == 0:
            last = reports[-1]
            console.print(f"  {number + 1} traces; the last took {last.first_ms:.0f} ms" if last else "  no report")
        time.sleep(max(0.0, _EVERY_SECONDS - (time.monotonic() - began)))
    return reports


def _figures(reports: list[Report | None]) -> dict[str, Any]:
    made = [report for report in reports if report is not None]
    first = [report.first_ms for report in made] or [float("nan")]
    whole = [report.complete_ms for report in made if report.complete_ms is not None] or [float("nan")]
    return {
        "traces": len(reports),
        "without_report": len(reports) - len(made),
        "complete_at_once_share": sum(report.state == "complete" for report in made) / len(reports),
        "contacts_median": float(np.median([report.contacts for report in made])) if made else 0.0,
        "latency_ms": _quantiles(first),
        "complete_ms": _quantiles(whole),
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    points = dict(zip(("p50", "p90", "p99", "max"), np.quantile(values, [0.5, 0.9, 0.99, 1.0]).tolist(), strict=True))
    return {name: round(value, 1) for name, value in points.items()}


def _rates(text: str) -> list[float]:
    return [float(rate) for rate in text.split(",")]


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.trace", description=__doc__)
    parser.add_argument("--traces", type=int, default=60, help="how many positives (default: %(default)s)")
    parser.add_argument("--rate", default="auto", help="most scans a second, if known; half of it is published")
    parser.add_argument("--rates", type=_rates, help="scans a second to publish instead, one or more with commas")
    parser.add_argument(
        "--history", type=int, default=200_000, help="scans that are there before (default: %(default)s)"
    )
    parser.add_argument("--hops", type=int, default=1, help="hops of the report that is waited for (default: 1)")
    parser.add_argument("--days", type=int, default=1, help="days that the history is of (default: 1; hops need 14)")
    parser.add_argument("--people", type=int, default=600_000)
    parser.add_argument("--venues", type=int, default=5_000)
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="default: kafka where Java is, else tansu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-trace.json"))
    given = parser.parse_args()
    with bench_folder() as folder:
        kind = usable_broker(given.broker, folder)
    machine = describe(broker_name(kind))
    found = run(kind, given, Console(stderr=True))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    what = "ms from before a positive is produced to its forward report read by SELECT, under load"
    data = msgspec.json.encode(
        {"what": what, "machine": machine, "given": {**vars(given), "output": str(given.output)}, **found}
    )
    given.output.write_bytes(msgspec.json.format(data) + b"\n")
    console = Console()
    names = (
        "scans/s",
        "ms until",
        "p50",
        "p90",
        "p99",
        "max",
        "traces",
        "complete at once",
        "contacts",
        "without report",
    )
    table = Table(*names, box=None, header_style="bold")
    for each in found["loads"]:
        counts = f"{each['complete_at_once_share']:.0%}", f"{each['contacts_median']:.0f}", f"{each['without_report']}"
        for name, key in (("a report", "latency_ms"), ("a complete one", "complete_ms")):
            figures = (f"{value:.0f}" for value in each[key].values())
            table.add_row(f"{each['rate']:,.0f}", name, *figures, f"{each['traces']}", *counts)
    console.print(table)
    by_hop = ", ".join(f"{half:.0f} (p90 {most:.0f})" for half, most in found["people_by_hop_p50_p90"])
    late = ", ".join(f"{each['load'].late_seconds:.1f}" for each in found["loads"])
    console.print(f"Contacts by hop (median): {by_hop}. The load was {late} s late.", highlight=False)
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

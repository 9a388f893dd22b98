"""`python -m bench.stream`: what a scan costs, from its record to the recorded window, and what stock Faust takes.

Worker processes start over an empty deployment; when they are idle, their CPU time is noted; then a day of scans is
published from this process, which is not measured. A role's cost is the CPU time (user and system, all threads) its
process used from then until everything is recorded and idle again, divided by the scans.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.instruments import Samples, asked, sampled, together
from bench.machine import (
    Broker,
    bench_folder,
    broker_name,
    cpu_seconds,
    describe,
    ended,
    peak_mib,
    running_broker,
    usable_broker,
    wait_quiet,
)
from bench.producing import publish
from bench.stock import measure_stock
from bench.workload import Scans, Shape, Workload
from gateway.client import Gateway
from lacak.deployment import Deployment
from lacak.level import wait_level, wait_registry
from lacak.venues import publish_venues
from streams.settings import DAY_MS, Settings, Times, Transport

_LEVEL_SECONDS: Final = 900.0
_SESSION_SECONDS: Final = 6


class Run(msgspec.Struct):
    """One run of the chain. CPU in microseconds a scan; `last_us` is what the end of a process adds: last snapshots.

    What it left on disks in bytes: by topic (on Apache Kafka only, as it was sent: compressed, one copy), by role (the
    snapshots), and PostgreSQL's database. `samples` by role, where they were taken.
    """

    cpu_us: dict[str, float]
    last_us: dict[str, float]
    peak_mib: dict[str, float]
    cpu_us_per_scan: float
    scans_per_second: float
    publish_seconds: float
    level_seconds: float
    topic_bytes: dict[str, int] = {}
    state_bytes: dict[str, int] = {}
    database_bytes: int = 0
    samples: dict[str, Samples] = {}


def settings_for(brokers: str, folder: Path, **more: Any) -> Settings:
    """Settings of a deployment of the bench's own, over a broker that is its own."""
    return Settings(
        brokers=brokers, data_dir=folder / "data", transport=Transport(session_timeout_seconds=_SESSION_SECONDS), **more
    )


def run_chain(kind: Broker, workload: Workload, scans: Scans, progress: Progress, *, sample: bool = False) -> Run:
    """One run over a fresh broker, database and folders; `sample` to see what measuring costs."""
    with bench_folder() as folder, running_broker(kind, folder) as brokers:
        settings = settings_for(brokers, folder, clock="file", times=Times(retention_days=28.0))
        with Deployment(settings) as lacak, asked(lacak.metrics):
            settings = lacak.settings
            pids = {worker.role: worker.pid for worker in lacak.workers}
            began_ms = time.time_ns() // 1_000_000 - 10_000
            publish_venues(settings, workload.registrations())
            wait_registry(settings, began_ms, seconds=120.0)
            _end(settings, workload.start_ms - DAY_MS, lacak)  # every role has worked through something
            wait_quiet(list(pids.values()))
            before = {role: cpu_seconds(pid) for role, pid in pids.items()}
            began = time.monotonic()
            task = progress.add_task("publishing", total=len(scans.at_ms))
            none: dict[str, Samples] = {}
            sampling: AbstractContextManager[dict[str, Samples]] = (
                sampled(pids, folder) if sample else nullcontext(none)
            )
            with sampling as samples:
                asyncio.run(
                    publish(
                        brokers, settings.topic("scans"), settings.partitions.scans, workload, scans,
                        lambda count: progress.advance(task, count),
                    )
                )  # fmt: skip
                published = time.monotonic()
                progress.update(task, description="until level")
                _end(settings, workload.end_ms(), lacak)
                level = time.monotonic()
            wait_quiet(list(pids.values()))
            used = {role: cpu_seconds(pid) - before[role] for role, pid in pids.items()}
            peaks = {role: peak_mib(pid) for role, pid in pids.items()}
            topics = {
                name: sum(_size(path) for path in (folder / "kafka" / "data").glob(f"{name}-[0-9]*"))
                for name in ("scans", "visits", "windows", "occupancy")
            }
            database = _database_size(settings)
            progress.update(task, description="stopping", visible=False)
            at_rest = {role: cpu_seconds(pid) for role, pid in pids.items()}
            for worker in lacak.workers:
                worker.ask_to_stop()
            deadline = time.monotonic() + 30.0
            while not all(ended(pid) for pid in pids.values()) and time.monotonic() < deadline:
                time.sleep(0.1)
            last = {role: cpu_seconds(pid) - at_rest[role] for role, pid in pids.items()}
            state = {role: _size(settings.data_dir / "state" / role) for role in pids}
    each = 1e6 / len(scans.at_ms)
    return Run(
        cpu_us={role: seconds * each for role, seconds in used.items()},
        last_us={role: seconds * each for role, seconds in last.items()},
        peak_mib=peaks,
        cpu_us_per_scan=sum(used.values()) * each,
        scans_per_second=len(scans.at_ms) / (level - began),
        publish_seconds=published - began,
        level_seconds=level - began,
        topic_bytes=topics,
        state_bytes=state,
        database_bytes=database,
        samples=samples,
    )


def _size(folder: Path) -> int:
    """What the files of a folder hold; a topic's indexes are made large in advance and not counted."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".index", ".timeindex"))
    return sum(path.stat().st_size for path in files)


def _database_size(settings: Settings) -> int:
    with psycopg.connect(settings.database, autocommit=True) as connection:
        connection.execute("vacuum")
        row = connection.execute("select pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def _end(settings: Settings, at_ms: int, lacak: Deployment) -> None:
    with Gateway(settings.brokers, topic=settings.topic("scans")) as gateway:
        gateway.end_run(at_ms)
    wait_level(settings, at_ms, seconds=_LEVEL_SECONDS, watch=lacak.watch)


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__)
    parser.add_argument("--scans", type=int, default=2_000_000, help="how many scans (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many runs (default: %(default)s)")
    parser.add_argument("--stock-scans", type=int, default=50_000, help="scans for stock Faust; 0: leave it out")
    parser.add_argument("--sample", action="store_true", help="see how much of it goes into metrics (as root)")
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="default: kafka where Java is, else tansu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-stream.json"))
    given = parser.parse_args()
    console = Console(stderr=True)
    with bench_folder() as folder:
        kind = usable_broker(given.broker, folder)
    console.print(f"making {given.scans:,} scans")
    workload = Workload(Shape(scans=given.scans, seed=given.seed))
    scans = workload.scans()
    runs: list[Run] = []
    stock: list[float] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for number in range(given.runs):
            progress.console.print(f"run {number + 1} of {given.runs}: the chain")
            runs.append(run_chain(kind, workload, scans, progress, sample=given.sample))
            progress.console.print(f"  {runs[-1].cpu_us_per_scan:.2f} us a scan, {runs[-1].scans_per_second:,.0f}/s")
        for number in range(given.runs if given.stock_scans and not given.sample else 0):
            progress.console.print(f"run {number + 1} of {given.runs}: stock Faust")
            with bench_folder() as folder, running_broker(kind, folder) as brokers:
                stock.append(measure_stock(brokers, folder, workload, scans, given.stock_scans))
            progress.console.print(f"  {stock[-1]:.1f} us a scan")
    _write(given.output, given, describe(broker_name(kind)), runs, stock)
    _print(Console(), describe(broker_name(kind)), given, runs, stock)
    return 0


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]} if rows else {}


def _write(path: Path, given: argparse.Namespace, machine: dict[str, str], runs: list[Run], stock: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "what": "CPU time (user and system) a scan, from its record to recorded windows; start-up left out",
        "machine": machine,
        "scans": given.scans,
        "stock_scans": given.stock_scans,
        "cpu_us_per_scan": statistics.median(run.cpu_us_per_scan for run in runs) if runs else None,
        "cpu_us": _medians([run.cpu_us for run in runs]),
        "last_us": _medians([run.last_us for run in runs]),
        "scans_per_second": statistics.median(run.scans_per_second for run in runs) if runs else None,
        "stock_us_per_scan": statistics.median(stock) if stock else None,
        "runs": runs,
        "stock_runs": stock,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def _print(
    console: Console, machine: dict[str, str], given: argparse.Namespace, runs: list[Run], stock: list[float]
) -> None:
    table = Table("role", "us a scan", "least..most", "+ end of process", "peak MiB", box=None, header_style="bold")
    last, peaks = _medians([run.last_us for run in runs]), _medians([run.peak_mib for run in runs])
    for role, value in _medians([run.cpu_us for run in runs]).items():
        spread = [run.cpu_us[role] for run in runs]
        row = (role, f"{value:.2f}", f"{min(spread):.2f}..{max(spread):.2f}", f"{last[role]:.2f}", f"{peaks[role]:.0f}")
        table.add_row(*row)
    if runs:
        sums = [run.cpu_us_per_scan for run in runs]
        spread_text = f"{min(sums):.2f}..{max(sums):.2f}"
        table.add_row("all", f"{statistics.median(sums):.2f}", spread_text, f"{sum(last.values()):.2f}", style="bold")
    if stock:
        table.add_row("stock Faust", f"{statistics.median(stock):.1f}", f"{min(stock):.1f}..{max(stock):.1f}")
    console.print(table)
    if given.sample:
        sampling = Table("measuring", "share of its CPU time", "samples", box=None, header_style="bold")
        for role, each in together([run.samples for run in runs]).items():
            sampling.add_row(role, f"{each.share:.2%}", f"{each.busy:,}")
        console.print(sampling)
    if runs:
        wall = statistics.median(run.scans_per_second for run in runs)
        console.print(f"{given.scans:,} scans, {wall:,.0f} a second of wall time, publishing included.")
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())

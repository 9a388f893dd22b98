"""`python -m bench.door`: what a gateway on one core decides and publishes a second, over HTTP on loopback.

A broker, a gateway (`lacak gateway`, all its threads on one core) and callers (bench.door_load, on the other cores)
start over nothing. Venues and statuses are published and have arrived in the gateway's copies before the first request.
Then: as many single requests as so many callers can, each waiting for its answer; by a schedule, with the times, half
of that rate (`half`) and half of what is promised (2 500 a second); and scans in bulk. At the end every scan that the
gateway has said it has is looked for in Kafka.

Callers and broker share the other core. How much of it they take, and how late the callers themselves were (as long as
a request was late to be sent, its answer waits to be read), is told beside the times.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.door_load import Orders, Outcome
from bench.machine import (
    bench_folder,
    broker_name,
    children,
    cpu_seconds,
    describe,
    peak_mib,
    running_broker,
    usable_broker,
)
from bench.producing import Producer
from bench.workload import Shape, Workload
from gateway.devices import Devices
from gateway.running import DEVICES_FILE
from lacak.venues import publish_venues
from schemas.blocks import SCAN_BLOCKS, SCANS_MAGIC, unframe
from schemas.health import Status
from schemas.messages import Scan
from schemas.partitions import partitions_of
from streams.reader import read_topic
from streams.settings import DAY_MS, Settings
from streams.topics import ensure_topics

_GATEWAY: Final = "bench-door"
_RATE: Final = 10_000_000.0
_READY_SECONDS: Final = 300.0
_DRAIN_SECONDS: Final = 120.0
_BATCH: Final = 20_000
_PROMISED: Final = 5_000  # decisions a second, one a request
_BUCKET: Final = re.compile(
    r'lacak_gateway_request_seconds_bucket{le="(?P<le>[^"]+)",route="/v1/scans",stage="gateway"} (?P<count>\S+)'
)
_COLOURS: Final = {"green": 0.72, "yellow": 0.2, "red": 0.04, "black": 0.02}  # and 2 in 100 of whom nothing is known


class Phase(msgspec.Struct):
    """One phase: what the callers saw, and the CPU of the gateway and of what is beside it: broker and callers.

    `inside_p99_ms`: 99 of 100 requests took no longer from their head to their answer, by the gateway's own clock: the
    bound of a bucket of its metrics. What a caller waits for beyond that is in the sockets and in the callers.
    """

    outcome: Outcome
    requests_per_second: float
    scans_per_second: float
    cpu_us_per_request: float
    cpu_share: float
    beside_share: float
    inside_p99_ms: float


class Run(msgspec.Struct):
    """One run. `in_kafka`: different scans of the gateway found there; `lost`: those said to be there that are not."""

    single: Phase
    half: Phase
    half_promised: Phase
    bulk: Phase
    load_seconds: float
    peak_mib: float
    said: int
    in_kafka: int
    lost: int
    records: int


async def publish_statuses(settings: Settings, workload: Workload, now_ms: int) -> int:
    """A status for nearly everybody. Returns how many."""
    random = np.random.default_rng(workload.shape.seed)
    colours = [*_COLOURS, ""]
    shares = [*_COLOURS.values(), 1.0 - sum(_COLOURS.values())]
    drawn = random.choice(len(colours), len(workload.people), p=shares).tolist()
    homes = partitions_of(workload.people, settings.partitions.cases).tolist()
    count = 0
    async with Producer(settings.brokers, settings.topic("statuses")) as producer:
        for start in range(0, len(drawn), _BATCH):
            lanes: list[list[tuple[bytes, bytes]]] = [[] for _ in range(settings.partitions.cases)]
            for at in range(start, min(start + _BATCH, len(drawn))):
                colour = colours[drawn[at]]
                if colour:
                    person = workload.people[at]
                    status = Status(
                        person=person, colour=colour, since_ms=now_ms - DAY_MS, rule="indonesia@2021-08-30 bench",
                        reason="doses", log_time_ms=now_ms, position=(homes[at], at), doses=2, full=True,
                        age_band="18-59",
                    )  # fmt: skip
                    lanes[homes[at]].append((person.encode(), msgspec.json.encode(status)))
                    count += 1
            await asyncio.gather(*(producer.send(home, lane) for home, lane in enumerate(lanes) if lane))
    return count


@contextmanager
def running_gateway(settings: Settings, folder: Path, core: int) -> Iterator[tuple[int, int, str]]:
    """A gateway process of its own, on one core: its pid, its port, a key."""
    data = folder / "gateway"
    with Devices(data / DEVICES_FILE) as devices:
        key = devices.add("bench", ["scan"], 0, per_second=_RATE, burst=int(_RATE))
    environment = {**os.environ, "LACAK_BROKERS": settings.brokers, "LACAK_TOPIC_PREFIX": settings.topic_prefix}
    log = (folder / "gateway.log").open("wb")
    command = [sys.executable, "-m", "lacak", "gateway", "--port", "0", "--name", _GATEWAY, "--data", str(data)]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    try:
        yield process.pid, _port(folder / "gateway.log", process), key
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text("utf-8").splitlines():
            if "listens on" in line:
                return int(line.rpartition(":")[2])
        time.sleep(0.1)
    raise SystemExit(f"The gateway did not start: {log.read_text('utf-8')}")


def _readiness(port: int) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
    except urllib.error.HTTPError as error:
        found = msgspec.json.decode(error.read())
    return found


def _wait(port: int, done: Any, seconds: float, what: str) -> float:
    began = time.monotonic()
    while not done(found := _readiness(port)):
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what}: not within {seconds:.0f} s: {found}")
        time.sleep(0.2)
    return time.monotonic() - began


def run(kind: Any, given: argparse.Namespace, console: Console) -> Run:
    """One run over a fresh broker and a fresh gateway."""
    cores = sorted(os.sched_getaffinity(0))
    with bench_folder() as folder, bench_folder(given.broker_in) as broker_folder:
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))  # the broker's too, which is a child of this process
        with running_broker(kind, broker_folder) as brokers:
            settings = Settings(brokers=brokers)
            ensure_topics(settings)
            workload = Workload(Shape(0, given.people, given.venues, given.seed))
            publish_venues(settings, workload.registrations())
            told = asyncio.run(publish_statuses(settings, workload, time.time_ns() // 1_000_000))
            with running_gateway(settings, folder, cores[0]) as (pid, port, key), _callers() as callers:
                loaded = _wait(port, lambda found: found["state"] == "ready", _READY_SECONDS, "loading")
                console.print(f"  {told:,} statuses loaded {loaded:.1f} s after it listened")

                def phase(connections: int, seconds: float, rate: float | None = None, bulk: int = 1) -> Phase:
                    orders = Orders(
                        port, key, cores[-1], given.people, given.venues, given.seed, connections, seconds,
                        secrets.token_hex(6), rate, bulk,
                    )  # fmt: skip
                    return _phase(callers, pid, port, orders)

                warm = phase(given.connections, 3.0)  # its scans are looked for, its times are not told
                single = phase(given.connections, given.seconds)
                half = phase(given.connections, given.seconds, rate=single.requests_per_second / 2)
                promised = phase(given.connections, given.seconds, rate=_PROMISED / 2)
                bulk = phase(given.bulk_connections, given.seconds, bulk=given.bulk)
                _wait(port, lambda found: not found.get("spool_messages"), _DRAIN_SECONDS, "sending")
                peak = peak_mib(pid)
            outcomes = [each.outcome for each in (warm, single, half, promised, bulk)]
            said = sum(each.scans for each in outcomes)
            unsure = sum(each.unanswered_scans for each in outcomes)
            different, records = _in_kafka(settings)
    return Run(
        single, half, promised, bulk, loaded, peak,
        said, different, max(0, said - different) if not unsure else -1, records,
    )  # fmt: skip


def _phase(callers: subprocess.Popen[bytes], pid: int, port: int, orders: Orders) -> Phase:
    assert callers.stdin is not None
    assert callers.stdout is not None
    others = [child for child in children() if child != pid]
    answered_before = _answered(port)
    before, beside = cpu_seconds(pid), sum(map(cpu_seconds, others))
    callers.stdin.write(msgspec.json.encode(orders) + b"\n")
    callers.stdin.flush()
    outcome = msgspec.json.decode(callers.stdout.readline(), type=Outcome)
    used, beside = cpu_seconds(pid) - before, sum(map(cpu_seconds, others)) - beside
    answered = sum(outcome.statuses.values())
    return Phase(
        outcome,
        outcome.requests / outcome.seconds,
        outcome.requests * orders.bulk / outcome.seconds,
        used * 1e6 / max(answered, 1),
        used / outcome.seconds,
        beside / outcome.seconds,
        _quantile(_answered(port) - answered_before, 0.99),
    )


def _answered(port: int) -> Counter[float]:
    """How many requests for decisions were answered within so many ms, by the gateway's metrics."""
    found: Counter[float] = Counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        for line in answer.read().decode().splitlines():
            if match := _BUCKET.match(line):
                found[float(match["le"]) * 1000] = round(float(match["count"]))
    return found


def _quantile(within: Counter[float], share: float) -> float:
    wanted = share * max(within.values(), default=0)
    return min((bound for bound, count in within.items() if count >= wanted), default=0.0)


@contextmanager
def _callers() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "bench.door_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def _in_kafka(settings: Settings) -> tuple[int, int]:
    """How many different scans of the gateway the topic holds, and in how many records."""
    found: set[str | None] = set()
    records = 0
    for record in read_topic(settings, "scans"):
        value = record.value or b""
        if value.startswith(SCANS_MAGIC):
            block = unframe(SCANS_MAGIC, value, SCAN_BLOCKS)
            found.update(block.scan_ids)
        elif value.startswith(b"{"):
            found.add(msgspec.json.decode(value, type=Scan).scan_id)
        records += 1
    return len(found), records


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.door", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=128, help="callers at once (default: %(default)s)")
    parser.add_argument("--bulk", type=int, default=1000, help="scans in a bulk request (default: %(default)s)")
    parser.add_argument("--bulk-connections", type=int, default=8)
    parser.add_argument("--people", type=int, default=600_000)
    parser.add_argument("--venues", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=3, help="the median of so many runs (default: %(default)s)")
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="default: kafka where Java is, else tansu")
    parser.add_argument(
        "--broker-in", type=Path, help="the folder of the broker's own disk (default: the gateway's disk is also its)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-door.json"))
    given = parser.parse_args()
    console = Console(stderr=True)
    with bench_folder() as folder:
        kind = usable_broker(given.broker, folder)
    everywhere = os.sched_getaffinity(0)
    runs: list[Run] = []
    for number in range(given.runs):
        console.print(f"run {number + 1} of {given.runs}, over {broker_name(kind)}")
        runs.append(run(kind, given, console))
        os.sched_setaffinity(0, everywhere)
    machine = describe(broker_name(kind))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "what": "a gateway on one core: HTTP on loopback, decisions with publishing; times from when a request was due",
        "machine": machine,
        "options": {name: str(value) for name, value in vars(given).items()},
        "runs": runs,
    }
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    _print(Console(), machine, runs)
    return 0 if all(each.lost == 0 for each in runs) else 1


def _print(console: Console, machine: dict[str, str], runs: list[Run]) -> None:
    middle = sorted(runs, key=lambda each: each.single.requests_per_second)[len(runs) // 2]
    table = Table(
        "phase", "requests/s", "scans/s", "p50 ms", "p99", "inside", "late", "CPU us", "core", "beside",
        box=None, header_style="bold",
    )  # fmt: skip
    for name in ("single", "half", "half_promised", "bulk"):
        phase: Phase = getattr(middle, name)
        table.add_row(
            f"{_PROMISED / 2:,.0f}/s" if name == "half_promised" else name,
            f"{phase.requests_per_second:,.0f}",
            f"{phase.scans_per_second:,.0f}",
            f"{phase.outcome.p50_ms:.2f}",
            f"{phase.outcome.p99_ms:.2f}",
            f"<={phase.inside_p99_ms:g}",
            f"{phase.outcome.late_p99_ms:.2f}",
            f"{phase.cpu_us_per_request:.0f}",
            f"{phase.cpu_share:.0%}",
            f"{phase.beside_share:.0%}",
        )
    console.print(table)
    lost = "none is missing" if middle.lost == 0 else f"{middle.lost:,} are MISSING"
    console.print(
        f"{middle.said:,} scans answered for, {middle.in_kafka:,} different ones in Kafka in {middle.records:,} "
        f"records: {lost}. Peak {middle.peak_mib:.0f} MiB. The run with the middle rate of {len(runs)}."
    )
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())

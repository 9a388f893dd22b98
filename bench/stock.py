"""The baseline: a stock Faust agent that counts scans per venue and ten minutes in a tumbling RocksDB table.

`measure_stock` runs this module as a process of its own and reads its CPU time as that of our workers is read.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import faust
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from bench.machine import cpu_seconds, wait_quiet
from bench.producing import Producer
from bench.workload import Scans, Workload

_APP: Final = "bench-stock"
_TOPIC: Final = "bench-stock-scans"
_PARTITIONS: Final = 4
_WINDOW_MS: Final = 600_000
_SECONDS: Final = 600.0


class StockScan(faust.Record, serializer="json"):  # type: ignore[misc, call-arg]
    """A scan as Faust's own models have it."""

    person: str
    venue: str
    kind: str
    at_ms: int
    arrived_at_ms: int


def measure_stock(brokers: str, folder: Path, workload: Workload, scans: Scans, count: int) -> float:
    """CPU time in us a scan of the stock agent over the first `count` scans, its start left out."""
    admin = KafkaAdminClient(bootstrap_servers=brokers)
    names = (_TOPIC, f"{_APP}-counts-changelog")
    admin.create_topics([NewTopic(name=name, num_partitions=_PARTITIONS, replication_factor=1) for name in names])
    admin.close()
    command = [sys.executable, "-m", "bench.stock", brokers, str(folder / "stock"), str(count)]
    with (folder / "stock.log").open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
    assert child.stdout is not None
    try:
        _expect(child, "ready", folder)
        wait_quiet([child.pid])
        before = cpu_seconds(child.pid)
        asyncio.run(_publish(brokers, workload, scans, count))
        _expect(child, "done", folder)
        wait_quiet([child.pid])  # until its changelog is out
        return (cpu_seconds(child.pid) - before) * 1e6 / count
    finally:
        child.kill()
        child.wait()


def _expect(child: subprocess.Popen[str], word: str, folder: Path) -> None:
    assert child.stdout is not None
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        line = child.stdout.readline()
        if line.strip() == word:
            return
        if not line:
            break
    tail = (folder / "stock.log").read_text("utf-8", "replace")[-1000:]
    raise RuntimeError(f"the stock worker did not get to {word!r}: {tail}")


async def _publish(brokers: str, workload: Workload, scans: Scans, count: int) -> None:
    homes = workload.homes(scans, _PARTITIONS)[:count].tolist()
    lanes: list[list[tuple[bytes, bytes]]] = [[] for _ in range(_PARTITIONS)]
    for home, record in zip(homes, workload.records(scans, 0, count), strict=True):
        lanes[home].append(record)
    async with Producer(brokers, _TOPIC) as producer:
        await asyncio.gather(*(producer.send(number, lane) for number, lane in enumerate(lanes)))


def stock_app(brokers: str, folder: Path, count: int) -> Any:
    """The app: defaults, but for what a worker on one machine must be told."""
    app = faust.App(
        _APP, broker=f"kafka://{brokers}", store="rocksdb://", datadir=str(folder), web_enabled=False,
        topic_allow_declare=False, topic_disable_leader=True, topic_partitions=_PARTITIONS,
        consumer_auto_offset_reset="earliest", worker_redirect_stdouts=False,
    )  # fmt: skip
    topic = app.topic(_TOPIC, value_type=StockScan, key_type=bytes, key_serializer="raw")
    counts = app.Table("counts", default=int, partitions=_PARTITIONS).tumbling(_WINDOW_MS)
    by_time = counts.relative_to_field(StockScan.at_ms)
    seen = 0

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        nonlocal seen
        async for scan in stream:
            by_time[scan.venue] += 1
            seen += 1
            if seen == count:
                print("done", file=sys.__stdout__, flush=True)

    @app.task  # type: ignore[untyped-decorator]
    async def ready() -> None:
        while app.rebalancing or not app.consumer.assignment() or not app.tables.recovery.completed.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        print("ready", file=sys.__stdout__, flush=True)

    return app


def main() -> int:
    """Run the stock worker until it is ended."""
    brokers, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    worker = faust.Worker(stock_app(brokers, folder, count), loglevel="WARNING", redirect_stdouts=False)
    worker.execute_from_commandline()
    return os.EX_OK


if __name__ == "__main__":
    raise SystemExit(main())

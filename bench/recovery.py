"""`python -m bench.recovery`: how soon a places worker is level again, with its snapshot, without it, and by another.

A topic `visits` on Apache Kafka is filled with two weeks of a partition (28 million visits: its share of 112 million on
four). A worker builds its state; then it is killed (SIGKILL), some visits come meanwhile, and it is started again:

- `with_snapshot`: over the files it had,
- `without_snapshot`: over none, so that it reads the topic from the beginning,
- `hand_over`: not at all; a worker with another index, which ran beside it without a partition, takes over.

Seconds count from the start of the process (for a hand-over: from the kill) until the worker tells the log time of the
last block. CPU is user and system time of the whole process by then.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer
from kafka.structs import OffsetAndMetadata, TopicPartition
from rich.console import Console
from rich.table import Table

from bench.machine import bench_folder, broker_name, cpu_seconds, describe, peak_mib
from bench.producing import Producer
from bench.visitlog import VisitLog
from deploy.kafka import Kafka
from deploy.ports import free_ports
from lacak.processes import Worker
from lacak.settings import environment_of
from streams.settings import Partitions, Settings, Transport
from streams.snapshots import SnapshotStore
from streams.topics import app_id, cluster_id, ensure_topics

_SESSION_SECONDS: Final = 10
_PATIENCE_SECONDS: Final = 300.0
_PATIENCE_SECONDS_A_MILLION: Final = 60.0
_SAY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25  # each look is an answer of the worker's, and CPU of it: 4 a second take 2 % of that
_LOOK_SHARE: Final = 0.02  # so where it takes long it is looked as seldom as this share of it
_MEANWHILE_BLOCKS: Final = 20
_WANTED_SECONDS: Final = 10.0
_WANTED_RATE: Final = 500_000

Found = dict[str, float]


class _Filled(msgspec.Struct):
    """What is known of a topic that was filled."""

    block_rows: int
    visits: int = 0
    rows: int = 0
    size: int = 0
    end: int = 0
    marks: int = 0
    later: list[bytes] = []


class Scene:
    """A broker with the topic, and the workers over it."""

    def __init__(self, folder: Path, brokers: str, visits: int, block_rows: int, console: Console) -> None:
        self.settings = Settings(
            brokers=brokers,
            database="postgresql://nobody@127.0.0.1/none",  # a places worker has no use for it
            data_dir=folder / "data",
            partitions=Partitions(scans=4, visits=1, cases=1),
            transport=Transport(session_timeout_seconds=_SESSION_SECONDS),
        )
        self._topic = self.settings.topic("visits")
        self._log = VisitLog(visits, block_rows)
        self._console = console
        self._ports = free_ports(2)
        self._file = folder / "filled"
        self.filled = _Filled(block_rows)
        self.patience_s = _PATIENCE_SECONDS + _PATIENCE_SECONDS_A_MILLION * visits / 1e6
        ensure_topics(self.settings)
        self.cluster = cluster_id(self.settings)

    def fill(self, spare: int) -> None:
        """Write the topic, but for `spare` blocks of the last day, which come later; not if it was written before."""
        if self._file.exists():
            self.filled = msgspec.msgpack.decode(self._file.read_bytes(), type=_Filled)
            return
        asyncio.run(self._fill(spare))
        self._commit()
        self._note()

    def _note(self) -> None:
        self._file.write_bytes(msgspec.msgpack.encode(self.filled))

    async def _fill(self, spare: int) -> None:
        async with Producer(self.settings.brokers, self._topic) as producer:
            for piece in self._log.pieces():
                if piece.visits == 0:
                    break  # the last check-outs; how far the sources came is told by marks
                values = self.filled.later + piece.values
                self.filled.visits += piece.visits
                self.filled.rows += piece.rows
                self.filled.size += sum(map(len, piece.values))
                values, self.filled.later = values[:-spare], values[-spare:]
                await producer.send(0, [(None, value) for value in values])
                self.filled.end += len(values)
                self._console.print(f"  {self.filled.visits:,} visits in the topic", style="dim", highlight=False)
            await self._mark(producer)

    async def _mark(self, producer: Producer) -> None:
        """All sources say a log time that none has said before."""
        self.filled.marks += 1
        beats = [(None, self._log.beat(source, self.mark_ms)) for source in range(4)]
        await producer.send(0, beats)
        self.filled.end += len(beats)

    @property
    def mark_ms(self) -> int:
        """The log time of the last mark."""
        return self._log.end_ms + 1000 * self.filled.marks

    def meanwhile(self) -> None:
        """What comes while no worker is there."""
        some, self.filled.later = self.filled.later[:_MEANWHILE_BLOCKS], self.filled.later[_MEANWHILE_BLOCKS:]

        async def send() -> None:
            async with Producer(self.settings.brokers, self._topic) as producer:
                await producer.send(0, [(None, value) for value in some])
                self.filled.end += len(some)
                await self._mark(producer)

        asyncio.run(send())
        self._note()

    def _commit(self) -> None:
        """As if a worker had been here before: up to the end everything has been told of."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.settings.brokers, group_id=app_id(self.settings, "places"), enable_auto_commit=False
        )
        partition = TopicPartition(self._topic, 0)
        consumer.assign([partition])
        consumer.commit({partition: OffsetAndMetadata(self.filled.end, "", -1)})
        consumer.close()

    def worker(self, index: int = 0) -> Worker:
        """A places worker, not started."""
        own = msgspec.structs.replace(self.settings, worker_index=index, metrics_port=self._ports[index])
        return Worker("places", index, environment_of(own), self.settings.data_dir / "logs")

    def forget(self) -> None:
        """Take the worker's files away."""
        shutil.rmtree(self.settings.data_dir / "state" / "places", ignore_errors=True)

    def wait_level(self, worker: Worker, index: int = 0) -> None:
        """Wait until a worker tells the last mark's log time."""
        port, wanted = self._ports[index], self.mark_ms / 1000

        def how_far() -> str:
            share = _metric(port, "lacak_recovery_ratio{")
            return f"{100 * share:.0f} % of the log read" if share < 1 else "all read, not yet told"

        self._wait(lambda: _metric(port, "lacak_log_time_seconds{") >= wanted, worker, how_far)

    def wait_saved(self, worker: Worker) -> None:
        """Wait until a snapshot holds all of the topic, and its days are settled."""
        store = SnapshotStore(self.settings.data_dir / "state" / "places", self.cluster)

        def saved() -> bool:
            manifest = store.manifest("visits", 0)
            return manifest is not None and manifest.next_offset >= self.filled.end

        self._wait(saved, worker, lambda: "waiting for its snapshot")

    def _wait(self, reached: Callable[[], bool], worker: Worker, how_far: Callable[[], str]) -> None:
        """Wait until something is reached, and say now and then how far it is."""
        began = said = time.monotonic()
        while not reached():
            now = time.monotonic()
            if now - began > self.patience_s:
                raise RuntimeError(f"the worker is not there after {self.patience_s:.0f} s: {worker.log}")
            if now - said > _SAY_SECONDS:
                said = now
                self._console.print(f"  {now - began:.0f} s: {how_far()}", style="dim", highlight=False)
            worker.watch(print)
            time.sleep(max(_LOOK_SECONDS, _LOOK_SHARE * (now - began)))

    def size_mib(self) -> float:
        """The size of the worker's files."""
        files = (self.settings.data_dir / "state" / "places").rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file()) / 2**20


def _metric(port: int, begin: str) -> float:
    """What a worker tells of `visits` under a name, 0 while it tells nothing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0
    for line in text.splitlines():
        if line.startswith(begin) and 'topic="visits"' in line:
            return float(line.rpartition(" ")[2])
    return 0.0


def _started(scene: Scene, worker: Worker) -> Found:
    """Start a worker and wait for it: seconds, CPU and memory."""
    began = time.monotonic()
    worker.start()
    scene.wait_level(worker)
    seconds = time.monotonic() - began
    return {"seconds": seconds, "cpu_s": cpu_seconds(worker.pid), "peak_mib": peak_mib(worker.pid)}


def measure(scene: Scene, runs: int, *, hand_over: bool, console: Console) -> dict[str, list[Found]]:
    """All runs, in the order in which each finds what it needs."""
    found: dict[str, list[Found]] = {"without_snapshot": [], "with_snapshot": []}
    worker = scene.worker()
    try:
        for number in range(runs):
            if number:
                scene.meanwhile()
            one = _started(scene, worker)
            one["visits_a_second"] = scene.filled.visits / one["seconds"]
            one["visits_a_cpu_second"] = scene.filled.visits / one["cpu_s"]
            found["without_snapshot"].append(one)
            _say(console, f"without a snapshot, {number + 1} of {runs}", one)
            if number + 1 < runs:
                worker.kill()
                scene.forget()
        for number in range(runs):
            scene.wait_saved(worker)
            worker.kill()
            scene.meanwhile()
            found["with_snapshot"].append(_started(scene, worker) | {"files_mib": scene.size_mib()})
            _say(console, f"with its snapshot, {number + 1} of {runs}", found["with_snapshot"][-1])
        if hand_over:
            scene.wait_saved(worker)
            found["hand_over"] = [_handed_over(scene, worker)]
            _say(console, "handed over", found["hand_over"][0])
    finally:
        worker.kill()
    return found


def _say(console: Console, what: str, found: Found) -> None:
    figures = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
    console.print(f"{what}: {figures}", style="dim", highlight=False)


def _handed_over(scene: Scene, worker: Worker) -> Found:
    """The worker is killed, and another takes its partition."""
    other = scene.worker(1)
    other.start()
    try:
        time.sleep(2 * _SESSION_SECONDS)
        worker.kill()
        began = time.monotonic()
        scene.meanwhile()
        scene.wait_level(other, 1)
        return {"seconds": time.monotonic() - began, "session_timeout_s": _SESSION_SECONDS}
    finally:
        other.kill()


def main() -> int:
    """Measure, and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--visits", type=int, default=28_000_000, help="of the partition (default: %(default)s)")
    parser.add_argument("--block-rows", type=int, default=1000, help="rows in a block (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many runs (default: %(default)s)")
    parser.add_argument("--without-hand-over", action="store_true", help="leave the hand-over out")
    parser.add_argument("--folder", type=Path, help="where the broker's files are, or are to stay")
    parser.add_argument("--fill", action="store_true", help="fill the topic in --folder, and no more")
    parser.add_argument("--output", type=Path, default=Path("build/bench-recovery.json"))
    given = parser.parse_args()
    console = Console(stderr=True)
    with bench_folder() as temporary:
        folder = given.folder.absolute() if given.folder else temporary
        kafka = Kafka(folder / "kafka")
        kafka.start()
        try:
            scene = Scene(folder, kafka.bootstrap, given.visits, given.block_rows, console)
            console.print(f"filling the topic with {given.visits:,} visits", highlight=False)
            scene.fill(_MEANWHILE_BLOCKS * 8)
            if given.fill:
                return 0
            scene.forget()
            found = measure(scene, given.runs, hand_over=not given.without_hand_over, console=console)
        finally:
            kafka.stop()
    medians = {what: _medians(runs) for what, runs in found.items()}
    machine = describe(broker_name("kafka"))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    topic = {name: getattr(scene.filled, name) for name in ("visits", "rows", "block_rows", "size")}
    whole: dict[str, Any] = {"what": __doc__, "machine": machine, **topic, **medians, "runs": found}
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")
    _print(Console(), scene.filled.visits, medians, machine)
    return 0


def _medians(runs: Sequence[Found]) -> Found:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _print(console: Console, visits: int, medians: dict[str, Found], machine: dict[str, str]) -> None:
    table = Table("", "wanted", "seconds", "CPU s", "visits a CPU second", box=None, header_style="bold")
    wanted = {"with_snapshot": f"{_WANTED_SECONDS:.0f} s", "without_snapshot": f"{_WANTED_RATE:,} a second and core"}
    for what, figures in medians.items():
        cpu, rate = figures.get("cpu_s"), figures.get("visits_a_cpu_second")
        table.add_row(
            what.replace("_", " "), wanted.get(what, ""), f"{figures['seconds']:.1f}",
            f"{cpu:.1f}" if cpu else "", f"{rate:,.0f}" if rate else "",
        )  # fmt: skip
    console.print(f"{visits:,} visits", highlight=False)
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m bench.status`: what a health event costs the status agent, stage by stage, and how soon doors know.

First the stages in this process, a batch at a time, without a broker. Then a status worker over a real broker: events
as fast as a producer goes, CPU time of the worker's process over events; and then positive tests one after the other,
from just before the `test-results` record is handed to the producer until a consumer of `statuses` has the black one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from rich.console import Console
from rich.table import Table

from agents.status import Statuses
from bench.machine import (
    Broker,
    bench_folder,
    broker_name,
    cpu_seconds,
    describe,
    resident_mib,
    running_broker,
    usable_broker,
)
from bench.producing import Producer
from contacts.coloursinforce import ColoursInForce
from contacts.healthstate import HealthState
from lacak.clock import SystemClock
from lacak.processes import Worker, stop_all
from lacak.settings import environment_of
from schemas.health import HealthRecord, PersonFact, Status, TestFact, VaccinationFact
from schemas.keys import health_key
from schemas.messages import TestResult
from schemas.partitions import partition_of, partitions_of
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.settings import DeadLetterLimits, Partitions, Settings, Transport
from streams.topics import ensure_topics

_DAY_MS: Final = 86_400_000
_BATCH: Final = 4000
_KINDS: Final = ("dose", "dose", "negative", "negative", "negative", "positive", "age")


class Events:
    """Health records of people, now: doses, tests, ages; each person has a handful."""

    def __init__(self, people: int, seed: int) -> None:
        self._dice = random.Random(seed)
        self._people = [f"p1:{self._dice.getrandbits(128):032x}" for _ in range(people)]

    def make(self, count: int, now_ms: int) -> list[tuple[str, bytes, bytes]]:
        """(person, key, value) of so many records."""
        dice = self._dice
        made: list[tuple[str, bytes, bytes]] = []
        for _ in range(count):
            person, kind = dice.choice(self._people), dice.choice(_KINDS)
            ago_ms = dice.randrange(300) * _DAY_MS
            name = f"{kind}/{dice.randrange(3)}"
            fact: Any
            if kind == "dose":
                fact = VaccinationFact(product="CoronaVac", at_ms=now_ms - ago_ms)
            elif kind == "age":
                name, fact = "age", PersonFact(age_band="18-59")
            else:
                at_ms = now_ms - ago_ms // 10
                fact = TestFact(test="pcr", outcome=kind, specimen_ms=at_ms, result_ms=at_ms)  # type: ignore[arg-type]
            record = HealthRecord(person=person, record_id=name, fact=fact, told_at_ms=now_ms)
            now_ms += 1 if len(made) % 100 == 0 else 0
            made.append((person, health_key(person, name), msgspec.json.encode(record)))
        return made


class _Sink:
    """An outbox that keeps nothing."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, *_: object, **__: object) -> None:
        self.sent += 1

    async def flush(self) -> None:
        """Nothing waits."""

    def when_acknowledged(self, told: Callable[[], object]) -> None:
        """It is."""
        told()


def stages(given: argparse.Namespace) -> dict[str, float]:
    """CPU microseconds an event of reading, judging and telling."""
    settings, clock, sink = Settings(partitions=Partitions(cases=1)), SystemClock(), _Sink()
    colours = ColoursInForce()
    letters = DeadLetters(sink, DeadLetterLimits())
    statuses = Statuses(settings, clock, sink, letters, colours, lambda _: 0)  # type: ignore[arg-type]
    now_ms = clock.now_ms()
    records = Events(given.people, given.seed).make(given.events, now_ms)
    batches = []
    for start in range(0, len(records), _BATCH):
        part = records[start : start + _BATCH]
        offsets = range(start, start + len(part))
        keys, values = [key for _, key, _ in part], [value for _, _, value in part]
        batches.append(Batch("health-records", 0, offsets, [now_ms] * len(part), keys, values, highwater=len(records)))
    state: HealthState = statuses.make(0)
    statuses.derive(statuses.make(0), batches[0])  # what is imported and compiled at the first is no event's cost
    sink.sent = 0
    spent = {"read": 0.0, "judge": 0.0, "tell": 0.0}
    for batch in batches:
        began = time.process_time()
        said = statuses.read(batch)
        read = time.process_time()
        statuses.take(state, batch, said)
        judged = time.process_time()
        statuses.tell(state, batch)
        told = time.process_time()
        for name, seconds in zip(spent, (read - began, judged - read, told - judged), strict=True):
            spent[name] += seconds
    us = {name: seconds / len(records) * 1e6 for name, seconds in spent.items()}
    return {**us, "all": sum(us.values()), "statuses an event": sink.sent / len(records)}


class Doors(threading.Thread):
    """Reads `statuses` as a gateway does; when each person's first black status was there."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self.count, self.black, self.ends = 0, dict[str, float](), False
        self._consumer = KafkaConsumer(
            bootstrap_servers=settings.brokers, enable_auto_commit=False, fetch_max_wait_ms=100
        )
        self._consumer.assign([TopicPartition(settings.topic("statuses"), n) for n in range(settings.partitions.cases)])
        self._consumer.seek_to_beginning()

    def run(self) -> None:
        """Until told to end."""
        decoder = msgspec.json.Decoder(Status)
        while not self.ends:
            for records in self._consumer.poll(timeout_ms=50).values():
                now = time.monotonic()
                self.count += len(records)
                for record in records:
                    if record.key.startswith(b"case:") and decoder.decode(record.value).colour == "black":
                        self.black.setdefault(record.key.decode(), now)


def over_broker(kind: Broker, given: argparse.Namespace, console: Console) -> dict[str, Any]:
    """A worker over a broker: CPU an event, and milliseconds to black."""
    with bench_folder() as folder, running_broker(kind, folder) as brokers:
        settings = Settings(
            brokers=brokers, database="none", data_dir=folder / "data", topic_prefix=f"b{uuid.uuid4().hex[:6]}.",
            partitions=Partitions(cases=given.partitions), transport=Transport(session_timeout_seconds=10),
        )  # fmt: skip
        (folder / "data").mkdir()
        ensure_topics(settings)
        worker = Worker("status", 0, environment_of(settings), folder / "logs")
        worker.start()
        doors = Doors(settings)
        doors.start()
        producer = KafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=5, batch_size=256 * 1024)
        try:
            _black(settings, producer, doors, "case:first", 120.0)
            found = _flow(settings, producer, worker, doors, given, console)
            waits = []
            for number in range(given.tests):
                waits.append(_black(settings, producer, doors, f"case:{number}", 30.0) * 1000)
                time.sleep(0.2)
            found["black_ms"] = {f"p{q}": round(float(np.percentile(waits, q)), 1) for q in (50, 90, 99, 100)}
            return found
        finally:
            doors.ends = True
            stop_all([worker])


def _black(settings: Settings, producer: KafkaProducer, doors: Doors, person: str, seconds: float) -> float:
    """Seconds from a positive test to black."""
    now_ms = time.time_ns() // 1_000_000
    value = msgspec.json.encode(TestResult(person=person, outcome="positive", specimen_ms=now_ms - _DAY_MS))
    partition = partition_of(person, settings.partitions.cases)
    began = time.monotonic()
    producer.send(settings.topic("test-results"), value, person.encode(), partition=partition)
    producer.flush()
    while person not in doors.black:
        if time.monotonic() > began + seconds:
            raise TimeoutError(f"no black status came within {seconds:.0f} s")
        time.sleep(0.001)
    return doors.black[person] - began


def _flow(
    settings: Settings,
    producer: KafkaProducer,
    worker: Worker,
    doors: Doors,
    given: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    """Events as fast as they go, until nothing more is told."""
    records = Events(given.people, given.seed).make(given.events, time.time_ns() // 1_000_000)
    homes = partitions_of([person for person, _, _ in records], settings.partitions.cases).tolist()
    before = doors.count
    idle = cpu_seconds(worker.pid)
    began = time.monotonic()
    lanes: list[list[tuple[bytes, bytes]]] = [[] for _ in range(settings.partitions.cases)]
    for home, (_, key, value) in zip(homes, records, strict=True):
        lanes[home].append((key, value))
    asyncio.run(_send(settings, lanes))
    sent = time.monotonic()
    marker = "case:marker"
    _black(settings, producer, doors, marker, 600.0)
    count, quiet = -1, time.monotonic()
    while doors.count != count:
        count, quiet = doors.count, time.monotonic()
        time.sleep(2.0)
    cpu = cpu_seconds(worker.pid) - idle
    console.print(f"sent in {sent - began:.1f} s, told within {quiet - began:.1f} s")
    return {
        "cpu_us_an_event": cpu / len(records) * 1e6,
        "events_a_core_second": len(records) / cpu,
        "statuses": doors.count - before,
        "seconds": quiet - began,
        "worker_mib": resident_mib(worker.pid),
    }


async def _send(settings: Settings, lanes: list[list[tuple[bytes, bytes]]]) -> None:
    async with Producer(settings.brokers, settings.topic("health-records")) as producer:
        await asyncio.gather(*(producer.send(number, lane) for number, lane in enumerate(lanes)))


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.status", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="how many (default: %(default)s)")
    parser.add_argument("--people", type=int, default=100_000, help="of how many people (default: %(default)s)")
    parser.add_argument("--tests", type=int, default=200, help="positive tests, one after the other")
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--broker", choices=("kafka", "tansu"), help="default: kafka where Java is, else tansu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-status.json"))
    given = parser.parse_args()
    with bench_folder() as folder:
        kind = usable_broker(given.broker, folder)
    machine = describe(broker_name(kind))
    console = Console()
    found = {"stages": stages(given), **over_broker(kind, given, Console(stderr=True))}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.encode({"machine": machine, "load": os.getloadavg(), "events": given.events, **found})
    given.output.write_bytes(msgspec.json.format(data) + b"\n")
    table = Table("CPU us an event", *found["stages"], box=None, header_style="bold")
    table.add_row("one process, no broker", *(f"{value:,.1f}" for value in found["stages"].values()))
    console.print(table)
    console.print(
        f"the worker over {broker_name(kind)}: {found['cpu_us_an_event']:.1f} us an event,"
        f" {found['events_a_core_second']:,.0f} events a second a core, {found['worker_mib']:.0f} MiB;"
        f" a positive test to black in ms: {found['black_ms']}",
        highlight=False,
    )
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

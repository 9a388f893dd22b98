"""The gateway and its brokers: away, back, others; every scan that was answered is in Kafka, and once in effect."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.embedded import Tansu
from gateway.door import Door, open_door
from gateway.tickets import Ask
from schemas.blocks import SCAN_BLOCKS, SCANS_MAGIC, unframe
from schemas.health import Status
from schemas.messages import Occupancy, Scan, Venue
from schemas.partitions import partition_of
from streams.settings import Settings
from streams.topics import ensure_topics
from tests.gateway_driver import CALLERS, EACH, now_ms, person, settings
from tests.pipeline import Broker

ROOT = Path(__file__).parents[1]
PARTITIONS = 4


def send(brokers: str, topic: str, *messages: tuple[str, object | None]) -> None:
    """Publish messages by their keys; None: a tombstone."""
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all")
    for key, message in messages:
        value = None if message is None else msgspec.json.encode(message)
        producer.send(topic, key=key.encode(), value=value).get(30)
    producer.close()


def status(number: int, who: str, colour: str = "green") -> tuple[str, Status]:
    """A status with a position."""
    found = Status(
        person=who, colour=colour, since_ms=1, rule="r", reason="doses", log_time_ms=1, position=(0, number), doses=2
    )  # type: ignore[arg-type]  # fmt: skip
    return who, found


def publish_town(brokers: str, prefix: str = "") -> None:
    """Topics, a mall, and everybody green."""
    ensure_topics(Settings(brokers=brokers, topic_prefix=prefix))
    send(brokers, prefix + "venues", ("mall\x1f0", Venue(venue="mall", category="mall", capacity=1_000_000)))
    people = {person(caller * EACH + number) for caller in range(CALLERS) for number in range(5)}
    send(brokers, prefix + "statuses", *(status(number, who) for number, who in enumerate(sorted(people))))


def scans_in(brokers: str, topic: str = "scans") -> list[list[Scan]]:
    """All scans of each partition, in order, out of messages and blocks."""
    consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    found: list[list[Scan]] = [[] for _ in places]
    quiet, deadline = 0, time.monotonic() + 60
    while quiet < 10:  # looks at which nothing came and every partition was read to its end
        assert time.monotonic() < deadline, "the scans cannot be read"
        fetched = consumer.poll(timeout_ms=200)
        at_end = all(consumer.position(place) >= (consumer.highwater(place) or 0) for place in places)
        quiet = quiet + 1 if at_end and not fetched else 0
        for place, records in fetched.items():
            for record in records:
                if record.value[:4] != SCANS_MAGIC:
                    found[place.partition].append(msgspec.json.decode(record.value, type=Scan))
                    continue
                block = unframe(SCANS_MAGIC, record.value, SCAN_BLOCKS)
                for who, scan_id in zip(block.persons, block.scan_ids, strict=True):
                    found[place.partition].append(
                        Scan(person=who, venue="", kind="in", at_ms=0, scan_id=scan_id, gateway=block.gateway)
                    )
    consumer.close()
    return found


def check_order(found: list[list[Scan]]) -> None:
    """Every scan is in its person's partition; each caller's come in order, where one came twice by the first time."""
    for partition, scans in enumerate(found):
        assert all(partition_of(scan.person, PARTITIONS) == partition for scan in scans)
        numbers = list(dict.fromkeys(int(scan.scan_id or "") for scan in scans))
        for group in {number // EACH for number in numbers}:
            theirs = [number for number in numbers if number // EACH == group]
            assert theirs == sorted(theirs)


class Driver:
    """A gateway's process, and what it has answered."""

    def __init__(self, brokers: str, folder: Path, first: int) -> None:
        self._path = folder / f"answers-{first}"
        with self._path.open("wb") as answers, (folder / f"errors-{first}").open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.gateway_driver", brokers, str(folder), str(first)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=answers, stderr=errors,
            )  # fmt: skip

    def answers(self) -> list[tuple[int, str, int]]:
        """(number, outcome, age) of every answer; a line that is cut short is none."""
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [(int(number), said.decode(), int(age)) for number, said, age in (line.split() for line in lines)]

    def wait_for(self, more: int, seconds: float = 60.0) -> None:
        """Wait until it has answered so many more."""
        wanted = len(self.answers()) + more
        deadline = time.monotonic() + seconds
        while len(self.answers()) < wanted:
            assert self._child.poll() is None, "the gateway has ended"
            assert time.monotonic() < deadline, "the gateway does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()


@pytest.mark.kafka
def test_kafka_killed_under_load_and_the_gateway_in_the_middle(tmp_path: Path) -> None:
    """Kafka is killed for a while; meanwhile the gateway too, and starts without Kafka; and once more afterwards.

    All the time it answers. In the end every scan that was answered is in Kafka, and each caller's are in order.
    """
    from deploy.kafka import Kafka

    kafka = Kafka(tmp_path / "kafka")
    kafka.start()
    drivers: list[Driver] = []
    try:
        brokers = kafka.bootstrap
        publish_town(brokers)
        drivers.append(Driver(brokers, tmp_path, 0))
        drivers[0].wait_for(500)
        kafka.kill()
        drivers[0].wait_for(500)
        time.sleep(2.0)
        drivers[0].wait_for(300)
        drivers[0].kill()
        drivers.append(Driver(brokers, tmp_path, 10 * EACH))
        drivers[1].wait_for(500)
        assert {said for _, said, _ in drivers[1].answers()} == {"admit", "out"}, "not by the kept copies"
        assert min(age for _, _, age in drivers[1].answers()) > 2000, "a copy that was kept is not fresh"
        kafka.start()
        drivers[1].wait_for(1500)
        drivers[1].kill()
        drivers.append(Driver(brokers, tmp_path, 20 * EACH))
        drivers[2].wait_for(300)
        drivers[2].kill()
        subprocess.run(
            [sys.executable, "-m", "tests.gateway_driver", brokers, str(tmp_path), "0", "drain"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=120,
        )  # fmt: skip
        found = scans_in(brokers)
    finally:
        for driver in drivers:
            driver.kill()
        kafka.stop()
    answered = {number for driver in drivers for number, _, _ in driver.answers()}
    sent = {int(scan.scan_id or "") for scans in found for scan in scans}
    assert len(answered) > 3000
    assert answered <= sent, f"{len(answered - sent)} of {len(answered)} who got an answer are missing"
    assert len(sent - answered) <= 3 * CALLERS, "more than those whose answer was on its way"
    check_order(found)


@pytest.fixture
def prefix(broker: Broker) -> str:
    """Topics of the test's own."""
    return f"t{time.time_ns()}-"


async def until(true: object, seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it does not come true"
        await asyncio.sleep(0.02)


def test_what_the_topics_say_is_at_the_door(broker: Broker, prefix: str, tmp_path: Path) -> None:
    """Statuses change and go, counts come, venues too; older positions change nothing; scans arrive and are let go."""
    publish_town(broker.bootstrap, prefix)
    of = msgspec.structs.replace(settings(broker.bootstrap, tmp_path), topic_prefix=prefix)
    who = person(1)

    async def run() -> None:
        async with open_door(of, now_ms) as door:
            await until(lambda: door.copies.level)
            assert door.copies.standing(who) is not None
            await asyncio.to_thread(send, of.brokers, f"{prefix}statuses", status(90, who, "black"))
            await until(lambda: (found := door.copies.standing(who)) and found.colour == "black")
            ticket = await door.ask(Ask(venue="mall", person=who))
            assert ticket.decision is not None
            assert ticket.decision.outcome == "refuse"
            await asyncio.to_thread(send, of.brokers, f"{prefix}statuses", status(80, who, "green"), (person(2), None))
            await until(lambda: door.copies.standing(person(2)) is None)
            found = door.copies.standing(who)
            assert found is not None
            assert found.colour == "black"
            ticket = await door.ask(Ask(venue="mall", person=person(3)))
            assert ticket.inside == 1
            assert await door.sender.drain(30)
            count = Occupancy(venue="mall", inside=1, log_time_ms=now_ms() + 60_000, position=(5, 0))
            await asyncio.to_thread(send, of.brokers, f"{prefix}occupancy", ("mall", count))
            await until(lambda: door.copies.count("mall").counted == 1)
            assert door.copies.count("mall").inside == 1
            age_ms = door.copies.age_ms("statuses")
            assert age_ms is not None
            assert age_ms < 3000

    asyncio.run(run())
    found = scans_in(broker.bootstrap, f"{prefix}scans")
    assert sorted((scan.person, scan.kind) for scans in found for scan in scans) == [
        (who, "refused"),
        (person(3), "in"),
    ]


def test_a_start_without_brokers_decides_by_the_kept_copies(broker: Broker, prefix: str, tmp_path: Path) -> None:
    """And when they are there again it reads on from where it stood, and not from the beginning."""
    publish_town(broker.bootstrap, prefix)
    here = msgspec.structs.replace(settings(broker.bootstrap, tmp_path), topic_prefix=prefix)
    nowhere = msgspec.structs.replace(here, brokers="127.0.0.1:9")

    async def first() -> None:
        async with open_door(here, now_ms) as door:
            await until(lambda: door.copies.level)

    async def alone() -> None:
        async with open_door(nowhere, now_ms) as door:
            assert door.copies.level
            ticket = await door.ask(Ask(venue="mall", person=person(1)))
            assert ticket.decision is not None
            assert (ticket.decision.outcome, ticket.inside) == ("admit", 1)
            assert (ticket.statuses_age_ms or 0) > 0
            assert door.spool.waiting() == 1

    async def again() -> None:
        async with open_door(here, now_ms) as door:
            await until(lambda: (door.copies.age_ms("statuses") or 10_000) < 1000)
            assert door.copies.readers["statuses"].records == 0
            assert await door.sender.drain(30)

    for each in (first, alone, again):
        asyncio.run(each())
    assert [scan.person for scans in scans_in(broker.bootstrap, f"{prefix}scans") for scan in scans] == [person(1)]


@pytest.fixture
def tansu(tmp_path: Path) -> Iterator[Tansu]:
    """A broker of the test's own, that may be stopped."""
    server = Tansu(tmp_path / "tansu")
    server.start()
    yield server
    server.stop()


def test_brokers_that_come_back_empty_are_another_log(
    tansu: Tansu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker stopped under load forgets everything: what waits is sent, copies follow the new topics."""
    publish_town(tansu.bootstrap)
    of = settings(tansu.bootstrap, tmp_path / "gateway")
    monkeypatch.setattr("deploy.embedded.free_port", lambda: int(of.brokers.rpartition(":")[2]))
    answered: list[int] = []
    going = True

    async def load(door: Door) -> None:
        number = 0
        while going:
            await door.ask(Ask(venue="mall", person=person(number), scan_id=str(number), kind="out"))
            answered.append(number)
            number += 1
            await asyncio.sleep(0.002)

    async def run() -> None:
        nonlocal going
        async with open_door(of, now_ms) as door:
            await until(lambda: door.copies.level)
            task = asyncio.create_task(load(door))
            await until(lambda: door.sender.sent > 100)
            await asyncio.to_thread(tansu.stop)
            first = len(answered)
            await until(lambda: len(answered) > first + 200)
            assert door.spool.waiting() > 100
            waiting = door.spool.next("scans", 1)
            assert waiting is not None
            lost = min(int(scan.scan_id) for scan in waiting[0].items)  # type: ignore[union-attr, arg-type]
            await asyncio.to_thread(tansu.start)
            await asyncio.to_thread(ensure_topics, Settings(brokers=of.brokers))
            await asyncio.to_thread(send, of.brokers, "statuses", status(0, person(1), "red"))
            await until(lambda: (found := door.copies.standing(person(1))) and found.colour == "red", 60)
            await until(lambda: door.copies.standing(person(2)) is None)
            going = False
            await task
            assert await door.sender.drain(30)
            found = await asyncio.to_thread(scans_in, of.brokers)
            sent = {int(scan.scan_id or "") for scans in found for scan in scans}
            assert set(range(lost, len(answered))) <= sent  # their order is Tansu's, which gives offsets anew at times

    asyncio.run(run())

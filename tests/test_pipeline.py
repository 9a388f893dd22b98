"""The running pipeline against the oracle: whatever the order, the copies, the partitions and the workers."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import msgspec
import pytest

from schemas.messages import Scan, Venue
from schemas.partitions import partition_of
from streams.reader import read_topic
from tests import oracle
from tests.pipeline import FAR_DAYS, Broker, Pipeline, Windows, pipeline
from tests.worlds import BEGIN, World, world

DAY_MS = 86_400_000
WORLD_PEOPLE, WORLD_SCANS = 60, 1500


@pytest.fixture(scope="module")
def town() -> World:
    """A nasty town of two days."""
    return world(7, people=WORLD_PEOPLE, venues=14, days=2, scans=WORLD_SCANS)


def check(running: Pipeline, town: World) -> None:
    """Visits, windows and traces are what the oracle says."""
    rules = oracle.Rules(horizon=3 * DAY_MS, retention=int(FAR_DAYS * DAY_MS), tolerance=300_000)
    wanted = oracle.visits(town.scans, town.venues, rules, town.erasures)
    assert running.visits() == wanted
    assert running.windows() == {key: Windows(*row) for key, row in oracle.windows(wanted).items()}
    assert set(running.inside().values()) <= {0}
    people = sorted({visit.person for visit in wanted})
    for person, direction in ((people[0], "forward"), (people[len(people) // 2], "backward")):
        onset = max(visit.start for visit in wanted if visit.person == person)
        trace = running.trace(person, direction, onset)
        assert trace.state == "complete"
        window = (trace.window_start_ms, trace.window_end_ms)
        found = oracle.contacts(
            wanted, person, window, minimum_minutes=15, strict=False, per="stay", direction=direction
        )
        assert {contact.person for contact in trace.contacts} == set(found)
        for contact in trace.contacts:
            stays = sorted((stay.venue, stay.start_ms, stay.end_ms) for stay in contact.evidence)
            assert stays == sorted((row.venue, row.start, row.end) for row in found[contact.person][1])


@pytest.mark.parametrize(
    ("order", "partitions", "workers"),
    [
        ("in order", 4, {}),
        ("shuffled", 4, {}),
        ("a tenth twice", 4, {}),
        ("shuffled", 1, {}),
        ("shuffled", 8, {"visits": 2, "places": 2}),
    ],
)
def test_the_answer_is_a_function_of_the_scans(
    broker: Broker, database: str, tmp_path: Path, town: World, order: str, partitions: int, workers: Mapping[str, int]
) -> None:
    scans = town.messages()
    if order == "shuffled":
        scans = town.shuffled(partitions)
    elif order == "a tenth twice":
        copied = random.Random(1).sample(town.scans, len(town.scans) // 10)
        scans = town._replace(scans=town.scans + copied).shuffled(2)
    with pipeline(broker, database, tmp_path, partitions=partitions, workers=workers) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        half = len(scans) // 2
        running.publish(scans[:half])
        running.publish(scans[half:], blocks=False)
        running.end()
        check(running, town)


def test_a_restart_in_the_middle_changes_nothing(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    scans = town.shuffled(3)
    with pipeline(broker, database, tmp_path) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        for start in range(0, len(scans), 500):
            running.publish(scans[start : start + 500])
            for role in ("visits", "places", "recorder"):
                worker = running.worker(role)
                worker.ask_to_stop()
                worker.wait(20)
                worker.start()
        running.end()
        check(running, town)


def test_bad_input_goes_to_the_dead_letters_and_stops_nothing(
    broker: Broker, database: str, tmp_path: Path, town: World
) -> None:
    scans = town.messages()
    first = scans[0]
    at_ms, home = first.at_ms, partition_of("somebody", 4)
    good = {"person": "somebody", "venue": "v", "kind": "in", "at_ms": at_ms, "arrived_at_ms": at_ms}

    def scan(**changes: object) -> bytes:
        return msgspec.json.encode({key: value for key, value in {**good, **changes}.items() if value is not None})

    from gateway.packing import packed

    block = next(iter(packed([Scan(person="somebody", venue="v", kind="in", at_ms=at_ms)]))).value
    bad = [
        (home, b"\xff\xfe nonsense", "undecodable"),
        (home, b"", "undecodable"),
        (home, None, "undecodable"),
        (home, b"{}", "undecodable"),
        (home, scan(kind="sideways"), "undecodable"),
        (home, scan(at_ms="yesterday"), "undecodable"),
        (home, scan(venue=None), "undecodable"),
        (home, block[:-3], "undecodable"),
        (home, scan(at_ms=at_ms + 300_001), "in_the_future"),
        (home, scan(at_ms=at_ms - int(FAR_DAYS * DAY_MS) - 1), "too_old"),
        ((home + 1) % 4, scan(), "wrong_partition"),
        (home, scan(arrived_at_ms=4_000_000_000_000, at_ms=4_000_000_000_000), "arrival_ahead"),
        (home, scan(venue="\u0007"), "bad_venue"),
    ]
    with pipeline(broker, database, tmp_path) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        for number, start in enumerate(range(0, len(scans), 300)):
            running.publish(scans[start : start + 300], blocks=number % 2 == 0)
            running.send_raw(
                "scans", [(partition, b"k", value) for partition, value, _ in bad[number * 3 : number * 3 + 3]]
            )
        running.end()
        check(running, town)
        letters = [msgspec.json.decode(record.value or b"") for record in read_topic(running.settings, "dead-letters")]
    assert sorted(letter["reason"] for letter in letters) == sorted(reason for _, _, reason in bad)
    assert len({letter["letter_id"] for letter in letters}) == len(bad)


def test_an_unregistered_venue_gets_the_defaults(broker: Broker, database: str, tmp_path: Path) -> None:
    at_ms = 1_634_797_020_000
    with pipeline(broker, database, tmp_path) as running:
        running.register([Venue(venue="known", assumed_stay_minutes=30)])
        running.publish(
            [
                Scan(person=p, venue=v, kind="in", at_ms=at_ms, arrived_at_ms=at_ms)
                for p, v in (("a", "known"), ("b", "unknown"))
            ]
        )
        running.end()
        assert [(v.venue, v.end - v.start) for v in running.visits()] == [("known", 1_800_000), ("unknown", 7_200_000)]


def test_a_damaged_segment_is_not_answered_from(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    """Days are settled into files. A bit flipped in each while the worker is stopped: it says so, and rebuilds."""
    with pipeline(broker, database, tmp_path, partitions=2, snapshot_seconds=0.3) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        running.publish(town.messages())
        running.end()
        worker = running.worker("places")
        files = settled_files(running, 2)
        time.sleep(3.0)  # until the index has taken them up, which it looks to once a second
        more = oracle.Scan("p0", "v0", "in", BEGIN + 20 * DAY_MS, BEGIN + 20 * DAY_MS)
        town = town._replace(scans=[*town.scans, more])
        running.publish(town._replace(scans=[more]).messages())  # so that there is a snapshot with the files
        running.end()
        worker.ask_to_stop()
        worker.wait(20)
        for path in files:
            content = bytearray(path.read_bytes())
            content[8192] ^= 1  # in the first of its arrays
            path.write_bytes(content)
        ended = Event()
        with ThreadPoolExecutor(1) as watcher:
            worker.start()
            watching = watcher.submit(watch, running, ended)
            try:
                until_said(worker.log, "visits, partition 0, is thrown away", "visits, partition 1, is thrown away")
                check(running, town)
            finally:
                ended.set()
            watching.result()
        said = worker.log.read_text()
        assert "cannot be used: its words are damaged. What it held is rebuilt from the topic." in said
        assert "Traceback" not in said


def until_said(log: Path, *wanted: str) -> None:
    """Wait until a worker's log says all of this: idle workers read their files through one by one."""
    deadline = time.monotonic() + 60.0
    while not all(words in log.read_text() for words in wanted):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def settled_files(running: Pipeline, partitions: int) -> list[Path]:
    """The files of settled days, once so many partitions have some."""
    home = running.settings.data_dir / "state" / "places"
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        files = sorted(home.glob("*/segment-*"))
        if len({path.parent for path in files}) >= partitions:
            return files
        time.sleep(0.1)
    raise AssertionError("no day was settled into a file")


def watch(running: Pipeline, ended: Event) -> None:
    """Start workers again that have ended."""
    while not ended.wait(0.1):
        running.lacak.watch()

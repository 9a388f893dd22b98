"""Heartbeats: their age is that of the oldest way, and what they pass through is as it would be without them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from contacts.deriver import Deriver
from contacts.places import Places
from contacts.visits import Acceptance
from schemas.blocks import Heartbeat
from schemas.heartbeats import Pulse, beat, beat_of
from schemas.messages import Scan, Trace, Venue
from schemas.partitions import partition_of
from tests.pipeline import Broker, Pipeline, Windows, pipeline

DAY = 86_400_000
_ZONE = ZoneInfo("Asia/Jakarta")
NOW = 1_634_788_800_000


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at_ms = NOW

    def __call__(self) -> int:
        return self.at_ms


@pytest.fixture
def clock() -> Iterator[Hand]:
    """A clock, and no gauge left behind that asks it."""
    yield Hand()
    Pulse("topic", Hand()).hold(())


def age(partition: int) -> float | None:
    """What Prometheus would be told."""
    return REGISTRY.get_sample_value("lacak_heartbeat_age_seconds", {"topic": "topic", "partition": str(partition)})


def test_a_partition_is_as_old_as_its_oldest_source(clock: Hand) -> None:
    """Before every source has been heard, and when one falls silent, the age grows; it grows between two looks too."""
    pulse = Pulse("topic", clock, 2)
    pulse.hold({0})
    clock.at_ms += 3000
    assert pulse.came(0, Heartbeat(0, clock.at_ms)) is None
    assert age(0) == 3.0  # since it was taken up
    clock.at_ms += 1000
    assert pulse.came(0, Heartbeat(1, clock.at_ms)) == NOW + 3000
    assert age(0) == 1.0
    clock.at_ms += 5000
    assert pulse.came(0, Heartbeat(1, clock.at_ms)) is None, "source 0 is silent"
    assert age(0) == 6.0
    clock.at_ms += 1000
    assert age(0) == 7.0
    assert pulse.came(0, Heartbeat(0, clock.at_ms)) == NOW + 9000
    assert age(0) == 1.0
    pulse.hold(())
    assert age(0) is None


def test_a_heartbeat_from_the_future_is_one_of_now(clock: Hand) -> None:
    """A clock that goes ahead, or a record that lies, must not keep a way young that is blocked."""
    pulse = Pulse("topic", clock)
    pulse.hold({0})
    pulse.came(0, Heartbeat(0, clock.at_ms + DAY))
    clock.at_ms += 60_000
    assert age(0) == 60.0
    pulse.hold(())


def test_old_heartbeats_that_are_read_again_change_nothing(clock: Hand) -> None:
    """A replay brings them once more; only the newest counts, and none of them into the histogram."""
    pulse = Pulse("topic", clock)
    pulse.hold({0})
    pulse.came(0, Heartbeat(0, NOW))
    clock.at_ms += 10_000
    seen = REGISTRY.get_sample_value("lacak_heartbeat_seconds_count", {"topic": "topic"})
    for back in range(100):
        assert pulse.came(0, Heartbeat(0, NOW - back * 5000)) is None
    assert age(0) == 10.0
    assert REGISTRY.get_sample_value("lacak_heartbeat_seconds_count", {"topic": "topic"}) == seen
    pulse.hold(())


def test_only_a_heartbeat_is_one() -> None:
    """Any other record, and a damaged one, is none."""
    assert beat_of(beat(3, NOW)) == Heartbeat(3, NOW)
    assert beat_of(None) is None
    assert beat_of(b'{"venue":"a"}') is None
    assert beat_of(beat(3, NOW)[:-1]) is None


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_derived_with_and_without_heartbeats(data: st.DataObject) -> None:
    """Rows, log times, counts inside and what stands at the end are the same, wherever heartbeats come in between."""
    scans = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(("in", "out")), st.integers(0, 9)
            ),
            max_size=30,
        )
    )
    beaten = data.draw(st.sets(st.integers(0, len(scans))))
    plain, with_them = _derived(scans, set()), _derived(scans, beaten)
    assert plain == with_them


def _derived(scans: list[tuple[str, str, str, int]], beaten: set[int]) -> object:
    """What comes of scans, with a heartbeat before each of some of them. Offsets leave room for them."""
    deriver = Deriver(0, 2, Acceptance(3 * DAY, 28 * DAY, 300_000), lambda venue: partition_of(venue, 2))
    places = [Places(1, 600_000, 3 * DAY, 28 * DAY, _ZONE) for _ in range(2)]
    refused: list[tuple[int, int, str]] = []
    for number in range(len(scans) + 1):
        offset = 2 * number
        if number in beaten:
            deriver.control(offset, Heartbeat(0, NOW + number))
            for target, block in deriver.blocks(offset, offset + 1):
                assert not block.persons
                places[target].apply(block)
        if number < len(scans):
            person, venue, kind, hours = scans[number]
            at_ms = NOW + hours * 3_600_000
            deriver.derive([(offset + 1, 0, person, venue, kind, at_ms, at_ms)], lambda *what: refused.append(what))
            for target, block in deriver.blocks(offset + 1, offset + 2, empty=True):
                places[target].apply(block)
    counts = [sorted(each.counts()) for each in places]
    windows = [each.windows() for each in places]
    told = [None if each is None else (each.venues, each.rows.tolist()) for each in windows]
    return refused, deriver.log_time_ms, [each.log_time_ms for each in places], counts, told


def _town() -> tuple[list[Venue], list[Scan]]:
    chance = random.Random(7)
    venues = [Venue(venue=f"v{number}", category="shop", capacity=20) for number in range(6)]
    scans = [
        Scan(
            person=f"p{chance.randrange(40)}",
            venue=f"v{chance.randrange(6)}",
            kind=chance.choice(("in", "in", "out")),  # type: ignore[arg-type]
            at_ms=NOW + number * 120_000 - chance.choice((0, 0, 0, DAY // 2)),
            arrived_at_ms=NOW + number * 120_000,
        )
        for number in range(400)
    ]
    return venues, scans


def _outputs(running: Pipeline, seconds: float) -> tuple[object, dict[tuple[str, int], Windows], object, object]:
    venues, scans = _town()
    running.register(venues)
    for first in range(0, len(scans), 50):
        running.publish(scans[first : first + 50])
        time.sleep(seconds)  # heartbeats come in between
    running.end()
    traced = running.trace("p1", "forward", NOW, profile="who")
    return running.visits(), running.windows(), running.inside(), _meant(traced)


def _meant(trace: Trace) -> list[tuple[str, float, object]]:
    return sorted((each.person, each.minutes, each.evidence) for each in trace.contacts)


def test_the_pipeline_with_and_without_heartbeats(broker: Broker, database: str, tmp_path: Path) -> None:
    """Visits, windows, counts and a trace are the same with ten heartbeats a second as with none."""
    with pipeline(broker, database, tmp_path, heartbeat_seconds=0.0) as running:
        plain = _outputs(running, 0.0)
    with pipeline(broker, database, tmp_path, heartbeat_seconds=0.1) as running:
        beaten = _outputs(running, 0.2)
    assert len(plain[1]) > 50 and plain[3], "the town is too quiet to say anything"
    assert beaten == plain

"""Self-reported stays: the named rules one by one, what is refused, and the way through the visits agent."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.intake import Intake
from contacts.declared import StayRefused
from contacts.deriver import Deriver
from contacts.visits import Acceptance, visit_id
from schemas.blocks import (
    CONTROL_MAGIC,
    SELF_REPORTED,
    TOUCHES,
    VISIT_COLUMNS,
    Control,
    ErasureOrder,
    RegistryChange,
    StayReport,
    Tick,
    frame,
)
from schemas.messages import Scan, Venue
from schemas.partitions import partition_of
from streams.batches import Batch
from tests import oracle
from tests.pipeline import Broker, pipeline
from tests.test_core import HORIZON, RETENTION, TOLERANCE, report
from tests.worlds import BEGIN, DAY, HOUR, MINUTE, declared, world

TARGETS = 3
_COLUMN = {name: place for place, name in enumerate(VISIT_COLUMNS)}
Stood = dict[tuple[str, str, int], int]


class Desk:
    """One partition's deriver, and what its rows add up to: (person, venue, start) to end."""

    def __init__(self) -> None:
        self.deriver = self._new()
        self.offset = 0
        self.rows: list[tuple[Any, ...]] = []
        self.stands: Stood = {}
        self.control(RegistryChange((0, 0), Venue(venue="mall", longest_stay_minutes=600), 0))
        self.control(RegistryChange((0, 1), Venue(venue="shop", within="mall", category="shop"), 0))
        self.control(Tick(BEGIN))

    def _new(self) -> Deriver:
        acceptance = Acceptance(HORIZON, RETENTION, TOLERANCE)
        return Deriver(0, TARGETS, acceptance, lambda venue: partition_of(venue, TARGETS))

    def control(self, what: Control) -> None:
        """A control record; its rows are noted."""
        self.offset += 1
        self.deriver.control(self.offset, what)
        for _, block in self.deriver.blocks(self.offset, self.offset + 1):
            columns = np.frombuffer(block.rows, "<i8").reshape(-1, len(VISIT_COLUMNS)).tolist()
            for person, row in zip(block.persons, columns, strict=True):
                venue, start = block.lineages[row[_COLUMN["lineage"]]].venue, row[_COLUMN["start_ms"]]
                assert self.stands.get((person, venue, start), start) == row[_COLUMN["old_end_ms"]]
                assert row[_COLUMN["reason"]] == SELF_REPORTED
                assert row[_COLUMN["flags"]] == TOUCHES
                self.rows.append((person, venue, block.lineages[row[_COLUMN["lineage"]]].ancestors, *row[:5], row[7]))
                self.stands[person, venue, start] = row[_COLUMN["end_ms"]]
                if self.stands[person, venue, start] == start:
                    del self.stands[person, venue, start]

    def say(self, order: int, name: str = "d", start: int = 0, minutes: float = 60, **more: Any) -> None:
        """A declared stay that begins so many minutes after BEGIN - 1 day."""
        begin = BEGIN - DAY + start * MINUTE
        given = {"person": "p", "venue": "mall", "told_at_ms": BEGIN, **more}
        end = begin + round(minutes * MINUTE)
        self.control(StayReport(origin=(0, order), declaration_id=name, start_ms=begin, end_ms=end, **given))

    def again(self) -> None:
        """Out of a snapshot."""
        state, self.deriver = self.deriver.dump(), self._new()
        self.deriver.load(state)

    def standing(self) -> list[tuple[str, float, float]]:
        """The visits that stand: venue, start and length in minutes after BEGIN - 1 day."""
        return sorted(
            (venue, (start - BEGIN + DAY) / MINUTE, (end - start) / MINUTE)
            for (_, venue, start), end in self.stands.items()
        )


def test_a_declared_stay_is_a_visit_of_its_own() -> None:
    """It stands beside a scanned visit of the same person, venue and start, has another id, and closes nothing."""
    desk = Desk()
    start = BEGIN - DAY
    scans = [(2, 0, "p", "mall", "in", start, start)]
    desk.deriver.derive(scans, lambda *_: None)
    ((_, before),) = desk.deriver.blocks(2, 3)
    desk.say(1, minutes=30)
    desk.say(2, "e", start=60, venue="shop")
    assert desk.standing() == [("mall", 0, 30), ("shop", 60, 60)]
    assert desk.rows[1][1:3] == ("shop", ("mall",))
    assert len(before.persons) == 1
    desk.deriver.derive([(90, 0, "p", "mall", "out", start + 20 * MINUTE, start + HOUR)], lambda *_: None)
    ((_, after),) = desk.deriver.blocks(90, 91)
    assert after.persons == ["p"]  # the scan ends the scanned visit alone
    assert visit_id("p", "mall", start, SELF_REPORTED) != visit_id("p", "mall", start, 0)


def test_a_later_declaration_takes_the_place_of_an_earlier_one_in_whatever_order_they_come() -> None:
    desk = Desk()
    desk.say(5, start=10)
    desk.say(5, start=10)
    desk.say(4, start=99)
    assert desk.standing() == [("mall", 10, 60)]
    assert len(desk.rows) == 1
    desk.again()
    desk.say(6, start=20, minutes=5)
    assert desk.standing() == [("mall", 20, 5)]
    desk.say(7, withdrawn=True)
    desk.say(6, start=20, minutes=5)
    assert desk.standing() == []
    desk.say(8, start=20, minutes=7)
    assert desk.standing() == [("mall", 20, 7)]


def test_what_was_withdrawn_before_it_came_does_not_come() -> None:
    desk = Desk()
    desk.say(9, withdrawn=True)
    desk.again()
    desk.say(8)
    assert desk.standing() == []


def test_of_two_declarations_of_one_visit_the_longer_counts_and_one_may_go() -> None:
    desk = Desk()
    desk.say(1, "a", minutes=60)
    desk.say(2, "b", minutes=90)
    desk.say(3, "c", minutes=30)
    assert desk.standing() == [("mall", 0, 90)]
    desk.say(4, "b", withdrawn=True)
    assert desk.standing() == [("mall", 0, 60)]
    births = {row[6:8] for row in desk.rows}
    assert len(births) == 1  # one visit, born once


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"minutes": 0}, "bad_stay"),
        ({"minutes": -1}, "bad_stay"),
        ({"minutes": 600}, None),
        ({"minutes": 600.1}, "stay_too_long"),
        ({"venue": "unregistered", "minutes": 720}, None),
        ({"venue": "unregistered", "minutes": 721}, "stay_too_long"),
        ({"venue": "\x07"}, "bad_venue"),
        ({"start": 24 * 60, "minutes": 5, "told_at_ms": BEGIN}, None),
        ({"start": 24 * 60, "minutes": 6, "told_at_ms": BEGIN}, "in_the_future"),
        ({"start": 24 * 60, "minutes": 6, "told_at_ms": None}, "in_the_future"),
        ({"start": -27 * 24 * 60}, None),
        ({"start": -27 * 24 * 60 - 1}, "too_old"),
        ({"start": -27 * 24 * 60 - 1, "told_at_ms": BEGIN - DAY}, "too_old"),
        ({"start": -27 * 24 * 60 - 1, "told_at_ms": None}, "too_old"),
    ],
)
def test_what_is_refused_and_why(given: dict[str, Any], reason: str | None) -> None:
    """One that cannot be is refused with its reason, changes nothing, and leaves what was said before as it was."""
    desk = Desk()
    desk.say(1, start=5)
    if reason is None:
        desk.say(2, **given)
        assert len(desk.standing()) == 1
        assert desk.standing() != [("mall", 5, 60)]
    else:
        with pytest.raises(StayRefused) as refused:
            desk.say(2, **given)
        assert refused.value.reason == reason
        assert desk.standing() == [("mall", 5, 60)]


def test_an_erasure_holds_for_what_comes_after_it_too() -> None:
    """Nothing of a stay from before an erasure comes back: not by the stay itself, nor by what it leaves behind."""
    desk = Desk()
    desk.say(1, "a", minutes=60)
    desk.say(2, "b", minutes=90)
    desk.say(3, "later", start=200)
    desk.control(ErasureOrder((0, 0), "p", BEGIN - DAY + 100 * MINUTE))
    told = len(desk.rows)
    desk.again()
    desk.say(4, "b", withdrawn=True)  # of two the shorter would be left
    desk.say(5, "c", start=99)
    desk.say(1, "a", minutes=60)
    assert len(desk.rows) == told
    state = msgspec.msgpack.decode(desk.deriver.dump()["declared"])["p"]
    assert [(venue, start) for _, venue, start, _, _ in state[0].values() if venue] == [
        ("mall", late := BEGIN - DAY + 200 * MINUTE)
    ]
    assert [start for *_, start, _ in state[1]] == [late]
    desk.say(6, "later", start=50)  # said of a time that is erased: what it replaces goes
    assert desk.rows[-1][-1] == BEGIN - DAY + 200 * MINUTE
    assert [key for key in desk.stands if key[2] >= BEGIN - DAY + 100 * MINUTE] == []


def test_state_ends_with_the_retention() -> None:
    """What began longer than the retention ago is held no more, and a change of it is not told of."""
    desk = Desk()
    desk.say(1)
    desk.control(Tick(BEGIN + 26 * DAY))
    desk.deriver.prune()
    told = len(desk.rows)
    desk.say(2, withdrawn=True)
    assert len(desk.rows) == told + 1
    desk.control(Tick(BEGIN + 40 * DAY))
    desk.deriver.prune()
    assert msgspec.msgpack.decode(desk.deriver.dump()["declared"]) == {}
    desk.say(3, withdrawn=True)
    assert len(desk.rows) == told + 1


def digest(seed: int) -> str:
    """The rows that a world's stays make."""
    desk = Desk()
    for stay in declared(world(seed), seed):
        try:
            desk.control(report(stay))
        except StayRefused as error:
            desk.rows.append((error.reason,))
    return blake2b(repr(desk.rows).encode(), digest_size=12).hexdigest()


def test_plain_python_makes_the_same_rows() -> None:
    """Without numba the rows are the same to the bit."""
    code = "from tests.test_declared import digest; print(*(digest(seed) for seed in range(12)))"
    environment = {**os.environ, "LACAK_WITHOUT_NUMBA": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [digest(seed) for seed in range(12)]


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_a_replay_makes_the_same_rows_at_the_same_positions(seed: int, chance: Any) -> None:
    """Whatever was snapshotted in between: rows depend on the records before them alone, and have grown positions."""
    stays = declared(world(3), seed, 30)
    runs = []
    for snapshots in (False, True):
        desk = Desk()
        for stay in stays:
            if snapshots and chance.random() < 0.3:
                desk.again()
            try:
                desk.control(report(stay))
            except StayRefused:
                pass
        runs.append((desk.rows, desk.stands))
    assert runs[0] == runs[1]
    positions = [row[3:6] for row in runs[0][0]]
    assert len(positions) == len(set(positions))
    assert [row[0] for row in positions] == sorted(row[0] for row in positions)


def test_a_stay_in_another_s_partition_or_from_the_future_is_a_dead_letter() -> None:
    deriver = Deriver(1, TARGETS, Acceptance(HORIZON, RETENTION, TOLERANCE), lambda venue: 0)
    told: list[tuple[int, str]] = []
    intake = Intake(
        deriver, 4, lambda offset, _row, reason, _detail: told.append((offset, reason)), file_clock=False,
        tolerance_ms=TOLERANCE,
    )  # fmt: skip
    home = next(name for name in map(str, range(99)) if partition_of(name, 4) == 1)
    away = next(name for name in map(str, range(99)) if partition_of(name, 4) != 1)

    def stay(person: str, told_ms: int | None) -> bytes:
        return frame(CONTROL_MAGIC, StayReport((0, 0), person, "mall", "d", 0, 1, told_at_ms=told_ms))

    values = [stay(home, BEGIN), stay(away, BEGIN), stay(home, BEGIN + TOLERANCE + 1), stay("", 0), stay(home, None)]
    batch = Batch(
        "scans", 1, range(len(values)), [BEGIN] * len(values), [None] * len(values), values, highwater=len(values)
    )
    assert [part[0] for part in intake.read(batch)] == [0, 4]
    assert told == [(1, "wrong_partition"), (2, "arrival_ahead"), (3, "bad_person")]


def test_a_declared_stay_makes_contacts_that_say_so(broker: Broker, database: str, tmp_path: Path) -> None:
    """Through Kafka: the stay is a visit, twice is once, and a trace shows the contact as resting on it."""
    start = BEGIN + 9 * HOUR
    scans = [
        Scan(person=person, venue="mall", kind=kind, at_ms=at, arrived_at_ms=at)  # type: ignore[arg-type]
        for person in ("case", "seen")
        for kind, at in (("in", start), ("out", start + 2 * HOUR))
    ]
    end = start + HOUR
    told = [
        StayReport((0, 1), "teller", "mall", "d1", start, end, told_at_ms=end),
        StayReport((0, 2), "taker", "mall", "d2", start, end, told_at_ms=end),
        StayReport((0, 3), "taker", "mall", "d2", start, end, withdrawn=True, told_at_ms=end),
        StayReport((0, 4), "boaster", "mall", "d3", start, start + 25 * HOUR, told_at_ms=start + 25 * HOUR),
    ]
    with pipeline(broker, database, tmp_path, partitions=2) as running:
        running.register([Venue(venue="mall", category="mall", capacity=10)])
        running.publish(scans)
        records = [(partition_of(each.person, 2), None, frame(CONTROL_MAGIC, each)) for each in told]
        running.send_raw("scans", records + records[:2])
        running.end()
        wanted = oracle.visits(
            [oracle.Scan(s.person, s.venue, s.kind, s.at_ms, s.at_ms) for s in scans],
            [oracle.VenueRecord("mall", "mall", 10)],
            declared=[oracle.Stay("teller", "mall", "d1", start, end, end, 1)],
        )
        assert running.visits() == wanted
        assert {key: tuple(row) for key, row in running.windows().items()} == oracle.windows(wanted)
        trace = running.trace("case", "forward", start)
        found = {contact.person: contact.evidence[0] for contact in trace.contacts}
        assert set(found) == {"seen", "teller"}
        assert found["teller"].contact_stay.self_reported
        assert not found["teller"].case_stay.self_reported
        assert not found["seen"].contact_stay.self_reported
        other = running.trace("teller", "forward", start)
        assert {stay.case_stay.self_reported for each in other.contacts for stay in each.evidence} == {True}

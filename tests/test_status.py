"""The state of health records: whatever happens to the log and to workers, doors are told what the rules say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts import healthstate
from contacts.coloursinforce import ColoursInForce
from schemas.health import ContactFact, HealthRecord, PersonFact, TestFact, VaccinationFact
from tests.health_log import (
    DAY,
    HOUR,
    MINUTE,
    START,
    Entry,
    Erased,
    Rules,
    again,
    compacted,
    expected,
    feed,
    logs,
    new,
    quiet,
    read,
    repaired,
    said,
)


@settings(max_examples=100, deadline=None)
@given(logs())
def test_statuses_are_a_function_of_what_was_told(log: list[Entry | None]) -> None:
    """Whatever the order, however often: of each record the latest told counts, and what was erased does not."""
    state = new()
    told = feed(state, log)
    log, more = quiet(state, log)
    assert said(read(told + more)) == expected(log, state.log_time_ms)


@settings(max_examples=100, deadline=None)
@given(logs(), st.data())
def test_crashes_change_nothing(log: list[Entry | None], data: st.DataObject) -> None:
    """A worker that goes on from a snapshot tells the same again at the same positions, and then all the rest."""
    whole = feed(new(), log)
    state, told, snapshot, at, kept = new(), list(whole[:0]), new(), 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        stop = data.draw(st.integers(at, len(log)))
        told += feed(state, log, at, stop)
        at = stop
        if data.draw(st.booleans()):
            snapshot, kept = again(state), stop
        else:
            state, at = again(snapshot), kept
    told += feed(state, log, at)
    by_place = {(each.person, each.status.position): each for each in whole if each.status is not None}
    assert all(by_place[each.person, each.status.position] == each for each in told if each.status is not None)
    assert read(told) == read(whole)


@settings(max_examples=100, deadline=None)
@given(logs(), st.integers(0, 14))
def test_a_lost_snapshot_is_rebuilt_from_a_compacted_log(log: list[Entry | None], more: int) -> None:
    """What the topic keeps is what is held: who begins anew tells readers nothing wrong, and ends at the same."""
    state = new()
    reader = read(feed(state, log))
    now = state.log_time_ms
    log = repaired(log, state.repairs(), now)
    reader = read(feed(state, log, len(log) - len(state._repairs)), reader)
    assert not state.repairs()
    kept = compacted(log[:more]) + log[more:] if more < len(log) else compacted(log)
    rebuilt = new(silent_until=len(kept))
    assert not feed(rebuilt, kept)
    kept, told = quiet(rebuilt, kept)
    missed = feed(state, kept, len(log))
    log, more_missed = quiet(state, list(kept))
    assert said(read(told, reader)) == said(read(missed + more_missed, reader)) == expected(log, state.log_time_ms)


def test_a_snapshot_can_be_made_while_the_state_goes_on() -> None:
    """Its parts are packed when they are written; what happens meanwhile is not in them."""
    state, log = new(), [Entry(START, record("a", dose("one", START - DAY))) for _ in range(3)]
    feed(state, log, 0, 1)
    parts = state.dump()
    frozen = {name: parts[name] for name in parts}
    feed(state, [None, Entry(START, record("a", dose("two", START))), Entry(START, record("b", dose("x", START)))], 1)
    assert {name: parts[name] for name in parts} == frozen


# Named days.


def record(person: str, fact: object, told_at_ms: int = START, name: str = "r", **more: object) -> HealthRecord:
    """A record of a person."""
    return HealthRecord(person=person, record_id=name, fact=fact, told_at_ms=told_at_ms, **more)  # type: ignore[arg-type]


def dose(product: str, at_ms: int) -> VaccinationFact:
    """A dose."""
    return VaccinationFact(product=product, at_ms=at_ms)


def laboratory(outcome: str, specimen_ms: int, result_ms: int | None = None, kind: str = "pcr") -> TestFact:
    """A test."""
    return TestFact(
        test=kind,
        outcome=outcome,
        specimen_ms=specimen_ms,
        result_ms=specimen_ms if result_ms is None else result_ms,  # type: ignore[arg-type]
    )


FEBRUARY = 1_645_030_800_000
"""17 February 2022, midnight in Jakarta: a case clears on day 10, a negative test of ... see definitions."""
AUGUST = 1_659_286_800_000
"""1 August 2022, midnight in Jakarta: a negative test is green for 24 hours (antigen) or 72 (PCR)."""


def colours(told: Sequence[healthstate.Told]) -> list[tuple[str, int]]:
    """The colours that were told, and from when they hold."""
    return [(each.status.colour, each.status.since_ms) for each in told if each.status is not None]


def test_a_case_clears_on_day_10_although_nothing_happens() -> None:
    """15 February 2022: black until day 10 begins, by ticks alone; until then ticks tell nothing."""
    state = new()
    full = [record("a", dose("CoronaVac", FEBRUARY - days * DAY), name=f"d{days}") for days in (100, 60)]
    log = [Entry(FEBRUARY, each) for each in full]
    log.append(
        Entry(FEBRUARY + HOUR, record("a", laboratory("positive", FEBRUARY - DAY, FEBRUARY + HOUR), FEBRUARY + HOUR))
    )
    told = feed(state, log)
    assert colours(told)[-1] == ("black", FEBRUARY + HOUR)
    clears = FEBRUARY + 10 * DAY
    assert told[-1].status is not None
    assert told[-1].status.until_ms == clears
    assert not state.wants_tick(clears - 1, len(log))
    assert not feed(state, [*log, Entry(clears - 1, clears - 1)], len(log))
    assert state.wants_tick(clears, len(log))
    assert colours(feed(state, [*log, None, Entry(clears, clears)], len(log))) == [("green", clears)]


@pytest.mark.parametrize(("kind", "hours"), [("antigen", 24), ("pcr", 72)])
def test_a_negative_test_expires(kind: str, hours: int) -> None:
    """17 July 2022: green by a test, and red again the millisecond after its last hour."""
    state, end = new(), AUGUST + hours * HOUR + 1
    log = [
        Entry(AUGUST, record("a", PersonFact(age_band="18-59"), name="age")),
        Entry(AUGUST + 2 * HOUR, record("a", laboratory("negative", AUGUST, AUGUST + 2 * HOUR, kind), AUGUST)),
        Entry(end - 1, end - 1),
        Entry(end, end),
    ]
    assert [colour for colour, _ in colours(feed(state, log))] == ["red", "green", "red"]


def test_a_status_does_not_stick_on_black_after_a_negative_test() -> None:
    """The complaint of 2021 and 2022: results came a day late. Two negative PCRs clear, once they are there."""
    state = new()
    log = [
        Entry(FEBRUARY, record("a", laboratory("positive", FEBRUARY - DAY, FEBRUARY), FEBRUARY, "p")),
        Entry(
            FEBRUARY + 6 * DAY, record("a", laboratory("negative", FEBRUARY + 5 * DAY, FEBRUARY + 6 * DAY), START, "n1")
        ),
        Entry(
            FEBRUARY + 7 * DAY, record("a", laboratory("negative", FEBRUARY + 6 * DAY, FEBRUARY + 7 * DAY), START, "n2")
        ),
    ]
    told = colours(feed(state, log))
    assert told[0] == ("black", FEBRUARY)
    assert told[-1][0] != "black"
    assert told[-1][1] == FEBRUARY + 7 * DAY


def test_a_withdrawn_test_recomputes() -> None:
    """The laboratory took it back: the colour is what it was."""
    state = new()
    log = [
        Entry(FEBRUARY, record("a", PersonFact(age_band="18-59"), name="age")),
        Entry(FEBRUARY + 1, record("a", laboratory("positive", FEBRUARY), FEBRUARY + 1)),
        Entry(FEBRUARY + 2, record("a", laboratory("withdrawn", FEBRUARY), FEBRUARY + 2, withdrawn=True)),
    ]
    assert [colour for colour, _ in colours(feed(state, log))] == ["red", "black", "red"]


def test_a_possible_contact_is_not_black_unless_the_rules_say_so() -> None:
    """Off as shipped: co-presence alone bars nobody; a published change of the rules turns it on for everybody held."""
    contact = ContactFact(trace_id="f-1", grade="possible", registered_ms=FEBRUARY, last_exposure_ms=FEBRUARY, risk=0.6)
    state, base = new(), ColoursInForce()
    log = [
        Entry(FEBRUARY, record("a", PersonFact(age_band="18-59"), name="age")),
        Entry(FEBRUARY, record("a", contact)),
    ]
    assert [colour for colour, _ in colours(feed(state, log))] == ["red"]
    asks = base._text.replace("contact = { until_day", "contact = { possible_from_risk = 0.5, until_day")
    asks = asks.replace("[sets.contact]", "[sets.contact]\npossible_from_risk = 0.5")
    assert asks != base._text
    log += [Entry(FEBRUARY, Rules(0, "indonesia", asks)), Entry(FEBRUARY + MINUTE, FEBRUARY + MINUTE)]
    assert [colour for colour, _ in colours(feed(state, log, 2))] == ["black"]


def test_rules_for_everybody_are_taken_up_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new set of rules concerns all: a tick judges so many, the rest is the next tick's; a stop changes nothing."""
    monkeypatch.setattr(healthstate, "TICK_SLICE", 10)
    july = 1_657_990_800_000  # 17 July 2022, midnight
    state, dice = new(), random.Random(3)
    log = [
        Entry(FEBRUARY, record(f"p{number}", dose("CoronaVac", FEBRUARY - days * DAY), name=f"{days}"))
        for number in range(25)
        for days in (100, 60)
    ]
    feed(state, log)
    told = []
    for _ in range(3):
        assert state.wants_tick(july, len(log))
        log.append(Entry(july, july))
        made = feed(state, log, len(log) - 1)
        assert len(made) <= 10
        told += made
        state = again(state) if dice.random() < 0.6 else state
    assert not state.wants_tick(july, len(log))
    assert sorted(each.person for each in told) == sorted(f"p{number}" for number in range(25))
    assert {colour for colour, _ in colours(told)} == {"yellow"}  # two doses without a booster


def test_a_snapshot_under_other_rules_is_judged_anew() -> None:
    """Rules in files change while nobody runs: everybody is looked at again, and who is unchanged is not told again."""
    state = new()
    feed(state, [Entry(FEBRUARY, record("a", PersonFact(age_band="18-59")))])
    state._rules_version = "older"
    loaded = again(state)
    assert loaded.wants_tick(FEBRUARY, 1)
    assert feed(loaded, [None, Entry(FEBRUARY, FEBRUARY)], 1) == []
    assert not loaded.wants_tick(FEBRUARY, 2)


def test_an_erased_person_is_forgotten_by_doors_and_topic() -> None:
    """The status has a tombstone, and so has each record; what was told before and comes later too."""
    state = new()
    log = [
        Entry(START, record("a", dose("CoronaVac", START), START)),
        Entry(START + DAY, Erased("a", START + DAY)),
        Entry(START + 2 * DAY, record("a", dose("CoronaVac", START), START + HOUR, "late")),
    ]
    assert [each.status is None for each in feed(state, log)] == [False, True]
    assert [(each.record_id, each.record) for each in state.repairs()] == [("r", None), ("late", None)]
    again_told = [None] * 3 + [Entry(START + 3 * DAY, record("a", dose("CoronaVac", START), START + 3 * DAY))]
    assert len(feed(state, again_told, 3)) == 1

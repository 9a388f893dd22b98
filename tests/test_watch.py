"""The watch list against a search by hand: whoever's answer changes is told, and nobody is told for nothing."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.cases import numbers
from contacts.incoming import NEVER
from contacts.places import Places
from contacts.visits import Visit
from schemas.blocks import CHECKED_OUT, VisitBlock, WatchOrder
from schemas.messages import SharedStay
from tests.test_places import (
    DAY,
    FAR,
    MINUTE,
    START,
    Born,
    World,
    again,
    block,
    make,
    shared_by_hand,
)

Answer = list[tuple[str, SharedStay]]


class Span(NamedTuple):
    """Somebody's time at a venue that a step has touched."""

    person: str
    venue: str
    start: int
    end: int


def order(dice: random.Random, people: list[str], trace: str, revision: int = 1) -> WatchOrder:
    """A random watch that outlasts the test."""
    start = START + dice.randrange(72) * 60 * MINUTE
    return WatchOrder(
        trace, f"case of {trace}", revision, dice.choice(people), dice.choice(("forward", "backward")), 3,
        start, start + dice.randrange(1, 72) * 60 * MINUTE, FAR + DAY, dice.choice((0, 0, 45 * MINUTE)),
    )  # fmt: skip


def answer(visits: list[Visit], watch: WatchOrder, as_of: int | None) -> Answer:
    """What all questions of a trace's watch would be answered."""
    window = watch.window_start_ms, watch.window_end_ms
    return shared_by_hand(visits, watch.person, window, as_of, watch.linger_ms, watch.direction)


def asked(places: Places, watch: WatchOrder, as_of: int) -> Answer:
    """What the places themselves answer."""
    window = watch.window_start_ms, watch.window_end_ms
    return places.shared_stays(watch.person, *window, as_of, watch.linger_ms, watch.direction)


State = dict[str, list[Born]]
"""The visits of each person at one moment."""


def spans(touched: set[tuple[str, tuple[int, int]]], states: list[State]) -> list[Span]:
    """The touched visits, each with all of its person at its venue that it touched or touches, over and over."""
    found = []
    for person, birth in touched:
        held = {born for state in states for born in state[person]}
        for born in held:
            if born.birth == birth:
                start, end = born.visit.start_ms, born.visit.end_ms
                near = [other.visit for other in held if other.visit.venue == born.visit.venue]
                for _ in near:
                    met = [each for each in near if each.start_ms <= end and each.end_ms >= start]
                    start = min(start, *(each.start_ms for each in met))
                    end = max(end, *(each.end_ms for each in met))
                found.append(Span(person, born.visit.venue, start, end))
    return found


def concerns(watch: WatchOrder, touched: list[Span], visits: list[Visit]) -> bool:
    """Whether one of the spans is the person's own in the window, or meets one of theirs there."""
    lag, linger = (0, watch.linger_ms) if watch.direction == "forward" else (watch.linger_ms, 0)
    own = [
        (each.venue, max(each.start_ms, watch.window_start_ms), min(each.end_ms, watch.window_end_ms))
        for each in visits
        if each.person == watch.person
    ]
    for span in touched:
        if span.person == watch.person and span.start < watch.window_end_ms and span.end > watch.window_start_ms:
            return True
        for venue, start, end in own:
            if start < end and venue == span.venue and span.start < end + linger and span.end > start - lag:
                return True
    return False


def state_of(world: World) -> State:
    """The visits as they are now."""
    return {person: list(kept) for person, kept in world.born.items()}


def visits_of(state: State) -> list[Visit]:
    """The visits of a moment."""
    return [born.visit for kept in state.values() for born in kept]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_who_is_told_is_who_must_be(seed: int) -> None:
    """With a log time that stands still: every watch whose answer changed is told once, none without a cause."""
    world = World(seed, sources=seed % 3 + 1)
    dice = world.random
    people = [*sorted(world.people), "nobody"]
    places = make(world.sources)
    watches: dict[str, WatchOrder] = {}
    for source in range(world.sources):
        places.apply(block(source, [], [], START))
    sent = []
    for _ in range(dice.randint(3, 30)):
        if dice.random() < 0.4:
            trace = dice.choice("abcdef")
            watches[trace] = order(dice, people, trace, watches[trace].revision + 1 if trace in watches else 1)
            places.watch(watches[trace])
        states = [state_of(world)]
        touched: set[tuple[str, tuple[int, int]]] = set()
        for _ in range(dice.randint(0, 3)):
            source = dice.randrange(world.sources)
            rows, persons = world.change(source)
            touched |= {(person, (row[3], row[4])) for row, person in zip(rows, persons, strict=True)}
            states.append(state_of(world))
            sent.append(block(source, rows, persons, START))
            places.apply(sent[-1])
        if dice.random() < 0.2:
            person, until = world.erase()
            touched |= {(person, born.birth) for born in states[-1][person] if born.visit.start_ms < until}
            places.erase(person, until)
            states.append(state_of(world))
        if sent and dice.random() < 0.3:
            places.apply(dice.choice(sent))
        if watches and dice.random() < 0.3:
            places.watch(dice.choice(list(watches.values())))
        if dice.random() < 0.2:
            places = again(places, world.sources)
        told = [watch.trace_id for watch in places.concerned()]
        assert len(told) == len(set(told))
        old, new = visits_of(states[0]), visits_of(states[-1])
        must = {trace for trace, watch in watches.items() if answer(old, watch, None) != answer(new, watch, None)}
        ever = [visit for state in states for visit in visits_of(state)]
        may = {trace for trace, watch in watches.items() if concerns(watch, spans(touched, states), ever)}
        assert must <= set(told) <= may
        assert places.concerned() == []


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_who_asks_when_told_knows_all_in_the_end(seed: int) -> None:
    """Reports cut at the log time and asked again whenever told are, in the end, those asked then: time tells too."""
    world = World(seed, sources=seed % 3 + 1)
    dice = world.random
    people = sorted(world.people)
    places = make(world.sources)
    known: dict[str, tuple[WatchOrder, Answer]] = {}
    now = [NEVER] * world.sources
    for _ in range(dice.randint(3, 30)):
        source = dice.randrange(world.sources)
        now[source] = max(now[source], START) + dice.choice((0, 1, 20, 120, 500)) * MINUTE
        rows, persons = world.change(source)
        places.apply(block(source, rows, persons, now[source]))
        if dice.random() < 0.1:
            places.erase(*world.erase())
        if dice.random() < 0.2:
            places = again(places, world.sources)
        if places.log_time_ms != NEVER and dice.random() < 0.3:
            trace = f"t{len(known)}"
            watch = order(dice, people, trace)
            places.watch(watch)
            known[trace] = watch, asked(places, watch, places.log_time_ms)
        if dice.random() < 0.5:
            for watch in places.concerned():
                known[watch.trace_id] = watch, asked(places, watch, places.log_time_ms)
    for source in range(world.sources):
        places.apply(block(source, [], [], FAR))
    for watch in places.concerned():
        known[watch.trace_id] = watch, asked(places, watch, FAR)
    for watch, found in known.values():
        assert found == answer(world.visits(), watch, FAR)
    assert places.concerned() == []


def seen(offset: int, person: str, start: int, end: int, log_time: int = START) -> VisitBlock:
    """A block with one new visit at the first venue, minutes from START."""
    times = (START + start * MINUTE, START + end * MINUTE, START + start * MINUTE)
    return block(0, [(offset, 0, 0, offset, 0, 0, *times, CHECKED_OUT, CHECKED_OUT, 0)], [person], log_time)


def watch_of(person: str, **changes: object) -> WatchOrder:
    """A forward watch of the first day."""
    fields = {
        "trace_id": "t", "case_id": "c", "revision": 1, "person": person, "direction": "forward", "reply_partition": 0,
        "window_start_ms": START, "window_end_ms": START + DAY, "until_ms": START + 4 * DAY,
    }  # fmt: skip
    return WatchOrder(**{**fields, **changes})  # type: ignore[arg-type]


def told(places: Places) -> list[str]:
    """The traces told of."""
    return [each.trace_id for each in places.concerned()]


def test_a_trace_stands_until_its_time_and_is_told_of_that_once() -> None:
    places = make()
    places.apply(seen(1, "ill", 0, 60))
    places.watch(watch_of("ill"))
    places.apply(block(0, [], [], START + 4 * DAY - 1))
    assert told(places) == []
    places.apply(block(0, [], [], START + 4 * DAY))
    assert told(places) == ["t"]
    places.apply(seen(2, "near", 10, 50, START + 4 * DAY))
    assert told(places) == []
    places.watch(watch_of("ill", revision=2))
    places.apply(seen(3, "more", 10, 50, START + 4 * DAY))
    assert told(places) == []


def test_time_alone_tells_while_stays_go_on() -> None:
    """Together from minute 30 to 60: told every five minutes of log time, and at the end, and then no more."""
    places = make()
    places.apply(seen(1, "ill", 0, 60))
    places.apply(seen(2, "near", 30, 80))
    places.watch(watch_of("ill"))
    minutes = []
    for minute in range(0, 200, 2):
        places.apply(block(0, [], [], START + minute * MINUTE))
        minutes += [minute for _ in told(places)]
    assert minutes[-1] == 80
    steps = [later - earlier for earlier, later in pairwise(minutes)]
    assert minutes[0] <= 30 + numbers().open_minutes + 2
    assert max(steps) <= numbers().open_minutes + 2


@pytest.mark.parametrize("ending", [{"window_end_ms": START}, {"window_end_ms": START - DAY}])
def test_a_withdrawn_watch_is_told_no_more(ending: dict[str, int]) -> None:
    """And an older order, from a source that lags, brings it back only until that source's withdrawal comes."""
    places = make()
    places.apply(seen(1, "ill", 0, 60))
    places.watch(watch_of("ill"))
    places.watch(watch_of("ill", revision=2, **ending))
    places.apply(seen(2, "near", 10, 50))
    assert told(places) == []
    places.watch(watch_of("ill"))
    places.watch(watch_of("ill", revision=2, **ending))
    places.apply(seen(3, "more", 10, 50))
    assert told(places) == []


def test_a_hit_outlives_the_worker() -> None:
    """A hit that was not told of stands in the snapshot; so does the watch of one who has no visits yet."""
    places = make()
    places.apply(block(0, [], [], START))
    places.watch(watch_of("ill"))
    places = again(places, 1)
    places.apply(seen(1, "ill", 0, 60))
    places = again(places, 1)
    assert told(places) == ["t"]
    places = again(places, 1)
    assert told(places) == []
    places.apply(seen(2, "near", 10, 50))
    assert told(places) == ["t"]

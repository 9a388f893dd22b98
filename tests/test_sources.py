"""Common origins: places against a brute-force count, chance against simulation, and the mall that must not win."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from contacts.risk import Incubation, load_risk
from contacts.sources import Attendance, CaseStays, Exposed, people, places, slot_ms
from tests.worlds import BEGIN, DAY, HOUR, MINUTE

SLOT = 60 * MINUTE


class Stay(NamedTuple):
    """A stay of a case; `own` is not so at what the venue lies within."""

    case: int
    venue: int
    start: int
    end: int
    own: bool = True


def given(
    stays: Sequence[Stay],
    presence: dict[tuple[int, int], int],
    total: dict[int, int],
    order: random.Random | None = None,
) -> tuple[CaseStays, Attendance]:
    """The columns, in any order."""
    rows, cells = list(stays), list(presence.items())
    if order is not None:
        order.shuffle(rows)
        order.shuffle(cells)
    columns = [np.array([row[field] for row in rows], np.int64) for field in range(4)]
    own = np.array([row.own for row in rows], np.bool_)
    keys = np.array([key for key, _ in cells], np.int64).reshape(-1, 2)
    seen = np.array([ms for _, ms in cells], np.int64)
    return CaseStays(*columns, own), Attendance(keys[:, 0], keys[:, 1], seen, total)


def overlap(stay: Stay, slot: int) -> int:
    """How much of a slot a stay takes."""
    return max(0, min(stay.end, (slot + 1) * SLOT) - max(stay.start, slot * SLOT))


def weight(onset: int, slot: int, incubation: Incubation) -> float:
    """The lognormal's density at the slot's middle, of its greatest."""
    m, s = math.log(incubation.median_days), incubation.sigma

    def density(days: float) -> float:
        return math.exp(-((math.log(days) - m) ** 2) / (2 * s * s)) / (days * s) if days > 0 else 0.0

    return density((onset - slot * SLOT - SLOT / 2) / DAY) / density(math.exp(m - s * s))


def counted(
    stays: Sequence[Stay], onsets: Sequence[int], presence: dict[tuple[int, int], int], total: dict[int, int],
    incubation: Incubation, venue: int, slots: Sequence[int],
) -> tuple[tuple[int, ...], float, float, float]:  # fmt: skip
    """The oracle: cases, expected, tail and score of a venue over some slots, straight from the definition."""
    chances, seen, observed, expected = [], [], 0.0, 0.0
    for case, onset in enumerate(onsets):
        missed, parts, weights, own = 1.0, [], [], []
        for slot in slots:
            here = sum(overlap(stay, slot) for stay in stays if stay.venue == venue)
            ms = max(here, presence.get((venue, slot), 0))
            share = ms / max(total.get(slot, 0), ms) if ms else 0.0
            been = {stay.venue for stay in stays if stay.case == case and stay.own and overlap(stay, slot)}
            part = 1 - (1 - share) ** len(been)
            missed *= 1 - part
            parts.append(part)
            weights.append(weight(onset, slot, incubation))
            if any(stay.case == case and stay.venue == venue and overlap(stay, slot) for stay in stays):
                own.append(weights[-1])
        chances.append(1 - missed)
        if sum(parts):
            expected += (1 - missed) * sum(p * w for p, w in zip(parts, weights, strict=True)) / sum(parts)
        if own:
            seen.append(case)
            observed += sum(own) / len(own)
    tail = 0.0
    for there in product((0, 1), repeat=len(onsets)):
        if sum(there) >= len(seen):
            tail += math.prod(p if yes else 1 - p for p, yes in zip(chances, there, strict=True))
    score = observed * math.log(observed / expected) - (observed - expected) if observed > expected > 0 else 0.0
    return tuple(seen), sum(chances), tail, score


def world(seed: int) -> tuple[list[Stay], list[int], dict[tuple[int, int], int], dict[int, int]]:
    """Stays of a few cases at nested venues, attendance with holes."""
    chance = random.Random(f"sources {seed}")
    cases, venues = chance.randrange(1, 5), 5
    grid = chance.choice((MINUTE, 30 * MINUTE))
    stays = []
    for _ in range(chance.randrange(1, 20)):
        start = BEGIN + chance.randrange(2 * DAY) // grid * grid
        end = start + chance.choice((1, MINUTE, HOUR, 3 * HOUR + 1, DAY))
        stays.append(Stay(chance.randrange(cases), chance.randrange(1, venues), start, end))
        if stays[-1].venue == 1:
            stays.append(stays[-1]._replace(venue=0, own=False))
    slots = {stay.start // SLOT + n for stay in stays for n in range(-1, 30)}
    presence = {
        (venue, slot): chance.choice((0, 1, chance.randrange(50 * HOUR)))
        for venue in range(venues + 1)
        for slot in slots
        if chance.random() < 0.8
    }
    total = {slot: sum(presence.get((v, slot), 0) for v in range(1, venues + 1)) for slot in slots}
    return stays, [BEGIN + chance.randrange(2 * DAY, 12 * DAY) for _ in range(cases)], presence, total


@pytest.mark.parametrize("seed", range(60))
def test_places_and_times_are_those_of_the_definition(seed: int) -> None:
    stays, onsets, presence, total = world(seed)
    incubation = load_risk().incubation
    found = places(*_split(given(stays, presence, total, random.Random(seed)), onsets), incubation)
    assert {p.whole.venue for p in found} == {stay.venue for stay in stays}
    for place in found:
        venue = place.whole.venue
        own = {
            slot for stay in stays for slot in range(stay.start // SLOT, stay.end // SLOT + 1) if overlap(stay, slot)
        }
        here = {slot for slot in own if any(s.venue == venue and overlap(s, slot) for s in stays)}
        slots = sorted(here | {slot for v, slot in presence if v == venue})
        wanted = counted(stays, onsets, presence, total, incubation, venue, slots)
        assert (place.whole.cases, place.whole.expected) == (wanted[0], pytest.approx(wanted[1], abs=1e-9))
        assert (place.whole.tail, place.whole.score) == pytest.approx(wanted[2:], rel=1e-6, abs=1e-9)
        runs: list[list[int]] = []
        for slot in sorted(here):
            if runs and runs[-1][-1] == slot - 1:
                runs[-1].append(slot)
            else:
                runs.append([slot])
        assert sorted((o.start_ms, o.end_ms) for o in place.times) == [
            (run[0] * SLOT, (run[-1] + 1) * SLOT) for run in runs
        ]
        for origin, run in zip(sorted(place.times, key=lambda o: o.start_ms), runs, strict=True):
            wanted = counted(stays, onsets, presence, total, incubation, venue, run)
            assert (origin.cases, origin.expected) == (wanted[0], pytest.approx(wanted[1], abs=1e-9))
            assert (origin.tail, origin.score) == pytest.approx(wanted[2:], rel=1e-6, abs=1e-9)


def _split(columns: tuple[CaseStays, Attendance], onsets: Sequence[int]):  # type: ignore[no-untyped-def]
    return columns[0], np.array(onsets, np.int64), columns[1]


@pytest.mark.parametrize("seed", range(20))
def test_neither_the_order_nor_copies_of_stays_change_the_ranking(seed: int) -> None:
    """A stay given twice takes its time twice, so attendance covers it."""
    stays, onsets, presence, total = world(seed)
    presence = {key: ms + 100 * DAY for key, ms in presence.items()}
    for stay in stays:
        for slot in range(stay.start // SLOT, stay.end // SLOT + 1):
            presence.setdefault((stay.venue, slot), 100 * DAY)
    total = {slot: sum(ms for (v, s), ms in presence.items() if s == slot and v) for _, slot in presence}
    incubation = load_risk().incubation
    once = places(*_split(given(stays, presence, total), onsets), incubation)
    twice = places(*_split(given([*stays, *stays], presence, total, random.Random(seed)), onsets), incubation)
    assert [p.whole.venue for p in once] == [p.whole.venue for p in twice]
    assert once == twice


def test_a_restaurant_of_four_cases_comes_before_the_mall_of_all_ten() -> None:
    """Half of everybody goes through the mall, so that all ten cases were there tells little."""
    mall, restaurant, elsewhere = 0, 1, 2
    onset = BEGIN + 8 * DAY
    slots = range(BEGIN // SLOT, (BEGIN + 2 * DAY) // SLOT)
    presence = {(mall, s): 500 * HOUR for s in slots} | {(elsewhere, s): 495 * HOUR for s in slots}
    presence |= {(restaurant, s): 5 * HOUR for s in slots}
    total = dict.fromkeys(slots, 1000 * HOUR)
    stays = [Stay(case, mall, BEGIN + (10 + case) * HOUR, BEGIN + (11 + case) * HOUR) for case in range(10)]
    stays += [Stay(case, restaurant, BEGIN + DAY + 19 * HOUR, BEGIN + DAY + 20 * HOUR) for case in range(4)]
    found = places(*_split(given(stays, presence, total), [onset] * 10), load_risk().incubation, 2)
    assert [place.whole.venue for place in found] == [restaurant, mall]
    best = found[0].times[0]
    assert (best.cases, best.start_ms) == ((0, 1, 2, 3), BEGIN + DAY + 19 * HOUR)
    assert best.expected == pytest.approx(4 * 0.005)
    assert best.ratio == pytest.approx(200)
    assert best.tail < 1e-8
    assert len(found[1].whole.cases) == 10


def test_a_day_on_which_nobody_is_infected_so_late_tells_little() -> None:
    """Two places alike but for the day: six days before the onset, and twelve hours before it."""
    onset = BEGIN + 8 * DAY
    stays = [Stay(c, 0, BEGIN + 2 * DAY, BEGIN + 2 * DAY + HOUR) for c in (0, 1)]
    stays += [Stay(c, 1, onset - HOUR * 12, onset - HOUR * 11) for c in (0, 1)]
    presence = {(stay.venue, stay.start // SLOT): HOUR * 10 for stay in stays}
    total = {slot: HOUR * 1000 for _, slot in presence}
    found = places(*_split(given(stays, presence, total), [onset, onset]), load_risk().incubation)
    assert [place.whole.venue for place in found] == [0, 1]
    assert found[1].score < found[0].score / 100


def test_people_are_ranked_by_the_cases_they_could_have_infected() -> None:
    """Whoever met two cases comes before whoever met one long; a meeting after the onset counts for nothing."""
    onsets = np.array([BEGIN + 6 * DAY, BEGIN + 6 * DAY])
    rows = [
        (0, 7, BEGIN, 0.1),
        (0, 7, BEGIN + HOUR, 0.1),
        (1, 7, BEGIN, 0.01),
        (0, 8, BEGIN, 0.9),
        (1, 9, BEGIN + 7 * DAY, 0.9),
    ]
    met = Exposed(*(np.array([row[field] for row in rows]) for field in range(4)))
    found = people(met, onsets, load_risk().incubation)
    assert [(each.person, each.cases) for each in found] == [(7, (0, 1)), (8, (0,))]
    density = load_risk().incubation.density(np.array([6.0, 6.0 - 1 / 24, load_risk().incubation.likeliest_days]))
    first, second = density[:2] / density[2]
    assert found[0].risk == pytest.approx(1 - (1 - 0.1 * first) * (1 - 0.1 * second) * (1 - 0.01 * first))


def test_nobody_nowhere() -> None:
    none = np.empty(0, np.int64)
    columns = CaseStays(none, none, none, none, none != 0)
    assert places(columns, none, Attendance(none, none, none, {}), load_risk().incubation) == []
    assert people(Exposed(none, none, none, np.empty(0)), none, load_risk().incubation) == []
    assert slot_ms() == SLOT

"""Where, when and from whom several cases were infected: common origins, ranked by cases above those expected.

Many cases pass where many people pass. So each place and time is held against what chance would do: had a case, in
every slot in which they were somewhere, been wherever people were, each place as likely as its share of all people's
time, how many of the cases would have been here? Times weigh as the incubation has it: a stay on a day on which the
case was hardly infected says little. The score is the logarithm of the likelihood ratio of the scan statistic
(Kulldorff 1997), `k ln(k / e) - (k - e)` with the weighted cases seen and expected.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from contacts.columns import Bools, Ints, distinct
from contacts.risk import DAY_MS, Floats, Incubation, combined, logs_of


@cache
def slot_ms() -> int:
    """The length of a slot (contacts/data/sources.toml)."""
    table = tomllib.loads(files("contacts.data").joinpath("sources.toml").read_text("utf-8"))
    return int(table["slot_minutes"] * 60_000)


class CaseStays(NamedTuple):
    """Where cases were, one row a stay: a case's and a venue's number, `[start, end)` in ms.

    A stay in a shop is given for the shop (`own`) and again for the mall that the shop lies within (not `own`).
    """

    case: Ints
    venue: Ints
    start: Ints
    end: Ints
    own: Bools


class Attendance(NamedTuple):
    """How much time people spent at a venue in a slot (ms, added up), as `slot = time // slot_ms`; `total` at all."""

    venue: Ints
    slot: Ints
    presence: Ints
    total: dict[int, int]


class Origin(NamedTuple):
    """A place, or a place at a time, where cases may have been infected.

    `cases` are their numbers; `expected` is how many chance would bring here, `tail` the probability that it brings as
    many or more, `score` the ranking.
    """

    venue: int
    start_ms: int
    end_ms: int
    cases: tuple[int, ...]
    expected: float
    tail: float
    score: float

    @property
    def ratio(self) -> float:
        """Cases seen to cases expected."""
        return len(self.cases) / self.expected if self.expected else float("inf")


class Place(NamedTuple):
    """A venue over the whole time, and the times at which cases were there, most telling first."""

    whole: Origin
    times: list[Origin]

    @property
    def score(self) -> float:
        """The best of the venue's and its times'."""
        return max(self.whole.score, *(each.score for each in self.times))


class Spreader(NamedTuple):
    """A person who may have infected cases: which, and the chance of having infected any, as the incubation weighs."""

    person: int
    cases: tuple[int, ...]
    risk: float


class _Slots(NamedTuple):
    """Venue-slots: the venue, the slot, the share of all people's time that was spent there."""

    venue: Ints
    slot: Ints
    share: Floats


def places(
    stays: CaseStays, onsets_ms: Ints, attendance: Attendance, incubation: Incubation, least_cases: int = 1
) -> list[Place]:
    """The venues where so many cases were, the most telling first. `onsets_ms` has one entry a case.

    Of a case without symptoms the specimen's time stands for the onset's: an assumption, as in infectious windows.
    """
    cases = len(onsets_ms)
    if not len(stays.case):
        return []
    row, slot = _slots_of(stays)
    seen = np.unique(np.stack((stays.venue[row], slot, stays.case[row])), axis=1)
    own = stays.own[row]
    somewhere = np.unique(np.stack((slot[own], stays.case[row][own], stays.venue[row][own])), axis=1)
    slots = distinct(np.concatenate((slot, attendance.slot)))
    busy = np.zeros((len(slots), cases))
    np.add.at(busy, (np.searchsorted(slots, somewhere[0]), somewhere[1]), 1)
    middle = slots * slot_ms() + slot_ms() // 2
    weight = incubation.density(((onsets_ms[None, :] - middle[:, None]) / DAY_MS).ravel()).reshape(busy.shape)
    weight /= incubation.density(np.array([incubation.likeliest_days]))[0]
    held = _held(stays, row, slot, attendance)
    place = np.searchsorted(slots, held.slot)
    missed = np.broadcast_to(logs_of(held.share)[:, None], (len(place), cases))
    log_missed = np.multiply(busy[place], missed, out=np.zeros(missed.shape), where=busy[place] > 0)
    at = _numbered(held, seen)
    present = np.zeros(log_missed.shape, np.bool_)
    present[at, seen[2]] = True

    found = []
    with_cases: Bools = np.any(present, axis=1)
    runs, times = _runs(held, with_cases)
    by_run = _origins(held, runs, times, log_missed, weight[place], present)
    whole = _origins(held, np.arange(len(held.venue)), held.venue, log_missed, weight[place], present)
    for each in whole:
        if len(each.cases) < least_cases:
            continue
        here = sorted((o for o in by_run if o.venue == each.venue), key=lambda o: (-o.score, o.start_ms))
        found.append(Place(each, here))
    return sorted(found, key=lambda p: (-p.score, p.whole.tail, p.whole.venue))


class Exposed(NamedTuple):
    """Meetings of cases with others (n rows): when each began (ms), and its exposure."""

    case: Ints
    person: Ints
    start: Ints
    exposure: Floats


def people(met: Exposed, onsets_ms: Ints, incubation: Incubation) -> list[Spreader]:
    """Who may have infected the most cases.

    A case counts once, however often they met. The chance weighs each exposure by the incubation at its beginning.
    """
    most = incubation.density(np.array([incubation.likeliest_days]))[0]
    weight = incubation.density((onsets_ms[met.case] - met.start) / DAY_MS) / most
    found = []
    order = np.lexsort((met.start, met.case, met.person))
    for rows in np.split(order, np.flatnonzero(np.diff(met.person[order])) + 1) if len(order) else []:
        likely = rows[weight[rows] > 0]
        if len(likely):
            risk = combined(logs_of(weight[likely] * met.exposure[likely]).sum(keepdims=True))
            found.append(Spreader(int(met.person[rows[0]]), tuple(distinct(met.case[likely]).tolist()), float(risk[0])))
    return sorted(found, key=lambda each: (-len(each.cases), -each.risk, each.person))


def _slots_of(stays: CaseStays) -> tuple[Ints, Ints]:
    """The slots that stays reach into: (row of the stay, slot)."""
    first, last = stays.start // slot_ms(), (stays.end - 1) // slot_ms()
    count = last - first + 1
    row = np.repeat(np.arange(len(first)), count)
    return row, first[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)


def _held(stays: CaseStays, row: Ints, slot: Ints, attendance: Attendance) -> _Slots:
    """The slots of all venues where cases were, in order, with their share; at least the cases' own time counts."""
    begin = np.maximum(stays.start[row], slot * slot_ms())
    end = np.minimum(stays.end[row], (slot + 1) * slot_ms())
    wanted = np.isin(attendance.venue, stays.venue)
    venue = np.concatenate((stays.venue[row], attendance.venue[wanted]))
    slots = np.concatenate((slot, attendance.slot[wanted]))
    key, place = np.unique(np.stack((venue, slots)), axis=1, return_inverse=True)
    place = place.ravel()
    own = np.bincount(place[: len(row)], end - begin, key.shape[1])
    others = np.bincount(place[len(row) :], attendance.presence[wanted], key.shape[1])
    presence = np.maximum(own, others)
    total = np.array([attendance.total.get(each, 0) for each in key[1].tolist()], np.float64)
    return _Slots(key[0], key[1], presence / np.maximum(np.maximum(total, presence), 1))


def _numbered(held: _Slots, seen: Ints) -> Ints:
    """Which venue-slot each column of `seen` (venue, slot, case) is of."""
    low, high = int(held.slot.min()), int(held.slot.max())
    span = high - low + 1
    found: Ints = np.searchsorted(held.venue * span + held.slot - low, seen[0] * span + seen[1] - low)
    return found


def _runs(held: _Slots, with_cases: Bools) -> tuple[Ints, Ints]:
    """The venue-slots with cases, and the number of the run of adjacent ones that each is in."""
    rows = np.flatnonzero(with_cases)
    venue, slot = held.venue[rows], held.slot[rows]
    begins = np.concatenate(([True], (venue[1:] != venue[:-1]) | (slot[1:] != slot[:-1] + 1)))
    return rows, np.cumsum(begins)


def _origins(held: _Slots, rows: Ints, group: Ints, log_missed: Floats, weight: Floats, present: Bools) -> list[Origin]:
    """One origin a group of venue-slots (`rows`, with their groups in order)."""
    first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    last = np.append(first[1:], len(rows)) - 1
    chance = combined(np.add.reduceat(log_missed[rows], first))
    part = combined(log_missed[rows])
    mean = np.add.reduceat(part * weight[rows], first) / np.maximum(np.add.reduceat(part, first), 1e-300)
    there = present[rows]
    times = np.add.reduceat(there.astype(np.int64), first)
    seen_weight = np.add.reduceat(there * weight[rows], first) / np.maximum(times, 1)
    seen = times > 0
    observed, expected = seen_weight.sum(axis=1), (chance * mean).sum(axis=1)
    score = np.where(observed > expected, _ratio(observed, expected), 0.0)
    tail = _tails(chance, seen.sum(axis=1))
    return [
        Origin(
            int(held.venue[rows[first[g]]]),
            int(held.slot[rows[first[g]]]) * slot_ms(),
            (int(held.slot[rows[last[g]]]) + 1) * slot_ms(),
            tuple(np.flatnonzero(seen[g]).tolist()),
            float(chance[g].sum()),
            float(tail[g]),
            float(score[g]),
        )
        for g in range(len(first))
    ]


def _ratio(observed: Floats, expected: Floats) -> Floats:
    """`k ln(k / e) - (k - e)`."""
    safe = np.maximum(expected, 1e-300)
    found: Floats = observed * np.log(np.maximum(observed, 1e-300) / safe) - (observed - expected)
    return found


def _tails(chance: Floats, seen: Ints) -> Floats:
    """The probability (groups,) that as many cases or more are there, each with a chance of its own (groups, cases)."""
    count = np.zeros((len(chance), chance.shape[1] + 1))
    count[:, 0] = 1.0
    for case in range(chance.shape[1]):
        p = chance[:, case : case + 1]
        count[:, 1:] = count[:, 1:] * (1 - p) + count[:, :-1] * p
        count[:, :1] *= 1 - p
    more = np.arange(count.shape[1])[None, :] >= seen[:, None]
    found: Floats = (count * more).sum(axis=1)
    return np.minimum(found, 1.0)

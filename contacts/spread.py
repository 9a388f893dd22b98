"""Whom an infection may have reached over several hops, or, on negated time, by way of whom it came.

The search goes level by level. What is known of a person after level h, from all paths of at most h hops, is the
earliest time at which they may have been infected and the risk that they were. Level h + 1 makes both anew from those
of level h: two sets of labels, since a label bettered within its own level would let a path through with a hop too
many, and its old value, which belongs to a path with fewer hops, would be lost.

    earliest(h + 1, p) = the earliest start of a part that p shared with somebody and that counts
    risk(h + 1, p)     = 1 - product over those parts of (1 - risk(h, exposer) x exposure)

A part begins no earlier than the exposer's earliest(h) + latent period. Both only ever get earlier and greater, so a
person once reached stays so, keeps the hop at which that was, and is asked about again only when they may have been
infected earlier than was thought. The case is never reached, and only those with the least risk are followed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from contacts.columns import Bools, Ints, among, begins, distinct, ints, numbered, ordered
from contacts.exposures import Found, exposing
from contacts.meetings import Meetings
from contacts.profiles import Profile
from contacts.risk import Floats, Limits, Risk, combined, logs_of
from schemas.messages import Direction, Limit

FAR_MS: Final = 1 << 53  # further than any time, and a whole number in everybody's JSON
_NOBODY: Final = -1
_ALMOST: Final = 1 - 1e-9  # the sums of logarithms hold to that: who has just the least risk is followed


class Terms(NamedTuple):
    """What a search goes by. `bound_ms`: forward nobody is asked about from then on, backward before it."""

    profile: Profile
    risk: Risk
    limits: Limits
    direction: Direction
    bound_ms: int | None = None


class Asked(NamedTuple):
    """About whom (the caller's numbers) is asked, each for stays within `[since, until)` (ms)."""

    people: Ints
    since: Ints
    until: Ints


class Reached(NamedTuple):
    """Everybody reached, as columns: the number here, the caller's, at what hop, the risk, and the earliest possible
    infection (backward: the latest; ms)."""

    number: Ints
    person: Ints
    hop: Ints
    risk: Floats
    earliest_ms: Ints


class _Labels(NamedTuple):
    """A level's labels by person; `since_level` is the level that set `earliest`, by way of `exposer`."""

    earliest: Ints
    risk: Floats
    exposer: Ints
    since_level: Ints


class Spread:
    """One search: as long as it is `going`, ask about `asked()` and `take` what was found.

    Within it people are numbered as they are reached, the case 0; times are on an axis that backward is negated.
    """

    def __init__(self, case: int, window_start_ms: int, window_end_ms: int, terms: Terms) -> None:
        self._terms = terms
        forward = terms.direction == "forward"
        self._sign = 1 if forward else -1
        self._window = (window_start_ms, window_end_ms) if forward else (-window_end_ms, -window_start_ms)
        self._bound = FAR_MS if terms.bound_ms is None else self._sign * terms.bound_ms
        self.level = 0
        self._stopped: Limit | None = None
        self._moved = False
        self._people = ints([case])
        self._hop = ints([0])
        self._main = ints([0])
        self._since = ints([FAR_MS])
        self._levels = [_Labels(ints([-FAR_MS]), np.ones(1), ints([0]), ints([0]))]
        self._pending = ints([0])
        self.met = Meetings.together([])
        """The meetings that count, `exposer` and `other` as people are numbered here."""
        self._begin = ints([])
        self._exposure: Floats = np.empty(0)
        self._category = ints([])
        self._categories: list[str] = []

    @property
    def going(self) -> bool:
        """Whether there is another level."""
        within = self._stopped is None and self.level < self._terms.limits.hops
        return within and (self.level == 0 or self._moved or bool(self._due().any()))

    @property
    def cut_by(self) -> tuple[Limit, ...]:
        """The limits but for which the search would have gone on: `hops`, `people`, `seconds`."""
        if self._stopped is not None:
            return (self._stopped,)
        return ("hops",) if self.level and bool(self._due().any()) else ()

    def stop(self, limit: Limit) -> None:
        """Go no further, because of a limit."""
        self._stopped = limit

    def _due(self) -> Bools:
        """Who has risk enough, and may infect in a time that has not been asked about."""
        labels = self._levels[-1]
        begin = labels.earliest + self._terms.risk.latent_ms
        due: Bools = (labels.risk >= self._terms.limits.least_risk * _ALMOST) & (begin < self._since)
        due &= begin < self._bound
        due[0] = False
        return due

    def asked(self) -> Asked:
        """Whom the next level must know of; nobody where only risks are still to be worked out."""
        if self.level == 0:
            self._pending, since, until = ints([0]), ints(self._window[:1]), ints(self._window[1:])
        else:
            self._pending = np.flatnonzero(self._due())
            since = self._levels[-1].earliest[self._pending] + self._terms.risk.latent_ms
            until = np.full(len(since), self._bound)
        self._since[self._pending] = since
        if self._sign < 0:
            since, until = -until, -since
        return Asked(self._people[self._pending], since, until)

    def take(self, found: Found, *, counted: bool = False) -> None:
        """What was found of those asked about (`exposer` indexes them): one level further.

        `counted`: all of it counts, as other rules had it.
        """
        found = found.of(found.met.other != self._people[0])
        if not counted:
            found = exposing(found, self._terms.profile, self._terms.direction)
        self._drop_asked_again()
        met = found.met._replace(
            exposer=self._pending[found.met.exposer],
            other=self._numbered(found.met.other),
        )
        begin = met.start if self._sign > 0 else -met.end
        near = np.array([self._terms.risk.near(name) for name in found.categories])[found.category]
        exposure = self._terms.risk.exposure(met.end - met.start, near, begin - self._since[met.exposer])
        self.met = Meetings.together([self.met, met])
        self._begin = np.concatenate((self._begin, begin))
        self._exposure = np.concatenate((self._exposure, exposure))
        self._category = np.concatenate((self._category, found.category + len(self._categories)))
        self._categories += found.categories
        self.level += 1
        self._relabel()
        if len(self._people) - 1 > self._terms.limits.people:
            self.stop("people")

    def _drop_asked_again(self) -> None:
        """Of who was asked about anew what was found before does not count."""
        again = among(self.met.exposer, self._pending)
        if again.any():
            self.met, self._begin = self.met.of(~again), self._begin[~again]
            self._exposure, self._category = self._exposure[~again], self._category[~again]

    def _numbered(self, people: Ints) -> Ints:
        """Our numbers of people, new ones in the order of the caller's."""
        each, place = numbered(people)
        new = each[~among(each, np.sort(self._people))]
        count = len(new)
        self._people = np.concatenate((self._people, new))
        self._hop = np.concatenate((self._hop, np.full(count, self.level + 1)))
        self._main = np.concatenate((self._main, np.zeros(count, np.int64)))
        self._since = np.concatenate((self._since, np.full(count, FAR_MS)))
        order = np.argsort(self._people)
        return order[np.searchsorted(self._people[order], each)][place]

    def _relabel(self) -> None:
        """Make this level's labels from those of the level before."""
        before, count = self._levels[-1], len(self._people)
        old = len(before.risk)
        earliest, risk, exposer, since_level = (
            np.concatenate((column, np.full(count - old, fill, column.dtype)))
            for column, fill in zip(before, (FAR_MS, 0, 0, 0), strict=True)
        )
        weight = risk[self.met.exposer]
        risk = np.concatenate((np.ones(1), np.zeros(count - 1)))
        if len(self._begin):
            key = self.met.other * count + self.met.exposer
            order = _by_key_and_begin(key, self._begin)
            key = key[order]
            first = _firsts(key)
            logs = np.add.reduceat(logs_of(weight * self._exposure)[order], first)
            who, by, begin = key[first] // count, key[first] % count, self._begin[order][first]
            risk[1:] = combined(np.bincount(who, logs, count).astype(np.float64)[1:])
            most = _least(who, logs)
            fresh = most[who[most] >= old]
            self._main[who[fresh]] = by[fresh]
            soonest = _least(who, begin, logs)
            soonest = soonest[begin[soonest] < earliest[who[soonest]]]
            better = who[soonest]
            earliest[better], exposer[better], since_level[better] = begin[soonest], by[soonest], self.level
        labels = _Labels(earliest, risk, exposer, since_level)
        self._moved = old < count or not (
            np.array_equal(earliest, before.earliest) and np.array_equal(risk, before.risk)
        )
        self._levels.append(labels)

    def reached(self) -> Reached:
        """Everybody reached, by hop, greatest risk first; as many as the limit allows."""
        labels = self._levels[-1]
        order = np.lexsort((-labels.risk, self._hop))[1 : self._terms.limits.people + 1]
        earliest_ms = self._sign * labels.earliest[order]
        return Reached(order, self._people[order], self._hop[order], labels.risk[order], earliest_ms)

    def evidence(self, numbers: Ints) -> list[list[int]]:
        """For each of these persons the rows of `met` that they share with the last on their path."""
        wanted = np.full(len(self._people), -1)
        wanted[numbers] = self._main[numbers]
        rows = np.flatnonzero(wanted[self.met.other] == self.met.exposer)
        rows = rows[np.argsort(self.met.other[rows], kind="stable")]
        ends = np.searchsorted(self.met.other[rows], np.arange(len(self._people) + 1)).tolist()
        listed = rows.tolist()
        return [listed[ends[number] : ends[number + 1]] for number in numbers.tolist()]

    def categories(self, rows: Ints) -> list[str]:
        """The categories of the venues of these meetings, at their times."""
        return [self._categories[code] for code in self._category[rows].tolist()]

    def person(self, number: int) -> int:
        """The caller's number of a person."""
        return int(self._people[number])

    def paths(self, numbers: Ints) -> list[tuple[int, ...]]:
        """Who (the caller's numbers) lies between the case and each of these persons; nobody at hop 1.

        The last is who made most of the risk at the hop that reached the person, the others are those by way of whom
        that one may have been infected first: so the times can follow one another.
        """
        level, each = self._hop[numbers] - 1, self._main[numbers]
        steps: list[list[int]] = []
        while (some := each > 0).any():
            steps.append(np.where(some, self._people[each], _NOBODY).tolist())
            before, by = np.zeros_like(level), np.zeros_like(each)
            for at in distinct(level[some]).tolist():
                rows = np.flatnonzero(some & (level == at))
                before[rows] = self._levels[at].since_level[each[rows]] - 1
                by[rows] = self._levels[at].exposer[each[rows]]
            level, each = before, by
        if not steps:
            return [()] * len(numbers)
        return [tuple(step for step in path if step != _NOBODY) for path in zip(*reversed(steps), strict=True)]


def _by_key_and_begin(key: Ints, begin: Ints) -> Ints:
    """The order of rows by key, and of equal ones by their beginning: few rows have a key in common."""
    order = ordered(key)
    first = begins(key[order])
    several = np.flatnonzero(~(first & np.append(first[1:], True)))
    rows = order[several]
    order[several] = rows[np.lexsort((begin[rows], key[rows]))]
    return order


def _firsts(keys: Ints) -> Ints:
    """Where each run of equal keys begins."""
    return np.flatnonzero(begins(keys))


def _least(keys: Ints, *values: Ints | Floats) -> Ints:
    """Of each run of equal keys the row with the least value; of equal ones by the next values, then the first."""
    rows = np.arange(len(keys))
    for column in values:
        first = _firsts(keys[rows])
        least = np.repeat(np.minimum.reduceat(column[rows], first), np.diff(np.append(first, len(rows))))
        rows = rows[column[rows] == least]
    return rows[_firsts(keys[rows])]


def search(spread: Spread, find: Callable[[Asked], Found], seconds: float, monotonic: Callable[[], float]) -> Spread:
    """The whole search where all places are at hand; stopped between levels when the time is up."""
    until = monotonic() + seconds
    while spread.going:
        if spread.level and monotonic() >= until:
            spread.stop("seconds")
        else:
            spread.take(find(spread.asked()))
    return spread

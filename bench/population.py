"""Two weeks of a nation's visits as numpy columns, for measuring the index and its peers: the same for the same seed.

The shape, at the full size of 112 million visits (facts: a programme's height, 8 million check-ins a day):

- 14 days, 20 million people, 2 million venues. Smaller sizes have people and venues in proportion; shares stay.
- A tenth of the people go out on 70 % of the days, three tenths on 15 %, the others on 3 %. Who is out makes 1 to 6
  visits that day, 3 on average. A question's case is drawn as visits are: who goes about more is more often a case.
- Venues have a heavy tail: the r-th most popular one has a share of about (r + q) ** -0.8, with q such that the first
  has 1 visit in 53, which is 150 000 a day at the full size. That one is a terminal; the few hundred after it are
  malls, markets and terminals; the others are of a random category.
- 60 % of the visits are habitual: to one of four venues of the person's own, the first of them most often.
- Starts follow the hours of the day; lengths are lognormal around a median of the category, at most its longest stay.
  Who checks in elsewhere has left. One stay in thirty goes over midnight.
- No two visits of a person touch, so that a visit is a stay (docs/visits.md).

What is made up here is for measuring only. `lacak.city` makes days that mean something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.workload import DAY_START_MS
from contacts.registry import stay_lengths
from schemas.messages import Venue
from streams.settings import DAY_MS

DAYS: Final = 14
FULL_VISITS: Final = 112_000_000

_PEOPLE_PER_VISIT: Final = 20 / 112
_VENUES_PER_VISIT: Final = 2 / 112
_BUSIEST_SHARE: Final = 150_000 / 8_000_000
_BUSY_SHARE: Final = 1e-4  # of the venues: those whose category is one where many people pass
_ACTIVE: Final = (0.7,) + (0.15,) * 3 + (0.03,) * 6  # the share of days on which a person (by number modulo 10) is out
_VISITS_A_DAY: Final = (0.13, 0.26, 0.28, 0.19, 0.09, 0.05)  # the share of those out who make 1, 2, ... visits
_KEPT: Final = 1.0
_HABITUAL: Final = 0.6
_FAVOURITES: Final = np.array([0, 0, 0, 0, 1, 1, 2, 3], np.uint32)
_HOURS: Final = np.array([1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 22, 26, 30, 26, 22, 20, 22, 28, 30, 26, 18, 10, 4, 2], float)
_MINUTE_MS: Final = 60_000
_PIECE: Final = 1 << 19  # people worked on at a time: their columns stay in the processor's cache
_MIX: Final = (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))  # the finaliser of MurmurHash3


class Kind(NamedTuple):
    """A category of venues: its share of them, and how long people stay (median minutes, spread of the logarithm)."""

    category: str
    share: float
    median_minutes: float
    spread: float


KINDS: Final = (
    Kind("shop", 0.36, 15, 0.6),
    Kind("restaurant", 0.19, 45, 0.5),
    Kind("office", 0.14, 300, 0.4),
    Kind("worship", 0.09, 40, 0.4),
    Kind("fast_food", 0.08, 20, 0.5),
    Kind("market", 0.05, 35, 0.6),
    Kind("school", 0.04, 300, 0.3),
    Kind("gym", 0.02, 75, 0.3),
    Kind("hotel", 0.015, 540, 0.4),
    Kind("mall", 0.01, 80, 0.5),
    Kind("cinema", 0.003, 125, 0.15),
    Kind("ferry_terminal", 0.002, 30, 0.4),
)
_BUSY_KINDS: Final = ("mall", "market", "ferry_terminal")


class Visits(NamedTuple):
    """Visits as columns of one length: person and venue by number (uint32), start and end in ms (int64).

    A person's visits of a day stand together, in order; the people are in no order.
    """

    person: NDArray[np.uint32]
    venue: NDArray[np.uint32]
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]

    def of(self, rows: Any) -> Visits:
        """Those that a mask, indexes or a slice choose."""
        return Visits(self.person[rows], self.venue[rows], self.start_ms[rows], self.end_ms[rows])


class Question(NamedTuple):
    """Who were this person's contacts in `[window_start_ms, window_end_ms)`?"""

    person: int
    window_start_ms: int
    window_end_ms: int


class Population:
    """People and venues for about `visits` visits (within one in a hundred) over the 14 days from `start_ms`.

    `category` has an index into KINDS for every venue (uint8).
    """

    def __init__(self, visits: int = FULL_VISITS, seed: int = 1, start_ms: int = DAY_START_MS) -> None:
        self.seed, self.start_ms, self.end_ms = seed, start_ms, start_ms + DAYS * DAY_MS
        self.people = max(1000, round(visits * _PEOPLE_PER_VISIT))
        self.venues = max(200, round(visits * _VENUES_PER_VISIT))
        mean = float(np.dot(_VISITS_A_DAY, np.arange(1, len(_VISITS_A_DAY) + 1)))
        self._active = np.array(_ACTIVE) * visits / (DAYS * self.people * np.mean(_ACTIVE) * mean)
        self._step = next(step for step in range(2_654_435_761, 1 << 32) if math.gcd(step, self.people) == 1)
        self._curve = _Curve(self.venues, _BUSIEST_SHARE)
        self._rhythm = _rhythm()
        random = np.random.default_rng([seed, 1])
        self._salts = random.integers(0, 1 << 32, DAYS + 1, dtype=np.uint32)
        self._venue_of_rank = random.permutation(self.venues).astype(np.uint32)
        by_rank = random.choice(len(KINDS), self.venues, p=[kind.share for kind in KINDS]).astype(np.uint8)
        names = [kind.category for kind in KINDS]
        busy = max(3, round(self.venues * _BUSY_SHARE))
        by_rank[:busy] = random.choice([names.index(name) for name in _BUSY_KINDS], busy)
        by_rank[0] = names.index("ferry_terminal")
        self.category = np.empty(self.venues, np.uint8)
        self.category[self._venue_of_rank] = by_rank
        self._category_of_rank = by_rank
        self._middle = np.log([kind.median_minutes * _MINUTE_MS for kind in KINDS]).astype(np.float32)
        self._spread = np.array([kind.spread for kind in KINDS], np.float32)
        self._longest = np.array([_longest_ms(kind.category) for kind in KINDS], np.float32)

    def days(self) -> Iterator[Visits]:
        """The visits of each day in turn, by the day on which they start."""
        pieces = [(first, min(first + _PIECE, self.people)) for first in range(0, self.people, _PIECE)]
        away: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = [_NOBODY] * len(pieces)
        for day in range(DAYS):
            random = np.random.default_rng([self.seed, 2, day])
            parts = []
            for number, (first, last) in enumerate(pieces):
                visits, away[number] = self._piece(day, first, last, away[number], random)
                parts.append(visits)
            yield Visits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def questions(self, count: int) -> list[Question]:
        """Different persons with visits, each with the window of all 14 days; fewer where there are not so many."""
        random = np.random.default_rng([self.seed, 3])
        weight = self._active / self._active.sum()
        found: dict[int, None] = {}
        for _ in range(64):
            number = random.integers(0, self.people // 10, 2 * count + 64) * 10 + random.choice(
                10, 2 * count + 64, p=weight
            )
            out = np.any([self._out(day, number.astype(np.uint32)) for day in range(DAYS)], axis=0)
            found |= dict.fromkeys(self._names(number[out]).tolist())
            if len(found) >= count:
                break
        return [Question(person, self.start_ms, self.end_ms) for person in list(found)[:count]]

    def _piece(
        self, day: int, first: int, last: int, away: tuple[NDArray[np.int64], NDArray[np.int64]],
        random: np.random.Generator,
    ) -> tuple[Visits, tuple[NDArray[np.int64], NDArray[np.int64]]]:  # fmt: skip
        """The visits of some people on a day, and who of them is then away past midnight: (number, until in ms).

        Times are counted from the day's midnight. `away` says the same of the day before.
        """
        number = first + np.flatnonzero(self._out(day, np.arange(first, last, dtype=np.uint32)))
        count = 1 + _draw(random, len(number), _VISITS_A_DAY)
        row = np.repeat(np.arange(len(number)), count)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        start = self._starts((nth + random.random(len(row))) / count[row])
        free = np.zeros(last - first, np.int64)
        free[away[0] - first] = away[1] + _MINUTE_MS
        start = np.maximum(start, free[number - first][row])
        rank = self._ranks(number[row], random)
        kind = self._category_of_rank[rank]
        length = np.exp(self._middle[kind] + self._spread[kind] * random.standard_normal(len(row), np.float32))
        end = start + np.minimum(length, self._longest[kind]).astype(np.int64)
        follows = row[1:] == row[:-1]
        np.minimum(end[:-1], start[1:] - _MINUTE_MS, out=end[:-1], where=follows)
        kept = end >= start + _MINUTE_MS
        row, start, end = row[kept], start[kept], end[kept]
        over = end > DAY_MS
        midnight = self.start_ms + day * DAY_MS
        visits = Visits(
            self._names(number)[row].astype(np.uint32),
            self._venue_of_rank[rank[kept]],
            start + midnight,
            end + midnight,
        )
        return visits, (number[row[over]], end[over] - DAY_MS)

    def _out(self, day: int, number: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which people (by number) are out on a day."""
        most = (np.minimum(self._active, 1.0) * (2**32 - 1)).astype(np.uint32)
        found: NDArray[np.bool_] = _mixed(number ^ self._salts[day]) < most[number % 10]
        return found

    def _starts(self, share: NDArray[np.float64]) -> NDArray[np.int64]:
        """When a share of the day's starts has happened, ms after midnight."""
        place = share * (len(self._rhythm) - 1)
        step = place.astype(np.int64)
        before = self._rhythm[step]
        return (before + (self._rhythm[step + 1] - before) * (place - step)).astype(np.int64)

    def _ranks(self, number: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """A venue for each visit of people (by number), as its rank in popularity."""
        chance = random.integers(0, 1 << 32, len(number), dtype=np.uint32)
        which = random.integers(0, 1 << 16, len(number), dtype=np.uint16)
        own = _mixed((number.astype(np.uint32) << np.uint32(2)) + _FAVOURITES[which & 7] ^ self._salts[-1])
        return self._curve.ranks(np.where((which >> 3) < _HABITUAL * (1 << 13), own, chance))

    def _names(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """The persons of numbers: a walk over all of them in long steps, so that neighbours have nothing in common."""
        return number * self._step % self.people


class _Curve:
    """Ranks with a share of about `(rank + q) ** -0.8`: the fifth power undoes the sum of such shares."""

    def __init__(self, venues: int, busiest: float) -> None:
        low, high = 0.0, 1e9
        for _ in range(200):
            q = (low + high) / 2
            share = ((1 + q) ** 0.2 - q**0.2) / ((venues + q) ** 0.2 - q**0.2)
            low, high = (q, high) if share > busiest else (low, q)
        self._last = venues - 1
        self._q = q
        self._base = q**0.2
        self._scale = ((venues + q) ** 0.2 - q**0.2) / 2**32

    def ranks(self, chance: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Ranks from random 32-bit numbers."""
        root = chance * self._scale + self._base
        square = root * root
        found: NDArray[np.int64] = np.minimum((square * square * root - self._q).astype(np.int64), self._last)
        return found


_NOBODY: Final = (np.empty(0, np.int64), np.empty(0, np.int64))


def _rhythm() -> NDArray[np.float64]:
    """The quantiles of starts over a day, in ms after midnight."""
    passed = np.concatenate(([0.0], np.cumsum(_HOURS) / _HOURS.sum()))
    quantiles = np.interp(np.linspace(0, 1, 4097), passed, np.linspace(0, DAY_MS, 25))
    return np.append(quantiles, DAY_MS - 1)


def _draw(random: np.random.Generator, count: int, shares: tuple[float, ...]) -> NDArray[np.int64]:
    """Indexes into `shares`, which are whole hundredths, drawn accordingly."""
    table = np.repeat(np.arange(len(shares)), np.round(np.array(shares) * 100).astype(np.int64))
    drawn: NDArray[np.int64] = table[random.integers(0, len(table), count)]
    return drawn


def _mixed(value: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A 32-bit number whose bits all depend on all bits of the value."""
    value = value ^ (value >> np.uint32(16))
    value = value * _MIX[0]
    value = value ^ (value >> np.uint32(13))
    value = value * _MIX[1]
    return value ^ (value >> np.uint32(16))


def _longest_ms(category: str) -> int:
    return stay_lengths(Venue(venue="any", category=category))[1]

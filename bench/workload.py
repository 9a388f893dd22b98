"""A day of scans as gateways would send them: heavy-tailed, out of order, the same for the same seed.

What is made up here is for measuring only; `lacak.city` makes days that mean something.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.messages import Venue
from schemas.partitions import partitions_of
from streams.settings import DAY_MS

DAY_START_MS: Final = 1_634_749_200_000
"""2021-10-21 00:00 in Jakarta."""

_HOUR_MS: Final = 3_600_000
_CATEGORIES: Final = {"shop": 0.45, "restaurant": 0.25, "office": 0.12, "market": 0.1, "worship": 0.08}
_HOURS: Final = np.array([1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 22, 26, 30, 26, 22, 20, 22, 28, 30, 26, 18, 10, 4, 2], float)
_OUT_SHARE: Final = 0.25  # of the visits: a fifth of the scans
_LATE_SHARE: Final = 0.02
_SHUFFLE_MS: Final = 4 * 60_000
_MALL_SHARE: Final = 0.03
_WITHIN_SHARE: Final = 0.3


class Shape(NamedTuple):
    """How large a workload is."""

    scans: int = 2_000_000
    people: int = 600_000
    venues: int = 5_000
    seed: int = 1


class Scans(NamedTuple):
    """Scans in order of arrival, as columns: indexes of people and venues, whether out, two times.

    An arrival of -1 is not given: the scan arrives when its record does.
    """

    person: NDArray[np.int64]
    venue: NDArray[np.int64]
    out: NDArray[np.bool_]
    at_ms: NDArray[np.int64]
    arrived_at_ms: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> Scans:
        """Some of them."""
        person, venue, out, at_ms, arrived_at_ms = self
        return Scans(person[rows], venue[rows], out[rows], at_ms[rows], arrived_at_ms[rows])


class Workload:
    """People, venues, and the scans of a day."""

    def __init__(self, shape: Shape, start_ms: int = DAY_START_MS) -> None:
        self.shape = shape
        self.start_ms = start_ms
        self._random = np.random.default_rng(shape.seed)
        names = self._random.bytes(16 * shape.people).hex()
        self.people = [f"b1:{names[at : at + 32]}" for at in range(0, len(names), 32)]
        self.venues = _venues(shape.venues, self._random)
        weights = 1.0 / (np.arange(shape.venues) + 10.0) ** 0.9
        self.popularity = weights / weights.sum()

    def registrations(self) -> list[Venue]:
        """The venues in an order in which they can be registered: a mall before its shops."""
        return sorted(self.venues, key=lambda venue: venue.within is not None)

    def scans(self) -> Scans:
        """The day's scans. Times of arrival are those of the log: they never go back by more than the shuffling."""
        random, shape = self._random, self.shape
        visits = math.ceil(shape.scans / (1 + _OUT_SHARE)) + 1
        person = random.integers(0, shape.people, visits)
        venue = random.choice(shape.venues, visits, p=self.popularity)
        hour = random.choice(24, visits, p=_HOURS / _HOURS.sum())
        begin = self.start_ms + hour * _HOUR_MS + random.integers(0, _HOUR_MS, visits)
        leaves = random.random(visits) < _OUT_SHARE
        end = begin + (random.lognormal(math.log(40 * 60_000), 0.7, visits)).astype(np.int64) + 60_000
        person = np.concatenate([person, person[leaves]])
        venue = np.concatenate([venue, venue[leaves]])
        out = np.concatenate([np.zeros(visits, bool), np.ones(int(leaves.sum()), bool)])
        at = np.concatenate([begin, end[leaves]])
        late = random.random(len(at)) < _LATE_SHARE
        delay = random.integers(0, _SHUFFLE_MS, len(at))
        delay[late] = random.integers(_HOUR_MS, 8 * _HOUR_MS, int(late.sum()))
        arrived = at + delay
        order = np.argsort(arrived, kind="stable")[: shape.scans]
        return Scans(person[order], venue[order], out[order], at[order], arrived[order])

    def records(self, scans: Scans, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Some of the scans as `(key, value)`: one JSON message each, as docs/publishing.md has it."""
        people, venues = self.people, self.venues
        found = []
        for person, venue, out, at, arrived in zip(
            *(column[start:stop].tolist() for column in scans),
            strict=True,
        ):
            name = people[person]
            kind = "out" if out else "in"
            tail = f',"arrived_at_ms":{arrived}}}' if arrived >= 0 else "}"
            value = f'{{"person":"{name}","venue":"{venues[venue].venue}","kind":"{kind}","at_ms":{at}{tail}'
            found.append((name.encode(), value.encode()))
        return found

    def homes(self, scans: Scans, partitions: int) -> NDArray[np.int64]:
        """The partition of each scan."""
        return partitions_of(self.people, partitions)[scans.person]

    def end_ms(self) -> int:
        """A time that no scan's arrival or end reaches."""
        return self.start_ms + 3 * DAY_MS


def _venues(count: int, random: np.random.Generator) -> list[Venue]:
    """Venues in order of popularity; malls anywhere among them, and some of the others within one."""
    kinds, shares = list(_CATEGORIES), list(_CATEGORIES.values())
    kind_of = random.choice(len(kinds), count, p=np.array(shares)).tolist()
    names = [f"v{rank:05d}" for rank in range(count)]
    malls = set(random.permutation(count)[: max(1, int(count * _MALL_SHARE))].tolist())
    mall_of = random.choice(sorted(malls), count).tolist()
    inside = (random.random(count) < _WITHIN_SHARE).tolist()
    capacity = random.integers(20, 2000, count).tolist()
    return [
        Venue(
            venue=names[rank],
            name=f"Venue {rank}",
            category="mall" if rank in malls else kinds[kind_of[rank]],
            capacity=capacity[rank],
            within=names[mall_of[rank]] if inside[rank] and rank not in malls else None,
        )
        for rank in range(count)
    ]

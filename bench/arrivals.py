"""Visits that arrive at an index which holds two weeks already, as blocks from one partition of `scans`."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from bench.population import Population
from contacts.index import VisitIndex
from contacts.people import Directory
from contacts.places import Places
from schemas.blocks import ASSUMED, CHECKED_OUT, VISIT_COLUMNS, Lineage, VisitBlock
from streams.settings import DAY_MS

_LATE_SHARE: Final = 1 / 20
_CORRECTED_SHARE: Final = 1 / 50
_WINDOW_MS: Final = 600_000
_HORIZON_MS: Final = 3 * DAY_MS
_STAY_MS: Final = 40 * 60_000
_SHORTER_MS: Final = 5 * 60_000


class Arrivals:
    """Blocks of changes, and the places that take them in over an index built before."""

    def __init__(self, people: Directory, index: VisitIndex, population: Population) -> None:
        self._places = Places(
            1, _WINDOW_MS, _HORIZON_MS, 28 * DAY_MS, ZoneInfo("Asia/Jakarta"), people, index.archive.shelf
        )
        self._places._index = self.index = index
        self._places._incoming._lineages = index.lineages
        self._people, self._population = people, population
        self._random = np.random.default_rng(population.seed)
        self._now_ms = population.end_ms + DAY_MS // 2
        self._offset = 1 << 30
        popularity = 1.0 / (np.arange(population.venues) + 20.0) ** 0.8
        self._popular = np.cumsum(popularity / popularity.sum())

    def block(self, count: int) -> VisitBlock:
        """So many changes, in order of their positions."""
        random, index = self._random, self.index
        corrected = int(count * _CORRECTED_SHARE)
        new = count - corrected
        segment = index.archive.segments[-1 - int(random.integers(3))]
        old = segment.visits(random.integers(0, len(segment), corrected))
        rows = np.zeros((count, len(VISIT_COLUMNS)), np.int64)
        column = {name: rows[:, number] for number, name in enumerate(VISIT_COLUMNS)}
        column["offset"][:] = column["born_offset"][:] = self._offset + np.arange(count)
        column["born_offset"][new:] = np.arange(corrected)  # long forgotten: they are found by what they are
        late = random.random(new) < _LATE_SHARE
        start = self._now_ms - random.integers(0, 60_000, new)
        start[late] -= random.integers(3_600_000, _HORIZON_MS - DAY_MS, int(late.sum()))
        venue = np.minimum(np.searchsorted(self._popular, random.random(new)), len(self._popular) - 1)
        person = random.integers(0, self._population.people, new)
        column["start_ms"][:new], column["end_ms"][:new], column["reason"][:new] = start, start + _STAY_MS, ASSUMED
        column["start_ms"][new:], column["reason"][new:] = old.start, CHECKED_OUT
        column["end_ms"][new:] = np.maximum(old.end - _SHORTER_MS, old.start)
        venues = np.concatenate((venue, index.lineages.own(old.lineage)))
        used, column["lineage"][:] = np.unique(venues, return_inverse=True)
        names = [self._people.name(number) for number in (*person.tolist(), *old.person.tolist())]
        lineages = [Lineage(name) for name in index.lineages.venues.of(used)]
        self._offset += count
        self._now_ms += 100
        return VisitBlock(0, self._offset - count, self._offset, self._now_ms, lineages, names, rows.tobytes())

    def take(self, block: VisitBlock) -> None:
        """As the places worker does, its counting included."""
        self._places.apply(block)
        self._places.counts()

    def tell(self) -> None:
        """Close windows and correct closed ones, as the worker does once a second."""
        self._places.windows()

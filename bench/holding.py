"""An index that holds a population's visits, built from arrays: every day settled, as after two weeks of running."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from bench.population import Visits
from contacts.archive import Shelf
from contacts.columns import Ints
from contacts.index import VisitIndex
from contacts.people import Directory
from contacts.segments import Sealed, Segment
from schemas.blocks import CHECKED_OUT
from streams.settings import DAY_MS

LONGEST_MS: Final = DAY_MS
_NAMES_AT_ONCE: Final = 100_000


def names_of(count: int, seed: int) -> Iterable[list[str]]:
    """Pseudonyms for so many people, some at a time: who has number n has the n-th."""
    random = np.random.default_rng([seed, 7])
    for first in range(0, count, _NAMES_AT_ONCE):
        digits = random.bytes(16 * min(_NAMES_AT_ONCE, count - first)).hex()
        yield [f"b1:{digits[at : at + 32]}" for at in range(0, len(digits), 32)]


class Holding:
    """The partitions of a population's visits, by venue. They share a directory of persons."""

    def __init__(self, venues: int, start_ms: int, shelves: list[Shelf], people: Directory | None = None) -> None:
        self.people = people if people is not None else Directory()
        self.start_ms = start_ms
        self._count = len(shelves)
        self.partitions = [VisitIndex(1, self.people, shelf) for shelf in shelves]
        for venue in range(venues):
            self.partitions[venue % self._count].lineages.take(f"v{venue}", ())

    def fill(self, parts: Iterable[Visits]) -> None:
        """Settle visits, some at a time, by the day that they begin in. Person n has the number n."""
        for visits in parts:
            day = (visits.start_ms - self.start_ms) // DAY_MS
            for number in np.unique(day).tolist():
                self._settle(number, visits if day[0] == number and (day == number).all() else visits.of(day == number))

    def _settle(self, day: int, visits: Visits) -> None:
        for number, index in enumerate(self.partitions):
            here = visits
            if self._count > 1:
                here = visits.of(visits.venue % self._count == number)
                here = here._replace(venue=here.venue // self._count)
            none = np.zeros(len(here.venue), np.bool_)
            reason = np.full(len(none), CHECKED_OUT, np.uint8)
            sealed = Sealed(here.person, here.venue, here.start_ms, here.end_ms, reason, none, none)
            midnight_ms = self.start_ms + day * DAY_MS
            made, _ = Segment.build(midnight_ms, sealed, index.lineages.count)
            file, arrays = index.archive.shelf.put(made.arrays())
            segment = Segment.of_arrays(midnight_ms, made.until_ms, arrays, made.gone)
            segment.file, segment.checked = file, True
            index.archive.replace([], segment)
            index.longest_ms = LONGEST_MS

    @property
    def visits(self) -> int:
        """How many there are."""
        return sum(len(index.archive) for index in self.partitions)

    def bytes_held(self) -> tuple[int, int, int]:
        """The bytes of segments and lists by person, of the directory, and of the exact times."""
        exact = sum(segment.exact.nbytes for index in self.partitions for segment in index.archive.segments)
        return sum(index.bytes_held for index in self.partitions), self.people.bytes_held, exact


def one(value: int) -> Ints:
    """A column of one row."""
    return np.array([value], np.int64)

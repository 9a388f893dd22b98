"""Which visit a row is of: visits by the position of the check-in that made them."""

from __future__ import annotations

import numpy as np

from contacts.columns import Columns, Ints
from contacts.compiled import compiled

SCAN_BITS = 22
"""A position is one integer, `offset << SCAN_BITS | scan`."""


class Births:
    """Births from one source partition. They come in order of position, so finding one is a binary search."""

    def __init__(self) -> None:
        self.columns = Columns(position="i8", visit="i8")

    def add(self, position: Ints, visit: Ints) -> None:
        """Note births, in order of position, all above those noted before."""
        self.columns.grow(len(position), position=position, visit=visit)

    def find(self, position: Ints) -> Ints:
        """The visits born at positions, -1 where that is not known."""
        known = self.columns["position"]
        place = np.minimum(np.searchsorted(known, position), max(len(known) - 1, 0))
        found = np.full(len(position), -1, np.int64)
        if len(known):
            np.copyto(found, self.columns["visit"][place], where=known[place] == position)
        return found

    def settle(self, start: Ints, settled_ms: int) -> None:
        """Let go of births up to the first whose visit did not begin before a time; `start` is by visit."""
        self._forget(_first_open(self.columns["visit"], start, settled_ms))

    def _forget(self, count: int) -> None:
        if count:
            self.columns.drop(count)

    def renumber(self, dropped: int) -> None:
        """The first `dropped` visits are no more, and the others' numbers that much less."""
        self.columns["visit"][:] -= dropped
        self._forget(int(np.count_nonzero(self.columns["visit"] < 0)))


@compiled
def _first_open(visit: Ints, start: Ints, settled_ms: int) -> int:
    """The first place of a visit that did not begin before a time; their number where there is none."""
    for place in range(len(visit)):
        if start[visit[place]] >= settled_ms:
            return place
    return len(visit)

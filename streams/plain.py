"""What of a plain topic is done: of topics without a keeper, whose records Faust hands over one by one.

Faust's own account loses records in a rebalance (docs/adr/0016): it counts as done what a stream skipped because its
generation was over, and where nothing is committed it takes any offset that is done for the first. Here a record
counts when it was handed over after the last seek and let go of before the next revocation; what may be committed is
the first that has not been.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple


class Fetched(NamedTuple):
    """A record, and the epoch in which it was fetched: seeks divide epochs."""

    record: Any
    epoch: int


class Line:
    """One partition since the last seek, from `base` on. Offsets are handed over in order; some may never have been
    written."""

    def __init__(self, base: int) -> None:
        self._reached = base
        self._handed: deque[int] = deque()
        self._done: set[int] = set()

    def hand_over(self, offset: int) -> None:
        """A record goes to whom it concerns."""
        self._handed.append(offset)

    def let_go(self, offset: int) -> None:
        """It is done."""
        self._done.add(offset)

    def reached(self) -> int:
        """The next offset to be read by whoever comes after: everything below it is done."""
        while self._handed and self._handed[0] in self._done:
            offset = self._handed.popleft()
            self._done.discard(offset)
            self._reached = offset + 1
        return self._reached

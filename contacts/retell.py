"""What has to be told again after a restart.

Before it ended, a worker may have told windows as they were between its last snapshot and its end. Who replays from
that snapshot goes through other states, and a window that was told in one of them may be the same in the snapshot and
at the end of the replay. So every window that a replayed row touches is told again when the replay is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from contacts.columns import Ints
from contacts.presence import unite

_MANY: Final = 1 << 18
_PART: Final = "retell"


class Retelling:
    """The spans of windows, by venue, that rows have touched: (venue, first slot, slot after the last)."""

    def __init__(self) -> None:
        self._spans = np.empty((3, 0), np.int64)
        self._more: list[Ints] = []
        self._waiting = 0

    def touch(self, venue: Ints, first: Ints, until: Ints) -> None:
        """Stays, as rows make them or as they were before, have touched these spans."""
        self._more.append(np.stack((venue, first, until)))
        self._waiting += len(venue)
        if self._waiting > _MANY:
            self._join()

    def cells(self, before: int) -> tuple[Ints, Ints]:
        """The windows of slots below `before`, (slot, venue) in order, each once."""
        self._join()
        venue, first, until = self._spans
        length = np.maximum(np.minimum(until, before) - first, 0)
        row = np.repeat(np.arange(len(venue)), length)
        slot = first[row] + np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        order = np.lexsort((venue[row], slot))
        return slot[order], venue[row][order]

    def dump(self) -> dict[str, bytes]:
        """The whole state, as a named part."""
        self._join()
        return {_PART: self._spans.tobytes()}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave, if there is any."""
        self._more.append(np.frombuffer(parts.get(_PART, b""), np.int64).reshape(3, -1))

    def _join(self) -> None:
        if self._more:
            venue, first, until = np.concatenate([self._spans, *self._more], axis=1)
            self._more, self._waiting = [], 0
            order = np.lexsort((first, venue))
            union = unite(venue[order], first[order], until[order], np.zeros(len(order), np.bool_))
            self._spans = np.stack((union.key, union.start, union.end))

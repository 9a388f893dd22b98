"""How long the air at a venue stays infectious: the interval that an infectious person's stay makes.

Most profiles take the stay as it is, some move its end (measles: two hours; Corona-Warn-App: as long as the stay, at
most 30 minutes), some align it to a grid (Corona-Warn-App: ten minutes; TousAntiCovid Signal: slots of thirty).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from contacts.columns import Ints, ints


class Air(NamedTuple):
    """The numbers of a profile that turn a stay into an infectious interval, all in ms.

    A stay shorter than `shortest_ms` makes none. Its end moves by `linger_ms`, with `at_most_stay` by no more than
    its own length. With a grid the interval is then aligned: outward, so that it covers every slot it touches, or
    to the `nearest` length on the grid (`contacts.rules.cwa` says how).
    """

    linger_ms: int = 0
    at_most_stay: bool = False
    shortest_ms: int = 0
    grid_ms: int = 0
    nearest: bool = False

    @property
    def plain(self) -> bool:
        """Whether every interval is its stay."""
        return self.linger_ms == self.shortest_ms == self.grid_ms == 0

    @property
    def reach_ms(self) -> int:
        """No interval begins more than this before its stay, or ends more than this after it."""
        return self.linger_ms + self.grid_ms

    def interval(self, start_ms: int, end_ms: int) -> tuple[int, int] | None:
        """The infectious interval of one stay, or None."""
        begin, until = self.intervals(ints([start_ms]), ints([end_ms]))
        return (int(begin[0]), int(until[0])) if begin[0] < until[0] else None

    def intervals(self, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """The intervals of stays, as columns; a stay that makes none has one of no length."""
        if self.plain:
            return start, end
        length = np.maximum(end - start, 0)
        linger = np.minimum(length, self.linger_ms) if self.at_most_stay else ints(np.full(len(length), self.linger_ms))
        until = end + linger
        if self.grid_ms:
            start, until = self._nearest(start, until) if self.nearest else self._outward(start, until)
        kept = (length >= self.shortest_ms) & (length > 0)
        return start, np.where(kept, until, start)

    def _outward(self, start: Ints, until: Ints) -> tuple[Ints, Ints]:
        grid = self.grid_ms
        return start // grid * grid, -(-until // grid) * grid

    def _nearest(self, start: Ints, until: Ints) -> tuple[Ints, Ints]:
        """As many grid steps as the length is nearest to (half up), placed where more of the interval is."""
        grid = self.grid_ms
        length = (until - start + grid // 2) // grid * grid
        first, last = start // grid * grid, until // grid * grid
        late = until - last > first + grid - start
        begin = np.where(late, last + grid - length, first)
        return begin, begin + length


def air_of(linger: Air | int) -> Air:
    """The numbers where nothing but a linger (ms) is asked for, or those given."""
    return Air(linger) if isinstance(linger, int) else linger

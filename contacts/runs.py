"""Rows by venue and time: sorted runs of packed words over the rows of the living index, small ones merged into larger.

A word is venue 24 bits | time 21 | row 18: the time counts from the run's first in units that fit, the row from the
run's first row. What a search finds by its words is judged by the rows themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.bisecting import first_from
from contacts.columns import Columns, Ints
from contacts.compiled import compiled
from contacts.sorting import sort_words

_TIME_BITS: Final = 21
_ROW_BITS: Final = 18
_SMALLEST: Final = 1 << 12
_LARGEST: Final = 1 << _ROW_BITS
_MERGED: Final = 4
_FEW: Final = 1 / 64


class Run(NamedTuple):
    """The sorted words of `len(words)` rows from `first` on, with starts from `first_ms` to `last_ms`."""

    words: Ints
    first: int
    first_ms: int
    last_ms: int
    shift: int


class Asked(NamedTuple):
    """Questions: visits at `venue` with a start before `until` and an end after `since` (ms), each with its number."""

    number: Ints
    venue: Ints
    since: Ints
    until: Ints


def make_run(first: int, venue: Ints, start: Ints) -> Run:
    """The run of rows from `first` on."""
    first_ms, last_ms = int(start.min()), int(start.max())
    shift = max(0, (last_ms - first_ms).bit_length() - _TIME_BITS)
    words = (venue << _TIME_BITS) + ((start - first_ms) >> shift)
    words = sort_words((words << _ROW_BITS) | np.arange(len(venue)), _ROW_BITS)
    return Run(words, first, first_ms, last_ms, shift)


class Runs:
    """The runs of an index, in order of rows. `venues` of the rows are given as they come: they never change."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._venue = Columns(venue="i4")
        self._tail: Run | None = None
        self.deferred = False
        """Whether rows are sorted when somebody asks, not as they come: most will be gone before anybody does."""

    @property
    def _sorted(self) -> int:
        last = self._runs[-1] if self._runs else None
        return last.first + len(last.words) if last else 0

    def add(self, venue: Ints, start: Ints) -> None:
        """More rows; `start` is the column of all starts."""
        self._venue.grow(len(venue), venue=venue)
        self._tail = None
        if not self.deferred:
            self.catch_up(start)

    def catch_up(self, start: Ints) -> None:
        """Sort what is left of the rows but for the last few, as much at once as a run holds."""
        while (left := self._venue.length - self._sorted) >= _SMALLEST:
            size = _SMALLEST
            while size * _MERGED <= min(_LARGEST, left):
                size *= _MERGED
            self._runs.append(self._make(self._sorted, size, start))
            while (
                len(self._runs) >= _MERGED
                and len(self._runs[-1].words) == len(self._runs[-_MERGED].words)
                and len(self._runs[-1].words) * _MERGED <= _LARGEST
            ):
                first, size = self._runs[-_MERGED].first, len(self._runs[-1].words) * _MERGED
                self._runs[-_MERGED:] = [self._make(first, size, start)]

    def _make(self, first: int, count: int, start: Ints) -> Run:
        rows = slice(first, first + count)
        return make_run(first, self._venue["venue"][rows].astype(np.int64), start[rows])

    def search(
        self, asked: Asked, longest_ms: int, start: Ints, end: Ints, flags: NDArray[np.uint8], out: int
    ) -> tuple[Ints, Ints]:
        """The rows that answer: (number of the question, row). Rows with a flag of `out` do not count."""
        self.catch_up(start)
        if self._tail is None and self._venue.length > self._sorted:
            self._tail = self._make(self._sorted, self._venue.length - self._sorted, start)
        since, until = (int(asked.since.min()), int(asked.until.max())) if len(asked.since) else (0, 0)
        found = np.empty((2, 1024), np.int64)
        pieces = []
        for run in [*self._runs, self._tail] if self._tail is not None else self._runs:
            if run.first_ms >= until or run.last_ms < since - longest_ms:
                continue
            while True:
                count = _search(*run, *asked, longest_ms, start, end, flags, out, found)
                if count <= found.shape[1]:
                    break
                found = np.empty((2, 2 * count), np.int64)
            if count:
                pieces.append(found[:, :count].copy())
        both = np.concatenate(pieces, axis=1) if pieces else np.empty((2, 0), np.int64)
        return both[0], both[1]

    def droppable(self, gone: NDArray[np.bool_]) -> int:
        """How many rows may be dropped: those of the first runs of which nearly all rows are gone.

        What is not sorted yet counts as one large run after another.
        """
        ends = [run.first + len(run.words) for run in self._runs]
        ends += range(self._sorted + _LARGEST, self._venue.length + 1, _LARGEST)
        count = 0
        for end in ends:
            if np.count_nonzero(gone[count:end]) < (end - count) * (1 - _FEW):
                break
            count = end
        return count

    def drop(self, count: int) -> None:
        """Let go of the first `count` rows, as `droppable` gave them."""
        self._venue.drop(count)
        self._tail = None
        self._runs = [run._replace(first=run.first - count) for run in self._runs if run.first >= count]

    def rebuild(self, venue: Ints, start: Ints) -> None:
        """All rows anew."""
        self.__init__()  # type: ignore[misc]
        self.add(venue, start)


@compiled
def _search(
    words: Ints, first: int, first_ms: int, last_ms: int, shift: int, number: Ints, venue: Ints, since: Ints,
    until: Ints, longest: int, start: Ints, end: Ints, flags: NDArray[np.uint8], out: int, found: Ints,
) -> int:  # fmt: skip
    """Fill `found` with (number, row); how many there are, fit or not."""
    room = found.shape[1]
    count = 0
    for asked in range(len(number)):
        low = since[asked] - longest
        if first_ms >= until[asked] or last_ms < low:
            continue
        wanted = ((venue[asked] << 21) + ((max(low, first_ms) - first_ms) >> shift)) << 18
        begin = first_from(words, wanted, 0, len(words))
        wanted = ((venue[asked] << 21) + ((min(until[asked], last_ms) - first_ms) >> shift) + 1) << 18
        for place in range(begin, len(words)):
            if words[place] >= wanted:
                break
            row = first + (words[place] & 262143)
            shares = start[row] < until[asked] and end[row] > since[asked] and end[row] > start[row]
            if shares and flags[row] & out == 0:
                if count < room:
                    found[0, count] = number[asked]
                    found[1, count] = row
                count += 1
    return count

"""Days on their way into segments: read, sorted and written by another thread while the index lives on.

The main loop makes a `Settling`, any thread runs its `build`, and the main loop has `VisitIndex.settled` take it up.
What changed meanwhile stays where it is: such a row lives on, and its place in the new segment counts as gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.archive import Shelf
from contacts.columns import Ints
from contacts.compiled import compiled
from contacts.segments import DAY_MINUTES, LONGEST_MS, MINUTE_MS, Bits, Sealed, Segment

GONE, MEETS, HIDDEN, SETTLED, AGAIN = 1, 2, 4, 8, 16
"""Flags of a row. GONE: erased or expired. MEETS: another visit of this person at this venue has met it. HIDDEN: a
late visit that gives way to another with the same check-in. SETTLED: it is in the archive now, or another row. AGAIN:
it was another row before, or settled, so that its number does not say when it came."""

_MANY_SEGMENTS: Final = 3
_MUCH_GONE: Final = 0.2


class Older(NamedTuple):
    """A segment as it was when the settling began."""

    segment: Segment
    gone: Bits
    gone_count: int
    erased: bool


class Day(NamedTuple):
    """What was made of a day: its new segment (None: nothing is left of it), and the older ones that this replaces.

    `rows` are the living rows in it, with what they were then; `place` says where each visit stands in the segment:
    first those of the rows, then those of each older segment that were not gone (`kept`, places in that segment).
    """

    segment: Segment | None
    place: Ints
    rows: Ints
    end: Ints
    reason: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    older: list[Older]
    kept: list[Ints]


class Settling:
    """Settles the visits that began on days: `days` are their midnights in order, and the first one after them.

    `columns` are those of the living rows, the flags last; None where days are only written anew, without what was
    erased.
    """

    def __init__(
        self,
        days: Ints,
        columns: Mapping[str, NDArray[Any]] | None,
        segments: Sequence[Segment],
        lineages: int,
        shelf: Shelf,
    ) -> None:
        self.made: list[Day] = []
        self._days, self._columns, self._lineages, self._shelf = days, columns, lineages, shelf
        self._older = [
            Older(each, each.gone.copy(), each.gone_count, each.erased)
            for each in segments
            if days[0] <= each.midnight_ms < days[-1]
        ]

    def build(self) -> None:
        """Make the segments. Raises OSError, or Damaged."""
        if self._columns is None:
            for midnight_ms in self._days[:-1].tolist():
                self._build(midnight_ms, np.empty(0, np.int64), {})
            return
        start, end, flags = (self._columns[name] for name in ("start", "end", "flags"))
        rows, day = np.empty(len(start), np.int64), np.empty(len(start), np.int64)
        count = _choose(self._days, start, end, flags, rows, day)
        rows, day = rows[:count], day[:count]
        for number, midnight_ms in enumerate(self._days[:-1].tolist()):
            self._build(midnight_ms, *self._taken(rows[day == number], self._columns))

    @staticmethod
    def _taken(rows: Ints, columns: Mapping[str, NDArray[Any]]) -> tuple[Ints, dict[str, NDArray[Any]]]:
        """The rows that may still be settled, as they are now: any may have changed since they were chosen.

        Whoever lets go of a row flags it first: so flags are read last.
        """
        was = {name: columns[name][rows] for name in ("person", "lineage", "start", "end", "reason", "flags")}
        fits = (was["flags"] & (GONE | SETTLED) == 0) & (was["person"] >= 0)
        fits &= (was["end"] >= was["start"]) & (was["end"] - was["start"] <= LONGEST_MS)
        if fits.all():
            return rows, was
        return rows[fits], {name: column[fits] for name, column in was.items()}

    def _build(self, midnight_ms: int, rows: Ints, was: Mapping[str, NDArray[Any]]) -> None:
        older = [each for each in self._older if each.segment.midnight_ms == midnight_ms]
        size, gone = sum(len(each.segment) for each in older), sum(each.gone_count for each in older)
        erased = any(each.erased for each in older)
        if not erased and not len(rows):
            return
        if not erased and len(older) < _MANY_SEGMENTS and gone <= _MUCH_GONE * size:
            older = []
        kept, pieces = [], []
        if len(rows):
            known = (was[name] for name in ("person", "lineage", "start", "end", "reason"))
            pieces.append(Sealed._make((*known, was["flags"] & MEETS != 0, was["flags"] & HIDDEN != 0)))
        for each in older:
            self._shelf.check(each.segment.file)
            kept.append(each.segment.kept(each.gone))
            pieces.append(each.segment.visits(kept[-1]))
        one = len(pieces) == 1
        visits = pieces[0] if one else Sealed._make(np.concatenate(column) for column in zip(*pieces, strict=True))
        segment, place = None, visits.start[:0]
        if len(visits.start):
            made, order = Segment.build(midnight_ms, visits, self._lineages)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            file, arrays = self._shelf.put(made.arrays())
            segment = Segment.of_arrays(midnight_ms, made.until_ms, arrays, made.gone)
            segment.file, segment.checked = file, True
        none = np.empty(0, np.uint8)
        then = was.get("end", rows), was.get("reason", none), was.get("flags", none)
        self.made.append(Day(segment, place, rows, *then, older, kept))


@compiled
def _choose(days: Ints, start: Ints, end: Ints, flags: NDArray[np.uint8], rows: Ints, day: Ints) -> int:
    """Fill in the rows that began on days and may be settled, and which day that is; how many there are."""
    count = 0
    for row in range(len(start)):
        since = start[row]
        if since < days[0] or since >= days[-1] or flags[row] & (GONE | SETTLED) or end[row] - since > LONGEST_MS:
            continue
        number = 0
        while since >= days[number + 1]:
            number += 1
        if since - days[number] < DAY_MINUTES * MINUTE_MS:
            rows[count], day[count] = row, number
            count += 1
    return count

"""Reading many visits out of segments and rows at once: compiled loops that judge exact times and fill one table.

A `Found` table grows as needed; what it holds is read as columns when all segments have been asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from contacts.bisecting import first_from
from contacts.columns import Ints, ints, side_by_side, widened
from contacts.compiled import compiled
from contacts.segments import DAY_MINUTES, LIMITS, Bits, Segment
from contacts.sparse import Places, first_of_person, lineage_at
from schemas.blocks import ASSUMED, LATE, SELF_REPORTED

ASKED = 0
"""The rows of a table: what a visit was found for, person, venue, start, end (ms), and its marks."""

ASSUMED_MARK, TOLD_MARK, MEETS_MARK = 1, 4, 16
"""The bits of a visit's marks: its end is only assumed, it is self-reported, it meets another of its person there."""

_MARKS = ints(
    [
        ASSUMED_MARK if reason in (ASSUMED, LATE) else TOLD_MARK if reason == SELF_REPORTED else 0
        for reason in range(8)  # all that three bits may be
    ]
)

_WIDTH = 6
_SPARE_BYTES = 64 << 20
_spare: list[Ints] = []
"""The table for the next question: to have a large one from the system takes as long as to fill it."""


def marks_of(reason: Ints, meets: Ints) -> Ints:
    """The marks of visits with these reasons; `meets` is not 0 for those that meet another."""
    return _MARKS[reason] | np.where(meets != 0, MEETS_MARK, 0)


class Found:
    """Visits found, as columns of one table."""

    def __init__(self) -> None:
        self._table = side_by_side(_WIDTH, 512)
        self._count = 0

    @classmethod
    @contextmanager
    def lent(cls) -> Iterator[Found]:
        """One for the length of a `with` block: then the memory of its columns serves the next question."""
        found = cls()
        if _spare:
            found._table = _spare.pop()
        yield found
        if not _spare and found._table.nbytes <= _SPARE_BYTES:
            _spare.append(found._table)
        found._table, found._count = found._table[:, :0], 0

    def columns(self) -> Ints:
        """What was found, (6, n)."""
        return self._table[:, : self._count]

    def add(self, asked: Ints, person: Ints, venue: Ints, start: Ints, end: Ints, marks: Ints | int) -> None:
        """Visits found elsewhere."""
        first, last = self._count, self._count + len(asked)
        self._make_room(last)
        for place, column in enumerate((asked, person, venue, start, end, marks)):
            self._table[place, first:last] = column
        self._count = last

    def of_persons(self, segment: Segment, persons: Ints, venue_of: NDArray[np.int32]) -> None:
        """Add all visits of persons; `asked` is the index into `persons`, `venue_of` gives a lineage's venue."""
        while True:
            count = _of_persons(*segment.by_person, persons, venue_of, _MARKS, self._table, self._count)
            if self._make_room(count):
                self._count = count
                return

    def at_lineages(
        self,
        segment: Segment,
        lineage: Ints,
        venue: Ints,
        since: Ints,
        until: Ints,
        without: Ints,
        asked: Ints,
        least_ms: int = 1,
    ) -> None:
        """Add the visits at lineages that share time with `[since, until)` (ms), but for those of a person each.

        They share `least_ms` or more; those that meet another of their person, with which they are one stay, any time.
        """
        questions = asked, lineage, venue, since, until, without
        while True:
            found = least_ms, LIMITS, _MARKS, self._table, self._count
            count = _at_lineages(*segment.by_venue, *questions, *found)
            if self._make_room(count):
                self._count = count
                return

    def _make_room(self, count: int) -> bool:
        """Whether there was room for so many; now there is."""
        if count <= self._table.shape[1]:
            return True
        self._table = widened(self._table, self._count, count)
        return False


@compiled
def _of_persons(
    words: Ints, begins: Places, mine: Ints, exact: Ints, gone: Bits, mine_sparse: Places, begins_sparse: Places,
    midnight: int, persons: Ints, venue_of: NDArray[np.int32], marks_of: Ints, table: Ints, count: int,
) -> int:  # fmt: skip
    room = table.shape[1]
    for asked in range(len(persons)):
        begin = first_of_person(mine, mine_sparse, persons[asked])
        for entry in range(begin, len(mine)):
            if mine[entry] >> 32 != persons[asked]:
                break
            place = mine[entry] & 0xFFFFFFFF
            times = exact[place]
            if (gone[place >> 3] >> (place & 7)) & 1 == 0 and times & 1 == 0 and (times >> 4) & 0xFFFFFFF > 0:
                if count < room:
                    start = midnight + (times >> 32)
                    table[0, count] = asked
                    table[1, count] = persons[asked]
                    table[2, count] = venue_of[lineage_at(begins, begins_sparse, place)]
                    table[3, count] = start
                    table[4, count] = start + ((times >> 4) & 0xFFFFFFF)
                    table[5, count] = marks_of[(times >> 1) & 7] | (words[place] & 1) * MEETS_MARK
                count += 1
    return count


@compiled
def _at_lineages(
    words: Ints, begins: Places, exact: Ints, gone: Bits, midnight: int, asked: Ints, lineage: Ints, venue: Ints,
    since: Ints, until: Ints, without: Ints, least: int, limits: Ints, marks_of: Ints, table: Ints, count: int,
) -> int:  # fmt: skip
    room = table.shape[1]
    least_minutes = (least + 59_999) // 60_000
    for row in range(len(asked)):
        high = -((midnight - until[row]) // 60_000)
        if high <= 0 or lineage[row] >= len(begins) - 1:
            continue
        low = max((since[row] - midnight) // 60_000, -1)
        if low > 4095:
            continue
        first, last = np.int64(begins[lineage[row]]), np.int64(begins[lineage[row] + 1])
        for cls in range(len(limits)):
            if last - first <= 24:  # so few that looking at all is quicker than searching
                begin, end = first, last
            elif low - limits[cls] >= DAY_MINUTES or words[last - 1] >> 55 < cls:
                continue  # no visit of this class lasts from the day until then, or there is none
            else:
                wanted = (np.int64(cls) << 55) | (max(low - limits[cls], 0) << 44)
                begin = first_from(words, wanted, first, last)
                wanted = (np.int64(cls) << 55) | (min(high, 2047) << 44)
                end = first_from(words, wanted, begin, last)
            for entry in range(begin, end):
                place = np.uint64(entry)  # what cannot be below 0 is not looked at for it
                word = words[place]
                minute = (word >> 44) & 2047
                enough = least_minutes if word & 1 == 0 else 1
                if min(minute + ((word >> 33) & 2047), high) - max(minute, low) >= enough:
                    person = (word >> 1) & 0xFFFFFFFF
                    times = exact[place]
                    start = midnight + (times >> 32)
                    ends = start + ((times >> 4) & 0xFFFFFFF)
                    both = min(ends, until[row]) - max(start, since[row])
                    shares = both >= (least if word & 1 == 0 else 1) and ends > start and times & 1 == 0
                    if shares and person != without[row] and (gone[np.uint64(entry >> 3)] >> (entry & 7)) & 1 == 0:
                        if count < room:
                            to = np.uint64(count)
                            table[0, to] = asked[row]
                            table[1, to] = person
                            table[2, to] = venue[row]
                            table[3, to] = start
                            table[4, to] = ends
                            table[5, to] = marks_of[np.uint64((times >> 1) & 7)] | (word & 1) * MEETS_MARK
                        count += 1
            if last - first <= 24:
                break
    return count

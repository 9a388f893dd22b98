"""Reading many visits out of segments and rows at once: compiled loops that judge exact times and fill one table.

A `Found` table grows as needed; what it holds is read as columns when all segments have been asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, ints, side_by_side, widened
from contacts.lookups import MEETS_MARK, find_lineages, find_persons
from contacts.segments import LIMITS, Segment
from schemas.blocks import ASSUMED, LATE, SELF_REPORTED

ASKED = 0
"""The rows of a table: what a visit was found for, person, venue, start, end (ms), and its marks."""

ASSUMED_MARK, TOLD_MARK = 1, 4
"""The bits of a visit's marks: its end is only assumed, it is self-reported."""

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

    def of_persons(self, segments: Sequence[Segment], persons: Ints, venue_of: NDArray[np.int32]) -> None:
        """Add all visits of persons; `asked` is the index into `persons`, `venue_of` gives a lineage's venue."""
        where, done = _where(segments), 0
        while done < len(where) * len(persons):
            found = _MARKS, self._table, self._count
            done, self._count, wanted = find_persons(where, done, persons, venue_of, *found)
            self._make_room(wanted)

    def at_lineages(
        self,
        segments: Sequence[Segment],
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
        where, done = _where(segments), 0
        questions = asked, lineage, venue, since, until, without
        while done < len(where) * len(lineage):
            found = least_ms, LIMITS, _MARKS, self._table, self._count
            done, self._count, wanted = find_lineages(where, done, *questions, *found)
            self._make_room(wanted)

    def _make_room(self, count: int) -> None:
        if count > self._table.shape[1]:
            self._table = widened(self._table, self._count, count)


def _where(segments: Sequence[Segment]) -> Ints:
    """Where the arrays of segments lie, a row each. They are to be held as long as it is used."""
    return np.concatenate([each.where for each in segments]).reshape(len(segments), -1) if segments else ints([])

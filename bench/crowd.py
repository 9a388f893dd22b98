"""A crowd of constant size as blocks of `visits`, for as long as asked: for looking at what a places state keeps.

As in `bench.load`, anybody may check in anywhere at any moment. A check-in begins a visit with an assumed end; who has
not left by then leaves where they were, which is another row, as the visits role makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from contacts.columns import Ints
from schemas.blocks import ASSUMED, NEXT_CHECK_IN, TOUCHES, VISIT_COLUMNS, Lineage, VisitBlock

SOURCES: Final = 4
START_MS: Final = 1_767_200_400_000  # midnight in Jakarta
_STAY_MS: Final = 2 * 3_600_000


class Crowd:
    """`people` who make `visits_a_second` among `venues`. Those of each `new_each_ms` never come again."""

    def __init__(self, people: int, venues: int, visits_a_second: float, *, new_each_ms: int = 0) -> None:
        self._people, self._venues, self._rate, self._new_each_ms = people, venues, visits_a_second, new_each_ms
        self._random = np.random.default_rng(1)
        shares = (np.arange(venues) + 10.0) ** -0.8
        self._shares = shares / shares.sum()
        self._born = np.full(people, -1, np.int64)
        self._start, self._end, self._venue = (np.zeros(people, np.int64) for _ in range(3))
        self._next = [0] * SOURCES
        self._generation = 0

    def blocks(self, first_ms: int, until_ms: int, tick_ms: int) -> Iterator[VisitBlock]:
        """The blocks of each tick, one of each source."""
        for at_ms in range(first_ms, until_ms, tick_ms):
            if self._new_each_ms and at_ms // self._new_each_ms != self._generation:
                self._generation = at_ms // self._new_each_ms
                self._born[:] = -1
            person = self._random.choice(self._people, round(self._rate * tick_ms / 1000), replace=False)
            for source in range(SOURCES):
                mine = person[person % SOURCES == source]
                yield self._block(
                    source, mine, self._random.integers(at_ms, at_ms + tick_ms, len(mine)), at_ms + tick_ms
                )

    def _block(self, source: int, person: Ints, at: Ints, log_time_ms: int) -> VisitBlock:
        venue = self._random.choice(self._venues, len(person), p=self._shares)
        offset = self._next[source] + np.arange(len(person))
        leaves = (self._born[person] >= 0) & (self._end[person] > at)
        rows = np.zeros((len(person), 2, len(VISIT_COLUMNS)), np.int64)  # what each check-in ends, and what it begins
        column = {name: rows[:, :, number] for number, name in enumerate(VISIT_COLUMNS)}
        column["offset"][:] = offset[:, None]
        column["change"][:, 1] = 1
        column["born_offset"][:, 0], column["born_offset"][:, 1] = self._born[person], offset
        column["lineage"][:, 0], column["lineage"][:, 1] = self._venue[person], venue
        column["start_ms"][:, 0], column["start_ms"][:, 1] = self._start[person], at
        column["end_ms"][:, 0], column["end_ms"][:, 1] = at, at + _STAY_MS
        column["old_end_ms"][:, 0], column["old_end_ms"][:, 1] = self._end[person], at
        column["reason"][:, 0], column["reason"][:, 1] = NEXT_CHECK_IN, ASSUMED
        column["flags"][:] = np.where(leaves & (venue == self._venue[person]), TOUCHES, 0)[:, None]
        self._born[person], self._start[person], self._end[person], self._venue[person] = (
            offset,
            at,
            at + _STAY_MS,
            venue,
        )
        self._next[source] += len(person)
        kept = np.stack((leaves, np.ones(len(person), np.bool_)), axis=1)
        rows = rows[kept]
        used, rows[:, VISIT_COLUMNS.index("lineage")] = np.unique(
            rows[:, VISIT_COLUMNS.index("lineage")], return_inverse=True
        )
        names = [f"b1:{self._generation:016x}{each:016x}" for each in np.repeat(person, kept.sum(axis=1)).tolist()]
        first, last = int(offset[0]) if len(offset) else self._next[source], self._next[source]
        lineages = [Lineage(f"v{each}") for each in used.tolist()]
        return VisitBlock(source, first, last, log_time_ms, lineages, names, rows.tobytes())

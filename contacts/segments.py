"""One day's visits of a partition, settled: packed words, kept by venue and by person, 16 bytes a visit in memory.

    words   by (lineage, length class, start): class 2 bits | start 11 | minutes 11 | person 32 | 1: meets another
    begins  where each lineage's words begin
    mine    by (person, place in `words`): person 32, below 2^31 | place 32
    exact   beside `words`: start in the day 28 bits | length 28 | reason 3 | hidden 1, in ms
    mine_sparse, begins_sparse   where to look in `mine` for a person, in `begins` for a place (contacts/sparse.py)

Start and minutes in a word are whole minutes around the visit, so a word is a filter; what passes it is judged by its
exact times, which are meant to lie in a mapped file. A lineage's words are kept by class of length, so that a question
looks no further back than visits of that class may last: one long stay costs the others nothing. `gone` marks visits
that were taken back into the living part of the index, or erased.

A visit belongs to the day that it starts in. A segment never changes but for `gone`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from contacts.addresses import address
from contacts.columns import Bools, Ints, distinct, ints
from contacts.compiled import compiled
from contacts.sorting import sort_words
from contacts.sparse import Places, over_persons, over_places

MINUTE_MS: Final = 60_000
LENGTH_MINUTES: Final = (30, 120, 480, 2000)
"""The longest visit of each length class, in minutes; a longer one does not fit a segment."""

DAY_MINUTES: Final = 26 * 60
"""No visit of a segment starts later in its day: no zone sets its clocks back by more than two hours."""

LONGEST_MS: Final = (LENGTH_MINUTES[-1] - 2) * MINUTE_MS
_PERSON_SHIFT: Final = 1
_MINUTES_SHIFT: Final = 33
_START_SHIFT: Final = 44
_CLASS_SHIFT: Final = 55
LIMITS: Final = ints(LENGTH_MINUTES)
_HEAD_BITS: Final = 13
_ROW_BITS: Final = 26
_LINEAGE_BITS: Final = 24
_MEETS: Final = 1
_HIDDEN: Final = 1

_NONE: Final = np.empty(0, np.uint32)

Bits = NDArray[np.uint8]


class Sealed(NamedTuple):
    """Visits as columns: person and lineage numbers, start and end (ms), reason, and the flags that are kept.

    Those given to `Segment.build` may have numbers and reasons of any width, those of a segment are int64.
    """

    person: NDArray[Any]
    lineage: NDArray[Any]
    start: Ints
    end: Ints
    reason: NDArray[Any]
    meets: Bools
    hidden: Bools

    def of(self, chosen: Ints | Bools | slice) -> Sealed:
        """The chosen ones."""
        return Sealed._make(column[chosen] for column in self)


class Segment:
    """The visits of one day that starts at `midnight_ms`. `gone` has a bit a visit."""

    def __init__(
        self,
        midnight_ms: int,
        until_ms: int,
        words: Ints,
        begins: Places,
        mine: Ints,
        exact: Ints,
        gone: Bits,
        mine_sparse: Places = _NONE,
        begins_sparse: Places = _NONE,
    ) -> None:
        self.midnight_ms = midnight_ms
        self.words, self.begins, self.mine, self.exact, self.gone = words, begins, mine, exact, gone
        self.mine_sparse, self.begins_sparse = mine_sparse, begins_sparse
        arrays = words, begins, mine, exact, gone, mine_sparse, begins_sparse
        self.where = ints([*(number for array in arrays for number in address(array)), midnight_ms])
        """For the loops of contacts.lookups: address and length of each of the arrays, and midnight."""
        self.file = ""
        """The file that holds it, once there is one."""
        self.checked = False
        """Whether its arrays are known to be what was written."""
        self.erased = False
        """Whether it holds visits that must not even be kept as gone."""
        self.gone_count = int(np.bitwise_count(gone).sum(dtype=np.int64))
        self.until_ms = until_ms
        """When the last visit ends."""

    def __len__(self) -> int:
        return len(self.words)

    @property
    def bytes_held(self) -> int:
        """The memory that it needs, the exact times left out."""
        sparse = self.mine_sparse.nbytes + self.begins_sparse.nbytes
        return self.words.nbytes + self.begins.nbytes + self.mine.nbytes + self.gone.nbytes + sparse

    @classmethod
    def build(cls, midnight_ms: int, visits: Sealed, lineages: int) -> tuple[Self, Ints]:
        """The segment of a day's visits, and which of them stands at each of its places.

        All visits must be of that day, and none longer than LONGEST_MS. `lineages` is how many lineages there are.
        """
        count = len(visits.start)
        key, both = np.empty(count, np.int64), np.empty((count, 2), np.int64)
        _pack(midnight_ms, *visits, key, both)
        order = _order(key, both[:, 0], visits.lineage)
        words, exact, mine = (np.empty(count, np.int64) for _ in range(3))
        _put(order, both, words, exact, mine)
        mine = sort_words(mine, 32)
        begins = np.zeros(lineages + 1, np.uint32)
        begins[1:] = np.cumsum(np.bincount(visits.lineage, minlength=lineages))
        until_ms = int(visits.end.max()) if count else midnight_ms
        gone = np.zeros((count + 7) // 8, np.uint8)
        sparse = over_persons(mine), over_places(begins)
        return cls(midnight_ms, until_ms, words, begins, mine, exact, gone, *sparse), order

    @classmethod
    def of_arrays(cls, midnight_ms: int, until_ms: int, arrays: Mapping[str, NDArray[Any]], gone: Bits) -> Self:
        """A segment over arrays such as `arrays` gives; those of before 2026-12 have no sparse indexes."""
        words, begins, mine, exact = (arrays[name] for name in ("words", "begins", "mine", "exact"))
        sparse = (arrays.get(name, _NONE) for name in ("mine_sparse", "begins_sparse"))
        return cls(midnight_ms, until_ms, words, begins, mine, exact, gone, *sparse)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What never changes, by name."""
        sparse = {"mine_sparse": self.mine_sparse, "begins_sparse": self.begins_sparse}
        return {"words": self.words, "begins": self.begins, "mine": self.mine, "exact": self.exact, **sparse}

    def take_out(self, places: Ints) -> None:
        """Mark visits as gone."""
        self.gone_count += len(distinct(places[~self.is_gone(places)]))
        np.bitwise_or.at(self.gone, places >> 3, (1 << (places & 7)).astype(np.uint8))

    def visits(self, places: Ints | None = None) -> Sealed:
        """The visits at places, or all that are not gone."""
        if places is None:
            places = self.kept(self.gone)
        word, exact = self.words[places], self.exact[places]
        lineage = np.searchsorted(self.begins, places.astype(np.uint32), side="right").astype(np.int64) - 1
        start = self.midnight_ms + (exact >> 32)
        return Sealed(
            (word >> _PERSON_SHIFT) & 0xFFFF_FFFF,
            lineage,
            start,
            start + ((exact >> 4) & 0xFFF_FFFF),
            (exact >> 1) & 7,
            word & _MEETS != 0,
            exact & _HIDDEN != 0,
        )

    def persons(self) -> Ints:
        """The persons of all visits that are not gone."""
        return (self.words[self.kept(self.gone)] >> _PERSON_SHIFT) & 0xFFFF_FFFF

    def kept(self, gone: Bits) -> Ints:
        """The places of visits that are not among those gone."""
        return np.flatnonzero(np.unpackbits(gone, count=len(self), bitorder="little") == 0)

    def is_gone(self, places: Ints) -> Bools:
        """Which of the visits at places are gone."""
        gone: Bools = (self.gone[places >> 3] >> (places & 7)) & 1 != 0
        return gone

    def of_persons(self, persons: Ints) -> tuple[Ints, Ints]:
        """The visits of persons that are not gone: (index into `persons`, place)."""
        first = np.searchsorted(self.mine, persons << 32)
        last = np.searchsorted(self.mine, (persons << 32) | 0xFFFF_FFFF, side="right")
        count = last - first
        row = np.repeat(np.arange(len(persons)), count)
        at = np.repeat(first - np.concatenate(([0], np.cumsum(count)[:-1])), count) + np.arange(len(row))
        places = self.mine[at] & 0xFFFF_FFFF
        kept = ~self.is_gone(places)
        return row[kept], places[kept]


@compiled
def _pack(
    midnight_ms: int, person: NDArray[Any], lineage: NDArray[Any], start: Ints, end: Ints, reason: NDArray[Any],
    meets: Bools, hidden: Bools, key: Ints, both: Ints,
) -> None:  # fmt: skip
    """Fill in keys that sort by (lineage, class, start, row), and words and exact times, side by side, of visits."""
    for row in range(len(key)):
        since, length = start[row] - midnight_ms, end[row] - start[row]
        minute = since // MINUTE_MS
        minutes = (since + length + (MINUTE_MS - 1)) // MINUTE_MS - minute
        head = minute
        for limit in LENGTH_MINUTES[:-1]:
            if minutes > limit:
                head += 1 << (_CLASS_SHIFT - _START_SHIFT)
        key[row] = np.int64(lineage[row]) << (_HEAD_BITS + _ROW_BITS) | head << _ROW_BITS | row
        word = head << _START_SHIFT | minutes << _MINUTES_SHIFT | np.int64(person[row]) << _PERSON_SHIFT
        both[row, 0] = word | np.int64(meets[row])
        both[row, 1] = since << 32 | length << 4 | np.int64(reason[row]) << 1 | np.int64(hidden[row])


@compiled
def _put(order: Ints, both: Ints, words: Ints, exact: Ints, mine: Ints) -> None:
    """Fill in words and exact times in an order, and of each word its person and place."""
    for place in range(len(order)):
        word = both[order[place], 0]
        words[place], exact[place] = word, both[order[place], 1]
        mine[place] = (word >> _PERSON_SHIFT & 0xFFFF_FFFF) << 32 | place


def _order(key: Ints, word: Ints, lineage: NDArray[Any]) -> Ints:
    """The order of rows by keys as `_pack` makes them, in place of these where they say all.

    Sorting words is ten times as fast as sorting indexes.
    """
    count = len(key)
    if count < 1 << _ROW_BITS and (not count or int(lineage.max()) < 1 << _LINEAGE_BITS):
        key = sort_words(key, _ROW_BITS)
        key &= (1 << _ROW_BITS) - 1
        return key
    return np.lexsort((word >> _START_SHIFT, lineage))

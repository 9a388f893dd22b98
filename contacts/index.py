"""The visit index of one partition: every visit as a row of columns, found by person and by venue.

Rows stand in the order in which visits were first heard of; a visit's start, person and venue never change. By person:
each row points back to the person's row before it, and says the greatest start of all further back, so that a walk
knows when to end. By venue: packed words (venue, start, row) sorted in chunks, each with the times that it spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np

from contacts.births import Births
from contacts.columns import Bools, Columns, Ints, distinct, ints
from contacts.names import Lineages, People
from schemas.blocks import ASSUMED, LATE

GONE, MEETS, HIDDEN = 1, 2, 4
"""Flags of a row. GONE: erased or expired. MEETS: another visit of this person at this venue has met it. HIDDEN: a
late visit that gives way to another with the same check-in."""

_CHUNK_BITS: Final = 17
_TIME_BITS: Final = 22
_FIRST: Final = -(1 << 62)


class _Chunk(NamedTuple):
    """The sorted words of `1 << _CHUNK_BITS` rows; time counts from `first_ms` in units of `1 << shift` ms."""

    words: Ints
    first_ms: int
    last_ms: int
    shift: int


class VisitIndex:
    """Visits by number. `longest_ms` is the length of the longest there ever was."""

    def __init__(self, sources: int) -> None:
        self.people = People()
        self.lineages = Lineages()
        self.births = [Births() for _ in range(sources)]
        self.longest_ms = 0
        self._rows = Columns(
            person="i4", lineage="i4", start="i8", end="i8", reason="u1", flags="u1", back="i4", below="i8"
        )
        self._chunks: list[_Chunk] = []

    def __len__(self) -> int:
        return self._rows.length

    def column(self, name: str) -> Ints:
        """A column as it stands: person, lineage, start, end (ms), reason, flags. Not to be held over `add`."""
        return self._rows[name]

    def live(self, rows: Ints) -> Bools:
        """Which of the rows count: they have a length, and are neither gone nor hidden."""
        counted: Bools = self._rows["flags"][rows] & (GONE | HIDDEN) == 0
        return counted & (self._rows["end"][rows] > self._rows["start"][rows])

    def add(self, person: Ints, lineage: Ints, start: Ints, end: Ints, reason: Ints, flags: Ints) -> Ints:
        """Append visits; their row numbers."""
        first = len(self)
        self._rows.grow(len(person), person=person, lineage=lineage, start=start, end=end, reason=reason, flags=flags)
        rows = np.arange(first, len(self))
        self.stretched(start, end)
        self._link(person, rows, start)
        while len(self) >= (len(self._chunks) + 1) << _CHUNK_BITS:
            self._seal()
        return rows

    def stretched(self, start: Ints, end: Ints) -> None:
        """Note that visits have these times now."""
        if len(start):
            self.longest_ms = max(self.longest_ms, int((end - start).max()))

    def _link(self, person: Ints, rows: Ints, start: Ints) -> None:
        """Put rows at the beginning of their persons' lists, the lowest row first."""
        head, back, below = self.people.head, self._rows["back"], self._rows["below"]
        while len(rows):
            before = head[person]
            head[person[::-1]] = rows[::-1]
            taken = head[person] == rows
            row, previous = rows[taken], before[taken]
            some = previous >= 0
            back[row] = np.where(some, row - previous, 0)
            below[row] = np.where(some, np.maximum(below[previous], self._rows["start"][previous]), _FIRST)
            person, rows, start = person[~taken], rows[~taken], start[~taken]

    def of_persons(self, persons: Ints, since: Ints) -> Ints:
        """All rows of persons whose start is not before `since` (one for each person), and perhaps more; unordered."""
        back, below = self._rows["back"], self._rows["below"]
        row = self.people.head[persons]
        going = row >= 0
        found = []
        while going.any():
            row, since = row[going], since[going]
            found.append(row)
            step = back[row]
            going = (step > 0) & (row >= step) & (below[row] >= since)
            row = row - step
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def of_person(self, person: int) -> Ints:
        """All rows of one person that are not gone, in order."""
        return self.kept(np.sort(self.of_persons(ints([person]), ints([_FIRST]))))

    def kept(self, rows: Ints) -> Ints:
        """Those of the rows that are not gone."""
        gone: Bools = self._rows["flags"][rows] & GONE != 0
        return rows[~gone]

    def own_venue(self, rows: Ints) -> Ints:
        """The venues (numbers) that visits are at."""
        return self.lineages.own(self._rows["lineage"][rows])

    def at_venue(self, venue: int, since_ms: int, until_ms: int) -> Ints:
        """The rows that count, of visits at a venue with `start < until_ms` and `end > since_ms`."""
        first = len(self._chunks) << _CHUNK_BITS
        found = [first + np.flatnonzero(self.lineages.own(self._rows["lineage"][first:]) == venue)]
        low = since_ms - self.longest_ms
        for number, chunk in enumerate(self._chunks):
            if chunk.first_ms < until_ms and chunk.last_ms >= low:
                begin, until = max(low, chunk.first_ms), min(until_ms, chunk.last_ms)
                units = (begin - chunk.first_ms) >> chunk.shift, ((until - chunk.first_ms) >> chunk.shift) + 1
                words = ints([((venue << _TIME_BITS) + unit) << _CHUNK_BITS for unit in units])
                start, end = np.searchsorted(chunk.words, words)
                found.append((chunk.words[start:end] & ((1 << _CHUNK_BITS) - 1)) + (number << _CHUNK_BITS))
        rows = np.concatenate(found)
        rows = rows[(self._rows["start"][rows] < until_ms) & (self._rows["end"][rows] > since_ms)]
        return rows[self.live(rows)]

    def _seal(self) -> None:
        """Sort the words of the oldest rows that have none."""
        first = len(self._chunks) << _CHUNK_BITS
        rows = slice(first, first + (1 << _CHUNK_BITS))
        start = self._rows["start"][rows]
        first_ms, last_ms = int(start.min()), int(start.max())
        shift = max(0, (last_ms - first_ms).bit_length() - _TIME_BITS + 1)
        time = (start - first_ms) >> shift
        words = (self.lineages.own(self._rows["lineage"][rows]) << _TIME_BITS) + time
        words = np.sort((words << _CHUNK_BITS) | np.arange(1 << _CHUNK_BITS))
        self._chunks.append(_Chunk(words, first_ms, last_ms, shift))

    def hide(self, rows: Ints) -> Ints:
        """Settle which late visits among the rows give way; the rows for which that changed.

        `rows` must hold all rows of a person at a venue with one start, if any. A late visit gives way to one derived
        in time, be that of no length; of several late ones the first counts.
        """
        reason, start, end = (self._rows[name][rows] for name in ("reason", "start", "end"))
        rows = rows[((end > start) | (reason < LATE)) & (reason <= LATE) & self.people.odd[self._rows["person"][rows]]]
        late = self._rows["reason"][rows] == LATE
        if not late.any():
            return rows[:0]
        key = [late, self._rows["start"][rows], self.own_venue(rows), self._rows["person"][rows]]
        order = np.lexsort((rows, *key))
        rows, late = rows[order], late[order]
        again = np.zeros(len(rows), np.bool_)
        again[1:] = np.all([column[order][1:] == column[order][:-1] for column in key[1:]], axis=0)
        hidden = late & again
        changed: Ints = rows[hidden != (self._rows["flags"][rows] & HIDDEN != 0)]
        self._rows["flags"][changed] ^= HIDDEN
        return changed

    def clear(self, rows: Ints) -> None:
        """Let go of visits, and of the names of persons who have none left."""
        persons = distinct(self._rows["person"][rows])
        self._rows["flags"][rows] |= GONE
        self._rows["person"][rows] = -1
        self._rows["end"][rows] = self._rows["start"][rows]
        left = np.zeros(len(self.people.names) + 1, np.bool_)
        left[self._rows["person"]] = True
        self.people.forget(persons[~left[persons] & (persons >= 0)].tolist())

    def expire(self, before_ms: int, settled_ms: int) -> None:
        """Let go of visits that ended before a time, and of the births of those that no change will reach: the ones
        that began before `settled_ms`."""
        self.clear(self.kept(np.flatnonzero(self._rows["end"] < before_ms)))
        for births in self.births:
            births.strays = {at: row for at, row in births.strays.items() if not self._rows["flags"][row] & GONE}
            open_births = np.flatnonzero(self._rows["start"][births.columns["visit"]] >= settled_ms)
            births.forget(int(open_births[0]) if len(open_births) else births.columns.length)
        kept = self.kept(np.arange(len(self)))
        dropped = (int(kept[0]) if len(kept) else len(self)) >> _CHUNK_BITS
        if dropped:
            del self._chunks[:dropped]
            rows = dropped << _CHUNK_BITS
            self._rows.drop(rows)
            self.people.head[:] = np.maximum(self.people.head - rows, -1)
            for births in self.births:
                births.renumber(rows)

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        names, people = self.people.dump()
        small = {
            "names": names,
            "venues": self.lineages.venues,
            "lineages": self.lineages.lineages(),
            "strays": [births.strays for births in self.births],
            "longest_ms": self.longest_ms,
            "chunks": [chunk[1:] for chunk in self._chunks],
        }
        parts = {"index": msgspec.msgpack.encode(small), **people, **self._rows.dump("rows.")}
        parts["words"] = b"".join(chunk.words.tobytes() for chunk in self._chunks)
        for number, births in enumerate(self.births):
            parts |= births.columns.dump(f"births.{number}.")
        return parts

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up a dumped state."""
        small = msgspec.msgpack.decode(parts["index"], type=_Small)
        self.longest_ms = small.longest_ms
        self.people.load(small.names, parts)
        for venue in small.venues:
            self.lineages.venue(venue)
        for venue, *ancestors in small.lineages:
            self.lineages.take(venue, tuple(ancestors))
        self._rows.load("rows.", parts)
        words = np.frombuffer(parts["words"], np.int64).reshape(len(small.chunks), 1 << _CHUNK_BITS)
        self._chunks = [_Chunk(row, *rest) for row, rest in zip(words, small.chunks, strict=True)]
        for number, births in enumerate(self.births):
            births.columns.load(f"births.{number}.", parts)
            births.strays = small.strays[number]


class _Small(msgspec.Struct):
    names: list[str | None]
    venues: list[str]
    lineages: list[tuple[str, ...]]
    strays: list[dict[int, int]]
    longest_ms: int
    chunks: list[tuple[int, int, int]]


def end_assumed(reason: Ints) -> Bools:
    """Whether ends with these reasons are only assumed."""
    assumed: Bools = (reason == ASSUMED) | (reason == LATE)
    return assumed

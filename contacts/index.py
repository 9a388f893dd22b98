"""The visit index of one partition: living visits as rows of columns, settled ones in the archive's segments.

A visit is born as a row and may change as long as it lives: its end, its reason, whether it counts. Its start, person
and venue never change. By person: each row points back to the person's row before it, and says the greatest start of
all further back, so that a walk knows when to end. By venue: runs of sorted words. When its day is over, a row is
settled: it goes into a segment (16 bytes), and comes back as a row if something touches it after all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.archive import Archive, Begun, MemoryShelf, Shelf, begun
from contacts.births import Births
from contacts.columns import Bools, Columns, Ints, distinct, ints
from contacts.compiled import compiled
from contacts.names import Lineages
from contacts.people import Directory
from contacts.pseudonyms import People
from contacts.runs import Asked, Runs
from contacts.segments import Sealed
from contacts.settling import AGAIN, GONE, HIDDEN, MEETS, SETTLED, Day, Settling
from schemas.blocks import ASSUMED, LATE

__all__ = ["GONE", "HIDDEN", "MEETS", "SETTLED", "VisitIndex", "end_assumed"]

_OUT: Final = GONE | HIDDEN | SETTLED
_FIRST: Final = -(1 << 62)
_NEVER: Final = 1 << 62


class _Small(msgspec.Struct):
    longest_ms: int


class VisitIndex:
    """Visits by number. `longest_ms` is the length of the longest there ever was.

    `people` is the worker's directory of persons, which the partitions of a worker share; `shelf` is where settled
    visits are kept.
    """

    def __init__(self, sources: int, people: Directory | None = None, shelf: Shelf | None = None) -> None:
        self.people = people if people is not None else Directory()
        self.lineages = Lineages()
        self.births = [Births() for _ in range(sources)]
        self.archive = Archive(shelf if shelf is not None else MemoryShelf())
        self.longest_ms = 0
        self.born = 0
        """How many visits have been born in this process."""
        self._rows = Columns(
            person="i4", lineage="i4", start="i8", end="i8", reason="u1", flags="u1", back="i4", below="i8"
        )
        self._runs = Runs()
        self._head = np.zeros(0, np.int32)  # the newest row of each person, plus one
        self._odd = np.zeros(0, np.bool_)
        self._settling: Settling | None = None
        self._last = 0
        self._may_drop = False

    def __len__(self) -> int:
        return self._rows.length

    @property
    def bytes_held(self) -> int:
        """The memory of rows and segments, exact times of settled visits and the directory left out."""
        births = sum(16 * each.columns.length for each in self.births)
        return self._rows.length * 50 + births + self.archive.bytes_held + self._head.nbytes + self._odd.nbytes

    def column(self, name: str) -> Ints:
        """A column as it stands: person, lineage, start, end (ms), reason, flags. Not to be held over `add`."""
        return self._rows[name]

    def live(self, rows: Ints) -> Bools:
        """Which of the rows count: they have a length, and are neither gone nor hidden nor settled."""
        counted: Bools = self._rows["flags"][rows] & _OUT == 0
        return counted & (self._rows["end"][rows] > self._rows["start"][rows])

    def take_people(self, people: People) -> Ints:
        """The numbers of persons, new ones for those not known."""
        person = self.people.take(people)
        self._make_room()
        return person

    def _make_room(self) -> None:
        if len(self.people) > len(self._head):
            room = max(1024, 2 * len(self.people))  # zeros that nobody has touched take no memory
            head, odd = np.zeros(room, np.int32), np.zeros(room, np.bool_)
            head[: len(self._head)], odd[: len(self._odd)] = self._head, self._odd
            self._head, self._odd = head, odd

    @property
    def odd(self) -> Bools:
        """By person: who has a visit that stands alone (late or self-reported), of which upstream keeps no account."""
        return self._odd

    def add(self, person: Ints, lineage: Ints, start: Ints, end: Ints, reason: Ints, flags: Ints) -> Ints:
        """Append visits; their row numbers."""
        first = len(self)
        self._rows.grow(len(person), person=person, lineage=lineage, start=start, end=end, reason=reason, flags=flags)
        self.stretched(start, end)
        _link(self._head, self._rows["back"], self._rows["below"], self._rows["start"], ints(person), first)
        self._runs.add(self.lineages.own(lineage), self._rows["start"])
        return np.arange(first, len(self))

    def stretched(self, start: Ints, end: Ints) -> None:
        """Note that visits have these times now."""
        if len(start):
            self.longest_ms = max(self.longest_ms, int((end - start).max()))

    def of_persons(self, persons: Ints, since: Ints) -> Ints:
        """All rows of persons whose start is not before `since` (one for each person), and perhaps more; unordered."""
        self._make_room()  # another partition may have met them first
        found = np.empty(max(256, 8 * len(persons)), np.int64)
        while True:
            columns = self._rows["back"], self._rows["below"]
            count = _walk(self._head, *columns, ints(persons), ints(since), found)
            if count <= len(found):
                return found[:count]
            found = np.empty(count, np.int64)

    def of_person(self, person: int) -> Ints:
        """All living rows of one person, in order."""
        return self.kept(np.sort(self.of_persons(ints([person]), ints([_FIRST]))))

    def kept(self, rows: Ints) -> Ints:
        """Those of the rows that are neither gone nor settled."""
        out: Bools = self._rows["flags"][rows] & (GONE | SETTLED) != 0
        return rows[~out]

    def own_venue(self, rows: Ints) -> Ints:
        """The venues (numbers) that visits are at."""
        return self.lineages.own(self._rows["lineage"][rows])

    def at_venues(self, asked: Asked) -> tuple[Ints, Ints]:
        """The living rows that count, of visits at venues that share time: (number of the question, row)."""
        columns = self._rows["start"], self._rows["end"], self._rows["flags"]
        return self._runs.search(asked, self.longest_ms, *columns, _OUT)

    def defer(self, deferred: bool) -> None:
        """Whether rows are put in order by venue only when somebody asks, or as they come."""
        self._runs.deferred = deferred
        if not deferred:
            self._runs.catch_up(self._rows["start"])

    def begun(self, person: Ints, lineage: Ints, start: Ints, reason: Ints) -> Ints:
        """The rows of the visits that check-ins made, or declared stays where that is the reason, brought back if they
        were settled; -1: there is none."""
        wanted = begun(person, self.lineages.own(lineage), start, reason)
        persons = distinct(person)
        since = np.full(len(persons), np.iinfo(np.int64).max)
        np.minimum.at(since, np.searchsorted(persons, person), start)
        known = self._begun(self.kept(np.sort(self.of_persons(persons, since))))
        asked = {each for each in wanted if each is not None} - known.keys()
        taken = self.archive.take_begun(asked, self.lineages.all_own) if asked else None
        if taken is not None:
            known |= self._begun(self._revive(taken))
        return ints([-1 if each is None else known.get(each, -1) for each in wanted])

    def _begun(self, rows: Ints) -> dict[Begun, int]:
        """The first of the rows of each check-in or declared stay that made some."""
        rows = rows[::-1]
        person, start, reason = (self._rows[name][rows] for name in ("person", "start", "reason"))
        made = begun(person, self.own_venue(rows), start, reason)
        return {each: row for each, row in zip(made, rows.tolist(), strict=True) if each is not None}

    def revive_touching(self, persons: Ints, low: Ints, high: Ints) -> None:
        """Bring settled visits of persons (sorted) back that touch their `[low, high]`, and those that touch these."""
        while (taken := self.archive.take_touching(persons, low, high)) is not None:
            self._revive(taken)
            who = np.searchsorted(persons, taken.person)
            np.minimum.at(low, who, taken.start)
            np.maximum.at(high, who, taken.end)

    def revive_all(self, person: int, before_ms: int) -> None:
        """Bring the settled visits of a person back that began before a time, so that they can be erased."""
        taken = self.archive.erase(person, before_ms)
        if taken is not None:
            self._revive(taken)

    def _revive(self, visits: Sealed) -> Ints:
        flags = np.where(visits.meets, MEETS, 0) | np.where(visits.hidden, HIDDEN, 0) | AGAIN
        return self.add(visits.person, visits.lineage, visits.start, visits.end, visits.reason, ints(flags))

    def settling(self, days: Ints, *, living: bool = True) -> Settling:
        """Begin to settle the visits that began on days: their midnights in order, and the first one after them.

        Not `living`: these days' files are only written anew, without what was erased.
        """
        columns = {name: self._rows[name] for name in ("person", "lineage", "start", "end", "reason", "flags")}
        archive, lineages = self.archive, self.lineages.count
        self._last = archive.shelf.last
        self._settling = Settling(days, columns if living else None, archive.segments, lineages, archive.shelf)
        return self._settling

    def settled(self) -> None:
        """Take up what the settling has built."""
        settling, self._settling = self._settling, None
        if settling is not None:
            for day in settling.made:
                self._settled(day)
            self._may_drop = True

    def _settled(self, day: Day) -> None:
        rows, flags = day.rows, self._rows["flags"][day.rows]
        changed = (flags != day.flags) | (self._rows["end"][rows] != day.end)
        changed |= self._rows["reason"][rows] != day.reason
        self._rows["flags"][rows[~changed]] |= SETTLED
        out, first = [day.place[: len(rows)][changed]], len(rows)
        erased = bool((flags[changed] & GONE).any())
        for older, kept in zip(day.older, day.kept, strict=True):
            if older.segment.gone_count != older.gone_count:
                out.append(day.place[first : first + len(kept)][older.segment.is_gone(kept)])
                erased |= older.segment.erased
            first += len(kept)
        if day.segment is not None:
            day.segment.take_out(np.concatenate(out))
            day.segment.erased = erased
        self.archive.replace([older.segment for older in day.older], day.segment)

    def settle(self, days: Ints) -> None:
        """Settle days at once."""
        self.settling(days).build()
        self.settled()
        self.tidy()

    def hide(self, rows: Ints) -> Ints:
        """Settle which late visits among the rows give way; the rows for which that changed.

        `rows` must hold all rows of a person at a venue with one start, if any. A late visit gives way to one derived
        in time, be that of no length; of several late ones the first counts.
        """
        reason, start, end = (self._rows[name][rows] for name in ("reason", "start", "end"))
        rows = rows[((end > start) | (reason < LATE)) & (reason <= LATE) & self._odd[self._rows["person"][rows]]]
        late = self._rows["reason"][rows] == LATE
        if not late.any():
            return rows[:0]
        key = [late, self._rows["start"][rows], self.own_venue(rows), self._rows["person"][rows]]
        flags = self._rows["flags"][rows]
        since = np.where(flags & AGAIN != 0, flags & HIDDEN, 2 * HIDDEN)  # of older ones the one that counted is first
        order = np.lexsort((rows, since, *key))
        rows, late = rows[order], late[order]
        again = np.zeros(len(rows), np.bool_)
        again[1:] = np.all([column[order][1:] == column[order][:-1] for column in key[1:]], axis=0)
        hidden = late & again
        changed: Ints = rows[hidden != (self._rows["flags"][rows] & HIDDEN != 0)]
        self._rows["flags"][changed] ^= HIDDEN
        return changed

    def clear(self, rows: Ints) -> None:
        """Let go of visits."""
        self._rows["flags"][rows] |= GONE
        self._rows["person"][rows] = -1
        self._rows["end"][rows] = self._rows["start"][rows]

    def expire(self, before_ms: int, settled_ms: int) -> None:
        """Let go of visits that ended before a time, and of the births of those that no change will reach: the ones
        that began before `settled_ms`."""
        self.archive.expire(before_ms)
        self.clear(self.kept(np.flatnonzero(self._rows["end"] < before_ms)))
        for births in self.births:
            births.settle(self._rows["start"], settled_ms)
        self._may_drop = True

    def _move(self, rows: Ints) -> None:
        """Give living rows new numbers."""
        if len(rows):
            names = ("person", "lineage", "start", "end", "reason", "flags")
            moved = self.add(*(self._rows[name][rows].astype(np.int64) for name in names))
            self._rows["flags"][moved] |= AGAIN
            self._rows["flags"][rows] |= SETTLED

    def tidy(self) -> None:
        """Let go of the oldest rows where hardly any lives; not while a settling has them in hand."""
        if not self._may_drop or self._settling is not None:
            return
        self._may_drop = False
        gone = self._rows["flags"] & (GONE | SETTLED) != 0
        count = self._runs.droppable(gone)
        if count:
            self._move(np.flatnonzero(~gone[:count]))
            self._runs.drop(count)
            self._rows.drop(count)
            _lower(self._head, count)
            for births in self.births:
                births.renumber(count)

    @property
    def first_ms(self) -> int | None:
        """When the first living visit began."""
        found = _first_start(self._rows["start"], self._rows["flags"], GONE | SETTLED)
        return found if found < _NEVER else None

    def holds(self, person: int) -> bool:
        """Whether there is a visit of a person."""
        return len(self.of_person(person)) > 0 or self.archive.holds(person)

    def used_people(self, used: Bools) -> None:
        """Mark the persons (by number) of whom there is a visit."""
        used[self._rows["person"][self.kept(np.arange(len(self)))]] = True
        for segment in self.archive.all():
            used[segment.persons()] = True

    def nameless(self) -> Ints:
        """The persons of whom there are visits, and no name any more."""
        used = np.zeros(len(self.people), np.bool_)
        if not self.people.named.all():
            self.used_people(used)
        return np.flatnonzero(used & ~self.people.named)

    def dump(self) -> dict[str, bytes | None]:
        """The state, as named parts, but for the directory; None stands for a file on the shelf."""
        parts: dict[str, bytes | None] = {
            "index": msgspec.msgpack.encode(_Small(self.longest_ms)),
            **self.lineages.dump(),
            **self._rows.dump("rows."),
            **self.archive.dump(self.archive.shelf.last if self._settling is None else self._last),
        }
        parts["odd"] = np.flatnonzero(self._odd).tobytes()
        for number, births in enumerate(self.births):
            parts |= births.columns.dump(f"births.{number}.")
        return parts

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up a dumped state."""
        self.longest_ms = msgspec.msgpack.decode(parts["index"], type=_Small).longest_ms
        self.lineages.load(parts)
        self._rows.load("rows.", parts)
        self.archive.load(parts)
        self._make_room()
        self._odd[np.frombuffer(parts["odd"], np.int64)] = True
        heads = np.flatnonzero(self._rows["person"] >= 0)
        self._head[self._rows["person"][heads]] = heads + 1  # of several rows of a person the last one stays
        self._runs.rebuild(self.lineages.own(self._rows["lineage"]), self._rows["start"])
        for number, births in enumerate(self.births):
            births.columns.load(f"births.{number}.", parts)


@compiled
def _link(head: NDArray[np.int32], back: NDArray[np.int32], below: Ints, start: Ints, person: Ints, first: int) -> None:
    """Put rows from `first` on at the beginning of their persons' lists."""
    for place in range(len(person)):
        row = first + place
        before = np.int64(head[person[place]]) - 1
        if before >= 0:
            back[row] = row - before
            below[row] = max(below[before], start[before])
        else:
            back[row] = 0
            below[row] = -(1 << 62)
        head[person[place]] = row + 1


@compiled
def _first_start(start: Ints, flags: NDArray[np.uint8], out: int) -> int:
    """The least start of rows without a flag of `out`; `_NEVER` where there is none."""
    first = _NEVER
    for row in range(len(start)):
        if flags[row] & out == 0 and start[row] < first:
            first = start[row]
    return int(first)


@compiled
def _lower(head: NDArray[np.int32], count: int) -> None:
    """The first `count` rows are no more."""
    for person in range(len(head)):
        if head[person] != 0:  # a page that was never written to stays so
            head[person] = max(head[person] - count, 0)


@compiled
def _walk(
    head: NDArray[np.int32], back: NDArray[np.int32], below: Ints, persons: Ints, since: Ints, found: Ints
) -> int:
    """Fill `found` with the rows of persons; how many there are, fit or not."""
    count = 0
    for place in range(len(persons)):
        row = np.int64(head[persons[place]]) - 1
        while row >= 0:
            if count < len(found):
                found[count] = row
            count += 1
            step = np.int64(back[row])
            if step <= 0 or row < step or below[row] < since[place]:
                break
            row -= step
    return count


def end_assumed(reason: Ints) -> Bools:
    """Whether ends with these reasons are only assumed."""
    assumed: Bools = (reason == ASSUMED) | (reason == LATE)
    return assumed

"""Venues as small integers, and what they lay within when somebody checked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Bools, Columns, Ints, ints
from contacts.texts import Texts, grown
from contacts.wire import Written, lineage_in
from schemas.blocks import Lineage


class Names:
    """Names by number, and numbers by name. Those that a snapshot had are read out of its text when asked for."""

    def __init__(self) -> None:
        self._names = _objects([])  # no list: the garbage collector would look through it again and again
        self._count = 0
        self._numbers: dict[str, int] = {}
        self._text = b""
        self._ends = ints([])  # of those in the text
        self._unread = False

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> str:
        name: str | None = self._names[number]
        if name is None:
            first, last = int(self._ends[number - 1]) if number else 0, int(self._ends[number])
            name = self._names[number] = self._text[first:last].decode("utf-8", "surrogatepass")
        return name

    def of(self, numbers: Ints) -> list[str]:
        """The names of many numbers."""
        found: list[str | None] = self._names[numbers].tolist()
        return [self[number] if name is None else name for number, name in zip(numbers.tolist(), found, strict=True)]

    def number(self, name: str) -> int | None:
        """The number of a name, if it is known."""
        number = self._numbers.get(name)
        if number is None and self._unread:
            self.read_all()
            number = self._numbers.get(name)
        return number

    def add(self, name: str) -> int:
        """The number of a name that is not known yet."""
        number = self._numbers[name] = self._count
        if number == len(self._names):
            self._names = np.concatenate((self._names, _objects([None] * max(64, number // 2))))
        self._names[number] = name
        self._count += 1
        return number

    def add_many(self, names: list[str]) -> None:
        """Add names that are not known yet, each once."""
        first, last = self._count, self._count + len(names)
        if last > len(self._names):
            self._names = np.concatenate((self._names, _objects([None] * max(64, last - len(self._names), first // 2))))
        self._names[first:last] = names
        self._numbers.update(zip(names, range(first, last), strict=True))
        self._count = last

    def read_all(self) -> None:
        """Read the names that a snapshot had: no number is found before."""
        self._unread = False
        count = len(self._ends)
        edges = pairwise([0, *self._ends.tolist()])
        if self._text.isascii():  # what is cut out of one text is there sooner
            text = self._text.decode("ascii")
            names = [text[first:last] for first, last in edges]
        else:
            names = [self._text[first:last].decode("utf-8", "surrogatepass") for first, last in edges]
        self._names[:count] = names
        self._numbers = dict(zip(names, range(count), strict=True)) | self._numbers

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        new = [str(name).encode("utf-8", "surrogatepass") for name in self._names[len(self._ends) : self._count]]
        if new:
            self._text += b"".join(new)
            last = int(self._ends[-1]) if len(self._ends) else 0
            self._ends = np.concatenate((self._ends, last + np.cumsum([len(name) for name in new])))
        sizes = np.diff(self._ends, prepend=0).astype(np.uint32)
        return {"venues.text": self._text, "venues.sizes": sizes.tobytes()}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self._text, self._numbers = parts["venues.text"], {}
        self._ends = np.cumsum(np.frombuffer(parts["venues.sizes"], np.uint32), dtype=np.int64)
        self._count = len(self._ends)
        self._names = _objects([None] * self._count)
        self._unread = self._count > 0


def _objects(values: Sequence[str | None]) -> NDArray[np.object_]:
    found = np.empty(len(values), np.object_)
    found[:] = values
    return found


class Lineages:
    """Venues, and the lineages seen with check-ins: a venue and what it lay within."""

    def __init__(self) -> None:
        self.venues = Names()
        self._alone: dict[str, int] = {}  # of venues within nothing
        self._latest: dict[str, tuple[tuple[str, ...], int]] = {}
        self._seen = Texts()
        self._of_seen = np.full(0, -1)
        self._lineages = Columns(first="i4", size="i4", own="i4", within="?")
        self._flat = Columns(venue="i4")
        self._venues = Columns(lineage="i4", parent="?")
        self._more: dict[int, list[int]] = {}

    def venue(self, name: str) -> int:
        """The number of a venue."""
        number = self.venues.number(name)
        if number is None:
            number = self.venues.add(name)
            self._venues.grow(1, lineage=-1)
        return number

    def take(self, venue: str, ancestors: tuple[str, ...]) -> int:
        """The number of a lineage."""
        if not ancestors:
            number = self._alone.get(venue)
            if number is None:
                number = self._alone[venue] = self._number(venue, ancestors)
            return number
        latest = self._latest.get(venue)
        if latest is None or latest[0] != ancestors:
            latest = self._latest[venue] = ancestors, self._number(venue, ancestors)
        return latest[1]

    def take_written(self, lineages: Written, judge: Callable[[list[Lineage]], None]) -> Ints:
        """The numbers of lineages as they travel. `judge` is given those that nobody has sent before, and may raise;
        so may reading them, a BlockError. Then nothing is taken."""
        seen = self._seen.take_spans(lineages.data, lineages.begins, lineages.lengths)
        if len(self._seen) > len(self._of_seen):
            self._of_seen = grown(self._of_seen, len(self._seen), -1)
        found = self._of_seen[seen]
        new = np.flatnonzero(found < 0)
        if len(new):
            read = [lineage_in(each) for each in lineages.pieces(new)]
            judge(read)
            self._of_seen[seen[new]] = self.take_many(read)
            found = self._of_seen[seen]
        return found

    def take_many(self, lineages: Sequence[Lineage]) -> Ints:
        """The numbers of lineages."""
        alone = dict.fromkeys(each.venue for each in lineages if not each.ancestors)
        begun = self._begin([venue for venue in alone if self.venues.number(venue) is None])
        numbers = (
            begun[each.venue]
            if not each.ancestors and each.venue in begun
            else self._number(each.venue, each.ancestors)
            for each in lineages
        )
        return np.fromiter(numbers, np.int64, len(lineages))

    def _begin(self, venues: list[str]) -> dict[str, int]:
        """The lineages of venues of which nothing is known, within nothing: at once, since one by one they cost ten
        times as much."""
        count, first, place = len(venues), self._lineages.length, self._flat.length
        own = np.arange(len(self.venues), len(self.venues) + count)
        self.venues.add_many(venues)
        self._venues.grow(count, lineage=np.arange(first, first + count))
        self._lineages.grow(count, first=np.arange(place, place + count), size=1, own=own)
        self._flat.grow(count, venue=own)
        return dict(zip(venues, range(first, first + count), strict=True))

    def _number(self, venue: str, ancestors: tuple[str, ...]) -> int:
        own = self.venue(venue)
        for known in self.of_venue(own):
            if self._ancestors(known) == ancestors:
                return known
        number, places = self._lineages.length, [own, *(self.venue(name) for name in ancestors)]
        within = len(places) > 1 or bool(self._venues["parent"][own])
        self._lineages.grow(1, first=self._flat.length, size=len(places), own=own, within=within)
        self._flat.grow(len(places), venue=places)
        if self._venues["lineage"][own] < 0:
            self._venues["lineage"][own] = number
        else:
            self._more.setdefault(own, []).append(number)
        for parent in places[1:]:
            if not self._venues["parent"][parent]:
                self._venues["parent"][parent] = True
                self._lineages["within"][self.of_venue(parent)] = True
        return number

    def _ancestors(self, lineage: int) -> tuple[str, ...]:
        first, size = int(self._lineages["first"][lineage]), int(self._lineages["size"][lineage])
        if size == 1:
            return ()
        return tuple(self.venues[number] for number in self._flat["venue"][first + 1 : first + size].tolist())

    def within(self, lineage: Ints) -> Bools:
        """Whether other venues' visits count at one of the places of lineages."""
        found: Bools = self._lineages["within"][lineage]
        return found

    def places(self, lineage: Ints) -> tuple[Ints, Ints]:
        """The venues of lineages, each with what it lies within: (index into `lineage`, venue)."""
        size = self._lineages["size"][lineage]
        row = np.repeat(np.arange(len(lineage)), size)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        return row, ints(self._flat["venue"][self._lineages["first"][lineage[row]] + nth])

    def counting_at(self, venue: int) -> Bools:
        """By lineage: whether its visits count at a venue."""
        counts = np.zeros(self.count, np.bool_)
        at = np.flatnonzero(self._flat["venue"] == venue)
        counts[np.searchsorted(self._lineages["first"], at, "right") - 1] = True
        return counts

    @property
    def all_own(self) -> NDArray[np.int32]:
        """The venues that all lineages are of, by number."""
        return self._lineages["own"]

    def own(self, lineage: Ints) -> Ints:
        """The venues that lineages are of."""
        return ints(self.all_own[lineage])

    @property
    def count(self) -> int:
        """How many lineages there are."""
        return self._lineages.length

    def of_venue(self, venue: int) -> list[int]:
        """The lineages that are of a venue: one, or two where people checked in before it was registered."""
        first = int(self._venues["lineage"][venue])
        return [] if first < 0 else [first, *self._more.get(venue, ())]

    def of_venues(self, venue: Ints) -> tuple[Ints, Ints]:
        """The lineages of venues: (index into `venue`, lineage)."""
        first = self._venues["lineage"][venue]
        place = np.flatnonzero(first >= 0)
        found = place, ints(first[place])
        if self._more:
            listed = venue.tolist()
            more = [(row, number) for row, each in enumerate(listed) for number in self._more.get(each, ())]
            rest = ints(more).reshape(-1, 2)
            found = np.concatenate((found[0], rest[:, 0])), np.concatenate((found[1], rest[:, 1]))
        return found

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        columns = self._lineages.dump("lineages.") | self._flat.dump("places.") | self._venues.dump("venues.")
        return {"venues": msgspec.msgpack.encode(self._more), **self.venues.dump(), **columns}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self._more = msgspec.msgpack.decode(parts["venues"], type=dict[int, list[int]])
        self.venues.load(parts)
        for columns, prefix in ((self._lineages, "lineages."), (self._flat, "places."), (self._venues, "venues.")):
            columns.load(prefix, parts)

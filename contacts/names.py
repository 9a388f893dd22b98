"""Names as small integers: the people and the venues that one partition knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count, islice, repeat

import numpy as np

from contacts.columns import Bools, Columns, Ints, ints


class People:
    """The persons who have visits here. A person of whom nothing is left is forgotten, and the number used again."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.names: list[str | None] = []
        self._free: list[int] = []
        self._columns = Columns(head="i8", odd="?")

    @property
    def head(self) -> Ints:
        """The newest visit of each, -1 where there is none: where the person's list begins."""
        return self._columns["head"]

    @property
    def odd(self) -> Bools:
        """Who has a visit that stands alone (late or self-reported), of which the visits agent keeps no account."""
        return self._columns["odd"]

    def take(self, names: Sequence[str]) -> Ints:
        """The numbers of names, new ones for those not known."""
        found = np.fromiter(map(self.numbers.get, names, repeat(-1)), np.int64, len(names))
        unknown = np.flatnonzero(found < 0).tolist()
        if unknown:
            new = dict.fromkeys([names[place] for place in unknown])
            reused = [self._free.pop() for _ in range(min(len(new), len(self._free)))]
            self.numbers.update(zip(new, chain(reused, count(len(self.names))), strict=False))
            for number, name in zip(reused, new, strict=False):
                self.names[number] = name
            self.names.extend(islice(new, len(reused), None))
            self._columns.grow(len(self.names) - self._columns.length, head=-1)
            found[unknown] = [self.numbers[names[place]] for place in unknown]
        return found

    def forget(self, numbers: Iterable[int]) -> None:
        """Let go of persons' names. Nothing may refer to their numbers any more."""
        for number in numbers:
            name = self.names[number]
            if name is not None:
                del self.numbers[name]
                self.names[number] = None
                self._free.append(number)
                self.head[number], self.odd[number] = -1, False

    def dump(self) -> tuple[list[str | None], dict[str, bytes]]:
        """Names by number, and the columns as named parts."""
        return self.names, self._columns.dump("people.")

    def load(self, names: list[str | None], parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self.names = names
        self.numbers = {name: number for number, name in enumerate(names) if name is not None}
        self._free = [number for number, name in enumerate(names) if name is None]
        self._columns.load("people.", parts)


class Lineages:
    """Venues, and the lineages seen with check-ins: a venue and what it lay within."""

    def __init__(self) -> None:
        self.venues: list[str] = []
        self.numbers: dict[str, int] = {}
        self._known: dict[tuple[str, ...], int] = {}
        self._latest: dict[str, tuple[tuple[str, ...], int]] = {}
        self._first: list[int] = []
        self._flat: list[int] = []
        self._parents: set[int] = set()
        self._arrays: tuple[Ints, Ints, Ints, Bools] | None = None

    def venue(self, name: str) -> int:
        """The number of a venue."""
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.venues)
            self.venues.append(name)
        return number

    def take(self, venue: str, ancestors: tuple[str, ...]) -> int:
        """The number of a lineage."""
        latest = self._latest.get(venue)
        if latest is None or latest[0] != ancestors:
            latest = self._latest[venue] = ancestors, self._number(venue, ancestors)
        return latest[1]

    def _number(self, venue: str, ancestors: tuple[str, ...]) -> int:
        key = (venue, *ancestors)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self._first)
            places = [self.venue(name) for name in key]
            self._first.append(len(self._flat))
            self._flat.extend(places)
            self._parents.update(places[1:])
            self._arrays = None
        return number

    def arrays(self) -> tuple[Ints, Ints, Ints, Bools]:
        """By lineage: the first of its places in the list of places, how many, that list, and whether other venues'
        visits count at one of its places."""
        if self._arrays is None:
            first, flat = ints(self._first), ints(self._flat)
            counts = np.diff(np.append(first, len(flat)))
            parents = np.zeros(len(self.venues) + 1, np.bool_)
            parents[list(self._parents)] = True
            self._arrays = first, counts, flat, parents[flat[first]] | (counts > 1)
        return self._arrays

    def places(self, lineage: Ints) -> tuple[Ints, Ints]:
        """The venues of lineages, each with what it lies within: (index into `lineage`, venue)."""
        first, counts, flat, _ = self.arrays()
        size = counts[lineage]
        row = np.repeat(np.arange(len(lineage)), size)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        return row, flat[first[lineage[row]] + nth]

    def own(self, lineage: Ints) -> Ints:
        """The venues that lineages are of."""
        first, _, flat, _ = self.arrays()
        return flat[first[lineage]]

    def lineages(self) -> list[tuple[str, ...]]:
        """All lineages by number, to be taken up again in this order."""
        return list(self._known)

"""Venues as small integers, and what they lay within when somebody checked in."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from contacts.columns import Bools, Columns, Ints, ints


class Lineages:
    """Venues, and the lineages seen with check-ins: a venue and what it lay within."""

    def __init__(self) -> None:
        self.venues: list[str] = []
        self.numbers: dict[str, int] = {}
        self._latest: dict[str, tuple[tuple[str, ...], int]] = {}
        self._lineages = Columns(first="i8", size="i8", own="i8", within="?")
        self._flat = Columns(venue="i8")
        self._venues = Columns(lineage="i8", parent="?")
        self._more: dict[int, list[int]] = {}

    def venue(self, name: str) -> int:
        """The number of a venue."""
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.venues)
            self.venues.append(name)
            self._venues.grow(1, lineage=-1)
        return number

    def take(self, venue: str, ancestors: tuple[str, ...]) -> int:
        """The number of a lineage."""
        latest = self._latest.get(venue)
        if latest is None or latest[0] != ancestors:
            latest = self._latest[venue] = ancestors, self._number(venue, ancestors)
        return latest[1]

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
        return row, self._flat["venue"][self._lineages["first"][lineage[row]] + nth]

    def counting_at(self, venue: int) -> Bools:
        """By lineage: whether its visits count at a venue."""
        counts = np.zeros(self.count, np.bool_)
        at = np.flatnonzero(self._flat["venue"] == venue)
        counts[np.searchsorted(self._lineages["first"], at, "right") - 1] = True
        return counts

    @property
    def all_own(self) -> Ints:
        """The venues that all lineages are of, by number."""
        return self._lineages["own"]

    def own(self, lineage: Ints) -> Ints:
        """The venues that lineages are of."""
        return self.all_own[lineage]

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
        found = place, first[place]
        if self._more:
            listed = venue.tolist()
            more = [(row, number) for row, each in enumerate(listed) for number in self._more.get(each, ())]
            rest = ints(more).reshape(-1, 2)
            found = np.concatenate((found[0], rest[:, 0])), np.concatenate((found[1], rest[:, 1]))
        return found

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        small = msgspec.msgpack.encode((self.venues, self._more))
        columns = self._lineages.dump("lineages.") | self._flat.dump("places.") | self._venues.dump("venues.")
        return {"venues": small, **columns}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self.venues, self._more = msgspec.msgpack.decode(parts["venues"], type=tuple[list[str], dict[int, list[int]]])
        self.numbers = dict(zip(self.venues, range(len(self.venues)), strict=True))
        for columns, prefix in ((self._lineages, "lineages."), (self._flat, "places."), (self._venues, "venues.")):
            columns.load(prefix, parts)

"""Venues as small integers, and what they lay within when somebody checked in."""

from __future__ import annotations

import numpy as np

from contacts.columns import Bools, Ints, ints


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
        self._of_venue: dict[int, list[int]] = {}
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
            self._of_venue.setdefault(places[0], []).append(number)
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

    @property
    def count(self) -> int:
        """How many lineages there are."""
        return len(self._first)

    def of_venue(self, venue: int) -> list[int]:
        """The lineages that are of a venue: one, or two where people checked in before it was registered."""
        return self._of_venue.get(venue, [])

    def of_venues(self, venue: Ints) -> tuple[Ints, Ints]:
        """The lineages of venues: (index into `venue`, lineage)."""
        found = [(place, number) for place, each in enumerate(venue.tolist()) for number in self.of_venue(each)]
        both = ints(found).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def lineages(self) -> list[tuple[str, ...]]:
        """All lineages by number, to be taken up again in this order."""
        return list(self._known)

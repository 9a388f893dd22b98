"""Places as scans find them: a spot is a place at some time, numbered, as columns for the compiled loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from contacts.columns import Bools, Ints
from contacts.histories import NONE
from contacts.registry import Place, Registry
from contacts.scanloop import TARGET
from contacts.texts import Texts, grown
from schemas.blocks import Lineage
from schemas.messages import Venue


class Spots:
    """The places of one partition of `scans`, by number. `route` gives the `visits` partition of an outermost venue.

    `places` is (spots, 6) int64 as contacts.scanloop has it, `above` the ancestors of all, as numbers of venues.
    """

    def __init__(self, route: Callable[[str], int], counts: Counter[str]) -> None:
        self.registry = Registry()
        self.venues = Texts()
        self.spots: list[Place] = []
        self.places: Ints = np.empty((0, 6), np.int64)
        self.above: Ints = np.empty(0, np.int64)
        self.lineage_of = np.empty(0, np.int32)
        self._counts = counts
        self._route = route
        self._lineages: list[msgspec.Raw] = []
        self._above_used = 0
        self._spot_of: Ints = np.empty(0, np.int64)
        self._numbers: dict[Place, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self.spots)

    def take(self, venue: Ints, at: Ints, wanted: Bools) -> Ints:
        """The spots of the scans that are wanted, at these venues and times; NONE where the venue is NONE."""
        if len(self._spot_of) < len(self.venues):
            self._spot_of = grown(self._spot_of, len(self.venues), NONE)
        found = np.where(venue == NONE, NONE, self._spot_of[venue]) if len(self._spot_of) else venue.copy()
        for row in np.flatnonzero((found == NONE) & (venue != NONE) & wanted).tolist():
            number = int(venue[row])
            spot = int(self._spot_of[number])
            found[row] = spot if spot != NONE else self._find(number, int(at[row]))
        return found

    def find(self, venue: str, at_ms: int) -> tuple[int, Place]:
        """The spot of one venue at a time."""
        spots = self.take(self.venues.take([venue]), np.array([at_ms]), np.array([True]))
        return int(spots[0]), self.spots[int(spots[0])]

    def _find(self, number: int, at: int) -> int:
        """The spot of a venue as a scan at `at` finds it."""
        venue = self.venues.text(number)
        place = self.registry.place(venue, at)
        if not self.registry.known(venue):
            self._counts["unknown_venues"] += 1
        spot = self._numbers.get(place)
        if spot is None:
            spot = self._add(place, number)
        if not self.registry.dated(venue):
            self._spot_of[number] = spot
        return spot

    def load(self, spots: Iterable[Place]) -> None:
        """Take up spots, in the order of their numbers."""
        for place in spots:
            self._add(place, int(self.venues.take([place.venue])[0]))

    def _add(self, place: Place, number: int) -> int:
        spot, ancestors = len(self.spots), place.ancestors
        self.spots.append(place)
        self._numbers[place] = spot
        self._lineages.append(msgspec.Raw(msgspec.msgpack.encode(Lineage(place.venue, ancestors))))
        if spot >= len(self.places):
            self.places = grown(self.places, spot + 1)
            self.lineage_of = grown(self.lineage_of, spot + 1, NONE)
        first, self._above_used = self._above_used, self._above_used + len(ancestors)
        if ancestors:
            if self._above_used > len(self.above):
                self.above = grown(self.above, self._above_used)
            self.above[first : self._above_used] = self.venues.take(ancestors)
        target = self._route(ancestors[-1] if ancestors else place.venue)
        self.places[spot] = number, place.assumed_ms, place.longest_ms, target, first, self._above_used
        return spot

    def register(self, venue: Venue) -> None:
        """A record of the registry. Raises RegistryError."""
        self.registry.add(venue)
        self._spot_of[:] = NONE

    def lineages(self, spots: Ints, target: int) -> list[msgspec.Raw]:
        """The lineages, packed, of those of the spots that belong to a partition of `visits`, in their order."""
        mine = spots[self.places[spots, TARGET] == target]
        return list(map(self._lineages.__getitem__, mine.tolist()))

"""Lacak's own index as a peer."""

from __future__ import annotations

from collections.abc import Iterable

from bench.holding import Holding, one
from bench.peer import Contacts, Peer, most_shared
from bench.population import Visits
from contacts.archive import MemoryShelf
from contacts.meetings import meetings


class Ours(Peer):
    """The visit index of one partition, all days settled."""

    name = "Lacak"
    form = "the visit index, one partition, settled days in memory"

    def load(self, days: Iterable[Visits]) -> None:
        """Settle the visits."""
        every = list(days)
        venues = 1 + max(int(visits.venue.max(initial=0)) for visits in every)
        self._holding = Holding(venues, self.window[0], [MemoryShelf()])
        self._holding.fill(every)

    def ask(self, person: int) -> Contacts:
        """The meetings that make a contact."""
        since, until = self.window
        met = meetings(
            self._holding.partitions[0], one(person), one(since), one(until), None, 0, "forward", self.minimum_ms
        )
        return most_shared(met.other, met.end - met.start)

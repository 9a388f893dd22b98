"""Lacak's own index as a peer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.peer import PROFILE, Contacts, Peer, most_shared
from bench.population import Visits
from contacts.matching import may_count
from contacts.places import Places
from contacts.profiles import find_profile, load_profiles
from contacts.visits import Visit
from schemas.blocks import CHECKED_OUT


class Ours(Peer):
    """The places of one partition, asked as an agent asks them."""

    name = "Lacak"
    form = "the visit index of contacts.places, one partition"

    def load(self, days: Iterable[Visits]) -> None:
        """Index the visits."""
        profile = find_profile(load_profiles(), PROFILE)
        self._profile = profile
        self._places = Places.from_visits(
            Visit(str(person), str(venue), start, end, CHECKED_OUT)
            for visits in days
            for person, venue, start, end in zip(*(column.tolist() for column in visits), strict=True)
        )

    def ask(self, person: int) -> Contacts:
        """Shared stays, and those of them that make a contact."""
        shared = self._places.shared_stays(str(person), *self.window, None)
        rows = may_count(shared, self._profile, self._places.category)
        return most_shared(
            np.array([int(other) for other, _ in rows], np.int64),
            np.array([stay.end_ms - stay.start_ms for _, stay in rows], np.int64),
        )

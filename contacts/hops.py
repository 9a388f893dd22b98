"""A trace over several hops as its coordinator sees it: names instead of numbers, answers of all partitions at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

import msgspec
import numpy as np

from contacts.columns import Ints, ints
from contacts.exposures import Found, Named, merged
from contacts.meetings import Meetings
from contacts.numbering import Numbering, Persons
from contacts.reads import ASSUMED_MARK, TOLD_MARK
from contacts.spans import union
from contacts.spread import Asked, Spread, Terms
from contacts.stays import shared_stay
from schemas.messages import Contact, Limit, SharedStay, StayEvidence

_MINUTE_MS = 60_000


class Hops:
    """One search. Begin with `first`; while it is `going`, ask about `asked()` and `take` the answers."""

    def __init__(self, person: str, window: tuple[int, int], terms: Terms) -> None:
        self._spread = Spread(0, *window, terms)
        self._rule = terms.profile.rule
        self._first: dict[str, Contact] = {}
        self._people = Persons()
        self._people.of_parts([[person]])
        self._venues = Numbering()

    @property
    def going(self) -> bool:
        """Whether there is another level."""
        return self._spread.going

    @property
    def level(self) -> int:
        """How many hops have been taken."""
        return self._spread.level

    @property
    def cut_by(self) -> tuple[Limit, ...]:
        """The limits but for which it would have gone on."""
        return self._spread.cut_by

    def stop(self, limit: Limit) -> None:
        """Go no further, because of a limit."""
        self._spread.stop(limit)

    def first(self, contacts: Sequence[Contact]) -> None:
        """The first hop: the case's contacts, with all their evidence."""
        self._first = {contact.person: contact for contact in contacts}
        rows = [(contact.person, stay) for contact in contacts for stay in contact.evidence]
        categories, venues = Numbering(), [stay.venue for _, stay in rows]
        (others,) = self._people.of_parts([[person for person, _ in rows]])
        met = _as_meetings(rows, others, self._venues.of(venues))
        category = categories.of([stay.category for _, stay in rows])
        self._spread.asked()
        self._spread.take(Found(met, category, categories.names), counted=True)

    def asked(self) -> tuple[list[str], Asked]:
        """Whom the next level must know of, by name; nobody where only risks are still to be worked out."""
        asked = self._spread.asked()
        return self._people.names(asked.people), asked

    def take(self, parts: Sequence[Named]) -> None:
        """The answers of all partitions about those asked: one level further."""
        people = self._people.of_parts([part.people for part in parts])
        venues = self._venues.of_parts([part.venues for part in parts])
        self._spread.take(merged(parts, people, venues))

    def contacts(self, most: int | None = None) -> tuple[Contact, ...]:
        """Everybody reached, by hop and name, or only the nearest, and of equally near those at most risk."""
        reached = self._spread.reached()
        numbers = reached.number[:most]
        columns = (reached.hop, reached.risk, reached.earliest_ms)
        persons = self._people.names(reached.person[:most])
        rows = zip(
            persons,
            *(column[:most].tolist() for column in columns),
            self._paths(numbers),
            self._evidence(persons, self._spread.evidence(numbers)),
            strict=True,
        )
        return tuple(sorted((self._contact(*row) for row in rows), key=lambda contact: (contact.hop, contact.person)))

    def _contact(
        self, name: str, hop: int, risk: float, earliest_ms: int, path: tuple[str, ...], evidence: list[SharedStay]
    ) -> Contact:
        known = self._first.get(name)
        if known is not None:
            return msgspec.structs.replace(known, risk=risk, earliest_ms=earliest_ms)
        minutes = evidence[0].minutes if evidence else 0.0
        if len(evidence) > 1:
            evidence.sort(key=lambda stay: (stay.start_ms, stay.venue, stay.end_ms))
            spans = union([(stay.start_ms, stay.end_ms) for stay in evidence])
            minutes = sum(end - start for start, end in spans) / _MINUTE_MS
        return Contact(
            person=name,
            minutes=minutes,
            rule=self._rule,
            evidence=tuple(evidence),
            hop=hop,
            exposed_by=path,
            risk=risk,
            earliest_ms=earliest_ms,
        )

    def _paths(self, numbers: Ints) -> list[tuple[str, ...]]:
        """Who lies between the case and each of these persons."""
        paths = self._spread.paths(numbers)
        between = list(set(chain.from_iterable(paths)))
        names = dict(zip(between, self._people.names(ints(between)), strict=True))
        return [tuple(names[person] for person in path) for path in paths]

    def _evidence(self, persons: Sequence[str], rows: Sequence[list[int]]) -> list[list[SharedStay]]:
        """The shared stays of each person, from rows of meetings; none of those whose evidence the first hop is."""
        wanted = [[] if name in self._first else each for name, each in zip(persons, rows, strict=True)]
        every = ints(list(chain.from_iterable(wanted)))
        met, venues = self._spread.met.of(every), self._venues.names
        rest = self._spread.categories(every), *(column.tolist() for column in met[2:])
        stays = (
            shared_stay(venues[venue], *stay, category=category) for category, venue, *stay in zip(*rest, strict=True)
        )
        return [list(islice(stays, len(each))) for each in wanted]


def _as_meetings(rows: Sequence[tuple[str, SharedStay]], other: Ints, venue: Ints) -> Meetings:
    """The shared stays of a case as meetings, the case the only exposer."""
    stays = [stay for _, stay in rows]
    return Meetings(
        np.zeros(len(stays), np.int64),
        other,
        venue,
        ints([stay.start_ms for stay in stays]),
        ints([stay.end_ms for stay in stays]),
        ints([stay.case_stay.start_ms for stay in stays]),
        ints([stay.case_stay.end_ms for stay in stays]),
        ints([stay.contact_stay.start_ms for stay in stays]),
        ints([stay.contact_stay.end_ms for stay in stays]),
        np.array([_marks(stay.case_stay) | _marks(stay.contact_stay) << 1 for stay in stays], np.uint8),
    )


def _marks(stay: StayEvidence) -> int:
    """A stay's part of the marks of a meeting."""
    return (ASSUMED_MARK if stay.end_assumed else 0) | (TOLD_MARK if stay.self_reported else 0)

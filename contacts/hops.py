"""A trace over several hops as its coordinator sees it: names instead of numbers, answers of all partitions at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, count, islice

import msgspec
import numpy as np

from contacts.columns import Ints, ints
from contacts.exposures import Found, merged, unpacked
from contacts.meetings import Meetings
from contacts.reads import ASSUMED_MARK, TOLD_MARK
from contacts.spans import union
from contacts.spread import Asked, Spread, Terms
from contacts.stays import shared_stay
from schemas.messages import Contact, Limit, MeetingRows, SharedStay, StayEvidence

_MINUTE_MS = 60_000


class Hops:
    """One search. Begin with `first`; while it is `going`, ask about `asked()` and `take` the answers."""

    def __init__(self, person: str, window: tuple[int, int], terms: Terms) -> None:
        self._spread = Spread(0, *window, terms)
        self._rule = terms.profile.rule
        self._first: dict[str, Contact] = {}
        self._people = _Numbering()
        self._people.of([person])
        self._venues = _Numbering()

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
        categories, venues = _Numbering(), [stay.venue for _, stay in rows]
        self._people.of(sorted(self._first))
        met = _as_meetings(rows, self._people.of([person for person, _ in rows]), self._venues.of(venues))
        category = categories.of([stay.category for _, stay in rows])
        self._spread.asked()
        self._spread.take(Found(met, category, categories.names), counted=True)

    def asked(self) -> tuple[list[str], Asked]:
        """Whom the next level must know of, by name; nobody where only risks are still to be worked out."""
        asked = self._spread.asked()
        return [self._people.names[number] for number in asked.people.tolist()], asked

    def take(self, answers: Iterable[MeetingRows]) -> None:
        """The answers of all partitions about those asked: one level further."""
        parts = [unpacked(answer) for answer in answers]
        self._people.of(sorted(set().union(*(part.people for part in parts))))  # so that numbers depend on nothing else
        self._venues.of(sorted(set().union(*(part.venues for part in parts))))
        self._spread.take(merged(parts, self._people.of, self._venues.of))

    def contacts(self, most: int | None = None) -> tuple[Contact, ...]:
        """Everybody reached, by hop and name, or only the nearest, and of equally near those at most risk."""
        reached = self._spread.reached()
        numbers = reached.number[:most]
        columns = (reached.hop, reached.risk, reached.earliest_ms)
        persons = [self._people.names[number] for number in reached.person[:most].tolist()]
        rows = zip(
            persons,
            *(column[:most].tolist() for column in columns),
            self._spread.paths(numbers),
            self._evidence(persons, self._spread.evidence(numbers)),
            strict=True,
        )
        return tuple(sorted((self._contact(*row) for row in rows), key=lambda contact: (contact.hop, contact.person)))

    def _contact(
        self, name: str, hop: int, risk: float, earliest_ms: int, path: tuple[int, ...], evidence: list[SharedStay]
    ) -> Contact:
        known = self._first.get(name)
        if known is None:
            minutes = sum(end - start for start, end in union([(s.start_ms, s.end_ms) for s in evidence]))
            known = Contact(
                person=name,
                minutes=minutes / _MINUTE_MS,
                rule=self._rule,
                evidence=tuple(sorted(evidence, key=lambda stay: (stay.start_ms, stay.venue, stay.end_ms))),
                hop=hop,
                exposed_by=tuple(self._people.names[number] for number in path),
            )
        return msgspec.structs.replace(known, risk=risk, earliest_ms=earliest_ms)

    def _evidence(self, persons: Sequence[str], rows: Sequence[list[int]]) -> list[list[SharedStay]]:
        """The shared stays of each person, from rows of meetings; none of those whose evidence the first hop is."""
        wanted = [[] if name in self._first else each for name, each in zip(persons, rows, strict=True)]
        every = list(chain.from_iterable(wanted))
        met = self._spread.met.of(ints(every))
        stays = (
            shared_stay(self._venues.names[venue], *stay, category=self._spread.category(row))
            for row, venue, *stay in zip(every, *(column.tolist() for column in met[2:]), strict=True)
        )
        return [list(islice(stays, len(each))) for each in wanted]


class _Numbering:
    """Names by number, in the order in which they came."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        """The numbers of names, new ones for those not known."""
        known = self._numbers
        new = list(dict.fromkeys(name for name in names if name not in known))
        known.update(zip(new, count(len(self.names)), strict=False))
        self.names += new
        return np.fromiter(map(known.__getitem__, names), np.int64, len(names))


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

"""Who was where a case was: the pairs of stays that share time, with both stays as evidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from contacts.air import Air
from contacts.columns import ints
from contacts.index import VisitIndex
from contacts.meetings import meetings
from contacts.reads import ASSUMED_MARK, TOLD_MARK
from schemas.messages import Direction, SharedStay, StayEvidence

_MINUTE_MS = 60_000


class Query(NamedTuple):
    """What is asked: the case's window, the cut (None: no cut), after whose stays the air stays infectious."""

    window_start_ms: int
    window_end_ms: int
    as_of_ms: int | None
    air: Air
    direction: Direction


def shared_stays(index: VisitIndex, person: str, query: Query) -> list[tuple[str, SharedStay]]:
    """All pairs of a stay of the case and a stay of another person that share time, by person, venue, start."""
    case = index.people.number(person)
    if case < 0:
        return []
    since, until, as_of_ms, air, direction = query
    met = meetings(index, ints([case]), ints([since]), ints([until]), as_of_ms, air, direction)
    others = np.unique(met.other)
    names = dict(zip(others.tolist(), index.people.names(others), strict=True))
    shared = [
        (names[other], shared_stay(index.lineages.venues[venue], *stay))
        for other, venue, *stay in zip(*(column.tolist() for column in met[1:]), strict=True)
    ]
    shared.sort(key=_order)
    return shared


def shared_stay(
    venue: str, start: int, end: int, own_start: int, own_end: int, other_start: int, other_end: int,
    marks: int, *, category: str = "",
) -> SharedStay:  # fmt: skip
    """A meeting as evidence; the case's side is that of the person asked about."""
    return SharedStay(
        venue=venue,
        start_ms=start,
        end_ms=end,
        minutes=(end - start) / _MINUTE_MS,
        case_stay=_stay(own_start, own_end, marks),
        contact_stay=_stay(other_start, other_end, marks >> 1),
        category=category,
    )


def _stay(start: int, end: int, marks: int) -> StayEvidence:
    return StayEvidence(
        start_ms=start, end_ms=end, end_assumed=bool(marks & ASSUMED_MARK), self_reported=bool(marks & TOLD_MARK)
    )


def _order(pair: tuple[str, SharedStay]) -> tuple[str, str, int, int, int, int]:
    person, stay = pair
    return person, stay.venue, stay.start_ms, stay.end_ms, stay.case_stay.start_ms, stay.contact_stay.start_ms

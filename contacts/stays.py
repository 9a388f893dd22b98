"""Who was where a case was: the pairs of stays that share time, with both stays as evidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from contacts.air import Air
from contacts.columns import Bools, Ints, among, distinct
from contacts.index import MEETS, VisitIndex, end_assumed
from contacts.presence import unite
from schemas.messages import Direction, SharedStay, StayEvidence

_FIRST = -(1 << 62)
_MINUTE_MS = 60_000


class Query(NamedTuple):
    """What is asked: the case's window, the cut (None: no cut), after whose stays the air stays infectious."""

    window_start_ms: int
    window_end_ms: int
    as_of_ms: int | None
    air: Air
    direction: Direction


class _Stays(NamedTuple):
    """Stays as columns; `key` is a venue or a person."""

    key: Ints
    start: Ints
    end: Ints
    assumed: Bools

    def of(self, wanted: Bools) -> _Stays:
        """Those wanted."""
        return _Stays(self.key[wanted], self.start[wanted], self.end[wanted], self.assumed[wanted])


def shared_stays(index: VisitIndex, person: str, query: Query) -> list[tuple[str, SharedStay]]:
    """All pairs of a stay of the case and a stay of another person that share time, by person, venue, start."""
    case = index.people.numbers.get(person)
    if case is None:
        return []
    air, forward = query.air, query.direction == "forward"
    reach = 0 if forward else air.reach_ms
    rows = index.of_person(case)
    rows = rows[index.live(rows)]
    shared: list[tuple[str, SharedStay]] = []
    for venue, start, end, assumed in _listed(_united(index, rows, index.own_venue(rows), query.as_of_ms)):
        first, last = max(start, query.window_start_ms), min(end, query.window_end_ms)
        if first >= last:
            continue
        if forward:
            interval = air.interval(first, last)
            if interval is None:
                continue
            first, last = interval
        name = index.lineages.venues[venue]
        mine = StayEvidence(start_ms=start, end_ms=end, end_assumed=assumed)
        others = _others(index, case, venue, first - reach, last + reach, query.as_of_ms)
        begins, untils = (others.start, others.end) if forward else air.intervals(others.start, others.end)
        begins, untils = np.maximum(begins, first), np.minimum(untils, last)
        meet = begins < untils
        pairs = zip(_listed(others.of(meet)), begins[meet].tolist(), untils[meet].tolist(), strict=True)
        for (other, other_start, other_end, other_assumed), begin, until in pairs:
            stay = SharedStay(
                venue=name,
                start_ms=begin,
                end_ms=until,
                minutes=(until - begin) / _MINUTE_MS,
                case_stay=mine,
                contact_stay=StayEvidence(start_ms=other_start, end_ms=other_end, end_assumed=other_assumed),
            )
            shared.append((index.people.names[other] or "", stay))
    shared.sort(key=_order)
    return shared


def _order(pair: tuple[str, SharedStay]) -> tuple[str, str, int, int, int, int]:
    person, stay = pair
    return person, stay.venue, stay.start_ms, stay.end_ms, stay.case_stay.start_ms, stay.contact_stay.start_ms


def _listed(stays: _Stays) -> list[tuple[int, int, int, bool]]:
    return list(zip(stays.key.tolist(), stays.start.tolist(), stays.end.tolist(), stays.assumed.tolist(), strict=True))


def _others(index: VisitIndex, case: int, venue: int, since_ms: int, until_ms: int, as_of_ms: int | None) -> _Stays:
    """The stays of others at a venue that share time with `[since_ms, until_ms)`, and perhaps more."""
    rows = index.at_venue(venue, since_ms, until_ms)
    person = index.column("person")[rows]
    rows, person = rows[person != case], person[person != case]
    meet = index.column("flags")[rows] & MEETS != 0
    several = distinct(person[meet].astype(np.int64))
    single = rows[~among(person.astype(np.int64), several)]
    if len(several):
        held = distinct(index.of_persons(several, np.full(len(several), _FIRST)))
        held = held[index.live(held) & (index.own_venue(held) == venue)]
        rows = np.concatenate((single, held))
    return _united(index, rows, index.column("person")[rows].astype(np.int64), as_of_ms)


def _united(index: VisitIndex, rows: Ints, key: Ints, as_of_ms: int | None) -> _Stays:
    """The unions of visits with one key, cut at `as_of_ms`."""
    start, end, reason = (index.column(name)[rows] for name in ("start", "end", "reason"))
    assumed = end_assumed(reason)
    if as_of_ms is not None:
        known = start < as_of_ms
        key, start, end, assumed = key[known], start[known], np.minimum(end[known], as_of_ms), assumed[known]
    order = np.lexsort((start, key))
    return _Stays(*unite(key[order], start[order], end[order], assumed[order])[:4])

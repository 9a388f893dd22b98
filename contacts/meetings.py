"""Meetings: the pairs of stays that share time, as columns, for many people at once.

This is the one door between what asks who met whom (a case's contacts, the search over several hops) and the index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from contacts.air import Air
from contacts.columns import Bools, Ints, among, distinct
from contacts.index import MEETS, VisitIndex, end_assumed
from contacts.presence import unite
from schemas.messages import Direction

_FIRST = -(1 << 62)


class Meetings(NamedTuple):
    """One row a pair of stays that share time. Times in ms.

    `exposer` indexes the people asked about, `other` is a person's number, `venue` a venue's; `[start, end)` is the
    shared part, cut to the asked person's window, with the linger; the stays are whole, cut at the as-of.
    """

    exposer: Ints
    other: Ints
    venue: Ints
    start: Ints
    end: Ints
    own_start: Ints
    own_end: Ints
    other_start: Ints
    other_end: Ints
    own_assumed: Bools
    other_assumed: Bools

    def of(self, chosen: Ints | Bools) -> Meetings:
        """The chosen rows."""
        return Meetings._make(column[chosen] for column in self)

    @classmethod
    def together(cls, parts: list[Meetings]) -> Meetings:
        """The rows of all parts, one after the other."""
        if not parts:
            none, no = np.empty(0, np.int64), np.empty(0, np.bool_)
            return cls(none, none, none, none, none, none, none, none, none, no, no)
        return cls._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


class Stays(NamedTuple):
    """Stays as columns; `key` is a venue or a person."""

    key: Ints
    start: Ints
    end: Ints
    assumed: Bools

    def listed(self) -> list[tuple[int, int, int, bool]]:
        """Row by row."""
        return list(zip(self.key.tolist(), self.start.tolist(), self.end.tolist(), self.assumed.tolist(), strict=True))


def meetings(
    index: VisitIndex,
    persons: Ints,
    since: Ints,
    until: Ints,
    as_of_ms: int | None,
    linger: Air | int,
    direction: Direction,
) -> Meetings:
    """All meetings of persons (numbers, each once) with others, each person's stays cut to `[since, until)` (ms).

    `linger` says how long the air stays infectious (a profile's `air`, or ms): forward after the person's stay,
    backward after the other's. `as_of_ms` cuts everything (None: no cut). Rows come in no order.
    """
    air, forward = Air(linger) if isinstance(linger, int) else linger, direction == "forward"
    reach = 0 if forward else air.reach_ms
    parts = []
    for place, (person, first, last) in enumerate(zip(persons.tolist(), since.tolist(), until.tolist(), strict=True)):
        rows = index.of_person(person)
        rows = rows[index.live(rows)]
        for venue, start, end, assumed in _united(index, rows, index.own_venue(rows), as_of_ms).listed():
            begin, close = max(start, first), min(end, last)
            interval = (begin, close) if not forward else air.interval(begin, close)
            if begin >= close or interval is None:
                continue
            begin, close = interval
            others = _others(index, person, venue, begin - reach, close + reach, as_of_ms)
            shared_start, shared_end = (others.start, others.end) if forward else air.intervals(*others[1:3])
            shared_start, shared_end = np.maximum(shared_start, begin), np.minimum(shared_end, close)
            kept = shared_start < shared_end
            same = np.ones(int(np.count_nonzero(kept)), np.int64)
            parts.append(
                Meetings(
                    same * place, others.key[kept], same * venue, shared_start[kept], shared_end[kept],
                    same * start, same * end, others.start[kept], others.end[kept],
                    same * assumed != 0, others.assumed[kept],
                )
            )  # fmt: skip
    return Meetings.together(parts)


def _others(index: VisitIndex, person: int, venue: int, since_ms: int, until_ms: int, as_of_ms: int | None) -> Stays:
    """The stays of others at a venue that share time with `[since_ms, until_ms)`, and perhaps more."""
    rows = index.at_venue(venue, since_ms, until_ms)
    who = index.column("person")[rows]
    rows, who = rows[who != person], who[who != person]
    meet = index.column("flags")[rows] & MEETS != 0
    several = distinct(who[meet].astype(np.int64))
    single = rows[~among(who.astype(np.int64), several)]
    if len(several):
        held = distinct(index.of_persons(several, np.full(len(several), _FIRST)))
        held = held[index.live(held) & (index.own_venue(held) == venue)]
        rows = np.concatenate((single, held))
    return _united(index, rows, index.column("person")[rows].astype(np.int64), as_of_ms)


def _united(index: VisitIndex, rows: Ints, key: Ints, as_of_ms: int | None) -> Stays:
    """The unions of visits with one key, cut at `as_of_ms`."""
    start, end, reason = (index.column(name)[rows] for name in ("start", "end", "reason"))
    assumed = end_assumed(reason)
    if as_of_ms is not None:
        known = start < as_of_ms
        key, start, end, assumed = key[known], start[known], np.minimum(end[known], as_of_ms), assumed[known]
    order = np.lexsort((start, key))
    return Stays(*unite(key[order], start[order], end[order], assumed[order])[:4])

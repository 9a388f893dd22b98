"""Rows into the index: which visit each is of, and what they change."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from contacts.columns import Ints, among, distinct, ints
from contacts.incoming import Rows
from contacts.index import GONE, MEETS, SETTLED, VisitIndex
from contacts.presence import Change, unite
from contacts.visits import Visit
from schemas.blocks import LATE


def store(index: VisitIndex, rows: Rows) -> Change:
    """Bring rows into the index; the visits that they change, as they were before all of them."""
    person = index.take_people(rows.persons)
    index.odd[person[rows.reason >= LATE]] = True
    visit = _visits(index, rows, person)
    changed = distinct(visit)
    old_end, old_reason = index.column("end")[changed], index.column("reason")[changed]
    index.column("end")[visit] = rows.end  # of several rows of one visit the last one stays
    index.column("reason")[visit] = rows.reason
    met = visit[rows.touches != 0]
    index.column("flags")[met] |= MEETS
    index.stretched(rows.start, rows.end)
    moved = (index.column("end")[changed] != old_end) | (index.column("reason")[changed] != old_reason)
    moved |= index.odd[index.column("person")[changed]]  # a late visit gives way even to one of no length
    return Change(changed, old_end, old_reason).of(moved | among(changed, distinct(met)))


def _visits(index: VisitIndex, rows: Rows, person: Ints) -> Ints:
    """The visit of each row. New ones are added with no length yet."""
    visit = np.full(len(person), -1, np.int64)
    born = np.flatnonzero(rows.born == rows.position)
    visit[born] = _add(index, rows, person, born)
    index.born += len(born)
    for number in distinct(rows.source).tolist():
        births = index.births[number]
        mine = rows.source == number
        new = born[mine[born]]
        births.add(rows.position[new], visit[new])
        later = np.flatnonzero(mine & (visit < 0))
        visit[later] = births.find(rows.born[later])
    lost = visit < 0
    lost[~lost] = index.column("flags")[visit[~lost]] & (GONE | SETTLED) != 0
    if lost.any():  # settled meanwhile; or an erasure came first by another source
        visit[lost] = _begun(index, rows, person, np.flatnonzero(lost))
        for row in np.flatnonzero(visit < 0):
            one = np.array([row])
            known = _begun(index, rows, person, one)  # one before may have brought it
            visit[row] = (known if known[0] >= 0 else _add(index, rows, person, one))[0]
    return visit


def _begun(index: VisitIndex, rows: Rows, person: Ints, chosen: Ints) -> Ints:
    return index.begun(person[chosen], rows.lineage[chosen], rows.start[chosen], rows.reason[chosen])


def _add(index: VisitIndex, rows: Rows, person: Ints, chosen: Ints) -> Ints:
    start = rows.start[chosen]
    return index.add(person[chosen], rows.lineage[chosen], start, start, rows.reason[chosen], np.zeros_like(start))


def fill(index: VisitIndex, visits: Iterable[Visit]) -> Change:
    """Bring finished visits into an index that holds none; the change that this is."""
    kept = [visit for visit in visits if visit.end_ms > visit.start_ms]
    person = index.take_people([visit.person for visit in kept])
    lineage = ints([index.lineages.take(visit.venue, visit.ancestors) for visit in kept])
    start, end, reason = (ints([visit[field] for visit in kept]) for field in (2, 3, 4))
    index.odd[person[reason >= LATE]] = True
    rows = index.add(person, lineage, start, end, reason, np.zeros_like(start))
    key = person * len(index.lineages.venues) + index.own_venue(rows)
    order = np.lexsort((start, key))
    part_of = unite(key[order], start[order], end[order], reason[order] < 0).part_of
    index.column("flags")[rows[order[np.bincount(part_of)[part_of] > 1]]] = MEETS
    return Change(rows, start, reason)

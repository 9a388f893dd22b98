"""Rows into the index: which visit each is of, and what they change."""

from __future__ import annotations

import numpy as np

from contacts.columns import Ints, among, distinct
from contacts.incoming import Rows
from contacts.index import GONE, MEETS, SETTLED, VisitIndex
from contacts.presence import Change
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
    return Change(changed, old_end, old_reason).of(moved | among(changed, distinct(met)))


def _visits(index: VisitIndex, rows: Rows, person: Ints) -> Ints:
    """The visit of each row. New ones are added with no length yet."""
    visit = np.full(len(person), -1, np.int64)
    born = np.flatnonzero(rows.born == rows.position)
    visit[born] = _add(index, rows, person, born)
    for number in distinct(rows.source).tolist():
        births = index.births[number]
        mine = rows.source == number
        new = born[mine[born]]
        births.add(rows.position[new], visit[new])
        later = np.flatnonzero(mine & (visit < 0))
        visit[later] = births.find(rows.born[later])
    lost = visit < 0
    lost[~lost] = index.column("flags")[visit[~lost]] & (GONE | SETTLED) != 0
    for row in np.flatnonzero(lost).tolist():  # settled meanwhile; or an erasure came first by another source
        known = index.derived(int(person[row]), int(rows.lineage[row]), int(rows.start[row]))
        visit[row] = known if known >= 0 else int(_add(index, rows, person, np.array([row]))[0])
    return visit


def _add(index: VisitIndex, rows: Rows, person: Ints, chosen: Ints) -> Ints:
    start = rows.start[chosen]
    return index.add(person[chosen], rows.lineage[chosen], start, start, rows.reason[chosen], np.zeros_like(start))

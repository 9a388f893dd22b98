"""Presences: the union of a person's visits at a venue and at what lies within it, and what a change does to them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Bools, Ints, among, distinct, ints, side_by_side
from contacts.compiled import compiled
from contacts.index import HIDDEN, MEETS, VisitIndex, end_assumed
from contacts.reads import Found
from contacts.runs import Asked
from contacts.steps import ASSUMED_END, DOUBT, END, START, Raw, of_presences
from schemas.blocks import REASONS

_FAR: Final = 1 << 62
_ENDS: Final = np.where(end_assumed(np.arange(len(REASONS))), ASSUMED_END, END)
"""The kind of step that an end is, by its reason."""


class Union(NamedTuple):
    """Unions of touching intervals: whose (key), from when, until when, whether all that end there are assumed ends;
    and for each interval the union it is part of."""

    key: Ints
    start: Ints
    end: Ints
    assumed: Bools
    part_of: Ints


class Change(NamedTuple):
    """Visits (rows, each once) as they were before a change that the index already holds."""

    rows: Ints
    old_end: Ints
    old_reason: Ints

    def of(self, chosen: Bools) -> Change:
        """The chosen ones."""
        return Change(*(column[chosen] for column in self))


def unite(key: Ints, start: Ints, end: Ints, assumed: Bools) -> Union:
    """Unite what touches or overlaps and has one key. The intervals come in order of (key, start)."""
    first, until, part_of = (np.empty(len(key), np.int64) for _ in range(3))
    doubtful = np.empty(len(key), np.bool_)
    count = unite_into(key, start, end, assumed, first, until, doubtful, part_of)
    first = first[:count]
    return Union(key[first], start[first], until[:count], doubtful[:count], part_of)


@compiled
def unite_into(
    key: Ints, start: Ints, end: Ints, assumed: Bools, first: Ints, until: Ints, doubtful: Bools, part_of: Ints
) -> int:
    """`unite`, into columns given: the first interval of each union, its end, whether that is assumed, and for each
    interval the union that it is part of. How many unions there are."""
    last = -1
    for row in range(len(key)):
        if last < 0 or key[row] != key[row - 1] or start[row] > until[last]:
            last += 1
            first[last], until[last], doubtful[last] = row, end[row], assumed[row]
        elif end[row] > until[last]:
            until[last], doubtful[last] = end[row], assumed[row]
        elif end[row] == until[last] and not assumed[row]:
            doubtful[last] = False
        part_of[row] = last
    return last + 1


def any_in(union: Union, marked: Bools) -> Bools:
    """Which unions have a marked interval in them."""
    found = np.zeros(len(union.key), np.bool_)
    found[union.part_of[marked]] = True
    return found


def steps_of_change(index: VisitIndex, change: Change) -> list[Raw]:
    """The steps that a change of visits makes in the counts of all venues it reaches."""
    rows = change.rows
    with_others = index.lineages.within(index.column("lineage")[rows])
    with_others |= (index.column("flags")[rows] & MEETS != 0) | index.odd[index.column("person")[rows]]
    if not with_others.any():
        return [_alone(index, change)]
    person = index.column("person")[rows]  # all of a person's changes together: each must see the others as they were
    with_others = among(person, distinct(person[with_others]))
    return [_alone(index, change.of(~with_others)), *_together(index, change.of(with_others))]


def _alone(index: VisitIndex, change: Change) -> Raw:
    """The steps of visits that are each a presence of their own, at one venue."""
    lineage, start, end, reason = (index.column(name) for name in ("lineage", "start", "end", "reason"))
    steps = side_by_side(len(Raw._fields), _STEPS_MOST * len(change.rows))
    was = change.rows, change.old_end, ints(change.old_reason)
    count = _steps_alone(*was, lineage, start, end, reason, index.lineages.all_own, _ENDS, steps)
    return Raw(*steps[:, :count])


_STEPS_MOST: Final = 3  # a presence more, or its end told anew


@compiled
def _steps_alone(
    rows: Ints, old_end: Ints, old_reason: Ints, lineage: Ints, start: Ints, end: Ints, reason: Ints,
    own: NDArray[np.int32], ends: Ints, steps: Ints,
) -> int:  # fmt: skip
    """Fill the columns of `Raw`: what was is taken back, what is added, but for what both have; how many there are."""
    count = 0
    for place in range(len(rows)):
        row = rows[place]
        venue, since, until, before = own[lineage[row]], start[row], end[row], old_end[place]
        kind, old_kind = ends[reason[row]], ends[old_reason[place]]
        now, was = np.int64(until > since), np.int64(before > since)
        doubt = now * (kind == ASSUMED_END) - was * (old_kind == ASSUMED_END)
        same = now == was and until == before and kind == old_kind
        for at, step, weight in (
            (since, START, now - was),
            (before, old_kind, 0 if same else -was),
            (until, kind, 0 if same else now),
            (since, DOUBT, doubt),
        ):
            if weight != 0:
                steps[0, count], steps[1, count], steps[2, count], steps[3, count] = venue, at, step, weight
                count += 1
    return count


def _together(index: VisitIndex, change: Change) -> list[Raw]:
    """The steps of visits that others of the person may meet: their presences as they were, and as they are."""
    person = index.column("person")[change.rows].astype(np.int64)
    persons = distinct(person)
    who = np.searchsorted(persons, person)
    since, until = np.full(len(persons), np.iinfo(np.int64).max), np.full(len(persons), np.iinfo(np.int64).min)
    np.minimum.at(since, who, index.column("start")[change.rows])
    np.maximum.at(until, who, np.maximum(change.old_end, index.column("end")[change.rows]))
    index.revive_touching(persons, since, until)
    since -= 2 * index.longest_ms
    rows = _held(index, persons, since)
    rehidden = index.hide(rows)
    while True:
        steps, earliest = _settle(index, change, rows, rehidden, persons)
        short = earliest - index.longest_ms < since
        if not short.any():
            return steps
        since = np.where(short, earliest - 2 * index.longest_ms, since)
        rows = _held(index, persons, since)


def _held(index: VisitIndex, persons: Ints, since: Ints) -> Ints:
    """The rows of persons (sorted) that are not gone and start no earlier than `since`, in order."""
    rows = index.kept(distinct(index.of_persons(persons, since)))
    who = np.searchsorted(persons, index.column("person")[rows].astype(np.int64))
    held: Ints = rows[index.column("start")[rows] >= since[who]]
    return held


def _settle(index: VisitIndex, change: Change, rows: Ints, rehidden: Ints, persons: Ints) -> tuple[list[Raw], Ints]:
    """The steps between old and new presences, and the earliest start of a changed presence of each person."""
    flags = index.column("flags")
    changed = np.zeros(len(rows), np.bool_)
    changed[np.searchsorted(rows, rehidden)] = True
    hidden = flags[rows] & HIDDEN != 0
    was_hidden = hidden ^ changed
    place = np.searchsorted(rows, change.rows)
    changed[place] = True
    person, start, end = (index.column(name)[rows].astype(np.int64) for name in ("person", "start", "end"))
    old_end, old_reason = end.copy(), index.column("reason")[rows].copy()
    old_end[place], old_reason[place] = change.old_end, change.old_reason
    venues = len(index.lineages.venues)
    own = person * venues + index.own_venue(rows)
    meeting = changed & ((flags[rows] & MEETS != 0) | index.odd[person])
    flags[rows[among(own, distinct(own[meeting]))]] |= MEETS

    row, venue = index.lineages.places(index.column("lineage")[rows])
    key = person[row] * venues + venue
    wanted = among(key, distinct(key[changed[row]]))
    row, key = row[wanted], key[wanted]
    order = np.lexsort((start[row], key))
    row, key = row[order], key[order]

    steps: list[Raw] = []
    earliest = np.full(len(persons), np.iinfo(np.int64).max)
    states = ((old_end, old_reason, was_hidden, -1), (end, index.column("reason")[rows], hidden, 1))
    for until, reason, out, weight in states:
        counted = (until[row] > start[row]) & ~out[row]
        part, keys = row[counted], key[counted]
        union = unite(keys, start[part], until[part], end_assumed(reason[part]))
        steps += of_presences(union.key % venues, union.start, union.end, union.assumed, weight)
        touched = changed[part]
        np.minimum.at(earliest, np.searchsorted(persons, person[part[touched]]), union.start[union.part_of[touched]])
    return steps, earliest


class AtOnce(NamedTuple):
    """The presences at one venue that have begun by a time and not ended: whose, and when they end, each in order."""

    persons: Ints
    ends: Ints


def presences_at(index: VisitIndex, venue: int, at_ms: int) -> AtOnce:
    """Who is inside a venue at a time by all visits known, and until when."""
    counts = index.lineages.counting_at(venue)
    persons = distinct(_inside(index, counts, at_ms))
    if not len(persons):
        return AtOnce(persons, persons)
    found = Found()
    since = np.full(len(persons), at_ms - index.longest_ms)
    rows = index.of_persons(persons, since)
    rows = rows[index.live(rows) & counts[index.column("lineage")[rows]]]
    who = np.searchsorted(persons, index.column("person")[rows].astype(np.int64))
    start, end = index.column("start")[rows], index.column("end")[rows]
    found.add(who, persons[who], np.ones(len(rows), np.int64), start, end, 0)
    found.of_persons(index.archive.between(at_ms - index.longest_ms, _FAR), persons, counts.astype(np.int32))
    who, _, counted, start, end, _ = found.columns()
    kept = np.flatnonzero((counted != 0) & (end > at_ms))
    kept = kept[np.lexsort((start[kept], who[kept]))]
    union = unite(who[kept], start[kept], end[kept], np.zeros(len(kept), np.bool_))
    return AtOnce(persons, np.sort(union.end[union.start <= at_ms]))


def _inside(index: VisitIndex, counts: Bools, at_ms: int) -> Ints:
    """The persons who have a visit of these lineages that has begun by a time and not ended, some several times."""
    lineages = np.flatnonzero(counts)
    venues = distinct(index.lineages.own(lineages))
    times = np.full(len(venues), at_ms), np.full(len(venues), at_ms + 1)
    _, rows = index.at_venues(Asked(np.arange(len(venues)), venues, *times))
    rows = rows[counts[index.column("lineage")[rows]]]
    found = Found()
    asked = lineages, lineages, np.full(len(lineages), at_ms), np.full(len(lineages), at_ms + 1)
    segments = index.archive.between(at_ms - index.longest_ms, at_ms + 1)
    found.at_lineages(segments, *asked, np.full(len(lineages), -1), lineages)
    return ints(np.concatenate((index.column("person")[rows].astype(np.int64), found.columns()[1])))

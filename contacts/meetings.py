"""Meetings: the pairs of stays that share time, as columns, for many people at once.

This is the one door between what asks who met whom (a case's contacts, the search over several hops) and the index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.air import Air, air_of
from contacts.columns import Bools, Ints, among, distinct, ints, side_by_side
from contacts.compiled import compiled
from contacts.index import MEETS, VisitIndex
from contacts.lookups import MEETS_MARK
from contacts.presence import Union, any_in, unite, unite_into
from contacts.reads import ASKED, ASSUMED_MARK, TOLD_MARK, Found, marks_of
from contacts.runs import Asked
from schemas.messages import Direction

_FIRST = -(1 << 62)

Marks = NDArray[np.uint8]


class Meetings(NamedTuple):
    """One row a pair of stays that share time. Times in ms.

    `exposer` indexes the people asked about, `other` is a person's number, `venue` a venue's; `[start, end)` is what
    the one's infectious interval shares with the other's stay; the stays are whole, cut at the as-of.

    `marks` (uint8) has bits: 1 the own end is only assumed, 2 the other's; 4 a self-reported visit is part of the own
    stay, 8 of the other's.
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
    marks: Marks

    def of(self, chosen: Ints | Bools) -> Meetings:
        """The chosen rows."""
        return Meetings._make(column[chosen] for column in self)

    @classmethod
    def together(cls, parts: list[Meetings]) -> Meetings:
        """The rows of all parts, one after the other."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, none, none, none, none, none, none, none, np.empty(0, np.uint8))
        return cls._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


class Visits(NamedTuple):
    """Visits that count, with what they were found for; `marks` as contacts.reads has them."""

    asked: Ints
    person: Ints
    venue: Ints
    start: Ints
    end: Ints
    marks: Ints

    def of(self, chosen: Ints | Bools) -> Visits:
        """The chosen ones."""
        return Visits._make(column[chosen] for column in self)

    def cut(self, as_of_ms: int | None) -> Visits:
        """As they were known at a time: later ones did not exist, and others had not ended."""
        if as_of_ms is None:
            return self
        known = self.of(self.start < as_of_ms)
        return known._replace(end=np.minimum(known.end, as_of_ms))


def meetings(
    index: VisitIndex,
    persons: Ints,
    since: Ints,
    until: Ints,
    as_of_ms: int | None,
    linger: Air | int,
    direction: Direction,
    least_ms: int = 0,
) -> Meetings:
    """All meetings of persons (numbers, each once) with others, each person's stays cut to `[since, until)` (ms).

    Infectious is the interval that the air makes of a stay (`linger`: a profile's `air`, or ms): forward of what of the
    person's is in the window, backward of the other's. `as_of_ms` cuts all stays (None: no cut). Those that
    share less than `least_ms` are left out. Rows come in no order.
    """
    least_ms = max(least_ms, 1)
    air, forward = air_of(linger), direction == "forward"
    reach = 0 if forward else air.reach_ms
    own = visits_of(index, persons, since, until).cut(as_of_ms)
    venues = len(index.lineages.venues)
    key = own.asked * venues + own.venue
    order = np.lexsort((own.start, key))
    columns = np.empty((7, len(order)), np.int64)
    count = _stays(key, own.start, own.end, own.marks, order, venues, since, until, columns)
    exposer, venue, begin, close, own_start, own_end, own_marks = columns[:, :count]
    if forward:
        begin, close = air.intervals(begin, close)

    asked = Asked(np.arange(len(exposer)), venue, begin - reach, close + reach)
    with Found.lent() as table:
        enough = least_ms if forward else 1  # backward the air may yet lengthen what they share
        others = _whole(index, _at_venues(index, asked, persons[exposer], table, enough), as_of_ms)
        infectious = (others.start, others.end) if forward else air.intervals(others.start, others.end)
        columns, marks = side_by_side(9, len(others.asked)), np.empty(len(others.asked), np.uint8)
        stays_asked = exposer, venue, begin, close, own_start, own_end, own_marks
        others_found = others.asked, others.person, others.start, others.end, others.marks, *infectious
        count = _pair(*stays_asked, *others_found, least_ms, columns, marks)
    return Meetings._make((*columns[:, :count], marks[:count]))


@compiled
def _stays(
    key: Ints, start: Ints, end: Ints, marks: Ints, order: Ints, venues: int, since: Ints, until: Ints, columns: Ints
) -> int:  # fmt: skip
    """Fill in whose each stay is, its venue, what of it is in the window, from when and until when it lasts as a whole,
    and its marks. `order` is that of visits by (key, start), and key is of person and venue. How many stays there are.
    """
    key, start, end, marks = key[order], start[order], end[order], marks[order]
    first, last, part_of = np.empty(len(key), np.int64), np.empty(len(key), np.int64), np.empty(len(key), np.int64)
    assumed = np.empty(len(key), np.bool_)
    stays = unite_into(key, start, end, marks & ASSUMED_MARK != 0, first, last, assumed, part_of)
    told = np.zeros(stays, np.int64)
    for row in range(len(key)):
        told[part_of[row]] |= marks[row] & TOLD_MARK
    count = 0
    for stay in range(stays):
        here = first[stay]
        exposer = key[here] // venues
        begin, close = max(start[here], since[exposer]), min(last[stay], until[exposer])
        if begin < close:
            columns[0, count] = exposer
            columns[1, count] = key[here] - exposer * venues
            columns[2, count] = begin
            columns[3, count] = close
            columns[4, count] = start[here]
            columns[5, count] = last[stay]
            columns[6, count] = told[stay] | (ASSUMED_MARK if assumed[stay] else 0)
            count += 1
    return count


@compiled
def _pair(
    exposer: Ints, venue: Ints, begin: Ints, close: Ints, own_start: Ints, own_end: Ints, own_marks: Ints,
    stay: Ints, other: Ints, other_start: Ints, other_end: Ints, other_marks: Ints, first: Ints, last: Ints,
    least: int, columns: Ints, marks: Marks,
) -> int:  # fmt: skip
    """Fill the columns of meetings, the marks apart, with the pairs that share as much; how many there are."""
    count = 0
    for at in range(len(stay)):
        own = np.uint64(stay[at])  # what cannot be below 0 is not looked at for it: a third of the time
        row, place = np.uint64(at), np.uint64(count)
        start, end = max(first[row], begin[own]), min(last[row], close[own])
        if end - start >= least:
            columns[0, place] = exposer[own]
            columns[1, place] = other[row]
            columns[2, place] = venue[own]
            columns[3, place] = start
            columns[4, place] = end
            columns[5, place] = own_start[own]
            columns[6, place] = own_end[own]
            columns[7, place] = other_start[row]
            columns[8, place] = other_end[row]
            marks[place] = own_marks[own] | other_marks[row] << 1
            count += 1
    return count


def _stay_marks(stays: Union, marks: Ints) -> Ints:
    """The marks of stays made of visits with marks: none of them meets another any more."""
    told = any_in(stays, marks & TOLD_MARK != 0)
    return ints(np.where(stays.assumed, ASSUMED_MARK, 0) | np.where(told, TOLD_MARK, 0))


def visits_of(index: VisitIndex, persons: Ints, since: Ints, until: Ints) -> Visits:
    """The visits of persons (each once) that touch their windows, and those that touch these, and perhaps more."""
    found = Found()
    if len(persons):
        order = np.argsort(persons) if len(persons) > 1 else np.zeros(1, np.int64)
        ordered = persons[order]
        if len(index):
            rows = index.of_persons(ordered, since[order] - 2 * index.longest_ms)
            rows = rows[index.live(rows)]
            _add_rows(index, found, np.searchsorted(ordered, index.column("person")[rows].astype(np.int64)), rows)
        venue_of = index.lineages.all_own
        segments = index.archive.between(int(since.min()) - index.longest_ms, int(until.max()) + index.longest_ms)
        found.of_persons(segments, ordered, venue_of)
        found.columns()[ASKED] = order[found.columns()[ASKED]]
    return _visits(found)


def _at_venues(index: VisitIndex, asked: Asked, without: Ints, found: Found, least_ms: int) -> Visits:
    """The visits at venues that share time with what is asked for, but for those of a person each."""
    if len(asked.since):
        if len(index):
            number, rows = index.at_venues(asked)
            other = index.column("person")[rows] != without[number]
            _add_rows(index, found, number[other], rows[other])
        which, lineage = index.lineages.of_venues(asked.venue)
        questions = asked.venue[which], asked.since[which], asked.until[which], without[which], which
        segments = index.archive.between(int(asked.since.min()), int(asked.until.max()))
        found.at_lineages(segments, lineage, *questions, least_ms)
    return _visits(found)


def _whole(index: VisitIndex, found: Visits, as_of_ms: int | None) -> Visits:
    """Stays in place of visits, all cut at a time: where one touches others of its person at the venue, these are
    found, and united."""
    found = found.cut(as_of_ms)
    meets = found.marks & MEETS_MARK != 0
    if not meets.any():
        return found
    venues = len(index.lineages.venues)
    keys = found.asked * venues + found.venue  # each question has one venue
    several = found.of(meets)
    pair = distinct((several.person << 32) | several.asked)
    whole = ~among((found.person << 32) | found.asked, pair)
    persons = distinct(several.person)
    since = np.full(len(persons), _FIRST)
    held = visits_of(index, persons, since, np.full(len(persons), 1 << 62)).cut(as_of_ms)
    asked, who = pair & 0xFFFF_FFFF, np.searchsorted(persons, pair >> 32)
    venue_of = np.zeros(int(found.asked.max()) + 1, np.int64)
    venue_of[found.asked] = keys % venues
    at, wanted = held.asked * venues + held.venue, who * venues + venue_of[asked]
    order = np.argsort(at, kind="stable")
    first, last = np.searchsorted(at[order], wanted), np.searchsorted(at[order], wanted, side="right")
    count = last - first
    row = np.repeat(np.arange(len(wanted)), count)
    place = order[np.repeat(first - np.cumsum(count) + count, count) + np.arange(len(row))]
    row, place = row[(by := np.lexsort((held.start[place], row)))], place[by]
    united = unite(row, held.start[place], held.end[place], held.marks[place] & ASSUMED_MARK != 0)
    person, number = pair[united.key] >> 32, asked[united.key]
    marks = _stay_marks(united, held.marks[place])
    stays = Visits(number, person, venue_of[number], united.start, united.end, marks)
    return _together([found.of(whole), stays])


def _add_rows(index: VisitIndex, found: Found, asked: Ints, rows: Ints) -> None:
    start, end, reason = (index.column(name)[rows] for name in ("start", "end", "reason"))
    meets = index.column("flags")[rows] & MEETS
    found.add(asked, index.column("person")[rows], index.own_venue(rows), start, end, marks_of(reason, meets))


def _visits(found: Found) -> Visits:
    return Visits(*found.columns())


def _together(parts: list[Visits]) -> Visits:
    return Visits._make(np.concatenate(column) for column in zip(*parts, strict=True))

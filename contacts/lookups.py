"""Looking visits up in the segments of many days at once: compiled loops that judge exact times and fill one table.

Each segment is a row of addresses (`Segment.where`). A look into one waits for memory several times, one step after the
other; but what one person or venue has on one day does not depend on the others. So a few of these are taken one step
further each, in turns, and what the next step will read is asked for ahead: they wait together.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from contacts.addresses import int64_at, prefetch, uint8_at, uint32_at
from contacts.bisecting import first_from
from contacts.columns import Ints
from contacts.compiled import compiled
from contacts.segments import DAY_MINUTES, Bits
from contacts.sparse import Places, entry_of_person, entry_of_place, lineages_near, stretch_of_person

MEETS_MARK: Final = 16
"""The bit of a visit's marks that says that it meets another of its person there."""

_PERSONS: Final = 32
_LINEAGES: Final = 16
"""So many are looked up in turns."""

_FEW: Final = 24
"""So few visits of a venue's day that looking at all is quicker than searching."""

_NUMBERS: Final = 8
_PLACES: Final = 16
"""How many int64 and uint32 the processor gets at once."""

_WORDS, _BEGINS, _MINE, _EXACT, _GONE, _MINE_SPARSE, _BEGINS_SPARSE, _MIDNIGHT = range(0, 16, 2)
"""Where the address of each array is in a segment's row, before its length; midnight stands alone."""


@compiled
def _words(at: Ints) -> Ints:
    return int64_at(at[_WORDS], at[_WORDS + 1])


@compiled
def _begins(at: Ints) -> Places:
    return uint32_at(at[_BEGINS], at[_BEGINS + 1])


@compiled
def _mine(at: Ints) -> Ints:
    return int64_at(at[_MINE], at[_MINE + 1])


@compiled
def _exact(at: Ints) -> Ints:
    return int64_at(at[_EXACT], at[_EXACT + 1])


@compiled
def _gone(at: Ints) -> Bits:
    return uint8_at(at[_GONE], at[_GONE + 1])


@compiled
def _mine_sparse(at: Ints) -> Places:
    return uint32_at(at[_MINE_SPARSE], at[_MINE_SPARSE + 1])


@compiled
def _begins_sparse(at: Ints) -> Places:
    return uint32_at(at[_BEGINS_SPARSE], at[_BEGINS_SPARSE + 1])


@compiled
def find_persons(
    segments: Ints, done: int, persons: Ints, venue_of: NDArray[np.int32], marks_of: Ints, table: Ints, count: int
) -> tuple[int, int, int]:
    """Look each person up in each segment, as `(segment, person)` in order from number `done` on.

    Returns how many of these are done, to how many visits the table has grown, and for how many it must have room.
    """
    room, many = table.shape[1], len(persons)
    every = len(segments) * many
    number, asked = np.empty(_PERSONS, np.int64), np.empty(_PERSONS, np.int64)
    begin, end = np.empty(_PERSONS, np.int64), np.empty(_PERSONS, np.int64)
    while done < every:
        before, taken = count, min(_PERSONS, every - done)
        segment, one = done // many, done % many
        for item in range(taken):
            number[item], asked[item] = segment, one
            at = segments[segment]
            sparse = _mine_sparse(at)
            if len(sparse):
                prefetch(at[_MINE_SPARSE] + 4 * entry_of_person(sparse, persons[one]))
            one += 1
            if one == many:
                segment, one = segment + 1, 0
        for item in range(taken):
            at = segments[number[item]]
            begin[item], end[item] = stretch_of_person(at[_MINE + 1], _mine_sparse(at), persons[asked[item]])
            for place in range(begin[item], min(end[item], begin[item] + 8 * _NUMBERS), _NUMBERS):
                prefetch(at[_MINE] + 8 * place)
        for item in range(taken):
            at, person = segments[number[item]], persons[asked[item]]
            mine = _mine(at)
            for entry in range(first_from(mine, person << 32, begin[item], end[item]), len(mine)):
                if mine[entry] >> 32 != person:
                    break
                if count < room:
                    place = mine[entry] & 0xFFFFFFFF
                    table[0, count] = asked[item]
                    table[1, count] = person
                    table[2, count] = place
                    table[3, count] = number[item]
                    prefetch(at[_WORDS] + 8 * place)
                    prefetch(at[_EXACT] + 8 * place)
                    prefetch(at[_GONE] + (place >> 3))
                    prefetch(at[_BEGINS_SPARSE] + 4 * entry_of_place(place))
                count += 1
        if count > room:
            return done, before, count
        count = _whole_rows(segments, venue_of, marks_of, table, before, count)
        done += taken
    return done, count, count


@compiled
def _whole_rows(
    segments: Ints, venue_of: NDArray[np.int32], marks_of: Ints, table: Ints, before: int, count: int
) -> int:
    """Make rows of visits that count of those of (asked, person, place, segment) from `before` on; where they end."""
    for row in range(before, count):
        at = segments[table[3, row]]
        first, last = lineages_near(at[_BEGINS + 1] - 1, _begins_sparse(at), table[2, row])
        table[4, row] = first
        table[5, row] = last
        for lineage in range(first, min(last, first + 4 * _PLACES), _PLACES):
            prefetch(at[_BEGINS] + 4 * lineage)
    to = before
    for row in range(before, count):
        at, place = segments[table[3, row]], table[2, row]
        times = _exact(at)[place]
        if (_gone(at)[place >> 3] >> (place & 7)) & 1 == 0 and times & 1 == 0 and (times >> 4) & 0xFFFFFFF > 0:
            lineage = first_from(_begins(at), place + 1, table[4, row] + 1, table[5, row] + 1) - 1
            start = at[_MIDNIGHT] + (times >> 32)
            table[0, to] = table[0, row]
            table[1, to] = table[1, row]
            table[2, to] = venue_of[lineage]
            table[3, to] = start
            table[4, to] = start + ((times >> 4) & 0xFFFFFFF)
            table[5, to] = marks_of[(times >> 1) & 7] | (_words(at)[place] & 1) * MEETS_MARK
            to += 1
    return to


@compiled
def find_lineages(
    segments: Ints, done: int, asked: Ints, lineage: Ints, venue: Ints, since: Ints, until: Ints, without: Ints,
    least: int, limits: Ints, marks_of: Ints, table: Ints, count: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Answer each question from each segment, as `(segment, question)` in order from number `done` on.

    Returns how many of these are done, to how many visits the table has grown, and for how many it must have room.
    """
    many, classes = len(asked), len(limits)
    every = len(segments) * many
    number, row = np.empty(_LINEAGES, np.int64), np.empty(_LINEAGES, np.int64)
    first, last = np.empty(_LINEAGES, np.int64), np.empty(_LINEAGES, np.int64)
    owner, wanted = np.empty(_LINEAGES * classes, np.int64), np.empty((_LINEAGES * classes, 2), np.int64)
    low, high = np.empty((_LINEAGES * classes, 2), np.int64), np.empty((_LINEAGES * classes, 2), np.int64)
    while done < every:
        before, begun, taken = count, done, 0
        segment, one = done // many, done % many
        while done < every and taken < _LINEAGES:
            at = segments[segment]
            after = since[one] - at[_MIDNIGHT]
            if at[_MIDNIGHT] < until[one] and after < 4096 * 60_000 and lineage[one] < at[_BEGINS + 1] - 1:
                number[taken], row[taken] = segment, one
                taken += 1
                prefetch(at[_BEGINS] + 4 * lineage[one])
            done, one = done + 1, one + 1
            if one == many:
                segment, one = segment + 1, 0
        for item in range(taken):
            at, begins = segments[number[item]], _begins(segments[number[item]])
            first[item], last[item] = begins[lineage[row[item]]], begins[lineage[row[item]] + 1]
            prefetch(at[_WORDS] + 8 * (last[item] - 1))
            prefetch(at[_WORDS] + 8 * ((first[item] + last[item]) >> 1))
        ranges = 0
        for item in range(taken):
            if last[item] - first[item] <= _FEW:
                owner[ranges] = item
                low[ranges, 0] = high[ranges, 0] = first[item]
                low[ranges, 1] = high[ranges, 1] = last[item]
                ranges += first[item] < last[item]
                continue
            at = segments[number[item]]
            minute, up_to = _minutes(at[_MIDNIGHT], since[row[item]], until[row[item]])
            for cls in range((_words(at)[last[item] - 1] >> 55) + 1):
                if minute - limits[cls] < DAY_MINUTES:  # else no visit of this class lasts from the day until then
                    owner[ranges] = item
                    low[ranges, 0] = low[ranges, 1] = first[item]
                    high[ranges, 0] = high[ranges, 1] = last[item]
                    wanted[ranges, 0] = (np.int64(cls) << 55) | (max(minute - limits[cls], 0) << 44)
                    wanted[ranges, 1] = (np.int64(cls) << 55) | (min(up_to, 2047) << 44)
                    ranges += 1
        left = True
        while left:
            left = False
            for each in range(ranges):
                at = segments[number[owner[each]]]
                for side in range(2):
                    if low[each, side] < high[each, side]:
                        middle = (low[each, side] + high[each, side]) >> 1
                        if _words(at)[middle] < wanted[each, side]:
                            low[each, side] = middle + 1
                        else:
                            high[each, side] = middle
                        prefetch(at[_WORDS] + 8 * ((low[each, side] + high[each, side]) >> 1))
                        left = True
        for each in range(ranges):
            at = segments[number[owner[each]]]
            for place in range(low[each, 0], min(low[each, 1], low[each, 0] + 4 * _NUMBERS), _NUMBERS):
                prefetch(at[_WORDS] + 8 * place)
                prefetch(at[_EXACT] + 8 * place)
        for each in range(ranges):
            one = row[owner[each]]
            question = asked[one], venue[one], since[one], until[one], without[one]
            at = segments[number[owner[each]]]
            count = _judge(at, low[each, 0], low[each, 1], *question, least, marks_of, table, count)
        if count > table.shape[1]:
            return begun, before, count
    return done, count, count


@compiled
def _minutes(midnight: int, since: int, until: int) -> tuple[int, int]:
    """From and until which minute of a day."""
    return max((since - midnight) // 60_000, -1), -((midnight - until) // 60_000)


@compiled
def _judge(
    at: Ints, begin: int, end: int, asked: int, venue: int, since: int, until: int, without: int, least: int,
    marks_of: Ints, table: Ints, count: int,
) -> int:  # fmt: skip
    """Add the visits at places `[begin, end)` of a segment that answer a question; how many there are, fit or not."""
    room = table.shape[1]
    midnight, least_minutes = at[_MIDNIGHT], (least + 59_999) // 60_000
    low, high = _minutes(midnight, since, until)
    words, exact, gone = _words(at), _exact(at), _gone(at)
    for entry in range(begin, end):
        place = np.uint64(entry)  # what cannot be below 0 is not looked at for it
        word = words[place]
        minute = (word >> 44) & 2047
        enough = least_minutes if word & 1 == 0 else 1
        if min(minute + ((word >> 33) & 2047), high) - max(minute, low) >= enough:
            person = (word >> 1) & 0xFFFFFFFF
            times = exact[place]
            start = midnight + (times >> 32)
            ends = start + ((times >> 4) & 0xFFFFFFF)
            both = min(ends, until) - max(start, since)
            shares = both >= (least if word & 1 == 0 else 1) and ends > start and times & 1 == 0
            if shares and person != without and (gone[np.uint64(entry >> 3)] >> (entry & 7)) & 1 == 0:
                if count < room:
                    to = np.uint64(count)
                    table[0, to] = asked
                    table[1, to] = person
                    table[2, to] = venue
                    table[3, to] = start
                    table[4, to] = ends
                    table[5, to] = marks_of[np.uint64((times >> 1) & 7)] | (word & 1) * MEETS_MARK
                count += 1
    return count

"""Scans into histories, and the rows that say what they change: the loop that every scan goes through, compiled.

The rule is that of contacts/visits.py. A scan later than all of its person's closes what it closes and is put at the
end; any other is put in its place and the person's visits are settled anew.
"""

from __future__ import annotations

import numpy as np

from contacts.columns import Bools, Ints
from contacts.compiled import compiled
from contacts.histories import AT, BEFORE, END, IS_CLOSED, IS_IN, MARK, NONE, NUMBER, OFFSET, REASON_SHIFT, SPOT
from contacts.texts import AHEAD, Bytes, Ints32
from contacts.visits import DAY_MS
from schemas.blocks import ASSUMED, CHECKED_OUT, LATE, NEXT_CHECK_IN, SCANNED_AGAIN, TOUCHES

VENUE, ASSUMED_MS, LONGEST_MS, TARGET, FIRST_UP, LAST_UP = range(6)
"""The columns of `places`: venue, stays in ms, partition of `visits`, and where its ancestors stand in `above`."""

ROW_SPOT, ROW_PERSON, ROW_WIDTH = 5, 12, 13
"""A row here is one of schemas.blocks.VISIT_COLUMNS with the place for its lineage, and the person behind it."""

HELD, ROWS, LATES, ORPHANS, DUPLICATES, TOUCHED = range(6)
"""What `progress` counts: scans held and rows made; late scans, orphans, duplicates. (TOUCHED says nothing: with it no
compiler can leave out the fetching of memory ahead.)"""

OFFSET_IN, NUMBER_IN, PERSON_IN, SPOT_IN, AT_IN = range(5)
"""The columns of the scans that come, int64."""


@compiled
def take_scans(
    scans: Ints, ins: Bools, late: Bools, first: int, last: Ints32, held: Ints32, wide: Ints, narrow: Ints32,
    places: Ints, above: Ints, names: Bytes, begins: Ints, rows: Ints, progress: Ints,
) -> int:  # fmt: skip
    """Take in the scans from `first` on; returns the first for whose rows there is no room.

    `last`, `held`, `wide`, `narrow` are those of contacts.histories and have room for all; `places` and `above` are
    what the spots are; venues' names are in `names` and `begins`.
    """
    touched = 0
    for scan in range(first, len(scans)):
        if scan % AHEAD == 0:  # a short loop for each, so that many are under way at once
            stop = min(scan + AHEAD, len(scans))
            for ahead in range(scan, stop):
                touched |= last[scans[ahead, PERSON_IN]] | held[scans[ahead, PERSON_IN]]
            for ahead in range(scan, stop):
                latest = max(last[scans[ahead, PERSON_IN]], 0)
                touched |= narrow[latest, MARK] | wide[latest, END]
            for ahead in range(scan, stop):
                latest = last[scans[ahead, PERSON_IN]]
                earlier = narrow[latest, BEFORE] if latest != NONE else NONE
                if earlier != NONE:
                    touched |= narrow[earlier, MARK] | wide[earlier, END]
        offset, number, person = scans[scan, OFFSET_IN], scans[scan, NUMBER_IN], scans[scan, PERSON_IN]
        spot, at = scans[scan, SPOT_IN], scans[scan, AT_IN]
        if progress[ROWS] + held[person] + 2 > len(rows):
            return scan
        new = progress[HELD]
        wide[new, AT], wide[new, END], wide[new, OFFSET] = at, at, offset
        narrow[new, NUMBER], narrow[new, SPOT] = number, spot
        narrow[new, MARK] = IS_IN | ASSUMED << REASON_SHIFT if ins[scan] else ASSUMED << REASON_SHIFT
        if late[scan]:  # it stands alone and is not kept
            progress[LATES] += 1
            if ins[scan]:
                _end(new, at + places[spot, ASSUMED_MS], LATE, wide, narrow)
                _tell(new, 0, person, new, at, LATE, TOUCHES, wide, narrow, rows, progress)
            continue
        latest = last[person] + 0  # 64 bits wide: functions are compiled for each width they are given
        if latest != NONE and at <= wide[latest, AT]:
            _put_in_place(new, person, last, held, wide, narrow, places, above, names, begins, rows, progress)
            continue
        if ins[scan]:
            _check_in(new, person, latest, wide, narrow, places, above, rows, progress)
        else:
            _check_out(new, person, latest, wide, narrow, places, above, rows, progress)
        narrow[new, BEFORE] = latest
        last[person] = new
        held[person] += 1
        progress[HELD] += 1
    progress[TOUCHED] = touched
    return len(scans)


@compiled
def _check_in(
    new: int, person: int, latest: int, wide: Ints, narrow: Ints32,
    places: Ints, above: Ints, rows: Ints, progress: Ints,
) -> None:  # fmt: skip
    """A check-in later than all: close what is current, and begin a visit."""
    at, spot = wide[new, AT], narrow[new, SPOT]
    venue = places[spot, VENUE]
    change = touching = 0
    scan = latest
    while scan != NONE and wide[scan, AT] + DAY_MS >= at:
        if narrow[scan, MARK] & IS_IN:
            where = narrow[scan, SPOT]
            same = places[where, VENUE] == venue
            current = narrow[scan, MARK] & IS_CLOSED == 0 and at < wide[scan, AT] + places[where, LONGEST_MS]
            if current and not _is_above(places[where, VENUE], spot, places, above):
                old_end, old_reason = wide[scan, END], narrow[scan, MARK] >> REASON_SHIFT
                narrow[scan, MARK] |= IS_CLOSED
                if at < old_end:
                    _end(scan, at, SCANNED_AGAIN if same else NEXT_CHECK_IN, wide, narrow)
                    met = TOUCHES if same else _met(latest, scan, old_end, wide, narrow, places)
                    _tell(new, change, person, scan, old_end, old_reason, met, wide, narrow, rows, progress)
                    change += 1
            if same and wide[scan, END] >= at:
                touching = TOUCHES
        scan = int(narrow[scan, BEFORE])
    wide[new, END] = at + places[spot, ASSUMED_MS]
    _tell(new, change, person, new, at, ASSUMED, touching, wide, narrow, rows, progress)


@compiled
def _check_out(
    new: int, person: int, latest: int, wide: Ints, narrow: Ints32,
    places: Ints, above: Ints, rows: Ints, progress: Ints,
) -> None:  # fmt: skip
    """A check-out later than all: end what is current at the venue or within it."""
    at, venue = wide[new, AT], places[narrow[new, SPOT], VENUE]
    change = 0
    scan = latest
    while scan != NONE and wide[scan, AT] + DAY_MS >= at:
        where = narrow[scan, SPOT]
        is_open = narrow[scan, MARK] & (IS_IN | IS_CLOSED) == IS_IN
        current = is_open and at < wide[scan, AT] + places[where, LONGEST_MS]
        if current and (places[where, VENUE] == venue or _is_above(venue, where, places, above)):
            old_end, old_reason = wide[scan, END], narrow[scan, MARK] >> REASON_SHIFT
            _end(scan, at, CHECKED_OUT, wide, narrow)
            narrow[scan, MARK] |= IS_CLOSED
            met = _met(latest, scan, old_end, wide, narrow, places)
            _tell(new, change, person, scan, old_end, old_reason, met, wide, narrow, rows, progress)
            change += 1
        scan = int(narrow[scan, BEFORE])
    if change == 0:
        progress[ORPHANS] += 1


@compiled
def _put_in_place(
    new: int, person: int, last: Ints32, held: Ints32, wide: Ints, narrow: Ints32,
    places: Ints, above: Ints, names: Bytes, begins: Ints, rows: Ints, progress: Ints,
) -> None:  # fmt: skip
    """A scan that is not later than the person's last: put it in its place and settle all of them anew."""
    at, is_in, venue = wide[new, AT], narrow[new, MARK] & IS_IN, places[narrow[new, SPOT], VENUE]
    after = NONE
    scan = int(last[person])
    while scan != NONE and wide[scan, AT] >= at:
        if wide[scan, AT] == at:
            other_in, other = narrow[scan, MARK] & IS_IN, places[narrow[scan, SPOT], VENUE]
            if other_in == is_in and other == venue:
                progress[DUPLICATES] += 1
                return
            if other_in < is_in or (other_in == is_in and _comes_first(other, venue, names, begins)):
                break
        after = scan
        scan = int(narrow[scan, BEFORE])
    narrow[new, BEFORE] = scan
    if after == NONE:
        last[person] = new
    else:
        narrow[after, BEFORE] = new
    held[person] += 1
    progress[HELD] += 1
    _settle(new, person, last[person], held[person], wide, narrow, places, above, rows, progress)


@compiled
def _settle(
    new: int, person: int, latest: int, count: int, wide: Ints, narrow: Ints32,
    places: Ints, above: Ints, rows: Ints, progress: Ints,
) -> None:  # fmt: skip
    """Settle every visit of a person anew, and tell what moved: `settle` of contacts/visits.py."""
    line = np.empty(count, np.int64)  # the scans in their order
    scan = latest
    for place in range(count - 1, -1, -1):
        line[place] = scan
        scan = int(narrow[scan, BEFORE])
    old_end, old_reason = np.empty(count, np.int64), np.empty(count, np.int64)
    for place in range(count):
        old_end[place], old_reason[place] = wide[line[place], END], narrow[line[place], MARK] >> REASON_SHIFT
    current = np.empty(count, np.int64)  # open visits, as places in the line
    opened = 0
    for place in range(count):
        scan, at, spot = line[place], wide[line[place], AT], narrow[line[place], SPOT]
        still = 0
        for each in range(opened):
            begun = line[current[each]]
            where = narrow[begun, SPOT]
            same = places[where, VENUE] == places[spot, VENUE]
            if at >= wide[begun, AT] + places[where, LONGEST_MS]:
                continue
            if narrow[scan, MARK] & IS_IN == 0:
                if same or _is_above(places[spot, VENUE], where, places, above):
                    _end(begun, at, CHECKED_OUT, wide, narrow)
                    narrow[begun, MARK] |= IS_CLOSED
                    continue
            elif not _is_above(places[where, VENUE], spot, places, above):
                if at < wide[begun, END]:
                    _end(begun, at, SCANNED_AGAIN if same else NEXT_CHECK_IN, wide, narrow)
                narrow[begun, MARK] |= IS_CLOSED
                continue
            current[still] = current[each]
            still += 1
        opened = still
        if narrow[scan, MARK] & IS_IN:
            wide[scan, END] = at + places[spot, ASSUMED_MS]
            narrow[scan, MARK] = IS_IN | ASSUMED << REASON_SHIFT
            current[opened] = place
            opened += 1
    change, told = 0, False
    for place in range(count):
        scan = line[place]
        if wide[scan, END] != old_end[place] or narrow[scan, MARK] >> REASON_SHIFT != old_reason[place]:
            met = _met_any(place, line, old_end, wide, narrow, places)
            _tell(new, change, person, scan, old_end[place], old_reason[place], met, wide, narrow, rows, progress)
            change += 1
            told = told or scan == new
    if narrow[new, MARK] & IS_IN and not told:  # closed by an equal time: born with no length
        _tell(new, change, person, new, wide[new, AT], ASSUMED, TOUCHES, wide, narrow, rows, progress)


@compiled
def _is_above(venue: int, spot: int, places: Ints, above: Ints) -> bool:
    """Whether a venue is among what a place lies within."""
    for place in range(places[spot, FIRST_UP], places[spot, LAST_UP]):  # noqa: SIM110 - `any` is not compiled
        if above[place] == venue:
            return True
    return False


@compiled
def _comes_first(one: int, other: int, names: Bytes, begins: Ints) -> bool:
    """Whether venue `one` comes before venue `other` by name."""
    a, b = begins[one], begins[other]
    while a < begins[one + 1] and b < begins[other + 1]:
        if names[a] != names[b]:
            return bool(names[a] < names[b])
        a += 1
        b += 1
    return bool(b < begins[other + 1])


@compiled
def _end(scan: int, at: int, reason: int, wide: Ints, narrow: Ints32) -> None:
    """The visit that a scan began ends at `at`."""
    wide[scan, END] = at
    narrow[scan, MARK] = narrow[scan, MARK] & (IS_IN | IS_CLOSED) | reason << REASON_SHIFT


@compiled
def _met(latest: int, scan: int, old_end: int, wide: Ints, narrow: Ints32, places: Ints) -> int:
    """TOUCHES where another visit of this person at this venue meets the old or the new stay."""
    venue, start, end = places[narrow[scan, SPOT], VENUE], wide[scan, AT], max(wide[scan, END], old_end)
    other = latest
    while other != NONE:
        if (
            other != scan
            and narrow[other, MARK] & IS_IN
            and wide[other, AT] <= end
            and wide[other, END] >= start
            and places[narrow[other, SPOT], VENUE] == venue
        ):
            return TOUCHES
        other = narrow[other, BEFORE]
    return 0


@compiled
def _met_any(place: int, line: Ints, old_end: Ints, wide: Ints, narrow: Ints32, places: Ints) -> int:
    """The same where the others have moved as well: each with its old and its new stay."""
    scan = line[place]
    venue, start, end = places[narrow[scan, SPOT], VENUE], wide[scan, AT], max(wide[scan, END], old_end[place])
    for each in range(len(line)):
        other = line[each]
        if (
            other != scan
            and narrow[other, MARK] & IS_IN
            and wide[other, AT] <= end
            and max(wide[other, END], old_end[each]) >= start
            and places[narrow[other, SPOT], VENUE] == venue
        ):
            return TOUCHES
    return 0


@compiled
def _tell(
    cause: int, change: int, person: int, scan: int, old_end: int, old_reason: int, flags: int,
    wide: Ints, narrow: Ints32, rows: Ints, progress: Ints,
) -> None:  # fmt: skip
    """A row: what the scan `cause` made of the visit that `scan` began."""
    row = progress[ROWS]
    rows[row, 0], rows[row, 1], rows[row, 2] = wide[cause, OFFSET], narrow[cause, NUMBER], change
    rows[row, 3], rows[row, 4], rows[row, 5] = wide[scan, OFFSET], narrow[scan, NUMBER], narrow[scan, SPOT]
    rows[row, 6], rows[row, 7], rows[row, 8] = wide[scan, AT], wide[scan, END], old_end
    rows[row, 9], rows[row, 10], rows[row, 11] = narrow[scan, MARK] >> REASON_SHIFT, old_reason, flags
    rows[row, ROW_PERSON] = person
    progress[ROWS] += 1


@compiled
def split_rows(
    rows: Ints, places: Ints, sorted_rows: Ints, persons: Ints, lineage_of: Ints32, lineages: Ints, counts: Ints
) -> int:  # fmt: skip
    """Rows by the partition of their places, lineages numbered by first use in each; `counts[t] = (rows, lineages)`.

    `sorted_rows` and `persons` have one entry a row, each partition's together in the order they were made. Returns
    how many `lineages` there are: spots in order of first use. `lineage_of` (one a spot) is NONE before and after.
    """
    used = 0
    for row in range(len(rows)):
        counts[places[rows[row, ROW_SPOT], TARGET], 0] += 1
    place = np.zeros(len(counts), np.int64)
    for target in range(1, len(counts)):
        place[target] = place[target - 1] + counts[target - 1, 0]
    for row in range(len(rows)):
        spot = rows[row, ROW_SPOT]
        target = places[spot, TARGET]
        if lineage_of[spot] == NONE:
            lineage_of[spot] = counts[target, 1]
            counts[target, 1] += 1
            lineages[used] = spot
            used += 1
        to = place[target]
        place[target] += 1
        for column in range(ROW_PERSON):
            sorted_rows[to, column] = rows[row, column]
        sorted_rows[to, ROW_SPOT] = lineage_of[spot]
        persons[to] = rows[row, ROW_PERSON]
    for row in range(len(rows)):
        lineage_of[rows[row, ROW_SPOT]] = NONE
    return used

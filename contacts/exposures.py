"""Exposures: meetings with names and categories, and which of them count under a profile."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import cramjam
import numpy as np

from contacts.air import Air
from contacts.columns import Bools, Ints, ints, numbered
from contacts.index import VisitIndex
from contacts.meetings import Meetings, meetings
from contacts.profiles import Profile
from contacts.pseudonyms import People, Pseudonyms, chosen, texts_of
from contacts.rules.clea import risk_of_slot
from contacts.spans import DAY_MS, most_in_a_day
from contacts.stays import shared_stay
from schemas.bounds import DERIVED_MOST
from schemas.inflating import ZSTD, inflate
from schemas.messages import MEETING_COLUMNS, Direction, MeetingRows, SharedStay

_MINUTE_MS = 60_000
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ROWS_BYTES_MOST = 16 << 20  # of the meetings in one answer: ten times what a record of ours holds


class Found(NamedTuple):
    """Meetings with the category of each venue at its time: `category` indexes `categories`."""

    met: Meetings
    category: Ints
    categories: list[str]

    def of(self, chosen: Ints | Bools) -> Found:
        """The chosen rows; not copied where all of them are."""
        if chosen.dtype == np.bool_ and chosen.all():
            return self
        return Found(self.met.of(chosen), self.category[chosen], self.categories)


class Named(NamedTuple):
    """Found by name: `other` and `venue` of the meetings index `people` and `venues`."""

    found: Found
    people: People
    venues: list[str]


class Question(NamedTuple):
    """Whom did these persons meet, each in `[since, until)` of their own (ms), by what was known at `as_of_ms`?

    `linger` says how long the air stays infectious: a profile's `air`, or ms. What shares less than `least_ms` is left
    out.
    """

    persons: Sequence[str]
    since: Ints
    until: Ints
    as_of_ms: int | None = None
    linger: Air | int = 0
    direction: Direction = "forward"
    least_ms: int = 0


def answered(
    index: VisitIndex, question: Question, category: Callable[[str, int], str], dated: Collection[str]
) -> Named:
    """The answer from one index. `dated` venues have a category that depends on the date."""
    persons, since, until, as_of_ms, linger, direction, least_ms = question
    numbers = index.people.find(persons)
    known = np.flatnonzero(numbers >= 0)
    asked = numbers[known], since[known], until[known]
    met = meetings(index, *asked, as_of_ms, linger, direction, least_ms)
    other, others = numbered(met.other)
    venue, places = numbered(met.venue)
    names = index.lineages.venues.of(venue)
    codes: dict[str, int] = {}
    code = ints([codes.setdefault(category(name, 0), len(codes)) for name in names])[places]
    for place, name in enumerate(names):
        if name in dated:
            for row in np.flatnonzero(places == place).tolist():
                code[row] = codes.setdefault(category(name, int(met.start[row])), len(codes))
    found = Found(met._replace(exposer=known[met.exposer], other=others, venue=places), code, list(codes))
    return Named(found, index.people.persons(other), names)


def merged(parts: Sequence[Named], people: Sequence[Ints], venues: Sequence[Ints]) -> Found:
    """What several partitions found, as one: `other` and `venue` are the numbers that are given for each part's."""
    categories = sorted(set().union(*(part.found.categories for part in parts)))
    codes = {name: number for number, name in enumerate(categories)}
    met, category = [], [ints([])]
    for part, others, places in zip(parts, people, venues, strict=True):
        rows = part.found.met
        met.append(rows._replace(other=others[rows.other], venue=places[rows.venue]))
        category.append(ints([codes[name] for name in part.found.categories])[part.found.category])
    return Found(Meetings.together(met), np.concatenate(category), categories)


def packed(part: Named, most: int) -> list[MeetingRows]:
    """Meetings as they travel, at most so many in one; one that is empty where there are none."""
    count = len(part.found.category)
    return [_packed(part, slice(first, first + most)) for first in range(0, max(count, 1), most)]


def _packed(part: Named, rows: slice) -> MeetingRows:
    met = Meetings._make(column[rows] for column in part.found.met)
    other, others = numbered(met.other)
    venue, venues = numbered(met.venue)
    columns = np.stack((met.exposer, others, venues, part.found.category[rows], *met[3:9], met.marks))
    people = chosen(part.people, other)
    key_id, data = (people.key_id, people.data()) if isinstance(people, Pseudonyms) else ("", b"")
    return MeetingRows(
        people=tuple(people) if isinstance(people, list) else (),
        key_id=key_id,
        pseudonyms=data,
        venues=tuple(part.venues[number] for number in venue.tolist()),
        categories=tuple(part.found.categories),
        columns=bytes(cramjam.zstd.compress(columns.astype("<i8").tobytes(), 1)) if columns.size else b"",
    )


def unpacked(rows: MeetingRows) -> Named:
    """Meetings that have travelled. Raises ValueError for what `packed` has not made."""
    data = _inflated(rows.columns or rows.rows)
    if len(data) % (8 * len(MEETING_COLUMNS)):
        raise ValueError("the meetings are cut short")
    people: People = list(rows.people)
    if rows.key_id or rows.pseudonyms:
        people = Pseudonyms.of_data(rows.key_id, rows.pseudonyms)
    values, width = np.frombuffer(data, "<i8"), len(MEETING_COLUMNS)
    columns = (values.reshape(width, -1) if rows.columns else values.reshape(-1, width).T).astype(np.int64, copy=False)
    for column, names in ((columns[1], people), (columns[2], rows.venues), (columns[3], rows.categories)):
        if len(column) and not (column.min() >= 0 and column.max() < len(names)):
            raise ValueError("the meetings name somebody or something that is not among their names")
    times = columns[4:10]
    if len(data) and not (times.min() >= -DERIVED_MOST and times.max() <= DERIVED_MOST and columns[0].min() >= 0):
        raise ValueError("the meetings hold a time that is no time")
    met = Meetings._make((*columns[:3], *columns[4:10], (columns[10] & 15).astype(np.uint8)))
    return Named(Found(met, columns[3], list(rows.categories)), people, list(rows.venues))


def _inflated(packed: bytes) -> bytes:
    """The bytes of meetings that have travelled, zstd or, of older workers, zlib. Raises ValueError."""
    unpacker = zlib.decompressobj()
    try:
        if packed.startswith(_ZSTD_MAGIC):
            return inflate(ZSTD, packed, _ROWS_BYTES_MOST)
        data = unpacker.decompress(packed, _ROWS_BYTES_MOST) if packed else b""
    except (ValueError, zlib.error) as error:
        raise ValueError(f"the meetings cannot be decompressed: {error}") from error
    if packed and not unpacker.eof:
        raise ValueError("the meetings are cut short, or more than an answer holds")
    return data


def stays_of(part: Named) -> list[tuple[str, SharedStay]]:
    """Meetings as evidence: the other person, and the shared stay with the venue's category; in no order."""
    met, category = part.found.met, part.found.category
    people = texts_of(part.people)
    rows = zip(category.tolist(), *(column.tolist() for column in met[1:]), strict=True)
    return [
        (people[other], shared_stay(part.venues[venue], *stay, category=part.found.categories[code]))
        for code, other, venue, *stay in rows
    ]


def may_expose(found: Found, profile: Profile, direction: Direction) -> Found:
    """What of one partition's meetings can count: with a minimum in one stay those that reach it, else all."""
    return found.of(_long_enough(found, profile, direction)) if profile.contact.per == "stay" else found


def exposing(found: Found, profile: Profile, direction: Direction) -> Found:
    """The meetings that count: in one stay those that reach the minimum, over 24 hours all of the pairs that do.

    All meetings of a pair must be there: a sum over 24 hours goes over all venues. A score by a case's dates plays no
    part: of those exposed nobody knows the dates.
    """
    if profile.contact.per == "stay":
        return found.of(_long_enough(found, profile, direction))
    met = found.met
    if not len(met.start):
        return found
    order = np.lexsort((met.start, met.other, met.exposer))
    exposer, other, start, end = (column[order] for column in (met.exposer, met.other, met.start, met.end))
    begins = np.concatenate(([True], (exposer[1:] != exposer[:-1]) | (other[1:] != other[:-1])))
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order))
    total = np.minimum(np.add.reduceat(end - start, first), DAY_MS)
    reach = np.fromiter((profile.enough(ms / _MINUTE_MS, "") for ms in total.tolist()), np.bool_, len(total))
    for pair in np.flatnonzero(reach & (last - first > 1)).tolist():
        rows = slice(first[pair], last[pair])
        spans = zip(start[rows].tolist(), end[rows].tolist(), strict=True)
        reach[pair] = profile.enough(most_in_a_day(spans) / _MINUTE_MS, "")
    return found.of(np.sort(order[reach[np.cumsum(begins) - 1]]))


def _long_enough(found: Found, profile: Profile, direction: Direction) -> Bools:
    """Whether each meeting reaches the minimum of one stay: a longer one does where a shorter one does."""
    start, end = found.met.start, found.met.end
    amount, unit = end - start, _MINUTE_MS
    if profile.contact.whole_minutes:
        pairs = zip(start.tolist(), end.tolist(), strict=True)
        amount, unit = np.fromiter((profile.minutes(*pair) for pair in pairs), np.int64, len(start)), 1
    amounts = range(int(amount.max(initial=0)) + 1)
    enough = np.zeros(len(amount), np.bool_)
    for code, name in enumerate(found.categories):
        if profile.slots and risk_of_slot(profile.slot_rule(name), direction, cases=1) is None:
            continue
        least = bisect_left(amounts, True, key=lambda each: profile.enough(each / unit, name))
        enough |= (found.category == code) & (amount >= least)
    return enough

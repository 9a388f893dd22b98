"""Exposures: meetings with names and categories, and which of them count under a profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from contacts.columns import Bools, Ints, distinct, ints
from contacts.matching import DAY_MS, most_in_a_day
from contacts.meetings import Meetings
from contacts.profiles import Profile

_MINUTE_MS = 60_000


class Found(NamedTuple):
    """Meetings with the category of each venue at its time: `category` indexes `categories`."""

    met: Meetings
    category: Ints
    categories: list[str]

    def of(self, chosen: Ints | Bools) -> Found:
        """The chosen rows."""
        return Found(self.met.of(chosen), self.category[chosen], self.categories)


class Named(NamedTuple):
    """Found by name: `other` and `venue` of the meetings index `people` and `venues`."""

    found: Found
    people: list[str]
    venues: list[str]


def named(
    met: Meetings,
    people: Sequence[str | None],
    venues: Sequence[str],
    category: Callable[[str, int], str],
    dated: Collection[str],
) -> Named:
    """Meetings as an index numbers them, by name. `dated` venues have a category that depends on the date."""
    other, others = np.unique(met.other, return_inverse=True)
    venue, places = np.unique(met.venue, return_inverse=True)
    names = [venues[number] for number in venue.tolist()]
    codes: dict[str, int] = {}
    code = ints([codes.setdefault(category(name, 0), len(codes)) for name in names])[places]
    for place, name in enumerate(names):
        if name in dated:
            for row in np.flatnonzero(places == place).tolist():
                code[row] = codes.setdefault(category(name, int(met.start[row])), len(codes))
    found = Found(met._replace(other=others, venue=places), code, list(codes))
    return Named(found, [people[number] or "" for number in other.tolist()], names)


def merged(parts: Sequence[Named]) -> Named:
    """What several partitions found, as one; names in order."""
    people = sorted({name for part in parts for name in part.people})
    venues = sorted({name for part in parts for name in part.venues})
    categories = sorted({name for part in parts for name in part.found.categories})
    met, category = [], [ints([])]
    for part in parts:
        other, venue, code = (
            ints([table[name] for name in names])
            for table, names in (
                (_numbers(people), part.people),
                (_numbers(venues), part.venues),
                (_numbers(categories), part.found.categories),
            )
        )
        rows = part.found.met
        met.append(rows._replace(other=other[rows.other], venue=venue[rows.venue]))
        category.append(code[part.found.category])
    return Named(Found(Meetings.together(met), np.concatenate(category), categories), people, venues)


def _numbers(names: list[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


class _Span(NamedTuple):
    start_ms: int
    end_ms: int


def may_expose(found: Found, profile: Profile) -> Found:
    """What of one partition's meetings can count: with a minimum in one stay those that reach it, else all."""
    return found.of(_long_enough(found, profile)) if profile.contact.per == "stay" else found


def exposing(found: Found, profile: Profile) -> Found:
    """The meetings that count: in one stay those that reach the minimum, over 24 hours all of the pairs that do.

    All meetings of a pair must be there: a sum over 24 hours goes over all venues.
    """
    if profile.contact.per == "stay":
        return found.of(_long_enough(found, profile))
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
        spans = [_Span(*span) for span in zip(start[rows].tolist(), end[rows].tolist(), strict=True)]
        reach[pair] = profile.enough(most_in_a_day(spans) / _MINUTE_MS, "")
    return found.of(np.sort(order[reach[np.cumsum(begins) - 1]]))


def _long_enough(found: Found, profile: Profile) -> Bools:
    """Whether each meeting reaches the minimum of one stay: a longer one does where a shorter one does."""
    shared = found.met.end - found.met.start
    enough = np.zeros(len(shared), np.bool_)
    for code, name in enumerate(found.categories):
        here = found.category == code
        lengths = distinct(shared[here])
        low, high = 0, len(lengths)
        while low < high:
            middle = (low + high) // 2
            if profile.enough(int(lengths[middle]) / _MINUTE_MS, name):
                high = middle
            else:
                low = middle + 1
        if low < len(lengths):
            enough |= here & (shared >= lengths[low])
    return enough

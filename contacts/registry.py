"""The registry of venues: what holds of a place at a time, and what it lies within."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from schemas.messages import Venue

_MINUTE_MS = 60_000
_NAME_LENGTH = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_name(text: str) -> bool:
    """Whether a text may name a person or a venue: not empty, at most 200 characters, none of them a control."""
    return 0 < len(text) <= _NAME_LENGTH and _CONTROL.search(text) is None


def are_names(texts: Collection[str]) -> bool:
    """Whether all texts may name persons or venues, asked of them together."""
    return all(texts) and max(map(len, texts), default=0) <= _NAME_LENGTH and _CONTROL.search("".join(texts)) is None


class RegistryError(ValueError):
    """A record that the registry refuses: another `within` than the venue's first, or a place within itself."""


class Place(NamedTuple):
    """A venue as a check-in finds it: its assumed and longest stay, and what it lies within, nearest first."""

    venue: str
    assumed_ms: int
    longest_ms: int
    ancestors: tuple[str, ...]


class _Stays(NamedTuple):
    limit_ms: int
    default: tuple[int, int]
    categories: dict[str, tuple[int, int]]


@cache
def _stays() -> _Stays:
    table = tomllib.loads(files("contacts.data").joinpath("stays.toml").read_text("utf-8"))
    default = table["default"]
    return _Stays(
        limit_ms=table["limits"]["longest_stay_minutes"] * _MINUTE_MS,
        default=(default["assumed_stay_minutes"] * _MINUTE_MS, default["longest_stay_minutes"] * _MINUTE_MS),
        categories={name: (a * _MINUTE_MS, b * _MINUTE_MS) for name, (a, b) in table["categories"].items()},
    )


def category_key(category: str) -> str:
    """A category's name as the data files write it: `Ferry terminal` is `ferry_terminal`."""
    return category.strip().lower().replace(" ", "_").replace("-", "_")


def stay_lengths(venue: Venue | None) -> tuple[int, int]:
    """Assumed and longest stay in ms: the venue's own, else its category's, else the default; never over a day.

    Where a venue states one of the two, the other's default gives way to it, so that assumed <= longest.
    Source: facts of the registry in docs/visits.md.
    """
    stays = _stays()
    if venue is None:
        return stays.default
    assumed, longest = stays.categories.get(category_key(venue.category), stays.default)
    if venue.longest_stay_minutes is not None:
        longest = round(venue.longest_stay_minutes * _MINUTE_MS)
        assumed = min(assumed, longest)
    if venue.assumed_stay_minutes is not None:
        assumed = round(venue.assumed_stay_minutes * _MINUTE_MS)
        longest = max(longest, assumed)
    longest = min(longest, stays.limit_ms)
    return min(assumed, longest), longest


class Registry:
    """Dated records of venues. A venue without a record has the defaults and no parent."""

    def __init__(self) -> None:
        self._records: dict[str, list[Venue]] = {}

    def add(self, venue: Venue) -> bool:
        """Take in a record; True when it changes anything. Raises RegistryError and changes nothing otherwise."""
        self.check(venue)
        records = self._records.setdefault(venue.venue, [])
        place = bisect_right(records, venue.valid_from_ms, key=lambda record: record.valid_from_ms)
        if place and records[place - 1].valid_from_ms == venue.valid_from_ms:
            if records[place - 1] == venue:
                return False
            records[place - 1] = venue
        else:
            records.insert(place, venue)
        return True

    def check(self, venue: Venue) -> None:
        """Raises RegistryError when the record would move a venue, put it within itself, or has impossible numbers."""
        if not is_name(venue.venue):
            raise RegistryError("a venue needs an id of at most 200 characters, none of them a control character")
        for name in ("assumed_stay_minutes", "longest_stay_minutes", "capacity", "area_m2"):
            number = getattr(venue, name)
            if number is not None and not 0 <= number < 1e9:
                raise RegistryError(f"{name} of venue {venue.venue!r} is {number}: it must not be negative")
        records = self._records.get(venue.venue)
        if records:
            if records[0].within != venue.within:
                raise RegistryError(
                    f"venue {venue.venue!r} lies within {_within(records[0])} for good; a record that says "
                    f"{_within(venue)} is refused: register it under a new id"
                )
        elif venue.within == venue.venue or (venue.within and venue.venue in self.ancestors(venue.within)):
            raise RegistryError(f"venue {venue.venue!r} would lie within itself by way of {venue.within!r}")

    def ancestors(self, venue_id: str) -> tuple[str, ...]:
        """What the venue lies within, nearest first."""
        found: list[str] = []
        parent = self._within(venue_id)
        while parent is not None:
            found.append(parent)
            parent = self._within(parent)
        return tuple(found)

    def _within(self, venue_id: str) -> str | None:
        records = self._records.get(venue_id)
        return (records[0].within or None) if records else None

    def outermost(self, venue_id: str) -> str:
        """The place that the venue lies within and that lies within none: its key on `visits`."""
        ancestors = self.ancestors(venue_id)
        return ancestors[-1] if ancestors else venue_id

    def record(self, venue_id: str, at_ms: int) -> Venue | None:
        """The record in force at a time: the latest valid by then, before the first of them the first."""
        records = self._records.get(venue_id)
        if not records:
            return None
        place = bisect_right(records, at_ms, key=lambda record: record.valid_from_ms)
        return records[max(place - 1, 0)]

    def place(self, venue_id: str, at_ms: int) -> Place:
        """The venue as a check-in at `at_ms` finds it."""
        assumed, longest = stay_lengths(self.record(venue_id, at_ms))
        return Place(venue_id, assumed, longest, self.ancestors(venue_id))

    def dated(self, venue_id: str) -> bool:
        """Whether the venue's properties depend on the date."""
        return len(self._records.get(venue_id, ())) > 1

    def category(self, venue_id: str, at_ms: int) -> str:
        """The venue's category at a time, as the data files write it; `other` when unknown."""
        record = self.record(venue_id, at_ms)
        return category_key(record.category) if record else "other"

    def capacity(self, venue_id: str, at_ms: int) -> int | None:
        """How many people the venue holds, if that is known."""
        record = self.record(venue_id, at_ms)
        return record.capacity if record else None

    def known(self, venue_id: str) -> bool:
        """Whether the venue has a record."""
        return venue_id in self._records

    def records(self, venue_id: str) -> tuple[Venue, ...]:
        """A venue's records, in order of their dates."""
        return tuple(self._records.get(venue_id, ()))

    def names(self) -> list[str]:
        """The ids of all venues that have a record, sorted."""
        return sorted(self._records)

    def venues(self) -> Iterator[Venue]:
        """All records, each venue's in order of their dates."""
        for records in self._records.values():
            yield from records


def _within(venue: Venue) -> str:
    return "nothing" if venue.within is None else repr(venue.within)

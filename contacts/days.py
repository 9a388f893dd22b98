"""Days of a zone: where they begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from contacts.columns import Ints, ints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def midnight_ms(at_ms: int, zone: ZoneInfo) -> int:
    """The start of the day that a time is in."""
    day = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)
    return round(day.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp() * 1000)


def midnights(first_ms: int, last_ms: int, zone: ZoneInfo) -> Ints:
    """The starts of all days that times from `first_ms` to `last_ms` are in, in order."""
    found = [midnight_ms(first_ms, zone)]
    while (following := midnight_ms(found[-1] + 36 * 3_600_000, zone)) <= last_ms:
        found.append(following)
    return ints(found)

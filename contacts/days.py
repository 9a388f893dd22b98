"""Days of a zone: where they begin."""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from contacts.columns import Ints, ints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS: Final = 86_400_000
_TABLE: Final = (1_577_836_800_000, 2_208_988_800_000)  # 2020 to 2040: what is looked up often
_MONTH_DAYS: Final = 30  # where there is no calendar
_MOST_KEPT: Final = 4096


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


class Days:
    """The days of a zone, quick to ask: a table of twenty years of midnights, worked out for times outside of it."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._starts: list[int] = midnights(*_TABLE, zone).tolist()
        self._months: dict[tuple[int, int], int] = {}

    def begin(self, at_ms: int, days: int = 0) -> int:
        """The start of the day so many days after the one that a time is in.

        Beyond the years 1 to 9999, which only a mistake can mean, days are those of UTC.
        """
        starts = self._starts
        place = bisect_right(starts, at_ms) - 1 + days
        if starts[0] <= at_ms < starts[-1] and 0 <= place < len(starts):
            return starts[place]
        try:
            day = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self.zone).date() + timedelta(days=days)
            return _start(datetime(day.year, day.month, day.day, tzinfo=self.zone))
        except (OverflowError, ValueError):
            return at_ms - at_ms % _DAY_MS + days * _DAY_MS

    def months_later(self, at_ms: int, months: int) -> int:
        """The start of the day so many months after the one that a time is in, or of the last of that month."""
        asked = self.begin(at_ms), months
        found = self._months.get(asked)
        if found is None:
            if len(self._months) >= _MOST_KEPT:
                self._months.clear()
            found = self._months[asked] = self._later(*asked)
        return found

    def _later(self, at_ms: int, months: int) -> int:
        try:
            day = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self.zone)
            year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
            number = min(day.day, monthrange(year, month + 1)[1])  # 30 November and 3 months: 28 February
            return _start(datetime(year, month + 1, number, tzinfo=self.zone))
        except (OverflowError, ValueError):
            return at_ms + months * _MONTH_DAYS * _DAY_MS


def _start(midnight: datetime) -> int:
    return round(midnight.timestamp() * 1000)


@lru_cache(maxsize=16)
def days_of(zone: ZoneInfo) -> Days:
    """The days of a zone; worked out once."""
    return Days(zone)

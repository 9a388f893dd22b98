"""Times in files: RFC 3339 with an offset, or integer milliseconds since the epoch; and plain dates, days of a zone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.bounds import TIME_MOST

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
FIRST_MS = -TIME_MOST
LAST_MS = TIME_MOST
"""What messages take: dates of the years 1692 to 2247, and a little more."""
_PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_time(text: str) -> int:
    """A time in ms, fractions of a millisecond cut off. Raises ValueError with a sentence."""
    try:
        moment = datetime.fromisoformat(text)
        at_ms = (moment - _EPOCH) // _MS
    except (ValueError, TypeError):
        at_ms = _unusual(text)
    if not FIRST_MS <= at_ms < LAST_MS:
        raise ValueError(f"the time {text.strip()[:40]!r} is outside the years 1692 to 2247")
    return at_ms


@lru_cache(maxsize=4096)
def parse_day(text: str, zone: ZoneInfo) -> tuple[int, int] | None:
    """When a plain date such as 2021-10-21 begins and ends in a zone, ms; None where the text is not of that form.

    Raises ValueError with a sentence.
    """
    text = text.strip()
    if not _PLAIN_DATE.fullmatch(text):
        return None
    try:
        day = date.fromisoformat(text)
        start, end = ((datetime.combine(each, time(), zone) - _EPOCH) // _MS for each in (day, day + timedelta(days=1)))
    except (ValueError, OverflowError):
        raise ValueError(f"there is no date {text}") from None
    if not FIRST_MS <= start < end < LAST_MS:
        raise ValueError(f"the date {text} is outside the years 1692 to 2247")
    return start, end


def _unusual(text: str) -> int:
    """Integer milliseconds, or a time with blanks around it or a small `t` or `z`."""
    text = text.strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return int(text)
    if not text:
        raise ValueError("the time is missing")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time: write RFC 3339 with an offset, or integer milliseconds") from None
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset: write 2021-10-21T08:00:00+07:00, or ...Z")
    return (moment - _EPOCH) // _MS


def format_time(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    minute, rest = divmod(at_ms, 60_000)
    second, milli = divmod(rest, 1000)
    return f"{_minute(minute)}{second:02d}.{milli:03d}Z"


@lru_cache(maxsize=65_536)
def _minute(number: int) -> str:
    return (_EPOCH + timedelta(minutes=number)).isoformat(timespec="minutes")[:-6] + ":"

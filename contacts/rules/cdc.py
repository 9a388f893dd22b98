"""CDC's close contact of 21 October 2020: 15 minutes in all, over any 24 hours.

The 24 hours are any, not a calendar day, and begin or end where they hold the most. The time counts once, wherever it
was spent: spans that overlap are one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from contacts.profiles import Profile, load_profiles
from contacts.spans import Span, most_in_a_day

_MINUTE_MS = 60_000


@cache
def published() -> Profile:
    """The profile with the published numbers."""
    return load_profiles()["cdc"]


def most_minutes(spans: Iterable[Span]) -> float:
    """The most minutes together in any 24 hours; spans are `(start, end)` in ms."""
    return most_in_a_day(spans) / _MINUTE_MS


def is_contact(spans: Iterable[Span]) -> bool:
    """Whether two people who were together in these spans are close contacts."""
    return published().enough(most_minutes(spans), "")

"""Measles: whoever breathes the same air while the case is there, or within two hours after, is exposed.

There is no minimum: a moment is enough.
"""

from __future__ import annotations

from functools import cache

from contacts.profiles import Profile, load_profiles
from contacts.spans import Span


@cache
def published() -> Profile:
    """The profile with the published numbers."""
    return load_profiles()["measles"]


def infectious_until(end_ms: int) -> int:
    """Until when the air is infectious after the case has left, in ms."""
    return end_ms + published().linger_ms


def is_exposed(case: Span, other: Span) -> bool:
    """Whether a stay at the venue shares air with the case's; both `(start, end)` in ms."""
    return max(case[0], other[0]) < min(infectious_until(case[1]), other[1])

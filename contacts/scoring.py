"""Scores of time together: transmission levels by the day, and minutes rounded half up within days of UTC.

Made for Corona-Warn-App's presence tracing, whose days are those of UTC wherever the deployment is;
`contacts.rules.cwa` has each step as a function of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

import msgspec

DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_EXACT = 9  # decimals that a sum of tenths is right to

Level = Literal["low", "high"]


class Course(NamedTuple):
    """The dates of a case that levels are counted from, as dates of the deployment's zone."""

    onset: date | None
    specimen: date | None


class Score(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How minutes become a score. Levels are 1, 2, ... and `risk_values[level - 1]` is what a minute counts.

    `by_onset` are the levels of the days around the onset, the first of them `by_onset_from` days after it (negative:
    before). Without symptoms, and where nobody knows about symptoms, a level goes by the age of the check-in in days.
    A day without a level has the lowest.
    """

    risk_values: tuple[float, ...]
    low_above: float
    high_from: float
    days_back: int
    by_onset_from: int
    by_onset: tuple[int, ...]
    without_symptoms: tuple[int, ...]
    onset_unknown: tuple[int, ...]

    def level(self, day: date, course: Course) -> int:
        """The transmission level of a check-in that begins on a day of UTC; 0 for one after the specimen's day.

        With an onset the specimen's day does not matter; raises ValueError when neither is known.
        """
        if course.onset is not None:
            place = (day - course.onset).days - self.by_onset_from
            return self.by_onset[place] if 0 <= place < len(self.by_onset) else 1
        if course.specimen is None:
            raise ValueError("a level needs the onset's or the specimen's date")
        return level_by_age(self.without_symptoms, (course.specimen - day).days)

    def value(self, level: int) -> float:
        """What a minute counts at a level."""
        return self.risk_values[level - 1] if 1 <= level <= len(self.risk_values) else 0.0

    def wrong(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What types cannot say of it: where in the profile it is wrong, and how."""
        if not self.risk_values or min(self.risk_values) < 0:
            yield ("score", "risk_values"), "risk_values is a list of one number or more, none of them negative."
        if self.high_from <= self.low_above:
            yield ("score", "high_from"), "high_from must be above low_above."
        for name in ("by_onset", "without_symptoms", "onset_unknown"):
            if not all(1 <= level <= len(self.risk_values) for level in getattr(self, name)):
                yield ("score", name), f"{name} holds levels from 1 to {len(self.risk_values)}, one a risk value."

    def label(self, score: float) -> Level | None:
        """`low`, `high`, or None for what is no risk."""
        if score >= self.high_from:
            return "high"
        return "low" if score > self.low_above else None


def level_by_age(levels: tuple[int, ...], age_days: int) -> int:
    """The level of a check-in that is so many days old; the lowest past the list's end, 0 in the future."""
    if age_days < 0:
        return 0
    return levels[age_days] if age_days < len(levels) else 1


def half_up(shared_ms: int) -> int:
    """Whole minutes, half a minute rounded up (and not to the even one)."""
    return (shared_ms + _MINUTE_MS // 2) // _MINUTE_MS


def by_day(start_ms: int, end_ms: int) -> Iterator[tuple[date, int, int]]:
    """`[start, end)` split at midnight UTC: (day, start, end) of each part."""
    while start_ms < end_ms:
        until = min(end_ms, (start_ms // DAY_MS + 1) * DAY_MS)
        yield datetime.fromtimestamp(start_ms // 1000, UTC).date(), start_ms, until
        start_ms = until


def whole_minutes(start_ms: int, end_ms: int) -> int:
    """Minutes of `[start, end)`, rounded half up in each day of UTC."""
    return sum(half_up(end - start) for _, start, end in by_day(start_ms, end_ms))


def score_by_day(start_ms: int, end_ms: int, score: Score, course: Course) -> dict[date, float]:
    """What one shared stay counts in each day of UTC: value of the day's level times minutes."""
    return {
        day: round(score.value(score.level(day, course)) * half_up(end - start), _EXACT)
        for day, start, end in by_day(start_ms, end_ms)
    }


def total(days: dict[date, float]) -> float:
    """What all days of one shared stay count."""
    return round(sum(days.values()), _EXACT)


def sum_by_day(scores: Iterable[dict[date, float]]) -> dict[date, float]:
    """Scores of one person added up by day."""
    found: dict[date, float] = defaultdict(float)
    for each in scores:
        for day, score in each.items():
            found[day] = round(found[day] + score, _EXACT)
    return dict(found)

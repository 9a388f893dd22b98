"""Corona-Warn-App's presence tracing: warnings made of a case's check-ins, and what a warning means to others.

Source: the app's technical specification of event registration and its open source (Apache-2.0) with the parameters of
2021, read for their facts; the numbers are in contacts/data/profiles/cwa.toml. Times are ms since the epoch; days are
days of UTC, whatever the deployment's zone. Steps 1 to 4 are the case's, 5 to 7 the other person's:

1. a check-in shorter than 10 minutes is dropped;
2. the infectious interval outlasts it by its own length, at most 30 minutes, and is aligned to 10 minutes;
3. it is split at midnight;
4. each part has a transmission level by its day; a level whose risk value is 0 is dropped;
5. only check-ins that ended less than 10 days before today are matched;
6. the minutes that a part and a check-in (split at midnight too) share are rounded half up;
7. risk value times minutes are summed per check-in and day, and per day: low above 0, high from 10.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple

from contacts.profiles import Profile, load_profiles
from contacts.scoring import Course, Level, Score, by_day, half_up, level_by_age

INTERVAL_MS = 600_000
"""The unit of the numbers in a warning: interval 0 begins at the epoch."""


class TraceWarning(NamedTuple):
    """One part of a case's infectious interval as it is published: `period` intervals from `start_interval`."""

    start_interval: int
    period: int
    level: int


class Overlap(NamedTuple):
    """Minutes that a check-in shares with a warning, on one day of UTC."""

    check_in: str
    day: date
    level: int
    minutes: int


@cache
def published() -> Profile:
    """The profile with the published numbers."""
    return load_profiles()["cwa"]


def _score(profile: Profile | None) -> Score:
    score = (profile or published()).score
    if score is None:
        raise ValueError("Corona-Warn-App's rule needs a profile with [score]")
    return score


def infectious_interval(start_ms: int, end_ms: int, profile: Profile | None = None) -> tuple[int, int] | None:
    """Steps 1 and 2: the infectious interval of a check-in, aligned; None where it is dropped.

    Its length is rounded to whole 10 minutes, half up. It begins at the interval in which the check-in begins, or, if
    more of the last interval is covered than of the first, it ends with the last.
    """
    return (profile or published()).air.interval(start_ms, end_ms)


def split_at_midnight(start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Step 3: `[start, end)` in parts of one day of UTC each."""
    return [(start, end) for _, start, end in by_day(start_ms, end_ms)]


def level_by_onset(days_after_onset: int, profile: Profile | None = None) -> int:
    """Step 4: the level of a check-in so many days after the onset (negative: before), whenever it is reported."""
    day = date(2021, 1, 1)
    return _score(profile).level(day + timedelta(days=days_after_onset), Course(day, None))


def level_without_symptoms(age_days: int, profile: Profile | None = None) -> int:
    """Step 4: the level of a check-in so many days old, of a case that has no symptoms."""
    return level_by_age(_score(profile).without_symptoms, age_days)


def level_onset_unknown(age_days: int, profile: Profile | None = None) -> int:
    """Step 4: the level of a check-in so many days old, of a case with symptoms and no known onset."""
    return level_by_age(_score(profile).onset_unknown, age_days)


def risk_value(level: int, profile: Profile | None = None) -> float:
    """Step 4: what a minute counts at a transmission level."""
    return _score(profile).value(level)


def warnings(start_ms: int, end_ms: int, course: Course, profile: Profile | None = None) -> list[TraceWarning]:
    """Steps 1 to 4: what is published of one check-in of a case."""
    interval = infectious_interval(start_ms, end_ms, profile)
    found = []
    for day, start, end in by_day(*interval) if interval else ():
        level = _score(profile).level(day, course)
        if risk_value(level, profile) > 0:
            found.append(TraceWarning(start // INTERVAL_MS, (end - start) // INTERVAL_MS, level))
    return found


def is_matched(end_ms: int, now_ms: int, profile: Profile | None = None) -> bool:
    """Step 5: whether a check-in is young enough to be matched: it ended on the tenth day before today or later."""
    today = datetime.fromtimestamp(now_ms // 1000, UTC).replace(hour=0, minute=0, second=0)
    return end_ms >= (today - timedelta(days=_score(profile).days_back)).timestamp() * 1000


def overlap_minutes(check_in_start_ms: int, check_in_end_ms: int, start_interval: int, period: int) -> int:
    """Step 6: the minutes that a check-in of one day and a warning share, rounded half up."""
    begin = max(check_in_start_ms, start_interval * INTERVAL_MS)
    until = min(check_in_end_ms, (start_interval + period) * INTERVAL_MS)
    return half_up(max(0, until - begin))


def overlaps(check_in: str, start_ms: int, end_ms: int, warned: Iterable[TraceWarning]) -> list[Overlap]:
    """Step 6: what a check-in shares with warnings for its venue, per day; what shares no time is left out."""
    found = []
    for warning in warned:
        for day, start, end in by_day(start_ms, end_ms):
            if (
                start < (warning.start_interval + warning.period) * INTERVAL_MS
                and end > warning.start_interval * INTERVAL_MS
            ):
                minutes = overlap_minutes(start, end, warning.start_interval, warning.period)
                found.append(Overlap(check_in, day, warning.level, minutes))
    return found


def score_per_check_in(found: Iterable[Overlap], profile: Profile | None = None) -> dict[tuple[str, date], float]:
    """Step 7: the score of each check-in on each day."""
    scores: dict[tuple[str, date], float] = defaultdict(float)
    for each in found:
        key = each.check_in, each.day
        scores[key] = round(scores[key] + risk_value(each.level, profile) * each.minutes, 9)
    return dict(scores)


def score_per_day(found: Iterable[Overlap], profile: Profile | None = None) -> dict[date, float]:
    """Step 7: the score of each day, over all check-ins."""
    days: dict[date, float] = defaultdict(float)
    for (_, day), score in score_per_check_in(found, profile).items():
        days[day] = round(days[day] + score, 9)
    return dict(days)


def risk_level(score: float, profile: Profile | None = None) -> Level | None:
    """Step 7: `low`, `high`, or None for no risk; the same for a check-in and for a day."""
    return _score(profile).label(score)

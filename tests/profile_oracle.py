"""The oracle of profiles: their files read with tomllib, and every rule by brute force in the standard library alone.

It shares no code with what it judges. Times are milliseconds; scores are fractions, so that they are exact.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracle import DAY, MINUTE, Shared, VenueRecord, Visit, united

PROFILES = Path(__file__).parents[1] / "contacts" / "data" / "profiles"
JAKARTA = 7 * 60 * MINUTE

Table = dict[str, Any]


class Found(NamedTuple):
    """A contact: minutes, the rows (each with the minutes it counts as), and the score of a profile that scores."""

    minutes: float
    rows: list[tuple[Shared, float]]
    score: float | None
    level: str | None


def table(profile_id: str) -> Table:
    """A profile of Lacak as it is written."""
    return tomllib.loads((PROFILES / f"{profile_id}.toml").read_text("utf-8"))


def window(profile: Table, direction: str, onset: int | None, specimen: int | None) -> tuple[int, int]:
    """The case's window in Jakarta's days; `onset` and `specimen` are instants."""
    if direction == "forward":
        part = profile["infectious"]
        at, before, after = onset, part["days_before"], part["days_after"]
        if onset is None:
            at, before, after = (
                specimen,
                part["without_symptoms"]["days_before"],
                part["without_symptoms"]["days_after"],
            )
    else:
        part = profile["exposure"]
        at, before, after = onset, part["days_before"], part["days_after"]
        if onset is None:
            at, before, after = specimen, part["days_before_specimen"], -1
    assert at is not None
    midnight = (at + JAKARTA) // DAY * DAY - JAKARTA
    return midnight - before * DAY, midnight + (after + 1) * DAY


def interval(contact: Table, start: int, end: int) -> tuple[int, int] | None:
    """What a stay of the infectious one becomes: linger, then the grid."""
    if end - start < contact.get("shortest_stay_minutes", 0) * MINUTE:
        return None
    linger = contact.get("linger_minutes", 0) * MINUTE
    if contact.get("linger_at_most_stay"):
        linger = min(linger, end - start)
    until, grid = end + linger, contact.get("grid_minutes", 0) * MINUTE
    if not grid:
        return start, until
    slots = [at for at in range(start - start % grid - grid, until + 2 * grid, grid)]  # noqa: C416
    first = next(at for at in slots if at <= start < at + grid)
    last = next(at for at in slots if at <= until < at + grid)
    if contact.get("grid", "outward") == "outward":
        return first, last if last == until else last + grid
    steps = floor(Fraction(until - start, grid) + Fraction(1, 2))
    if until - last > first + grid - start:
        return last + grid - steps * grid, last + grid
    return first, first + steps * grid


def best(patterns: Iterable[str], category: str) -> str | None:
    """The most specific pattern that fits: named parts before stars before nothing, from the left."""
    names = category.split("/")
    fitting = []
    for pattern in patterns:
        parts = pattern.split("/")
        if all(part == "*" or names[place : place + 1] == [part] for place, part in enumerate(parts)):
            fitting.append(("".join("a" if part == "*" else "b" for part in parts), pattern))
    return max(fitting)[1] if fitting else None


def category(venue: str, at: int, venues: Sequence[VenueRecord]) -> str:
    """A venue's category at a time."""
    records = sorted((record for record in venues if record.venue == venue), key=lambda record: record.valid_from)
    return ([each for each in records if each.valid_from <= at] or records[:1])[-1].category if records else "other"


def minutes(contact: Table, start: int, end: int) -> float:
    """What a time together counts as: exact, or whole minutes of each day of UTC, half a minute up."""
    if not contact.get("whole_minutes"):
        return (end - start) / MINUTE
    return float(sum(floor(Fraction(b - a, MINUTE) + Fraction(1, 2)) for _, a, b in days(start, end)))


def days(start: int, end: int) -> list[tuple[int, int, int]]:
    """A time cut at every midnight of UTC: (day since the epoch, start, end)."""
    found = []
    for day in range(start // DAY, end // DAY + 1):
        a, b = max(start, day * DAY), min(end, (day + 1) * DAY)
        if a < b:
            found.append((day, a, b))
    return found


def shared(
    given: Iterable[Visit], profile: Table, person: str, frame: tuple[int, int], as_of: int | None, direction: str
) -> list[Shared]:
    """All pairs of stays at one venue where the other's time meets the infectious one's interval."""
    cut = [v._replace(end=min(v.end, as_of)) if as_of is not None else v for v in given]
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for visit in cut:
        if as_of is None or visit.start < as_of:
            spans.setdefault((visit.person, visit.venue), []).append((visit.start, visit.end))
    found = []
    for (who, venue), own in spans.items():
        for start, end in united(own) if who == person else []:
            a, b = max(start, frame[0]), min(end, frame[1])
            if a >= b:
                continue
            for (other, where), theirs in spans.items():
                for first, last in united(theirs) if other != person and where == venue else []:
                    if direction == "forward":
                        air, quiet = interval(profile["contact"], a, b), (first, last)
                    else:
                        air, quiet = interval(profile["contact"], first, last), (a, b)
                    if air and max(air[0], quiet[0]) < min(air[1], quiet[1]):
                        found.append(Shared(other, venue, max(air[0], quiet[0]), min(air[1], quiet[1])))
    return sorted(found)


def contacts(
    given: Iterable[Visit],
    profile: Table,
    person: str,
    frame: tuple[int, int],
    *,
    as_of: int | None = None,
    direction: str = "forward",
    venues: Sequence[VenueRecord] = (),
    onset: int | None = None,
    specimen: int | None = None,
) -> dict[str, Found]:
    """The contacts of a case under a profile. `onset` and `specimen` are instants, for a profile that scores."""
    rule = profile["contact"]
    rows = shared(given, profile, person, frame, as_of, direction)
    found = {}
    for other in sorted({row.person for row in rows}):
        own = [row for row in rows if row.person == other]
        score = None
        if rule["per"] == "24h":
            if not reached(rule, most_in_a_day(own)):
                continue
        else:
            own = [row for row in own if enough(rule, row, category(row.venue, row.start, venues))]
        if "slots" in profile:
            risks = {row: slot_risk(profile, category(row.venue, row.start, venues), direction) for row in own}
            own = [row for row in own if risks[row] is not None]
            score = max((float(risks[row] or 0) for row in own), default=None)
        level = None
        if "score" in profile and direction == "forward":
            own = [row for row in own if sum(scores(profile, row, onset, specimen).values()) > 0]
            sums: dict[int, Fraction] = {}
            for row in own:
                for day, each in scores(profile, row, onset, specimen).items():
                    sums[day] = sums.get(day, Fraction(0)) + each
            worst = max(sums.values(), default=Fraction(0))
            score, level = float(worst), "high" if worst >= profile["score"]["high_from"] else "low"
        if own:
            total = sum(minutes(rule, start, end) for start, end in united((row.start, row.end) for row in own))
            counted = [(row, minutes(rule, row.start, row.end)) for row in own]
            found[other] = Found(total, counted, score, level)
    return found


def reached(rule: Table, counted: float | Fraction) -> bool:
    """Whether that many minutes reach the minimum."""
    least = rule["minimum_minutes"]
    return bool(counted > least if rule["comparison"] == "more_than" else counted >= least)


def enough(rule: Table, row: Shared, kind: str) -> bool:
    """Whether a shared time reaches the minimum at a venue of this category."""
    counted = Fraction(minutes(rule, row.start, row.end))
    if best(rule.get("without_minimum", ()), kind) is not None:
        return counted > 0
    factors = rule.get("venue_factors", {})
    pattern = best(factors, kind)
    return reached(rule, counted if pattern is None else counted * Fraction(str(factors[pattern])))


def most_in_a_day(rows: Sequence[Shared]) -> Fraction:
    """The most minutes in any 24 hours: those are looked at that begin or end where a shared part does."""
    spans = united((row.start, row.end) for row in rows)
    edges = [edge for span in spans for edge in span]
    begins = edges + [edge - DAY for edge in edges]
    return max(Fraction(sum(max(0, min(e, at + DAY) - max(s, at)) for s, e in spans), MINUTE) for at in begins)


def slot_risk(profile: Table, kind: str, direction: str) -> float | None:
    """The risk of a slot that one case's visit touched."""
    pattern = best(profile["slots"], kind)
    if pattern is None or profile["slots"][pattern][f"{direction}_visits"] > 1:
        return None
    risk: float = profile["slots"][pattern][f"{direction}_risk"]
    return risk


def scores(profile: Table, row: Shared, onset: int | None, specimen: int | None) -> dict[int, Fraction]:
    """Day of UTC to score of one shared time. The case's dates are those of Jakarta's calendar."""
    score = profile["score"]
    found = {}
    for day, start, end in days(row.start, row.end):
        if onset is not None:
            place = day - (onset + JAKARTA) // DAY - score["by_onset_from"]
            level = score["by_onset"][place] if 0 <= place < len(score["by_onset"]) else 1
        else:
            assert specimen is not None
            age = (specimen + JAKARTA) // DAY - day
            listed = score["without_symptoms"]
            level = 0 if age < 0 else listed[age] if age < len(listed) else 1
        value = Fraction(str(score["risk_values"][level - 1])) if level else Fraction(0)
        found[day] = value * floor(Fraction(end - start, MINUTE) + Fraction(1, 2))
    return found

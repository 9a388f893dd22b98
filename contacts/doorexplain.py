"""Door rules in words: what a row asks, and why it is the one in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from contacts.doorrows import EntryRow, RoomRow, Row
from contacts.doorrules import DoorRules, Key, PlaceFacts, Ranked

_WHY: Final = (
    "it is about the route",
    "it names the category more exactly",
    "it names the region more exactly",
    "it names fewer levels",
    "it names fewer ages",
    "it began later",
    "its name comes last in the alphabet",
)
"""Why a row goes before another, by the place in their keys where they first differ (contacts.doorrules)."""


AnyRow = TypeVar("AnyRow", bound=Row)


class Standing(NamedTuple):
    """A row that matches, in its place: its name, and why it goes before the next (empty: there is none)."""

    name: str
    row: Row
    why: str


def standings(rules: DoorRules, ranked: Sequence[Ranked[AnyRow]]) -> list[Standing]:
    """The rows that match, the one that wins first, each with why it goes before the next."""
    reasons = [_why(first.key, after.key) for first, after in pairwise(ranked)]
    return [Standing(rules.name(row), row, why) for (row, _), why in zip(ranked, [*reasons, ""], strict=False)]


def _why(first: Key, after: Key) -> str:
    pairs = zip(_WHY, first, after, strict=True)
    return next(why for why, one, other in pairs if one != other)


def level_in_words(rules: DoorRules, place: PlaceFacts, at_ms: int, zone: ZoneInfo) -> str:
    """The level of a place on the day of a time."""
    level = rules.level(place, datetime.fromtimestamp(at_ms / 1000, zone).date())
    return "no level is known" if level is None else f"level {level}"


def asks(row: Row) -> Iterator[str]:
    """What a row asks or allows, sentence by sentence."""
    if isinstance(row, EntryRow):
        yield from _entry(row)
    elif isinstance(row, RoomRow):
        yield from _room(row)


def _entry(row: EntryRow) -> Iterator[str]:
    who = f"Of ages {_listed(row.ages, 'and')}: " if row.ages else ""
    if not row.colours and not row.checked:
        yield f"{who}nobody comes in."
        return
    come = f"{_listed(row.colours, 'and')} come in" if row.colours else ""
    look = f"{_listed(row.checked, 'and')} after the staff have looked at their papers" if row.checked else ""
    yield f"{who}{', '.join(filter(None, (come, look)))}; no other colour."
    if row.doses:
        yield f"At least {row.doses} dose{'s' if row.doses > 1 else ''}."
    if row.full:
        yield "A complete course of vaccination."
    if row.booster:
        yield "A booster."
    if row.negatives:
        tests = _listed(tuple(f"{test} within {hours} h" for test, hours in row.negatives.items()), "or")
        yield f"A negative test: {tests}."
    if row.escort:
        yield f"An adult who checks in with them, whose status is {_listed(row.escort, 'or')}."
    if row.papers and (row.doses or row.full or row.booster or row.negatives):
        yield "What the records lack of these may be shown on paper."


def _room(row: RoomRow) -> Iterator[str]:
    if row.percent is not None:
        yield f"{row.percent} % of the capacity."
    if row.most_people is not None:
        yield f"At most {row.most_people} people."
    if row.area_each_m2 is not None:
        yield f"{row.area_each_m2:g} m2 for each."
    if row.opens is not None and row.closes is not None:
        yield f"Open from {row.opens:%H:%M} to {row.closes:%H:%M}."
    if row.longest_stay_minutes is not None:
        yield f"Nobody stays longer than {row.longest_stay_minutes} minutes."


def short(row: Row) -> str:
    """What a row asks or allows, in a few characters: `green yellow, else papers: unknown; 1 dose; pcr 48 h`."""
    parts: list[str] = []
    if isinstance(row, EntryRow):
        parts.append(" ".join(row.colours) or ("" if row.checked else "nobody"))
        parts.append(f"papers: {' '.join(row.checked)}" if row.checked else "")
        parts.append(f"{row.doses} dose{'s' if row.doses > 1 else ''}" if row.doses else "")
        parts.append("full" if row.full else "")
        parts.append("booster" if row.booster else "")
        parts.append(" or ".join(f"{test} {hours} h" for test, hours in row.negatives.items()))
        parts.append(f"with {' '.join(row.escort)}" if row.escort else "")
    elif isinstance(row, RoomRow):
        parts.append(f"{row.percent} %" if row.percent is not None else "")
        parts.append(f"{row.most_people} people" if row.most_people is not None else "")
        parts.append(f"{row.area_each_m2:g} m2 each" if row.area_each_m2 is not None else "")
        parts.append(f"{row.opens:%H:%M}-{row.closes:%H:%M}" if row.opens and row.closes else "")
        parts.append(f"{row.longest_stay_minutes} min" if row.longest_stay_minutes is not None else "")
    return "; ".join(filter(None, parts))


def where(row: Row, regions: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """Where a row holds, in a few characters: `mall; trial_cities; level 1`; `regions`: the names of its file."""
    names = regions or {}
    parts = [_unless_all(row.categories), _unless_all(_folded(row.regions, names))]
    if row.routes:
        parts.append("any route" if row.routes == ("*",) else f"route {', '.join(_folded(row.routes, names))}")
    if row.levels:
        parts.append(f"level {_listed(tuple(map(str, row.levels)), 'or')}")
    if isinstance(row, EntryRow) and row.ages:
        parts.append(f"ages {', '.join(row.ages)}")
    return "; ".join(filter(None, parts)) or "everywhere"


def _folded(patterns: tuple[str, ...], names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The patterns, or the name that stands for all of them."""
    return next(((name,) for name, meant in names.items() if meant == patterns), patterns)


def when(row: Row) -> str:
    """When a row holds, in a few characters."""
    return f"from {row.valid_from}" + (f" to {row.valid_to}" if row.valid_to else "")


def _unless_all(patterns: tuple[str, ...]) -> str:
    return "" if "*" in patterns else ", ".join(patterns)


def _listed(words: tuple[str, ...], last: str) -> str:
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""

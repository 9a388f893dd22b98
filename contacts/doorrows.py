"""A file of door rules: dated rows of what is asked of those who come in, and of how many a place may hold.

What each key means stands in docs/door.md. Every row says where it was published (`source`) and, where that is not
certain, how it is known (`mark`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from typing import Annotated, Literal, TypeVar

import msgspec

from contacts.categories import same_pattern, segments
from contacts.tomlfaults import Fault, Path, read_toml
from schemas.health import AgeBand, Colour
from schemas.messages import TestKind

Mark = Literal["", "assumed", "disputed"]
Level = Annotated[int, msgspec.Meta(ge=1, le=9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
Hours = Annotated[int, msgspec.Meta(ge=1, le=24 * 90)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=24 * 60)]
Metres = Annotated[float, msgspec.Meta(gt=0, le=10**6)]

BETWEEN = ">"
"""Stands between the two regions of a route: `ID-LA > ID-BT`."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where and when a row holds. `regions`, `routes` and `categories` are patterns; a name of `[regions]` stands for
    those listed there. Without `routes` a row is about the place; with them it is about a journey that begins or ends
    in one of these regions. Without `levels` it holds at any level. Both dates are days on which it holds.
    """

    id: str
    source: str
    mark: Mark = ""
    categories: tuple[str, ...] = ("*",)
    regions: tuple[str, ...] = ("*",)
    routes: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    valid_from: date
    valid_to: date | None = None


class EntryRow(Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is asked of those who come in, of the ages given or else of all.

    Those of `colours` may come in, those of `checked` after the staff have looked at their papers, all others not.
    `negatives`: by kind of test, within how many hours of the specimen; one of them is enough. `escort`: the colours
    that an adult who checks in together with them must have one of. With `papers`, what is missing of doses and tests
    may be shown on paper.
    """

    ages: tuple[AgeBand, ...] = ()
    colours: tuple[Colour, ...]
    checked: tuple[Colour, ...] = ("unknown",)
    doses: Count = 0
    full: bool = False
    booster: bool = False
    negatives: dict[TestKind, Hours] = {}
    escort: tuple[Colour, ...] = ()
    papers: bool = False


class RoomRow(Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many a place may hold, and when: the least of the limits that are given. `opens` and `closes` are in the
    zone of the deployment; a place that closes no later than it opens closes on the next day."""

    percent: Percent | None = None
    most_people: Count | None = None
    area_each_m2: Metres | None = None
    opens: time | None = None
    closes: time | None = None
    longest_stay_minutes: Minutes | None = None


class LevelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The level of regions from a day on, until a later row for them."""

    regions: tuple[str, ...]
    level: Level
    valid_from: date
    source: str
    mark: Mark = ""


class RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file. Its id is the file's name."""

    name: str
    source: str
    regions: dict[str, tuple[str, ...]] = {}
    levels: tuple[LevelRow, ...] = ()
    entry: tuple[EntryRow, ...] = ()
    room: tuple[RoomRow, ...] = ()
    id: str = ""


_AnyRow = TypeVar("_AnyRow", LevelRow, EntryRow, RoomRow)


def read_rules_file(rules_id: str, text: str) -> RulesFile:
    """The rules that a TOML text holds, names of regions written out. Raises Fault, which knows the line."""
    file = read_toml(text, RulesFile, "docs/door.md")
    for path, wrong in _wrong(file):
        raise Fault(text, path, wrong)
    return msgspec.structs.replace(
        file,
        id=rules_id,
        levels=tuple(_written_out(row, file.regions) for row in file.levels),
        entry=tuple(_written_out(row, file.regions) for row in file.entry),
        room=tuple(_written_out(row, file.regions) for row in file.room),
    )


def region_key(region: str) -> str:
    """A region as `contacts.categories` compares it: `ID-LA-01` and `Lampung / Lampung Utara` have the widest first."""
    return region.replace("-", "/")


def _written_out(row: _AnyRow, named: dict[str, tuple[str, ...]]) -> _AnyRow:
    changes = {}
    for name in ("regions", "routes"):
        patterns = getattr(row, name, ())
        if any(pattern in named for pattern in patterns):
            changes[name] = tuple(each for pattern in patterns for each in named.get(pattern, (pattern,)))
    return msgspec.structs.replace(row, **changes)


def _wrong(file: RulesFile) -> Iterator[tuple[Path, str]]:
    """What types cannot say of a file: where it is wrong, and how."""
    seen: dict[str, str] = {}
    for table, rows in (("entry", file.entry), ("room", file.room)):
        for number, row in enumerate(rows):
            path = (table, str(number))
            if not row.id or row.id != row.id.strip():
                yield (*path, "id"), f"{table} number {number + 1} has no id: give it one to know it by."
            if row.id in seen:
                yield (*path, "id"), f"the id {row.id!r} is there twice: {seen[row.id]} has it too."
            seen[row.id] = f"{table} number {number + 1}"
            yield from (((*path, key), f"{row.id}: {told}") for key, told in _wrong_row(row))
    for number, level in enumerate(file.levels):
        if (wrong := _wrong_patterns("regions", level.regions)) is not None:
            yield ("levels", str(number), "regions"), f"levels number {number + 1}: {wrong}"
    for name, patterns in file.regions.items():
        if (wrong := _wrong_patterns("regions", patterns)) is not None:
            yield ("regions", name), f"{name}: {wrong}"
        if any(pattern in file.regions for pattern in patterns):
            yield ("regions", name), f"{name}: a name of [regions] stands for regions, not for other names."


def _wrong_row(row: Row) -> Iterator[tuple[str, str]]:
    for key in ("categories", "regions"):
        if wrong := _wrong_patterns(key, getattr(row, key)):
            yield key, wrong
    if row.routes and (wrong := _wrong_patterns("routes", [end for each in row.routes for end in each.split(BETWEEN)])):
        yield "routes", wrong
    if any(each.count(BETWEEN) > 1 for each in row.routes):
        yield "routes", 'a route is a region, or two with > between them, such as "ID-LA > ID-BT".'
    if row.valid_to is not None and row.valid_to < row.valid_from:
        yield "valid_to", f"it ends on {row.valid_to}, before it begins on {row.valid_from}."
    if isinstance(row, EntryRow):
        both = set(row.colours) & set(row.checked)
        if both:
            yield "checked", f"{', '.join(sorted(both))} may come in by colours: take it out of colours or of checked."
    if isinstance(row, RoomRow) and (row.opens is None) != (row.closes is None):
        yield "opens" if row.closes is None else "closes", "opens and closes go together: give both, or none."


def _wrong_patterns(what: str, patterns: tuple[str, ...] | list[str]) -> str | None:
    if not patterns:
        return f'{what} is empty: write ["*"] for all, or leave it out.'
    if not all(all(segments(region_key(pattern))) for pattern in patterns):
        return f'{what} are names, the widest first, with / or - between them, or "*".'
    if what != "routes" and (twice := same_pattern(patterns)) is not None:
        return f"{twice!r} is there twice in {what}: keep one."
    return None

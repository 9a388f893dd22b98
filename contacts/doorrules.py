"""The rules of doors: which rows are in force at a place on a day, and what they ask.

Of the rows that match, the most specific wins, whole; docs/door.md says what is more specific than what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args
from zoneinfo import ZoneInfo

from contacts.categories import best_rank
from contacts.doorrows import BETWEEN, EntryRow, RoomRow, Row, RulesFile, read_rules_file, region_key
from contacts.tomlfaults import Fault
from schemas.health import AgeBand
from schemas.messages import Venue

_FOLDER: Final = "door"
_AGES: Final = len(get_args(AgeBand))
_LEVELS: Final = 9

Key = tuple[Any, ...]
"""How specific a match is: of two rows the one with the greater key wins. No two rows of a `DoorRules` have one key."""

_AnyRow = TypeVar("_AnyRow", bound=Row)


class DoorRulesError(ValueError):
    """A file of rules that cannot be used; the message names it and the line."""


class PlaceFacts(NamedTuple):
    """What the rules ask of a place. `route`: two regions with `>` between them, where one travels from here, or in
    it; `level`: None where the rules' own level of the region holds."""

    category: str
    region: str = ""
    route: str = ""
    level: int | None = None

    @classmethod
    def of(cls, venue: Venue) -> PlaceFacts:
        """Those of a record of the registry."""
        return cls(venue.category, venue.region, venue.route)


class Requirements(NamedTuple):
    """What holds at a place on one day of the zone: `[from_ms, until_ms)`.

    `entries` in the order of precedence: for a person the first that is for their age. `room`: None where no row says
    how many. `open`: when the place is open on this day, None: all day. `level` of the place, None: not known.
    """

    entries: tuple[EntryRow, ...]
    room: RoomRow | None
    level: int | None
    from_ms: int
    until_ms: int
    open: tuple[tuple[int, int], ...] | None
    by_age: dict[AgeBand | None, EntryRow | None]

    def entry(self, age_band: AgeBand | None) -> EntryRow | None:
        """The row for a person of this age; None: no row is in force. For an unknown age, rows for all ages hold."""
        return self.by_age[age_band]

    def is_open(self, at_ms: int) -> bool:
        """Whether the place may be open at a time of this day."""
        return self.open is None or any(start <= at_ms < end for start, end in self.open)

    @property
    def longest_stay_minutes(self) -> int | None:
        """How long one may stay."""
        return None if self.room is None else self.room.longest_stay_minutes


class Ranked(NamedTuple, Generic[_AnyRow]):
    """A row with the key by which it stands where it stands."""

    row: _AnyRow
    key: Key


class DoorRules:
    """The rows of one or more files. Rows of different files stand side by side, known as `FILE/ROW`."""

    def __init__(self, rules: Iterable[RulesFile] = ()) -> None:
        self.files: tuple[RulesFile, ...] = tuple(sorted(rules, key=lambda file: file.id))
        self._entry = [(f"{file.id}/{row.id}", row) for file in self.files for row in file.entry]
        self._room = [(f"{file.id}/{row.id}", row) for file in self.files for row in file.room]
        self._levels = [(file.id, row) for file in self.files for row in file.levels]
        self._names = {id(row): name for name, row in (*self._entry, *self._room)}
        rows: list[Row] = [row for _, row in (*self._entry, *self._room)]
        begins = {row.valid_from for row in rows} | {row.valid_from for _, row in self._levels}
        self._borders = sorted(begins | {row.valid_to + timedelta(days=1) for row in rows if row.valid_to is not None})
        self._found: dict[tuple[PlaceFacts, date, str], Requirements] = {}

    def name(self, row: Row) -> str:
        """The name of a row of these rules: its file's and its own."""
        return self._names[id(row)]

    def in_force(self, place: PlaceFacts, at_ms: int, zone: ZoneInfo) -> Requirements:
        """What holds at a place on the day that a time is in."""
        day = datetime.fromtimestamp(at_ms / 1000, zone).date()
        asked = (place, day, zone.key)
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _HELD:
                self._found.clear()
            found = self._found[asked] = self._requirements(place, day, zone)
        return found

    def _requirements(self, place: PlaceFacts, day: date, zone: ZoneInfo) -> Requirements:
        level = self.level(place, day)
        entries = tuple(ranked.row for ranked in self.entry_rows(place, day))
        room = next((ranked.row for ranked in self.room_rows(place, day)), None)
        by_age: dict[AgeBand | None, EntryRow | None] = {
            age: next((row for row in entries if not row.ages or age in row.ages), None)
            for age in (None, *get_args(AgeBand))
        }
        from_ms, until_ms = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        return Requirements(entries, room, level, from_ms, until_ms, _hours(room, day, zone), by_age)

    def level(self, place: PlaceFacts, day: date) -> int | None:
        """The level of a place on a day: its own, else that of its region; None: no row says one."""
        if place.level is not None:
            return place.level
        region = region_key(place.region)
        best: tuple[Key, int] | None = None
        for file, row in self._levels:
            rank = best_rank(map(region_key, row.regions), region)
            if rank is not None and row.valid_from <= day:
                key = (rank, row.valid_from, file, row.level)
                if best is None or key > best[0]:
                    best = key, row.level
        return best[1] if best else None

    def entry_rows(self, place: PlaceFacts, day: date) -> list[Ranked[EntryRow]]:
        """The rows about who may come in that are in force, the one that wins first."""
        return self._in_force(self._entry, place, day)

    def room_rows(self, place: PlaceFacts, day: date) -> list[Ranked[RoomRow]]:
        """The rows about how many and when that are in force, the one that wins first."""
        return self._in_force(self._room, place, day)

    def _in_force(self, rows: Sequence[tuple[str, _AnyRow]], place: PlaceFacts, day: date) -> list[Ranked[_AnyRow]]:
        level = self.level(place, day)
        found = [
            Ranked(row, (*key, row.valid_from, name))
            for name, row in rows
            if row.valid_from <= day
            and (row.valid_to is None or day <= row.valid_to)
            and (key := _match(row, place, level)) is not None
        ]
        return sorted(found, key=lambda ranked: ranked.key, reverse=True)

    def next_border(self, at_ms: int, zone: ZoneInfo) -> float:
        """When, after a time, a row or level begins or ends next, in ms; infinity: never again."""
        day = datetime.fromtimestamp(at_ms / 1000, zone).date()
        return next((_midnight(border, zone) for border in self._borders if border > day), inf)


_HELD: Final = 65_536  # what holds of so many places and days is kept


def _match(row: Row, place: PlaceFacts, level: int | None) -> Key | None:
    """How specific a row is for a place, by route, category, region, level and age; None: it does not match."""
    if row.levels and level not in row.levels:
        return None
    category = best_rank(row.categories, place.category)
    region = best_rank(map(region_key, row.regions), region_key(place.region))
    route = _route_rank(row.routes, place.route) if row.routes else ()
    if category is None or region is None or route is None:
        return None
    levels = _LEVELS + 1 - len(row.levels) if row.levels else 0
    ages = row.ages if isinstance(row, EntryRow) else ()
    return route, category, region, levels, _AGES + 1 - len(ages) if ages else 0


def _route_rank(patterns: Sequence[str], route: str) -> Key | None:
    """Of the patterns that match a route, how specific the most specific is: both ends named before one."""
    ends = tuple(region_key(end) for end in route.split(BETWEEN))
    if len(ends) != 2 or not all(end.strip() for end in ends):
        return None
    ranks: list[Key] = []
    for pattern in patterns:
        wanted = [region_key(end) for end in pattern.split(BETWEEN)]
        if len(wanted) == 1:
            ranks += [(1, rank) for end in ends if (rank := best_rank(wanted, end)) is not None]
        else:
            both = [best_rank([each], end) for each, end in zip(wanted, ends, strict=True)]
            if None not in both:
                ranks.append((2, *both))
    return max(ranks, default=None)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _hours(room: RoomRow | None, day: date, zone: ZoneInfo) -> tuple[tuple[int, int], ...] | None:
    """When a place is open on a day, by the row in force on that day."""
    if room is None or room.opens is None or room.closes is None:
        return None
    opens, closes = (
        round(datetime.combine(day, clock, zone).astimezone(UTC).timestamp() * 1000)
        for clock in (room.opens, room.closes)
    )
    if opens < closes:
        return ((opens, closes),)
    return (_midnight(day, zone), closes), (opens, _midnight(day + timedelta(days=1), zone))


def read_door_rules(rules_id: str, text: str, where: str) -> RulesFile:
    """The rules that a TOML text holds; `where` names it in errors. Raises DoorRulesError."""
    try:
        return read_rules_file(rules_id, text)
    except Fault as fault:
        raise DoorRulesError(f"The door rules {where} cannot be used: line {fault.line}: {fault.sentence}") from fault


def load_door_rules(folder: Path | None = None) -> DoorRules:
    """The rules of Lacak, and those of `folder`/door, which overrule them by name. Raises DoorRulesError."""
    found = {file.id: file for file in _shipped()}
    if folder is not None:
        for path in sorted((folder / _FOLDER).glob("*.toml")):
            found[path.stem] = read_door_rules(path.stem, path.read_text("utf-8"), str(path))
    return DoorRules(found.values())


def rules_text(rules_id: str, folder: Path | None = None) -> tuple[str, str]:
    """Where the rules of this id are written, and what: the folder's, else those of Lacak."""
    name = f"{rules_id}.toml"
    if folder is not None and (own := folder / _FOLDER / name).exists():
        return str(own), own.read_text("utf-8")
    return f"contacts/data/{_FOLDER}/{name}", files("contacts.data").joinpath(_FOLDER, name).read_text("utf-8")


@cache
def _shipped() -> tuple[RulesFile, ...]:
    paths = [path for path in files("contacts.data").joinpath(_FOLDER).iterdir() if path.name.endswith(".toml")]
    named = {path.name.removesuffix(".toml"): path.read_text("utf-8") for path in paths if path.name != _TEXTS}
    return tuple(read_door_rules(name, text, f"{name}.toml") for name, text in sorted(named.items()))


_TEXTS: Final = "texts.toml"


def allowed(capacity: int | None, requirements: Requirements, area_m2: float | None = None) -> int | None:
    """How many may be inside: the least of the limits in force; None: there is none, or it is not known."""
    room = requirements.room
    if room is None:
        return capacity
    limits = [room.most_people]
    if capacity is not None:
        limits.append(capacity if room.percent is None else capacity * room.percent // 100)
    if room.area_each_m2 is not None and area_m2 is not None:
        limits.append(int(area_m2 // room.area_each_m2))
    return min((limit for limit in limits if limit is not None), default=None)

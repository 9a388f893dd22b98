"""The colour rules as they are used: which set is in force when, and what each of its rows asks.

Shipped in contacts/data/colours; a deployment's own lie in the folder `colours` of its rules folder and overrule those
of the same name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple, get_args
from zoneinfo import ZoneInfo

from contacts.colourfile import ColourFile, ColourRulesError, ColourSet, Quarantine, Reason, read_colour_file
from contacts.days import Days, days_of
from contacts.tomlfaults import Fault
from contacts.vaccines import Had, Vaccines, VaccinesError, load_vaccines
from schemas.health import AgeBand, Colour

HOUR_MS: Final = 3_600_000
DEFAULT_RULES: Final = "indonesia"
_FOLDER: Final = "colours"
_NOON: Final = 12

BLACK_REASONS: Final[tuple[Reason, ...]] = ("case", "contact", "arrival")
"""Of several reasons to be black, which is named: the first."""


class Verdict(NamedTuple):
    """A colour with its reason and the name of its row, as messages have it."""

    colour: Colour
    reason: Reason
    rule: str


class Row(NamedTuple):
    """What a row asks of a person, and its verdict."""

    verdict: Verdict
    doses: int
    full: bool
    booster: bool
    recovered: bool
    negative: bool
    of_age: bool
    counts_doses: bool


class Ruling(NamedTuple):
    """A verdict, and the row that gave it where one did."""

    verdict: Verdict
    row: Row | None


class SetInForce:
    """One dated set in a zone: in force in `[since_ms, until_ms)`, without end where `until_ms` is None."""

    def __init__(
        self, rules_id: str, table: ColourFile, each: ColourSet, days: Days, since_ms: int, until_ms: int | None
    ) -> None:
        self.table, self.days, self.since_ms, self.until_ms = each, days, since_ms, until_ms
        self.version = f"{rules_id}@{each.since.isoformat()}"
        self.black = tuple(Ruling(self._verdict("black", reason), None) for reason in BLACK_REASONS)
        makes_black = each.case is not None, each.contact is not None, each.black_on_arrival
        self.black_reasons = tuple(place for place, makes in enumerate(makes_black) if makes)
        self.no_record = Ruling(self._verdict("unknown", "no_record"), None)
        self._rulings: dict[tuple[AgeBand, int, bool, bool, bool, bool], Ruling] = {}
        self.known_by = frozenset(table.known_by)
        self.home, self.assumed_age = table.home, table.assumed_age
        self.asks_recovered = any(row.recovered for row in each.rows)
        self.asks_negative = any(row.negative for row in each.rows)
        bands: tuple[AgeBand, ...] = get_args(AgeBand)
        self.rows = {band: tuple(self._rows_of(band)) for band in bands}

    def ruling(self, age: AgeBand, had: Had, recovered: bool, negative: bool) -> Ruling:
        """The ruling on who is not black, by the first row that holds; worked out once for each case that differs."""
        asked = age, had.doses, had.full, had.booster, recovered, negative
        found = self._rulings.get(asked)
        if found is None:
            found = self._rulings[asked] = self._first(*asked)
        return found

    def _first(self, age: AgeBand, doses: int, full: bool, booster: bool, recovered: bool, negative: bool) -> Ruling:
        for row in self.rows[age]:
            if (
                doses >= row.doses
                and full >= row.full
                and booster >= row.booster
                and recovered >= row.recovered
                and negative >= row.negative
            ):
                return Ruling(row.verdict, row)
        return Ruling(self._verdict("unknown", "no_row"), None)

    def recovered_until(self, recovered_ms: int) -> int:
        """When who recovered then no longer counts as recovered."""
        within = self.table.recovered_within
        assert within is not None
        if within.months:
            return self.days.months_later(recovered_ms, within.months)
        return self.days.begin(recovered_ms, within.days)

    def _verdict(self, colour: Colour, reason: Reason) -> Verdict:
        return Verdict(colour, reason, f"{self.version} {colour}.{reason}")

    def _rows_of(self, band: AgeBand) -> Iterable[Row]:
        for row in self.table.rows:
            if not row.ages or band in row.ages:
                verdict = self._verdict(row.colour, row.reason)
                asks = row.doses, row.full, row.booster, row.recovered, row.negative
                yield Row(verdict, *asks, bool(row.ages), bool(row.doses or row.full or row.booster))


class _InZone(NamedTuple):
    """The rules in one zone: when each set and each quarantine begins, and what it is."""

    starts: list[int]
    sets: list[SetInForce]
    quarantines: list[int]


class ColourRules:
    """The rules of one file, with the courses of the vaccines they count by."""

    def __init__(self, rules_id: str, table: ColourFile, vaccines: Vaccines) -> None:
        self.id, self.table, self.vaccines = rules_id, table, vaccines
        self.no_rules = Verdict("unknown", "no_rules", f"{rules_id} unknown.no_rules")
        self._zones: dict[ZoneInfo, _InZone] = {}

    def in_force(self, at_ms: int, zone: ZoneInfo) -> SetInForce | None:
        """The set in force at a time; None before the first."""
        dated = self._zones.get(zone) or self._date(zone)
        place = bisect_right(dated.starts, at_ms) - 1
        return dated.sets[place] if place >= 0 else None

    def first_ms(self, zone: ZoneInfo) -> int:
        """When the first set begins."""
        return (self._zones.get(zone) or self._date(zone)).starts[0]

    def sets(self, zone: ZoneInfo) -> list[SetInForce]:
        """All sets, in order of time."""
        return (self._zones.get(zone) or self._date(zone)).sets

    def quarantine(self, arrival_ms: int, zone: ZoneInfo) -> Quarantine | None:
        """The quarantine of those who arrive at a time; None before the first."""
        dated = self._zones.get(zone) or self._date(zone)
        place = bisect_right(dated.quarantines, arrival_ms) - 1
        return self.table.quarantines[place] if place >= 0 else None

    def quarantine_ms(self, arrival_ms: int, zone: ZoneInfo, country: str, had: Had) -> int:
        """How long the quarantine of an arrival from a country lasts, for who has had those doses by then."""
        quarantine = self.quarantine(arrival_ms, zone)
        for stay in quarantine.stays if quarantine is not None else ():
            if (
                (not stay.countries or country in stay.countries)
                and had.doses >= stay.doses
                and had.full >= stay.full
                and had.booster >= stay.booster
            ):
                return stay.hours * HOUR_MS
        return 0

    def _date(self, zone: ZoneInfo) -> _InZone:
        days, table = days_of(zone), self.table
        starts = [_begin(each.since, days) for each in table.sets]
        ends = [*starts[1:], None]
        found = [
            SetInForce(self.id, table, each, days, since_ms, until_ms)
            for each, since_ms, until_ms in zip(table.sets, starts, ends, strict=True)
        ]
        dated = _InZone(starts, found, [_begin(each.since, days) for each in table.quarantines])
        self._zones[zone] = dated
        return dated


def _begin(day: date, days: Days) -> int:
    """The start of a date in a zone, in ms."""
    noon = datetime(day.year, day.month, day.day, _NOON, tzinfo=days.zone)
    return days.begin(round(noon.timestamp() * 1000))


def load_colour_rules(folder: Path | None = None, rules_id: str = DEFAULT_RULES) -> ColourRules:
    """The rules of this name, from `folder`/colours if they are there, else Lacak's own. Raises ColourRulesError."""
    where, text = colour_rules_text(rules_id, folder)
    try:
        return read_colour_rules(rules_id, text, where, load_vaccines(folder))
    except VaccinesError as error:
        raise ColourRulesError(str(error)) from error


def colour_rules_there(folder: Path | None = None) -> list[str]:
    """The names of the rules that there are."""
    own = {path.stem for path in (folder / _FOLDER).glob("*.toml")} if folder is not None else set()
    shipped = {
        path.name.removesuffix(".toml")
        for path in files("contacts.data").joinpath(_FOLDER).iterdir()
        if path.name.endswith(".toml")
    }
    return sorted(own | shipped)


def colour_rules_text(rules_id: str, folder: Path | None = None) -> tuple[str, str]:
    """Where the rules of this name are written, and what. Raises ColourRulesError that names those there are."""
    there = colour_rules_there(folder)
    if rules_id not in there:
        raise ColourRulesError(f"There are no colour rules {rules_id!r}; there are {', '.join(there)}.")
    name = f"{rules_id}.toml"
    if folder is not None and (folder / _FOLDER / name).exists():
        path = folder / _FOLDER / name
        return str(path), path.read_text("utf-8")
    return f"contacts/data/{_FOLDER}/{name}", files("contacts.data").joinpath(_FOLDER, name).read_text("utf-8")


def read_colour_rules(rules_id: str, text: str, where: str, vaccines: Vaccines | None = None) -> ColourRules:
    """The rules that a TOML text holds; `where` names it in errors, `vaccines` are Lacak's own where none are given.

    Raises ColourRulesError.
    """
    try:
        table = read_colour_file(text)
    except Fault as fault:
        raise ColourRulesError(f"The colour rules {where} cannot be used: {fault}") from fault
    return ColourRules(rules_id, table, vaccines or load_vaccines())

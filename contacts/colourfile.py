"""A file of colour rules as it is written: dated sets of rows, and the quarantines of arrivals from abroad.

docs/colours.md says what each key means. Days are days of the deployment's zone; day 0 is that of the laboratory's
result, or of being registered as a contact.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

import msgspec

from contacts.tomlfaults import Fault, read_toml
from schemas.health import AgeBand, Colour
from schemas.messages import TestKind

Day = Annotated[int, msgspec.Meta(ge=0, le=366)]
Hours = Annotated[int, msgspec.Meta(ge=0, le=24 * 366)]
Doses = Annotated[int, msgspec.Meta(ge=0, le=20)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
KnownBy = Literal["test", "vaccination", "recovery", "person"]
RowReason = Literal["doses", "booster", "recovered", "test"]
Reason = Literal[
    "case", "contact", "arrival", "doses", "booster", "recovered", "test", "no_record", "no_row", "no_rules"
]
"""Why a colour is what it is, the key of its texts. The last three are reasons of `unknown`: nothing is known of the
person; no row of the rules in force is about them; no rules are in force yet."""


class ColourRulesError(ValueError):
    """Colour rules that cannot be used, or are not there; the message names the file and line, or those there are."""


class NeededTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A negative test whose sample was taken from `from_day` to `to_day`, both included."""

    kinds: tuple[TestKind, ...]
    from_day: Day
    to_day: Day | None = None


class Exit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way out of black before its last day: these tests in this order, samples at least so many hours apart.

    It opens when the last result is there, but not before `clears_from_day` has begun.
    """

    tests: tuple[NeededTest, ...]
    apart_hours: Hours = 0
    clears_from_day: Day = 0


class CaseRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has a positive test of these kinds is black until `until_day` begins. Who is no longer has recovered, where
    `recovers` says so."""

    kinds: tuple[TestKind, ...]
    until_day: Day
    recovers: bool = False
    exits: tuple[Exit, ...] = ()
    disputed: bool = False
    source: str = ""


class ContactRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is a confirmed contact is black until `until_day` begins; with `possible_from_risk` also who is a possible
    one of at least that risk."""

    until_day: Day
    exits: tuple[Exit, ...] = ()
    possible_from_risk: Share | None = None
    disputed: bool = False
    source: str = ""


class Within(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long after recovering one counts as recovered: whole days, or months."""

    days: Day = 0
    months: Annotated[int, msgspec.Meta(ge=0, le=36)] = 0


class ColourRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A colour for those of whom all that stands here holds; what is left out is not asked."""

    colour: Literal["green", "yellow", "red"]
    reason: RowReason
    ages: tuple[AgeBand, ...] = ()
    doses: Doses = 0
    full: bool = False
    booster: bool = False
    recovered: bool = False
    negative: bool = False


class ColourSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules from a date on, until the next set. The first row that holds gives the colour; black goes before."""

    since: date
    source: str
    rows: tuple[ColourRow, ...]
    disputed: bool = False
    case: CaseRule | None = None
    contact: ContactRule | None = None
    black_on_arrival: bool = False
    recovered_within: Within | None = None
    negative_hours: dict[TestKind, Hours] = {}


class Stay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many hours the quarantine lasts for those of whom all that stands here holds on arrival."""

    hours: Hours
    doses: Doses = 0
    full: bool = False
    booster: bool = False
    countries: tuple[str, ...] = ()


class Quarantine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The quarantine of those who arrive from a date on, until the next; the first of `stays` that holds."""

    since: date
    source: str
    stays: tuple[Stay, ...]
    assumption: bool = False


class ColourFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of colour rules. `version` is its date; `home` the country (ISO 3166-1) one does not arrive from."""

    name: str
    source: str
    version: date
    home: str
    assumed_age: AgeBand
    known_by: tuple[KnownBy, ...]
    sets: tuple[ColourSet, ...]
    quarantines: tuple[Quarantine, ...] = ()


def read_colour_file(text: str) -> ColourFile:
    """The rules that a TOML text holds. Raises Fault, which knows the line and what to do."""
    table = read_toml(text, ColourFile, "docs/colours.md")
    for key, place, wrong in _wrong(table):
        raise Fault(text, (key, str(place)), wrong)
    return table


def _wrong(table: ColourFile) -> Iterator[tuple[str, int, str]]:
    """What types cannot say: in which of which list, and what."""
    if not table.sets:
        yield "sets", 0, "there are no rules: write at least one [[sets]]."
    for key, dates in (("sets", [s.since for s in table.sets]), ("quarantines", [q.since for q in table.quarantines])):
        for place in range(1, len(dates)):
            if dates[place] <= dates[place - 1]:
                yield key, place, f"since = {dates[place]} is not after the one before it: order them by time."
    for place, each in enumerate(table.sets):
        for wrong in _wrong_set(each):
            yield "sets", place, f"the rules since {each.since}: {wrong}"
    for place, quarantine in enumerate(table.quarantines):
        if not quarantine.stays:
            yield "quarantines", place, f"the quarantine since {quarantine.since} has no stays: hours = 0 is none."


def _wrong_set(each: ColourSet) -> Iterator[str]:
    if not each.rows:
        yield "there are no rows of colours."
    within = each.recovered_within
    if within is not None and bool(within.days) == bool(within.months):
        yield "recovered_within needs either days or months."
    for row in each.rows:
        if row.recovered and within is None:
            yield f"a {row.colour} row asks who has recovered: add recovered_within."
        if row.negative and not each.negative_hours:
            yield f"a {row.colour} row asks for a negative test: add negative_hours, such as {{ pcr = 72 }}."
    for name, black in (("case", each.case), ("contact", each.contact)):
        for way in black.exits if black is not None else ():
            if not way.tests:
                yield f"an exit of {name} names no test."
            for test in way.tests:
                if not test.kinds:
                    yield f"a test of an exit of {name} names no kinds."
                if test.to_day is not None and test.to_day < test.from_day:
                    yield f"a test of an exit of {name} ends on day {test.to_day}, before day {test.from_day}."


def colours_of(each: ColourSet) -> tuple[Colour, ...]:
    """The colours that a set can give, in the order of its rows, black first."""
    black: tuple[Colour, ...] = ("black",) if each.case or each.contact or each.black_on_arrival else ()
    return (*black, *dict.fromkeys(row.colour for row in each.rows))

"""What is told about a person's health and travel, and the status that comes of it.

Conventions as in schemas.messages.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.bounds import DerivedMs, Number, Position, Share, TimeMs
from schemas.messages import Grade, Message, TestKind, TestOutcome

AgeBand = Literal["0-5", "6-11", "12-17", "18-59", "60+"]
Colour = Literal["green", "yellow", "red", "black", "unknown"]
COLOURS: tuple[Colour, ...] = ("unknown", "green", "yellow", "red", "black")


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="fact"):
    """What all facts have in common: a JSON object whose `fact` says which it is."""


class TestFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="test"):
    """A laboratory's result; `result_ms` is when the laboratory gave it, day 0 of the colour rules."""

    __test__ = False  # not a test class of pytest's

    test: TestKind
    outcome: TestOutcome
    specimen_ms: TimeMs
    result_ms: TimeMs
    laboratory: str = ""


class VaccinationFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="vaccination"):
    """One dose. `product` is a name or code (contacts/data says how many doses are its course); `dose` its number, if
    it was written down."""

    product: str
    at_ms: TimeMs
    dose: Number | None = None


class RecoveryFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="recovery"):
    """The person has recovered, says a doctor or officer."""

    recovered_ms: TimeMs


class PersonFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="person"):
    """What the rules ask of a person besides health."""

    age_band: AgeBand


class ContactFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="contact"):
    """A trace has this person as a contact of a case. `registered_ms` is when the report first had them with this
    grade, day 0 of the colour rules."""

    trace_id: str
    grade: Grade
    registered_ms: TimeMs
    last_exposure_ms: TimeMs
    risk: Share | None = None


class TravelFact(Fact, frozen=True, omit_defaults=True, kw_only=True, tag="travel"):
    """The person was somewhere that is no registered venue, as declared. `country` is ISO 3166-1 alpha-2; for a stay
    abroad `end_ms` is the arrival."""

    place: str
    country: str
    start_ms: TimeMs
    end_ms: TimeMs


AnyFact = TestFact | VaccinationFact | RecoveryFact | PersonFact | ContactFact | TravelFact


class HealthRecord(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `health-records` (compacted), keyed by `PERSON|RECORD_ID`, placed by person: one fact about a person.

    A later record of the same person and `record_id` takes its place; `withdrawn` takes it back. `told_at_ms` is when
    the programme was told.
    """

    person: str
    record_id: str
    fact: AnyFact
    told_at_ms: TimeMs
    withdrawn: bool = False
    source: str = ""
    officer: str = "system"
    purpose: str = "health record"


class NegativeTest(Message, frozen=True, omit_defaults=True, kw_only=True):
    """The newest negative test of a kind, for doors that ask for one."""

    test: TestKind
    specimen_ms: TimeMs


class Status(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `statuses` (compacted), keyed by person: what the door is told.

    The colour holds from `since_ms` to `until_ms` (None: until something is told). `rule` names the rules, their date
    and the row (`indonesia@2021-08-30 black.case`), `reason` is its key for texts (`case`, `contact`, `arrival`,
    `doses`, ...): both are for the person's own screen and for officers, never for a guard.
    Readers ignore a message whose `position` is not above the last.
    """

    person: str
    colour: Colour
    since_ms: DerivedMs
    rule: str
    reason: str
    log_time_ms: TimeMs
    position: Position
    until_ms: DerivedMs | None = None
    doses: Number = 0
    full: bool = False
    booster: bool = False
    age_band: AgeBand | None = None
    negatives: tuple[NegativeTest, ...] = ()


class Declaration(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `declarations`, keyed by person: where they say that they were in `[start_ms, end_ms)`.

    With `venue`, a registered one, it becomes a visit with the reason `self_reported`; else `place` and `country` (ISO
    3166-1 alpha-2) say where. `reporter` is `self` or the officer's name. A later declaration with the same id takes
    its place, `withdrawn` takes it back.
    """

    person: str
    declaration_id: str
    start_ms: TimeMs
    end_ms: TimeMs
    told_at_ms: TimeMs
    venue: str = ""
    place: str = ""
    country: str = "ID"
    reporter: str = "self"
    purpose: str = "self-report"
    withdrawn: bool = False

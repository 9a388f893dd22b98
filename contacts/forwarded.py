"""Test results and declarations as health records."""

from __future__ import annotations

import re
from typing import Final

from contacts.facts import Row, TestRow
from contacts.registry import is_name
from schemas.blocks import StayReport
from schemas.health import Declaration, HealthRecord, TestFact, TravelFact
from schemas.messages import TestResult

_COUNTRY: Final = re.compile("[A-Z]{2}")


def specimen_id(specimen_ms: int) -> str:
    """The id of the record of a test: a result with the same specimen takes its place."""
    return f"test/{specimen_ms}"


def result_record(result: TestResult, told_at_ms: int, held: Row | None) -> HealthRecord:
    """The record of a result that was told at a time, where `held` is what is held of the same specimen.

    A laboratory that does not say when it gave the result gave it when it told of it first: to correct an onset must
    not move day 0 of the colour rules.
    """
    same = isinstance(held, TestRow) and (held.test, held.positive) == (result.test, result.outcome == "positive")
    result_ms = result.result_ms
    if result_ms is None:
        result_ms = held.result_ms if same and isinstance(held, TestRow) else told_at_ms
    return HealthRecord(
        person=result.person,
        record_id=specimen_id(result.specimen_ms),
        fact=TestFact(
            test=result.test,
            outcome=result.outcome,
            specimen_ms=result.specimen_ms,
            result_ms=result_ms,
            laboratory=result.laboratory or "",
        ),
        told_at_ms=told_at_ms,
        withdrawn=result.outcome == "withdrawn",
        source="test-results",
        officer=result.officer,
        purpose=result.purpose,
    )


def fault_of(told: Declaration) -> str | None:
    """Why a declaration cannot be passed on."""
    if not is_name(told.declaration_id):
        return "a declaration's id is 1 to 200 characters, none of them a control"
    if told.withdrawn:
        return None
    if told.end_ms <= told.start_ms:
        return "the stay ends no later than it begins"
    if told.venue and not is_name(told.venue):
        return "a venue is 1 to 200 characters, none of them a control"
    if not told.venue and not _COUNTRY.fullmatch(told.country):
        return "without a venue it needs a country, two capital letters (ISO 3166-1)"
    return None


def travel_of(told: Declaration) -> HealthRecord:
    """What a declaration says of the person's travel: at a registered venue, or withdrawn, that there was none."""
    return HealthRecord(
        person=told.person,
        record_id=f"declared/{told.declaration_id}",
        fact=TravelFact(place=told.place, country=told.country, start_ms=told.start_ms, end_ms=told.end_ms),
        told_at_ms=told.told_at_ms,
        withdrawn=told.withdrawn or bool(told.venue),
        source="declarations",
        officer=told.reporter,
        purpose=told.purpose,
    )


def stay_of(told: Declaration, origin: tuple[int, int]) -> StayReport:
    """What a declaration says of the person's visits: elsewhere, or withdrawn, that there was none."""
    return StayReport(
        origin=origin,
        person=told.person,
        venue=told.venue,
        declaration_id=told.declaration_id,
        start_ms=told.start_ms,
        end_ms=told.end_ms,
        withdrawn=told.withdrawn or not told.venue,
        told_at_ms=told.told_at_ms,
    )

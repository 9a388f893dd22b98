"""Where the newest record of a key does not say what is held: that is told again, or the key forgotten.

The topic keeps the newest record of each key, and a person's facts keep the latest told: a record that came after a
later told one would outlive it. So would one that was told before an erasure and came after it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from contacts.facts import (
    AgeRow,
    ContactRow,
    DoseRow,
    GoneRow,
    RecoveryRow,
    Row,
    TestRow,
    TravelRow,
)
from schemas.health import (
    AnyFact,
    ContactFact,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TestFact,
    TravelFact,
    VaccinationFact,
)

SOURCE: Final = "told again"


class Repair(NamedTuple):
    """What the topic should say of a record; nothing: that it is forgotten."""

    person: str
    record_id: str
    record: HealthRecord | None


def record_of(person: str, record_id: str, row: Row) -> HealthRecord:
    """The record that a row was made of, without what no rule asks for (laboratory, place, who told)."""
    return HealthRecord(
        person=person,
        record_id=record_id,
        fact=_fact(record_id, row),
        told_at_ms=row.told_ms,
        withdrawn=isinstance(row, GoneRow),
        source=SOURCE,
    )


def _fact(record_id: str, row: Row) -> AnyFact:
    if isinstance(row, TestRow):
        outcome = "positive" if row.positive else "negative"
        return TestFact(test=row.test, outcome=outcome, specimen_ms=row.specimen_ms, result_ms=row.result_ms)  # type: ignore[arg-type]
    if isinstance(row, DoseRow):
        return VaccinationFact(product=row.product, at_ms=row.at_ms, dose=row.number or None)
    if isinstance(row, ContactRow):
        return ContactFact(
            trace_id=record_id.rpartition("/")[2],
            grade=row.grade,
            registered_ms=row.registered_ms,
            last_exposure_ms=row.registered_ms,
            risk=None if row.risk < 0 else row.risk,
        )
    if isinstance(row, AgeRow):
        return PersonFact(age_band=row.age_band)
    if isinstance(row, RecoveryRow):
        return RecoveryFact(recovered_ms=row.recovered_ms)
    if isinstance(row, TravelRow):
        return TravelFact(place="", country=row.country, start_ms=row.end_ms, end_ms=row.end_ms)
    return RecoveryFact(recovered_ms=0)  # of a record that was withdrawn nothing is held but that it was

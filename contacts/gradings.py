"""What a trace says of its contacts' health: who is registered as a contact, since when, with which grade.

Reports are told again and again; a health record is told only where it differs from the one told before.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.health import ContactFact, HealthRecord
from schemas.messages import Contact, Grade, Trace


class Registered(msgspec.Struct, frozen=True, array_like=True):
    """A contact as told last; without a grade it was withdrawn. `told_ms` grows from one record to the next."""

    grade: Grade | None
    registered_ms: int
    last_exposure_ms: int
    risk: float | None
    told_ms: int


def registered(
    made: Trace, held: Mapping[str, Registered], at_ms: int, least_risk: float | None
) -> tuple[dict[str, Registered], list[HealthRecord]]:
    """Who is registered once a report is told, by name, and what that changes since `held`.

    Contacts of a forward trace who are confirmed or dismissed, and possible ones whose risk is at least `least_risk`
    (None: none): those of a backward trace may have infected the case, not the case them. Who keeps their grade stays
    registered since when they were. A report that lacks answers takes nobody back: it is not known who is missing.
    """
    after: dict[str, Registered] = dict(held)
    records: list[HealthRecord] = []
    graded = _graded(made, least_risk)
    for contact in graded.values():
        before = held.get(contact.person)
        since_ms = before.registered_ms if before is not None and before.grade == contact.grade else at_ms
        exposed_ms = max(stay.end_ms for stay in contact.evidence)
        now = Registered(contact.grade, since_ms, exposed_ms, contact.risk, at_ms)
        _tell(made, contact.person, contact.decided_by, now, after, records)
    if made.state in ("complete", "withdrawn"):
        decided_by = {contact.person: contact.decided_by for contact in made.contacts}
        for person, before in held.items():
            if person not in graded and before.grade is not None:
                now = msgspec.structs.replace(before, grade=None, told_ms=at_ms)
                _tell(made, person, decided_by.get(person), now, after, records)
    return after, records


def _graded(made: Trace, least_risk: float | None) -> dict[str, Contact]:
    if made.direction != "forward" or made.state == "withdrawn":
        return {}

    def counts(contact: Contact) -> bool:
        if contact.grade != "possible":
            return True
        return least_risk is not None and contact.risk is not None and contact.risk >= least_risk

    return {contact.person: contact for contact in made.contacts if counts(contact) and contact.evidence}


def _tell(
    made: Trace,
    person: str,
    decided_by: str | None,
    new: Registered,
    after: dict[str, Registered],
    records: list[HealthRecord],
) -> None:
    before = after.get(person)
    if before is not None:
        if msgspec.structs.replace(new, told_ms=before.told_ms) == before:
            return
        new = msgspec.structs.replace(new, told_ms=max(new.told_ms, before.told_ms + 1))
    after[person] = new
    fact = ContactFact(
        trace_id=made.trace_id,
        grade=new.grade or "possible",
        registered_ms=new.registered_ms,
        last_exposure_ms=new.last_exposure_ms,
        risk=new.risk,
    )
    records.append(
        HealthRecord(
            person=person,
            record_id=f"contact/{made.trace_id}",
            fact=fact,
            told_at_ms=new.told_ms,
            withdrawn=new.grade is None,
            source="trace",
            officer=decided_by or made.officer,
            purpose=made.purpose,
        )
    )

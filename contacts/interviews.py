"""What officers know beyond scans, put into a report: contacts heard of in interviews, and decisions on contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from contacts.matching import shared_minutes
from schemas.messages import Contact, ContactDecision, InterviewContact, SharedStay, StayEvidence, Trace

RULE: Final = "interview"
"""The rule of a contact known from an interview; one also found by scans has it after theirs, with a plus."""

_MINUTE_MS: Final = 60_000


def noted(interviews: tuple[InterviewContact, ...], new: InterviewContact) -> tuple[InterviewContact, ...]:
    """The interviews' contacts with one more, in the place of an older one of the same contact, times and venue."""
    same = [each for each in interviews if _key(each) == _key(new)]
    if any(each.told_at_ms >= new.told_at_ms for each in same):
        return interviews
    return (*(each for each in interviews if _key(each) != _key(new)), new)


def _key(each: InterviewContact) -> tuple[str, int, int, str]:
    return each.contact, each.start_ms, each.end_ms, each.venue


def informed(trace: Trace, interviews: Iterable[InterviewContact], decisions: Mapping[str, ContactDecision]) -> Trace:
    """The report with all that officers know: the interviews' contacts in its window, and every contact's grade.

    What an earlier call put in is put in anew, so the report may be one that was informed before. A contact from an
    interview is confirmed, unless an officer decided otherwise after it; a decision grades contacts, it never adds one.
    """
    if trace.state == "withdrawn":
        return trace
    told: dict[str, list[InterviewContact]] = {}
    for each in interviews:
        if each.start_ms < trace.window_end_ms and each.end_ms > trace.window_start_ms:
            told.setdefault(each.contact, []).append(each)
    found = {contact.person: _by_scans(contact) for contact in trace.contacts}
    contacts = []
    for person in sorted({name for name, contact in found.items() if contact is not None} | set(told)):
        about = told.get(person, [])
        contacts.append(_graded(_with_interviews(person, found.get(person), about), about, decisions.get(person)))
    return msgspec.structs.replace(trace, contacts=tuple(contacts))


def _by_scans(contact: Contact) -> Contact | None:
    """The contact as scans alone make it; None when they do not."""
    if any(stay.told_by is not None for stay in contact.evidence):
        evidence = tuple(stay for stay in contact.evidence if stay.told_by is None)
        if not evidence:
            return None
        rule = contact.rule.removesuffix(f"+{RULE}")
        contact = msgspec.structs.replace(contact, evidence=evidence, minutes=shared_minutes(evidence), rule=rule)
    if contact.grade == "possible" and contact.decided_by is None:
        return contact
    return msgspec.structs.replace(contact, grade="possible", decided_by=None)


def _with_interviews(person: str, contact: Contact | None, told: list[InterviewContact]) -> Contact:
    if contact is not None and not told:
        return contact
    more = tuple(_evidence(each) for each in sorted(told, key=lambda each: (each.start_ms, each.venue, each.end_ms)))
    if contact is None:
        return Contact(person=person, minutes=shared_minutes(more), rule=RULE, evidence=more)
    evidence = (*contact.evidence, *more)
    rule = f"{contact.rule}+{RULE}"
    return msgspec.structs.replace(contact, evidence=evidence, minutes=shared_minutes(evidence), rule=rule)


def _evidence(each: InterviewContact) -> SharedStay:
    stay = StayEvidence(start_ms=each.start_ms, end_ms=each.end_ms)
    return SharedStay(
        venue=each.venue,
        start_ms=each.start_ms,
        end_ms=each.end_ms,
        minutes=(each.end_ms - each.start_ms) / _MINUTE_MS,
        case_stay=stay,
        contact_stay=stay,
        told_by=each.officer,
    )


def _graded(contact: Contact, told: list[InterviewContact], decision: ContactDecision | None) -> Contact:
    newest = max(told, key=lambda each: each.told_at_ms, default=None)
    if decision is not None and (newest is None or decision.decided_at_ms >= newest.told_at_ms):
        return msgspec.structs.replace(contact, grade=decision.grade, decided_by=decision.officer)
    if newest is not None:
        return msgspec.structs.replace(contact, grade="confirmed", decided_by=newest.officer)
    return contact

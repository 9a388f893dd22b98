"""Whom traces register as contacts: a health record where a report says something else of them, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from contacts.gradings import Registered, registered
from contacts.tracing import withdrawn
from schemas.health import ContactFact, HealthRecord
from schemas.messages import (
    Contact,
    ContactDecision,
    Grade,
    InterviewContact,
    SharedStay,
    StayEvidence,
    TestResult,
    Trace,
    TraceAnswer,
)
from streams.batches import Batch
from tests.test_gather import Log
from tests.worlds import BEGIN, DAY, HOUR

LATER = BEGIN + 30 * DAY


def contact(person: str, grade: Grade = "possible", risk: float | None = 0.1) -> Contact:
    """A contact of an hour."""
    stay = StayEvidence(start_ms=BEGIN, end_ms=BEGIN + HOUR)
    shared = SharedStay(
        venue="v", start_ms=BEGIN, end_ms=BEGIN + HOUR, minutes=60, case_stay=stay, contact_stay=stay
    )  # fmt: skip
    return Contact(person=person, minutes=60, rule="who", evidence=(shared,), grade=grade, risk=risk)


def trace(*contacts: Contact, **more: object) -> Trace:
    """A forward report."""
    plain: dict[str, object] = {
        "trace_id": "f-1", "case_id": "c", "person": "ill", "direction": "forward", "profile": "who",
        "profile_version": "1", "officer": "system", "purpose": "why", "state": "complete", "revision": 1,
        "position": (1, LATER), "requested_at_ms": LATER, "window_start_ms": BEGIN, "window_end_ms": LATER,
    }  # fmt: skip
    return Trace(contacts=contacts, **{**plain, **more})  # type: ignore[arg-type]


def told(records: list[HealthRecord]) -> list[tuple[str, str, int, int, bool]]:
    """What matters of records."""
    facts = [record.fact for record in records]
    assert all(isinstance(fact, ContactFact) for fact in facts)
    return [
        (record.person, fact.grade, fact.registered_ms, record.told_at_ms, record.withdrawn)  # type: ignore[union-attr]
        for record, fact in zip(records, facts, strict=True)
    ]


def test_only_what_was_decided_is_told_and_only_once() -> None:
    """Possible contacts are nobody's business at doors; a report that is told again says nothing new."""
    made = trace(contact("a", "confirmed"), contact("b"), contact("c", "dismissed"))
    held, records = registered(made, {}, LATER, None)
    assert told(records) == [("a", "confirmed", LATER, LATER, False), ("c", "dismissed", LATER, LATER, False)]
    assert registered(made, held, LATER + HOUR, None) == (held, [])


def test_who_keeps_their_grade_stays_registered_since_when_they_were() -> None:
    """More evidence makes another record, not another day 0; another grade does."""
    held, _ = registered(trace(contact("a", "confirmed", 0.1)), {}, LATER, None)
    held, more = registered(trace(contact("a", "confirmed", 0.2)), held, LATER + HOUR, None)
    assert told(more) == [("a", "confirmed", LATER, LATER + HOUR, False)]
    held, other = registered(trace(contact("a", "dismissed", 0.2)), held, LATER, None)
    assert told(other) == [("a", "dismissed", LATER, LATER + HOUR + 1, False)]  # told later, whatever a clock says


@pytest.mark.parametrize("state", ["incomplete", "behind"])
def test_a_partial_report_takes_nobody_back(state: str) -> None:
    """Who is missing may be in the partition that has not answered; a complete report without them does take back."""
    held, _ = registered(trace(contact("a", "confirmed")), {}, LATER, None)
    assert registered(trace(state=state), held, LATER + 1, None) == (held, [])
    held, gone = registered(trace(), held, LATER + 2, None)
    assert told(gone) == [("a", "possible", LATER, LATER + 2, True)]
    assert registered(trace(), held, LATER + 3, None) == (held, [])


def test_a_trace_that_is_withdrawn_takes_everybody_back() -> None:
    made = trace(contact("a", "confirmed"))
    held, _ = registered(made, {}, LATER, None)
    _, gone = registered(withdrawn(made, (2, LATER)), held, LATER + 1, None)
    assert [(record.person, record.withdrawn) for record in gone] == [("a", True)]


def test_whom_a_backward_trace_finds_is_no_contact() -> None:
    """They may have infected the case; the case did not expose them."""
    assert registered(trace(contact("a", "confirmed"), direction="backward"), {}, LATER, 0.0) == ({}, [])


def test_the_rules_may_ask_for_possible_contacts_of_a_risk() -> None:
    """At or above it; a contact whose risk nobody worked out is not above anything."""
    made = trace(contact("a", risk=0.5), contact("b", risk=0.49), contact("c", risk=None))
    held, records = registered(made, {}, LATER, 0.5)
    assert told(records) == [("a", "possible", LATER, LATER, False)]
    _, gone = registered(trace(contact("a", risk=0.4)), held, LATER + 1, 0.5)
    assert told(gone) == [("a", "possible", LATER, LATER + 1, True)]


class Doors(Log):
    """The agents, and the health records they send."""

    def __init__(self) -> None:
        super().__init__()
        self.health: list[bytes] = []

    def run(self, alter: Callable[[str, int, bytes], list[bytes]] | None = None) -> None:
        """As before, but for what no agent here reads."""

        def keep(topic: str, partition: int, value: bytes) -> list[bytes]:
            if topic == "health-records":
                self.health.append(value)
            return [] if topic in ("health-records", "cases") else [value]

        super().run(keep)

    def decide(self, grade: Grade, at_ms: int, contact: str = "a") -> None:
        """An officer's decision, `at_ms` in the log."""
        body = ContactDecision(
            trace_id="t",
            person="ill",
            contact=contact,
            grade=grade,
            officer="dr",
            purpose="why",
            decided_at_ms=at_ms,  # type: ignore[arg-type]
        )
        self.take("contact-decisions", msgspec.json.encode(body), at_ms)

    def take(self, topic: str, value: bytes, at_ms: int) -> None:
        """One message, at its time in the log."""
        asyncio.run(self.tracing.take(Batch(topic, 0, [0], [at_ms], [b"ill"], [value], highwater=1)))
        self.run()

    def said(self) -> list[tuple[str, str, int, int, bool]]:
        """The health records since this was asked."""
        found, self.health = self.health, []
        return told([msgspec.json.decode(value, type=HealthRecord) for value in found])


def test_a_decision_reaches_doors_and_the_same_again_does_nothing() -> None:
    """Registered when the decision came."""
    log = Doors()
    log.ask(1)
    log.run()
    assert log.said() == []
    log.decide("confirmed", LATER)
    assert log.said() == [("a", "confirmed", LATER, LATER, False)]
    log.decide("confirmed", LATER)
    assert log.said() == []
    log.decide("dismissed", LATER + 5)
    assert log.said() == [("a", "dismissed", LATER + 5, LATER + 5, False)]


def test_a_worker_that_falls_before_its_tables_are_written_says_the_same_again() -> None:
    """What was sent and not yet remembered is made again of the same message: the same record, to the byte."""
    log = Doors()
    log.ask(1)
    log.run()
    reports, people = log.tracing._dossiers._reports, log.tracing._dossiers._people
    tables = [dict(each._table) for each in (reports, people)]
    log.decide("confirmed", LATER)
    first = log.health[:]
    for each, table in zip((reports, people), tables, strict=True):
        each._table = table
    log.decide("confirmed", LATER)
    assert log.health == first * 2


def test_a_case_that_is_withdrawn_takes_its_contacts_back() -> None:
    """The laboratory was wrong: whoever was barred for it is not any more."""
    log = Doors()
    positive = TestResult(person="ill", outcome="positive", specimen_ms=BEGIN + 3 * DAY, onset_ms=BEGIN + 2 * DAY)
    log.take("test-results", msgspec.json.encode(positive), LATER)
    log.decide("confirmed", LATER + 1)
    assert log.said() == [("a", "confirmed", LATER + 1, LATER + 1, False)]
    taken = msgspec.structs.replace(positive, outcome="withdrawn")
    log.take("test-results", msgspec.json.encode(taken), LATER + 2)
    assert log.said() == [("a", "possible", LATER + 1, LATER + 2, True)]


def test_an_erased_contact_is_not_told_of_again() -> None:
    """The status agent forgets them by itself: not even that they are no contact any more is said."""
    log = Doors()
    log.ask(1)
    log.run()
    log.decide("confirmed", LATER)
    log.said()
    note = TraceAnswer(query_id="", trace_id="", kind="erasure", partition=-1, at_ms=LATER + 1)
    asyncio.run(
        log.tracing.take(Batch("trace-answers", 0, [0], [LATER + 1], [b"a"], [msgspec.json.encode(note)], highwater=1))
    )
    log.run()
    assert log.said() == []
    assert "a" not in {each.person for each in log.told[-1].contacts}


def test_a_contact_from_an_interview_is_confirmed_at_once() -> None:
    log = Doors()
    log.ask(1)
    log.run()
    heard = InterviewContact(
        person="ill", contact="z", start_ms=BEGIN + 2 * DAY, end_ms=BEGIN + 2 * DAY + HOUR, officer="dr", purpose="why",
        told_at_ms=LATER,
    )  # fmt: skip
    log.take("interview-contacts", msgspec.json.encode(heard), LATER)
    assert log.said() == [("z", "confirmed", LATER, LATER, False)]


def test_what_is_remembered_of_a_contact_is_an_array() -> None:
    """The layout in the table of reports: a change of it must read what older workers wrote."""
    kept = Registered("confirmed", 1, 2, None, 3)
    assert msgspec.json.encode(kept) == b'["confirmed",1,2,null,3]'
    assert msgspec.json.decode(b"[null,1,2,0.5,3]", type=Registered) == Registered(None, 1, 2, 0.5, 3)

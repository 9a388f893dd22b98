"""Reports put together: interviews and decisions, erasures, and which report takes the place of which."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contacts.cases import apply_result
from contacts.erasing import forgotten, without
from contacts.interviews import informed, noted
from contacts.tracing import Dossier, Job, worth_telling
from schemas.messages import (
    Contact,
    ContactDecision,
    InterviewContact,
    SharedStay,
    StayEvidence,
    TestResult,
    Trace,
)

MINUTE = 60_000


def stay(
    start: int, end: int, *, contact: tuple[int, int] | None = None, case: tuple[int, int] | None = None
) -> SharedStay:
    """Shared time at the cafe, minutes; the stays are as long, unless given."""
    (a, b), (c, d) = contact or (start, end), case or (start, end)
    return SharedStay(
        venue="cafe", start_ms=start * MINUTE, end_ms=end * MINUTE, minutes=float(end - start),
        case_stay=StayEvidence(start_ms=c * MINUTE, end_ms=d * MINUTE),
        contact_stay=StayEvidence(start_ms=a * MINUTE, end_ms=b * MINUTE),
    )  # fmt: skip


def contact(person: str, *stays: SharedStay) -> Contact:
    """A contact by scans."""
    return Contact(person=person, minutes=sum(each.minutes for each in stays), rule="who@1", evidence=stays)


def trace(*contacts: Contact, state: str = "complete", revision: int = 1) -> Trace:
    """A report of `ill` over the first thousand minutes."""
    return Trace(
        trace_id="t", case_id="c", person="ill", direction="forward", profile="who", profile_version="1", officer="dr",
        purpose="why", state=state, revision=revision, position=(revision, 5), requested_at_ms=0, window_start_ms=0,  # type: ignore[arg-type]
        window_end_ms=1000 * MINUTE, contacts=contacts,
    )  # fmt: skip


def told(person: str, start: int, end: int, at: int = 1) -> InterviewContact:
    """What somebody said."""
    return InterviewContact(
        person="ill", contact=person, start_ms=start * MINUTE, end_ms=end * MINUTE, officer="nurse", purpose="why",
        told_at_ms=at,
    )  # fmt: skip


def decided(person: str, grade: str, at: int) -> dict[str, ContactDecision]:
    """What an officer decided."""
    decision = ContactDecision(
        trace_id="t", person="ill", contact=person, grade=grade, officer="dr", purpose="why", decided_at_ms=at,  # type: ignore[arg-type]
    )  # fmt: skip
    return {person: decision}


interviews = st.lists(
    st.builds(told, st.sampled_from(["a", "b", "c"]), st.integers(0, 1200), st.integers(1201, 1300), st.integers(0, 3)),
    max_size=4,
)


@given(first=interviews, second=interviews)
def test_what_officers_know_is_put_in_anew_each_time(
    first: list[InterviewContact], second: list[InterviewContact]
) -> None:
    """A report informed twice is the report informed once, whatever it was informed of before."""
    bare = trace(contact("a", stay(0, 20)), contact("x", stay(5, 25)))
    assert informed(informed(bare, first, {}), second, {}) == informed(bare, second, {})
    assert informed(bare, [], {}) == bare


def test_an_interview_confirms_until_an_officer_decides_later() -> None:
    found = trace(contact("a", stay(0, 20)))
    grades = [
        informed(found, [told("a", 10, 30, at=5)], decided("a", "dismissed", at)).contacts[0].grade for at in (4, 5, 6)
    ]
    assert grades == ["confirmed", "dismissed", "dismissed"]
    merged = informed(found, [told("a", 10, 30)], {}).contacts[0]
    assert (merged.minutes, merged.rule, merged.decided_by) == (30.0, "who@1+interview", "nurse")
    assert [each.told_by for each in merged.evidence] == [None, "nurse"]


def test_an_interview_counts_where_it_meets_the_window() -> None:
    """[-10, 0) and [1000, 1010) only touch it."""
    spans = [(-10, 0), (-10, 1), (500, 510), (999, 1010), (1000, 1010)]
    shown = [bool(informed(trace(), [told("a", start, end)], {}).contacts) for start, end in spans]
    assert shown == [False, True, True, True, False]


def test_a_decision_alone_adds_nobody() -> None:
    assert informed(trace(), [], decided("a", "confirmed", 1)).contacts == ()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_what_was_said_twice_the_later_counts(order: tuple[int, ...]) -> None:
    """In whatever order it comes."""
    said = [told("a", 0, 10, at=1), told("a", 0, 10, at=2), told("b", 0, 10, at=1)]
    held: tuple[InterviewContact, ...] = ()
    for number in order:
        held = noted(held, said[number])
    assert sorted((each.contact, each.told_at_ms) for each in held) == [("a", 2), ("b", 1)]


def test_an_erasure_takes_the_stays_that_began_before() -> None:
    early, late = stay(30, 40, contact=(0, 40)), stay(60, 80)
    report = trace(contact("a", early, late), contact("b", stay(0, 5)))
    kept = without(report, "a", 50 * MINUTE).contacts
    assert [(each.person, each.minutes, each.evidence) for each in kept] == [
        ("a", 20.0, (late,)),
        ("b", 5.0, (stay(0, 5),)),
    ]
    assert [each.person for each in without(report, "a", 90 * MINUTE).contacts] == ["b"]
    assert without(report, "nobody", 90 * MINUTE) == report
    assert without(report, "ill", 1).contacts == (contact("a", early, late),)
    assert without(report, "ill", 90 * MINUTE).contacts == ()


def dossier() -> Dossier:
    """Of `ill`: a case of minute 10 and one a year later, a trace of each and one without a case."""
    held = Dossier("ill")
    for minute in (10, 525_600):
        episodes, _ = apply_result(
            held.episodes, TestResult(person="ill", outcome="positive", specimen_ms=minute * MINUTE)
        )
        held = msgspec.structs.replace(held, episodes=episodes)
    for name, case_id in (("old", held.episodes[0].case_id), ("new", held.episodes[1].case_id), ("none", "")):
        job = Job(name, case_id, "forward", "who", "dr", "why", 0, None, 20 * MINUTE, None)
        held = held.with_job(job)
    return msgspec.structs.replace(
        held, decisions=decided("a", "confirmed", 15 * MINUTE), interviews=(told("a", 0, 10), told("b", 0, 10))
    )


def test_an_erasure_takes_a_case_and_its_traces() -> None:
    left = forgotten(dossier(), "ill", 100 * MINUTE)
    assert [each.specimen_ms for each in left.episodes] == [525_600 * MINUTE]
    assert sorted(left.jobs) == ["new"]
    assert (left.decisions, left.interviews) == ({}, ())
    assert forgotten(dossier(), "ill", 0) == dossier()
    assert forgotten(dossier(), "ill", 1 << 50) == Dossier("ill")


def test_an_erasure_of_a_contact_takes_what_was_said_of_them() -> None:
    left = forgotten(dossier(), "a", 100 * MINUTE)
    assert (left.episodes, left.jobs) == (dossier().episodes, dossier().jobs)
    assert (left.decisions, [each.contact for each in left.interviews]) == ({}, ["b"])


def test_a_case_keeps_what_was_found_after_the_erasure() -> None:
    held = dossier()
    episodes, _ = apply_result(held.episodes, TestResult(person="ill", outcome="positive", specimen_ms=2000 * MINUTE))
    left = forgotten(msgspec.structs.replace(held, episodes=episodes), "ill", 100 * MINUTE)
    assert [[p.specimen_ms for p in each.positives] for each in left.episodes] == [[2000 * MINUTE], [525_600 * MINUTE]]
    assert left.episodes[0].revision == episodes[0].revision + 1


@pytest.mark.parametrize(
    ("made", "held", "expected"),
    [
        (trace(), None, True),
        (trace(), trace(), False),
        (msgspec.structs.replace(trace(), as_of_ms=9, position=(1, 9)), trace(), False),
        (trace(contact("a", stay(0, 20))), trace(), True),
        (trace(state="incomplete"), trace(contact("a", stay(0, 20))), False),
        (trace(state="incomplete"), trace(contact("a", stay(0, 20)), state="behind"), False),
        (trace(state="complete"), trace(state="incomplete"), True),
        (trace(state="incomplete", revision=2), trace(), True),
        (msgspec.structs.replace(trace(), ended=True), trace(), True),
    ],
)
def test_which_report_is_told(made: Trace, held: Trace | None, expected: bool) -> None:
    """What says something else, never what fewer partitions answered, and always a new revision."""
    assert worth_telling(made, held) == expected

"""Cases and traces through the running pipeline: opened, revised, withdrawn, decided, incomplete and made good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
import psycopg
import pytest

from lacak.officer_commands import send
from officer.store import Store
from schemas.messages import ContactDecision, Scan, TestResult, Trace, TraceRequest, Venue
from streams.reader import read_topic
from tests.pipeline import Broker, Pipeline, pipeline

MINUTE, DAY = 60_000, 86_400_000
NOON = 1_634_792_400_000
"""21 October 2021, 12:00 in Jakarta."""


def stay(person: str, venue: str, start_minute: int, end_minute: int) -> list[Scan]:
    """A check-in and a check-out, minutes from noon."""
    return [
        Scan(person=person, venue=venue, kind=kind, at_ms=NOON + at * MINUTE, arrived_at_ms=NOON + at * MINUTE)  # type: ignore[arg-type]
        for kind, at in (("in", start_minute), ("out", end_minute))
    ]


@pytest.fixture(scope="module")
def running(broker: Broker, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A case, `ill`, who sat 20 minutes with `near`, 14 with `short`, the day before with `early`."""
    with pipeline(broker, database, tmp_path_factory.mktemp("traces")) as made:
        made.register([Venue(venue="cafe"), Venue(venue="hall"), Venue(venue="bus")])
        made.publish(
            stay("ill", "cafe", 0, 60)
            + stay("near", "cafe", 40, 90)
            + stay("short", "cafe", -60, 14)
            + stay("ill", "hall", 5 * 1440, 5 * 1440 + 30)
            + stay("after", "hall", 5 * 1440, 5 * 1440 + 30)
            + stay("ill", "bus", -4320, -4290)
            + stay("before", "bus", -4320, -4290)
        )
        made.end()
        yield made


def traces(running: Pipeline, person: str) -> dict[str, Trace]:
    """The traces of a person in PostgreSQL, by direction."""
    with psycopg.connect(running.settings.database) as database:
        rows = database.execute("select report::text from lacak.traces where person = %s", (person,)).fetchall()
    return {trace.direction: trace for trace in (msgspec.json.decode(row[0], type=Trace) for row in rows)}


def until(found: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def report(running: Pipeline, outcome: str = "positive", **dates: int) -> None:
    """A laboratory's message about `ill`, with the specimen of 22 October."""
    result = TestResult(person="ill", outcome=outcome, specimen_ms=NOON + DAY, **dates)  # type: ignore[arg-type]
    send(running.settings, "test-results", "ill", result)


def settled(running: Pipeline, revision: int) -> dict[str, Trace]:
    """Both traces once they are of a revision and complete."""
    until(
        lambda: [(t.revision, t.state) for t in traces(running, "ill").values()] == [(revision, "complete")] * 2,
        f"no two complete traces of revision {revision}",
    )
    return traces(running, "ill")


def people(trace: Trace) -> list[str]:
    """Who is a contact."""
    return [contact.person for contact in trace.contacts]


def test_a_positive_test_is_traced_both_ways_and_a_revision_again(running: Pipeline) -> None:
    report(running, onset_ms=NOON)
    found = settled(running, 1)
    assert people(found["forward"]) == ["after", "near"]  # kmk-413: 15 minutes, two days before to 14 after the onset
    assert people(found["backward"]) == ["before"]
    near = found["forward"].contacts[1]
    assert (near.minutes, near.grade, near.rule) == (20.0, "possible", "kmk-413@2020-07-13")
    assert [(s.venue, s.start_ms, s.end_ms) for s in near.evidence] == [
        ("cafe", NOON + 40 * MINUTE, NOON + 60 * MINUTE)
    ]

    decision = ContactDecision(
        trace_id=found["forward"].trace_id, person="ill", contact="near", grade="confirmed", officer="dr",
        purpose="interview", decided_at_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    send(running.settings, "contact-decisions", "ill", decision)
    until(lambda: traces(running, "ill")["forward"].contacts[1].grade == "confirmed", "the decision was not taken up")

    report(running, onset_ms=NOON, isolated_ms=NOON + 2 * DAY)
    revised = settled(running, 2)["forward"]
    assert people(revised) == ["near"]
    assert (revised.contacts[0].grade, revised.contacts[0].decided_by) == ("confirmed", "dr")

    report(running, "withdrawn")
    until(lambda: {t.state for t in traces(running, "ill").values()} == {"withdrawn"}, "the traces were not withdrawn")
    assert all(not trace.contacts for trace in traces(running, "ill").values())


def test_a_request_needs_a_case_or_a_date(running: Pipeline) -> None:
    request = TraceRequest(request_id="r", person="nobody", officer="dr", purpose="why", direction="forward")
    send(running.settings, "trace-requests", "nobody", request)
    letters: list[dict[str, object]] = []

    def told() -> bool:
        letters[:] = [
            msgspec.json.decode(record.value or b"") for record in read_topic(running.settings, "dead-letters")
        ]
        return bool(letters)

    until(told, "no dead letter came")
    assert [letter["reason"] for letter in letters] == ["no_case"]


@pytest.mark.parametrize(
    ("profile", "found"),
    [
        ("cwa", [("before", 30, 36.0, "high"), ("near", 50, 80.0, "high"), ("short", 14, 22.4, "high")]),
        ("clea", [("after", 30, 2.0, None), ("near", 20, 2.0, None), ("short", 14, 2.0, None)]),
        ("cdc", [("after", 30, None, None), ("near", 20, None, None)]),
    ],
)
def test_a_trace_under_a_published_rule(
    running: Pipeline, profile: str, found: list[tuple[str, float, float | None, str | None]]
) -> None:
    """Corona-Warn-App's interval of an hour's stay lasts 90 minutes, and five days after the onset counts nothing."""
    with Store.opened(running.settings.database) as store:
        began_ms = time.time_ns() // 1_000_000
        request = TraceRequest(
            request_id=f"under {profile}", person="ill", officer="dr", purpose="why", profile=profile, onset_ms=NOON
        )
        send(running.settings, "trace-requests", "ill", request)
        made = store.await_traces("ill", began_ms, 1, 30.0)
        until(lambda: store.trace(made[0].trace_id).state == "complete", "the trace was not made good")
        contacts = store.trace(made[0].trace_id).contacts
    assert [(each.person, each.minutes, each.score, each.level) for each in contacts] == found


def test_a_trace_of_a_partition_that_does_not_answer_is_incomplete_and_made_good(running: Pipeline) -> None:
    """While no places worker runs nobody answers: the report says so, and a later one takes its place."""
    running.worker("places").kill()
    with Store.opened(running.settings.database) as store:
        began_ms = time.time_ns() // 1_000_000
        request = TraceRequest(
            request_id="again", person="near", officer="dr", purpose="why", direction="backward", profile="who",
            onset_ms=NOON + 3 * DAY,
        )  # fmt: skip
        send(running.settings, "trace-requests", "near", request)
        first = store.await_traces("near", began_ms, 1, 30.0)
        assert [(trace.state, trace.missing_partitions) for trace in first] == [("incomplete", (0, 1, 2, 3))]
        running.worker("places").start()
        until(lambda: store.trace(first[0].trace_id).state == "complete", "the trace was not made good", 60.0)
        assert people(store.trace(first[0].trace_id)) == ["ill"]

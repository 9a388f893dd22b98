"""Traces that stand, through the running pipeline: what comes later changes the report, and each report is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result

from agents.standing import Standing
from contacts.cases import numbers
from contacts.tracing import Dossier
from gateway.client import Gateway
from lacak.main import cli
from lacak.officer_commands import send
from officer.exports import utc
from schemas.blocks import CONTROL_MAGIC, CONTROLS, WatchOrder, unframe
from schemas.heartbeats import beat_of
from schemas.messages import Erasure, Scan, TestResult, Trace, TraceAnswer, Venue
from streams.reader import read_topic
from streams.topics import changelog
from tests.pipeline import Broker, Pipeline, pipeline
from tests.test_traces import DAY, MINUTE, NOON, people, stay, traces, until

LEFT = NOON + 45 * MINUTE
"""When `near` left, as a correction has it."""


@pytest.fixture(scope="module")
def running(broker: Broker, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A case, `ill`, who sat 20 minutes with `near`, traced forward and backward."""
    with pipeline(broker, database, tmp_path_factory.mktemp("standing"), snapshot_seconds=0.5) as made:
        made.register([Venue(venue="cafe"), Venue(venue="hall"), Venue(venue="bus")])
        made.publish(stay("ill", "cafe", 0, 60) + stay("near", "cafe", 40, 90))
        made.end()
        result = TestResult(person="ill", outcome="positive", specimen_ms=NOON + DAY, onset_ms=NOON)
        send(made.settings, "test-results", "ill", result)
        met(made, "near")
        yield made


def met(running: Pipeline, *expected: str, seconds: float = 60.0) -> Trace:
    """The forward trace of `ill`, once it has these contacts and is complete."""
    found: list[Trace] = []

    def so() -> bool:
        trace = traces(running, "ill").get("forward")
        found[:] = [trace] if trace else []
        return trace is not None and trace.state == "complete" and people(trace) == sorted(expected)

    until(so, f"the contacts did not become {sorted(expected)}", seconds)
    return found[0]


def lacak(running: Pipeline, *words: str) -> Result:
    """The command, as an officer's."""
    settings = running.settings
    environment = {
        "LACAK_BROKERS": settings.brokers, "LACAK_DATABASE": settings.database, "LACAK_CLOCK": settings.clock,
        "LACAK_TOPIC_PREFIX": settings.topic_prefix, "LACAK_PARTITIONS_CASES": str(settings.partitions.cases),
        "LACAK_OFFICER": "dr", "LACAK_PURPOSE": "interview",
    }  # fmt: skip
    return CliRunner().invoke(cli, words, env=environment)


def history(running: Pipeline) -> list[tuple[str, list[str]]]:
    """The states and contacts of the forward trace's reports, in order."""
    with psycopg.connect(running.settings.database) as database:
        rows = database.execute(
            "select h.report::text from lacak.trace_history h join lacak.traces t using (trace_id)"
            " where t.person = 'ill' and t.direction = 'forward' order by h.position_offset, h.position_step"
        ).fetchall()
    reports = [msgspec.json.decode(row[0], type=Trace) for row in rows]
    return [(report.state, people(report)) for report in reports]


def test_later_messages_change_the_report(running: Pipeline) -> None:
    """A late scan adds a contact, a correction takes one away, a new visit of the case adds; the rest is left alone."""
    first = met(running, "near")
    assert first.standing_until_ms == first.window_end_ms + 3 * DAY
    assert not first.ended
    running.publish(stay("late", "cafe", 10, 50))
    met(running, "near", "late")
    running.publish([Scan(person="near", venue="cafe", kind="out", at_ms=LEFT, arrived_at_ms=LEFT)])
    met(running, "late")
    running.publish(stay("there", "hall", 300, 400))
    running.publish(stay("ill", "hall", 310, 340))
    last = met(running, "late", "there")
    assert last.revision == first.revision
    assert [list(traces(running, "ill")["backward"].contacts)] == [[]]


def test_what_was_known_when_is_kept(running: Pipeline) -> None:
    """Each report that said something else stands in the history, once; an earlier one is shown as it was."""
    found = history(running)
    assert found == [("complete", each) for each in (["near"], ["late", "near"], ["late"], ["late", "there"])]
    last = met(running, "late", "there")
    told = lacak(running, "show", last.trace_id, "--history", "--json")
    assert told.exit_code == 0, told.output
    listed = msgspec.json.decode(told.output)
    assert [(each["came"], each["gone"]) for each in listed] == [
        (["near"], []), (["late"], []), ([], ["near"]), (["there"], []),
    ]  # fmt: skip
    assert "+late" in lacak(running, "show", last.trace_id, "--history").output
    assert last.as_of_ms is not None
    then = lacak(running, "show", last.trace_id, "--as-of", utc(last.as_of_ms), "--json")
    assert msgspec.json.decode(then.output, type=Trace) == last
    before = lacak(running, "show", last.trace_id, "--as-of", "2021-10-20", "--json")
    assert before.exit_code == 1
    assert "Nothing was known" in before.output


def test_a_killed_worker_loses_no_change(running: Pipeline) -> None:
    """The places worker dies at moments between the change and the note, the tracing worker before and after it."""
    expected = ["late", "there"]
    for number in range(4):
        expected.append(f"more{number}")
        running.publish(stay(expected[-1], "cafe", 20, 55))
        time.sleep(0.3 * number)
        running.worker("places").kill()
        running.worker("places").start()
        met(running, *expected)
    running.worker("tracing").kill()
    heard = len(noted_traces(running))
    expected.append("unheard")
    running.publish(stay(expected[-1], "cafe", 20, 55))
    until(lambda: len(noted_traces(running)) > heard, "no note came")
    running.worker("tracing").start()
    met(running, *expected)
    expected.append("heard")
    running.publish(stay(expected[-1], "cafe", 20, 55))
    until(lambda: "changed" in states(running), "no note was taken up")
    running.worker("tracing").kill()
    running.worker("tracing").start()
    met(running, *expected)


def noted_traces(running: Pipeline) -> list[str]:
    """The traces of which the coordinators have been sent a note, once for each note."""
    records = (each for each in read_topic(running.settings, "trace-answers") if beat_of(each.value) is None)
    answers = [msgspec.json.decode(record.value or b"", type=TraceAnswer) for record in records]
    return [answer.trace_id for answer in answers if answer.kind == "changed"]


def states(running: Pipeline) -> list[str]:
    """The states of the jobs of `ill`, as the tracing worker has written them down last."""
    table = changelog(running.settings, "tracing", "people")
    found = [record.value for record in read_topic(running.settings, table) if record.key == b"ill" and record.value]
    return [job.state for job in msgspec.json.decode(found[-1], type=Dossier).jobs.values()]


def test_a_case_isolated_or_withdrawn_is_watched_no_longer(running: Pipeline) -> None:
    """A second case: after its isolation nobody is added, and once it is withdrawn no partition tells of it."""
    running.publish(stay("second", "bus", 0, 60) + stay("beside", "bus", 0, 60) + stay("second", "bus", 2880, 2940))
    dates = {"specimen_ms": NOON, "onset_ms": NOON}
    for result in (
        TestResult(person="second", outcome="positive", **dates),
        TestResult(person="second", outcome="positive", isolated_ms=NOON + DAY, **dates),
    ):
        send(running.settings, "test-results", "second", result)
    until(lambda: (trace := forward(running, "second")) is not None and trace.revision == 2, "it was not revised")
    running.publish(stay("after", "bus", 2880, 2940) + stay("with", "bus", 30, 60))
    until(lambda: people(traces(running, "second")["forward"]) == ["beside", "with"], "no contact was added")
    send(running.settings, "test-results", "second", TestResult(person="second", outcome="withdrawn", specimen_ms=NOON))
    until(lambda: {trace.state for trace in traces(running, "second").values()} == {"withdrawn"}, "not withdrawn")
    until(lambda: withdrawals(running) == running.settings.partitions.scans, "the watch was not withdrawn")
    own = {trace.trace_id for trace in traces(running, "second").values()}
    heard = sum(each in own for each in noted_traces(running))
    known = people(traces(running, "ill")["forward"])
    running.publish(stay("nothing", "bus", 30, 60) + stay("control", "cafe", 20, 55))
    met(running, "control", *known)
    assert sum(each in own for each in noted_traces(running)) == heard


def withdrawals(running: Pipeline) -> int:
    """In how many partitions of scans a forward watch has been withdrawn."""
    controls = [
        unframe(CONTROL_MAGIC, record.value, CONTROLS)
        for record in read_topic(running.settings, "scans")
        if record.value is not None and record.value[:4] == CONTROL_MAGIC
    ]
    return sum(
        isinstance(each, WatchOrder) and each.direction == "forward" and each.window_end_ms == 0 for each in controls
    )


def test_an_interview_adds_a_confirmed_contact(running: Pipeline, tmp_path: Path) -> None:
    """One nobody scanned, and one that scans found too: both are confirmed, with the evidence of each."""
    before = {contact.person: contact for contact in traces(running, "ill")["forward"].contacts}
    told = lacak(
        running, "contacts", "add", "ill", "--contact", "friend", "--at", utc(NOON + 600 * MINUTE), "--minutes", "10"
    )
    assert told.exit_code == 0, told.output
    listed = tmp_path / "contacts.csv"
    listed.write_text(f"from,to,at,venue\nill,late,{utc(NOON + 20 * MINUTE)},cafe\nother,late,2021-10-21,\n", "utf-8")
    told = lacak(running, "contacts", "add", "ill", "--file", str(listed), "--minutes", "10")
    assert told.exit_code == 0, told.output
    assert "1 told" in told.output
    assert "another person than the case" in told.output
    after = {contact.person: contact for contact in met(running, "friend", *before).contacts}

    def confirmed() -> bool:
        after.update({contact.person: contact for contact in traces(running, "ill")["forward"].contacts})
        return after["late"].grade == "confirmed"

    until(confirmed, "the contact that scans found was not confirmed")
    assert (after["friend"].grade, after["friend"].rule, after["friend"].minutes) == ("confirmed", "interview", 10.0)
    late = after["late"]
    assert late.rule == before["late"].rule + "+interview"
    assert late.evidence[:-1] == before["late"].evidence
    assert (late.evidence[-1].told_by, late.evidence[-1].minutes) == ("dr", 10.0)
    assert "told to dr" in lacak(running, "show", traces(running, "ill")["forward"].trace_id).output
    assert late.minutes == before["late"].minutes  # their ten minutes are among those


def test_an_erased_contact_leaves_report_and_history(running: Pipeline) -> None:
    """And every table of PostgreSQL but the audit and the list of erasures; the others stay."""
    left = sorted(set(people(traces(running, "ill")["forward"])) - {"late"})
    versions = len(history(running))
    running.erase([Erasure(person="late", before_ms=NOON + 9 * DAY, officer="dr", purpose="wish")])
    met(running, *left)
    until(lambda: all("late" not in each for _, each in history(running)), "the history still names them")
    assert len(history(running)) >= versions
    assert mentions(running, "late") == {"erasures"}


def mentions(running: Pipeline, person: str) -> set[str]:
    """The tables that name a person, the audit apart."""
    found = set()
    with psycopg.connect(running.settings.database) as database:
        tables = database.execute("select table_name from information_schema.tables where table_schema = 'lacak'")
        for (table,) in tables.fetchall():
            query = f"select exists (select from lacak.{table} t where t::text ~ ('\\y' || %s || '\\y'))"
            if table != "audit" and database.execute(query.encode(), (person,)).fetchone() == (True,):
                found.add(table)
    return found


def test_an_erased_case_leaves_nothing(running: Pipeline) -> None:
    """Its case, its traces and their history are gone."""
    assert {"cases", "traces", "trace_history"} <= mentions(running, "ill")
    running.erase([Erasure(person="ill", before_ms=NOON + 9 * DAY, officer="dr", purpose="wish")])
    until(lambda: mentions(running, "ill") == {"erasures"}, "the case is still named")


def tick(running: Pipeline, at_ms: int) -> None:
    """Move the log time of every partition."""
    with Gateway(running.settings.brokers, topic=running.settings.topic("scans")) as gateway:
        gateway.end_run(at_ms)


def forward(running: Pipeline, person: str) -> Trace | None:
    """The forward trace of a person."""
    return traces(running, person).get("forward")


def test_a_trace_changes_with_time_and_ends(running: Pipeline) -> None:
    """Two sit together from noon: no contact after 10 minutes, one after 20, without a scan; then it ends."""
    noon = NOON + 5 * DAY
    running.publish(
        [
            Scan(person=person, venue="hall", kind="in", at_ms=noon, arrived_at_ms=noon + 10 * MINUTE)
            for person in ("sitter", "mate")
        ]
    )
    tick(running, noon + 10 * MINUTE)
    result = TestResult(person="sitter", outcome="positive", specimen_ms=noon, onset_ms=noon)
    send(running.settings, "test-results", "sitter", result)
    until(lambda: (trace := forward(running, "sitter")) is not None and trace.state == "complete", "no trace came")
    assert not people(traces(running, "sitter")["forward"])
    tick(running, noon + 20 * MINUTE)
    until(lambda: people(traces(running, "sitter")["forward"]) == ["mate"], "the contact did not come of age")
    trace = traces(running, "sitter")["forward"]
    assert trace.contacts[0].evidence[0].end_ms == noon + 20 * MINUTE
    tick(running, noon + DAY)
    until(lambda: traces(running, "sitter")["forward"].contacts[0].minutes == 120.0, "the end did not come")
    tick(running, (trace.standing_until_ms or 0) + 1)
    until(lambda: all(trace.ended for trace in traces(running, "sitter").values()), "the traces still stand")
    assert people(traces(running, "sitter")["forward"]) == ["mate"]
    running.erase([Erasure(person="mate", before_ms=noon + DAY, officer="dr", purpose="wish")])
    until(lambda: mentions(running, "mate") == {"erasures"}, "the trace that has ended still names them")


def test_the_longer_changes_keep_coming_the_longer_a_trace_waits(running: Pipeline) -> None:
    """And after a calm it is asked again at once."""
    clock = FixedClock()
    standing = Standing(running.settings, clock, None)  # type: ignore[arg-type]
    waits = []
    for _ in range(8):
        waits.append(standing.wait_seconds("t"))
        clock.seconds += waits[-1] + 1.0
    assert waits == [*numbers().changed_seconds, *[numbers().changed_seconds[-1]] * 3]
    assert standing.wait_seconds("other") == numbers().changed_seconds[0]
    clock.seconds += 1000.0
    assert standing.wait_seconds("t") == numbers().changed_seconds[0]


class FixedClock:
    """A clock that stands where it is put."""

    seconds = 50.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return round(self.seconds * 1000)

"""Hops between the two agents themselves, with a list for a log: what is silent, behind, late or said twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from agents.contacts import Contacts
from agents.tracing import Tracing
from contacts.erasing import without
from contacts.places import Places
from contacts.profiles import load_profiles
from contacts.risk import load_risk
from contacts.visits import Visit
from schemas.blocks import CONTROL_MAGIC, CONTROLS, Barrier, unframe
from schemas.messages import SourceOffset, TestResult, Trace, TraceAnswer, TraceQuery, TraceRequest
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.settings import DeadLetterLimits, Partitions, Settings
from tests.worlds import BEGIN, DAY, HOUR

RISK = msgspec.structs.replace(load_risk(), proximity={"*": 1.0}, latent_days=0.5)


def visit(person: str, venue: str, day: int) -> Visit:
    """Ten hours at a venue."""
    return Visit(person, venue, BEGIN + day * DAY, BEGIN + day * DAY + 10 * HOUR, 1)


CHAIN = [
    [visit("ill", "u", 2), visit("a", "u", 2), visit("b", "w", 6), visit("c", "w", 6)],
    [visit("a", "v", 4), visit("b", "v", 4), visit("c", "x", 8), visit("d", "x", 8)],
]
"""ill infects a, a b, b c, c d: every other link in another partition of visits."""


class Log:
    """Both agents, and the records between them in order; a partition in `silent` reads no questions."""

    def __init__(self, hops: int = 1) -> None:
        self.records: list[tuple[str, int, bytes | None, bytes | None]] = []
        self.told: list[Trace] = []
        self.silent: set[int] = set()
        self.now = 0.0
        self.places = [Places.from_visits(visits) for visits in CHAIN]
        self.as_of: tuple[SourceOffset, ...] = ()
        settings = Settings(partitions=Partitions(scans=1, visits=2, cases=1), profile="who", hops=hops)
        letters = DeadLetters(self, DeadLetterLimits())
        self.contacts = Contacts(settings, self, self, letters, lambda partition: self.places[partition])  # type: ignore[arg-type]
        self.tracing = Tracing(settings, self, self, letters, load_profiles(), RISK, {}, {}, lambda _: None)  # type: ignore[arg-type]

    def now_ms(self) -> int:
        """The clock's time."""
        return BEGIN + 30 * DAY + int(self.now * 1000)

    def monotonic(self) -> float:
        """The clock's seconds."""
        return self.now

    def send(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None
    ) -> None:
        """A record at the end."""
        self.records.append((topic, partition, value, key))

    async def flush(self) -> None:
        """All that was sent is in the log."""

    def when_acknowledged(self, told: Callable[[], object]) -> None:
        """It is."""
        told()

    def ask(self, hops: int, people: int | None = None) -> None:
        """A trace of `ill` over hops, nobody too unlikely to follow."""
        request = TraceRequest(
            request_id="r", person="ill", officer="dr", purpose="why", profile="who", onset_ms=BEGIN + 2 * DAY,
            hops=hops, least_risk=0.0, people_most=people,
        )  # fmt: skip
        self.send("trace-requests", 0, msgspec.json.encode(request), b"ill")

    def request(self, number: int, onset_ms: int) -> None:
        """One of many traces of `ill`, over one hop."""
        request = TraceRequest(
            request_id=f"r{number}", person="ill", officer="dr", purpose="why", profile="who", onset_ms=onset_ms
        )
        self.send("trace-requests", 0, msgspec.json.encode(request), b"ill")

    def run(self, alter: Callable[[str, int, bytes], list[bytes]] = lambda topic, partition, value: [value]) -> None:
        """Let everything be read; `alter` may hold back, change or double a record."""
        while self.records:
            topic, partition, value, key = self.records.pop(0)
            for each in alter(topic, partition, value or b""):
                batch = Batch(topic, partition, [0], [0], [key], [each], highwater=1)
                if topic == "scans":
                    control = unframe(CONTROL_MAGIC, each, CONTROLS)
                    if isinstance(control, Barrier):
                        for place in range(2):
                            self.contacts.barrier(place, 0, control.query_id, BEGIN + 20 * DAY)
                elif topic == "trace-queries":
                    if partition not in self.silent:
                        asyncio.run(self.contacts.take(batch))
                elif topic == "traces":
                    self.told.append(msgspec.json.decode(each, type=Trace))
                elif topic != "cases":
                    asyncio.run(self.tracing.take(batch))

    def later(self, seconds: float) -> None:
        """Time goes on, reminders come, and everything is read."""
        self.now += seconds
        self.tracing.remind()
        self.run()


def watch_for(asked: list[str]) -> Callable[[str, int, bytes], list[bytes]]:
    """Changes no record, and keeps the ids of the questions that partition 0 is asked."""

    def watched(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic == "trace-queries" and partition == 0:
            query = msgspec.json.decode(value, type=TraceQuery)
            if query.kind == "ask":
                asked.append(query.query_id)
        return [value]

    return watched


def reached(trace: Trace) -> dict[str, int]:
    """Everybody and their hop."""
    return {contact.person: contact.hop for contact in trace.contacts}


def test_links_in_several_partitions_are_followed_hop_by_hop() -> None:
    log = Log()
    log.ask(4)
    log.run()
    assert [(trace.state, reached(trace)) for trace in log.told] == [("complete", {"a": 1, "b": 2, "c": 3, "d": 4})]
    assert [contact.exposed_by for contact in log.told[0].contacts] == [(), ("a",), ("a", "b"), ("a", "b", "c")]
    risk = 1 - 2.718281828459045 ** (-0.11)
    assert [contact.risk for contact in log.told[0].contacts] == pytest.approx([risk, risk**2, risk**3, risk**4])


@pytest.mark.parametrize(
    ("hops", "people", "found", "cut"),
    [(1, None, 1, ()), (2, None, 2, ("hops",)), (5, None, 4, ()), (5, 2, 2, ("people",))],
)
def test_a_report_names_the_limit_that_cut_it(hops: int, people: int | None, found: int, cut: tuple[str, ...]) -> None:
    """A trace of one hop is what it is asked to be, not cut."""
    log = Log()
    log.ask(hops, people)
    log.run()
    assert log.told[0].cut_by == cut
    assert len(log.told[0].contacts) == found


def test_a_partition_silent_at_a_later_hop_leaves_the_report_incomplete_until_it_answers() -> None:
    """From the second hop on partition 1 reads nothing; the third hop lies there."""
    log = Log()

    def falls_silent(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic == "trace-queries" and msgspec.json.decode(value, type=TraceQuery).hop > 1:
            log.silent = {1}
        return [value]

    log.ask(4)
    log.run(falls_silent)
    assert log.told == []
    log.later(2.1)  # the deadline: the question is put again, as one that must be answered at once
    log.later(2.1)
    assert [(t.state, t.missing_partitions, reached(t), t.ended) for t in log.told] == [
        ("incomplete", (1,), {"a": 1}, False)
    ]
    log.silent = set()
    log.later(1.1)
    assert log.told[-1].state == "complete"
    assert reached(log.told[-1]) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_a_partition_that_was_set_back_answers_a_later_hop_when_it_has_caught_up_or_says_that_it_is_behind() -> None:
    """A worker that was restored knows less than the first answers did: it waits, and at the deadline says so."""
    log = Log()

    def further_on(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic == "trace-answers":
            answer = msgspec.json.decode(value, type=TraceAnswer)
            if answer.kind == "answer" and answer.hop == 1:
                as_of = (SourceOffset(partition=0, offset=1000, log_time_ms=BEGIN + 20 * DAY),)
                return [msgspec.json.encode(msgspec.structs.replace(answer, as_of=as_of))]
        return [value]

    log.ask(3)
    log.run(further_on)
    assert log.told == []
    log.later(2.1)
    assert [(t.state, t.behind_partitions, reached(t)) for t in log.told] == [("behind", (0, 1), {"a": 1, "b": 2})]


def test_answers_of_another_hop_or_twice_change_nothing() -> None:
    """Every answer comes twice, and those of the first hop again with each later one."""
    log, first = Log(), []

    def echo(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic != "trace-answers":
            return [value]
        if msgspec.json.decode(value, type=TraceAnswer).hop == 1:
            first.append(value)
        return [value, *first, value]

    log.ask(4)
    log.run(echo)
    plain = Log()
    plain.ask(4)
    plain.run()
    assert [trace.contacts for trace in log.told] == [trace.contacts for trace in plain.told]


def test_an_answer_in_parts_counts_once_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row in a record of its own; the parts come in any order, twice, and once one is lost until asked again."""
    monkeypatch.setattr("agents.contacts._MEETINGS_A_RECORD", 1)
    crowd = [visit(f"p{number}", "u", 2) for number in range(6)] + [visit(f"q{number}", "v", 4) for number in range(6)]
    monkeypatch.setitem(globals(), "CHAIN", [CHAIN[0] + crowd[:6], CHAIN[1] + crowd[6:]])
    plain, torn = Log(), Log()
    held: list[bytes] = []
    lost: list[bytes] = []

    def tear(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic != "trace-answers":
            return [value]
        answer = msgspec.json.decode(value, type=TraceAnswer)
        if answer.hop == 2 and answer.part == 1 and not lost:
            lost.append(value)
            return []
        held.append(value)
        if answer.part + 1 < answer.parts:
            return []
        sent, held[:] = [*reversed(held), *held], []
        return sent

    plain.ask(3)
    plain.run()
    torn.ask(3)
    torn.run(tear)
    assert (torn.told, len(lost)) == ([], 1)
    torn.later(2.1)  # the deadline: asked again, and answered with what is there
    torn.later(2.1)
    torn.later(1.1)
    assert [(trace.state, trace.contacts) for trace in torn.told[-1:]] == [("complete", plain.told[0].contacts)]
    assert len(plain.told[0].contacts) == 15


def test_a_report_larger_than_a_record_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest stay."""
    monkeypatch.setattr("agents.asking._REPORT_BYTES", 1500)
    log = Log()
    log.ask(4)
    log.run()
    assert (reached(log.told[0]), log.told[0].cut_by) == ({"a": 1, "b": 2}, ("hops", "people"))
    assert len(msgspec.json.encode(log.told[0])) < 2000


def test_erasing_one_on_the_way_takes_away_whoever_was_reached_through_them() -> None:
    """The erased person's stays and name are gone; who came before them on the path stays."""
    log = Log()
    log.ask(4)
    log.run()
    left = without(log.told[0], "b", BEGIN + 30 * DAY)
    assert reached(left) == {"a": 1}
    assert b'"b"' not in msgspec.json.encode(left)
    assert reached(without(log.told[0], "b", BEGIN)) == reached(log.told[0])


@pytest.mark.parametrize("hops", [0, 11])
def test_a_request_for_too_many_hops_is_a_dead_letter(hops: int) -> None:
    log, letters = Log(), []

    def keep(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic == "dead-letters":
            letters.append(msgspec.json.decode(value)["reason"])
            return []
        return [value]

    log.ask(hops)
    log.run(keep)
    assert (letters, log.told) == (["bad_hops"], [])


def test_so_many_traces_are_asked_at_once_and_the_others_take_their_turn_new_ones_first() -> None:
    """40 traces while nobody answers: 16 are asked; those whose answers fail to come let the next new ones go first."""
    log = Log()
    log.silent = {0, 1}
    asked: list[str] = []
    watched = watch_for(asked)
    for number in range(40):
        log.request(number, BEGIN + 2 * DAY)
    log.run(watched)
    assert (len(asked), len(set(asked))) == (16, 16)
    for _ in range(2):
        log.now += 2.1
        log.tracing.remind()
        log.run(watched)
    assert [query.rsplit("/", 1)[1] for query in asked] == ["0"] * 32, "an overdue trace is asked again after new ones"
    log.silent = set()
    for _ in range(12):
        log.now += 2.1
        log.tracing.remind()
        log.run(watched)
    last = {trace.trace_id: trace.state for trace in log.told}
    assert (len(last), set(last.values())) == (40, {"complete"})


def test_of_traces_asked_again_few_are_under_way_and_a_new_one_does_not_wait_for_them() -> None:
    """20 complete traces change at once while nobody answers: two are asked, and a new one beside them."""
    log = Log()
    asked: list[str] = []
    watched = watch_for(asked)
    for number in range(20):
        log.request(number, BEGIN + 18 * DAY)
    log.run()
    assert [trace.state for trace in log.told] == ["complete"] * 20
    log.silent = {0, 1}
    for trace in log.told:
        changed = TraceAnswer(query_id="", trace_id=trace.trace_id, kind="changed", partition=0)
        log.send("trace-answers", 0, msgspec.json.encode(changed), b"ill")
    log.run(watched)
    log.now += 1.1
    log.tracing.remind()
    log.run(watched)
    assert [query.rsplit("/", 1)[1] for query in asked] == ["1", "1"]
    log.request(20, BEGIN + 18 * DAY)
    log.run(watched)
    assert [query.rsplit("/", 1)[1] for query in asked] == ["1", "1", "0"]
    log.silent = set()
    for _ in range(4):
        log.later(2.1)
    again = TraceAnswer(query_id="", trace_id=log.told[0].trace_id, kind="changed", partition=0)
    log.send("trace-answers", 0, msgspec.json.encode(again), b"ill")
    log.run(watched)
    log.now += 5.1
    log.tracing.remind()
    log.run(watched)
    assert asked[-1].startswith(log.told[0].trace_id), "all others have been answered"


@pytest.mark.parametrize("silent", [set(), {1}])
def test_a_case_is_traced_forward_over_the_hops_set_and_backward_only_then(silent: set[int]) -> None:
    """Its backward trace is not asked before the forward one is told, be that incomplete, and can have been written."""
    log = Log(hops=2)
    log.silent = silent
    happened: list[str] = []

    def watched(topic: str, partition: int, value: bytes) -> list[bytes]:
        if topic == "trace-queries" and partition == 0:
            query = msgspec.json.decode(value, type=TraceQuery)
            if query.kind == "ask":
                happened.append(f"{query.direction} {query.hop}")
        elif topic == "traces":
            happened.append("told " + msgspec.json.decode(value, type=Trace).direction)
        return [value]

    positive = TestResult(person="ill", outcome="positive", specimen_ms=BEGIN + 2 * DAY, onset_ms=BEGIN + 2 * DAY)
    log.send("test-results", 0, msgspec.json.encode(positive), b"ill")
    log.run(watched)
    for _ in range(2 if silent else 0):
        assert "backward 1" not in happened
        log.now += 2.1
        log.tracing.remind()
        log.run(watched)
    log.tracing.remind()
    assert "backward 1" not in happened
    log.now += 0.1
    log.tracing.remind()
    log.run(watched)
    assert happened[: happened.index("backward 1")] == (
        ["forward 1", "told forward"] if silent else ["forward 1", "forward 2", "told forward"]
    )
    log.silent = set()
    for _ in range(3):
        log.now += 2.1
        log.tracing.remind()
        log.run(watched)
    last = {trace.direction: (trace.state, trace.hops, reached(trace)) for trace in log.told}
    assert last["forward"] == ("complete", 2, {"a": 1, "b": 2})
    assert last["backward"][:2] == ("complete", 1)


def test_whoever_takes_partitions_over_asks_again_for_what_waits_and_nobody_gathers_for_others() -> None:
    """A coordinator that lost its partition has every turn free; one that resumes asks again for all that is open."""
    log = Log()
    log.silent = {0, 1}
    log.ask(2)
    log.run()
    log.tracing.resume(held=set())
    log.silent = set()
    log.later(0.1)
    assert [(trace.state, reached(trace)) for trace in log.told] == [("complete", {"a": 1, "b": 2})]

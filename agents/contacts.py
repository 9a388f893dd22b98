"""The contacts agent: a trace's question to one visits partition, answered from the index that occupancy keeps.

A question is answered when its barrier has come from every scans partition: then everything that had arrived when the
trace began is in the index. A later hop of the same trace needs no barrier, only a partition that has come as far as
the first answers had (one that was restored may not have). Past the deadline it is answered with what is there. Between
questions the coordinators of standing traces are told when what they watch has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from contacts.columns import ints
from contacts.controls import BAD_PERSON, is_id
from contacts.exposures import Named, Question, may_expose, packed
from contacts.places import Places
from contacts.profiles import Profile, ProfileError, profile_from_json
from contacts.registry import is_name
from contacts.visits import NEVER_MS
from schemas.bounds import UNDECODABLE
from schemas.messages import SourceOffset, TraceAnswer, TraceQuery
from streams import stagemetrics as metrics
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.settings import Settings

_BARRIERS_KEPT = 10_000
_QUESTIONS_KEPT = 10_000
_ANSWERS_KEPT = 10_000
_MEETINGS_A_RECORD = 20_000
"""How many rows of an answer one record holds: under the largest record that topics take, whatever the names."""

_QUERIES = msgspec.json.Decoder(TraceQuery)


class Contacts:
    """Open questions of each visits partition this worker holds, and the barriers that have come for them."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        letters: DeadLetters,
        state: Callable[[int], Places | None],
    ) -> None:
        self._sources = settings.partitions.scans
        self._coordinators = settings.partitions.cases
        self._clock = clock
        self._letters = letters
        self._outbox = outbox
        self._state = state
        self._open: dict[int, dict[tuple[str, int], TraceQuery]] = {}
        self._barriers: dict[int, OrderedDict[str, dict[int, int]]] = {}
        self._answered: dict[int, OrderedDict[tuple[str, int], None]] = {}

    def barrier(self, partition: int, source: int, query_id: str, log_time_ms: int) -> None:
        """The barrier of a question has come from one scans partition, at this log time."""
        known = self._barriers.setdefault(partition, OrderedDict())
        known.setdefault(query_id, {})[source] = log_time_ms
        while len(known) > _BARRIERS_KEPT:
            known.popitem(last=False)

    def begins(self, partition: int) -> None:
        """Another state of the partition takes the place of the one before: barriers come again with its batches."""
        self._barriers.pop(partition, None)

    async def take(self, message: Batch) -> None:
        """A message of `trace-queries`; what is no question that can be answered goes to the dead letters."""
        try:
            query = _QUERIES.decode(message.values[0] or b"")
            fault = self._fault(query)
        except UNDECODABLE as error:
            fault = "undecodable", str(error)
        if fault is None:
            self.ask(message.partition, query)
        else:
            self._letters.letter(message, 0, 0, *fault, self._clock.now_ms())
            await self._letters.flush()
        self._letters.judge(1, int(fault is not None))

    def _fault(self, query: TraceQuery) -> tuple[str, str] | None:
        """Why a question cannot be answered: (reason, detail)."""
        if not is_name(query.person):
            return "bad_person", BAD_PERSON
        if not is_id(query.query_id) or not is_id(query.trace_id):
            return "bad_question", "a question needs an id, and that of its trace"
        if query.reply_partition >= self._coordinators:
            where = f"partition {query.reply_partition}, and there are {self._coordinators}"
            return "bad_question", f"it is to be answered to {where}"
        if not len(query.people) == len(query.since_ms) == len(query.until_ms):
            return "bad_question", "its people and their windows differ in number"
        if query.hop < 1 or (query.hop == 1 and query.people):
            return "bad_question", f"hop {query.hop} is asked about with {len(query.people)} people"
        try:
            profile_from_json(bytes(query.profile_json))
        except ProfileError as error:
            return "bad_question", str(error)
        return None

    def ask(self, partition: int, query: TraceQuery) -> None:
        """A question, or the word that its deadline has passed: that means nothing once it has been answered."""
        open_here = self._open.setdefault(partition, {})
        if query.kind == "ask":
            open_here[query.query_id, query.hop] = query
            while len(open_here) > _QUESTIONS_KEPT:  # of partitions that were another's when the deadline passed
                del open_here[next(iter(open_here))]
            places = self._state(partition)
            if places is not None:
                self.answer_ready(partition, places)
        else:
            open_here.pop((query.query_id, query.hop), None)
            if (query.query_id, query.hop) not in self._answered.get(partition, ()):
                self._answer_late(partition, query)

    def answer_ready(self, partition: int, places: Places) -> None:
        """Answer every question whose barriers are all there, and every later one whose cut has been reached."""
        open_here, barriers = self._open.get(partition), self._barriers.get(partition, OrderedDict())
        if not open_here:
            return
        for (query_id, hop), query in list(open_here.items()):
            if hop > 1:
                as_of_ms = query.as_of_ms if _has_come_to(places, query.as_of) else None
            else:
                reached = barriers.get(query_id, {})
                as_of_ms = min(reached.values()) if len(reached) == self._sources else None
            if as_of_ms is not None:
                del open_here[query_id, hop]
                barriers.pop(query_id, None)
                if as_of_ms > NEVER_MS:
                    self._send(partition, query, places, as_of_ms, "answer")
                    self._has_answered(partition, query)
                else:  # a scans partition had no time yet at which to cut
                    self._not_ready(partition, query)

    def _has_answered(self, partition: int, query: TraceQuery) -> None:
        answered = self._answered.setdefault(partition, OrderedDict())
        answered[query.query_id, query.hop] = None
        while len(answered) > _ANSWERS_KEPT:
            answered.popitem(last=False)

    def questions(self) -> dict[int, int]:
        """How many questions are open, by partition."""
        return {partition: len(open_here) for partition, open_here in self._open.items()}

    def tell(self, partition: int, places: Places) -> None:
        """Tell the coordinators of the standing traces that what they watch has changed."""
        for order in places.concerned():
            note = TraceAnswer(
                query_id="",
                trace_id=order.trace_id,
                kind="changed",
                partition=partition,
                as_of_ms=places.log_time_ms,
                as_of=places.as_of(),
            )
            self._outbox.send("trace-answers", order.reply_partition, msgspec.json.encode(note), order.person.encode())

    def _answer_late(self, partition: int, query: TraceQuery) -> None:
        places = self._state(partition)
        if places is None or places.log_time_ms <= NEVER_MS:
            self._not_ready(partition, query)
        else:
            as_of_ms = places.log_time_ms if query.as_of_ms is None else query.as_of_ms
            self._send(partition, query, places, as_of_ms, "behind")

    def _not_ready(self, partition: int, query: TraceQuery) -> None:
        answer = TraceAnswer(
            query_id=query.query_id, trace_id=query.trace_id, kind="not_ready", partition=partition, hop=query.hop
        )
        self._outbox.send(
            "trace-answers", query.reply_partition, msgspec.json.encode(answer), key=query.person.encode()
        )
        metrics.ANSWERS.labels("not_ready").inc()

    @metrics.ANSWER_SECONDS.time()
    def _send(self, partition: int, query: TraceQuery, places: Places, as_of_ms: int, kind: str) -> None:
        profile = profile_from_json(bytes(query.profile_json))
        answer = TraceAnswer(
            query_id=query.query_id,
            trace_id=query.trace_id,
            kind="answer" if kind == "answer" else "behind",
            partition=partition,
            as_of_ms=as_of_ms,
            as_of=places.as_of(),
            hop=query.hop,
        )
        for part in _in_parts(answer, query, profile, places, as_of_ms):
            self._outbox.send(
                "trace-answers", query.reply_partition, msgspec.json.encode(part), key=query.person.encode()
            )
        metrics.ANSWERS.labels(answer.kind).inc()


def _in_parts(
    answer: TraceAnswer, query: TraceQuery, profile: Profile, places: Places, as_of_ms: int
) -> list[TraceAnswer]:
    """The answer with what was asked for, in as many parts as it takes."""
    found = _meetings(query, profile, places, as_of_ms)
    rows = packed(found._replace(found=may_expose(found.found, profile, query.direction)), _MEETINGS_A_RECORD)
    return [
        msgspec.structs.replace(answer, meetings=each, part=part, parts=len(rows)) for part, each in enumerate(rows)
    ]


def _meetings(query: TraceQuery, profile: Profile, places: Places, as_of_ms: int) -> Named:
    """Whom the case met in its window, or at a later hop the question's people, each in a window of their own."""
    if query.hop > 1:
        people, since, until = query.people, ints(query.since_ms), ints(query.until_ms)
    else:
        people, since, until = (query.person,), ints([query.window_start_ms]), ints([query.window_end_ms])
    return places.meetings(Question(people, since, until, as_of_ms, profile.air, query.direction, profile.least_ms))


def _has_come_to(places: Places, as_of: tuple[SourceOffset, ...]) -> bool:
    """Whether all that the first answers knew of is in the index."""
    held = {source.partition: source.offset for source in places.as_of()}
    return all(held.get(source.partition, -1) >= source.offset for source in as_of)

"""Traces: what the tracing agent remembers of a person, and how the answers of all partitions become one report."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from contacts.cases import Episode
from contacts.exposures import Named, stays_of
from contacts.hops import Hops
from contacts.matching import contacts_of, may_count
from contacts.profiles import Profile
from contacts.scoring import Course
from contacts.spread import Asked
from schemas.messages import (
    ContactDecision,
    Direction,
    InterviewContact,
    SharedStay,
    SourceOffset,
    Trace,
    TraceAnswer,
    TraceState,
)


class Job(msgspec.Struct, frozen=True):
    """One trace: who asked for what, and how far it has come.

    `attempt` numbers the questions asked for it, `failures` counts those in a row that not all answered; `again`: it
    changed while a question was under way. It stands until it has `ended`.
    """

    trace_id: str
    case_id: str
    direction: Direction
    profile: str
    officer: str
    purpose: str
    requested_at_ms: int
    onset_ms: int | None
    specimen_ms: int | None
    isolated_ms: int | None
    revision: int = 1
    attempt: int = 0
    state: TraceState | str = "asked"
    automatic: bool = True
    failures: int = 0
    again: bool = False
    ended: bool = False
    hops: int = 1
    least_risk: float | None = None
    people_most: int | None = None
    seconds_most: float | None = None

    @property
    def query_id(self) -> str:
        """The id of the question last asked."""
        return f"{self.trace_id}/{self.revision}/{self.attempt}"

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.state in ("complete", "withdrawn")

    def revised(self) -> Job:
        """The job of a case whose facts have changed: a new revision, of which nothing has been asked."""
        revision = self.revision + 1
        return msgspec.structs.replace(self, revision=revision, attempt=0, failures=0, again=False, ended=False)

    def answered(self, made: Trace) -> Job:
        """The job once a report has been made of the answers to its question."""
        failures = 0 if made.state == "complete" else self.failures + 1
        return msgspec.structs.replace(self, state=made.state, failures=failures, again=False, ended=made.ended)


class Dossier(msgspec.Struct, frozen=True):
    """All that the tracing agent keeps of one person: episodes, traces, and what officers know of contacts."""

    person: str
    partition: int = 0
    episodes: tuple[Episode, ...] = ()
    jobs: dict[str, Job] = {}
    decisions: dict[str, ContactDecision] = {}
    interviews: tuple[InterviewContact, ...] = ()

    def with_job(self, job: Job) -> Dossier:
        """The dossier with this trace as it now is."""
        return msgspec.structs.replace(self, jobs={**self.jobs, job.trace_id: job})


def trace_id(seed: str, direction: str) -> str:
    """A trace's id: a function of the case or the request it belongs to, and its direction."""
    return f"{direction[:1]}-" + hashlib.blake2b(f"{seed}\x1f{direction}".encode(), digest_size=8).hexdigest()


class Gather:
    """The answers to one question, one a partition; what comes twice or for another question is ignored.

    An answer in parts counts once all of them are there. Of a later `hop` it also holds who was asked about, the report
    of the `first` hop and the search so far. `home` is the partition of the case (`person`), `began` when the first was
    asked (s, monotonic), `again` whether the trace has been asked before.
    """

    def __init__(
        self,
        query_id: str,
        partitions: int,
        home: int = 0,
        began: float = 0.0,
        person: str = "",
        direction: Direction = "forward",
        *,
        again: bool = False,
    ) -> None:
        self.query_id = query_id
        self.home = home
        self.began = began
        self.person, self.direction = person, direction
        self.again = again
        self.hop = 1
        self.asked: tuple[list[str], Asked] | None = None
        self.first: Trace | None = None
        self.search: Hops | None = None
        self._partitions = partitions
        self._answers: dict[int, TraceAnswer] = {}
        self._parts: dict[object, dict[int, _Part]] = {}

    def next(self, first: Trace, search: Hops, asked: tuple[list[str], Asked]) -> Gather:
        """What gathers the answers about the next hop."""
        home, began, person, direction = self.home, self.began, self.person, self.direction
        later = Gather(self.query_id, self._partitions, home, began, person, direction, again=self.again)
        later.hop, later.asked, later.first, later.search = search.level + 1, asked, first, search
        return later

    def take(self, answer: TraceAnswer, met: Named | None) -> None:
        """Take an answer in, with its meetings. One at the barrier takes the place of one that was behind it."""
        same = answer.query_id == self.query_id and answer.hop == self.hop
        if same and 0 <= answer.partition < self._partitions:
            parts = self._parts.setdefault(_whole(answer), {})
            parts[answer.part] = _Part(answer.shared, met)
            answer = msgspec.structs.replace(answer, shared=(), meetings=None)
            before = self._answers.get(answer.partition)
            if len(parts) == answer.parts and (before is None or before.kind != "answer"):
                self._answers[answer.partition] = answer

    @property
    def complete(self) -> bool:
        """Whether every partition has said something."""
        return len(self._answers) == self._partitions

    @property
    def missing(self) -> tuple[int, ...]:
        """The partitions of which nothing is known: silent, or still rebuilding."""
        answers = self._answers
        return tuple(p for p in range(self._partitions) if p not in answers or answers[p].kind == "not_ready")

    @property
    def silent(self) -> tuple[int, ...]:
        """The partitions that have said nothing."""
        return tuple(p for p in range(self._partitions) if p not in self._answers)

    @property
    def behind(self) -> tuple[int, ...]:
        """The partitions that answered before the barrier reached them."""
        return tuple(p for p, answer in sorted(self._answers.items()) if answer.kind == "behind")

    @property
    def state(self) -> TraceState:
        """`complete`, `behind`, or `incomplete`: never silently smaller."""
        return "incomplete" if self.missing else "behind" if self.behind else "complete"

    @property
    def as_of_ms(self) -> int | None:
        """The log time at which everything is cut: the least of the answers'."""
        return min((a.as_of_ms for a in self._answers.values() if a.as_of_ms is not None), default=None)

    @property
    def as_of(self) -> tuple[SourceOffset, ...]:
        """Up to where each scans partition is in every answer."""
        least: dict[int, SourceOffset] = {}
        for answer in self._answers.values():
            for source in answer.as_of:
                held = least.get(source.partition)
                if held is None or source.offset < held.offset:
                    least[source.partition] = source
        return tuple(least[partition] for partition in sorted(least))

    def shared(self) -> list[tuple[str, SharedStay]]:
        """All that the answers to the first hop say: whom the case met, and where."""
        parts = self._every_part()
        told = [row for part in parts for row in part.shared]
        return told + [row for part in parts if part.met is not None for row in stays_of(part.met)]

    def meetings(self) -> list[Named]:
        """All that the answers to a later hop say."""
        return [part.met for part in self._every_part() if part.met is not None]

    def _every_part(self) -> list[_Part]:
        wholes = [self._parts[_whole(self._answers[partition])] for partition in sorted(self._answers)]
        return [parts[number] for parts in wholes for number in sorted(parts)]


class _Part(NamedTuple):
    """What a part of an answer tells; `shared` is how older workers told it."""

    shared: tuple[tuple[str, SharedStay], ...]
    met: Named | None


def _whole(answer: TraceAnswer) -> object:
    """What the parts of one answer have in common."""
    return answer.partition, answer.kind, answer.as_of_ms, answer.as_of, answer.parts


def report(
    person: str,
    job: Job,
    profile: Profile,
    window: tuple[int, int],
    standing_until_ms: int,
    gather: Gather,
    position: tuple[int, int],
    course: Course | None = None,
) -> Trace:
    """The report of a trace from what its partitions answered. `course`: the case's dates, where the profile scores."""
    shared = may_count(gather.shared(), profile, None, job.direction)
    return Trace(
        trace_id=job.trace_id,
        case_id=job.case_id,
        person=person,
        direction=job.direction,
        profile=profile.id,
        profile_version=profile.version,
        officer=job.officer,
        purpose=job.purpose,
        state=gather.state,
        revision=job.revision,
        position=position,
        requested_at_ms=job.requested_at_ms,
        window_start_ms=window[0],
        window_end_ms=window[1],
        as_of_ms=gather.as_of_ms,
        as_of=gather.as_of,
        missing_partitions=gather.missing,
        behind_partitions=gather.behind,
        contacts=tuple(contacts_of(shared, profile, person, course)),
        standing_until_ms=standing_until_ms,
        ended=gather.state == "complete" and (gather.as_of_ms or 0) >= standing_until_ms,
    )


def further(first: Trace, gather: Gather) -> Trace:
    """The report of the first hop as far as a later one's answers let it stand: what they lack, it lacks."""
    if gather.state == "complete":
        return first
    return msgspec.structs.replace(
        first,
        state=gather.state,
        missing_partitions=gather.missing,
        behind_partitions=gather.behind,
        ended=False,
    )


def differ(one: Trace, other: Trace) -> bool:
    """Whether two reports say different things; when they were made, and at which cut, is not what they say."""
    same = {"position": (0, 0), "as_of_ms": None, "as_of": ()}
    return msgspec.structs.replace(one, **same) != msgspec.structs.replace(other, **same)


def worth_telling(made: Trace, held: Trace | None) -> bool:
    """Whether a report takes the place of the one told last (None: none was).

    What answers fewer partitions never takes the place of what answered more of the same revision: it is asked again.
    """
    if held is None or made.revision != held.revision:
        return True
    rank = ("incomplete", "behind", "complete", "withdrawn").index
    return rank(made.state) >= rank(held.state) and differ(made, held)


def withdrawn(trace: Trace, position: tuple[int, int]) -> Trace:
    """The report of a trace whose case is no case any more: no contacts, and said so."""
    return msgspec.structs.replace(
        trace,
        state="withdrawn",
        revision=position[0],
        position=position,
        contacts=(),
        missing_partitions=(),
        behind_partitions=(),
    )

"""The tracing agent: cases from test results, traces as scatter and gather over the log, what officers know.

What it remembers of a person is in a Faust table, and so is each trace's last report; answers under way are in memory
only: whoever starts anew asks again. Deadlines and retries are messages to itself, so that they stand in the log. A
trace stands: the partitions say when something it watches has changed, and it is asked again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from agents.asking import Asking
from agents.dossiers import Dossiers, Table
from agents.refusals import Refused, check_answer, check_limits, check_person
from agents.standing import Standing
from agents.tracemeters import TraceMeters
from agents.turns import Turn, Turns
from contacts.cases import Episode, apply_result, numbers
from contacts.controls import BAD_PERSON
from contacts.erasing import forgotten
from contacts.exposures import Named
from contacts.hops import Hops
from contacts.interviews import informed, noted
from contacts.profiles import Profile, ProfileError, default_profile, find_profile
from contacts.registry import is_name
from contacts.risk import Risk
from contacts.tracing import Dossier, Gather, Job, further, report, trace_id, withdrawn, worth_telling
from schemas.bounds import UNDECODABLE
from schemas.messages import ContactDecision, InterviewContact, TestResult, Trace, TraceAnswer, TraceRequest
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.settings import Settings

TOPICS = ("test-results", "trace-requests", "contact-decisions", "interview-contacts", "trace-answers")
"""What the agent reads; equal partition counts, keyed by the case's person."""

_READERS: dict[str, msgspec.json.Decoder[Any]] = {
    "test-results": msgspec.json.Decoder(TestResult),
    "trace-requests": msgspec.json.Decoder(TraceRequest),
    "contact-decisions": msgspec.json.Decoder(ContactDecision),
    "interview-contacts": msgspec.json.Decoder(InterviewContact),
    "trace-answers": msgspec.json.Decoder(TraceAnswer),
}


class Tracing:
    """The coordinator of the partitions that this worker holds."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        letters: DeadLetters,
        profiles: dict[str, Profile],
        risk: Risk,
        people: Table,
        reports: Table,
        least_risk: Callable[[int], float | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters
        self._profiles = profiles
        self.meters = TraceMeters(settings.partitions, clock, outbox)
        self._dossiers = Dossiers(settings, people, reports, clock, outbox, least_risk, self.meters)
        self._standing = Standing(settings, clock, outbox)
        self._asking = Asking(settings, clock, outbox, profiles, risk)
        self._limits = risk.limits
        self._gathers: dict[str, Gather] = {}
        self._turns = Turns()
        self._timers: list[tuple[float, int, int, str, TraceAnswer]] = []
        self._reminders = 0

    async def take(self, message: Batch) -> None:
        """One message of one of the topics, and everything made from it acknowledged."""
        key, value = message.keys[0] or b"", message.values[0] or b""
        if self.meters.beat(message):
            return
        self._dossiers.arrived_ms = message.timestamps_ms[0]
        try:
            body = _READERS[message.topic].decode(value)
            if not isinstance(body, TraceAnswer):
                check_person(body.person, message.partition, self._settings.partitions.cases)
            if isinstance(body, TestResult):
                self._on_result(message.partition, body)
            elif isinstance(body, TraceRequest):
                self._on_request(message.partition, body, message.timestamps_ms[0])
            elif isinstance(body, ContactDecision):
                self._on_decision(message.partition, body)
            elif isinstance(body, InterviewContact):
                self._on_interview(message.partition, body)
            else:
                self._on_note(message.partition, key.decode(), body)
            bad = 0
        except Refused as refused:
            bad = 1
            self._letters.letter(message, 0, 0, refused.reason, str(refused), self._clock.now_ms())
        except UNDECODABLE as error:
            bad = 1
            self._letters.letter(message, 0, 0, "undecodable", str(error), self._clock.now_ms())
        self._go_on()
        await self._outbox.flush()
        self._letters.judge(1, bad)
        self._dossiers.settle()

    def _on_note(self, partition: int, person: str, body: TraceAnswer) -> None:
        """What the partitions, the registry and the coordinator itself say."""
        met = check_answer(person, body, self._settings.partitions.visits)
        if body.kind == "changed":
            self._on_change(partition, person, body.trace_id)
        elif body.kind == "erasure":
            self._on_erasure(partition, person, body.at_ms)
        else:
            self._on_answer(partition, person, body, met)

    def remind(self) -> None:
        """Send the reminders that are due, and ask what has waited for the time; called some ten times a second."""
        self._go_on()
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, partition, person, reminder = heapq.heappop(self._timers)
            self._outbox.send("trace-answers", partition, msgspec.json.encode(reminder), key=person.encode())

    def resume(self, held: Collection[int]) -> None:
        """After a start or a rebalance: ask again for every trace that is neither settled nor waited for here.

        `held` are the partitions that are this worker's: nobody here gathers for the others' traces any more.
        """
        self._gathers = {name: gather for name, gather in self._gathers.items() if gather.home in held}
        known = self._gathers.keys() | self._turns.questions()
        dossiers = list(self._dossiers.all())
        self.meters.begun(dossiers, self._dossiers.reported())
        for dossier in dossiers:
            for job in dossier.jobs.values():
                if not job.settled and job.query_id not in known:
                    self._remind(dossier, job, "retry", 0.0)

    def _on_result(self, partition: int, result: TestResult) -> None:
        dossier = self._dossiers.of(partition, result.person)
        episodes, changed = apply_result(dossier.episodes, result)
        if changed is None:
            return
        dossier = msgspec.structs.replace(dossier, episodes=episodes)
        self._dossiers.save(self._follow(dossier, changed, result.officer, result.purpose))

    def _follow(self, dossier: Dossier, changed: Episode, officer: str, purpose: str) -> Dossier:
        """Publish a case that was opened, revised or withdrawn, and let its traces follow."""
        now_ms = self._clock.now_ms()
        case = changed.message(dossier.person, (changed.revision, now_ms))
        self._outbox.send("cases", dossier.partition, msgspec.json.encode(case), key=case.case_id.encode())
        jobs = [job for job in dossier.jobs.values() if job.case_id == changed.case_id]
        self.meters.followed(changed, known=bool(jobs))
        if changed.withdrawn:
            for job in jobs:
                dossier = self._withdraw(dossier, job)
        elif jobs:
            for job in jobs:
                again = self._with_facts(job, changed) if job.automatic else job
                dossier = self._ask(dossier, again.revised())
        else:
            for direction in ("forward", "backward"):
                job = Job(
                    trace_id=trace_id(changed.case_id, direction),
                    case_id=changed.case_id,
                    direction=direction,  # type: ignore[arg-type]
                    profile=self._own_profile(changed.specimen_ms).id,
                    officer=officer,
                    purpose=purpose,
                    requested_at_ms=now_ms,
                    onset_ms=None,
                    specimen_ms=None,
                    isolated_ms=None,
                    hops=self._settings.hops if direction == "forward" else 1,
                )
                self.meters.asked(job.trace_id, self._dossiers.arrived_ms)
                dossier = self._ask(dossier, self._with_facts(job, changed))
        return dossier

    @staticmethod
    def _with_facts(job: Job, case: Episode) -> Job:
        return msgspec.structs.replace(
            job, onset_ms=case.onset_ms, specimen_ms=case.specimen_ms, isolated_ms=case.isolated_ms
        )

    def _on_request(self, partition: int, request: TraceRequest, arrived_at_ms: int) -> None:
        dossier = self._dossiers.of(partition, request.person)
        name = trace_id(request.request_id, request.direction)
        if name in dossier.jobs:
            return
        case = next((each for each in reversed(dossier.episodes) if not each.withdrawn), None)
        own_dates = request.onset_ms is not None or request.specimen_ms is not None
        if case is None and not own_dates:
            raise Refused("no_case", "the person has no case: a trace needs an onset's or a specimen's date")
        check_limits(request, self._limits.hops_most, self._limits.people_most)
        onset_ms, specimen_ms, isolated_ms = (
            (request.onset_ms, request.specimen_ms, request.isolated_ms)
            if own_dates or case is None
            else (case.onset_ms, case.specimen_ms, case.isolated_ms)
        )
        try:
            at_ms = specimen_ms if specimen_ms is not None else onset_ms
            assert at_ms is not None
            profile = find_profile(self._profiles, request.profile) if request.profile else self._own_profile(at_ms)
        except ProfileError as error:
            raise Refused("unknown_profile", str(error)) from error
        job = Job(
            trace_id=name,
            case_id=case.case_id if case else "",
            direction=request.direction,
            profile=profile.id,
            officer=request.officer,
            purpose=request.purpose,
            requested_at_ms=arrived_at_ms,
            onset_ms=onset_ms,
            specimen_ms=specimen_ms,
            isolated_ms=isolated_ms,
            automatic=not own_dates,
            hops=request.hops,
            least_risk=request.least_risk,
            people_most=request.people_most,
            seconds_most=request.seconds_most,
        )
        self.meters.asked(name, arrived_at_ms)
        self._dossiers.save(self._ask(dossier, job))

    def _on_decision(self, partition: int, decision: ContactDecision) -> None:
        if not is_name(decision.contact):
            raise Refused("bad_person", BAD_PERSON)
        dossier = self._dossiers.of(partition, decision.person)
        held = dossier.decisions.get(decision.contact)
        if held is not None and held.decided_at_ms >= decision.decided_at_ms:
            return
        self.meters.decided(decision)
        self._inform(msgspec.structs.replace(dossier, decisions={**dossier.decisions, decision.contact: decision}))

    def _on_interview(self, partition: int, told: InterviewContact) -> None:
        if not is_name(told.contact) or told.contact == told.person or told.end_ms <= told.start_ms:
            raise Refused(
                "bad_interview", "an interview tells of another person, and of a time that ends after it begins"
            )
        dossier = self._dossiers.of(partition, told.person)
        interviews = noted(dossier.interviews, told)
        if interviews != dossier.interviews:
            self._inform(msgspec.structs.replace(dossier, interviews=interviews))

    def _inform(self, dossier: Dossier) -> None:
        """Officers know more of a case: keep it, and tell its reports anew."""
        self._dossiers.save(dossier)
        for name in dossier.jobs:
            held = self._dossiers.report(name)
            if held is not None and (after := informed(held, dossier.interviews, dossier.decisions)) != held:
                self._dossiers.publish(dossier.partition, after)

    def _on_change(self, partition: int, person: str, trace: str) -> None:
        """Something that a standing trace watches has changed."""
        dossier = self._dossiers.of(partition, person)
        job = dossier.jobs.get(trace)
        if job is None or job.ended:
            return
        if job.state == "withdrawn":
            self._standing.unwatch(dossier, job)
        elif job.state == "complete":
            self._ask_soon(dossier, job)
        elif job.state == "asked" and not job.again and job.query_id in self._gathers:
            self._dossiers.save(dossier.with_job(msgspec.structs.replace(job, again=True)))

    def _ask_soon(self, dossier: Dossier, job: Job) -> None:
        """Ask again shortly: what changes until then is in the same answer. It stands in the dossier meanwhile."""
        self._dossiers.save(dossier.with_job(msgspec.structs.replace(job, state="changed")))
        self._remind(dossier, job, "retry", self._standing.wait_seconds(job.trace_id))

    def _on_erasure(self, partition: int, person: str, before_ms: int) -> None:
        """Forget a person: as a case of this partition, and in everybody's dossiers and reports."""
        for dossier in self._dossiers.all():
            if dossier.partition == partition:
                left = forgotten(dossier, person, before_ms)
                if left != dossier:
                    self._let_go(dossier, left)
                for trace, job in left.jobs.items():
                    erased = self._dossiers.erase(partition, trace, person, before_ms)
                    if erased and job.hops > 1:  # others may be reached by another way
                        self._on_change(partition, dossier.person, trace)

    def _let_go(self, dossier: Dossier, left: Dossier) -> None:
        """Forget what an erasure left out of a dossier, and let the topics forget it."""
        for name, job in dossier.jobs.items():
            if name not in left.jobs:
                self._gathers.pop(job.query_id, None)
                self._standing.unwatch(dossier, job.revised())
                self._dossiers.forget(dossier.partition, name)
        kept = {episode.case_id: episode for episode in left.episodes}
        for episode in dossier.episodes:
            after = kept.get(episode.case_id)
            if after is None:
                self._outbox.send("cases", dossier.partition, None, key=episode.case_id.encode())
            elif after != episode:
                left = self._follow(left, after, "system", "erasure")
        self._dossiers.save(left)

    def _on_answer(self, partition: int, person: str, answer: TraceAnswer, met: Named | None) -> None:
        gather = self._gathers.get(answer.query_id)
        if answer.kind == "retry":
            dossier = self._dossiers.of(partition, person)
            job = dossier.jobs.get(answer.trace_id)
            if job is not None and not job.settled and job.query_id == answer.query_id:
                self._gathers.pop(answer.query_id, None)
                self._dossiers.save(self._ask(dossier, msgspec.structs.replace(job, attempt=job.attempt + 1)))
            return
        if gather is None or answer.hop != gather.hop:
            return
        if answer.kind not in ("deadline", "overdue"):
            gather.take(answer, met)
            if gather.complete:
                self._report(partition, person, answer.trace_id, gather)
            return
        dossier = self._dossiers.of(partition, person)
        job = dossier.jobs.get(answer.trace_id)
        if job is None or job.query_id != answer.query_id:
            del self._gathers[answer.query_id]
        elif answer.kind == "deadline":
            for silent in gather.silent:
                self._asking.question(dossier, job, gather, silent, "deadline")
            self._remind(dossier, job, "overdue", numbers().deadline_seconds, gather.hop)
        else:
            self._report(partition, person, answer.trace_id, gather)

    def _ask(self, dossier: Dossier, job: Job) -> Dossier:
        """Have every partition asked anew when the trace's turn comes."""
        before = dossier.jobs.get(job.trace_id)
        if before is not None:
            self._gathers.pop(before.query_id, None)
        job = msgspec.structs.replace(job, state="asked", again=False)
        turn = Turn(dossier.partition, dossier.person, job.trace_id, job.query_id, job.direction)
        self._turns.wait(turn, again=job.attempt > 0)
        return dossier.with_job(job)

    def _go_on(self) -> None:
        """Ask for the traces whose turn it is; what has been asked otherwise meanwhile has lost its turn."""
        now = self._clock.monotonic()
        while len(self._gathers) < numbers().asked_at_once:
            again = sum(gather.again for gather in self._gathers.values()) < numbers().asked_again_at_once
            turn = self._turns.take(self._ahead(), now, again=again)
            if turn is None:
                break
            dossier = self._dossiers.of(turn.partition, turn.person)
            job = dossier.jobs.get(turn.trace_id)
            if job is not None and job.state == "asked" and job.query_id == turn.query_id:
                self._standing.watch(dossier, job, self._asking.window(job), self._profiles[job.profile].air)
                self._await(dossier, job, self._asking.first(dossier, job))

    def _ahead(self) -> set[str]:
        """The persons whose forward traces are under way."""
        return {gather.person for gather in self._gathers.values() if gather.direction == "forward"}

    def _await(self, dossier: Dossier, job: Job, gather: Gather) -> None:
        self._gathers[job.query_id] = gather
        self._remind(dossier, job, "deadline", numbers().deadline_seconds, gather.hop)

    def _report(self, partition: int, person: str, trace: str, gather: Gather) -> None:
        """Go on to the next hop, or publish what was gathered; what is lacking is asked for again, later and later."""
        del self._gathers[gather.query_id]
        dossier = self._dossiers.of(partition, person)
        job = dossier.jobs.get(trace)
        if job is None or job.query_id != gather.query_id:
            return
        made, search = self._so_far(dossier, job, gather)
        if gather.state == "complete":
            later = self._asking.next(dossier, job, gather, made, search)
            if later is not None:
                self._await(dossier, job, later)
                return
        made = informed(self._asking.told(job, made, search), dossier.interviews, dossier.decisions)
        if worth_telling(made, self._dossiers.report(trace)):
            self._dossiers.publish(partition, made)
            if made.direction == "forward":
                self._turns.written(person, len(made.contacts), self._clock.monotonic())
        again, job = job.again, job.answered(made)
        self._dossiers.save(dossier.with_job(job))
        if not job.settled:
            waits = numbers().retry_seconds
            self._remind(dossier, job, "retry", waits[min(job.failures, len(waits)) - 1])
        elif again and not job.ended:
            self._ask_soon(dossier, job)

    def _so_far(self, dossier: Dossier, job: Job, gather: Gather) -> tuple[Trace, Hops]:
        """The report of the first hop, and the search with this hop's answers in it."""
        if gather.first is not None and gather.search is not None:
            gather.search.take(gather.meetings())
            return further(gather.first, gather), gather.search
        window = self._asking.window(job)
        until_ms, position = self._standing.until_ms(window), (job.revision, self._clock.now_ms())
        profile, course = self._profiles[job.profile], self._asking.course(job)
        made = report(dossier.person, job, profile, window, until_ms, gather, position, course)
        return made, self._asking.search(dossier, job, made)

    def _withdraw(self, dossier: Dossier, job: Job) -> Dossier:
        self._gathers.pop(job.query_id, None)
        held, job = self._dossiers.report(job.trace_id), msgspec.structs.replace(job.revised(), state="withdrawn")
        if held is not None:
            self._dossiers.publish(dossier.partition, withdrawn(held, (job.revision, self._clock.now_ms())))
        self._standing.unwatch(dossier, job)
        return dossier.with_job(job)

    def _remind(self, dossier: Dossier, job: Job, kind: str, seconds: float, hop: int = 1) -> None:
        reminder = TraceAnswer(
            query_id=job.query_id, trace_id=job.trace_id, kind=kind, partition=-1, hop=hop  # type: ignore[arg-type]
        )  # fmt: skip
        due = self._clock.monotonic() + seconds
        self._reminders += 1
        heapq.heappush(self._timers, (due, self._reminders, dossier.partition, dossier.person, reminder))

    def _own_profile(self, at_ms: int) -> Profile:
        """The deployment's profile: the one it names, else the one in force at the date."""
        if self._settings.profile:
            return find_profile(self._profiles, self._settings.profile)
        return default_profile(self._profiles, at_ms, self._settings.zone_info)

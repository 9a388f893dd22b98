"""Asking every places partition: a barrier and a question for a trace's first hop, a question for each later one."""

from __future__ import annotations

import msgspec

from contacts.hops import Hops
from contacts.profiles import Profile, profile_to_json
from contacts.risk import Risk
from contacts.scoring import Course
from contacts.spread import Terms
from contacts.tracing import Dossier, Gather, Job
from schemas.blocks import CONTROL_MAGIC, Barrier, frame
from schemas.messages import Limit, Trace, TraceQuery
from streams.clock import Clock
from streams.outbox import MESSAGE_BYTES_MAX, Outbox
from streams.settings import Settings

_EVERYBODY = 1 << 31
_REPORT_BYTES = MESSAGE_BYTES_MAX * 3 // 4
"""A report's contacts take up no more; what officers know of them is added to that."""


class Asking:
    """The questions of traces, under the profiles and risk numbers in force."""

    def __init__(
        self, settings: Settings, clock: Clock, outbox: Outbox, profiles: dict[str, Profile], risk: Risk
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._profiles = profiles
        self._risk = risk

    def window(self, job: Job) -> tuple[int, int]:
        """The window of a trace: when its case may have infected, or have been infected."""
        profile = self._profiles[job.profile]
        window = profile.infectious_window if job.direction == "forward" else profile.exposure_window
        return window(job.onset_ms, job.specimen_ms, job.isolated_ms, self._settings.zone_info)

    def course(self, job: Job) -> Course | None:
        """The dates of the case, where they say how infectious it was: forward."""
        if job.direction == "backward":
            return None
        return self._profiles[job.profile].course(job.onset_ms, job.specimen_ms, self._settings.zone_info)

    def first(self, dossier: Dossier, job: Job) -> Gather:
        """Put the barrier into every scans partition and the question into every trace-queries partition."""
        partitions = self._settings.partitions
        barrier = frame(CONTROL_MAGIC, Barrier(job.query_id))
        for partition in range(partitions.scans):
            self._outbox.send("scans", partition, barrier)
        began, again = self._clock.monotonic(), job.attempt > 0
        gather = Gather(
            job.query_id, partitions.visits, dossier.partition, began, dossier.person, job.direction, again=again
        )
        for partition in range(partitions.visits):
            self.question(dossier, job, gather, partition, "ask")
        return gather

    def next(self, dossier: Dossier, job: Job, gather: Gather, first: Trace, search: Hops) -> Gather | None:
        """Ask about the next hop at the first's cut; None when the search is over, or its time is up."""
        limit = self._risk.limits.seconds if job.seconds_most is None else job.seconds_most
        while search.going:
            if self._clock.monotonic() - gather.began >= limit:
                search.stop("seconds")
                return None
            asked = search.asked()
            if asked[0]:
                gather = gather.next(first, search, asked)
                for partition in range(self._settings.partitions.visits):
                    self.question(dossier, job, gather, partition, "ask")
                return gather
            search.take([])
        return None

    def question(self, dossier: Dossier, job: Job, gather: Gather, partition: int, kind: str) -> None:
        """One partition's question, or the word that its deadline has passed."""
        start_ms, end_ms = self.window(job)
        query = TraceQuery(
            query_id=job.query_id,
            trace_id=job.trace_id,
            kind="ask" if kind == "ask" else "deadline",
            reply_partition=dossier.partition,
            person=dossier.person,
            direction=job.direction,
            window_start_ms=start_ms,
            window_end_ms=end_ms,
            profile_json=msgspec.Raw(profile_to_json(self._profiles[job.profile])),
            hop=gather.hop,
        )
        if gather.asked is not None and gather.first is not None:
            people, asked = gather.asked
            query = msgspec.structs.replace(
                query,
                people=tuple(people),
                since_ms=tuple(asked.since.tolist()),
                until_ms=tuple(asked.until.tolist()),
                as_of_ms=gather.first.as_of_ms,
                as_of=gather.first.as_of,
            )
        self._outbox.send("trace-queries", partition, msgspec.json.encode(query), key=dossier.person.encode())

    def search(self, dossier: Dossier, job: Job, first: Trace) -> Hops:
        """The search that begins with the contacts of the first hop."""
        limits = self._risk.limits
        limits = msgspec.structs.replace(
            limits,
            hops=job.hops,
            least_risk=limits.least_risk if job.least_risk is None else job.least_risk,
            people=job.people_most or (limits.people if job.hops > 1 else _EVERYBODY),
        )
        bound_ms = first.as_of_ms if job.direction == "forward" else None
        terms = Terms(self._profiles[job.profile], self._risk, limits, job.direction, bound_ms)
        search = Hops(dossier.person, self.window(job), terms)
        search.first(first.contacts)
        return search

    def told(self, job: Job, made: Trace, search: Hops) -> Trace:
        """The report with everybody the search reached, and what cut it."""
        least = self._risk.limits.least_risk if job.least_risk is None else job.least_risk
        cut = tuple(limit for limit in search.cut_by if job.hops > 1 or limit != "hops")
        made = msgspec.structs.replace(
            made,
            contacts=search.contacts(),
            hops=job.hops,
            least_risk=least if job.hops > 1 else None,
            cut_by=cut,
            risk_numbers=self._risk.version,
        )
        while (size := len(msgspec.json.encode(made))) > _REPORT_BYTES and made.contacts:  # a record holds no more
            fewer = min(len(made.contacts) - 1, len(made.contacts) * _REPORT_BYTES // size)
            more: tuple[Limit, ...] = () if "people" in cut else ("people",)
            made = msgspec.structs.replace(made, contacts=search.contacts(fewer), cut_by=(*cut, *more))
        return made

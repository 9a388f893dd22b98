"""What the tracing role tells of itself: cases, traces by state, reports and how long they took; and its heartbeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from contacts.cases import Episode
from contacts.tracing import Dossier, Job
from schemas.heartbeats import HEARTBEAT_KEY, Pulse, beat, beat_of
from schemas.messages import ContactDecision, Trace
from streams import stagemetrics as metrics
from streams.batches import Batch
from streams.clock import Clock
from streams.outbox import Outbox
from streams.settings import Partitions


class TraceMeters:
    """The metrics of the cases partitions that a worker holds, and the heartbeats that it passes on."""

    def __init__(self, partitions: Partitions, clock: Clock, outbox: Outbox) -> None:
        self._clock = clock
        self._outbox = outbox
        self.pulse = Pulse("trace-answers", clock.now_ms, partitions.visits)
        self._asked: dict[str, int] = {}
        self._states: dict[str, dict[str, tuple[str, str]]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def beat(self, message: Batch) -> bool:
        """Whether the message is a heartbeat: one that has come from every source goes on."""
        heartbeat = beat_of(message.values[0])
        if heartbeat is None:
            return False
        born_ms = self.pulse.came(message.partition, heartbeat)
        if born_ms is not None:
            for topic in ("traces", "health-records"):
                self._outbox.send(topic, message.partition, beat(message.partition, born_ms), key=HEARTBEAT_KEY)
        return True

    def followed(self, change: Episode, *, known: bool) -> None:
        """A case was opened, or, being `known`, revised or withdrawn."""
        metrics.CASES.labels("withdrawn" if change.withdrawn else "revised" if known else "opened").inc()

    def asked(self, trace: str, arrived_ms: int) -> None:
        """A trace was asked for by what arrived then."""
        self._asked[trace] = arrived_ms

    def decided(self, decision: ContactDecision) -> None:
        """An officer has decided about a contact."""
        metrics.DECISIONS.labels(decision.grade).inc()

    def told(self, made: Trace) -> None:
        """A report is sent. The first whole one is measured when it is acknowledged."""
        metrics.REPORTS.labels(made.direction, made.state).inc()
        if made.state != "complete" or (arrived_ms := self._asked.pop(made.trace_id, None)) is None:
            return
        metrics.REPORT_CONTACTS.labels(made.direction).observe(len(made.contacts))
        seconds = metrics.REPORT_SECONDS.labels(made.direction)
        self._outbox.when_acknowledged(lambda: seconds.observe(max(self._clock.now_ms() - arrived_ms, 0) / 1000))

    def saved(self, dossier: Dossier) -> None:
        """A dossier is remembered as it now is."""
        before = self._states.pop(dossier.person, {})
        after: dict[str, tuple[str, str]] = {name: (job.direction, _state(job)) for name, job in dossier.jobs.items()}
        if after:
            self._states[dossier.person] = after
        if before == after:
            return
        self._counts.subtract(before.values())
        self._counts.update(after.values())
        for key in {*before.values(), *after.values()}:
            metrics.TRACES.labels(*key).set(self._counts[key])

    def begun(self, dossiers: Iterable[Dossier], whole: frozenset[str]) -> None:
        """These are all dossiers that this worker has; `whole` names the traces of which a report has been told."""
        self._states.clear()
        for key in self._counts:
            self._counts[key] = 0
            metrics.TRACES.labels(*key).set(0)
        self._asked.clear()
        for dossier in dossiers:
            self.saved(dossier)
            for name, job in dossier.jobs.items():
                if not job.settled and name not in whole:
                    self._asked[name] = job.requested_at_ms


def _state(job: Job) -> str:
    return "ended" if job.ended else str(job.state)

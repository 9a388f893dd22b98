"""Keeping traces standing: the orders that let every partition watch for a trace, and how often one is asked again."""

from __future__ import annotations

from contacts.air import Air
from contacts.cases import numbers
from contacts.tracing import Dossier, Job
from schemas.blocks import CONTROL_MAGIC, WatchOrder, frame
from streams.clock import Clock
from streams.outbox import Outbox
from streams.settings import Settings


class Standing:
    """Watch orders, and the pace of asking again: the longer changes keep coming, the slower."""

    def __init__(self, settings: Settings, clock: Clock, outbox: Outbox) -> None:
        self._partitions = settings.partitions.scans
        self._horizon_ms = settings.horizon_ms
        self._clock = clock
        self._outbox = outbox
        self._pace: dict[str, tuple[int, float]] = {}

    def until_ms(self, window: tuple[int, int]) -> int:
        """The log time until which a trace of a window stands: then nothing that came in time can change it."""
        return window[1] + self._horizon_ms

    def watch(self, dossier: Dossier, job: Job, window: tuple[int, int], air: Air) -> None:
        """Let every partition watch; sent ahead of each barrier, so who has answered a question does watch."""
        self._send(dossier, job, window, self.until_ms(window), air)

    def unwatch(self, dossier: Dossier, job: Job) -> None:
        """Let no partition watch any more for revisions below the job's."""
        self._pace.pop(job.trace_id, None)
        self._send(dossier, job, (0, 0), 0, Air())

    def _send(self, dossier: Dossier, job: Job, window: tuple[int, int], until_ms: int, air: Air) -> None:
        order = WatchOrder(
            trace_id=job.trace_id,
            case_id=job.case_id,
            revision=job.revision,
            person=dossier.person,
            direction=job.direction,
            reply_partition=dossier.partition,
            window_start_ms=window[0],
            window_end_ms=window[1],
            until_ms=until_ms,
            linger_ms=air.linger_ms,
            grid_ms=air.grid_ms,
        )
        record = frame(CONTROL_MAGIC, order)
        for partition in range(self._partitions):
            self._outbox.send("scans", partition, record)

    def wait_seconds(self, trace: str) -> float:
        """How long to wait before a trace that has changed is asked again."""
        waits, now = numbers().changed_seconds, self._clock.monotonic()
        step, before = self._pace.get(trace, (-1, now))
        calm = step < 0 or now - before > 2 * (waits[step] + waits[0])
        step = 0 if calm else min(step + 1, len(waits) - 1)
        self._pace[trace] = step, now
        return waits[step]

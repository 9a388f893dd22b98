"""Counting: the metrics of one topic's readers, bound once. A look-up by labels costs four times the increment."""

from __future__ import annotations

from prometheus_client import Gauge

from streams import metrics
from streams.batches import Batch


class TopicMeters:
    """The metrics of one topic's readers."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._records = metrics.RECORDS_IN.labels(topic)
        self._batches = metrics.BATCHES_IN.labels(topic)
        self._seconds = metrics.BATCH_SECONDS.labels(topic)
        self._in_progress = metrics.IN_PROGRESS.labels(topic)
        self._snapshot_seconds = metrics.SNAPSHOT_SECONDS.labels(topic)
        self._held = metrics.HELD.labels(topic)
        self._behind: dict[int, Gauge] = {}
        self._snapshots: dict[int, float] = {}

    def took(self, batch: Batch) -> None:
        """An agent has a batch in hand."""
        self._records.inc(len(batch))
        self._batches.inc()
        gauge = self._behind.get(batch.partition)
        if gauge is None:
            gauge = self._behind[batch.partition] = metrics.LAG_RECORDS.labels(self._topic, str(batch.partition))
        gauge.set(batch.behind)

    def did(self, seconds: float) -> None:
        """It has done it, and took so long."""
        self._seconds.observe(max(seconds, 0.0))

    def holds(self, count: int) -> None:
        """How many partitions are this worker's."""
        self._held.set(count)

    def snapshot(self, partition: int, now: float, seconds: float, size: int) -> None:
        """A snapshot of `size` bytes was made durable at `now`; it took `seconds`."""
        self._snapshots[partition] = now
        self._snapshot_seconds.observe(seconds)
        metrics.SNAPSHOT_BYTES.labels(self._topic, str(partition)).set(size)

    def age(self, now: float) -> None:
        """Tell how old the snapshots are."""
        for partition, made in self._snapshots.items():
            metrics.SNAPSHOT_AGE.labels(self._topic, str(partition)).set(now - made)


def log_time(topic: str, partition: int, at_ms: int) -> None:
    """An agent tells the log time that a partition has reached; nothing before the first arrival."""
    if at_ms >= 0:
        metrics.LOG_TIME.labels(topic, str(partition)).set(at_ms / 1000)


def rows_out(topic: str, count: int) -> None:
    """An agent sent a block of so many rows."""
    metrics.EVENTS_OUT.labels(topic).inc(count)

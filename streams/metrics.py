"""Every metric there is, in one place. Base units; labels are roles, topics, partitions and reasons, never ids."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Info

from streams.batches import Batch

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

WORKER: Final = Info("lacak_worker", "What this process is: its role and index.")
RECORDS_IN: Final = Counter("lacak_records_in_total", "Records taken by agents.", ["topic"])
BATCHES_IN: Final = Counter("lacak_batches_in_total", "Batches taken by agents.", ["topic"])
BATCH_SECONDS: Final = Histogram(
    "lacak_batch_seconds", "Time from taking a batch to having done it.", ["topic"], buckets=_SECONDS
)
BEHIND: Final = Gauge(
    "lacak_behind_records", "Records the partition has beyond the last batch.", ["topic", "partition"]
)
LOG_TIME: Final = Gauge(
    "lacak_log_time_seconds", "Log time reached, in seconds since the epoch.", ["topic", "partition"]
)
HELD: Final = Gauge("lacak_partitions_held", "Partitions that are this worker's.", ["topic"])
RECORDS_OUT: Final = Counter("lacak_records_out_total", "Records acknowledged by the brokers.", ["topic"])
BYTES_OUT: Final = Counter("lacak_bytes_out_total", "Bytes of those records, before compression.", ["topic"])
ROWS_OUT: Final = Counter("lacak_rows_out_total", "Rows in the blocks sent.", ["topic"])
OUTSTANDING: Final = Gauge("lacak_outstanding_sends", "Records sent and not yet acknowledged.")
DEAD_LETTERS: Final = Counter("lacak_dead_letters_total", "What was set aside, and why.", ["topic", "reason"])
SNAPSHOT_AT: Final = Gauge("lacak_snapshot_age_seconds", "Age of the last snapshot.", ["topic", "partition"])
SNAPSHOT_SECONDS: Final = Histogram(
    "lacak_snapshot_seconds", "Time to acknowledge outputs and write a snapshot.", ["topic"], buckets=_SECONDS
)
SNAPSHOT_BYTES: Final = Gauge("lacak_snapshot_bytes", "Size of the last snapshot.", ["topic", "partition"])
COMMITS: Final = Counter("lacak_commits_total", "Commits of offsets, done or refused.", ["result"])
COMMIT_AGE: Final = Gauge("lacak_commit_age_seconds", "Time for which offsets that could be committed have not been.")
REBALANCES: Final = Counter("lacak_rebalances_total", "Rebalances this worker went through.")
EVENTS_IN: Final = Counter("lacak_events_in_total", "Messages that Faust handed to streams (a batch is one).")
SEND_ERRORS: Final = Counter("lacak_send_errors_total", "Sends that the brokers refused for good.")

CATALOGUE: Final = (
    WORKER,
    RECORDS_IN,
    BATCHES_IN,
    BATCH_SECONDS,
    BEHIND,
    LOG_TIME,
    HELD,
    RECORDS_OUT,
    BYTES_OUT,
    ROWS_OUT,
    OUTSTANDING,
    DEAD_LETTERS,
    SNAPSHOT_AT,
    SNAPSHOT_SECONDS,
    SNAPSHOT_BYTES,
    COMMITS,
    COMMIT_AGE,
    REBALANCES,
    EVENTS_IN,
    SEND_ERRORS,
)


class TopicMeters:
    """The metrics of one topic's readers, bound once: a look-up by labels costs four times the increment."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._records = RECORDS_IN.labels(topic)
        self._batches = BATCHES_IN.labels(topic)
        self._seconds = BATCH_SECONDS.labels(topic)
        self._snapshot_seconds = SNAPSHOT_SECONDS.labels(topic)
        self._held = HELD.labels(topic)
        self._behind: dict[int, Gauge] = {}
        self._snapshots: dict[int, float] = {}

    def took(self, batch: Batch) -> None:
        """An agent has a batch in hand."""
        self._records.inc(len(batch))
        self._batches.inc()
        gauge = self._behind.get(batch.partition)
        if gauge is None:
            gauge = self._behind[batch.partition] = BEHIND.labels(self._topic, str(batch.partition))
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
        SNAPSHOT_BYTES.labels(self._topic, str(partition)).set(size)

    def age(self, now: float) -> None:
        """Tell how old the snapshots are."""
        for partition, made in self._snapshots.items():
            SNAPSHOT_AT.labels(self._topic, str(partition)).set(now - made)


def log_time(topic: str, partition: int, at_ms: int) -> None:
    """An agent tells the log time that a partition has reached; nothing before the first arrival."""
    if at_ms >= 0:
        LOG_TIME.labels(topic, str(partition)).set(at_ms / 1000)


def rows_out(topic: str, count: int) -> None:
    """An agent sent a block of so many rows."""
    ROWS_OUT.labels(topic).inc(count)

"""Counting: what agents and keepers tell as they go. Bound once: a look-up by labels costs four times the increment.

What is a matter of how long ago is only noted here; `streams.watching` tells it when Prometheus asks.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from prometheus_client import Counter, Histogram

from streams import metrics
from streams.batches import Batch

_READ_IN_BLOCKS: Final = frozenset({"scans", "visits", "windows"})
_SENT_IN_BLOCKS: Final = frozenset({"visits", "windows"})
"""A record of these may hold many events, which their readers and senders count themselves."""


class TopicMeters:
    """The metrics of one topic's readers, and where they stand in each partition that is this worker's.

    `done`: the next offset; `stamps`: the time (ms) of the last record done; `began`: where reading began.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.held: frozenset[int] = frozenset()
        self.done: dict[int, int] = {}
        self.stamps: dict[int, int] = {}
        self.began: dict[int, int] = {}
        self._records = metrics.RECORDS_IN.labels(topic)
        self._events = metrics.EVENTS_IN.labels(topic)
        self._batches = metrics.BATCHES_IN.labels(topic)
        self._seconds = metrics.BATCH_SECONDS.labels(topic)
        self._in_progress = metrics.IN_PROGRESS.labels(topic)
        self._held = metrics.HELD.labels(topic)
        self._one_each = topic not in _READ_IN_BLOCKS

    def took(self, batch: Batch) -> None:
        """An agent has a batch in hand."""
        count = len(batch)
        self._records.inc(count)
        self._batches.inc()
        self._in_progress.set(count)
        if self._one_each:
            self._events.inc(count)

    def did(self, batch: Batch, seconds: float) -> None:
        """It has done it, and took so long."""
        self._seconds.observe(max(seconds, 0.0))
        self._in_progress.set(0)
        self.done[batch.partition] = batch.next_offset
        self.stamps[batch.partition] = batch.timestamps_ms[-1]

    def begins(self, partition: int, offset: int) -> None:
        """Reading begins at an offset."""
        self.began[partition] = self.done[partition] = offset

    def holds(self, partitions: frozenset[int]) -> None:
        """These partitions are this worker's, and no others."""
        for known in (self.done, self.stamps, self.began):
            for partition in known.keys() - partitions:
                del known[partition]
        self.held = partitions
        self._held.set(len(partitions))


class StateMeters:
    """What is told of the states of one topic's partitions; times by a clock that never goes back.

    `saved`: when each state's last snapshot was made; `unsaved`: since when it holds what is in none; `loading`: since
    when it lacks what was in the log when reading began; `took`: how long that lasted the last time.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.saved: dict[int, float] = {}
        self.unsaved: dict[int, float] = {}
        self.loading: dict[int, float] = {}
        self.took: dict[int, float] = {}
        self._seconds = metrics.SNAPSHOT_SECONDS.labels(topic)

    def holds(self, partitions: frozenset[int], now: float) -> None:
        """These partitions are this worker's, and no others: ages count from here where nothing else is known."""
        for known in (self.saved, self.unsaved, self.loading, self.took):
            for partition in known.keys() - partitions:
                del known[partition]
        for partition in partitions:
            self.saved.setdefault(partition, now)
            self.loading[partition] = now

    def snapshot(self, partition: int, now: float, seconds: float, size: int, *, more: bool) -> None:
        """A snapshot of `size` bytes was made durable at `now`; it took `seconds`, and `more` has come meanwhile."""
        self.saved[partition] = now
        self.unsaved.pop(partition, None)
        if more:
            self.unsaved[partition] = now - seconds
        self._seconds.observe(seconds)
        metrics.SNAPSHOT_BYTES.labels(self.topic, str(partition)).set(size)


@cache
def events_in(topic: str) -> Counter:
    """Counts the events in records that hold many."""
    return metrics.EVENTS_IN.labels(topic)


@cache
def events_out(topic: str) -> Counter:
    """Counts the events in blocks sent."""
    return metrics.EVENTS_OUT.labels(topic)


def events_of_records_out(topic: str) -> Counter | None:
    """Counts the records of a topic as events; None where blocks travel, whose senders count."""
    return None if topic in _SENT_IN_BLOCKS else events_out(topic)


def observe_many(histogram: Histogram, value: float, count: int) -> None:
    """Observe one value `count` times, for the cost of once."""
    own: Any = histogram
    for bound, bucket in zip(own._upper_bounds, own._buckets, strict=True):
        if value <= bound:
            bucket.inc(count)
            break
    own._sum.inc(value * count)


log_times: dict[tuple[str, int], int] = {}
"""The log time (ms) that the agents of this process have reached, by topic and partition."""


def log_time(topic: str, partition: int, at_ms: int) -> None:
    """An agent tells the log time that a partition has reached; nothing before the first arrival."""
    if at_ms >= 0:
        log_times[topic, partition] = at_ms

"""What a worker tells of how things stand: looked at once a second, and told as it is when Prometheus asks.

Lag is taken from the end of each partition as the last fetch brought it: what brokers say without a fetch is too small
on some. Ages grow between scrapes. Values are read in the thread that answers Prometheus: plain numbers in dictionaries
that the main loop changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from prometheus_client import Gauge

from streams import metrics
from streams.clock import Clock
from streams.meters import StateMeters, TopicMeters, log_times

Ends = Callable[[], Mapping[tuple[str, int], int]]
"""The end of each partition that is read, by topic (without prefix) and number, as far as it is known."""

_TIMED: Final = ("scans", "visits")
"""Whose log time moves on by itself, ticked where a partition is quiet."""


class Watching:
    """Watches the topics that a worker reads. `look` is called about once a second, in the main loop."""

    def __init__(self, clock: Clock, topics: Iterable[TopicMeters], states: Iterable[StateMeters], ends: Ends) -> None:
        self._clock = clock
        self._topics = tuple(topics)
        self._states = {state.topic: state for state in states}
        self._find_ends = ends
        self._ends: dict[tuple[str, int], int] = {}
        self._level_at: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, int], tuple[Gauge, ...]] = {}

    def look(self) -> None:
        """See which partitions are held, and how far each of them has come."""
        now_ms = self._clock.now_ms()
        self._ends.update(self._find_ends())
        held = {(meters.topic, partition) for meters in self._topics for partition in meters.held}
        for place in self._told.keys() - held:
            self._forget(*place)
        for meters in self._topics:
            for partition in meters.held:
                place = meters.topic, partition
                if place not in self._told:
                    self._level_at[place] = now_ms
                    self._tell(meters, partition)
                if self._lag(meters, partition) == 0:
                    self._level_at[place] = now_ms

    def _tell(self, meters: TopicMeters, partition: int) -> None:
        topic = meters.topic
        values: dict[Gauge, Callable[[], float]] = {
            metrics.LAG_RECORDS: partial(self._lag, meters, partition),
            metrics.LAG_SECONDS: partial(self._lag_seconds, meters, partition),
        }
        state = self._states.get(topic)
        if state is not None:
            values |= {
                metrics.SNAPSHOT_AGE: partial(self._since, state.saved, partition),
                metrics.UNSAVED: partial(self._since, state.unsaved, partition),
                metrics.RECOVERING: lambda: float(partition in state.loading),
                metrics.RECOVERY_SECONDS: lambda: (
                    self._since(state.loading, partition)
                    if partition in state.loading
                    else state.took.get(partition, 0.0)
                ),
                metrics.RECOVERY_RATIO: partial(self._recovered, meters, state, partition),
            }
        if topic in _TIMED:
            values |= {
                metrics.LOG_TIME: lambda: log_times.get((topic, partition), 0) / 1000,
                metrics.EVENT_TIME_LAG: partial(self._event_time_lag, topic, partition),
            }
        for gauge, value in values.items():
            gauge.labels(topic, str(partition)).set_function(value)
        self._told[topic, partition] = tuple(values)

    def _forget(self, topic: str, partition: int) -> None:
        for gauge in self._told.pop((topic, partition)):
            gauge.remove(topic, str(partition))
        for known in (self._ends, self._level_at, log_times):
            known.pop((topic, partition), None)

    def _lag(self, meters: TopicMeters, partition: int) -> float:
        end, done = self._ends.get((meters.topic, partition)), meters.done.get(partition)
        return float(max(end - done, 0)) if end is not None and done is not None else 0.0

    def _lag_seconds(self, meters: TopicMeters, partition: int) -> float:
        """The oldest record not done came after the last that was, and after the partition was last level."""
        if self._lag(meters, partition) == 0:
            return 0.0
        came_ms = max(meters.stamps.get(partition, 0), self._level_at.get((meters.topic, partition), 0))
        return max(self._clock.now_ms() - came_ms, 0) / 1000

    def _event_time_lag(self, topic: str, partition: int) -> float:
        reached = log_times.get((topic, partition))
        return 0.0 if reached is None else max(self._clock.now_ms() - reached, 0) / 1000

    def _since(self, times: Mapping[int, float], partition: int) -> float:
        at = times.get(partition)
        return 0.0 if at is None else max(self._clock.monotonic() - at, 0.0)

    def _recovered(self, meters: TopicMeters, state: StateMeters, partition: int) -> float:
        end, done = self._ends.get((meters.topic, partition)), meters.done.get(partition)
        began = meters.began.get(partition)
        if partition not in state.loading or end is None or done is None or began is None or end <= began:
            return float(partition not in state.loading)
        return min((done - began) / (end - began), 1.0)

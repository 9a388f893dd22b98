"""What the places role tells of itself: how long scans are under way to a count, figures of its index, heartbeats."""

from __future__ import annotations

from collections.abc import Mapping

from contacts.figures import FULLNESS
from contacts.places import Places
from schemas.blocks import Heartbeat
from schemas.heartbeats import HEARTBEAT_KEY, Pulse, beat
from streams import stagemetrics as metrics
from streams.clock import Clock
from streams.meters import observe_many
from streams.outbox import Outbox
from streams.settings import Partitions


class PlaceMeters:
    """The metrics of the visits partitions that a worker holds, and the heartbeats that it passes on.

    A heartbeat that has come from every source goes on with the next counts: then whatever came before it is told.
    """

    def __init__(self, partitions: Partitions, clock: Clock, outbox: Outbox) -> None:
        self._partitions = partitions
        self._clock = clock
        self._outbox = outbox
        self.pulse = Pulse("visits", clock.now_ms, partitions.scans)
        self._waiting: dict[int, dict[int, int]] = {}
        self._beats: dict[int, int] = {}

    def took(self, partition: int, recorded_ms: int, rows: int) -> None:
        """A block has come, of rows whose scans were recorded from then on."""
        if recorded_ms and rows:
            waiting = self._waiting.setdefault(partition, {})
            waiting[recorded_ms] = waiting.get(recorded_ms, 0) + rows

    def beat(self, partition: int, heartbeat: Heartbeat) -> None:
        """A heartbeat has come from one scans partition."""
        newest = self.pulse.came(partition, heartbeat)
        if newest is not None:
            self._beats[partition] = newest

    def told(self, partition: int, *, replaying: bool) -> None:
        """All that has changed by now is sent: when it is acknowledged, see how long it was under way."""
        waiting = self._waiting.pop(partition, None)
        if waiting and not replaying:
            self._outbox.when_acknowledged(lambda: self._visible(waiting))
        born_ms = self._beats.pop(partition, None)
        if born_ms is not None and not replaying:
            record = beat(partition, born_ms)
            self._outbox.send("occupancy", partition, record, key=HEARTBEAT_KEY)
            for coordinator in range(self._partitions.cases):
                self._outbox.send("trace-answers", coordinator, record, key=HEARTBEAT_KEY)

    def _visible(self, waiting: Mapping[int, int]) -> None:
        now_ms = self._clock.now_ms()
        for recorded_ms, rows in waiting.items():
            observe_many(metrics.OCCUPANCY_SECONDS, max(now_ms - recorded_ms, 0) / 1000, rows)


class Figured:
    """Sets the gauges of figures; called about once a second."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def look(self, states: Mapping[int, Places], people: int, questions: Mapping[int, int]) -> None:
        """`states` by partition; `people` in the directory that they share; `questions` open, by partition."""
        for partition in self._held - states.keys():
            _forget(str(partition))
        self._held = set(states)
        metrics.INDEX_PEOPLE.set(people)
        for partition, places in states.items():
            name, figures = str(partition), places.figures()
            metrics.INDEX_VISITS.labels(name).set(figures.visits)
            metrics.INDEX_BYTES.labels(name).set(figures.bytes_held)
            metrics.PEOPLE_INSIDE.labels(name).set(figures.inside)
            metrics.CLUSTERS.labels(name).set(figures.clusters)
            metrics.WATCHES.labels(name).set(figures.watches)
            metrics.QUESTIONS.labels(name).set(questions.get(partition, 0))
            for level, count in zip(FULLNESS, figures.fullness, strict=True):
                metrics.VENUES.labels(name, level).set(count)


def _forget(partition: str) -> None:
    for gauge in (
        metrics.INDEX_VISITS, metrics.INDEX_BYTES, metrics.PEOPLE_INSIDE, metrics.CLUSTERS, metrics.WATCHES,
        metrics.QUESTIONS,
    ):  # fmt: skip
        gauge.remove(partition)
    for level in FULLNESS:
        metrics.VENUES.remove(partition, level)

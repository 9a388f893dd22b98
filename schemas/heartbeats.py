"""Heartbeats: control records that travel the pipeline beside the data, so that their age says that it is alive.

What they mean, and the way they take, stands in docs/heartbeat.md. They move no log time and count nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from prometheus_client import Gauge, Histogram

from schemas.blocks import CONTROL_MAGIC, CONTROLS, BlockError, Heartbeat, frame, unframe

HEARTBEAT_KEY: Final = b"\x00heartbeat"
"""The key of heartbeats in topics that have keys: no person, venue or trace can be called so."""

HEARTBEAT_AGE: Final = Gauge(
    "lacak_heartbeat_age_seconds",
    "Age of the newest heartbeat that has come this way from every source.",
    ["topic", "partition"],
)
HEARTBEAT_SECONDS: Final = Histogram(
    "lacak_heartbeat_seconds",
    "Time a heartbeat took from its birth to here.",
    ["topic"],
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)

HEARTBEATS: Final = (HEARTBEAT_AGE, HEARTBEAT_SECONDS)
"""What roles tell that read heartbeats: visits, places, tracing, status, recorder, and gateways."""


def beat(source: int, born_ms: int) -> bytes:
    """The record value of a heartbeat."""
    return frame(CONTROL_MAGIC, Heartbeat(source, born_ms))


def beat_of(value: bytes | None) -> Heartbeat | None:
    """The heartbeat that a record holds, if it holds one."""
    if value is None or value[:4] != CONTROL_MAGIC:
        return None
    try:
        control = unframe(CONTROL_MAGIC, value, CONTROLS)
    except BlockError:
        return None
    return control if isinstance(control, Heartbeat) else None


class Pulse:
    """The heartbeats that come by one topic, as one reader sees them.

    Each partition is fed by the sources `0..sources-1`; with None each of its heartbeats stands alone. The age of a
    partition is that of the newest heartbeat which, or a later one, has come from every source; before there is one it
    counts from when the partition was taken up. `now_ms` may be called from another thread.
    """

    def __init__(self, topic: str, now_ms: Callable[[], int], sources: int | None = None) -> None:
        self._topic = topic
        self._now_ms = now_ms
        self._sources = sources
        self._born: dict[int, dict[int, int]] = {}
        self._since: dict[int, int] = {}
        self._newest: dict[int, int] = {}

    def hold(self, partitions: Iterable[int]) -> None:
        """These are the partitions that are read now, and no others."""
        held = set(partitions)
        for partition in self._since.keys() - held:
            HEARTBEAT_AGE.remove(self._topic, str(partition))
            del self._since[partition]  # what has come stays known: it may be read here again
        for partition in held - self._since.keys():
            self._since[partition] = self._now_ms()
            HEARTBEAT_AGE.labels(self._topic, str(partition)).set_function(partial(self.age_seconds, partition))

    def came(self, partition: int, heartbeat: Heartbeat) -> int | None:
        """A heartbeat has come; when it was born, if now a newer one than before has come from every source."""
        source = heartbeat.source if self._sources is not None else 0
        if source >= (self._sources or 1):
            return None  # of nobody who feeds this topic
        born = self._born.setdefault(partition, {})
        born[source] = max(min(heartbeat.born_ms, self._now_ms()), born.get(source, 0))  # clocks differ a little
        newest = min(born.values())
        if len(born) < (self._sources or 1) or newest <= self._newest.get(partition, 0):
            return None
        self._newest[partition] = newest
        if newest >= self._since.get(partition, 0):  # what was born before is what waited for this worker, or a replay
            HEARTBEAT_SECONDS.labels(self._topic).observe(max(self._now_ms() - newest, 0) / 1000)
        return newest

    def age_seconds(self, partition: int) -> float:
        """How old the newest heartbeat of a partition is."""
        newest = self._newest.get(partition) or self._since.get(partition, 0)
        return max(self._now_ms() - newest, 0) / 1000

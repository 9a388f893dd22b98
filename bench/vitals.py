"""What a running deployment is like: memory and open files of each process, lag, and how soon a scan shows.

Lag in records is what a topic holds less what its agents have taken in (`lacak_records_in_total`, of a deployment that
began empty). The probe is a scan of somebody new at a venue of its own, every second; it shows when a message of
`occupancy` names that venue.
"""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from kafka import KafkaConsumer, TopicPartition

from bench.machine import cpu_seconds, resident_mib
from gateway.client import Gateway
from schemas.messages import Venue
from schemas.partitions import partition_of
from streams.reader import read_topic
from streams.settings import Settings

READ: Final = {"scans": "visits", "visits": "places", "windows": "recorder", "occupancy": "recorder"}
"""The topics whose lag is told, and the role that reads each."""

_TAKEN: Final = re.compile(r'^lacak_records_in_total\{[^}]*topic="([a-z-]+)"[^}]*\} (\S+)', re.MULTILINE)
_PROBE_SECONDS: Final = 1.0


class Vitals(msgspec.Struct):
    """One look. Times in seconds since the beginning; `stale_s` is how long ago the newest scan that shows was sent."""

    at_s: float
    phase: str
    published: int
    rss_mib: dict[str, float]
    handles: dict[str, int]
    cpu_s: dict[str, float]
    lag: dict[str, int]
    stale_s: float
    latency_s: float | None


class Probe:
    """Sends a scan a second to a venue of its own, and waits for each to show; two threads, for a `with` block."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        names = (f"probe-{number}" for number in range(count * settings.partitions.visits * 4))
        self._venues = [name for name in names if partition_of(name, settings.partitions.visits) == 0][:count]
        self._sent: dict[str, float] = {}
        self._seen: list[tuple[float, float]] = []  # when it was sent, how long it took
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._read)]
        self.failure: BaseException | None = None

    def registrations(self) -> list[Venue]:
        """The venues of the probe."""
        return [Venue(venue=name, name=name, category="shop") for name in self._venues]

    def __enter__(self) -> Probe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)

    def stale_s(self) -> float:
        """How long ago the newest scan that shows was sent."""
        newest = max((sent for sent, _ in list(self._seen)), default=None)
        oldest = min(list(self._sent.values()), default=None)
        since = newest if newest is not None else oldest
        return time.monotonic() - since if since is not None else 0.0

    def latencies(self, after: float) -> list[float]:
        """How long the scans took that were sent since a time (monotonic) and show."""
        return [took for sent, took in list(self._seen) if sent >= after]

    def _send(self) -> None:
        with Gateway(self._settings.brokers, topic=self._settings.topic("scans")) as gateway:
            for number, venue in enumerate(self._venues):
                if self._over.wait(_PROBE_SECONDS):
                    return
                self._sent[venue] = time.monotonic()
                gateway.check_in(f"b1:{number:032x}", venue, at_ms=time.time_ns() // 1_000_000)
                gateway.flush()

    def _read(self) -> None:
        followed = read_topic(
            self._settings, "occupancy", follow=True, partitions=[0], at_end=True, idle=self._over.is_set
        )
        for record in followed:
            sent = self._sent.pop((record.key or b"").decode(), None)
            if sent is not None:
                self._seen.append((sent, time.monotonic() - sent))
            if self._over.is_set():
                return


class Watcher:
    """Looks at processes (by name, with the ports of their metrics) and topics."""

    def __init__(self, settings: Settings, pids: Mapping[str, int], ports: Mapping[str, int], probe: Probe) -> None:
        self._pids, self._ports, self._probe = pids, ports, probe
        self._began = self._looked = time.monotonic()
        self._consumer = KafkaConsumer(bootstrap_servers=settings.brokers)
        counts = {"scans": settings.partitions.scans}
        self._places = {
            topic: [
                TopicPartition(settings.topic(topic), number)
                for number in range(counts.get(topic, settings.partitions.visits))
            ]
            for topic in READ
        }

    def look(self, phase: str) -> Vitals:
        """How it is now."""
        ends = self._consumer.end_offsets([place for places in self._places.values() for place in places])
        there = {topic: sum(ends[place] for place in places) for topic, places in self._places.items()}
        taken = {role: _taken(port) for role, port in self._ports.items()}
        lag = {topic: max(there[topic] - taken[role].get(topic, there[topic]), 0) for topic, role in READ.items()}
        recent = self._probe.latencies(self._looked)
        self._looked = time.monotonic()
        return Vitals(
            at_s=self._looked - self._began,
            phase=phase,
            published=there["scans"],
            rss_mib={name: resident_mib(pid) for name, pid in self._pids.items()},
            handles={name: _handles(pid) for name, pid in self._pids.items()},
            cpu_s={name: cpu_seconds(pid) for name, pid in self._pids.items()},
            lag=lag,
            stale_s=self._probe.stale_s(),
            latency_s=max(recent, default=None),
        )

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def _taken(port: int) -> dict[str, int]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {found[1]: int(float(found[2])) for found in _TAKEN.finditer(text)}


def _handles(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def until(reached: Callable[[], bool], seconds: float, each: Callable[[], Any], every_seconds: float) -> bool:
    """Do something every so often until something is reached; whether it was in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.monotonic()
        each()
        if reached():
            return True
        time.sleep(max(0.0, every_seconds - (time.monotonic() - began)))
    return False

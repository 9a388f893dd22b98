"""The officer of `bench.trace`: sends positives, and reads their reports from PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import numpy as np
import psycopg
from kafka import KafkaProducer

from officer.store import TRACES_CHANNEL
from schemas.messages import TestResult
from schemas.partitions import partition_of
from streams.settings import DAY_MS, Settings

_REPORT_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 1800.0


class Report(msgspec.Struct):
    """One traced positive. `first_ms` until any forward report could be read, `complete_ms` until a complete one."""

    first_ms: float
    complete_ms: float | None
    state: str
    contacts: int


class Officer:
    """Sends positives and reads reports."""

    def __init__(
        self, settings: Settings, reader: psycopg.Connection[Any], producer: Any, hops: int, onset_ms: int
    ) -> None:
        self._settings, self._reader, self._producer, self._hops = settings, reader, producer, hops
        self._onset_ms = onset_ms
        reader.execute(f"listen {TRACES_CHANNEL}".encode())

    @classmethod
    @contextmanager
    def at_work(cls, settings: Settings, hops: int = 1, onset_ms: int = DAY_MS // 2) -> Iterator[Officer]:
        """An officer for the length of a `with` block; `hops` is how far the deployment's own traces go.

        A positive's onset was so long ago, the specimen is of the day after it, or of now.
        """
        producer = KafkaProducer(**settings.broker_access.arguments(), acks="all", linger_ms=0)
        try:
            with psycopg.connect(settings.database, autocommit=True) as reader:
                yield cls(settings, reader, producer, hops, onset_ms)
        finally:
            producer.close()

    def positive(self, person: str) -> float:
        """Send one positive; the time just before."""
        now_ms = time.time_ns() // 1_000_000
        onset_ms = now_ms - self._onset_ms
        specimen_ms = min(now_ms, onset_ms + DAY_MS)
        body = TestResult(person=person, outcome="positive", specimen_ms=specimen_ms, onset_ms=onset_ms)
        partition = partition_of(person, self._settings.partitions.cases)
        began = time.monotonic()
        topic, value = self._settings.topic("test-results"), msgspec.json.encode(body)
        self._producer.send(topic, value=value, key=person.encode(), partition=partition).get(30)
        return began

    def report(self, person: str, began: float) -> Report | None:
        """Wait for the forward report of a positive; nothing when none comes in time."""
        first: Report | None = None
        while (left := began + _REPORT_SECONDS - time.monotonic()) > 0:
            row = self._reader.execute(
                "select state, contacts from lacak.traces where person = %s and direction = 'forward'",
                (person,),
            ).fetchone()
            passed_ms = (time.monotonic() - began) * 1000
            if row is not None:
                complete_ms = passed_ms if row[0] == "complete" else None
                first = first or Report(passed_ms, complete_ms, row[0], row[1])
                if complete_ms is not None:
                    first.complete_ms, first.contacts = complete_ms, row[1]
                    return first
            for _ in self._reader.notifies(timeout=min(left, 1.0), stop_after=1):
                pass
        return first

    def people_by_hop(self) -> list[list[float]]:
        """How many people the forward reports have at each hop: the median, and the 90th percentile."""
        rows = self._reader.execute(
            "select count(*) filter (where c.hop = h.hop) from lacak.traces t"
            " cross join generate_series(1, %s) as h(hop) left join lacak.trace_contacts c using (trace_id)"
            " where t.direction = 'forward' group by trace_id, h.hop order by h.hop",
            (self._hops,),
        ).fetchall()
        each = len(rows) // self._hops
        hops = np.array([row[0] for row in rows]).reshape(self._hops, each)
        found: list[list[float]] = np.quantile(hops, [0.5, 0.9], axis=1).T.tolist() if each else []
        return found

    def await_any(self, people: Iterator[str]) -> None:
        """Send a positive every two seconds, each for another person, until any of their reports is complete."""
        asked: list[str] = []
        deadline = time.monotonic() + _DRAIN_SECONDS
        while time.monotonic() < deadline:
            asked.append(next(people))
            self.positive(asked[-1])
            for _ in range(40):
                row = self._reader.execute(
                    "select 1 from lacak.traces where person = any(%s) and direction = 'forward'"
                    " and state = 'complete'",
                    (asked,),
                ).fetchone()
                if row is not None:
                    return
                time.sleep(0.05)
        raise RuntimeError(f"no trace was complete within {_DRAIN_SECONDS:.0f} s")

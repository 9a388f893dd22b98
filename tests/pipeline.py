"""A whole pipeline for a test: shared servers, topics and a database of its own, workers that can be killed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import psycopg
from kafka import KafkaProducer

from contacts.visits import Visit
from deploy.migrate import migrate
from gateway.client import Gateway
from lacak.deployment import Deployment
from lacak.level import standing_visits, wait_level, wait_registry
from lacak.officer_commands import send
from lacak.venues import publish_venues
from officer.store import Store
from schemas.messages import Erasure, Scan, Trace, TraceRequest, Venue
from streams.settings import DAY_MS, DeadLetterLimits, Partitions, Settings, Snapshots, Times, Transport
from tests import oracle

FAR_DAYS = 400.0
"""A retention that no test's span reaches."""


class Broker(Protocol):
    """What a test needs of a broker."""

    @property
    def bootstrap(self) -> str: ...


class Windows(NamedTuple):
    """A window's numbers."""

    entries: int
    exits: int
    assumed_exits: int
    peak: int
    presence_ms: int


class Pipeline:
    """A running deployment. `end` publishes the final tick and waits until everything has come through."""

    def __init__(self, lacak: Deployment) -> None:
        self.lacak = lacak
        self.settings = lacak.settings
        self._last_ms = 0

    def register(self, venues: Sequence[Venue]) -> None:
        """Put venues into the registry and wait until they are in force."""
        began_ms = time.time_ns() // 1_000_000 - 10_000
        publish_venues(self.settings, venues)
        wait_registry(self.settings, began_ms)

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """Publish erasures."""
        producer = KafkaProducer(bootstrap_servers=self.settings.brokers, acks="all")
        for each in erasures:
            topic = self.settings.topic("erasures")
            producer.send(topic, value=msgspec.json.encode(each), key=each.person.encode(), partition=0).get(30)
        producer.close()

    def publish(self, scans: Sequence[Scan], *, blocks: bool = True) -> None:
        """Publish scans in this order."""
        with Gateway(self.settings.brokers, topic=self.settings.topic("scans"), blocks=blocks) as gateway:
            gateway.publish(scans)
            assert gateway.flush().failed == 0
        self._last_ms = max([self._last_ms, *(max(s.at_ms, s.arrived_at_ms or s.at_ms) for s in scans)])

    def send_raw(self, topic: str, records: Sequence[tuple[int, bytes | None, bytes | None]]) -> None:
        """Publish `(partition, key, value)` as they are."""
        producer = KafkaProducer(bootstrap_servers=self.settings.brokers, acks="all")
        for partition, key, value in records:
            producer.send(self.settings.topic(topic), value=value, key=key, partition=partition).get(30)
        producer.close()

    def end(self, seconds: float = 90.0) -> None:
        """End the run and wait until it is level."""
        with Gateway(self.settings.brokers, topic=self.settings.topic("scans")) as gateway:
            gateway.end_run(self._last_ms + 2 * DAY_MS)
        wait_level(self.settings, self._last_ms + DAY_MS, seconds=seconds, watch=self.lacak.watch)

    def visits(self) -> list[oracle.Visit]:
        """The visits that stand."""
        return [seen(visit) for visit in standing_visits(self.settings)]

    def windows(self) -> dict[tuple[str, int], Windows]:
        """The windows in PostgreSQL, by venue and start (ms)."""
        with psycopg.connect(self.settings.database) as database:
            rows = database.execute(
                "select venue, round(extract(epoch from window_start) * 1000)::bigint, entries, exits, assumed_exits,"
                " peak, presence_ms from lacak.windows"
            ).fetchall()
        return {(row[0], row[1]): Windows(*row[2:]) for row in rows}

    def inside(self) -> dict[str, int]:
        """How many are inside each venue, as PostgreSQL has it."""
        with psycopg.connect(self.settings.database) as database:
            return dict(database.execute("select venue, inside from lacak.occupancy").fetchall())

    def trace(
        self, person: str, direction: str, onset_ms: int, profile: str = "who", seconds: float = 90.0, **more: float
    ) -> Trace:
        """Ask for a trace and wait until it is complete: on a busy machine an answer may come behind the deadline."""
        request = TraceRequest(
            request_id=uuid.uuid4().hex, person=person, officer="test", purpose="test", direction=direction,  # type: ignore[arg-type]
            profile=profile, onset_ms=onset_ms, **more,  # type: ignore[arg-type]
        )  # fmt: skip
        began_ms = time.time_ns() // 1_000_000
        with Store.opened(self.settings.database) as store:
            send(self.settings, "trace-requests", person, request)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                made = store.await_traces(person, began_ms, 1, deadline - time.monotonic())
                if made and made[0].state == "complete":
                    return made[0]
                time.sleep(0.1)
        raise AssertionError("no complete trace came")

    def worker(self, role: str, index: int = 0):  # type: ignore[no-untyped-def]
        """One worker process."""
        return next(each for each in self.lacak.workers if (each.role, each.index) == (role, index))


def seen(visit: Visit) -> oracle.Visit:
    """A visit of ours as the oracle writes it."""
    from schemas.blocks import REASONS

    return oracle.Visit(
        visit.person, visit.venue, visit.start_ms, visit.end_ms, REASONS[visit.reason], tuple(visit.ancestors)
    )


@contextmanager
def pipeline(
    broker: Broker,
    database: str,
    folder: Path,
    *,
    partitions: int = 4,
    workers: Mapping[str, int] | None = None,
    clock: str = "file",
    retention_days: float = FAR_DAYS,
    limits: DeadLetterLimits | None = None,
    snapshot_seconds: float = 1.0,
    **more: Any,
) -> Iterator[Pipeline]:
    """A pipeline with topics and a database of its own, for the length of a `with` block. `more` are settings."""
    name = f"t{uuid.uuid4().hex[:10]}"
    own = new_database(database, name)
    settings = Settings(
        brokers=broker.bootstrap,
        database=own,
        data_dir=folder / name,
        topic_prefix=f"{name}.",
        clock=clock,  # type: ignore[arg-type]
        partitions=Partitions(scans=partitions, visits=partitions, cases=min(partitions, 2)),
        times=Times(retention_days=retention_days),
        transport=more.pop("transport", Transport(session_timeout_seconds=10 if workers else 6)),
        snapshots=Snapshots(every_seconds=snapshot_seconds, every_records=500),
        dead_letters=limits or DeadLetterLimits(),
        **more,
    )
    with Deployment(settings, workers=workers) as lacak:
        yield Pipeline(lacak)


def new_database(url: str, name: str) -> str:
    """A fresh database on the server of `url`; its url."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
    own = url.replace("/postgres?", f"/{name}?")
    migrate(own)
    return own

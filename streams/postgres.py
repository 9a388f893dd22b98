"""The recorder's writes: each batch in one transaction with the offset it reaches, each row only if it is newer.

PostgreSQL may go away at any time: a batch is tried again until it is written. Written twice it does nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np
import psycopg

from schemas.blocks import WINDOW_COLUMNS, WindowBlock
from schemas.door import DoorEvent
from schemas.health import Declaration, HealthRecord, Status
from schemas.messages import Case, Erasure, Occupancy, Trace, Venue, VenueClusters
from security.database import DatabaseAccess, access_of, sentence
from streams import stagemetrics as metrics
from streams.cluster_rows import forget_case, write_clusters
from streams.health_rows import erase_health, write_declarations, write_door_events, write_records, write_statuses
from streams.reports import write_erasures, write_traces

log = logging.getLogger(__name__)

_WAIT_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"


_NEVER_TAKEN: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""What is no better the second time: a text with a NUL, a number or time out of range, a key too long for its index.
(Of these psycopg counts the last among what a server that is away raises.)"""


class Unstorable(ValueError):
    """Something among what was to be written is nothing that PostgreSQL holds."""


class _Lane:
    """A connection to PostgreSQL that comes back, for one transaction at a time."""

    def __init__(self, database: DatabaseAccess) -> None:
        self._database = database
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self, topic: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction for what a topic holds. Raises psycopg.OperationalError when PostgreSQL does not answer."""
        async with self._mine():
            if self._connection is None or self._connection.closed:
                self._forget()
                self._connection = await self._database.connect_async(autocommit=True)
                metrics.DATABASE_CONNECTS.inc()
                metrics.DATABASE_CONNECTED.inc()
            with metrics.DATABASE_SECONDS.labels(topic).time():
                async with self._connection.transaction():
                    yield self._connection

    async def close(self) -> None:
        """Disconnect."""
        connection = self._forget()
        if connection is not None:
            await connection.close()

    async def doubt(self) -> None:
        """Another connection has broken: nobody would notice of one that is not in use, and it would count as open."""
        if not self._one_at_a_time.locked():
            await self.close()

    def _forget(self) -> psycopg.AsyncConnection[Any] | None:
        connection, self._connection = self._connection, None
        if connection is not None:
            metrics.DATABASE_CONNECTED.dec()
        return connection

    @asynccontextmanager
    async def _mine(self) -> AsyncIterator[None]:
        """The connection is one batch's at a time."""
        with metrics.DATABASE_WAIT_SECONDS.time():
            await self._one_at_a_time.acquire()
        try:
            yield
        finally:
            self._one_at_a_time.release()


class Records:
    """Connections to PostgreSQL: reports have their own, and what comes in masses, so that no report waits for a day's
    windows, or for the health records of its contacts."""

    def __init__(self, database: DatabaseAccess | str) -> None:
        database = access_of(database)
        self._lanes = {topic: _Lane(database) for topic in ("windows", "occupancy", "traces")}
        self._others = _Lane(database)
        self._all = (*self._lanes.values(), self._others)

    async def apply(
        self,
        topic: str,
        partition: int,
        next_offset: int,
        *,
        occupancy: Sequence[Occupancy] = (),
        windows: Sequence[WindowBlock] = (),
        clusters: Sequence[VenueClusters] = (),
        cases: Sequence[Case | str] = (),
        traces: Sequence[Trace | str] = (),
        venues: Sequence[Venue] = (),
        erasures: Sequence[Erasure] = (),
        statuses: Sequence[Status | str] = (),
        health_records: Sequence[HealthRecord | str] = (),
        declarations: Sequence[Declaration] = (),
        door_events: Sequence[DoorEvent] = (),
    ) -> None:
        """Write what one batch of a topic's partition holds, up to `next_offset`. Returns when it is committed.

        What is only named (a case, a trace, a person's status, a health record) is forgotten. Raises Unstorable, with
        nothing written, for what PostgreSQL will never take.
        """
        lane = self._lanes.get(topic, self._others)
        failures = 0
        while True:
            try:
                async with lane.transaction(topic) as connection:
                    await _write_occupancy(connection, occupancy)
                    for block in windows:
                        await _write_windows(connection, block)
                    await write_clusters(connection, clusters)
                    await _write_cases(connection, cases)
                    await write_traces(connection, traces)
                    await _write_venues(connection, venues)
                    await write_erasures(connection, erasures)
                    for erasure in erasures:
                        await erase_health(connection, erasure)
                    await write_statuses(connection, statuses)
                    await write_records(connection, health_records)
                    await write_declarations(connection, declarations)
                    await write_door_events(connection, door_events)
                    log_time = max((block.log_time_ms for block in windows), default=None)
                    await connection.execute(_POSITION, (topic, partition, next_offset, log_time))
                return
            except _NEVER_TAKEN as error:
                raise Unstorable(str(error).partition("\n")[0]) from error
            except psycopg.OperationalError as error:
                if failures == 0:
                    log.warning("PostgreSQL does not answer; what is to be written waits. (%s)", sentence(error))
                metrics.DATABASE_FAILURES.inc()
                await lane.close()
                for other in self._all:
                    await other.doubt()
                await asyncio.sleep(_WAIT_SECONDS[min(failures, len(_WAIT_SECONDS) - 1)])
                failures += 1

    async def close(self) -> None:
        """Disconnect."""
        for lane in self._all:
            await lane.close()


def adopt(database: DatabaseAccess | str, cluster: str) -> bool:
    """Say which Kafka cluster's positions count here. True when the rows of another give way from now on.

    Their positions mean nothing in this cluster: they are set below every real one, and the rows stay until newer come.
    """
    with access_of(database).connect() as connection:
        known = connection.execute("select cluster_id from lacak.cluster").fetchone()
        if known is not None and known[0] == cluster:
            return False
        connection.execute(
            "insert into lacak.cluster (cluster_id) values (%s)"
            " on conflict (only_one) do update set cluster_id = excluded.cluster_id",
            (cluster,),
        )
        connection.execute("delete from lacak.applied_positions")
        for table in ("occupancy", "all_windows", "clusters", "told_clusters", "cases", "traces", "statuses"):
            connection.execute(f"update lacak.{table} set position_offset = -1, position_step = -1".encode())
    return known is not None


_POSITION: Final = """
    insert into lacak.applied_positions (topic, partition, next_offset, log_time_ms) values (%s, %s, %s, %s)
    on conflict (topic, partition) do update set
        next_offset = greatest(applied_positions.next_offset, excluded.next_offset),
        log_time_ms = greatest(applied_positions.log_time_ms, excluded.log_time_ms)
"""

_NEWER: Final = "(excluded.position_offset, excluded.position_step) > ({0}.position_offset, {0}.position_step)"

_OCCUPANCY: Final = f"""
    insert into lacak.occupancy
    select venue, inside, allowed, share, to_timestamp(log_time_ms / 1000.0), at_offset, step
    from unnest(%s::text[], %s::int[], %s::int[], %s::float8[], %s::bigint[], %s::bigint[], %s::bigint[])
        as new (venue, inside, allowed, share, log_time_ms, at_offset, step)
    on conflict (venue) do update set
        inside = excluded.inside, allowed = excluded.allowed, assumed_end_share = excluded.assumed_end_share,
        log_time = excluded.log_time, position_offset = excluded.position_offset, position_step = excluded.position_step
    where {_NEWER.format("occupancy")}
"""


async def _write_occupancy(connection: psycopg.AsyncConnection[Any], messages: Sequence[Occupancy]) -> None:
    newest = _newest((message.venue, message) for message in messages)
    if newest:
        columns = zip(
            *((m.venue, m.inside, m.allowed, m.assumed_end_share, m.log_time_ms, *m.position) for m in newest),
            strict=True,
        )
        await connection.execute(_OCCUPANCY, [list(column) for column in columns])


_INCOMING: Final = (
    "create temp table if not exists incoming (venue bigint, start_ms bigint, entries bigint, exits bigint, "
    "assumed_exits bigint, peak bigint, presence_ms bigint) on commit delete rows"
)

_WINDOWS: Final = f"""
    insert into lacak.all_windows
    select v.venue, to_timestamp(i.start_ms / 1000.0), i.entries, i.exits, i.assumed_exits, i.peak, i.presence_ms,
        i.presence_ms / %s::float8, %s, %s
    from incoming i join unnest(%s::text[]) with ordinality as v (venue, number) on v.number = i.venue + 1
    on conflict (venue, window_start) do update set
        entries = excluded.entries, exits = excluded.exits, assumed_exits = excluded.assumed_exits,
        peak = excluded.peak,
        presence_ms = excluded.presence_ms, mean = excluded.mean,
        position_offset = excluded.position_offset, position_step = excluded.position_step
    where {_NEWER.format("all_windows")}
"""


async def _write_windows(connection: psycopg.AsyncConnection[Any], block: WindowBlock) -> None:
    rows = np.frombuffer(block.rows, "<i8").reshape(-1, len(WINDOW_COLUMNS))
    if not len(rows):
        return
    await connection.execute(_INCOMING)
    await connection.execute("truncate incoming")
    async with connection.cursor() as cursor, cursor.copy("copy incoming from stdin (format binary)") as copy:
        await copy.write(_COPY_HEAD + _binary_rows(rows) + _COPY_TAIL)
    await connection.execute(_WINDOWS, (block.window_ms, *block.position, block.venues))


def _binary_rows(rows: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
    """Rows of int64 as PostgreSQL's binary copy format has them: field count, then each field's length and bytes."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for column in range(rows.shape[1]):
        fields += [(f"length{column}", ">i4"), (f"value{column}", ">i8")]
    packed = np.empty(len(rows), np.dtype(fields))
    packed["fields"] = rows.shape[1]
    for column in range(rows.shape[1]):
        packed[f"length{column}"] = 8
        packed[f"value{column}"] = rows[:, column]
    return packed.tobytes()


_CASE: Final = f"""
    insert into lacak.cases
    values (%s, %s, to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), %s, %s, %s, %s)
    on conflict (case_id) do update set
        specimen = excluded.specimen, onset = excluded.onset, isolated = excluded.isolated,
        withdrawn = excluded.withdrawn,
        revision = excluded.revision, position_offset = excluded.position_offset, position_step = excluded.position_step
    where {_NEWER.format("cases")}
"""


async def _write_cases(connection: psycopg.AsyncConnection[Any], cases: Sequence[Case | str]) -> None:
    for case in cases:
        if isinstance(case, str):
            await connection.execute("delete from lacak.cases where case_id = %s", (case,))
            await forget_case(connection, case)
            continue
        await connection.execute(
            _CASE,
            (
                case.case_id,
                case.person,
                case.specimen_ms,
                case.onset_ms,
                case.isolated_ms,
                case.withdrawn,
                case.revision,
                *case.position,
            ),
        )


_VENUE: Final = """
    insert into lacak.venues values (%s, to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s)
    on conflict (venue, valid_from) do update set
        name = excluded.name, category = excluded.category, region = excluded.region, capacity = excluded.capacity
"""


async def _write_venues(connection: psycopg.AsyncConnection[Any], venues: Sequence[Venue]) -> None:
    for v in venues:
        await connection.execute(_VENUE, (v.venue, v.valid_from_ms, v.name, v.category, v.region, v.capacity, v.within))


def _newest(messages: Any) -> list[Any]:
    """The newest message of each key: one statement must not touch a row twice."""
    newest: dict[str, Any] = {}
    for key, message in messages:
        if key not in newest or message.position > newest[key].position:
            newest[key] = message
    return list(newest.values())

"""What officers read, from PostgreSQL; every look at a person is written to the audit first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import namedtuple_row

from officer.history import Version
from schemas.health import HealthRecord
from schemas.messages import Trace
from security.database import DatabaseAccess, access_of, sentence
from security.settings import SecurityError

TRACES_CHANNEL = "lacak_traces"


class StoreError(RuntimeError):
    """The database does not answer, or has not what was asked for; the message says which."""


class Inside(NamedTuple):
    """How many are inside a venue."""

    venue: str
    name: str
    inside: int
    allowed: int | None
    assumed_end_share: float
    log_time: datetime


class ToldDoors(NamedTuple):
    """What doors were told last of a person, at which log time (ms)."""

    colour: str
    log_time_ms: int


class Listed(NamedTuple):
    """A trace in a list."""

    trace_id: str
    person: str
    direction: str
    profile: str
    state: str
    revision: int
    contacts: int
    officer: str
    requested: datetime


class CaseFacts(NamedTuple):
    """A case as last revised; times in ms."""

    case_id: str
    person: str
    specimen_ms: int
    onset_ms: int | None


class ListedCluster(NamedTuple):
    """A cluster in a list; `slot_cases` are the cases of each of its slots."""

    cluster_id: str
    venue: str
    name: str
    category: str
    starts: datetime
    ends: datetime
    cases: int
    risk: float
    rule: str
    withdrawn: bool
    slot_cases: list[int]
    case_ids: list[str]


class Store:
    """One connection to the officers' database. Use `opened`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._db = connection

    @classmethod
    @contextmanager
    def opened(cls, database: DatabaseAccess | str) -> Iterator[Store]:
        """A store for the length of a `with` block. Raises StoreError."""
        try:
            connection = access_of(database).connect(autocommit=True, row_factory=namedtuple_row)
        except SecurityError as error:
            raise StoreError(str(error)) from error
        except psycopg.OperationalError as error:
            raise StoreError(f"PostgreSQL cannot be used (LACAK_DATABASE): {sentence(error)}.") from error
        try:
            yield cls(connection)
        except psycopg.OperationalError as error:
            raise StoreError(f"PostgreSQL went away: {sentence(error)}.") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(f"PostgreSQL does not let you do this: {sentence(error)}.") from error
        finally:
            connection.close()

    def audit(
        self, officer: str, purpose: str, action: str, *, person: str | None = None, trace_id: str | None = None
    ) -> None:
        """Write down who does what, and why, before it is done."""
        self._db.execute(
            "insert into lacak.audit (officer, purpose, action, person, trace_id) values (%s, %s, %s, %s, %s)",
            (officer, purpose, action, person, trace_id),
        )

    def health_records(self, person: str) -> list[HealthRecord]:
        """What was told of a person's health, the latest of each record, withdrawn ones too."""
        rows = self._db.execute(
            "select record::text from lacak.health_records where person = %s order by record_id", (person,)
        )
        return [msgspec.json.decode(row[0], type=HealthRecord) for row in rows]

    def told_doors(self, person: str) -> ToldDoors | None:
        """What doors were told last of a person; None: nothing, or that nothing is known any more."""
        row = self._db.execute(
            "select colour, round(extract(epoch from log_time) * 1000)::bigint from lacak.statuses where person = %s",
            (person,),
        ).fetchone()
        return None if row is None else ToldDoors(*row)

    def occupancy(self, venue: str | None = None, limit: int = 30) -> list[Inside]:
        """The fullest venues, or one."""
        rows = self._db.execute(
            """
            select o.venue, coalesce(v.name, ''), o.inside, o.allowed, o.assumed_end_share, o.log_time
            from lacak.occupancy o
            left join lateral (
                select name from lacak.venues v where v.venue = o.venue order by valid_from desc limit 1
            ) v on true
            where %s::text is null or o.venue = %s
            order by o.inside::float8 / nullif(o.allowed, 0) desc nulls last, o.inside desc, o.venue limit %s
            """,
            (venue, venue, limit),
        )
        return [Inside(*row) for row in rows]

    def peaks(self, zone: str) -> list[tuple[str, Any, int, int]]:
        """(venue, day, peak, entries) of every venue and day of the zone."""
        rows = self._db.execute(
            """
            select venue, (window_start at time zone %s)::date as day, max(peak)::int, sum(entries)::int
            from lacak.windows group by 1, 2 order by 1, 2
            """,
            (zone,),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def inside_at_day_ends(self, zone: str) -> dict[str, int]:
        """By day of the zone (ISO date): how many are inside anywhere at its end, as the windows have it."""
        rows = self._db.execute(
            """
            select day::text, (sum(sum(entries) - sum(exits)) over (order by day))::int
            from (select (window_start at time zone %s)::date as day, entries, exits from lacak.windows) w
            group by day order by day
            """,
            (zone,),
        )
        return {row[0]: row[1] for row in rows}

    def curve(self, venue: str) -> list[tuple[datetime, int]]:
        """(start, peak) of a venue's windows."""
        rows = self._db.execute("select window_start, peak from lacak.windows where venue = %s order by 1", (venue,))
        return [(row[0], row[1]) for row in rows]

    def traces(self, person: str | None = None, state: str | None = None, limit: int = 50) -> list[Listed]:
        """The newest traces."""
        rows = self._db.execute(
            """
            select trace_id, person, direction, profile, state, revision, contacts, officer, requested from lacak.traces
            where (%s::text is null or person = %s) and (%s::text is null or state = %s)
            order by requested desc, trace_id limit %s
            """,
            (person, person, state, state, limit),
        )
        return [Listed(*row) for row in rows]

    def clusters(self, venue: str | None = None, *, withdrawn: bool = False, limit: int = 50) -> list[ListedCluster]:
        """The newest clusters, or a venue's; those withdrawn only when asked for."""
        rows = self._db.execute(
            """
            select c.cluster_id, c.venue, coalesce(v.name, ''), c.category, c.starts, c.ends, c.cases, c.risk, c.rule,
                c.withdrawn, c.slot_cases, c.case_ids
            from lacak.clusters c
            left join lateral (
                select name from lacak.venues v where v.venue = c.venue order by valid_from desc limit 1
            ) v on true
            where (%s::text is null or c.venue = %s) and (%s or not c.withdrawn)
            order by c.starts desc, c.venue, c.rule limit %s
            """,
            (venue, venue, withdrawn, limit),
        )
        return [ListedCluster(*row) for row in rows]

    def has_case(self, person: str) -> bool:
        """Whether the person has a case that stands."""
        row = self._db.execute(
            "select exists (select from lacak.cases where person = %s and not withdrawn)", (person,)
        ).fetchone()
        return row is not None and bool(row[0])

    def trace(self, name: str) -> Trace:
        """A trace by its id or the beginning of it. Raises StoreError when none or several begin so."""
        rows = self._db.execute(
            "select report::text from lacak.traces where starts_with(trace_id, %s)"
            " order by (trace_id = %s) desc limit 2",
            (name, name),
        ).fetchall()
        if not rows:
            raise StoreError(f"There is no trace {name!r}: `lacak traces` lists those there are.")
        found = [msgspec.json.decode(row[0], type=Trace) for row in rows]
        if len(found) > 1 and found[0].trace_id != name:
            raise StoreError(f"Several traces begin with {name!r}: {found[0].trace_id}, {found[1].trace_id}, ...")
        return found[0]

    def history(self, name: str) -> list[Version]:
        """All reports of a trace that said something new, the first one first. Raises StoreError as `trace` does."""
        rows = self._db.execute(
            "select made, as_of, report::text from lacak.trace_history where trace_id = %s order by made",
            (self.trace(name).trace_id,),
        )
        return [Version(row[0], row[1], msgspec.json.decode(row[2], type=Trace)) for row in rows]

    def trace_as_of(self, name: str, at: datetime, *, log_time: bool) -> Trace:
        """A trace's report as it was known at a time, which is log time where a run of files has no other.

        Raises StoreError when nothing was known then.
        """
        versions = self.history(name)
        known = [each for each in versions if ((each.as_of or each.made) if log_time else each.made) <= at]
        if not known:
            firsts = [(each.as_of or each.made) if log_time else each.made for each in versions[:1]]
            of = "".join(f": its first report is of {first.isoformat(' ', 'seconds')}" for first in firsts)
            raise StoreError(f"Nothing was known of this trace then{of}.")
        return known[-1].report

    def await_traces(
        self, person: str, since_ms: int, count: int, seconds: float, *, complete: bool = False
    ) -> list[Trace]:
        """The person's traces made after a time, as soon as `count` are there; fewer when the time is up.

        `complete`: wait for those too that lack an answer, which are asked again; they come as they are in the end.
        """
        self._db.execute(f"listen {TRACES_CHANNEL}".encode())
        deadline = time.monotonic() + seconds
        while True:
            found = self._made_since(person, since_ms)
            made = [trace for trace in found if trace.state == "complete"] if complete else found
            left = deadline - time.monotonic()
            if len(made) >= count or left <= 0:
                return found
            for _ in self._db.notifies(timeout=left, stop_after=1):
                pass

    def _made_since(self, person: str, since_ms: int) -> list[Trace]:
        rows: Sequence[Any] = self._db.execute(
            "select report::text from lacak.traces where person = %s and position_step >= %s"
            " order by direction desc, trace_id",
            (person, since_ms),
        ).fetchall()
        return [msgspec.json.decode(row[0], type=Trace) for row in rows]

    def case(self, person: str) -> CaseFacts:
        """The person's newest case that stands. Raises StoreError when there is none."""
        row = self._db.execute(
            """
            select case_id, person, (extract(epoch from specimen) * 1000)::bigint as specimen_ms,
                (extract(epoch from onset) * 1000)::bigint as onset_ms
            from lacak.cases where person = %s and not withdrawn order by specimen desc limit 1
            """,
            (person,),
        ).fetchone()
        if row is None:
            raise StoreError(f"{person} has no case here: report the positive test with `lacak test-result` first.")
        return CaseFacts(*row)

    def reports(self, names: Sequence[str]) -> dict[str, Trace]:
        """The reports of traces by their whole ids; those that are not there yet are left out."""
        rows = self._db.execute("select report::text from lacak.traces where trace_id = any(%s)", (list(names),))
        traces = [msgspec.json.decode(row[0], type=Trace) for row in rows]
        return {trace.trace_id: trace for trace in traces}

    def venue_facts(self) -> dict[str, tuple[str, str | None]]:
        """(name, what it lies within) of every registered venue."""
        rows = self._db.execute(
            "select distinct on (venue) venue, name, within from lacak.venues order by 1, valid_from"
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def presence(
        self, venues: Sequence[str], slot_ms: int, since_ms: int, until_ms: int
    ) -> tuple[list[tuple[str, int, int]], dict[int, int]]:
        """How long people were at venues in slots of time: (venue, slot, ms), and by slot the sum over all venues.

        A mall has the time of those in its shops; the sum takes it once.
        """
        span = (slot_ms, since_ms, until_ms)
        rows = self._db.execute(
            """
            select venue, floor(extract(epoch from window_start) * 1000 / %s)::bigint as slot, sum(presence_ms)::bigint
            from lacak.windows
            where window_start >= to_timestamp(%s / 1000.0) and window_start < to_timestamp(%s / 1000.0)
                and venue = any(%s)
            group by 1, 2
            """,
            (*span, list(venues)),
        ).fetchall()
        total = self._db.execute(
            """
            select floor(extract(epoch from window_start) * 1000 / %s)::bigint as slot, sum(presence_ms)::bigint
            from lacak.windows w
            where window_start >= to_timestamp(%s / 1000.0) and window_start < to_timestamp(%s / 1000.0)
                and not exists (select from lacak.venues v where v.venue = w.venue and v.within is not null)
            group by 1
            """,
            span,
        ).fetchall()
        return [(row[0], row[1], row[2]) for row in rows], {row[0]: row[1] for row in total}

"""Peers that are databases: PostgreSQL with an index on ranges, or on (venue, start), and DuckDB."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from bench.peer import Contacts, Peer, PeerMissing, most_shared
from bench.population import Visits
from deploy.embedded import Postgres

_SETTINGS: Final = ("shared_buffers=2GB", "effective_cache_size=6GB", "work_mem=64MB", "maintenance_work_mem=1GB",
                    "max_wal_size=8GB", "random_page_cost=1.1", "jit=off", "max_parallel_workers_per_gather=0",
                    "synchronous_commit=off")  # fmt: skip
_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_COPY_ROW: Final = np.dtype(
    [("fields", ">i2"), ("size1", ">i4"), ("person", ">i4"), ("size2", ">i4"), ("venue", ">i4"),
     ("size3", ">i4"), ("start_ms", ">i8"), ("size4", ">i4"), ("end_ms", ">i8")]
)  # fmt: skip
_COPY_ROWS: Final = 1 << 18


class PostgresRange(Peer):
    """A GiST index on ranges. `btree_gist` is not in the package, so venue and time are one range of a line."""

    name = "PostgreSQL, GiST"
    form = "a covering GiST index on int8range (venue x 2^32 + ms), a covering B-tree on person, rows in that order"

    _table = """
        create unlogged table visits as
        select person, int8range((venue::bigint << 32) + start_ms - {opens}, (venue::bigint << 32) + end_ms - {opens})
            as place
        from staging order by venue, start_ms"""
    _indexes = (
        "create index visits_place on visits using gist (place) include (person)",
        "create index visits_person on visits (person) include (place)",
    )
    _question = """
        with own as materialized (
            select lower(place) as begins, least(upper(place), (lower(place) >> 32 << 32) + {length}) as ends
            from visits where person = $1
        )
        select v.person, max(least(upper(v.place), ends) - greatest(lower(v.place), begins))
        from own, lateral (select person, place from visits where place && int8range(begins, ends)) v
        where v.person <> $1 and least(upper(v.place), ends) - greatest(lower(v.place), begins) >= {minimum}
        group by v.person"""

    def __init__(self, window: tuple[int, int], folder: Path, threads: int = 1) -> None:
        super().__init__(window, folder, threads)
        self._server = Postgres(folder / "postgres", settings=_SETTINGS)

    def load(self, days: Iterable[Visits]) -> None:
        """COPY, sort, index, VACUUM ANALYZE."""
        self._server.start()
        self._database = psycopg.connect(self._server.url, autocommit=True)
        numbers = {
            "opens": self.window[0],
            "length": self.window[1] - self.window[0],
            "minimum": self.minimum_ms,
        }
        self._database.execute("create unlogged table staging (person int, venue int, start_ms bigint, end_ms bigint)")
        with self._database.cursor() as cursor, cursor.copy("copy staging from stdin (format binary)") as copy:
            copy.write(_COPY_HEADER)
            for visits in days:
                for first in range(0, len(visits.person), _COPY_ROWS):
                    copy.write(_copied(visits.of(slice(first, first + _COPY_ROWS))))
            copy.write(_COPY_END)
        self._database.execute(self._table.format(**numbers))
        self._database.execute("drop table staging")
        for index in self._indexes:
            self._database.execute(index)
        self._database.execute("vacuum (freeze, analyze) visits")
        self._database.execute(f"prepare contacts (int) as {self._question.format(**numbers)}")
        self._database.execute("set plan_cache_mode = force_generic_plan")

    def ask(self, person: int) -> Contacts:
        """The prepared statement."""
        rows = self._database.execute(f"execute contacts({person})", binary=True).fetchall()
        if not rows:
            return most_shared(np.empty(0, np.int64), np.empty(0, np.int64))
        found = np.array(rows, np.int64)
        return Contacts(found[:, 0], found[:, 1])

    def plan(self, person: int) -> str:
        """How PostgreSQL answers, for people."""
        rows = self._database.execute(f"explain (analyze, buffers) execute contacts({person})").fetchall()
        return "\n".join(row[0] for row in rows)

    def disk_bytes(self) -> int:
        """Table and indexes."""
        row = self._database.execute("select pg_total_relation_size('visits')").fetchone()
        return int(row[0]) if row else 0

    def notes(self) -> dict[str, Any]:
        """The server's version and settings."""
        row = self._database.execute("show server_version").fetchone()
        return {"server": row[0] if row else "", "settings": list(_SETTINGS)}

    def close(self) -> None:
        """Stop the server."""
        if hasattr(self, "_database"):
            self._database.close()
        self._server.stop()


class PostgresBtree(PostgresRange):
    """Without ranges: what a B-tree on (venue, start) can do with the length of each venue's longest visit."""

    name = "PostgreSQL, B-tree"
    form = "covering B-trees on (venue, start) and on person, looking back by the venue's longest visit"

    _table = """
        create unlogged table visits as
        select person, venue, start_ms, end_ms, max(end_ms - start_ms) over (partition by venue) as longest
        from staging order by venue, start_ms"""
    _indexes = (
        "create index visits_venue on visits (venue, start_ms) include (end_ms, person)",
        "create index visits_person on visits (person) include (venue, start_ms, end_ms, longest)",
    )
    _question = """
        with own as materialized (
            select venue, start_ms as begins, least(end_ms, {opens} + {length}) as ends, longest
            from visits where person = $1
        )
        select v.person, max(least(v.end_ms, ends) - greatest(v.start_ms, begins))
        from own, lateral (
            select person, start_ms, end_ms from visits
            where venue = own.venue and start_ms > begins - own.longest and start_ms < ends
        ) v
        where v.person <> $1 and least(v.end_ms, ends) - greatest(v.start_ms, begins) >= {minimum}
        group by v.person"""


def _copied(visits: Visits) -> bytes:
    """Rows in the binary format of COPY."""
    rows = np.empty(len(visits.person), _COPY_ROW)
    rows["fields"] = 4
    rows["size1"] = rows["size2"] = 4
    rows["size3"] = rows["size4"] = 8
    for name, column in visits._asdict().items():
        rows[name] = column
    return rows.tobytes()


class Duckdb(Peer):
    """Sorted tables, whose blocks DuckDB skips by their least and greatest values."""

    name = "DuckDB, sorted"
    form = "a table sorted by (venue, start) and one sorted by person, in memory, and one join"

    _question = """
        with own as (
            select venue, start_ms as begins, least(end_ms, {closes}) as ends from by_person where person = ?
        )
        select v.person, max(least(v.end_ms, ends) - greatest(v.start_ms, begins)) as shared
        from by_venue v join own on v.venue = own.venue and v.start_ms < ends and v.end_ms > begins
        where v.person <> ? and least(v.end_ms, ends) - greatest(v.start_ms, begins) >= {minimum}
        group by v.person"""

    def load(self, days: Iterable[Visits]) -> None:
        """Insert and sort."""
        try:
            import duckdb
        except ImportError:
            raise PeerMissing("duckdb is not installed: pip install duckdb") from None
        self._version = duckdb.__version__
        self._database = duckdb.connect()
        self._database.execute(f"set threads = {self.threads}")
        columns = "person uinteger, venue uinteger, start_ms bigint, end_ms bigint"
        self._database.execute(f"create table staging ({columns})")
        for visits in days:
            self._database.register("day", visits._asdict())
            self._database.execute("insert into staging select * from day")
            self._database.unregister("day")
        self._database.execute("create table by_venue as select * from staging order by venue, start_ms")
        self._database.execute("create table by_person as select * from staging order by person")
        self._database.execute("drop table staging")
        self._sql = self._question.format(closes=self.window[1], minimum=self.minimum_ms)

    def ask(self, person: int) -> Contacts:
        """The statement, its result as numpy."""
        found: dict[str, NDArray[Any]] = self._database.execute(self._sql, [person, person]).fetchnumpy()
        return Contacts(found["person"].astype(np.int64), found["shared"])

    def notes(self) -> dict[str, Any]:
        """The version."""
        return {"version": self._version, "threads": self.threads}

    def close(self) -> None:
        """Let go of the tables."""
        if hasattr(self, "_database"):
            self._database.close()


class DuckdbIndexed(Duckdb):
    """The same with DuckDB's own index, an adaptive radix tree, where it helps: on the person."""

    name = "DuckDB, indexed"
    form = "the same tables with an index (ART) on the person; one on the venue is not used by joins"

    def load(self, days: Iterable[Visits]) -> None:
        """Insert, sort, index."""
        super().load(days)
        self._database.execute("create index by_person_person on by_person (person)")

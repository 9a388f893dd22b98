"""Facts on their way from files to topics: sorted, each record once in its newest version, in a database of their own.

It is SQLite's temporary database: in memory while it is small, then in a file that nobody else can open and that is
gone with the process. It holds pseudonyms, never identities: what refers to a patient is a keyed digest.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple, Self

_SHARED = 0
_AMBIGUOUS = ""


class Place(NamedTuple):
    """Where a fact was read: the file's number, the line (0: none), and the path."""

    file: int
    line: int
    path: str


class Fact(NamedTuple):
    """A fact, packed. `record` names what later versions of it name too; the greatest `version` holds.

    `slot` is what only one record of a person can be in ("" for those that stand alone); of several the one with the
    greatest `rank` stands. Others whose rank begins with another number contradict it; 0 says nothing.
    """

    person: str
    record: str
    version: tuple[int, int]
    packed: bytes
    place: Place
    slot: str = ""
    rank: tuple[int, int] = (0, 0)


class Gathered:
    """Patients, reports and facts of one import."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._secret = secrets.token_bytes(32)
        self.superseded = 0
        self._database.executescript(
            """
            begin;
            create table patients (scope integer, ref blob, person text, primary key (scope, ref)) without rowid;
            create table reports (
                scope integer, ref blob, live integer, issued integer, primary key (scope, ref)) without rowid;
            create table facts (
                person text, slot text, record text, rank1 integer, rank2 integer, version1 integer, version2 integer,
                packed blob, file integer, line integer, path text, primary key (person, slot, record)) without rowid;
            create table records (record text primary key, person text, slot text) without rowid;
            """
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _digest(self, reference: str) -> bytes:
        return hashlib.blake2b(reference.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).digest()

    def add_patient(self, scope: int, references: list[str], person: str) -> None:
        """What refers to a person, in a bundle (`scope`) or in the files of a bulk export (0).

        References that mean two people mean nobody.
        """
        for reference in references:
            self._database.execute(
                "insert into patients values (?, ?, ?) on conflict do update set person = ? where person <> ?",
                (scope, self._digest(reference), person, _AMBIGUOUS, person),
            )

    def patient(self, scope: int, references: list[str]) -> str | None:
        """Whom a reference means, looked for in the bundle first; None: nobody, or it is not clear who."""
        found = self._find("select person from patients where scope = ? and ref = ?", scope, references)
        return str(found[0]) or None if found else None

    def add_report(self, scope: int, reference: str, *, live: bool, issued_ms: int) -> None:
        """A report of an observation. One that is withdrawn takes it along, unless another stands."""
        self._database.execute(
            "insert into reports values (?, ?, ?, ?) on conflict do update"
            " set live = max(live, excluded.live), issued = max(issued, excluded.issued)",
            (scope, self._digest(reference), live, issued_ms),
        )

    def report(self, scope: int, references: list[str]) -> tuple[bool, int] | None:
        """Of an observation: whether a report of it stands, and when the last was issued (ms); None: no report."""
        found = self._find("select live, issued from reports where scope = ? and ref = ?", scope, references)
        return (bool(found[0]), int(found[1])) if found else None

    def _find(self, query: str, scope: int, references: list[str]) -> tuple[Any, ...] | None:
        for where in dict.fromkeys((scope, _SHARED)):
            for reference in references:
                row: tuple[Any, ...] | None = self._database.execute(query, (where, self._digest(reference))).fetchone()
                if row is not None:
                    return row
        return None

    def add(self, fact: Fact) -> None:
        """A fact, or another version of one."""
        held = self._database.execute("select person, slot from records where record = ?", (fact.record,)).fetchone()
        if held is not None:
            self.superseded += 1
            version = self._database.execute(
                "select version1, version2, packed from facts where person = ? and slot = ? and record = ?",
                (*held, fact.record),
            ).fetchone()
            if version >= (*fact.version, fact.packed):
                return
            self._database.execute(
                "delete from facts where person = ? and slot = ? and record = ?", (*held, fact.record)
            )
        self._database.execute("insert or replace into records values (?, ?, ?)", (fact.record, fact.person, fact.slot))
        self._database.execute(
            "insert into facts values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (fact.person, fact.slot, fact.record, *fact.rank, *fact.version, fact.packed, *fact.place),
        )

    def facts(self) -> Iterator[tuple[str, bytes, list[Place]]]:
        """The facts that stand, by person, slot and record: (slot, packed, where others are that contradict it)."""
        rows = self._database.execute(
            "select person, slot, rank1, packed, file, line, path from facts"
            " order by person, slot, rank1 desc, rank2 desc, packed desc, record"
        )
        for (_, slot), group in groupby(rows, key=lambda row: (row[0], row[1])):
            if slot:
                first, *others = group
                yield slot, first[3], [Place(*row[4:]) for row in others if 0 < row[2] != first[2]]
            else:
                for row in group:
                    yield slot, row[3], []

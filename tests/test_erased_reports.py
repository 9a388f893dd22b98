"""Erasures against reports in PostgreSQL: in whatever order they come, no table names who is erased."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from itertools import permutations

import msgspec
import psycopg
import pytest

from schemas.messages import Erasure, Trace
from streams.postgres import Records
from tests.pipeline import new_database
from tests.test_reports import MINUTE, contact, stay, trace

Step = tuple[str, ...] | int
"""A report with these contacts, or the erasure of `a` before a minute."""


def written(database: str, steps: Sequence[Step]) -> tuple[list[str], list[list[str]], set[str]]:
    """Once the steps are written: the contacts of the report now, of each one told, and the tables that name `a`."""
    own = new_database(database, f"e{secrets.token_hex(8)}")

    async def write() -> None:
        records = Records(own)
        for number, step in enumerate(steps):
            if isinstance(step, int):
                erasure = Erasure(person="a", before_ms=step * MINUTE, officer="dr", purpose="wish")
                await records.apply("erasures", 0, number + 1, erasures=[erasure])
            else:
                await records.apply("traces", 0, number + 1, traces=[report(number, step)])
        await records.close()

    asyncio.run(asyncio.wait_for(write(), 30))
    with psycopg.connect(own) as connection:
        now = connection.execute("select report::text from lacak.traces").fetchall()
        past = connection.execute("select report::text from lacak.trace_history order by position_step").fetchall()
        tables = connection.execute("select table_name from information_schema.tables where table_schema = 'lacak'")
        naming = set()
        for (table,) in tables.fetchall():
            query = f"select exists (select from lacak.{table} t where t::text ~ '\\ya\\y')"
            if connection.execute(query.encode()).fetchone() == (True,):
                naming.add(table)
    return *(  # type: ignore[return-value]
        [[each.person for each in msgspec.json.decode(row[0], type=Trace).contacts] for row in rows]
        for rows in (now, past)
    ), naming


def report(number: int, people: Sequence[str]) -> Trace:
    """The report that is told as the `number`th, each contact with a stay at minute 10 and one at minute 50."""
    found = trace(*(contact(person, stay(10, 20), stay(50, 60)) for person in people))
    return msgspec.structs.replace(found, position=(1, number))


REPORTS: list[Step] = [("a", "b"), ("b",), ("a", "c")]


@pytest.mark.parametrize("erased_after", range(4))
def test_whoever_is_erased_is_in_no_report_earlier_or_later(database: str, erased_after: int) -> None:
    """Be they a contact now, one of an earlier report only, or of one that comes after the erasure."""
    steps = [*REPORTS[:erased_after], 100, *REPORTS[erased_after:]]
    (now,), past, naming = written(database, steps)
    assert (now, naming) == (["c"], {"erasures"})
    assert {person for people in past for person in people} <= {"b", "c"}


@pytest.mark.parametrize("steps", [each for each in permutations([("a", "b"), ("b",), 30, 100]) if each[-1] != 30])
def test_what_one_erasure_leaves_a_later_one_finds(database: str, steps: tuple[Step, ...]) -> None:
    """Of the stays the later one is left by the first erasure, in whichever report it stands."""
    _, past, naming = written(database, steps)
    assert naming == {"erasures"}
    assert all("a" not in people for people in past)


def test_former_contacts_are_those_of_earlier_reports_alone(database: str) -> None:
    (now,), past, naming = written(database, [("a", "b"), ("b",), 30])
    assert (now, past) == (["b"], [["a", "b"], ["b"]])
    assert naming == {"erasures", "trace_history", "former_contacts"}

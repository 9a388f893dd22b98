"""What PostgreSQL will never hold: set aside alone, whatever stands beside it in its batch."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from agents.recorder import Recorder
from schemas.door import DoorEvent
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.postgres import Records, Unstorable
from streams.settings import DeadLetterLimits
from streams.stagemetrics import DATABASE_CONNECTED
from tests.flood.agents import Log
from tests.pipeline import new_database


def event(name: str, detail: str = "") -> DoorEvent:
    """What staff did at a door."""
    return DoorEvent(
        event_id=name, venue="v", gateway="g", device="d", deed="recount", at_ms=1_634_790_600_000, detail=detail
    )


def recorded(database: str, events: Sequence[DoorEvent]) -> tuple[list[str], list[tuple[int, str]]]:
    """The ids in the database after one batch, and the (offset, reason) of each letter."""
    log: Any = Log()
    own = new_database(database, f"r{secrets.token_hex(8)}")
    letters = DeadLetters(log, DeadLetterLimits(share=1.0, run_length=0))
    values = [msgspec.json.encode(each) for each in events]
    offsets = range(10, 10 + len(events))
    batch = Batch("door-events", 0, offsets, [0] * len(events), [b"v"] * len(events), values, highwater=99)

    async def record() -> None:
        records = Records(own)
        await Recorder(log, letters, records, 2).record(batch)
        await records.close()

    asyncio.run(asyncio.wait_for(record(), 30))
    with psycopg.connect(own) as connection:
        held = [name for (name,) in connection.execute("select event_id from lacak.door_events order by event_id")]
        at = connection.execute(
            "select next_offset from lacak.applied_positions where topic = 'door-events'"
        ).fetchone()
    assert at == (batch.next_offset,)
    return held, [(letter.offset, letter.reason) for letter in log.letters]


@pytest.mark.parametrize("bad", [(0,), (6,), (2, 3), (0, 3, 6), tuple(range(7))])
def test_one_text_with_a_nul_costs_nothing_but_itself(database: str, bad: tuple[int, ...]) -> None:
    """It ended the recorder at each start."""
    events = [event(f"e{number}", "a\0b" if number in bad else "fine") for number in range(7)]
    held, letters = recorded(database, events)
    assert held == [f"e{number}" for number in range(7) if number not in bad]
    assert sorted(letters) == [(10 + number, "unstorable") for number in bad]


def test_a_key_too_long_for_its_index_is_not_waited_for(database: str) -> None:
    """psycopg counts it among the errors of a server that is away: the recorder tried again for ever."""
    own = new_database(database, "r_long")
    name = "".join(chr(0x4E00 + number) for number in range(5000))  # it does not compress below a page's third

    async def write() -> None:
        records = Records(own)
        try:
            with pytest.raises(Unstorable, match="index row"):
                await records.apply("door-events", 0, 1, door_events=[event(name)])
            await records.apply("door-events", 0, 1, door_events=[event("good")])
        finally:
            await records.close()

    asyncio.run(asyncio.wait_for(write(), 30))


def test_no_connection_counts_as_open_when_the_server_has_gone(database: str) -> None:
    """What had nothing to write kept its dead one: the alert that PostgreSQL is away did not fire."""
    own = new_database(database, f"r{secrets.token_hex(8)}")

    async def gone() -> float:
        records, before = Records(own), DATABASE_CONNECTED._value.get()
        for topic in ("windows", "occupancy", "cases"):
            await records.apply(topic, 0, 1)
        assert DATABASE_CONNECTED._value.get() == before + 3
        name = str(conninfo_to_dict(own)["dbname"])
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            await other.execute(SQL("alter database {} allow_connections false").format(Identifier(name)))
            await other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
            writing = asyncio.create_task(records.apply("cases", 0, 2))
            try:
                async with asyncio.timeout(20):
                    while DATABASE_CONNECTED._value.get() > before:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                return DATABASE_CONNECTED._value.get() - before
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                await records.close()

    assert asyncio.run(gone()) == 0

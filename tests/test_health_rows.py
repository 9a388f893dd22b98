"""Health in PostgreSQL: the newest of each, whatever comes twice or late, and nothing that an erasure takes."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec
import psycopg
import pytest

from officer.store import Store
from schemas.door import DoorEvent
from schemas.health import Declaration, HealthRecord, NegativeTest, PersonFact, Status
from schemas.messages import Erasure
from streams.postgres import Records
from tests.pipeline import new_database

NOW = 1_640_000_000_000


@pytest.fixture(scope="module")
def own(database: str) -> str:
    """A database of this module's."""
    return new_database(database, f"h{uuid.uuid4().hex[:10]}")


def status(offset: int, colour: str, at_ms: int = NOW, person: str = "a") -> Status:
    """A status made at an offset."""
    return Status(
        person=person, colour=colour, since_ms=-(2**53), rule="r", reason="case", log_time_ms=at_ms,  # type: ignore[arg-type]
        position=(offset, 0), negatives=(NegativeTest(test="pcr", specimen_ms=NOW),),
    )  # fmt: skip


def record(told_ms: int, band: str, *, withdrawn: bool = False, person: str = "a") -> HealthRecord:
    """An age told at a time."""
    fact = PersonFact(age_band=band)  # type: ignore[arg-type]
    return HealthRecord(person=person, record_id="age", fact=fact, told_at_ms=told_ms, withdrawn=withdrawn)


def write(own: str, *batches: tuple[str, list[Any]]) -> None:
    """Write batches as the recorder does."""

    async def all_of_them() -> None:
        records = Records(own)
        for number, (topic, messages) in enumerate(batches):
            rows: dict[str, Any] = {topic.replace("-", "_"): messages}
            await records.apply(topic, 0, number + 1, **rows)
        await records.close()

    asyncio.run(all_of_them())


def ask(own: str, question: str) -> list[tuple[Any, ...]]:
    """Rows of the database."""
    with psycopg.connect(own) as database:
        return database.execute(question.encode()).fetchall()


def test_the_newest_status_stands_until_its_key_is_forgotten(own: str) -> None:
    """Within a batch and between batches; a key without a value takes the row away."""
    write(
        own, ("statuses", [status(5, "green"), status(7, "black"), status(6, "red")]), ("statuses", [status(7, "red")])
    )
    assert ask(own, "select colour, position_offset from lacak.statuses") == [("black", 7)]
    write(own, ("statuses", ["a"]))
    assert ask(own, "select * from lacak.statuses") == []


def test_the_latest_told_record_stands_and_of_two_at_one_time_the_withdrawal(own: str) -> None:
    """As the status agent has it, in any order; what is told again without its details takes nothing's place."""
    write(
        own,
        ("health-records", [record(2, "60+"), record(1, "0-5")]),
        ("health-records", [msgspec.structs.replace(record(2, "60+"), source="told again")]),
    )
    with Store.opened(own) as store:
        assert store.health_records("a") == [record(2, "60+")]
    write(own, ("health-records", [record(2, "60+", withdrawn=True)]), ("health-records", [record(2, "60+")]))
    assert ask(own, "select withdrawn from lacak.health_records") == [(True,)]
    write(own, ("health-records", ["a|age"]))
    assert ask(own, "select * from lacak.health_records") == []


def test_an_erasure_takes_what_was_told_before_it_whenever_it_comes(own: str) -> None:
    """Statuses, records, declarations, names at doors; what is told after it stays."""
    trip = Declaration(
        person="e", declaration_id="d", start_ms=NOW - 9, end_ms=NOW - 5, told_at_ms=NOW - 5, country="SG"
    )
    event = DoorEvent(event_id="1", venue="v", gateway="g", device="d", deed="typed_id", at_ms=NOW - 5, person="e")
    before = [
        ("statuses", [status(1, "red", NOW - 5, "e")]),
        ("health-records", [record(NOW - 5, "60+", person="e")]),
        ("declarations", [trip]),
        ("door-events", [event]),
    ]
    erasure = ("erasures", [Erasure(person="e", before_ms=NOW, officer="dr", purpose="asked to")])
    write(own, *before, erasure, *before)
    for table in ("statuses", "health_records", "declarations"):
        assert ask(own, f"select * from lacak.{table} where person = 'e'") == []
    assert ask(own, "select person from lacak.door_events") == [("",)]
    again = msgspec.structs.replace(trip, start_ms=NOW, end_ms=NOW + 1, told_at_ms=NOW + 1)
    write(own, ("health-records", [record(NOW, "60+", person="e")]), ("declarations", [again]))
    assert len(ask(own, "select * from lacak.health_records")) == 1
    assert len(ask(own, "select * from lacak.declarations")) == 1

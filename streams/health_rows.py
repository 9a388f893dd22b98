"""The recorder's writes of people's health and of what was done at doors: statuses, the records they are made of,
declarations, door events.

Erasures are kept out as they are of reports: what was told before one is not written after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from schemas.door import DoorEvent
from schemas.health import Declaration, HealthRecord, Status
from schemas.messages import Erasure

Connection = psycopg.AsyncConnection[Any]

_EARLIEST_MS: Final = -62_135_596_800_000  # the year 1
_LATEST_MS: Final = 253_402_300_799_999  # the year 9999

_NOT_ERASED: Final = """
    not exists (select from lacak.erasures e where e.person = new.person and e.before > to_timestamp(new.{0} / 1000.0))
"""

_STATUSES: Final = f"""
    insert into lacak.statuses
    select person, colour, to_timestamp(since_ms / 1000.0), to_timestamp(until_ms / 1000.0), rule, reason,
        to_timestamp(log_time_ms / 1000.0), doses, is_full, booster, age_band, negatives, at_offset, step
    from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::int[],
        %s::bool[], %s::bool[], %s::text[], %s::jsonb[], %s::bigint[], %s::bigint[])
        as new (person, colour, since_ms, until_ms, rule, reason, log_time_ms, doses, is_full, booster, age_band,
            negatives, at_offset, step)
    where {_NOT_ERASED.format("log_time_ms")}
    on conflict (person) do update set
        colour = excluded.colour, holds_since = excluded.holds_since, holds_until = excluded.holds_until,
        rule = excluded.rule, reason = excluded.reason, log_time = excluded.log_time, doses = excluded.doses,
        is_full = excluded.is_full, booster = excluded.booster, age_band = excluded.age_band,
        negatives = excluded.negatives,
        position_offset = excluded.position_offset, position_step = excluded.position_step
    where (excluded.position_offset, excluded.position_step) > (statuses.position_offset, statuses.position_step)
"""

_RECORDS: Final = f"""
    insert into lacak.health_records
    select person, record_id, fact, to_timestamp(told_ms / 1000.0), withdrawn, record
    from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bool[], %s::jsonb[])
        as new (person, record_id, fact, told_ms, withdrawn, record)
    where {_NOT_ERASED.format("told_ms")}
    on conflict (person, record_id) do update set
        fact = excluded.fact, told = excluded.told, withdrawn = excluded.withdrawn, record = excluded.record
    where (excluded.told, excluded.withdrawn) > (health_records.told, health_records.withdrawn)
"""
"""As the status agent has it: the later told counts, of two told at one time the withdrawal."""

_DECLARATIONS: Final = f"""
    insert into lacak.declarations
    select person, declaration_id, to_timestamp(start_ms / 1000.0), to_timestamp(end_ms / 1000.0),
        to_timestamp(told_ms / 1000.0), venue, place, country, reporter, purpose, withdrawn
    from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::bool[])
        as new (person, declaration_id, start_ms, end_ms, told_ms, venue, place, country, reporter, purpose, withdrawn)
    where {_NOT_ERASED.format("told_ms")} and {_NOT_ERASED.format("start_ms")}
    on conflict (person, declaration_id) do update set
        starts = excluded.starts, ends = excluded.ends, told = excluded.told, venue = excluded.venue,
        place = excluded.place, country = excluded.country, reporter = excluded.reporter, purpose = excluded.purpose,
        withdrawn = excluded.withdrawn
    where (excluded.told, excluded.withdrawn) > (declarations.told, declarations.withdrawn)
"""

_EVENTS: Final = f"""
    insert into lacak.door_events
    select event_id, venue, gateway, device, deed, to_timestamp(at_ms / 1000.0),
        case when {_NOT_ERASED.format("at_ms")} then person else '' end, detail
    from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])
        as new (event_id, venue, gateway, device, deed, at_ms, person, detail)
    on conflict (event_id) do nothing
"""

_ERASED: Final = (
    "delete from lacak.statuses where person = %(person)s and log_time < %(before)s",
    "delete from lacak.health_records where person = %(person)s and told < %(before)s",
    "delete from lacak.declarations where person = %(person)s and (told < %(before)s or starts < %(before)s)",
    "update lacak.door_events set person = '' where person = %(person)s and at < %(before)s",
)


async def write_statuses(connection: Connection, statuses: Sequence[Status | str]) -> None:
    """Write statuses; of who is only named nothing is known any more."""
    newest: dict[str, Status | None] = {}
    for each in statuses:
        if isinstance(each, str):
            newest[each] = None
        elif (held := newest.get(each.person)) is None or each.position > held.position:
            newest[each.person] = each
    gone = [person for person, status in newest.items() if status is None]
    if gone:
        await connection.execute("delete from lacak.statuses where person = any(%s)", (gone,))
    await _insert(
        connection,
        _STATUSES,
        (
            (
                s.person, s.colour, _in_reach(s.since_ms), None if s.until_ms is None else _in_reach(s.until_ms),
                s.rule, s.reason, _in_reach(s.log_time_ms), s.doses, s.full, s.booster, s.age_band, _json(s.negatives),
                *s.position,
            )
            for s in newest.values()
            if s is not None
        ),
    )  # fmt: skip


async def write_records(connection: Connection, records: Sequence[HealthRecord | str]) -> None:
    """Write health records; one whose key (`PERSON|RECORD_ID`) is only named is forgotten."""
    latest: dict[tuple[str, str], HealthRecord | None] = {}
    for each in records:
        if isinstance(each, str):
            person, _, record_id = each.partition("|")
            latest[person, record_id] = None
            continue
        key = each.person, each.record_id
        held = latest.get(key)
        if held is None or (each.told_at_ms, each.withdrawn) > (held.told_at_ms, held.withdrawn):
            latest[key] = each
    for (person, record_id), record in latest.items():
        if record is None:
            await connection.execute(
                "delete from lacak.health_records where person = %s and record_id = %s", (person, record_id)
            )
    await _insert(
        connection,
        _RECORDS,
        (
            (r.person, r.record_id, r.fact.__struct_config__.tag, _in_reach(r.told_at_ms), r.withdrawn, _json(r))
            for r in latest.values()
            if r is not None
        ),
    )


async def write_declarations(connection: Connection, declarations: Sequence[Declaration]) -> None:
    """Write declarations."""
    latest: dict[tuple[str, str], Declaration] = {}
    for each in declarations:
        held = latest.get((each.person, each.declaration_id))
        if held is None or (each.told_at_ms, each.withdrawn) > (held.told_at_ms, held.withdrawn):
            latest[each.person, each.declaration_id] = each
    await _insert(
        connection,
        _DECLARATIONS,
        (
            (
                d.person, d.declaration_id, _in_reach(d.start_ms), _in_reach(d.end_ms), _in_reach(d.told_at_ms),
                d.venue, d.place, d.country, d.reporter, d.purpose, d.withdrawn,
            )
            for d in latest.values()
        ),
    )  # fmt: skip


async def write_door_events(connection: Connection, events: Sequence[DoorEvent]) -> None:
    """Write what staff did; an event is written once."""
    rows = ((e.event_id, e.venue, e.gateway, e.device, e.deed, _in_reach(e.at_ms), e.person, e.detail) for e in events)
    await _insert(connection, _EVENTS, {row[0]: row for row in rows}.values())


async def erase_health(connection: Connection, erasure: Erasure) -> None:
    """Take away what was told of a person before an erasure."""
    seconds = erasure.before_ms / 1000
    for statement in _ERASED:
        await connection.execute(
            statement.replace("%(before)s", "to_timestamp(%(before)s)").encode(),
            {"person": erasure.person, "before": seconds},
        )


async def _insert(connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    if columns:
        await connection.execute(statement.encode(), columns)


def _in_reach(at_ms: int) -> int:
    """A time that PostgreSQL can hold and everybody read."""
    return min(max(at_ms, _EARLIEST_MS), _LATEST_MS)


def _json(value: object) -> Jsonb:
    return Jsonb(value, dumps=msgspec.json.encode)

"""The recorder's writes of traces: each report as it is now, every one that said something new, and what was erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import psycopg
from psycopg.types.json import Json

from contacts.erasing import without
from schemas.messages import Erasure, Trace

TRACES_CHANNEL: Final = "lacak_traces"
"""Notified with the trace's id when its report has been written."""

Connection = psycopg.AsyncConnection[Any]

_TURN: Final = "select pg_advisory_xact_lock{0}(x'6c61636b'::int)"
"""Reports are written at any time, an erasure while none is: else each could miss what the other has yet to commit."""

_TRACE: Final = """
    insert into lacak.traces (trace_id, case_id, person, direction, profile, state, revision, officer, purpose,
        requested, window_start, window_end, as_of, contacts, report, position_offset, position_step)
    values (%s, %s, %s, %s, %s, %s, %s, %s, %s, to_timestamp(%s / 1000.0),
        to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), %s, %s, %s, %s)
    on conflict (trace_id) do update set
        profile = excluded.profile, state = excluded.state, revision = excluded.revision,
        window_start = excluded.window_start, window_end = excluded.window_end, as_of = excluded.as_of,
        contacts = excluded.contacts, report = excluded.report, recorded = clock_timestamp(),
        position_offset = excluded.position_offset, position_step = excluded.position_step
    where (excluded.position_offset, excluded.position_step) > (traces.position_offset, traces.position_step)
"""

_CONTACTS: Final = (
    "copy lacak.trace_contacts (trace_id, person, minutes, rule, grade, decided_by, shared_stays, hop, risk) from stdin"
)

_HISTORY: Final = """
    insert into lacak.trace_history (trace_id, position_offset, position_step, made, as_of, state, contacts, report)
    select
        trace_id, position_offset, position_step, to_timestamp(position_step / 1000.0), as_of, state, contacts, report
    from lacak.traces now where trace_id = %(trace)s and case
        when exists (select from lacak.trace_history where trace_id = %(trace)s)
        then now.report::jsonb - %(when)s::text[] <> (
            select report::jsonb - %(when)s::text[] from lacak.trace_history
            where trace_id = %(trace)s order by made desc limit 1
        )
        else true
    end
    on conflict do nothing
"""
"""Of the report that has just been written: the server packs it once, and takes it apart only where one came before."""
_WHEN: Final = ["position", "as_of", "as_of_ms"]
"""What of a report is not what it says, but when it was made."""

_ERASED: Final = """
    select person, round(extract(epoch from before) * 1000)::bigint from lacak.erasures
    where person in (select person from lacak.trace_contacts where trace_id = %(trace)s union all select %(case)s)
"""

_NAMING: Final = """
    select trace_id from lacak.traces where person = %(person)s
    union select trace_id from lacak.trace_contacts where person = %(person)s
    union select trace_id from lacak.former_contacts where person = %(person)s
"""
"""The traces of which a report, the present one or an earlier one, names a person."""

_FORGET: Final = """
    delete from lacak.former_contacts f where person = any(%s) and not exists (
        select from lacak.trace_history h
        where h.trace_id = f.trace_id and strpos(h.report::text, to_json(f.person)::text) > 0
    )
"""
"""Of these people no name stays where no earlier report has one any more."""


async def write_traces(connection: Connection, traces: Sequence[Trace | str]) -> None:
    """Write reports, and forget traces that are only named."""
    if traces:
        await connection.execute(_TURN.format("_shared"))
    for trace in traces:
        if isinstance(trace, str):
            await connection.execute("delete from lacak.traces where trace_id = %s", (trace,))
        else:
            await _write(connection, trace)


async def _write(connection: Connection, t: Trace) -> None:
    cursor = await connection.execute(
        _TRACE,
        (
            t.trace_id, t.case_id, t.person, t.direction, t.profile, t.state, t.revision, t.officer, t.purpose,
            t.requested_at_ms, t.window_start_ms, t.window_end_ms, t.as_of_ms, len(t.contacts), _json(t), *t.position,
        ),
    )  # fmt: skip
    if cursor.rowcount:
        await _list_contacts(connection, t)
        await _keep_out(connection, t)
        await connection.execute(_HISTORY, {"trace": t.trace_id, "when": _WHEN})
        await connection.execute("select pg_notify(%s, %s)", (TRACES_CHANNEL, t.trace_id))


async def _keep_out(connection: Connection, t: Trace) -> None:
    """Take out of a report what is erased: the server knows its contacts now, so none of their names need be sent."""
    erased = await connection.execute(_ERASED, {"trace": t.trace_id, "case": t.person})
    left, people = t, []
    for person, before_ms in await erased.fetchall():
        left = without(left, person, int(before_ms))
        people.append(person)
    if left != t:
        await _amend(connection, left)
        await connection.execute(_FORGET, (people,))


async def _amend(connection: Connection, left: Trace) -> None:
    """Put what an erasure leaves of a report in the report's place."""
    await connection.execute(
        "update lacak.traces set report = %s, contacts = %s where trace_id = %s",
        (_json(left), len(left.contacts), left.trace_id),
    )
    await _list_contacts(connection, left)


async def _list_contacts(connection: Connection, t: Trace) -> None:
    before = await connection.execute(
        "delete from lacak.trace_contacts where trace_id = %s returning person", (t.trace_id,)
    )
    gone = sorted({person for (person,) in await before.fetchall()} - {contact.person for contact in t.contacts})
    if gone:
        await connection.execute(
            "insert into lacak.former_contacts select %s, unnest(%s::text[]) on conflict do nothing", (t.trace_id, gone)
        )
    if t.contacts:
        async with connection.cursor() as cursor, cursor.copy(_CONTACTS) as copy:
            for c in t.contacts:
                shared = c.person, c.minutes, c.rule, c.grade, c.decided_by, len(c.evidence), c.hop, c.risk
                await copy.write_row((t.trace_id, *shared))


def _json(trace: Trace) -> Json:
    return Json(trace, dumps=msgspec.json.encode)


async def write_erasures(connection: Connection, erasures: Sequence[Erasure]) -> None:
    """Take people's stays from before a time out of all reports, present and past, and keep out what comes later.

    Their own cases and traces go when the tracing agent lets go of them.
    """
    if erasures:
        await connection.execute(_TURN.format(""))
    for each in erasures:
        await connection.execute(
            "insert into lacak.erasures values (%s, to_timestamp(%s / 1000.0))"
            " on conflict (person) do update set before = greatest(erasures.before, excluded.before)",
            (each.person, each.before_ms),
        )
        naming = [row[0] for row in await (await connection.execute(_NAMING, {"person": each.person})).fetchall()]
        now = await connection.execute("select report::text from lacak.traces where trace_id = any(%s)", (naming,))
        for _, left in _changed(await now.fetchall(), each):
            await _amend(connection, left)
        past = await connection.execute(
            "select report::text from lacak.trace_history where trace_id = any(%s)", (naming,)
        )
        for trace, left in _changed(await past.fetchall(), each):
            await connection.execute(
                "update lacak.trace_history set report = %s, contacts = %s"
                " where (trace_id, position_offset, position_step) = (%s, %s, %s)",
                (_json(left), len(left.contacts), trace.trace_id, *trace.position),
            )
        await connection.execute(_FORGET, ([each.person],))


def _changed(rows: Sequence[tuple[str]], erasure: Erasure) -> list[tuple[Trace, Trace]]:
    """The reports that an erasure changes, each with what is left of it."""
    found = [msgspec.json.decode(report, type=Trace) for (report,) in rows]
    pairs = [(trace, without(trace, erasure.person, erasure.before_ms)) for trace in found]
    return [(trace, left) for trace, left in pairs if left != trace]

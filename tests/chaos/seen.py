"""What stands after a run, as anybody sees it: the last word on each key in the topics, and the rows in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import psycopg

from lacak.level import standing_visits
from schemas.blocks import (
    CONTROL_MAGIC,
    CONTROLS,
    SCAN_BLOCKS,
    SCANS_MAGIC,
    VISIT_BLOCKS,
    VISITS_MAGIC,
    WINDOW_BLOCKS,
    WINDOW_COLUMNS,
    WINDOWS_MAGIC,
    ErasureOrder,
    Tick,
    unframe,
)
from schemas.health import HealthRecord, Status
from schemas.heartbeats import beat_of
from schemas.messages import Case, DeadLetter, Occupancy, Trace, VenueClusters
from streams.reader import ReadRecord, read_topic
from streams.settings import Settings
from tests import oracle
from tests.chaos.town import TOLERANCE_MS
from tests.health_log import Entry, Erased
from tests.pipeline import seen

_KINDS = ("in", "out", "refused")

Letter = tuple[str, int, int, int, str]
"""Topic, partition, offset, row, reason."""

Window = tuple[int, int, int, int, int]
Cluster = tuple[str, int, int, tuple[str, ...]]


class Said(NamedTuple):
    """The log of `scans` as the judge reads it: the scans with their arrivals and places, and their ids."""

    scans: list[oracle.Scan]
    places: list[tuple[int, int, int]]
    ids: set[str]
    broken: list[Letter]


class Stands(NamedTuple):
    """What one reader sees."""

    windows: dict[tuple[str, int], Window]
    inside: dict[str, int]
    traces: dict[str, Trace]
    statuses: dict[str, Status]
    clusters: list[Cluster]
    cases: dict[str, tuple[str, bool]]


def said(settings: Settings, bad: dict[bytes, str]) -> Said:
    """Every scan in the log, by its arrival; `bad` are values that are none, with the reason of their letter."""
    found = Said([], [], set(), [])
    for record in read_topic(settings, "scans"):
        value = record.value or b""
        place = ("scans", record.partition, record.offset)
        if value in bad:
            found.broken.append((*place, 0, bad[value]))
        elif value[:4] == SCANS_MAGIC:
            _block(found, record, value)
        elif value[:4] != CONTROL_MAGIC:
            row = msgspec.json.decode(value)
            given = row.get("arrived_at_ms")
            arrived = record.timestamp_ms if given is None else given
            assert arrived <= record.timestamp_ms + TOLERANCE_MS, row
            found.scans.append(oracle.Scan(row["person"], row["venue"], row["kind"], row["at_ms"], arrived))
            found.places.append((record.partition, record.offset, 0))
            found.ids.add(row.get("scan_id") or "")
    return found


def _block(found: Said, record: ReadRecord, value: bytes) -> None:
    block = unframe(SCANS_MAGIC, value, SCAN_BLOCKS)
    times = np.frombuffer(block.at_ms, "<i8").tolist()
    arrivals = np.frombuffer(block.arrived_at_ms, "<i8").tolist() or [record.timestamp_ms] * len(times)
    for row, (person, venue, kind, at, arrived) in enumerate(
        zip(block.persons, block.venues, block.kinds, times, arrivals, strict=True)
    ):
        found.scans.append(oracle.Scan(person, venue, _KINDS[kind], at, arrived))
        found.places.append((record.partition, record.offset, row))
    found.ids.update(block.scan_ids)


def is_tick_ahead(record: ReadRecord) -> bool:
    """Whether a record is a tick that is refused: later than its record came, by more than clocks may differ."""
    if (record.value or b"")[:4] != CONTROL_MAGIC:
        return False
    control = unframe(CONTROL_MAGIC, record.value or b"", CONTROLS)
    return isinstance(control, Tick) and control.at_ms > record.timestamp_ms + TOLERANCE_MS


def letters(settings: Settings) -> list[DeadLetter]:
    """The dead letters, each id once."""
    found = {}
    for record in read_topic(settings, "dead-letters"):
        letter = msgspec.json.decode(record.value or b"", type=DeadLetter)
        found[letter.letter_id] = letter
    return list(found.values())


def health_log(settings: Settings) -> list[Entry | None]:
    """What is told of people's health, in the order of each partition."""
    found: list[Entry | None] = []
    for record in read_topic(settings, "health-records"):
        value = record.value
        if value is None:
            continue
        if value[:4] == CONTROL_MAGIC:
            control = unframe(CONTROL_MAGIC, value, CONTROLS)
            if isinstance(control, ErasureOrder):
                found.append(Entry(record.timestamp_ms, Erased(control.person, control.before_ms)))
        else:
            found.append(Entry(record.timestamp_ms, msgspec.json.decode(value, type=HealthRecord)))
    return found


def visits(settings: Settings) -> list[oracle.Visit]:
    """The visits that stand, from the topic `visits`."""
    return [seen(visit) for visit in standing_visits(settings)]


def _newest(settings: Settings, topic: str, kind: Any) -> dict[str, Any]:
    """Of each key the message with the greatest position; a key without a value is gone."""
    found: dict[str, Any] = {}
    for record in read_topic(settings, topic):
        if beat_of(record.value) is not None:
            continue
        key = (record.key or b"").decode()
        if record.value is None:
            found.pop(key, None)
            continue
        message = msgspec.json.decode(record.value, type=kind)
        if key not in found or message.position >= found[key].position:
            found[key] = message
    return found


def _windows(settings: Settings) -> dict[tuple[str, int], Window]:
    newest: dict[tuple[str, int], tuple[tuple[int, int], Window]] = {}
    for record in read_topic(settings, "windows"):
        block = unframe(WINDOWS_MAGIC, record.value or b"", WINDOW_BLOCKS)
        for row in np.frombuffer(block.rows, "<i8").reshape(-1, len(WINDOW_COLUMNS)).tolist():
            key = block.venues[row[0]], row[1]
            if key not in newest or block.position > newest[key][0]:
                newest[key] = block.position, (row[2], row[3], row[4], row[5], row[6])
    return {key: window for key, (_, window) in newest.items() if any(window)}


def _told_clusters(messages: Iterable[VenueClusters]) -> list[Cluster]:
    return sorted((m.venue, c.start_ms, c.end_ms, tuple(c.case_ids)) for m in messages for c in m.clusters)


def in_topics(settings: Settings) -> Stands:
    """The last word of each topic."""
    return Stands(
        windows=_windows(settings),
        inside={venue: told.inside for venue, told in _newest(settings, "occupancy", Occupancy).items()},
        traces=_newest(settings, "traces", Trace),
        statuses=_newest(settings, "statuses", Status),
        clusters=_told_clusters(_newest(settings, "clusters", VenueClusters).values()),
        cases={name: (c.person, c.withdrawn) for name, c in _newest(settings, "cases", Case).items()},
    )


def in_database(url: str) -> Stands:
    """What officers and doors read."""
    with psycopg.connect(url) as database:
        windows = database.execute(
            "select venue, round(extract(epoch from window_start) * 1000)::bigint, entries, exits, assumed_exits,"
            " peak, presence_ms from lacak.windows"
        ).fetchall()
        inside = database.execute("select venue, inside from lacak.occupancy").fetchall()
        traces = database.execute("select trace_id, report::text from lacak.traces").fetchall()
        statuses = database.execute(
            "select person, colour, round(extract(epoch from holds_since) * 1000)::bigint, rule, reason, doses,"
            " is_full, booster, age_band from lacak.statuses"
        ).fetchall()
        clusters = database.execute(
            "select venue, round(extract(epoch from starts) * 1000)::bigint, round(extract(epoch from ends) * 1000)"
            "::bigint, case_ids from lacak.clusters where not withdrawn"
        ).fetchall()
        cases = database.execute("select case_id, person, withdrawn from lacak.cases").fetchall()
    return Stands(
        windows={(row[0], row[1]): tuple(row[2:]) for row in windows},
        inside=dict(inside),
        traces={row[0]: msgspec.json.decode(row[1], type=Trace) for row in traces},
        statuses={
            row[0]: Status(
                person=row[0],
                colour=row[1],
                since_ms=row[2],
                rule=row[3],
                reason=row[4],
                doses=row[5],
                full=row[6],
                booster=row[7],
                age_band=row[8],
                log_time_ms=0,
                position=(0, 0),
            )
            for row in statuses
        },
        clusters=sorted((row[0], row[1], row[2], tuple(row[3])) for row in clusters),
        cases={row[0]: (row[1], row[2]) for row in cases},
    )


def log_times(settings: Settings) -> dict[int, int]:
    """The log time that each partition of `visits` has come to: the least over the scans partitions it hears of."""
    told: dict[tuple[int, int], int] = {}
    for record in read_topic(settings, "visits"):
        block = unframe(VISITS_MAGIC, record.value or b"", VISIT_BLOCKS)
        key = record.partition, block.source_partition
        told[key] = max(block.log_time_ms, told.get(key, 0))
    counts = settings.partitions
    return {
        partition: min(told.get((partition, source), 0) for source in range(counts.scans))
        for partition in range(counts.visits)
    }

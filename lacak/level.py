"""Reading the pipeline from outside: the visits that stand, and whether everything published has come through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from contacts.incoming import checked
from contacts.visits import Visit
from schemas.blocks import (
    CONTROL_MAGIC,
    CONTROLS,
    LATE,
    REASONS,
    SELF_REPORTED,
    VISIT_BLOCKS,
    VISIT_COLUMNS,
    VISITS_MAGIC,
    BlockError,
    ErasureOrder,
    RegistryChange,
    VisitBlock,
    unframe,
)
from streams.reader import read_topic
from streams.settings import Settings


class NotLevel(RuntimeError):
    """What was published has not come through in time; the message says how far it came."""


class _Held(NamedTuple):
    person: str
    venue: str
    ancestors: tuple[str, ...]
    start_ms: int
    end_ms: int
    reason: int


def standing_visits(settings: Settings) -> list[Visit]:
    """Every visit as the topic `visits` tells it, in order of (start, person, venue, self-reported last): rows applied
    once, by position.

    Reads the whole topic: for small runs, tests and reports.
    """
    last: dict[tuple[int, int], tuple[int, int, int]] = {}
    held: dict[tuple[int, int, int], _Held] = {}
    erased: dict[str, int] = {}
    for record in read_topic(settings, "visits"):
        try:
            block = unframe(VISITS_MAGIC, record.value or b"", VISIT_BLOCKS)
            if block.persons or block.rows:
                checked(block)
        except BlockError:
            continue  # the occupancy agent has put it to the dead letters
        channel = (record.partition, block.source_partition)
        for position, key, visit in _rows(block):
            if position > last.get(channel, (-1, -1, -1)):
                last[channel] = position
                held[key] = visit
        for placed in block.controls:
            if isinstance(placed.control, ErasureOrder):
                erased[placed.control.person] = max(
                    placed.control.before_ms, erased.get(placed.control.person, placed.control.before_ms)
                )
    derived = {(v.person, v.venue, v.start_ms) for v in held.values() if v.reason < LATE}
    late = {(v.person, v.venue, v.start_ms): v for v in held.values() if v.reason == LATE}
    standing = [v for v in held.values() if v.reason != LATE] + [v for key, v in late.items() if key not in derived]
    visits = [
        Visit(v.person, v.venue, v.start_ms, v.end_ms, v.reason, v.ancestors)
        for v in standing
        if v.end_ms > v.start_ms and v.start_ms >= erased.get(v.person, v.start_ms)
    ]
    visits.sort(key=lambda v: (v.start_ms, v.person, v.venue, v.reason == SELF_REPORTED))
    return visits


def _rows(block: VisitBlock) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int], _Held]]:
    rows = np.frombuffer(block.rows, dtype="<i8").reshape(-1, len(VISIT_COLUMNS)).tolist()
    for person, row in zip(block.persons, rows, strict=True):
        offset, scan, change, born_offset, born_scan, lineage, start, end, _, reason, _, _ = row
        place = block.lineages[lineage]
        key = (block.source_partition, born_offset, born_scan)
        yield (offset, scan, change), key, _Held(person, place.venue, place.ancestors, start, end, reason)


def reasons(visits: list[Visit]) -> dict[str, int]:
    """How many visits ended for each reason."""
    counts = dict.fromkeys(REASONS, 0)
    for visit in visits:
        counts[REASONS[visit.reason]] += 1
    return {name: count for name, count in counts.items() if count}


def wait_level(
    settings: Settings, log_time_ms: int, *, seconds: float = 120.0, watch: Callable[[], None] = lambda: None
) -> None:
    """Wait until every partition's windows are recorded up to `log_time_ms`. Raises NotLevel when time runs out.

    `watch` is called about ten times a second while waiting.
    """
    deadline = time.monotonic() + seconds
    with settings.database_access.connect(autocommit=True) as database:
        while True:
            reached = {
                int(partition): int(log_time)
                for partition, log_time in database.execute(
                    "select partition, log_time_ms from lacak.applied_positions"
                    " where topic = 'windows' and log_time_ms is not null"
                )
            }
            behind = [p for p in range(settings.partitions.visits) if reached.get(p, log_time_ms - 1) < log_time_ms]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise NotLevel(
                    f"after {seconds:.0f} s the windows of partitions {behind} are not recorded up to the end"
                )
            watch()
            time.sleep(0.1)


def wait_registry(settings: Settings, since_ms: int, *, seconds: float = 30.0) -> None:
    """Wait until every record of `venues` is in the order of every scans partition. Raises NotLevel.

    `since_ms` is when the newest of them was published: scans are read from there on.
    """
    last = max((record.offset for record in read_topic(settings, "venues")), default=-1)
    deadline = time.monotonic() + seconds
    behind = set(range(settings.partitions.scans)) if last >= 0 else set()
    records = read_topic(
        settings, "scans", follow=True, from_timestamp_ms=since_ms, idle=lambda: time.monotonic() > deadline
    )
    for record in records if behind else ():
        if record.value is not None and record.value[:4] == CONTROL_MAGIC:
            try:
                control = unframe(CONTROL_MAGIC, record.value, CONTROLS)
            except BlockError:
                continue  # the visits agent puts it to the dead letters
            if isinstance(control, RegistryChange) and control.origin[1] >= last:
                behind.discard(record.partition)
                if not behind:
                    return
    if behind:
        raise NotLevel(f"after {seconds:.0f} s they are not in the order of scans of partitions {sorted(behind)}")

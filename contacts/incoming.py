"""Rows of visits on their way into a partition's index: checked, told from those applied before, and held together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from contacts.births import SCAN_BITS
from contacts.columns import Ints
from contacts.names import Lineages
from contacts.registry import are_names
from contacts.wire import WireBlock, Written, lineages_of, persons_of
from schemas.blocks import REASONS, TOUCHES, VISIT_COLUMNS, BlockError, Lineage, PlacedControl, VisitBlock
from schemas.bounds import DERIVED_MOST
from schemas.messages import SourceOffset

NEVER: Final = -(1 << 62)
"""The log time of a partition while one of its sources has not been heard."""

_UNSOUND: Final = "the block's rows are out of order or out of range: send them as the visits agent made them"
_NAME_LENGTH: Final = 200  # contacts.registry.is_name
_LINEAGE_LENGTH: Final = 1 << 20  # in bytes: far more than any venue lies within
_WIDTH: Final = len(VISIT_COLUMNS)
_COLUMN: Final = {name: number for number, name in enumerate(VISIT_COLUMNS)}


class Source(msgspec.Struct):
    """How far one partition of `scans` has been applied: the last row's position and change, the last control, the
    offset after the last block, and the log time (ms)."""

    position: int = -1
    change: int = -1
    control: int = -1
    next_offset: int = 0
    log_time_ms: int = NEVER


class Rows(NamedTuple):
    """New rows, those of each source in order. `position` and `born` are offset and scan in one number."""

    persons: Written
    source: Ints
    position: Ints
    born: Ints
    lineage: Ints
    start: Ints
    end: Ints
    reason: Ints
    touches: Ints


class Incoming:
    """Rows that wait to be worked on, and how far each source has come. `waiting` is how many rows wait."""

    def __init__(self, sources: int, lineages: Lineages) -> None:
        self.sources = [Source() for _ in range(sources)]
        self.waiting = 0
        self._lineages = lineages
        self._held: list[tuple[int, Written, Ints]] = []

    @property
    def log_time_ms(self) -> int:
        """The least of the sources' log times; NEVER while one has not been heard."""
        return min(source.log_time_ms for source in self.sources)

    def as_of(self) -> tuple[SourceOffset, ...]:
        """Up to where each source has been applied: its last offset covered (-1: none), and its log time."""
        return tuple(
            SourceOffset(partition=number, offset=source.next_offset - 1, log_time_ms=source.log_time_ms)
            for number, source in enumerate(self.sources)
        )

    def add(self, block: WireBlock) -> list[PlacedControl]:
        """Hold the rows of a block that are new; the controls that are. Raises BlockError with nothing changed."""
        if not 0 <= block.source_partition < len(self.sources):
            raise BlockError(
                f"the block comes from scans partition {block.source_partition}, and there are {len(self.sources)}: "
                "start all workers with the same partition counts"
            )
        source = self.sources[block.source_partition]
        self._hold(block, source)
        source.log_time_ms = max(source.log_time_ms, block.log_time_ms)
        source.next_offset = max(source.next_offset, block.next_offset)
        controls = [placed for placed in block.controls if placed.offset > source.control]
        if controls:
            source.control = controls[-1].offset
        return controls

    def _hold(self, block: WireBlock, source: Source) -> None:
        persons, lineages = persons_of(block.persons), lineages_of(block.lineages)
        columns = _columns(block.rows, len(persons), len(lineages))
        if not len(persons):
            return
        if persons.lengths.min() == 0 or persons.lengths.max() > _NAME_LENGTH:
            _check_persons(persons.texts())
        position = (columns[_COLUMN["offset"]] << SCAN_BITS) | columns[_COLUMN["scan"]]
        change = columns[_COLUMN["change"]]
        if (int(position[0]), int(change[0])) <= (source.position, source.change):
            new = (position > source.position) | ((position == source.position) & (change > source.change))
            if not new.any():
                return
            persons, columns, position, change = persons.of(new), columns[:, new], position[new], change[new]
        if len(lineages) and lineages.lengths.max() > _LINEAGE_LENGTH:
            raise BlockError(_UNSOUND)
        numbers = self._lineages.take_written(lineages, _check)
        source.position, source.change = int(position[-1]), int(change[-1])
        born = (columns[_COLUMN["born_offset"]] << SCAN_BITS) | columns[_COLUMN["born_scan"]]
        start, end, reason, flags = (columns[_COLUMN[name]] for name in ("start_ms", "end_ms", "reason", "flags"))
        held = (position, born, numbers[columns[_COLUMN["lineage"]]], start, end, reason, flags & TOUCHES)
        self._held.append((block.source_partition, persons, np.stack(held)))
        self.waiting += len(persons)

    def take(self) -> Rows:
        """All rows that wait."""
        held, self._held, self.waiting = self._held, [], 0
        persons = Written.together([part for _, part, _ in held])
        source = np.repeat([number for number, _, _ in held], [len(part) for _, part, _ in held])
        return Rows(persons, source, *np.concatenate([rows for _, _, rows in held], axis=1))


def checked(block: VisitBlock) -> Ints:
    """The columns of a block, (len(VISIT_COLUMNS), n). Raises BlockError when the block is not sound."""
    columns = _columns(block.rows, len(block.persons), len(block.lineages))
    _check_persons(block.persons)
    _check(block.lineages)
    return columns


def _check(lineages: Sequence[Lineage]) -> None:
    if not are_names([name for each in lineages for name in (each.venue, *each.ancestors)]):
        raise BlockError(_UNSOUND)


def _check_persons(persons: Sequence[str]) -> None:
    if not all(persons) or max(map(len, persons), default=0) > _NAME_LENGTH:
        raise BlockError(_UNSOUND)


def _columns(rows: bytes, persons: int, lineages: int) -> Ints:
    """The columns, with all but the names found sound."""
    if len(rows) != 8 * _WIDTH * persons:
        raise BlockError(f"the block has {persons} persons but {len(rows)} bytes of rows: send it again whole")
    columns = np.frombuffer(rows, "<i8").reshape(-1, _WIDTH).T
    if not persons:
        return columns
    low = dict(zip(VISIT_COLUMNS, columns.min(axis=1).tolist(), strict=True))
    high = dict(zip(VISIT_COLUMNS, columns.max(axis=1).tolist(), strict=True))
    offset, scan = columns[_COLUMN["offset"]], columns[_COLUMN["scan"]]
    fits = (
        min(low[name] for name in ("offset", "scan", "change", "born_offset", "born_scan", "lineage", "reason")) >= 0
        and max(high["offset"], high["born_offset"]) < 1 << (62 - SCAN_BITS)
        and max(high["scan"], high["born_scan"]) < 1 << SCAN_BITS
        and high["lineage"] < lineages
        and high["reason"] < len(REASONS)
        and bool((columns[_COLUMN["end_ms"]] >= columns[_COLUMN["start_ms"]]).all())
        and low["start_ms"] >= -DERIVED_MOST
        and high["end_ms"] <= DERIVED_MOST
    )
    ordered = (offset[1:] > offset[:-1]) | ((offset[1:] == offset[:-1]) & (scan[1:] >= scan[:-1]))
    if not fits or not ordered.all():
        raise BlockError(_UNSOUND)
    return columns

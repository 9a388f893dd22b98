"""Rows of visits on their way into a partition's index: checked, told from those applied before, and held together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from contacts.births import SCAN_BITS
from contacts.columns import Ints, side_by_side, widened
from contacts.compiled import compiled
from contacts.names import Lineages
from contacts.pseudonyms import People, chosen, together
from contacts.registry import are_names
from contacts.wire import WireBlock, lineages_of, persons_of
from schemas.blocks import REASONS, TOUCHES, VISIT_COLUMNS, BlockError, Lineage, PlacedControl, VisitBlock
from schemas.bounds import DERIVED_MOST
from schemas.messages import SourceOffset

NEVER: Final = -(1 << 62)
"""The log time of a partition while one of its sources has not been heard."""

_UNSOUND: Final = "the block's rows are out of order or out of range: send them as the visits agent made them"
_NAME_LENGTH: Final = 200  # contacts.registry.is_name
_LINEAGE_LENGTH: Final = 1 << 20  # in bytes: far more than any venue lies within
_WIDTH: Final = len(VISIT_COLUMNS)
_OFFSET, _SCAN, _CHANGE, _BORN_OFFSET, _BORN_SCAN, _LINEAGE, _START, _END, _REASON, _FLAGS = (
    VISIT_COLUMNS.index(name)
    for name in (
        "offset", "scan", "change", "born_offset", "born_scan", "lineage", "start_ms", "end_ms", "reason", "flags"
    )
)  # fmt: skip
_REASONS: Final = len(REASONS)


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

    persons: People
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
        self._persons: list[People] = []
        self._columns = side_by_side(_COLUMNS, 0)

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
        rows = _rows(block.rows, len(persons), len(lineages))
        if not len(persons):
            return
        if isinstance(persons, list):
            _check_persons(persons)
        if (int(rows[0, _OFFSET]) << SCAN_BITS | int(rows[0, _SCAN]), int(rows[0, _CHANGE])) <= (
            source.position,
            source.change,
        ):
            position, change = (rows[:, _OFFSET] << SCAN_BITS) | rows[:, _SCAN], rows[:, _CHANGE]
            new = np.flatnonzero(
                (position > source.position) | ((position == source.position) & (change > source.change))
            )
            if not len(new):
                return
            persons, rows = chosen(persons, new), rows[new]
            rows.flags.writeable = False  # as bytes are: one compiled function for both
        if len(lineages) and lineages.lengths.max() > _LINEAGE_LENGTH:
            raise BlockError(_UNSOUND)
        numbers = self._lineages.take_written(lineages, _check)
        first, last = self.waiting, self.waiting + len(rows)
        if last > self._columns.shape[1]:
            self._columns = widened(self._columns, first, last)
        _fill(rows, numbers, block.source_partition, first, self._columns)
        source.position, source.change = int(self._columns[_POSITION, last - 1]), int(rows[-1, _CHANGE])
        self._persons.append(persons)
        self.waiting = last

    def take(self) -> Rows:
        """All rows that wait."""
        rows = Rows(together(self._persons), *self._columns[:, : self.waiting])
        self._columns = side_by_side(_COLUMNS, min(self._columns.shape[1], 2 * self.waiting))
        self._persons, self.waiting = [], 0
        return rows


def checked(block: VisitBlock) -> Ints:
    """The columns of a block, (len(VISIT_COLUMNS), n). Raises BlockError when the block is not sound."""
    rows = _rows(block.rows, len(block.persons), len(block.lineages))
    _check_persons(block.persons)
    _check(block.lineages)
    return rows.T


def _check(lineages: Sequence[Lineage]) -> None:
    if not are_names([name for each in lineages for name in (each.venue, *each.ancestors)]):
        raise BlockError(_UNSOUND)


def _check_persons(persons: Sequence[str]) -> None:
    if not all(persons) or max(map(len, persons), default=0) > _NAME_LENGTH:
        raise BlockError(_UNSOUND)


def _rows(data: bytes | memoryview, persons: int, lineages: int) -> Ints:
    """The rows, (n, len(VISIT_COLUMNS)), with all but the names found sound."""
    if len(data) != 8 * _WIDTH * persons:
        raise BlockError(f"the block has {persons} persons but {len(data)} bytes of rows: send it again whole")
    rows = np.frombuffer(data, "<i8").reshape(-1, _WIDTH)
    if not _sound(rows, lineages):
        raise BlockError(_UNSOUND)
    return rows


@compiled
def _sound(rows: Ints, lineages: int) -> bool:
    """Whether rows stand in the order of their scans, and each is in range."""
    offset, scan = np.int64(0), np.int64(0)
    for row in range(len(rows)):
        here, number, born, child = rows[row, _OFFSET], rows[row, _SCAN], rows[row, _BORN_OFFSET], rows[row, _BORN_SCAN]
        if here < offset or (here == offset and number < scan) or number < 0 or born < 0 or child < 0:
            return False
        if here >> (62 - SCAN_BITS) or born >> (62 - SCAN_BITS) or number >> SCAN_BITS or child >> SCAN_BITS:
            return False
        lineage, reason = rows[row, _LINEAGE], rows[row, _REASON]
        if rows[row, _CHANGE] < 0 or lineage < 0 or lineage >= lineages or reason < 0 or reason >= _REASONS:
            return False
        if rows[row, _START] < -DERIVED_MOST or rows[row, _END] < rows[row, _START] or rows[row, _END] > DERIVED_MOST:
            return False
        offset, scan = here, number
    return True


_COLUMNS: Final = len(Rows._fields) - 1  # all but the persons
_POSITION: Final = Rows._fields.index("position") - 1


@compiled
def _fill(rows: Ints, numbers: Ints, source: int, first: int, columns: Ints) -> None:
    """Fill the columns of `Rows`, from a place on; `numbers` are those of the block's lineages."""
    for row in range(len(rows)):
        place = first + row
        columns[0, place] = source
        columns[1, place] = rows[row, _OFFSET] << SCAN_BITS | rows[row, _SCAN]
        columns[2, place] = rows[row, _BORN_OFFSET] << SCAN_BITS | rows[row, _BORN_SCAN]
        columns[3, place] = numbers[rows[row, _LINEAGE]]
        columns[4, place] = rows[row, _START]
        columns[5, place] = rows[row, _END]
        columns[6, place] = rows[row, _REASON]
        columns[7, place] = rows[row, _FLAGS] & TOUCHES

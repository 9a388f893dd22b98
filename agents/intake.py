"""From records of `scans` to scans: decode, check, and set aside what is not one.

A record is one JSON scan, a block of scans, or a control record. Plain JSON is read where it stands (agents/lines.py);
what is left is decoded together, and only when that fails is each looked at alone, so that one bad record costs its
neighbours time but nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.lines import ARRIVED, AT, KIND, NOT_GIVEN, PERSON, PERSON_LENGTH, PLAIN, VENUE, VENUE_LENGTH, read_lines
from contacts.columns import Bools, Ints
from contacts.compiled import COMPILED
from contacts.controls import BAD_PERSON, WRONG_PARTITION, fault_of
from contacts.deriver import Deriver, Scans
from contacts.histories import NONE
from contacts.registry import are_names, is_name
from schemas.blocks import (
    CONTROL_MAGIC,
    CONTROLS,
    KINDS,
    SCAN_BLOCKS,
    SCANS_MAGIC,
    BlockError,
    Control,
    ScanBlock,
    StayReport,
    Tick,
    unframe,
)
from schemas.bounds import TIME_MOST, UNDECODABLE
from schemas.messages import Scan
from schemas.partitions import partition_of, partitions_of
from streams.batches import Batch
from streams.spans import Spans

_SCANS = msgspec.json.Decoder(Scan)
_OPEN, _CLOSE = ord("{"), ord("}")


SetAside = Callable[[int, int, str, str], None]
"""Told (offset, row, reason, detail) of what goes to the dead letters."""


class Intake:
    """Reads the records of one partition of `scans` for its deriver. `tolerance_ms` is how far clocks may differ,
    `coordinators` how many partitions of traces there are."""

    def __init__(
        self,
        deriver: Deriver,
        partitions: int,
        set_aside: SetAside,
        *,
        file_clock: bool,
        tolerance_ms: int,
        coordinators: int = 1 << 30,
    ) -> None:
        self._deriver = deriver
        self._partitions = partitions
        self._set_aside = set_aside
        self._file_clock = file_clock
        self._tolerance_ms = tolerance_ms
        self._coordinators = coordinators

    def read(self, batch: Batch) -> Iterator[Scans | tuple[int, Control]]:
        """The batch in order of the log: runs of scans, and between them `(offset, control)`."""
        lines = Lines.of(batch)
        start = 0
        for index in np.flatnonzero(~lines.are_objects()).tolist():
            if start < index:
                yield self._read(lines.of_rows(start, index))
            start = index + 1
            offset, stamp, value = batch.offsets[index], batch.timestamps_ms[index], batch.values[index]
            try:
                if value is None:
                    self._set_aside(offset, 0, "undecodable", "the record is empty")
                elif value[:4] == CONTROL_MAGIC:
                    control = unframe(CONTROL_MAGIC, value, CONTROLS)
                    fault = self._fault(control, stamp)
                    if fault is None:
                        yield offset, control
                    else:
                        self._set_aside(offset, 0, *fault)
                elif value[:4] == SCANS_MAGIC:
                    yield self._block(offset, stamp, unframe(SCANS_MAGIC, value, SCAN_BLOCKS))
                else:
                    yield self._read(lines.of_rows(index, index + 1))  # white space around it
            except (BlockError, *UNDECODABLE) as error:
                self._set_aside(offset, 0, "undecodable", str(error))
        if start < len(batch):
            yield self._read(lines.of_rows(start, len(batch)))

    def _read(self, lines: Lines) -> Scans:
        """The scans of lines of JSON."""
        if COMPILED:
            found = read_lines(lines.values.data, lines.values.begins, lines.values.lengths)
        else:
            found = np.zeros((len(lines.offsets), 8), np.int64)  # msgspec is the fastest that is there
        plain = found[:, PLAIN] == 1
        person, venue = np.full(len(plain), NONE), np.full(len(plain), NONE)
        data, chosen = lines.values.data, found if plain.all() else found[plain]
        person[plain] = self._deriver.people.take_spans(data, chosen[:, PERSON].copy(), chosen[:, PERSON_LENGTH].copy())
        venue[plain] = self._deriver.venues.take_spans(data, chosen[:, VENUE].copy(), chosen[:, VENUE_LENGTH].copy())
        if not plain.all():
            rows, scans = self._decoded(lines, np.flatnonzero(~plain).tolist())
            plain[rows] = True
            person[rows] = self._people([scan.person for scan in scans])
            venue[rows] = self._deriver.venue_numbers(scan.venue for scan in scans)
            found[rows, KIND] = [KINDS.index(scan.kind) for scan in scans]
            found[rows, AT] = [scan.at_ms for scan in scans]
            found[rows, ARRIVED] = [NOT_GIVEN if scan.arrived_at_ms is None else scan.arrived_at_ms for scan in scans]
        scan_of = np.zeros(len(plain), np.int64)
        columns = (lines.offsets, scan_of, person, venue, found[:, KIND], found[:, AT], found[:, ARRIVED])
        return self._accepted(Scans(*columns), lines.stamps, plain)

    def _decoded(self, lines: Lines, rows: list[int]) -> tuple[list[int], list[Scan]]:
        """The scans of some lines, and which lines they are; a line that is none is set aside."""
        values = [lines.values[row] or b"" for row in rows]
        try:
            # Each value begins with { and ends with }, so no two can merge and none can hold two unseen.
            decoded = _SCANS.decode_lines(b"\n".join(values))
            if len(decoded) == len(values):
                return rows, decoded
        except UNDECODABLE:
            pass
        good: list[int] = []
        scans: list[Scan] = []
        for row, value in zip(rows, values, strict=True):
            try:
                scans.append(_SCANS.decode(value))
                good.append(row)
            except UNDECODABLE as error:
                self._set_aside(int(lines.offsets[row]), 0, "undecodable", str(error))
        return good, scans

    def _block(self, offset: int, stamp: int, block: ScanBlock) -> Scans:
        """The scans of a block. Raises BlockError when it is not whole: it is refused whole."""
        count = len(block.persons)
        kind = np.frombuffer(block.kinds, np.uint8).astype(np.int64)
        at = np.frombuffer(block.at_ms, "<i8") if len(block.at_ms) % 8 == 0 else np.empty(0, np.int64)
        if not block.arrived_at_ms:
            arrived = np.full(count, NOT_GIVEN)
        elif len(block.arrived_at_ms) == 8 * count:
            arrived = np.frombuffer(block.arrived_at_ms, "<i8")
        else:
            raise BlockError("the block's columns differ in length")
        if not len(block.venues) == len(kind) == len(at) == count:
            raise BlockError("the block's columns differ in length")
        times = np.concatenate((at, arrived if block.arrived_at_ms else at))
        if count and (kind.max() >= len(KINDS) or times.max() > TIME_MOST or times.min() < -TIME_MOST):
            raise BlockError("the block holds an unknown kind or a time that is no time")
        person, venue = self._people(block.persons), self._deriver.venue_numbers(block.venues)
        scans = Scans(np.full(count, offset), np.arange(count), person, venue, kind, at, arrived)
        return self._accepted(scans, np.full(count, stamp), np.ones(count, np.bool_))

    def _people(self, persons: Sequence[str]) -> Ints:
        """The numbers of people, NONE for what is no name."""
        if are_names(persons):
            return self._deriver.people.take(persons)
        named = [is_name(person) for person in persons]
        numbers = np.full(len(persons), NONE)
        numbers[named] = self._deriver.people.take(list(compress(persons, named)))
        return numbers

    def _accepted(self, scans: Scans, stamps: Ints, good: Bools) -> Scans:
        """The good ones of the scans, each with its arrival.

        Set aside are those whose given arrival is ahead of their record, and those of people who are no name or belong
        to another partition: asked of newcomers only.
        """
        given = scans.arrived != NOT_GIVEN
        arrived = np.where(given, scans.arrived, scans.at if self._file_clock else stamps)
        ahead = good & given & (arrived > stamps + self._tolerance_ms)
        for row in np.flatnonzero(ahead).tolist():
            self._refuse(scans, row, "arrival_ahead", _ahead_text(int(arrived[row] - stamps[row])))
        good = good & ~ahead
        nameless = good & (scans.person == NONE)
        for row in np.flatnonzero(nameless).tolist():
            self._refuse(scans, row, "bad_person", BAD_PERSON)
        scans = scans._replace(arrived=arrived).of(good & ~nameless)
        away = self._away(scans.person)
        for row in np.flatnonzero(away).tolist():
            self._refuse(scans, row, "wrong_partition", WRONG_PARTITION)
        return scans.of(~away) if away.any() else scans

    def _away(self, person: Ints) -> Bools:
        """Who belongs to another partition."""
        histories = self._deriver.histories
        new = histories.newcomers(person)
        if len(new):
            home = partitions_of(histories.people.texts(new), self._partitions)
            histories.place(new, home != self._deriver.partition)
        return histories.are_away(person)

    def _refuse(self, scans: Scans, row: int, reason: str, detail: str) -> None:
        self._set_aside(int(scans.offset[row]), int(scans.number[row]), reason, detail)

    def _fault(self, control: Control, stamp: int) -> tuple[str, str] | None:
        """Why a control record cannot be taken: (reason, detail)."""
        if isinstance(control, Tick):
            return (
                ("arrival_ahead", "a tick is ahead of its record's time") if self._ahead(control.at_ms, stamp) else None
            )
        if (fault := fault_of(control, self._coordinators)) is not None or not isinstance(control, StayReport):
            return fault
        if partition_of(control.person, self._partitions) != self._deriver.partition:
            return "wrong_partition", WRONG_PARTITION
        if control.told_at_ms is not None and self._ahead(control.told_at_ms, stamp):
            return "arrival_ahead", "the stay was told of ahead of its record's time"
        return None

    def _ahead(self, at_ms: int, stamp: int) -> bool:
        return not self._file_clock and at_ms > stamp + self._tolerance_ms


class Lines(NamedTuple):
    """Records as columns: offsets, times (ms) and values."""

    offsets: Ints
    stamps: Ints
    values: Spans

    @classmethod
    def of(cls, batch: Batch) -> Lines:
        """Those of a batch."""
        if isinstance(batch.offsets, range):
            offsets: NDArray[np.int64] = np.arange(batch.offsets.start, batch.offsets.stop)
        else:
            offsets = np.asarray(batch.offsets, np.int64)
        return cls(offsets, np.asarray(batch.timestamps_ms, np.int64), Spans.of(batch.values))

    def of_rows(self, start: int, stop: int) -> Lines:
        """Some of them."""
        return Lines(self.offsets[start:stop], self.stamps[start:stop], self.values[start:stop])

    def are_objects(self) -> Bools:
        """Which begin with { and end with }."""
        values = self.values
        found = values.lengths > 1
        begins = values.begins[found]
        ends = begins + values.lengths[found] - 1
        found[found] = (values.data[begins] == _OPEN) & (values.data[ends] == _CLOSE)
        return found


def _ahead_text(ahead_ms: int) -> str:
    return f"its arrival is {ahead_ms // 1000} s ahead of its record"

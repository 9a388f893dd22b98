"""From records of `scans` to scans: decode, check, and set aside what is not one.

A record is one JSON scan, a block of scans, or a control record. A whole batch of JSON scans is decoded at once; only
when that fails is each looked at alone, so that one bad record costs its neighbours time but nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import compress
from operator import itemgetter

import msgspec
import numpy as np

from contacts.deriver import Arrived
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
    Tick,
    unframe,
)
from schemas.messages import Scan
from schemas.partitions import partitions_of
from streams.batches import Batch

_SCANS = msgspec.json.Decoder(Scan)
_PERSON = itemgetter(2)
_TIME_LIMIT = 2**53

SetAside = Callable[[int, int, str, str], None]
"""Told (offset, row, reason, detail) of what goes to the dead letters."""


class Intake:
    """Reads the records of one partition of `scans`. `tolerance_ms` is how far clocks may differ."""

    def __init__(self, partition: int, partitions: int, *, file_clock: bool, tolerance_ms: int) -> None:
        self._partition = partition
        self._partitions = partitions
        self._file_clock = file_clock
        self._tolerance_ms = tolerance_ms

    def read(
        self, batch: Batch, known: Mapping[str, object], set_aside: SetAside
    ) -> Iterator[list[Arrived] | tuple[int, Control]]:
        """The batch in order of the log: runs of scans, and between them `(offset, control)`."""
        start = 0
        values = batch.values
        for index, value in enumerate(values):
            if value is not None and value[:1] == b"{" and value[-1:] == b"}":
                continue
            if start < index:
                yield self._scans(batch, start, index, known, set_aside)
            start = index + 1
            offset = batch.offsets[index]
            try:
                if value is None:
                    set_aside(offset, 0, "undecodable", "the record is empty")
                elif value[:4] == CONTROL_MAGIC:
                    control = unframe(CONTROL_MAGIC, value, CONTROLS)
                    if isinstance(control, Tick) and self._ahead(control.at_ms, batch.timestamps_ms[index]):
                        set_aside(offset, 0, "arrival_ahead", "a tick is ahead of its record's time")
                    else:
                        yield offset, control
                elif value[:4] == SCANS_MAGIC:
                    scans = self._block(
                        offset, batch.timestamps_ms[index], unframe(SCANS_MAGIC, value, SCAN_BLOCKS), set_aside
                    )
                    yield self._at_home(scans, known, set_aside)
                else:
                    scan = _SCANS.decode(value)  # white space around it
                    yield self._at_home(
                        self._judged([(offset, batch.timestamps_ms[index], scan)], set_aside), known, set_aside
                    )
            except (BlockError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                set_aside(offset, 0, "undecodable", str(error))
        if start < len(values):
            yield self._scans(batch, start, len(values), known, set_aside)

    def _scans(
        self, batch: Batch, start: int, stop: int, known: Mapping[str, object], set_aside: SetAside
    ) -> list[Arrived]:
        values = batch.values[start:stop]
        offsets, stamps = batch.offsets[start:stop], batch.timestamps_ms[start:stop]
        try:
            # Each value begins with { and ends with }, so no two can merge and none can hold two unseen.
            decoded = _SCANS.decode_lines(b"\n".join(values))  # type: ignore[arg-type]
            rows = zip(offsets, stamps, decoded, strict=True) if len(decoded) == len(values) else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            rows = None
        if rows is None:
            singles = []
            for offset, stamp, value in zip(offsets, stamps, values, strict=True):
                try:
                    singles.append((offset, stamp, _SCANS.decode(value or b"")))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    set_aside(offset, 0, "undecodable", str(error))
            return self._at_home(self._judged(singles, set_aside), known, set_aside)
        return self._at_home(self._judged(rows, set_aside), known, set_aside)

    def _judged(self, rows: Iterable[tuple[int, int, Scan]], set_aside: SetAside) -> list[Arrived]:
        """Give each scan its arrival; one whose given arrival is ahead of its record is set aside."""
        file_clock, tolerance = self._file_clock, self._tolerance_ms
        judged: list[Arrived] = []
        for offset, stamp, scan in rows:
            at, arrived = scan.at_ms, scan.arrived_at_ms
            if arrived is None:
                arrived = at if file_clock else stamp
            elif arrived > stamp + tolerance:
                set_aside(offset, 0, "arrival_ahead", _ahead_text(arrived - stamp))
                continue
            judged.append((offset, 0, scan.person, scan.venue, scan.kind, at, arrived))
        return judged

    def _block(self, offset: int, stamp: int, block: ScanBlock, set_aside: SetAside) -> list[Arrived]:
        """The scans of a block; one that is not whole is refused whole (BlockError)."""
        count = len(block.persons)
        at = np.frombuffer(block.at_ms, dtype="<i8") if len(block.at_ms) % 8 == 0 else np.empty(0, np.int64)
        if block.arrived_at_ms and len(block.arrived_at_ms) == 8 * count:
            arrived = np.frombuffer(block.arrived_at_ms, dtype="<i8")
        elif block.arrived_at_ms:
            raise BlockError("the block's columns differ in length")
        else:
            arrived = at if self._file_clock else np.full(count, stamp, np.int64)
        if not len(block.venues) == len(block.kinds) == len(at) == len(arrived) == count:
            raise BlockError("the block's columns differ in length")
        if count and (max(block.kinds) >= len(KINDS) or max(np.abs(at).max(), np.abs(arrived).max()) > _TIME_LIMIT):
            raise BlockError("the block holds an unknown kind or a time that is no time")
        kinds = [KINDS[kind] for kind in block.kinds]
        scans = list(
            zip(
                [offset] * count,
                range(count),
                block.persons,
                block.venues,
                kinds,
                at.tolist(),
                arrived.tolist(),
                strict=True,
            )
        )
        if block.arrived_at_ms and count and int(arrived.max()) > stamp + self._tolerance_ms:
            good = []
            for scan in scans:
                if scan[6] > stamp + self._tolerance_ms:
                    set_aside(offset, scan[1], "arrival_ahead", _ahead_text(scan[6] - stamp))
                else:
                    good.append(scan)
            return good
        return scans

    def _at_home(self, scans: list[Arrived], known: Mapping[str, object], set_aside: SetAside) -> list[Arrived]:
        """Without the scans of people who are no name or belong to another partition: asked of newcomers only."""
        new = set(map(_PERSON, scans)).difference(known)
        if not new:
            return scans
        named = list(new) if are_names(new) else [person for person in new if is_name(person)]
        away = (partitions_of(named, self._partitions) != self._partition).tolist()
        strangers, nameless = set(compress(named, away)), new.difference(named)
        if not strangers and not nameless:
            return scans
        good = []
        for scan in scans:
            if scan[2] in strangers:
                set_aside(scan[0], scan[1], "wrong_partition", "the record's partition is not that of its person")
            elif scan[2] in nameless:
                set_aside(scan[0], scan[1], "bad_person", "a person is 1 to 200 characters, none of them a control")
            else:
                good.append(scan)
        return good

    def _ahead(self, at_ms: int, stamp: int) -> bool:
        return not self._file_clock and at_ms > stamp + self._tolerance_ms


def _ahead_text(ahead_ms: int) -> str:
    return f"its arrival is {ahead_ms // 1000} s ahead of its record"

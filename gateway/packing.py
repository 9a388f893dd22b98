"""Scans of one partition as records: blocks where there are enough of a kind, else one message a scan."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from schemas.blocks import KINDS, SCANS_MAGIC, ScanBlock, frame
from schemas.messages import Scan

BLOCK_SCANS = 500
BLOCK_BYTES = 256 << 10
"""A block holds at most so many scans, and is at most so long."""

KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_SHORT_RUN = 8  # so few scans cost less as messages than as a block of their own


class Record(NamedTuple):
    """A record for `scans`: its key (none for a block), its value, and how many scans it carries."""

    key: bytes | None
    value: bytes
    scans: int


def single(scan: Scan) -> Record:
    """One scan as a JSON message."""
    return Record(scan.person.encode(), msgspec.json.encode(scan), 1)


def packed(scans: Sequence[Scan]) -> Iterator[Record]:
    """Scans of one partition, in their order: a block names one gateway, and gives all arrivals or none."""
    for (gateway, arrives), run in groupby(scans, lambda scan: (scan.gateway, scan.arrived_at_ms is not None)):
        rows = list(run)
        if len(rows) < _SHORT_RUN:
            yield from map(single, rows)
        else:
            for start in range(0, len(rows), BLOCK_SCANS):
                yield from _blocks(rows[start : start + BLOCK_SCANS], gateway or "", arrives)


def _blocks(scans: list[Scan], gateway: str, arrives: bool) -> Iterator[Record]:
    count = len(scans)
    block = ScanBlock(
        persons=[scan.person for scan in scans],
        venues=[scan.venue for scan in scans],
        kinds=bytes([KIND_NUMBERS[scan.kind] for scan in scans]),
        at_ms=struct.pack(f"<{count}q", *[scan.at_ms for scan in scans]),
        arrived_at_ms=struct.pack(f"<{count}q", *[scan.arrived_at_ms or 0 for scan in scans]) if arrives else b"",
        scan_ids=[scan.scan_id or "" for scan in scans] if any(scan.scan_id for scan in scans) else [],
        gateway=gateway,
    )
    value = frame(SCANS_MAGIC, block)
    if len(value) > BLOCK_BYTES and count > 1:
        yield from _blocks(scans[: count // 2], gateway, arrives)
        yield from _blocks(scans[count // 2 :], gateway, arrives)
    else:
        yield Record(None, value, count)

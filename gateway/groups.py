"""What a spool holds, and its file: groups of scans or of other records, packed with a checksum, and tickets."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from schemas.messages import Scan

Lane = Literal["scans", "others"]
LANES: Final[tuple[Lane, ...]] = ("scans", "others")
"""What is sent apart, so that a topic that is missing holds up no scan. Within a lane the order is kept."""

_CRC_BYTES: Final = 4

TABLES: Final = """
CREATE TABLE IF NOT EXISTS waiting(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, items INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS waiting_lane ON waiting(lane, seq);
CREATE TABLE IF NOT EXISTS tickets(ticket_id TEXT PRIMARY KEY, until_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS damaged(seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL, body BLOB NOT NULL);
"""


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """One record for another topic than `scans`, its name without prefix. Its partition is that of `placed_by`, or of
    its key where that is empty."""

    topic: str
    key: bytes
    value: bytes
    placed_by: bytes = b""


Items = tuple[Scan, ...] | tuple[Parcel, ...]
"""What a group holds."""


class TicketRow(NamedTuple):
    """What is kept of a ticket that waits for an answer; without a body it is taken away."""

    ticket_id: str
    until_ms: int
    body: bytes | None


class Row(NamedTuple):
    """A group that waits to be sent."""

    seq: int
    items: Items


class Write(NamedTuple):
    """What is put in at once, or taken away; `done` is set when it is on the disk."""

    scans: Sequence[Scan]
    parcels: Sequence[Parcel]
    tickets: Sequence[TicketRow]
    done: asyncio.Future[None] | None
    mark: Any = None
    sent: dict[Lane, int] | None = None  # up to these rows
    flaws: Sequence[int] = ()


def items_of(group: Sequence[Write]) -> list[tuple[Lane, Items]]:
    """What a group puts into each lane; none for a lane that it puts nothing into."""
    scans = tuple([scan for write in group for scan in write.scans])
    parcels = tuple([parcel for write in group for parcel in write.parcels])
    lanes: tuple[tuple[Lane, Items], ...] = (("scans", scans), ("others", parcels))
    return [(lane, items) for lane, items in lanes if items]


def marks_of(group: Sequence[Write], lane: Lane) -> list[Any]:
    """The marks of what a group puts into a lane: of a write into both, the scans' lane has it."""
    return [each.mark for each in group if each.mark is not None and lane == ("scans" if each.scans else "others")]


def statements_of(group: Sequence[Write]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What else a group asks for, as statements."""
    for write in group:
        for ticket in write.tickets:
            if ticket.body is None:
                yield "DELETE FROM tickets WHERE ticket_id = ?", (ticket.ticket_id,)
            else:
                yield "INSERT OR REPLACE INTO tickets VALUES (?, ?, ?)", ticket
        for seq in write.flaws:
            yield "INSERT OR REPLACE INTO damaged SELECT seq, lane, body FROM waiting WHERE seq = ?", (seq,)
            yield "DELETE FROM waiting WHERE seq = ?", (seq,)
        for lane, upto in (write.sent or {}).items():
            yield "DELETE FROM waiting WHERE lane = ? AND seq <= ?", (LANES.index(lane), upto)


_SCANS: Final = msgspec.msgpack.Decoder(tuple[Scan, ...])
_PARCELS: Final = msgspec.msgpack.Decoder(tuple[Parcel, ...])
_ENCODE: Final = msgspec.msgpack.Encoder().encode


def connect(path: Path) -> sqlite3.Connection:
    """The file, such that a commit is on the disk when it returns. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for setting in (
        "auto_vacuum=INCREMENTAL",
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=8000",  # a group waits for each, 10 ms and more: once in some seconds, not every second
        "fullfsync=ON",  # macOS: else the disk may still hold it in its cache
        "checkpoint_fullfsync=ON",
        f"journal_size_limit={64 << 20}",
    ):
        connection.execute(f"PRAGMA {setting}")
    return connection


def packed(items: Sequence[Scan] | Sequence[Parcel]) -> bytes:
    body = _ENCODE(items)
    return zlib.crc32(body).to_bytes(_CRC_BYTES, "big") + body


def unpacked(lane: Lane, body: bytes) -> Items:
    """The items of a group. Raises ValueError when it is damaged."""
    packed = memoryview(body)[_CRC_BYTES:]
    if zlib.crc32(packed).to_bytes(_CRC_BYTES, "big") != body[:_CRC_BYTES]:
        raise ValueError("the checksum does not hold")
    return _SCANS.decode(packed) if lane == "scans" else _PARCELS.decode(packed)

"""Blocks: many rows in one record, as columns that numpy reads without a loop.

A frame is `magic (4 bytes) | CRC-32 of the body (4, big endian) | body`; the body is MessagePack. A frame that is cut
short or altered is refused whole. Magic tells what the body is, and no JSON text begins with it, so `scans` can carry
plain messages, blocks and control records side by side:

- `LKS1` scans from a gateway, `LKV1` rows of visits, `LKW1` rows of windows, `LKC1` one control record.

A row's position is `(source offset, scan in that record, change made from it)`; positions grow within a source
partition, and a receiver skips rows that are not above the last position it applied from that source.
"""

from __future__ import annotations

import zlib
from typing import Final, TypeVar

import msgspec

from schemas.bounds import UNDECODABLE, DerivedMs, LogTimeMs, Number, Offset, Partition, Position, TimeMs
from schemas.messages import Direction, Scan, ScanKind, Venue

SCANS_MAGIC: Final = b"LKS1"
VISITS_MAGIC: Final = b"LKV1"
WINDOWS_MAGIC: Final = b"LKW1"
CONTROL_MAGIC: Final = b"LKC1"
_HEAD: Final = 8

T = TypeVar("T")


class BlockError(ValueError):
    """A frame that is cut short, altered, of another kind than asked for, or not understood."""


class ScanBlock(msgspec.Struct, frozen=True, array_like=True):
    """Scans of one partition of `scans`, from a gateway with much to send. All columns have one entry a scan.

    `persons`, `venues`: str lists; `kinds`: uint8 bytes (index into KINDS); `at_ms`: little-endian int64 bytes;
    `arrived_at_ms`: the same, or empty when arrival is the record's own time; `scan_ids`: str list or empty.
    """

    persons: list[str]
    venues: list[str]
    kinds: bytes
    at_ms: bytes
    arrived_at_ms: bytes = b""
    scan_ids: list[str] = []
    gateway: str = ""


def scan_of(block: ScanBlock, row: int) -> Scan:
    """One scan of a block. Raises IndexError or BlockError where the block has no such row."""
    place = slice(8 * row, 8 * row + 8)
    if row < 0 or len(block.at_ms) < place.stop:
        raise BlockError(f"the block has no row {row}")
    arrived = block.arrived_at_ms[place]
    return Scan(
        person=block.persons[row],
        venue=block.venues[row],
        kind=KINDS[block.kinds[row]],
        at_ms=int.from_bytes(block.at_ms[place], "little", signed=True),
        arrived_at_ms=int.from_bytes(arrived, "little", signed=True) if arrived else None,
        scan_id=block.scan_ids[row] if block.scan_ids else None,
        gateway=block.gateway or None,
    )


class Tick(msgspec.Struct, frozen=True, array_like=True, tag="tick"):
    """Moves a quiet partition's log time to `at_ms`. `final` ends a file run."""

    at_ms: TimeMs
    final: bool = False


class RegistryChange(msgspec.Struct, frozen=True, array_like=True, tag="venue"):
    """A record of `venues`, put into every scans partition; `origin` is its (partition, offset) there."""

    origin: tuple[Partition, Offset]
    venue: Venue
    at_ms: TimeMs


class ErasureOrder(msgspec.Struct, frozen=True, array_like=True, tag="erasure"):
    """A record of `erasures`: everything of `person` with a time below `before_ms` goes."""

    origin: tuple[Partition, Offset]
    person: str
    before_ms: TimeMs


class Barrier(msgspec.Struct, frozen=True, array_like=True, tag="barrier"):
    """Put into every scans partition by a trace; comes out in every visits partition behind all rows made before it."""

    query_id: str


class WatchOrder(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    """Put into every scans partition by a standing trace, ahead of its barrier: tell `reply_partition` of
    `trace-answers` of changed visits that may change it, until log time `until_ms`.

    Of one trace the highest revision holds; an empty window ends the watch. `linger_ms` is the most that the profile
    adds to a stay, `grid_ms` the most by which it lets one begin earlier.
    """

    trace_id: str
    case_id: str
    revision: Number
    person: str
    direction: Direction
    reply_partition: Partition
    window_start_ms: DerivedMs
    window_end_ms: DerivedMs
    until_ms: DerivedMs
    linger_ms: TimeMs = 0
    grid_ms: TimeMs = 0


class RecountOrder(msgspec.Struct, frozen=True, array_like=True, tag="recount"):
    """A record of `recounts`, put into every scans partition: `inside` people were counted at a venue at `at_ms`."""

    origin: tuple[Partition, Offset]
    venue: str
    inside: Number
    at_ms: TimeMs


class RulesChange(msgspec.Struct, frozen=True, array_like=True, tag="rules"):
    """A record of `rules` that holds door rules, put into every scans partition: the file's text."""

    origin: tuple[Partition, Offset]
    rules_id: str
    text: str


class StayReport(msgspec.Struct, frozen=True, array_like=True, tag="stay"):
    """A person's declared stay at a registered venue, put into that person's scans partition alone.

    `origin` is the (partition, offset) of its record of `declarations`: of one person's reports with the same
    `declaration_id` the one with the greatest counts. `told_at_ms` is the declaration's own; None: the log time.
    """

    origin: tuple[Partition, Offset]
    person: str
    venue: str
    declaration_id: str
    start_ms: TimeMs
    end_ms: TimeMs
    withdrawn: bool = False
    told_at_ms: TimeMs | None = None


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="heartbeat"):
    """Travels the whole chain and says that it is alive (docs/heartbeat.md): born at `born_ms`, here from partition
    `source` of the topic before. It moves no log time and changes nothing."""

    source: Partition
    born_ms: TimeMs


Control = (
    Tick | RegistryChange | ErasureOrder | Barrier | WatchOrder | RecountOrder | RulesChange | StayReport | Heartbeat
)


class PlacedControl(msgspec.Struct, frozen=True, array_like=True):
    """A control record as the visits agent passes it on: with its offset and the log time at its place."""

    offset: Offset
    log_time_ms: LogTimeMs
    control: RegistryChange | ErasureOrder | Barrier | WatchOrder | RecountOrder | RulesChange | Heartbeat


class Lineage(msgspec.Struct, frozen=True, array_like=True):
    """A venue and the places it lies within, nearest first, as a check-in found them."""

    venue: str
    ancestors: tuple[str, ...] = ()


VISIT_COLUMNS: Final = (
    "offset",  # source offset
    "scan",  # scan in that record
    "change",  # change made from it
    "born_offset",  # position of the check-in that made this visit: its number within the source partition
    "born_scan",
    "lineage",  # index into lineages
    "start_ms",
    "end_ms",  # end == start: the visit has fallen to nothing
    "old_end_ms",  # end before this change; == start_ms for a visit just born
    "reason",  # index into REASONS
    "old_reason",
    "flags",  # TOUCHES: another visit of this person at this venue meets the old or the new interval
)
"""The int64 columns of a visits block, row-major (rows, len(VISIT_COLUMNS))."""

TOUCHES: Final = 1
KINDS: Final[tuple[ScanKind, ...]] = ("in", "out", "refused")
REASONS: Final = ("assumed", "checked_out", "next_check_in", "scanned_again", "late", "self_reported")
ASSUMED, CHECKED_OUT, NEXT_CHECK_IN, SCANNED_AGAIN, LATE, SELF_REPORTED = range(6)


class VisitBlock(msgspec.Struct, frozen=True, array_like=True):
    """Changes of visits that one partition of `scans` sends one partition of `visits`.

    Covers source offsets `[first_offset, next_offset)` and states the log time reached. `rows` is little-endian int64,
    row-major (n, len(VISIT_COLUMNS)); `persons` has one entry a row; `controls` are applied after the rows.
    `recorded_ms` is the time of the first of those records in the log (0: not told): how long rows have been under way.
    """

    source_partition: Partition
    first_offset: Offset
    next_offset: Offset
    log_time_ms: LogTimeMs
    lineages: list[Lineage] = []
    persons: list[str] = []
    rows: bytes = b""
    controls: list[PlacedControl] = []
    recorded_ms: int = 0


WINDOW_COLUMNS: Final = ("venue", "start_ms", "entries", "exits", "assumed_exits", "peak", "presence_ms")
"""The int64 columns of a windows block, row-major; `venue` indexes `venues`; mean = presence_ms / window length.

A row whose entries, exits, peak and presence are all 0 withdraws the window."""


class WindowBlock(msgspec.Struct, frozen=True, array_like=True):
    """Windows of one partition of `visits` as they stand after its offset `position[0]`; `position` orders blocks."""

    source_partition: Partition
    position: Position
    window_ms: TimeMs
    log_time_ms: LogTimeMs
    venues: list[str]
    rows: bytes


def frame(magic: bytes, body: object) -> bytes:
    """The record value for `body` (a struct of this module)."""
    return frame_of(magic, msgspec.msgpack.encode(body))


def frame_of(magic: bytes, packed: bytes) -> bytes:
    """The record value for a body that is MessagePack already."""
    return magic + zlib.crc32(packed).to_bytes(4, "big") + packed


def unframe(magic: bytes, value: bytes | memoryview, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """The body of a frame. Raises BlockError when it is of another kind, cut short, altered, or not understood."""
    if value[:4] != magic:
        raise BlockError(f"expected a frame of kind {magic.decode()}, found {bytes(value[:4])!r}")
    body = memoryview(value)[_HEAD:]
    if len(value) < _HEAD or zlib.crc32(body).to_bytes(4, "big") != value[4:_HEAD]:
        raise BlockError("the frame is cut short or altered: its checksum does not hold")
    try:
        return decoder.decode(body)
    except UNDECODABLE as error:
        raise BlockError(f"the frame's body is not understood: {error}") from error


SCAN_BLOCKS: Final = msgspec.msgpack.Decoder(ScanBlock)
VISIT_BLOCKS: Final = msgspec.msgpack.Decoder(VisitBlock)
WINDOW_BLOCKS: Final = msgspec.msgpack.Decoder(WindowBlock)
CONTROLS: Final = msgspec.msgpack.Decoder(Control)

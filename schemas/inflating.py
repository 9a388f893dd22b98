"""Compressed bytes of others, inflated no further than a limit: of Kafka's record batches, whatever the codec.

A broker takes a batch of a few kilobytes that holds hundreds of megabytes: `max.message.bytes` is measured compressed.
aiokafka 0.14 inflates it whole. `bound_codecs` lets its readers in this process stop at the limit.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import cramjam
import numpy as np
from numpy.typing import NDArray

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""The codecs, as batches number them."""
RECORDS_MOST: Final = 100_000
"""How many records a batch holds at most: empty ones compress to nothing, and each would be a dead letter."""
_COUNT: Final = slice(57, 61)
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD: Final = 16
_LZ4_RATIO: Final = 255  # no byte of lz4 makes more
_KEPT: Final = 4 << 20
"""A thread keeps its room for what is inflated, unless more of it has been written to."""

_own = threading.local()

_CUT: Final = "failed to write whole buffer"  # cramjam, when its output has no more room


class TooLarge(ValueError):
    """A batch that holds more than is taken; the message says how much is."""


def inflate(codec: int, data: Any, limit: int) -> bytes:
    """What `data` holds under a codec of Kafka's. Raises TooLarge above `limit` bytes, ValueError for damage."""
    try:
        return _INFLATERS[codec](memoryview(data), limit)
    except (KeyError, zlib.error, struct.error, cramjam.DecompressionError) as error:
        if _CUT in str(error):
            raise _too_large(limit) from error
        raise ValueError(f"it cannot be decompressed: {error}") from error


def check_count(data: bytes, place: int) -> None:
    """Raises TooLarge for a batch (format v2) at `place` that says it holds too many records."""
    count = int.from_bytes(data[place + _COUNT.start : place + _COUNT.stop], "big", signed=True)
    if count > RECORDS_MOST:
        raise TooLarge(f"the batch holds {count} records, and at most {RECORDS_MOST} are taken")


def bound_codecs(modules: Iterable[Any], limit: int) -> None:
    """Let what reads batches in these modules of aiokafka's inflate at most `limit` bytes of one."""
    names = {"gzip_decode": GZIP, "snappy_decode": SNAPPY, "lz4_decode": LZ4, "zstd_decode": ZSTD}
    for module in modules:
        for name, codec in names.items():
            if hasattr(module, name):
                setattr(module, name, partial(_decode, codec, limit))


def _decode(codec: int, limit: int, payload: Any) -> bytes:
    return inflate(codec, payload, limit)


def _gzip(data: memoryview, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    rest: Any = data
    while len(rest):
        stream = zlib.decompressobj(wbits=31)
        parts.append(stream.decompress(rest, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise _too_large(limit)
        if not stream.eof:
            raise ValueError("it is cut short")
        rest = stream.unused_data
    return b"".join(parts)


def _snappy(data: memoryview, limit: int) -> bytes:
    """Plain, or in the blocks of the Java library that Kafka's own clients use."""
    blocks = [data]
    if bytes(data[: len(_XERIAL)]) == _XERIAL:
        blocks, place = [], _XERIAL_HEAD
        while place < len(data):
            (size,) = struct.unpack_from(">i", data, place)
            if size <= 0:
                raise ValueError("a block of it has no size")
            blocks.append(data[place + 4 : place + 4 + size])
            place += 4 + size
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > limit:
        raise _too_large(limit)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _lz4(data: memoryview, limit: int) -> bytes:
    if len(data) * _LZ4_RATIO <= limit:
        return bytes(cramjam.lz4.decompress(data))
    return _into(cramjam.lz4.decompress_into, data, limit)


def _zstd(data: memoryview, limit: int) -> bytes:
    return _into(cramjam.zstd.decompress_into, data, limit)


def _into(decompress: Callable[[Any, Any], int], data: memoryview, limit: int) -> bytes:
    room: NDArray[np.uint8] | None = getattr(_own, "room", None)
    _own.room = None
    if room is None or len(room) != limit:
        room = np.empty(limit, np.uint8)  # untouched memory costs nothing
    count = decompress(data, room)
    _own.room = room if count <= _KEPT else None
    return room[:count].tobytes()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the batch inflates to more than {limit} bytes")


_INFLATERS: Final[dict[int, Callable[[memoryview, int], bytes]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}

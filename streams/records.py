"""Kafka's record batches (format v2) read as columns: where each record's key and value stand, no object for any.

    base offset 8 | length 4 | leader epoch 4 | magic 1 | CRC-32C 4 | attributes 2 | last offset delta 4 |
    first time 8 | greatest time 8 | producer 8 + 2 + 4 | count 4 | records, perhaps compressed

A record: length, attributes 1, time delta, offset delta, key length, key, value length, value, headers; lengths and
deltas are zigzag varints. Source: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from contacts.compiled import compiled
from schemas.inflating import check_count, inflate
from streams.spans import Ints, Spans, Views

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM: Final = 21  # what the checksum covers begins behind it
_LENGTH_FROM: Final = 12  # what the length covers begins behind it
_CODEC, _APPEND_TIME, _CONTROL = 0b111, 0b1000, 0b100000
OFFSET, STAMP, KEY, KEY_LENGTH, VALUE, VALUE_LENGTH = range(6)
"""The columns of what is found: deltas of offset and time, and where keys and values begin and how long they are."""

_VARINT_BYTES: Final = 9


INFLATED_MOST: Final = 32 << 20


class CorruptBatch(ValueError):
    """A batch that was cut short or altered on its way: it may be whole when it is fetched again."""


class Unreadable(ValueError):
    """A batch that is as it was sent, and is no batch."""


class Records(NamedTuple):
    """Records as columns of one length: offsets, times in ms, keys, values."""

    offsets: Sequence[int]
    stamps: Sequence[int]
    keys: Spans | Views
    values: Spans | Views


class BatchOfLog(NamedTuple):
    """One batch of the log, unpacked: `found` is (6, records) int64; all times are `max_stamp` if that is given."""

    next_offset: int
    base_offset: int
    first_stamp: int
    max_stamp: int | None
    data: bytes
    found: Ints


def size_of(data: bytes, place: int) -> int | None:
    """How many bytes the batch at `place` has; None where it is cut short."""
    if len(data) - place < _LENGTH_FROM:
        return None
    size = _LENGTH_FROM + int.from_bytes(data[place + 8 : place + 12], "big")
    return size if place + size <= len(data) else None


def is_v2(data: bytes, place: int) -> bool:
    """Whether the batch at `place` is of this format; those of brokers before 0.11 are not."""
    return data[place + 16 : place + 17] == b"\x02"


def unpack(data: bytes, place: int, size: int, *, check: bool, inflated_most: int = INFLATED_MOST) -> BatchOfLog:
    """The batch of `size` bytes at `place`; a control batch has no records.

    Raises CorruptBatch, and where its checksum holds Unreadable, or TooLarge above `inflated_most` bytes.
    """
    if size < _HEAD.size:
        raise CorruptBatch("it is shorter than its own head")
    (base, _, _, _, crc, attributes, last, first_stamp, max_stamp, _, _, _, count) = _HEAD.unpack_from(data, place)
    if check and calc_crc32c(memoryview(data)[place + _CRC_FROM : place + size]) != crc:
        raise CorruptBatch("its checksum does not hold")
    check_count(data, place)
    packed = memoryview(data)[place + _HEAD.size : place + size]
    body = inflate(attributes & _CODEC, packed, inflated_most) if attributes & _CODEC else bytes(packed)
    if attributes & _CONTROL:
        body, count = b"", 0
    found = np.empty((6, min(max(count, 0), len(body))), np.int64)
    if found.shape[1] != count or not _walk(np.frombuffer(body, np.uint8), found):
        raise Unreadable("its records are cut short")
    return BatchOfLog(base + last + 1, base, first_stamp, max_stamp if attributes & _APPEND_TIME else None, body, found)


def joined(batches: Sequence[BatchOfLog], start: int, *, in_place: bool = False) -> Records | None:
    """The records of consecutive batches from offset `start` on; None when there are none.

    `in_place`: keys and values stay in the buffers of their batches, as `Views`.
    """
    parts = [batch for batch in batches if batch.found.shape[1]]
    if not parts:
        return None
    offsets = np.concatenate([batch.found[OFFSET] + batch.base_offset for batch in parts])
    kept = int(np.searchsorted(offsets, start)) if offsets[0] < start else 0
    if kept == len(offsets):
        return None
    stamps = np.concatenate(
        [
            batch.found[STAMP] + batch.first_stamp
            if batch.max_stamp is None
            else np.full(batch.found.shape[1], batch.max_stamp)
            for batch in parts
        ]
    )
    keys, values = (_views(parts, KEY), _views(parts, VALUE)) if in_place else _spans(parts)
    offsets, first, last = offsets[kept:], int(offsets[kept]), int(offsets[-1])
    return Records(
        range(first, last + 1) if last - first + 1 == len(offsets) else array("q", offsets.tobytes()),
        array("q", stamps[kept:].tobytes()),
        keys[kept:],
        values[kept:],
    )


def _spans(parts: Sequence[BatchOfLog]) -> tuple[Spans, Spans]:
    """Keys and values of batches, brought into one buffer."""
    data = parts[0].data if len(parts) == 1 else b"".join(batch.data for batch in parts)
    before = np.cumsum([0, *(len(batch.data) for batch in parts[:-1])]).tolist()
    begins = np.concatenate(
        [batch.found[[KEY, VALUE]] + size for batch, size in zip(parts, before, strict=True)], axis=1
    )
    lengths = np.concatenate([batch.found[[KEY_LENGTH, VALUE_LENGTH]] for batch in parts], axis=1)
    whole = np.frombuffer(data, np.uint8)
    return Spans(whole, begins[0], lengths[0]), Spans(whole, begins[1], lengths[1])


def _views(parts: Sequence[BatchOfLog], column: int) -> Views:
    """Keys or values of batches, where they are."""
    views: list[memoryview | None] = []
    for batch in parts:
        data = memoryview(batch.data)
        begins, lengths = batch.found[column : column + 2].tolist()
        views += [
            None if length < 0 else data[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)
        ]
    return Views(views)


@compiled
def _walk(data: NDArray[np.uint8], found: Ints) -> bool:
    """Find the records of a batch, one for each column of `found`; whether they are all there, and nothing else."""
    at = 0
    for row in range(found.shape[1]):
        length, at = _varint(data, at)
        end = at + length
        if at < 0 or length < 1 or end > len(data):
            return False
        found[STAMP, row], at = _varint(data, at + 1)  # behind the attributes
        if at < 0:
            return False
        found[OFFSET, row], at = _varint(data, at)
        for column in (KEY, VALUE):
            if at < 0:
                return False
            size, at = _varint(data, at)
            if at < 0 or size > end - at:
                return False
            found[column, row], found[column + 1, row] = at, size
            at += max(size, 0)
        at = end  # over the headers
    return at == len(data)


@compiled
def _varint(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends; -1 where it does not."""
    value = np.int64(0)
    for place in range(_VARINT_BYTES):
        if at + place >= len(data):
            return 0, -1
        part = np.int64(data[at + place])
        value |= (part & 127) << (7 * place)
        if part < 128:
            return int((value >> 1) ^ -(value & 1)), at + place + 1
    return 0, -1

"""Batches of the log as columns: the same records as aiokafka reads, whatever the codec; damage is told."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import pytest
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams.records import CorruptBatch, is_v2, joined, size_of, unpack

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
_STAMP = 1_634_749_200_000

Row = tuple[int, int, bytes | None, bytes | None]


def batch_of(chance: random.Random, base: int, codec: int, *, gaps: bool = False) -> tuple[bytes, int]:
    """A batch of random records as a broker keeps it, and the offset behind it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    delta = 0
    for _ in range(chance.randrange(1, 40)):
        key = None if chance.random() < 0.2 else chance.randbytes(chance.choice((0, 1, 35, 200)))
        value = None if chance.random() < 0.2 else chance.randbytes(chance.choice((0, 1, 63, 64, 9000)))
        headers = [("h", chance.randbytes(3)), ("none", None)] if chance.random() < 0.2 else []
        builder.append(delta, _STAMP + chance.randrange(-5, 100_000), key, value, headers)
        delta += chance.choice((1, 2, 100)) if gaps else 1
    batch = bytearray(builder.build())
    batch[:8] = base.to_bytes(8, "big")  # the checksum does not cover it
    return bytes(batch), base + struct.unpack_from(">i", batch, 23)[0] + 1


def ours(data: bytes, start: int, *, in_place: bool) -> list[Row]:
    """The records from an offset on, by the reader under test."""
    place, batches = 0, []
    while (size := size_of(data, place)) is not None:
        assert is_v2(data, place)
        batches.append(unpack(data, place, size, check=True))
        place += size
    records = joined(batches, start, in_place=in_place)
    return [] if records is None else list(zip(*records, strict=True))


def theirs(data: bytes, start: int) -> list[Row]:
    """The same by aiokafka."""
    log, rows = MemoryRecords(data), []
    while log.has_next():
        batch = log.next_batch()
        assert batch is not None and batch.validate_crc()
        if not batch.is_control_batch:
            rows += [(r.offset, r.timestamp, r.key, r.value) for r in batch if r.offset >= start]
    return rows


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("seed", range(6))
def test_records_are_those_that_aiokafka_reads(codec: int, seed: int) -> None:
    chance = random.Random(f"{codec} {seed}")
    data, offset = b"", chance.choice((0, 5, 1 << 40))
    starts = [offset]
    for _ in range(chance.randrange(1, 4)):
        batch, offset = batch_of(chance, offset, codec, gaps=seed % 2 == 1)
        data += batch
        starts.append(offset)
    cut = chance.randrange(60)
    for start in (*starts, starts[0] + 1, offset - 1):
        for in_place in (False, True):
            assert ours(data + data[:cut], start, in_place=in_place) == theirs(data + data[:cut], start)


def test_a_log_of_one_batch_is_a_range_and_a_compacted_one_is_not() -> None:
    chance = random.Random(3)
    for gaps in (False, True):
        data, after = batch_of(chance, 7, LZ4, gaps=gaps)
        records = joined([unpack(data, 0, len(data), check=True)], 0)
        assert records is not None
        assert isinstance(records.offsets, range) is not gaps
        assert records.offsets[0] == 7 and records.offsets[-1] < after
        assert [type(each[0]) for each in (records.offsets, records.stamps)] == [int, int]


def test_a_batch_of_log_append_time_has_one_time() -> None:
    batch = bytearray(batch_of(random.Random(1), 0, NONE)[0])
    batch[22] |= 0b1000
    data = bytes(batch)
    records = joined([unpack(data, 0, len(data), check=False)], 0)
    assert records is not None
    assert set(records.stamps) == {struct.unpack_from(">q", data, 35)[0]}


def test_a_control_batch_has_no_records() -> None:
    batch = bytearray(batch_of(random.Random(1), 0, NONE)[0])
    batch[22] |= 0b100000
    data = bytes(batch)
    unpacked = unpack(data, 0, len(data), check=False)
    assert joined([unpacked], 0) is None
    assert unpacked.next_offset > 0


@pytest.mark.parametrize("codec", [NONE, LZ4])
def test_damage_is_told(codec: int) -> None:
    """A flipped bit never passes the checksum; without the checksum, no damage reads beyond the batch."""
    chance = random.Random(codec)
    for _ in range(100):
        data = batch_of(chance, 0, codec)[0]
        damaged = bytearray(data)
        damaged[chance.randrange(21, len(data))] ^= 1 << chance.randrange(8)
        with pytest.raises(CorruptBatch):
            unpack(bytes(damaged), 0, len(damaged), check=True)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.choice((*range(57, 61), *range(61, len(data))))] = chance.randrange(256)
        _read_anyhow(bytes(damaged), len(data))
        _read_anyhow(data[: chance.randrange(12, len(data))], None)


def _read_anyhow(data: bytes, size: int | None) -> None:
    try:
        unpacked = unpack(data, 0, len(data) if size is None else size, check=False)
    except ValueError:
        return
    begins, lengths = unpacked.found[[2, 4]], unpacked.found[[3, 5]]
    assert (begins >= 0).all() and (begins + lengths.clip(0) <= len(unpacked.data)).all()
    ends: Sequence[int] = (begins + lengths.clip(0)).max(axis=0, initial=0).tolist()
    assert list(ends) == sorted(ends)

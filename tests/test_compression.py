"""What aiokafka sends is compressed at the fast level, and can be read."""

from __future__ import annotations

from aiokafka.codec import lz4_encode
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from streams.compression import LEVEL, use_fast_lz4


def built(value: bytes) -> bytes:
    """A batch of one record as a producer sends it."""
    builder = DefaultRecordBatchBuilder(2, 3, 0, -1, -1, -1, 1_000_000)
    assert builder.append(0, timestamp=0, key=None, value=value, headers=[]) is not None
    return bytes(builder.build())


def test_producers_compress_at_the_fast_level() -> None:
    value = b"".join(b"%d,%d;" % (number, number * number % 9973) for number in range(20_000))
    use_fast_lz4()
    sent = built(value)
    fast, thorough = len(lz4_encode(value, level=LEVEL)), len(lz4_encode(value, level=9))
    assert fast > thorough
    assert abs(len(sent) - fast) < 200
    assert [record.value for record in DefaultRecordBatch(sent)] == [value]

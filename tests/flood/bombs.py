"""Batches of the log that are small as they travel and hundreds of megabytes inflated, and batches of empty records."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiokafka.producer.message_accumulator import BatchBuilder

_CODECS: Final = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_MEGABYTES: Final = {"gzip": 256, "snappy": 100, "lz4": 256, "zstd": 256}
"""How much each inflates to: snappy makes a twentieth of zeros, and a broker takes 8 MiB."""
_EMPTY_RECORDS: Final = 1_000_000
_RECORD: Final = 1 << 20


class Bomb(NamedTuple):
    """How a batch is made: its codec and what it holds."""

    codec: str
    kind: str

    def builder(self) -> BatchBuilder:
        """A batch that a producer sends as it is."""
        made = BatchBuilder(1 << 30, _CODECS[self.codec])
        if self.kind == "empty records":
            for _ in range(_EMPTY_RECORDS):
                made.append(timestamp=0, key=b"", value=b"")
        elif self.kind == "one record":
            made.append(timestamp=0, key=b"bomb", value=bytes(_MEGABYTES[self.codec] * _RECORD))
        else:
            for _ in range(_MEGABYTES[self.codec]):
                made.append(timestamp=0, key=b"bomb", value=bytes(_RECORD))
        made.close()
        return made


BOMBS: Final = (
    *(Bomb(codec, kind) for codec in _CODECS for kind in ("one record", "many records")),
    Bomb("zstd", "empty records"),
)

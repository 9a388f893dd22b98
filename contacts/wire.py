"""Blocks of visits as they travel: their names stay the bytes they came in, so that no row costs a Python object.

A block has about as many names as rows, and nearly all have been seen before. So they are not decoded: pseudonyms are
read as the numbers they are, and of lineages a compiled loop says where each lies, for others to look them up by bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints
from contacts.compiled import compiled
from contacts.pseudonyms import DIGITS, People, pseudonyms_in
from schemas.blocks import VISIT_COLUMNS, BlockError, Lineage, PlacedControl, VisitBlock
from schemas.bounds import UNDECODABLE, LogTimeMs, Offset, Partition

Bytes = NDArray[np.uint8]

_ROW_BYTES: Final = 8 * len(VISIT_COLUMNS)
_NONE: Final = msgspec.Raw(b"\x90")
_TEXT: Final = 0xD9  # of MessagePack: a string of 32 to 255 bytes, whose length follows


class WireBlock(msgspec.Struct, frozen=True, array_like=True):
    """A `VisitBlock` that is still where it came: its rows, and its lineages and persons in MessagePack, which
    `lineages_of` and `persons_of` read."""

    source_partition: Partition
    first_offset: Offset
    next_offset: Offset
    log_time_ms: LogTimeMs
    lineages: msgspec.Raw = _NONE
    persons: msgspec.Raw = _NONE
    rows: memoryview = memoryview(b"")
    controls: list[PlacedControl] = []
    recorded_ms: int = 0

    @property
    def count(self) -> int:
        """How many whole rows there are."""
        return len(self.rows) // _ROW_BYTES


WIRE_BLOCKS: Final = msgspec.msgpack.Decoder(WireBlock)
_PERSONS: Final = msgspec.msgpack.Decoder(list[str])
_LINEAGES: Final = msgspec.msgpack.Decoder(list[Lineage])


@dataclass(frozen=True, slots=True)
class Written:
    """Many short pieces of bytes: the n-th is `data[begins[n]:begins[n] + lengths[n]]`."""

    data: Bytes
    begins: Ints
    lengths: Ints

    def __len__(self) -> int:
        return len(self.begins)

    def pieces(self, chosen: Ints | NDArray[np.bool_] | slice = slice(None)) -> list[bytes]:
        """The chosen ones, or all."""
        whole, begins = self.data.tobytes(), self.begins[chosen]
        return [
            whole[begin:end]
            for begin, end in zip(begins.tolist(), (begins + self.lengths[chosen]).tolist(), strict=True)
        ]

    @classmethod
    def of_pieces(cls, pieces: Sequence[bytes]) -> Written:
        """Those of a list, end to end."""
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        return cls(np.frombuffer(b"".join(pieces), np.uint8), np.cumsum(lengths) - lengths, lengths)


def as_wire(block: VisitBlock) -> WireBlock:
    """A block that was made in this process, as others would receive it."""
    return WIRE_BLOCKS.decode(msgspec.msgpack.encode(block))


def persons_of(packed: msgspec.Raw) -> People:
    """The names in an array of strings. Raises BlockError when it is something else."""
    data = np.frombuffer(packed, np.uint8)
    count, at = _array_of(data)
    width, rest = divmod(len(data) - at, max(count, 1))
    if count > 0 and not rest and width > DIGITS and data[at] == _TEXT and data[at + 1] == width - 2:
        found = pseudonyms_in(data[at:].reshape(count, width), 2)
        if found is not None:
            return found
    try:
        return _PERSONS.decode(packed)
    except UNDECODABLE as error:
        raise BlockError(f"the block's persons are not understood: {error}") from error


def lineages_of(packed: msgspec.Raw) -> Written:
    """The elements of an array of lineages, each as it is written. Raises BlockError when it is no array.

    That each is a lineage is not looked at: `lineage_in` does, for those not seen before.
    """
    found = _walked(packed)
    if found is None:
        try:
            each = [msgspec.msgpack.encode(lineage) for lineage in _LINEAGES.decode(packed)]
        except UNDECODABLE as error:
            raise BlockError(f"the block's lineages are not understood: {error}") from error
        found = Written.of_pieces(each)
    return found


_LINEAGE: Final = msgspec.msgpack.Decoder(Lineage)


def lineage_in(written: bytes) -> Lineage:
    """The lineage that an element of `lineages_of` is. Raises BlockError when it is none."""
    try:
        return _LINEAGE.decode(written)
    except UNDECODABLE as error:
        raise BlockError(f"the block's lineages are not understood: {error}") from error


def _array_of(data: Bytes) -> tuple[int, int]:
    """How many elements an array has and where the first begins; -1 elements where it is no array."""
    kind = int(data[0])
    if kind & 0xF0 == 0x90:
        return kind & 15, 1
    if kind not in (0xDC, 0xDD):
        return -1, 0
    at = 3 if kind == 0xDC else 5
    return int.from_bytes(data[1:at].tobytes(), "big"), at


def _walked(packed: msgspec.Raw) -> Written | None:
    """Where the elements of an array lie; None where `_walk` cannot say."""
    data = np.frombuffer(packed, np.uint8)
    count, at = _array_of(data)
    if not 0 <= count <= len(data):
        return None
    begins, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    return Written(data, begins, lengths) if _walk(data, at, begins, lengths) else None


@compiled
def _walk(data: Bytes, at: int, begins: Ints, lengths: Ints) -> bool:
    """Fill in where elements lie, which are well-formed MessagePack: strings, or arrays of strings and of such arrays.
    Whether all of them are."""
    for row in range(len(begins)):
        begins[row] = at
        left = 1
        while left > 0:
            left -= 1
            kind: Any = np.int64(data[at])
            size: Any = 0
            at += 1
            if 0xA0 <= kind < 0xC0:
                size = kind & 31
            elif 0x90 <= kind < 0xA0:
                left += kind & 15
            elif 0xD9 <= kind <= 0xDD:
                wide = (1, 2, 4, 2, 4)[kind - 0xD9]
                for place in range(wide):
                    size = size << 8 | np.int64(data[at + place])
                at += wide
                if kind >= 0xDC:
                    left += size
                    size = 0
            else:
                return False
            at += size
        lengths[row] = at - begins[row]
    return True

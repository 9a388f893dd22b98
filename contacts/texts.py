"""Names to dense numbers and back, straight from the bytes they travel in: no Python object for each."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints
from contacts.compiled import compiled

Bytes = NDArray[np.uint8]
Ints32 = NDArray[np.int32]

_PRIME: Final = 2**31 - 1
_LENGTH_BITS: Final = 24  # more than the largest record has bytes
_LONGEST: Final = 2**_LENGTH_BITS - 1
AHEAD: Final = 128
"""So many rows at a time: first a look at what memory they need, so that it is fetched for all of them at once."""


class Texts:
    """Texts by number and numbers by text. Numbers are given in order of first sight; `keep` gives all of them anew.

    Held as UTF-8, end to end: text n is `data[begins[n]:begins[n + 1]]`.
    """

    def __init__(self) -> None:
        self._factor = secrets.randbelow(_PRIME >> 1) + (_PRIME >> 1)  # who sends names must not know which ones meet
        self._clear()

    def _clear(self) -> None:
        self.data: Bytes = np.empty(1 << 12, np.uint8)
        self.begins: Ints = np.zeros(1 << 8, np.int64)
        self._table: Ints = np.full((1 << 9, 2), -1)  # hash << 32 | number, begin << 24 | length
        self._count = 0

    def __len__(self) -> int:
        """How many numbers have been given."""
        return self._count

    def take(self, texts: Sequence[str]) -> Ints:
        """The numbers of texts, new ones for those not known: int64, shape (len(texts),)."""
        text = "".join(texts)
        if text.isascii():
            data, lengths = text.encode("ascii"), np.array(list(map(len, texts)), np.int64)
        else:
            encoded = [each.encode("utf-8", "surrogatepass") for each in texts]
            data, lengths = b"".join(encoded), np.array(list(map(len, encoded)), np.int64)
        return self.take_spans(np.frombuffer(data, np.uint8), np.cumsum(lengths) - lengths, lengths)

    def take_spans(self, data: Bytes, begins: Ints, lengths: Ints) -> Ints:
        """The numbers of the texts `data[begins[i]:begins[i] + lengths[i]]`, which are UTF-8.

        Raises ValueError when one has 16 MiB or more.
        """
        if len(lengths) and lengths.max() > _LONGEST:
            raise ValueError("a name of 16 MiB or more")
        self._make_room(len(begins), int(lengths.sum()))
        data = data.view()
        data.flags.writeable = False  # as bytes are: one compiled function for both
        found = np.empty(len(begins), np.int64)
        self._count = _take(
            data, begins, lengths, self.data, self.begins, self._table, self._count, self._factor, found
        )
        return found

    def text(self, number: int) -> str:
        """The text of a number."""
        return self.data[self.begins[number] : self.begins[number + 1]].tobytes().decode("utf-8", "surrogatepass")

    def texts(self, numbers: Ints) -> list[str]:
        """The texts of numbers."""
        data = self.data.data
        begins, ends = self.begins[numbers].tolist(), self.begins[numbers + 1].tolist()
        return [str(data[begin:end], "utf-8", "surrogatepass") for begin, end in zip(begins, ends, strict=True)]

    def packed(self, numbers: Ints) -> bytes:
        """The texts of numbers as one MessagePack array of strings."""
        room = int((self.begins[numbers + 1] - self.begins[numbers]).sum()) + 5 * len(numbers) + 5
        packed = np.empty(room, np.uint8)
        return packed[: _pack(self.data, self.begins, numbers, packed)].tobytes()

    def keep(self, numbers: Ints) -> None:
        """Forget all but these; `numbers[n]` becomes n."""
        data, begins, lengths = self.data, self.begins[numbers], self.begins[numbers + 1] - self.begins[numbers]
        self._clear()
        self.take_spans(data, begins, lengths)

    def dump(self) -> list[bytes]:
        """The whole state."""
        lengths = np.diff(self.begins[: self._count + 1]).astype("<i4")
        return [self.data[: self.begins[self._count]].tobytes(), lengths.tobytes()]

    @classmethod
    def load(cls, parts: Sequence[bytes]) -> Texts:
        """What `dump` gave."""
        loaded = cls()
        lengths = np.frombuffer(parts[1], "<i4").astype(np.int64)
        loaded.take_spans(np.frombuffer(parts[0], np.uint8), np.cumsum(lengths) - lengths, lengths)
        return loaded

    def _make_room(self, more: int, more_bytes: int) -> None:
        used = int(self.begins[self._count])
        if used + more_bytes > len(self.data):
            self.data = grown(self.data, used + more_bytes)
        if self._count + more + 1 > len(self.begins):
            self.begins = grown(self.begins, self._count + more + 1)
        if 3 * (self._count + more) > 2 * len(self._table):
            size = len(self._table)
            while 3 * (self._count + more) > 2 * size:
                size *= 2
            table = np.full((size, 2), -1)
            _refill(self._table, table)
            self._table = table


def grown(column: NDArray[Any], needed: int, fill: int | None = None) -> NDArray[Any]:
    """A column with room for at least `needed` rows, half as much again as it had; `fill` is put into the new ones."""
    wider = np.empty((max(needed, len(column) * 3 // 2), *column.shape[1:]), column.dtype)
    wider[: len(column)] = column
    if fill is not None:
        wider[len(column) :] = fill
    return wider


@compiled
def _take(
    source: Bytes, starts: Ints, lengths: Ints, data: Bytes, begins: Ints, table: Ints, count: int, factor: int,
    found: Ints,
) -> int:  # fmt: skip
    """Each span's number into `found`; unknown ones become known. Returns how many are known then."""
    mask = len(table) - 1
    hashes = np.empty(AHEAD, np.int64)
    for first in range(0, len(starts), AHEAD):
        stop = min(first + AHEAD, len(starts))
        for row in range(first, stop):
            hashes[row - first] = _hash(source, starts[row], lengths[row], factor)
        for row in range(first, stop):
            value = hashes[row - first]
            found[row] = table[(value ^ value >> 13) & mask, 1]
        for row in range(first, stop):
            found[row] = data[max(found[row] >> _LENGTH_BITS, 0)]
        for row in range(first, stop):
            start, length, value = starts[row], lengths[row], hashes[row - first]
            slot = (value ^ value >> 13) & mask
            while True:
                entry, place = table[slot, 0], table[slot, 1]
                if entry < 0:
                    begin = begins[count]
                    for at in range(length):
                        data[begin + at] = source[start + at]
                    begins[count + 1] = begin + length
                    table[slot, 0], table[slot, 1] = value << 32 | count, begin << _LENGTH_BITS | length
                    found[row] = count
                    count += 1
                    break
                if entry >> 32 == value and place & _LONGEST == length:
                    begin = place >> _LENGTH_BITS
                    unlike: Any = 0
                    for at in range(length):
                        unlike |= np.int64(data[begin + at] ^ source[start + at])
                    if unlike == 0:
                        found[row] = entry & 0xFFFFFFFF
                        break
                slot = (slot + 1) & mask
    return count


@compiled
def _hash(source: Bytes, start: int, length: int, factor: int) -> int:
    """A polynomial modulo 2**31 - 1, four bytes a step."""
    value: Any = np.int64(length)
    whole = start + length - length % 4
    for at in range(start, whole, 4):
        low = np.int64(source[at]) | np.int64(source[at + 1]) << 8
        high = np.int64(source[at + 2]) | np.int64(source[at + 3]) << 8
        value = value * factor + (low | high << 16)
        value = (value & _PRIME) + (value >> 31)
        value = (value & _PRIME) + (value >> 31)
    for at in range(whole, start + length):
        value = value * factor + np.int64(source[at])
        value = (value & _PRIME) + (value >> 31)
        value = (value & _PRIME) + (value >> 31)
    return int(value & _PRIME)


@compiled
def _refill(old: Ints, table: Ints) -> None:
    """Put what the old table has into an empty one."""
    mask = len(table) - 1
    for row in range(len(old)):
        if old[row, 0] >= 0:
            value = old[row, 0] >> 32
            slot = (value ^ value >> 13) & mask
            while table[slot, 0] >= 0:
                slot = (slot + 1) & mask
            table[slot, 0], table[slot, 1] = old[row, 0], old[row, 1]


@compiled
def _four_bytes(number: int, packed: Bytes, at: int) -> int:
    for place in range(4):
        packed[at + place] = number >> (24 - 8 * place) & 255
    return 4


@compiled
def _pack(data: Bytes, begins: Ints, numbers: Ints, packed: Bytes) -> int:
    """MessagePack of an array of strings into `packed`; returns how many bytes it has."""
    count = len(numbers)
    if count < 16:
        packed[0] = 0x90 | count
        used = 1
    elif count < 1 << 16:
        packed[0], packed[1], packed[2] = 0xDC, count >> 8, count & 255
        used = 3
    else:
        packed[0] = 0xDD
        used = 1 + _four_bytes(count, packed, 1)
    touched: Any = 0
    for row in range(count):
        if row % AHEAD == 0:
            for ahead in range(row, min(row + AHEAD, count)):
                touched |= begins[numbers[ahead]]
            for ahead in range(row, min(row + AHEAD, count)):
                touched |= np.int64(data[begins[numbers[ahead]]])
        begin = begins[numbers[row]]
        length = begins[numbers[row] + 1] - begin
        if length < 32:
            packed[used] = 0xA0 | length
            used += 1
        elif length < 256:
            packed[used], packed[used + 1] = 0xD9, length
            used += 2
        elif length < 1 << 16:
            packed[used], packed[used + 1], packed[used + 2] = 0xDA, length >> 8, length & 255
            used += 3
        else:
            packed[used] = 0xDB
            used += 1 + _four_bytes(length, packed, used + 1)
        for at in range(length):
            packed[used + at] = data[begin + at]
        used += length
    return used if touched >= 0 else touched  # so that no compiler leaves the touching out

"""Pseudonyms, `KEY_ID:32 hex digits`, as two 64-bit halves: many at once, from texts or bytes, and back."""

from __future__ import annotations

import re
from binascii import Error as BinasciiError
from binascii import unhexlify
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints
from contacts.compiled import compiled

_KEY_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
PSEUDONYM: Final = re.compile(rf"({_KEY_ID.pattern}):([0-9a-f]{{32}})")
DIGITS: Final = 32
_BYTES: Final = 16
_SMALL_LETTERS: Final = np.uint64(0x2020202020202020)  # a bit that digits and small letters have, and capitals have not

Bytes = NDArray[np.uint8]

DIGIT_OF: Final = np.full(256, -1)
"""What each byte is as a hexadecimal digit in small letters, -1 where it is none."""

DIGIT_OF[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


@dataclass(frozen=True)
class Pseudonyms:
    """Persons of one key: `halves` (n, 2) are unsigned, so that they stand in the order of the names."""

    key_id: str
    halves: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.halves)

    def texts(self) -> list[str]:
        """The names."""
        digits, key = self.data().hex(), f"{self.key_id}:"
        return [key + digits[first : first + DIGITS] for first in range(0, len(digits), DIGITS)]

    def data(self) -> bytes:
        """The 16 bytes of each, one after the other."""
        return self.halves.astype(">u8").tobytes()

    @classmethod
    def of_data(cls, key_id: str, data: bytes) -> Pseudonyms:
        """What `data` gave. Raises ValueError where it cannot have given that."""
        if _KEY_ID.fullmatch(key_id) is None or len(data) % _BYTES:
            raise ValueError("these are no pseudonyms")
        return cls(key_id, np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2))


People = Pseudonyms | list[str]
"""Persons by name: of one key, or whatever they are."""


def people_of(names: Sequence[str]) -> People:
    """Persons whose names are texts."""
    head = head_of(names)
    halves = halves_of(names, head) if head is not None else None
    if head is None or halves is None:
        return list(names)
    return Pseudonyms(head[:-1], halves.astype(np.uint64))


def texts_of(people: People) -> list[str]:
    """The names of persons."""
    return people if isinstance(people, list) else people.texts()


def chosen(people: People, numbers: Ints) -> People:
    """Some of the persons, by their places."""
    if isinstance(people, list):
        return [people[number] for number in numbers.tolist()]
    return Pseudonyms(people.key_id, people.halves[numbers])


def head_of(names: Sequence[str]) -> str | None:
    """The key id and colon with which all begin if they are pseudonyms of one key, as `halves_of` finds out.

    None where the first is none, or not all are as long.
    """
    first = PSEUDONYM.fullmatch(names[0]) if names else None
    if first is None or set(map(len, names)) != {len(names[0])}:
        return None
    return f"{first[1]}:"


def halves_of(names: Sequence[str], head: str) -> NDArray[Any] | None:
    """The two halves of names of one width, each a row; None unless all are `head` and then 32 digits."""
    try:
        text = np.frombuffer("".join(names).encode("ascii"), np.uint8).reshape(-1, len(head) + DIGITS)
        digits = text[:, len(head) :].tobytes()
        halves = np.frombuffer(unhexlify(digits), ">i8").reshape(-1, 2)
    except (UnicodeEncodeError, BinasciiError):
        return None
    small = np.frombuffer(digits, np.uint64) & _SMALL_LETTERS == _SMALL_LETTERS
    alike = text[:, : len(head)] == np.frombuffer(head.encode("ascii"), np.uint8)
    return halves if small.all() and alike.all() else None


@compiled
def read_halves(data: Bytes, begins: Ints, lengths: Ints, head: Bytes, digits: Ints, high: Ints, low: Ints) -> bool:
    """Fill in the halves of the names at `begins`, as long as `lengths` say; whether all are `head` and 32 digits.

    `digits` is DIGIT_OF.
    """
    width = len(head) + 32
    for row in range(len(begins)):
        if lengths[row] != width:
            return False
        at, unlike = begins[row], np.int64(0)
        for place in range(len(head)):
            if data[at + place] != head[place]:
                unlike = np.int64(-1)
        at += len(head)
        first, second = np.int64(0), np.int64(0)
        for place in range(at, at + 16):
            one, other = digits[data[place]], digits[data[place + 16]]
            first, second = first << 4 | one, second << 4 | other
            unlike |= one | other
        if unlike < 0:
            return False
        high[row], low[row] = first, second
    return True

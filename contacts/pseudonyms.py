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


def together(parts: Sequence[People]) -> People:
    """The persons of all parts, one part after the other."""
    alike = [part for part in parts if isinstance(part, Pseudonyms)]
    if not alike or len(alike) < len(parts) or len({part.key_id for part in alike}) > 1:
        return [name for part in parts for name in texts_of(part)]
    return Pseudonyms(alike[0].key_id, np.concatenate([part.halves for part in alike]))


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


def pseudonyms_in(table: Bytes, skipped: int) -> Pseudonyms | None:
    """Persons whose names are the rows of a table of bytes (in one piece), behind the first few of each.

    None unless they are pseudonyms of one key, and the first few alike in all.
    """
    first = PSEUDONYM.fullmatch(table[0, skipped:].tobytes().decode("ascii", "replace"))
    if first is None:
        return None
    halves = np.empty((len(table), 2), np.uint64)
    count, width = table.shape
    eights: Ints = np.ndarray((count, DIGITS // 8), "<i8", table, width - DIGITS, (width, 8))
    return Pseudonyms(first[1], halves) if _read(table, eights, halves.view(np.int64)) else None


@compiled
def _read(table: Bytes, eights: Ints, halves: Ints) -> bool:
    """Fill in the halves of names whose last 32 digits are `eights`, eight letters in a number, the first the lowest;
    whether they are digits, and what is before them is alike in all.

    Eight letters are worked on at once. A digit has bits 3 and its value, a small letter 6 and its value less 9.
    """
    for row in range(len(eights)):
        wrong = np.int64(0)
        for place in range(table.shape[1] - 32):
            wrong |= np.int64(table[row, place] ^ table[0, place])
        for half in range(2):
            both = np.int64(0)
            for eight in range(2 * half, 2 * half + 2):
                text = eights[row, eight]
                letter = (text >> 6) & 0x0101010101010101
                value = (text & 0x0F0F0F0F0F0F0F0F) + 9 * letter
                wrong |= (text & -0x0F0F0F0F0F0F0F10) ^ (0x3030303030303030 + 0x30 * letter)
                wrong |= (value >> 4) & 0x0101010101010101  # above 15
                wrong |= ((value + 0x0606060606060606) >> 4 & 0x0101010101010101) ^ letter  # from 10 on, or below
                value = (value & 0x000F000F000F000F) << 4 | (value >> 8) & 0x000F000F000F000F
                value = (value & 0x000000FF000000FF) << 8 | (value >> 16) & 0x000000FF000000FF
                both = both << 32 | (value & 0xFFFF) << 16 | (value >> 32) & 0xFFFF
            halves[row, half] = both
        if wrong != 0:
            return False
    return True

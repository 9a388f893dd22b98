"""JSON scans read where they stand: a whole batch of them at once, without an object for any.

Only the plainest lines are read here: the fields of a scan once each, strings of printable ASCII without escapes, short
whole numbers. What is said in any other way is left to msgspec, so that this reader need not know what JSON may be.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from contacts.columns import Ints
from contacts.compiled import compiled
from contacts.texts import Bytes
from schemas.blocks import KINDS
from schemas.bounds import TIME_MOST

PERSON, PERSON_LENGTH, VENUE, VENUE_LENGTH, KIND, AT, ARRIVED, PLAIN = range(8)
"""The columns of what is read, int64: where the names begin and their lengths in bytes, the kind (index into KINDS),
the times in ms (ARRIVED: NOT_GIVEN where there is none), and whether the line was read at all."""

NOT_GIVEN: Final = -(1 << 62)

_QUOTE, _COLON, _COMMA, _MINUS, _ZERO, _NINE = b'":,-09'
_OPEN, _CLOSE, _SPACE = b"{} "
_NAME_BYTES: Final = 200  # contacts.registry.is_name
_NEEDED: Final = 0b1111  # the first four fields
_F_PERSON, _F_VENUE, _F_KIND, _F_AT, _F_ARRIVED = range(5)


def _words(*words: str) -> tuple[Bytes, Ints]:
    """Words as the rows of a table, and their lengths."""
    return np.array([list(word.ljust(16).encode()) for word in words], np.uint8), np.array(list(map(len, words)))


_IN_STRING: Final = np.array([32 <= byte <= 126 and byte not in b'"\\' for byte in range(256)])
_FIELDS, _FIELD_LENGTHS = _words("person", "venue", "kind", "at_ms", "arrived_at_ms", "scan_id", "gateway")
_KINDS, _KIND_LENGTHS = _words(*KINDS)


def read_lines(data: Bytes, begins: Ints, lengths: Ints) -> Ints:
    """What the lines `data[begins[i]:begins[i] + lengths[i]]` say: int64, one row each, columns as above."""
    found = np.zeros((len(begins), 8), np.int64)
    _read(data, begins, lengths, found)
    return found


@compiled
def _read(data: Bytes, begins: Ints, lengths: Ints, found: Ints) -> None:
    for row in range(len(begins)):
        found[row, ARRIVED] = NOT_GIVEN
        found[row, PLAIN] = _line(data, begins[row], begins[row] + lengths[row], found[row])


@compiled
def _line(data: Bytes, at: int, stop: int, out: Ints) -> int:
    """Read one line from `at` on; 1 when it was plain, ended at `stop`, and had all that a scan needs."""
    if at >= stop or data[at] != _OPEN:
        return 0
    seen = 0
    mark = _COMMA
    while mark == _COMMA:
        at = _over_space(data, at + 1, stop)
        end = _string(data, at, stop)
        if end < 0:
            return 0
        field = _word(data, at + 1, end, _FIELDS, _FIELD_LENGTHS)
        if field < 0 or seen >> field & 1:
            return 0
        seen |= 1 << field
        at = _over_space(data, end + 1, stop)
        if at >= stop or data[at] != _COLON:
            return 0
        at = _over_space(data, at + 1, stop)
        if field in (_F_AT, _F_ARRIVED):
            end = _number(data, at, stop, out, AT if field == _F_AT else ARRIVED)
        else:
            end = _string(data, at, stop)
            if field == _F_PERSON:
                out[PERSON], out[PERSON_LENGTH] = at + 1, end - at - 1
            elif field == _F_VENUE:
                out[VENUE], out[VENUE_LENGTH] = at + 1, end - at - 1
            elif field == _F_KIND:
                out[KIND] = _word(data, at + 1, end, _KINDS, _KIND_LENGTHS)
            end += 1
        if end <= 0:
            return 0
        at = _over_space(data, end, stop)
        if at >= stop:
            return 0
        mark = data[at]
    whole = mark == _CLOSE and at + 1 == stop and seen & _NEEDED == _NEEDED and out[KIND] >= 0
    if whole and 0 < out[PERSON_LENGTH] <= _NAME_BYTES and 0 < out[VENUE_LENGTH] <= _NAME_BYTES:
        return 1
    return 0


@compiled
def _over_space(data: Bytes, at: int, stop: int) -> int:
    while at < stop and data[at] == _SPACE:
        at += 1
    return at


@compiled
def _string(data: Bytes, at: int, stop: int) -> int:
    """Where the string that begins at `at` has its closing quote; -1 where there is no plain string."""
    if at >= stop or data[at] != _QUOTE:
        return -1
    at += 1
    while at < stop and _IN_STRING[data[at]]:
        at += 1
    return at if at < stop and data[at] == _QUOTE else -1


@compiled
def _word(data: Bytes, begin: int, end: int, words: Bytes, lengths: Ints) -> int:
    """Which of the words stands there; -1: none."""
    for word in range(len(lengths)):
        length = lengths[word]
        if end - begin == length:
            at = 0
            while at < length and data[begin + at] == words[word, at]:
                at += 1
            if at == length:
                return word
    return -1


@compiled
def _number(data: Bytes, at: int, stop: int, out: Ints, column: int) -> int:
    """Read a whole number; returns where it ends, -1 where it is not a plain one."""
    sign = 1
    if at < stop and data[at] == _MINUS:
        sign = -1
        at += 1
    first = at
    value = np.int64(0)
    while at < stop and _ZERO <= data[at] <= _NINE and at - first < 17:
        value = value * 10 + np.int64(data[at]) - _ZERO
        at += 1
    if at == first or at - first > 16 or (data[first] == _ZERO and at > first + 1) or value > TIME_MOST:
        return -1
    if value == 0 and sign < 0:
        return -1
    out[column] = sign * value
    return at

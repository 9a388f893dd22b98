"""Columns that grow: numpy arrays of one length, appended to in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contacts.sorting import sort_words

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def ints(values: object) -> Ints:
    """A new or the same int64 array."""
    return np.asarray(values, dtype=np.int64)


def distinct(values: Ints) -> Ints:
    """The values in order, each once. (Sorting is several times faster here than the hashing of `np.unique`.)"""
    values = sort_words(np.array(values))
    return values[begins(values)]


def begins(values: NDArray[Any]) -> Bools:
    """Where each run of equal values begins."""
    first: Bools = np.concatenate((np.ones(min(len(values), 1), np.bool_), values[1:] != values[:-1]))
    return first


def numbered(values: Ints) -> tuple[Ints, Ints]:
    """The values in order, each once, and for each row the place of its value there."""
    order = ordered(values)
    along = values[order]
    first = begins(along)
    place = np.empty(len(along), np.int64)
    place[order] = np.cumsum(first) - 1
    return along[first], place


def ordered(key: Ints) -> Ints:
    """The order of rows by their keys, none of which is below 0; equal ones stay in order.

    Sorting numbers is several times faster than sorting indexes: so each key takes its row along, where there is room.
    """
    bits = len(key).bit_length()
    if len(key) and int(key.max()).bit_length() + bits > 62:
        return np.argsort(key, kind="stable")
    return sort_words((key << bits) | np.arange(len(key)), bits) & ((1 << bits) - 1)


def among(values: Ints, wanted: Ints) -> Bools:
    """Which of the values are among those wanted (sorted)."""
    if not len(wanted):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    found: Bools = wanted[place] == values
    return found


def side_by_side(rows: int, length: int) -> Ints:
    """A table with room for `length` in each row, that are filled side by side.

    Were its rows a multiple of 4,096 bytes apart, each write would push another row's out of the processor's cache.
    """
    return np.empty((rows, -(-length // 512) * 512 + 72), np.int64)


def widened(table: Ints, filled: int, needed: int) -> Ints:
    """Such a table with room for twice as many as are needed, and what the first `filled` places hold."""
    wider = side_by_side(len(table), 2 * needed)
    wider[:, :filled] = table[:, :filled]
    return wider


_ROOM: Final = 4
"""How much more room is taken than is filled. A large array takes no memory where nothing was written yet, and to move
to another one takes longer than a batch does."""

_MANY: Final = 1 << 16
_LARGE: Final = 1 << 24
"""The least room taken for more than `_MANY` rows: there are few reasons to move them again."""


class Columns:
    """Named columns of one length. `columns[name]` is a view of the filled part: fetch it anew after `grow`."""

    def __init__(self, **types: str) -> None:
        self._types = types
        self._arrays: dict[str, NDArray[Any]] = {name: np.empty(0, dtype) for name, dtype in types.items()}
        self._views: dict[str, NDArray[Any]] = dict(self._arrays)
        self.length = 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._views[name]

    def grow(self, count: int, **values: object) -> None:
        """Append `count` rows. Columns not given are zero."""
        first, last = self.length, self.length + count
        self.make_room(last)
        self.length = last
        for name, array in self._arrays.items():
            array[first:last] = values.get(name, 0)
            self._views[name] = array[:last]

    def make_room(self, length: int) -> None:
        """See that there is room for so many rows."""
        for name, array in self._arrays.items():
            if len(array) < length:
                wider = np.empty(max(1024 if length <= _MANY else _LARGE, length * _ROOM), array.dtype)
                wider[: self.length] = array[: self.length]
                self._arrays[name] = wider

    def shorten(self, length: int) -> None:
        """Let go of the rows from `length` on."""
        self.length = length
        for name, array in self._arrays.items():
            self._views[name] = array[:length]

    def drop(self, count: int) -> None:
        """Let go of the first `count` rows, in place: memory that is had already is soon filled again."""
        self.length -= count
        for name, array in list(self._arrays.items()):
            if self.length * _ROOM < count:
                self._arrays[name] = array[count : count + self.length].copy()
            else:
                for first in range(0, self.length, max(count, 1)):  # pieces that do not overlap
                    last = min(first + count, self.length)
                    array[first:last] = array[first + count : last + count]
            self._views[name] = self._arrays[name][: self.length]

    def dump(self, prefix: str) -> dict[str, bytes]:
        """Each column's bytes under `prefix` and its name."""
        return {prefix + name: view.tobytes() for name, view in self._views.items()}

    def load(self, prefix: str, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        held = {name: np.frombuffer(parts[prefix + name], dtype) for name, dtype in self._types.items()}
        self.shorten(0)
        self.grow(len(next(iter(held.values()))), **held)

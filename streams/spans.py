"""Many byte strings as they came in a batch: small ones in one buffer, no object for any; large ones in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Spans(Sequence[bytes | None]):
    """Item i is `data[begins[i]:begins[i] + lengths[i]]`, or None where the length is negative.

    `data` is uint8, the others int64 of one length. An item is made when it is asked for.
    """

    __slots__ = ("begins", "data", "lengths")

    def __init__(self, data: NDArray[np.uint8], begins: Ints, lengths: Ints) -> None:
        self.data = data
        self.begins = begins
        self.lengths = lengths

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Spans:
        """The same values as spans."""
        if isinstance(values, cls):
            return values
        lengths = np.array([-1 if value is None else len(value) for value in values], np.int64)
        sizes = np.maximum(lengths, 0)
        data = np.frombuffer(b"".join(value or b"" for value in values), np.uint8)
        return cls(data, np.cumsum(sizes) - sizes, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> Spans: ...
    def __getitem__(self, index: int | slice) -> bytes | Spans | None:
        """One value, or some of them as spans over the same buffer."""
        if isinstance(index, slice):
            return Spans(self.data, self.begins[index], self.lengths[index])
        length = int(self.lengths[index])
        if length < 0:
            return None
        begin = int(self.begins[index])
        return self.data[begin : begin + length].tobytes()


class Views(Sequence[bytes | None]):
    """Large byte strings where they came, which is in several buffers; `views` are those, and an item is a copy."""

    __slots__ = ("views",)

    def __init__(self, views: list[memoryview | None]) -> None:
        self.views = views

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Views:
        """The same values as views."""
        if isinstance(values, cls):
            return values
        return cls([None if value is None else memoryview(value) for value in values])

    def __len__(self) -> int:
        return len(self.views)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> Views: ...
    def __getitem__(self, index: int | slice) -> bytes | Views | None:
        """One value as bytes, or some of them."""
        if isinstance(index, slice):
            return Views(self.views[index])
        view = self.views[index]
        return None if view is None else bytes(view)

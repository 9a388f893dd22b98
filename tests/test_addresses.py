"""Arrays by their addresses: the same numbers, compiled or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contacts.addresses import address, int64_at, prefetch, uint8_at, uint32_at
from contacts.columns import Ints
from contacts.compiled import compiled


@compiled
def _sums(where: Ints) -> tuple[int, int, int]:
    """The sums of an int64, a uint32 and a uint8 array."""
    prefetch(where[0] + 8)
    prefetch(0)
    words, numbers, bits = int64_at(where[0], where[1]), uint32_at(where[2], where[3]), uint8_at(where[4], where[5])
    return words.sum(), numbers.sum(), bits.sum()


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_the_arrays_at_addresses(count: int) -> None:
    dice = np.random.default_rng(count)
    arrays: list[NDArray[Any]] = [
        dice.integers(-(1 << 50), 1 << 50, count, np.int64),
        dice.integers(0, 1 << 32, count, np.uint32),
        dice.integers(0, 1 << 8, count, np.uint8),
    ]
    where = np.array([number for array in arrays for number in address(array)])
    sums = tuple(int(array.sum()) for array in arrays)
    assert _sums(where) == sums
    assert getattr(_sums, "py_func", _sums)(where) == sums
    for view, array in zip((int64_at, uint32_at, uint8_at), arrays, strict=True):
        assert view(*address(array)).tolist() == array.tolist()


def test_an_array_with_gaps_has_no_address() -> None:
    with pytest.raises(ValueError, match="side by side"):
        address(np.arange(10)[::2])

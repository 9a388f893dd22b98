"""Sorting by digits is sorting."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from contacts.columns import distinct, numbered, ordered
from contacts.compiled import COMPILED
from contacts.sorting import sort_words

MOST = (1 << 63) - 1
PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the first is compiled


@pytest.fixture(autouse=True, params=[True, False], ids=["compiled", "plain"])
def compiler(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the compiler loaded, where there is one, on a processor that makes use of it, and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("contacts.sorting.numpy_is_slow", lambda: True)
        if not request.param:
            patch.delitem(sys.modules, "numba", raising=False)
        elif COMPILED:
            importlib.import_module("numba")
        yield


def words(least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    """Few and many numbers, of any size or of little."""
    return st.sampled_from([0, 1, 127, 128, 300, 5000]).flatmap(
        lambda count: st.sampled_from([(least, most), (0, 3), (0, 1 << 20)]).flatmap(
            lambda span: arrays.arrays(np.int64, count, elements=st.integers(*span), fill=st.integers(*span))
        )
    )


@PROPERTY
@given(words(0, MOST))
def test_numbers_come_in_order(given_words: np.ndarray) -> None:
    expected = np.sort(given_words)
    assert np.array_equal(sort_words(given_words.copy()), expected)
    assert np.array_equal(distinct(given_words), np.unique(given_words))


@PROPERTY
@given(words(-MOST, MOST))
def test_numbers_below_zero_are_no_exception(given_words: np.ndarray) -> None:
    assert np.array_equal(sort_words(given_words.copy()), np.sort(given_words))


@pytest.mark.parametrize("count", [0, 1, 100, 4095, 4096, 70_000])
@pytest.mark.parametrize("bits", [1, 8, 11, 12, 22, 40])
def test_what_is_alike_stays_as_it_came(count: int, bits: int) -> None:
    """The lowest bits, which no digit is taken of, say in what order the words came."""
    key = np.random.default_rng(count + bits).integers(0, 1 << bits, count)
    low = count.bit_length()
    packed = (key << low) | np.arange(count)
    assert np.array_equal(sort_words(packed.copy(), low), np.sort(packed))
    assert np.array_equal(ordered(key), np.argsort(key, kind="stable"))
    for mine, theirs in zip(numbered(key), np.unique(key, return_inverse=True), strict=True):
        assert np.array_equal(mine, theirs)


def test_other_than_whole_numbers_side_by_side_are_sorted_too() -> None:
    """Narrow numbers, and every other number of a longer array."""
    chance = np.random.default_rng(1)
    narrow = chance.integers(0, 1000, 500).astype(np.int32)
    every_other = chance.integers(0, 1 << 40, 1000)[::2]
    assert np.array_equal(sort_words(narrow.copy()), np.sort(narrow))
    expected = np.sort(every_other)
    assert np.array_equal(sort_words(every_other), expected)

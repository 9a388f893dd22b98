"""Steps that wait for their time."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.columns import ints
from contacts.steps import Steps, Store, Words, net

WORDS = Words(600_000)
_STEP = st.tuples(st.integers(-3, 12), st.integers(0, 40), st.one_of(st.integers(-3, 3), st.integers(-(10**6), 10**6)))


def steps_of(made: list[tuple[int, int, int]]) -> Steps:
    """Steps by slot and word, netted; words reach to the last bit that there is."""
    slot, word, weight = (ints(column) for column in zip(*made, strict=True)) if made else (ints([]),) * 3
    return net([Steps(slot, (word << (WORDS.bits - 6)) | (word & 7), weight)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(_STEP, max_size=30), max_size=150), st.lists(st.integers(-3, 14), max_size=3), st.booleans())
def test_what_is_taken_is_what_was_added(
    pieces: list[list[tuple[int, int, int]]], cuts: list[int], saved: bool
) -> None:
    """Of each slot and word the weights add up to those added, however they were added and whatever their size."""
    store, wanted = Store(WORDS), defaultdict[tuple[int, int], int](int)
    for piece in pieces:
        steps = steps_of(piece)
        store.add(steps)
        for slot, word, weight in zip(*(column.tolist() for column in steps), strict=True):
            wanted[slot, word] += weight
    if saved:
        store, held = Store(WORDS), store
        store.load("", held.dump(""))
    for number, cut in enumerate([*sorted(cuts), 99]):
        due = {key: weight for key, weight in wanted.items() if key[0] < cut}
        wanted = defaultdict(int, {key: weight for key, weight in wanted.items() if key[0] >= cut})
        taken = store.take_net(cut) if number % 2 else store.take(cut)
        assert (np.diff(taken.slot) >= 0).all()
        found: defaultdict[tuple[int, int], int] = defaultdict(int)
        for slot, word, weight in zip(*(column.tolist() for column in taken), strict=True):
            assert number % 2 == 0 or (slot, word) not in found
            found[slot, word] += weight
        assert {key: weight for key, weight in found.items() if weight} == {
            key: weight for key, weight in due.items() if weight
        }


def test_a_step_takes_eight_bytes() -> None:
    """However they come: in large pieces, or a few at a time."""
    for size in (5, 5000):
        store = Store(WORDS)
        for number in range(200_000 // size):
            word = np.arange(number * size, (number + 1) * size) << 3 | 1
            store.add(Steps(np.full(size, 7), word, np.ones(size, np.int64)))
        held = sum(piece.nbytes for pieces in (*store._slots.values(), *store._small.values()) for piece in pieces)
        assert held == 8 * 200_000
        assert all(p.base is None for pieces in (*store._slots.values(), *store._small.values()) for p in pieces)

"""Names by number: as a dictionary would have them, whatever the names, and however many."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.texts import Texts

_NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=60)


@settings(deadline=None)  # the first call compiles
@given(st.lists(_NAMES, max_size=4))
def test_numbers_are_those_of_a_dictionary(batches: list[list[str]]) -> None:
    texts, known = Texts(), dict[str, int]()
    for names in batches:
        wanted = [known.setdefault(name, len(known)) for name in names]
        assert texts.take(names).tolist() == wanted
    everybody = np.arange(len(known))
    assert len(texts) == len(known)
    assert texts.texts(everybody) == list(known)
    assert [texts.text(number) for number in range(len(known))] == list(known)
    assert texts.packed(everybody) == msgspec.msgpack.encode(list(known))
    again = Texts.load(texts.dump())
    assert again.texts(everybody) == list(known)
    assert again.take(list(known)).tolist() == everybody.tolist()


def test_a_hundred_thousand_names_and_some_of_them_kept() -> None:
    """The table grows several times; what is kept is numbered anew and what is forgotten is new when it comes again."""
    chance = random.Random(1)
    names = [f"b1:{chance.getrandbits(128):032x}" for _ in range(100_000)]
    texts = Texts()
    for start in range(0, len(names), 7_000):
        texts.take(names[start : start + 7_000])
    assert texts.take(names).tolist() == list(range(len(names)))
    assert texts.packed(np.arange(len(names))) == msgspec.msgpack.encode(names)
    kept = np.arange(5, len(names), 3)
    texts.keep(kept)
    assert texts.texts(np.arange(len(kept))) == names[5::3]
    assert texts.take([names[5], names[4]]).tolist() == [0, len(kept)]


def test_long_names() -> None:
    """Longer than any name may be, and as long as no record is."""
    names = ["x" * length for length in (31, 32, 255, 256, 65_535, 65_536, 1_000_000)]
    texts = Texts()
    assert texts.take(names).tolist() == list(range(len(names)))
    assert texts.packed(np.arange(len(names))) == msgspec.msgpack.encode(names)
    with pytest.raises(ValueError, match="16 MiB"):
        texts.take(["x" * (1 << 24)])

"""The directory of persons against a plain dict: exact whatever the names, their digests and what was forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts import people as module
from contacts.people import Directory

HEX = "0123456789abcdef"


class Few:
    """Stands in for BLAKE2b: there are only few digests, so that names meet in them."""

    def __init__(self, text: bytes, digest_size: int, salt: bytes) -> None:
        self._value = (len(text) % 2, salt)
        self._size = digest_size

    def digest(self) -> bytes:
        """One of two for each salt."""
        return hashlib.sha256(repr(self._value).encode()).digest()[: self._size]


def pseudonym(key_id: str, number: int) -> str:
    """The pseudonym of a number."""
    return f"{key_id}:{number:032x}"


def odd_names() -> st.SearchStrategy[str]:
    """Names of every kind that there may be, many of them nearly the same."""
    few = st.sampled_from(("k1", "k2", "a", "k-1", "0", "sixteen-letters-"))
    number = st.one_of(st.integers(0, 5), st.integers((1 << 64) - 3, (1 << 64) + 3), st.integers(0, (1 << 128) - 1))
    real = st.builds(pseudonym, few, number)
    spoilt: tuple[Callable[[str], str], ...] = (
        str.upper,
        lambda name: name[:-1],
        lambda name: name + "0",
        lambda name: name.replace(":", "", 1),
        lambda name: name[:-1] + "g",
        lambda name: name[:-1] + "é",
        lambda name: " " + name[1:],
        lambda name: name + "\n",
        lambda name: "x" * 17 + name[name.index(":") :],
        lambda name: ":" + name[1:],
    )
    nearly = st.builds(lambda name, spoil: spoil(name), real, st.sampled_from(spoilt))
    text = st.text(st.characters(exclude_categories=()), max_size=40)
    return st.one_of(real, nearly, st.sampled_from(("", "a", "p1", "\ud800", "\udfff", "é", "e\u0301")), text)


class Model:
    """What a directory is: a dict, and the names by number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.names: list[str] = []

    def took(self, names: list[str], numbers: list[int]) -> None:
        """These numbers were given to names: known ones have theirs, new ones the next, each its own."""
        new = {name: number for name, number in zip(names, numbers, strict=True) if name not in self.numbers}
        assert sorted(new.values()) == list(range(len(self.names), len(self.names) + len(new)))
        self.names += sorted(new, key=new.__getitem__)
        self.numbers |= new
        assert numbers == [self.numbers[name] for name in names]

    def forget(self, numbers: list[int]) -> None:
        """Names go."""
        for number in numbers:
            self.numbers.pop(self.names[number], None)
            self.names[number] = ""


@pytest.mark.parametrize("digests", ["real", "few"])
@given(st.data())
@settings(max_examples=120, deadline=None)
def test_a_directory_is_a_dict(digests: str, data: st.DataObject) -> None:
    """Taking, finding, forgetting, coming again, being kept and taken up, with larger tables made in between (or begun
    and never made): as a dict would, one number a name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SOON", 0)
        if digests == "few":
            patch.setattr(module, "blake2b", Few)
        directory, model = Directory(), Model()
        known = data.draw(st.lists(odd_names(), min_size=1, max_size=30, unique=True))
        some = st.lists(st.sampled_from(known), max_size=12)
        for _ in range(data.draw(st.integers(1, 12))):
            what = data.draw(st.sampled_from(("take", "take", "find", "forget", "keep", "grow")))
            if what == "take":
                names = data.draw(some)
                model.took(names, directory.take(names).tolist())
            elif what == "find":
                names = data.draw(some)
                assert directory.find(names).tolist() == [model.numbers.get(name, -1) for name in names]
            elif what == "forget" and model.numbers:
                gone = data.draw(st.lists(st.sampled_from(sorted(model.numbers.values())), unique=True))
                directory.forget(gone)
                model.forget(gone)
            elif what == "grow" and (make := directory.growing()) is not None and data.draw(st.booleans()):
                assert directory.growing() is None
                make()
            elif what == "keep" and all(name.isprintable() for name in model.names):
                stamp, older = directory.stamp(), directory
                directory = Directory()
                directory.load(older.dump())
                assert directory.epoch_of(stamp) == older.epoch
            assert [directory.name(number) for number in range(len(model.names))] == model.names
            assert directory.names(np.arange(len(model.names))) == model.names
            assert len(directory) == len(model.names)
            assert directory.named.tolist() == [number in model.numbers.values() for number in range(len(directory))]
        for name in known:
            assert directory.number(name) == model.numbers.get(name, -1)


@pytest.mark.parametrize("other", ["k2:" + "0" * 32, "k1:" + "A" * 32, "k1:" + "0" * 31 + "g", "k1:" + "0" * 31 + "é"])
def test_one_odd_name_among_many(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """Names are read many at a time: another key id, a capital or no digit anywhere among them is not overlooked."""
    monkeypatch.setattr(module, "_PIECE", 4)
    for place in range(12):
        names = [pseudonym("k1", number) for number in range(12)]
        names[place] = other
        directory = Directory()
        assert directory.take(names).tolist() == list(range(12))
        assert [directory.name(number) for number in range(12)] == names
        plain = [pseudonym("k1", 0), pseudonym("k1", 10), "k1:" + "a" * 32]
        assert directory.find(plain).tolist() == [names.index(name) if name in names else -1 for name in plain]


def test_a_name_outlives_the_one_whose_digest_it_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "blake2b", Few)
    directory = Directory()
    assert directory.take(["aa", "bb", "cc", "bb"]).tolist() == [0, 1, 2, 1]
    directory.forget([0])
    for _ in range(2):
        assert directory.find(["aa", "bb", "cc"]).tolist() == [-1, 1, 2]
        kept = directory.dump()
        directory = Directory()
        directory.load(kept)
    assert directory.take(["cc", "bb", "aa", "dd"]).tolist() == [2, 1, 3, 4]
    assert [directory.name(number) for number in range(5)] == ["", "bb", "cc", "aa", "dd"]


def test_names_of_equal_length_that_part_elsewhere() -> None:
    """One batch of names that are as long as one another, with key ids that are not: none is read with another's."""
    names = [pseudonym("k", 1), "kk:" + "0" * 31, pseudonym("k", 2), "k" * 33 + ":", ":" * 34, "k:" + "0" * 31 + "G"]
    assert {len(name) for name in names} == {34}
    for order in (names, names[::-1]):
        directory = Directory()
        assert directory.take(order).tolist() == list(range(len(order)))
        assert directory.take(order).tolist() == list(range(len(order)))
        assert [directory.name(number) for number in range(len(order))] == order


def test_more_key_ids_than_there_are_tags() -> None:
    """The 251st key id and all after it are kept as they are, in bulk and one by one, and through a snapshot."""
    names = [pseudonym(f"key{number:03}", row) for number in range(300) for row in range(3)]
    directory = Directory()
    for number in range(300):
        assert directory.take(names[3 * number : 3 * number + 3]).tolist() == [3 * number + row for row in range(3)]
    again = Directory()
    again.load(directory.dump())
    for each in (directory, again):
        assert each.take(names).tolist() == list(range(900))
        assert [each.name(number) for number in range(900)] == names
        assert each.number(pseudonym("unknown", 1)) == -1


def test_many_persons_and_what_they_take() -> None:
    """Half a million pseudonyms in batches, each found again, at 28 bytes each or less; some forgotten, they go."""
    count = 500_000
    names = [
        pseudonym("k1", number * 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835 % (1 << 128)) for number in range(count)
    ]
    directory = Directory()
    for first in range(0, count, 8192):
        directory.take(names[first : first + 8192])
    assert directory.find(names).tolist() == list(range(count))
    assert directory.bytes_held <= 28 * count
    gone = list(range(0, count, 3))
    directory.forget(gone)
    halves = [bytes.fromhex(digits)[::-1] for digits in (names[3][3:19], names[3][19:], names[4][3:19], names[4][19:])]
    assert [half in directory.dump()["people.keys"] for half in halves] == [False, False, True, True]
    found = directory.find(names)
    assert (found[::3] == -1).all()
    assert np.array_equal(np.delete(found, gone), np.delete(np.arange(count), gone))
    assert directory.take(names[:3]).tolist() == [count, 1, 2]


@pytest.mark.parametrize("low", [True, False])
def test_names_chosen_to_meet_do_not(low: bool) -> None:
    """Pseudonyms that a stranger picks, alike in all bits but few, fall as far apart as others do."""
    count = 1 << 15
    numbers = [(number << 45) << (0 if low else 64) for number in range(count)]
    numbers += [(number << 71) | ((1 << 40) ^ number) for number in range(count)]
    directory = Directory()
    directory.take([pseudonym("k1", number) for number in numbers])
    filled = np.flatnonzero(directory._table)
    runs = np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1)
    assert max(map(len, runs)) < 2000


def test_a_stamp_of_another_directory_is_refused() -> None:
    directory, other = Directory(), Directory()
    directory.take(["a", "b"])
    stamp = directory.stamp()
    with pytest.raises(ValueError, match="another directory"):
        other.epoch_of(stamp)
    older = Directory()
    older.load(directory.dump())
    directory.take(["c"])
    with pytest.raises(ValueError, match="another directory"):
        older.epoch_of(directory.stamp())
    directory.forget([0])
    assert directory.epoch_of(stamp) == 0
    with pytest.raises(ValueError, match="another directory"):
        older.epoch_of(directory.stamp())


def test_a_table_is_made_while_names_come() -> None:
    """Another thread makes a larger table; names of before, meanwhile and afterwards are found."""
    directory, taken = Directory(), 0
    with ThreadPoolExecutor(1) as other:
        for size in (100, 600, 70, 900, 2000, 3, 5000, 20_000, 1):
            numbers = directory.take([pseudonym("k1", number) for number in range(taken, taken + size)])
            assert numbers.tolist() == list(range(taken, taken + size))
            taken += size
            if (make := directory.growing()) is not None:
                done = other.submit(make)
                directory.forget([taken - 1])
                if size % 2:
                    done.result()
    known = [pseudonym("k1", number) for number in range(taken)]
    assert directory.find(known).tolist() == [
        number if named else -1 for number, named in enumerate(directory.named.tolist())
    ]

"""Persons by number: as a dictionary of texts would number them, whatever their names are and however they come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contacts.columns import ints
from contacts.numbering import Numbering, Persons
from contacts.pseudonyms import Pseudonyms, chosen, people_of, texts_of

HALF = st.sampled_from(["0" * 16, "f" * 16, "8" + "0" * 15, "7" + "f" * 15, "00112233445566aa"])
ALIKE = st.builds("p1:{}{}".format, HALF, HALF)
ANY = st.one_of(ALIKE, st.builds("p2:{}{}".format, HALF, HALF), st.sampled_from(["anna", "p1:00", "p1:" + "F" * 32]))


def rounds(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[list[str]]]]:
    """What comes, round by round: each of several parts."""
    return st.lists(st.lists(st.lists(names, max_size=8), max_size=3), max_size=4)


@given(rounds(ALIKE))
def test_pseudonyms_of_one_key(given: list[list[list[str]]]) -> None:
    """Halves that are alike, and those above what a signed number holds, among them."""
    check(given)


@given(rounds(ANY))
def test_whatever_they_are_called(given: list[list[list[str]]]) -> None:
    """Two keys, names that only look like pseudonyms, at any time."""
    check(given)


def check(given: list[list[list[str]]]) -> None:
    """Hold the numbers of all rounds against a dictionary's."""
    persons, known = Persons(), dict[str, int]()
    for parts in given:
        for name in sorted(set().union(*parts)):
            known.setdefault(name, len(known))
        found = persons.of_parts([people_of(part) for part in parts])
        assert [numbers.tolist() for numbers in found] == [[known[name] for name in part] for part in parts]
    assert persons.names(np.arange(len(known))) == list(known)


def test_names_in_parts() -> None:
    """New names are numbered in order, however they were divided; those known keep their numbers."""
    names = Numbering()
    names.of(["m"])
    assert [part.tolist() for part in names.of_parts([["z", "a"], [], ["m", "a"]])] == [[2, 1], [], [0, 1]]


@given(st.lists(ANY))
def test_there_and_back(names: list[str]) -> None:
    """Texts, what is made of them, and some of it."""
    people = people_of(names)
    assert texts_of(people) == names
    assert texts_of(chosen(people, ints(range(0, len(names), 2)))) == names[::2]
    if isinstance(people, Pseudonyms):
        assert Pseudonyms.of_data(people.key_id, people.data()).texts() == names


@pytest.mark.parametrize(("key_id", "data"), [("", b"x" * 16), ("P1", b"x" * 16), ("p1:", b""), ("p1", b"x" * 17)])
def test_what_is_no_pseudonym(key_id: str, data: bytes) -> None:
    """A key id that none has, and half a person."""
    with pytest.raises(ValueError, match="no pseudonyms"):
        Pseudonyms.of_data(key_id, data)

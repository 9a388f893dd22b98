"""Venues by name and number: as a list and a dict have them, before and after a snapshot."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.columns import ints
from contacts.names import Lineages, Names
from schemas.blocks import Lineage

NAMES = st.lists(st.one_of(st.text(max_size=6), st.sampled_from(("", "a", "ab", "b", "\ud800", "é", "𐍈"))), unique=True)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_names_are_a_list_and_a_dict(data: st.DataObject) -> None:
    """Asked by number and by name in any order, with snapshots in between, whatever the text."""
    names, known = Names(), list[str]()
    for _ in range(data.draw(st.integers(1, 5))):
        for name in data.draw(NAMES):
            number = names.number(name)
            assert number == (known.index(name) if name in known else None)
            if number is None:
                assert names.add(name) == len(known)
                known.append(name)
        assert len(names) == len(known)
        for number in data.draw(st.lists(st.integers(0, len(known) - 1), max_size=4)) if known else ():
            assert names[number] == known[number]
        some = data.draw(st.lists(st.integers(0, len(known) - 1), max_size=4)) if known else []
        assert names.of(ints(some)) == [known[number] for number in some]
        if data.draw(st.booleans()):
            parts, names = names.dump(), Names()
            names.load(parts)
    assert [names[number] for number in range(len(names))] == known
    assert [names.number(name) for name in known] == list(range(len(known)))


LINEAGES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.lists(st.sampled_from("vwxyz"), max_size=3, unique=True).map(tuple)),
    min_size=1,
)


@given(LINEAGES, st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_lineages_are_venues_and_what_they_lay_within(taken: list[tuple[str, tuple[str, ...]]], kept_at: int) -> None:
    """One number for each venue with what it lay within; all that was given with it comes back."""
    lineages, known = Lineages(), list[tuple[str, tuple[str, ...]]]()
    for count, (venue, ancestors) in enumerate(taken):
        if count == kept_at:
            parts, lineages = lineages.dump(), Lineages()
            lineages.load(parts)
        if (venue, ancestors) not in known:
            known.append((venue, ancestors))
        assert lineages.take(venue, ancestors) == known.index((venue, ancestors))
    for number, (venue, ancestors) in enumerate(known):
        row, places = lineages.places(ints([number]))
        assert row.tolist() == [0] * len(places)
        assert [lineages.venues[place] for place in places.tolist()] == [venue, *ancestors]
        assert lineages.venues[int(lineages.own(ints([number]))[0])] == venue
        own = lineages.venue(venue)
        assert sorted(lineages.of_venue(own)) == [place for place, each in enumerate(known) if each[0] == venue]
        above = any(venue in each[1] for each in known)
        assert lineages.within(ints([number]))[0] == (bool(ancestors) or above)


@given(LINEAGES, st.lists(st.integers(1, 6), max_size=8), st.integers(0, 8))
@settings(max_examples=200, deadline=None)
def test_many_lineages_at_once_are_those_one_by_one(
    taken: list[tuple[str, tuple[str, ...]]], sizes: list[int], kept_at: int
) -> None:
    """However they come together, each lineage has one number, and all that was given with it comes back."""
    lineages, known = Lineages(), dict[tuple[str, tuple[str, ...]], int]()
    first = 0
    for count, size in enumerate([*sizes, len(taken)]):
        if count == kept_at:
            parts, lineages = lineages.dump(), Lineages()
            lineages.load(parts)
        some = taken[first : first + size]
        first += size
        numbers = lineages.take_many([Lineage(*each) for each in some])
        for each, number in zip(some, numbers.tolist(), strict=True):
            assert known.setdefault(each, number) == number
    assert sorted(known.values()) == list(range(len(known)))
    for (venue, ancestors), number in known.items():
        _, places = lineages.places(ints([number]))
        assert [lineages.venues[place] for place in places.tolist()] == [venue, *ancestors]
        assert number in lineages.of_venue(lineages.venue(venue))
        above = any(venue in each[1] for each in known)
        assert lineages.within(ints([number]))[0] == (bool(ancestors) or above)

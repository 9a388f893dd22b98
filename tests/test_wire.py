"""Names as they travel: found in the bytes of a block, and numbered as those that were decoded are."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.incoming import Incoming
from contacts.names import Lineages
from contacts.people import Directory
from contacts.pseudonyms import chosen, texts_of, together
from contacts.wire import WIRE_BLOCKS, as_wire, lineage_in, lineages_of, persons_of
from schemas.blocks import VISIT_COLUMNS, BlockError, Lineage, VisitBlock

LENGTHS = (0, 1, 31, 32, 255, 256, 70_000)
TEXTS = st.one_of(st.text(max_size=40), st.sampled_from([size * "a" for size in LENGTHS]), st.just("é" * 200))
PSEUDONYMS = st.builds(
    "{}:{:032x}".format, st.sampled_from(["a", "b1", "key-of-sixteen-x"]), st.integers(0, 2**128 - 1)
)
ODD = st.sampled_from(
    ["b1:" + 32 * "A", "b1:" + 31 * "0", "b1:" + 31 * "0" + "g", "b1:" + 33 * "0", "x", "B:" + 32 * "0"]
)
NOUGHTS = st.text("0", max_size=31)
ODDER = st.builds("b1:{}{}{}".format, NOUGHTS, st.characters(codec="utf-8"), NOUGHTS)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


@given(st.lists(TEXTS, max_size=40))
@settings(max_examples=200, deadline=None)
def test_persons_are_found_in_their_bytes(names: list[str]) -> None:
    """Whatever their letters, lengths and number."""
    assert texts_of(persons_of(raw(names))) == names


@pytest.mark.parametrize("count", [15, 16, 65_535, 65_536])
def test_arrays_of_any_length(count: int) -> None:
    """However the length is written."""
    names = [str(number) for number in range(count)]
    assert texts_of(persons_of(raw(names))) == names
    lineages = [Lineage(name) for name in names]
    assert [lineage_in(piece) for piece in lineages_of(raw(lineages)).pieces()] == lineages


LINEAGES = st.lists(st.builds(Lineage, TEXTS, st.lists(TEXTS, max_size=20).map(tuple)), max_size=20)


@given(LINEAGES)
@settings(max_examples=200, deadline=None)
def test_lineages_are_found_in_their_bytes(lineages: list[Lineage]) -> None:
    """With whatever they lie within, also where that is left out."""
    assert [lineage_in(piece) for piece in lineages_of(raw(lineages)).pieces()] == lineages
    short = [[each.venue, each.ancestors] if each.ancestors else [each.venue] for each in lineages]
    assert [lineage_in(piece) for piece in lineages_of(raw(short)).pieces()] == lineages


@pytest.mark.parametrize("value", [None, 7, "a", {"a": 1}, ["a", 7], ["a", ["b"]], ["a", None], [b"a"], [1.5], [{}]])
def test_what_is_no_array_of_names(value: object) -> None:
    """It is refused, with what is wrong."""
    with pytest.raises(BlockError, match="persons are not understood: Expected"):
        persons_of(raw(value))


@pytest.mark.parametrize("value", [None, 7, "a", [7], [None], [[]], [["a", "b"]], [["a", ["b", 7]]], [[["a"]]], [b"a"]])
def test_what_is_no_array_of_lineages(value: object) -> None:
    """It is refused, with what is wrong; some of it not before somebody wants to know what it is."""

    def read() -> list[Lineage]:
        return [lineage_in(piece) for piece in lineages_of(raw(value)).pieces()]

    with pytest.raises(BlockError, match="lineages are not understood: "):
        read()


def test_what_is_no_text() -> None:
    """Bytes that are no UTF-8 are no name."""
    with pytest.raises(BlockError, match="persons are not understood: "):
        persons_of(msgspec.Raw(b"\x91\xa1\xff"))


@given(st.lists(st.lists(st.one_of(PSEUDONYMS, PSEUDONYMS, ODD, ODDER, TEXTS), max_size=12), max_size=4))
@settings(max_examples=300, deadline=None)
def test_written_names_have_the_numbers_of_names(parts: list[list[str]]) -> None:
    """In any mixture, one part after the other, and together."""
    one, other = Directory(), Directory()
    for names in parts:
        assert other.take(persons_of(raw(names))).tolist() == one.take(names).tolist()
    everybody = [name for names in parts for name in names]
    all_of_them = together([persons_of(raw(names)) for names in parts])
    assert texts_of(all_of_them) == everybody
    assert other.take(all_of_them).tolist() == one.find(everybody).tolist()


@pytest.mark.parametrize("letter", [chr(code) for code in range(128) if chr(code) not in "0123456789abcdef"])
@pytest.mark.parametrize("place", [0, 15, 16, 31])
def test_digits_are_those_of_small_hexadecimals(letter: str, place: int) -> None:
    """No other letter makes a pseudonym, wherever it stands: such a name is kept as it is."""
    names = ["b1:" + 32 * "0", "b1:" + place * "0" + letter + (31 - place) * "0"]
    people = Directory()
    assert [people.name(number) for number in people.take(persons_of(raw(names))).tolist()] == names


@given(st.lists(LINEAGES.filter(lambda some: all(each.venue for each in some)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_written_lineages_have_the_numbers_of_lineages(parts: list[list[Lineage]]) -> None:
    """Before and after others have come, and each is judged once."""
    one, other, judged = Lineages(), Lineages(), list[Lineage]()
    for lineages in [*parts, *parts]:
        numbers = other.take_written(lineages_of(raw(lineages)), judged.extend)
        assert numbers.tolist() == one.take_many(lineages).tolist()
        assert numbers.tolist() == [one.take(each.venue, each.ancestors) for each in lineages]
    assert set(judged) == {each for lineages in parts for each in lineages}


def test_lineages_that_are_refused_come_again() -> None:
    """Nothing is taken of them, and they are judged again."""
    lineages = Lineages()

    def refuse(_: list[Lineage]) -> None:
        raise BlockError("no")

    for _ in range(2):
        with pytest.raises(BlockError):
            lineages.take_written(lineages_of(raw([Lineage("v")])), refuse)
    assert lineages.count == 0
    assert lineages.take_written(lineages_of(raw([Lineage("v")])), lambda _: None).tolist() == [0]


def test_a_block_as_others_receive_it() -> None:
    """What is no name is as it was; an empty block has no rows."""
    rows = np.zeros((2, len(VISIT_COLUMNS)), "<i8").tobytes()
    block = VisitBlock(1, 2, 3, 4, [Lineage("v", ("w",))], ["a", "b"], rows, [], 5)
    wire = as_wire(block)
    assert (wire.source_partition, wire.first_offset, wire.next_offset, wire.log_time_ms) == (1, 2, 3, 4)
    assert (wire.rows, wire.controls, wire.recorded_ms, wire.count) == (rows, [], 5, 2)
    assert texts_of(persons_of(wire.persons)) == ["a", "b"]
    assert [lineage_in(piece) for piece in lineages_of(wire.lineages).pieces()] == [Lineage("v", ("w",))]
    short = WIRE_BLOCKS.decode(msgspec.msgpack.encode([0, 0, 1, 0]))
    assert (short.count, len(persons_of(short.persons)), len(lineages_of(short.lineages))) == (0, 0, 0)


@given(st.lists(st.tuples(LINEAGES.filter(len).map(lambda some: some[0]), st.booleans()), max_size=8))
def test_chosen_lineages(some: list[tuple[Lineage, bool]]) -> None:
    """Some of them, however many, out of the same bytes."""
    written, kept = lineages_of(raw([each for each, _ in some])), np.array([each for _, each in some], np.bool_)
    wanted = [msgspec.msgpack.encode(lineage) for lineage, each in some if each]
    assert written.pieces(kept) == written.pieces(np.flatnonzero(kept)) == wanted
    assert len(written) == len(some)


@given(st.lists(st.tuples(st.one_of(TEXTS, PSEUDONYMS), st.booleans()), max_size=8))
def test_chosen_names(some: list[tuple[str, bool]]) -> None:
    """Some of them, however many, and those together with all."""
    names, which = persons_of(raw([name for name, _ in some])), np.array([each for _, each in some], np.bool_)
    kept = [name for name, each in some if each]
    found = chosen(names, np.flatnonzero(which))
    assert texts_of(found) == kept
    assert (len(names), len(found)) == (len(some), len(kept))
    assert texts_of(together([found, names])) == kept + [name for name, _ in some]
    assert together([]) == []


@given(st.integers(1, 40), st.sampled_from(["a", "b1", "key-of-sixteen-x"]), st.data())
def test_a_byte_of_many_pseudonyms_is_another(count: int, key_id: str, data: st.DataObject) -> None:
    """Whichever it is: all names are still those that were sent, or it is said that they are none."""
    packed = bytearray(msgspec.msgpack.encode([f"{key_id}:{number:032x}" for number in range(count)]))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        wanted = msgspec.msgpack.decode(packed, type=list[str])
    except msgspec.DecodeError:
        return  # such a block is refused before
    except UnicodeDecodeError:
        with pytest.raises(BlockError):
            persons_of(msgspec.Raw(packed))
        return
    assert texts_of(persons_of(msgspec.Raw(packed))) == wanted


@settings(deadline=None)  # the first example compiles
@given(st.integers(0, 8), st.lists(st.integers(1, 8), max_size=5))
def test_blocks_that_overlap(first: int, steps: list[int]) -> None:
    """A source that begins again somewhere cuts its blocks elsewhere: of each row the first copy is taken."""
    incoming = Incoming(1, Lineages())
    persons, begin = [f"p{number}" for number in range(9)], 0
    for stop in (first, *steps, 9):
        begin = min(begin, stop)
        rows = np.zeros((stop - begin, len(VISIT_COLUMNS)), "<i8")
        rows[:, 0] = rows[:, 3] = np.arange(begin, stop)
        incoming.add(as_wire(VisitBlock(0, begin, stop, 0, [Lineage("v")], persons[begin:stop], rows.tobytes())))
        begin = max(0, stop - 3)
    found = incoming.take()
    assert (texts_of(found.persons), (found.position >> 22).tolist()) == (persons, list(range(9)))

"""The local copy of statuses is what a dictionary of the newest messages is; damage to what is kept of it is seen."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.people import Directory
from gateway.kept import Damaged, Standpoint, keep_statuses, load_statuses
from gateway.statuses import Standing, StatusCopy
from schemas.bounds import TIME_MOST
from schemas.health import COLOURS, NegativeTest, Status

PERSONS = [f"p1:{number * 0x1234567:032x}" for number in range(6)] + ["a token", "p2:" + "f" * 32, "p1:" + "F" * 32]
TIMES = st.integers(-TIME_MOST, TIME_MOST)

STATUSES = st.builds(
    Status,
    person=st.sampled_from(PERSONS),
    colour=st.sampled_from(COLOURS),
    since_ms=TIMES,
    rule=st.sampled_from(["indonesia@2021-08-30 green.doses", "x@1 y"]),
    reason=st.sampled_from(["doses", "case"]),
    log_time_ms=TIMES,
    position=st.tuples(st.integers(0, 3), st.integers(0, 40)),
    until_ms=st.none() | TIMES,
    doses=st.integers(0, 9),
    full=st.booleans(),
    booster=st.booleans(),
    age_band=st.sampled_from([None, "0-5", "6-11", "12-17", "18-59", "60+"]),
    negatives=st.lists(
        st.builds(NegativeTest, test=st.sampled_from(["pcr", "antigen", "other"]), specimen_ms=TIMES),
        max_size=3,
        unique_by=lambda test: test.test,
    ).map(lambda found: tuple(sorted(found, key=lambda test: ["pcr", "antigen", "other"].index(test.test)))),
)
RECORDS = st.lists(st.one_of(STATUSES, st.sampled_from(PERSONS), st.just(b"{no json")), max_size=30)


def record(each: Any) -> tuple[bytes | None, bytes | None]:
    """A status, a person to take away, or bytes that are no status, as a record of the topic."""
    if isinstance(each, Status):
        return each.person.encode(), msgspec.json.encode(each)
    return (b"p1:x", each) if isinstance(each, bytes) else (each.encode(), None)


def oracle(records: list[Any], known: dict[str, Status] | None = None) -> dict[str, Status]:
    """One message after the other into a dictionary."""
    found = dict(known or {})
    for each in records:
        if isinstance(each, Status):
            if each.person not in found or each.position > found[each.person].position:
                found[each.person] = each
        elif isinstance(each, str):
            found.pop(each, None)
    return found


def check(copy: StatusCopy, known: dict[str, Status]) -> None:
    """The copy answers for every person as the dictionary does."""
    assert len(copy) == len(known)
    for person in [*PERSONS, "p1:" + "0" * 31 + "9", "nobody", "p9:" + "0" * 32]:
        found, status = copy.get(person), known.get(person)
        expected = status and Standing(
            status.colour, status.since_ms, status.until_ms, status.rule, status.reason, status.doses, status.full,
            status.booster, status.age_band, status.negatives,
        )  # fmt: skip
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS, max_size=5))
def test_the_copy_is_the_newest_message_of_each_person(batches: list[list[Any]]) -> None:
    """In whatever batches they come: by position, and gone where a tombstone is the last."""
    copy, known = StatusCopy(), dict[str, Status]()
    for batch in batches:
        copy.take([record(each) for each in batch])
        known = oracle(batch, known)
        check(copy, known)
    assert copy.bad == sum(isinstance(each, bytes) for batch in batches for each in batch)


@settings(max_examples=80, deadline=None)
@given(RECORDS, RECORDS, RECORDS, st.booleans())
def test_a_kept_copy_read_on_from_where_it_was_begun_is_the_copy(
    before: list[Any], during: list[Any], after: list[Any], lost: bool
) -> None:
    """What comes while the copy is being written comes again when it has been taken up: the end is the same."""

    async def run(folder: Path) -> None:
        copy = StatusCopy()
        copy.take([record(each) for each in before])
        copy.people.find(PERSONS)
        writing = asyncio.create_task(keep_statuses(folder / "statuses", copy, Standpoint("c", {0: len(before)})))
        await asyncio.sleep(0)
        copy.take([record(each) for each in during])
        await writing
        again, standpoint = load_statuses(folder / "statuses")
        assert standpoint.offsets == {0: len(before)}
        if not lost:
            again.take([record(each) for each in during])
            again.take([record(each) for each in after])
            check(again, oracle(after, oracle(during, oracle(before))))

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@settings(max_examples=80, deadline=None)
@given(RECORDS, RECORDS, st.booleans())
def test_a_topic_read_again_forgets_whom_it_no_longer_has(first: list[Any], again: list[Any], other: bool) -> None:
    """After a reading from the beginning the copy is that topic; another cluster's positions do not count."""
    copy = StatusCopy()
    copy.take([record(each) for each in first])
    known = oracle(first)
    copy.begin_again(other_log=other)
    copy.take([record(each) for each in again])
    copy.end_again()
    if other:
        check(copy, oracle(again))
    else:
        named = {each.person for each in again if isinstance(each, Status)}
        both = oracle(again, known)
        check(copy, {person: status for person, status in both.items() if person in named})


def kept(path: Path) -> Path:
    """A kept copy of some people."""
    copy = StatusCopy()
    copy.take(
        [
            record(
                Status(
                    person=person, colour="green", since_ms=1, rule="r", reason="doses", log_time_ms=1,
                    position=(0, number), negatives=(NegativeTest(test="pcr", specimen_ms=number),),
                )
            )
            for number, person in enumerate(PERSONS)
        ]
    )  # fmt: skip
    asyncio.run(keep_statuses(path, copy, Standpoint()))
    return path


def test_every_damage_to_a_kept_copy_is_seen(tmp_path: Path) -> None:
    """Any byte altered, or any number of them missing at the end or too many."""
    whole = kept(tmp_path / "statuses").read_bytes()
    damaged = tmp_path / "damaged"
    for place in range(len(whole)):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with pytest.raises(Damaged):
            load_statuses(damaged)
    for length in range(len(whole)):
        damaged.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            load_statuses(damaged)
    load_statuses(tmp_path / "statuses")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=200), st.lists(st.integers(0, 40), max_size=5))
def test_one_persons_number_is_found_as_that_of_many(halves: list[int], forgotten: list[int]) -> None:
    """`number` is `find` of one: for those known, forgotten, and never seen."""
    people = Directory()
    names = [f"p{value % 3}:{value:032x}" for value in halves] + ["plain", "p1:" + "A" * 32, "p1: " + "0" * 31]
    people.take(names)
    people.forget({number for number in forgotten if number < len(people)})
    asked = [*names, "unknown", "p1:" + "b" * 32, "p7:" + "b" * 32, "p1:" + "b" * 31, "p1", ""]
    assert [people.number(name) for name in asked] == people.find(asked).tolist()

"""Settled days against a plain list of visits: what is asked, taken out, merged, expired and erased."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts import compiled
from contacts.archive import Archive, MemoryShelf
from contacts.columns import ints
from contacts.days import midnight_ms, midnights
from contacts.index import VisitIndex
from contacts.reads import Found
from contacts.segments import LENGTH_MINUTES, LONGEST_MS, Sealed, Segment
from contacts.settling import AGAIN, MEETS, Settling
from schemas.blocks import ASSUMED, CHECKED_OUT, LATE, SELF_REPORTED
from streams.shelf import FileShelf

MINUTE, HOUR = 60_000, 3_600_000
ZONES = {
    "Asia/Jakarta": "2021-10-21",
    "Europe/Berlin": "2021-10-31",  # 25 hours
    "America/New_York": "2021-03-14",  # 23 hours
    "Africa/Cairo": "2024-04-26",  # begins at one o'clock
    "America/Havana": "2023-11-05",  # midnight comes twice
}
BORDERS = [0, 1, MINUTE, *(each for limit in LENGTH_MINUTES[:3] for each in (limit - 1, limit, limit + 1))]
LENGTHS = [each * MINUTE + more for each in BORDERS[3:] for more in (-1, 0, 1)] + [0, 1, MINUTE, 26 * HOUR, LONGEST_MS]
FEW = int(os.environ.get("LACAK_TEST_EXAMPLES", "60"))


class Seen(NamedTuple):
    """One visit."""

    person: int
    lineage: int
    start: int
    end: int
    reason: int
    meets: bool
    hidden: bool


def sealed(visits: Sequence[Seen]) -> Sealed:
    """Visits as columns."""
    columns = [ints([visit[field] for visit in visits]) for field in range(5)]
    flags = [np.array([visit[field] for visit in visits], np.bool_) for field in (5, 6)]
    return Sealed(*columns, *flags)


def listed(visits: Sealed) -> list[Seen]:
    """Columns as visits, in order."""
    return sorted(Seen(*each) for each in zip(*(column.tolist() for column in visits), strict=True))


def visits_of(midnight: int, until: int) -> st.SearchStrategy[list[Seen]]:
    """Visits that begin in `[midnight, until)`."""
    at = st.one_of(
        st.sampled_from((midnight, midnight + 1, until - 1, until - MINUTE, midnight + MINUTE - 1)),
        st.integers(midnight, until - 1),
    )
    person = st.one_of(st.integers(0, 3), st.sampled_from(((1 << 31) - 1, (1 << 31) - 2)))
    one = st.builds(
        lambda person, lineage, start, length, reason, meets, hidden: Seen(
            person, lineage, start, start + length, reason, meets, hidden
        ),
        person,
        st.integers(0, 3),
        at,
        st.one_of(st.sampled_from(LENGTHS), st.integers(0, 3 * HOUR)),
        st.sampled_from((ASSUMED, CHECKED_OUT, LATE, SELF_REPORTED)),
        st.booleans(),
        st.booleans(),
    )
    return st.lists(one, max_size=40)


def day_of(zone: str) -> tuple[int, int]:
    """A day of a zone: its beginning and its end."""
    place = ZoneInfo(zone)
    noon = np.datetime64(ZONES[zone] + "T12:00").astype("datetime64[ms]").astype(int)
    first = midnight_ms(int(noon), place)
    return first, int(midnights(first, first + 40 * HOUR, place)[1])


def found_of(ask: Callable[[Found], None]) -> list[tuple[int, ...]]:
    """What a question finds, in order."""
    found = Found()
    ask(found)
    return sorted(zip(*found.columns().tolist(), strict=True))


def marks(visit: Seen) -> int:
    """What is known of a visit beside its times, as contacts.reads has it."""
    return 1 * (visit.reason in (ASSUMED, LATE)) | 4 * (visit.reason == SELF_REPORTED) | 16 * visit.meets


def check(segment: Segment, visits: Sequence[Seen], since: int, until: int, without: int, least: int) -> None:
    """All questions to a segment give what the list gives. Lineage n is of venue 10 - n; one is of no visit."""
    assert listed(segment.visits()) == sorted(visits)
    assert sorted(segment.persons().tolist()) == sorted(visit.person for visit in visits)
    venue_of = np.arange(10, 0, -1)
    counted = [visit for visit in visits if visit.end > visit.start and not visit.hidden]
    persons = sorted({visit.person for visit in visits} | {2, 77, 1 << 30})
    rows, places = segment.of_persons(ints(persons))
    assert sorted(zip(rows.tolist(), listed_at(segment, places), strict=True)) == sorted(
        (persons.index(visit.person), visit) for visit in visits
    )
    assert found_of(lambda found: found.of_persons([segment], ints(persons), venue_of)) == sorted(
        (persons.index(each.person), each.person, 10 - each.lineage, each.start, each.end, marks(each))
        for each in counted
    )
    lineages = [0, 1, 2, 3, 9]
    asked = ints(range(5)) + 3
    sides = (np.full(5, side) for side in (since, until, without))
    venues = ints([venue_of[each] for each in lineages])
    assert found_of(lambda found: found.at_lineages([segment], ints(lineages), venues, *sides, asked, least)) == sorted(
        (3 + each.lineage, each.person, 10 - each.lineage, each.start, each.end, marks(each))
        for each in counted
        if min(each.end, until) - max(each.start, since) >= (1 if each.meets else least) and each.person != without
    )


def listed_at(segment: Segment, places: np.ndarray) -> list[Seen]:
    """The visits at places, in their order."""
    return [Seen(*each) for each in zip(*(column.tolist() for column in segment.visits(places)), strict=True)]


@pytest.mark.parametrize("zone", ZONES)
@given(st.data())
@settings(max_examples=FEW, deadline=None)
def test_a_segment_answers_as_a_list_does(zone: str, data: st.DataObject) -> None:
    """Whatever the lengths, at the borders of a day and of the classes, with some taken out, through its arrays."""
    midnight, after = day_of(zone)
    visits = data.draw(visits_of(midnight, after))
    segment, order = Segment.build(midnight, sealed(visits), 5)
    place = np.argsort(order)
    assert listed_at(segment, place) == visits
    edge = st.one_of(
        st.integers(midnight - 4 * HOUR, after + 30 * HOUR),
        st.sampled_from([time + more for visit in visits for time in visit[2:4] for more in (-1, 0, 1)] or [midnight]),
    )
    least = st.sampled_from((1, 2, MINUTE - 1, MINUTE, MINUTE + 1, 15 * MINUTE, 20 * HOUR))
    asked = data.draw(edge), data.draw(edge), data.draw(st.integers(0, 3)), data.draw(least)
    check(segment, visits, *asked)
    out = data.draw(st.sets(st.sampled_from(range(len(visits))))) if visits else set()
    segment.take_out(place[sorted(out)])
    kept = [visit for number, visit in enumerate(visits) if number not in out]
    check(segment, kept, *asked)
    arrays = segment.arrays()
    older = {name: array for name, array in arrays.items() if "sparse" not in name}
    for each in (arrays, older):
        again = Segment.of_arrays(midnight, segment.until_ms, each, segment.gone)
        assert again.gone_count == len(out)
        check(again, kept, *asked)


def test_many_lineages_or_visits_are_ordered_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit the words that are sorted is ordered another way, and the same: over several pieces, too."""
    midnight, after = day_of("Asia/Jakarta")
    dice, count = np.random.default_rng(4), 40_000
    start = dice.integers(midnight, after, count)
    person, lineage = dice.integers(0, 9000, count), dice.integers(0, 50, count).astype(np.uint32)
    flags = dice.integers(0, 2, (2, count)).astype(np.bool_)
    visits = Sealed(person.astype(np.uint32), lineage, start, start + dice.choice(ints(LENGTHS), count),
                    dice.integers(0, 5, count).astype(np.uint8), *flags)  # fmt: skip
    fits, order = Segment.build(midnight, visits, 50)
    monkeypatch.setattr("contacts.segments._LINEAGE_BITS", 0)
    beyond, other = Segment.build(midnight, visits, 50)
    assert np.array_equal(order, other)
    for name, array in fits.arrays().items():
        assert np.array_equal(array, beyond.arrays()[name]), name
    assert listed_at(fits, np.argsort(order)) == [Seen(*row) for row in zip(*(c.tolist() for c in visits), strict=True)]


def test_a_busy_venue_is_searched() -> None:
    """More visits than are looked at one by one, of every class: a question finds exactly those that share time."""
    midnight, after = day_of("Asia/Jakarta")
    dice = np.random.default_rng(3)
    start = dice.integers(midnight, after, 30_000)
    end = start + dice.choice(ints(LENGTHS), 30_000)
    none = np.zeros(30_000, np.bool_)
    visits = Sealed(np.arange(30_000), dice.integers(0, 2, 30_000), start, end, np.zeros(30_000, np.int64), none, none)
    segment, _ = Segment.build(midnight, visits, 3)
    for _ in range(60):
        since = int(dice.integers(midnight - HOUR, after + 10 * HOUR))
        until = since + int(dice.choice([1, MINUTE, HOUR, 30 * HOUR]))
        sides = (np.array([side]) for side in (since, until, 7))
        questions = (np.array([1]), np.array([8]), *sides, np.array([0]))
        found = found_of(lambda each, ask=questions: each.at_lineages([segment], *ask))  # type: ignore[misc]
        shares = (visits.lineage == 1) & (start < until) & (end > since) & (end > start) & (visits.person != 7)
        assert [row[1] for row in sorted(found)] == np.flatnonzero(shares).tolist()


def test_many_days_are_asked_at_once() -> None:
    """More persons, venues and visits than are taken in turns, or than there is room for at first."""
    midnight, after = day_of("Asia/Jakarta")
    day, dice = after - midnight, np.random.default_rng(6)
    segments, visits = [], []
    for begin in range(midnight, midnight + 5 * day, day):
        start = dice.integers(begin, begin + day, 3000)
        length = dice.choice(ints([0, MINUTE, HOUR, 30 * HOUR]), 3000)
        columns = dice.integers(0, 90, 3000), dice.integers(0, 50, 3000) ** 2 // 50, start, start + length
        none = np.zeros(3000, np.bool_)
        sealed_day = Sealed(*columns, np.full(3000, CHECKED_OUT), none, none)
        segments.append(Segment.build(begin, sealed_day, 50)[0])
        segments[-1].take_out(np.arange(0, 3000, 7))
        visits += [visit for visit in listed(segments[-1].visits()) if visit.end > visit.start]
    persons = ints(range(1, 100, 2))
    assert found_of(lambda found: found.of_persons(segments, persons, np.arange(50, 0, -1, np.int32))) == sorted(
        (visit.person // 2, visit.person, 50 - visit.lineage, visit.start, visit.end, 0)
        for visit in visits
        if visit.person % 2
    )
    since = dice.integers(midnight - HOUR, midnight + 6 * day, 50)
    until, without = since + dice.choice(ints([1, HOUR, 2 * day]), 50), dice.integers(0, 90, 50)
    lineages = np.arange(50)
    asked = lineages, lineages, since, until, without, lineages + 7
    assert found_of(lambda found: found.at_lineages(segments, *asked, 5 * MINUTE)) == sorted(
        (number + 7, visit.person, number, visit.start, visit.end, 0)
        for visit in visits
        if min(visit.end, until[number := visit.lineage]) - max(visit.start, since[number]) >= 5 * MINUTE
        and visit.person != without[number]
    )


def check_in(visit: Seen) -> tuple[int, int, int, bool]:
    """What made a visit, two lineages being of one venue."""
    return visit.person, visit.lineage // 2, visit.start, visit.reason == SELF_REPORTED


def settle(archive: Archive, days: Sequence[int], visits: Sequence[Seen], *, living: bool = True) -> list[Seen]:
    """Settle visits of days, all at once; those that stay living."""
    columns = dict(zip(Sealed._fields, sealed(visits), strict=True))
    flags = columns.pop("meets") * 2 + columns.pop("hidden") * 4
    settling = Settling(
        ints(days), {**columns, "flags": flags.astype(np.uint8)} if living else None, archive.segments, 5, archive.shelf
    )
    settling.build()
    taken: set[int] = set()
    for day in settling.made:
        taken |= set(day.rows.tolist())
        archive.replace([each.segment for each in day.older], day.segment)
    return [visit for number, visit in enumerate(visits) if number not in taken]


@given(st.data())
@settings(max_examples=FEW, deadline=None)
def test_an_archive_is_a_list_of_visits(data: st.DataObject) -> None:
    """Days settled again and again, visits taken back, erased, expired, through snapshots: always the same visits."""
    zone = ZoneInfo("Europe/Berlin")
    first = midnight_ms(int(np.datetime64("2021-10-30T12:00").astype("datetime64[ms]").astype(int)), zone)
    days = midnights(first, first + 80 * HOUR, zone).tolist()
    archive, kept = Archive(MemoryShelf()), list[Seen]()
    edge = st.one_of(st.integers(first - HOUR, days[-1] + 40 * HOUR), st.sampled_from(days))
    for _ in range(data.draw(st.integers(1, 9))):
        what = data.draw(st.sampled_from(("settle", "settle", "touch", "derived", "erase", "expire", "wipe", "load")))
        if what == "settle":
            more = data.draw(visits_of(first, days[-1]))
            assert not settle(archive, days, more)
            kept += more
        elif what == "touch":
            persons = sorted(data.draw(st.sets(st.integers(0, 3), min_size=1)))
            low = [data.draw(edge) for _ in persons]
            high = [data.draw(edge) for _ in persons]
            taken = archive.take_touching(ints(persons), ints(low), ints(high))
            sides = {person: (low[place], high[place]) for place, person in enumerate(persons)}
            none = days[-1] * 2, 0
            out = [
                visit
                for visit in kept
                if visit.start <= sides.get(visit.person, none)[1] and visit.end >= sides.get(visit.person, none)[0]
            ]
            assert (listed(taken) if taken is not None else []) == sorted(out)
            kept = [visit for visit in kept if visit not in out]
        elif what == "derived" and kept:
            some = data.draw(st.lists(st.sampled_from(kept), max_size=5))
            wanted = [check_in(one) for one in some] + [(2, 1, one.start + 1, False) for one in some[:1]]
            taken = archive.take_begun(wanted, np.arange(8) // 2)
            same = [visit for visit in kept if visit.reason != LATE and check_in(visit) in wanted]
            got = listed(taken) if taken is not None else []
            assert {check_in(visit) for visit in got} == {check_in(visit) for visit in same}
            assert set(got) <= set(same)
            for visit in got:
                kept.remove(visit)
        elif what == "erase":
            before, person = data.draw(edge), data.draw(st.integers(0, 3))
            taken = archive.erase(person, before)
            out = [visit for visit in kept if visit.person == person and visit.start < before]
            assert (listed(taken) if taken is not None else []) == sorted(out)
            kept = [visit for visit in kept if visit not in out]
            assert archive.holds(person) == any(visit.person == person for visit in kept)
        elif what == "expire":
            before = data.draw(edge)
            archive.expire(before)
            kept = [visit for visit in kept if visit.end >= before]
        elif what == "wipe":
            while (erased := archive.erased) is not None:
                settle(archive, [erased.midnight_ms, erased.midnight_ms + 1], [], living=False)
        else:
            parts = archive.dump(archive.shelf.last)
            archive = Archive(archive.shelf)
            archive.load({name: part for name, part in parts.items() if part is not None})
        assert sorted(visit for segment in archive.all() for visit in listed(segment.visits())) == sorted(kept)
        assert len(archive) == len(kept)
        for day in days[:-1]:
            assert sum(segment.midnight_ms == day for segment in archive.segments) <= 3
        since, until = data.draw(edge), data.draw(edge)
        asked = {id(segment) for segment in archive.between(since, until)}
        for segment in archive.segments:
            shares = [visit for visit in listed(segment.visits()) if visit.start <= until and visit.end >= since]
            assert id(segment) in asked or not shares


def test_what_does_not_fit_lives_on() -> None:
    """A visit longer than a word can say stays a row, and is settled once it has been shortened."""
    midnight, after = day_of("Asia/Jakarta")
    long = Seen(1, 0, midnight, midnight + LONGEST_MS + 1, SELF_REPORTED, False, False)
    fits = long._replace(end=midnight + LONGEST_MS)
    archive = Archive(MemoryShelf())
    assert settle(archive, [midnight, after], [long, fits]) == [long]
    assert [visit for each in archive.all() for visit in listed(each.visits())] == [fits]
    assert settle(archive, [midnight, after], [long._replace(end=midnight + HOUR)]) == []


def test_no_day_has_more_than_26_hours() -> None:
    """Questions rely on it: a visit that began later in its day, if there ever is one, stays a row."""
    midnight, _ = day_of("Asia/Jakarta")
    late = Seen(1, 0, midnight + 26 * HOUR, midnight + 27 * HOUR, 0, False, False)
    archive = Archive(MemoryShelf())
    assert settle(archive, [midnight, midnight + 30 * HOUR], [late, late._replace(start=late.start - 1)]) == [late]


def test_lineages_that_came_later_have_no_visits() -> None:
    midnight, _ = day_of("Asia/Jakarta")
    segment, _ = Segment.build(midnight, sealed([Seen(1, 1, midnight, midnight + HOUR, 0, False, False)]), 2)
    one, far = np.array([0]), np.array([midnight + HOUR])
    for lineage, count in ((1, 1), (2, 0), (1 << 20, 0)):
        questions = (np.array([lineage]), one, far - HOUR, far, one, one)
        found = found_of(lambda each, ask=questions: each.at_lineages([segment], *ask))  # type: ignore[misc]
        assert len(found) == count


def test_one_long_living_visit_does_not_keep_all_rows_after_it() -> None:
    """Rows are let go of although one among them lives on for weeks; it is found where it was, with its flags."""
    zone = ZoneInfo("Asia/Jakarta")
    midnight, after = day_of("Asia/Jakarta")
    index = VisitIndex(1)
    lineage = index.lineages.take("v", ())
    person = index.take_people([f"p{number}" for number in range(100)])
    times = ints([midnight]), ints([midnight + 30 * 24 * HOUR])
    long = index.add(person[:1], ints([lineage]), *times, ints([SELF_REPORTED]), ints([MEETS]))
    index.births[0].add(ints([5]), long)
    for day in range(3):
        start = np.full(20_000, midnight + day * 24 * HOUR)
        who = np.resize(person, 20_000)
        none = np.zeros(20_000, np.int64)
        index.add(who, np.full(20_000, lineage), start, start + HOUR, none, none)
        index.settle(midnights(midnight, after + day * 24 * HOUR, zone))
    assert len(index) < 10_000
    rows = index.of_person(0)
    assert index.column("end")[rows].tolist() == [midnight + 30 * 24 * HOUR]
    assert index.column("flags")[rows].tolist() == [MEETS | AGAIN]
    assert index.births[0].find(ints([5])).tolist() == [-1]
    assert len(index.archive) == 60_000


def test_erased_persons_are_in_no_file(tmp_path: Path) -> None:
    """Once erased visits are wiped, no array of any file still in use holds the person's number."""
    midnight, after = day_of("Asia/Jakarta")
    marked = 0x5A5AA5A5
    visits = [Seen(number, 0, midnight, midnight + HOUR, 0, False, False) for number in (1, marked, 2)]
    archive = Archive(FileShelf(tmp_path))
    settle(archive, [midnight, after], visits)
    digits = [(marked << shift).to_bytes(8, "little")[:6].strip(b"\0")[1:4] for shift in (0, 1)]
    held = (tmp_path / archive.segments[0].file).read_bytes()
    assert all(each in held for each in digits)
    archive.erase(marked, after)
    assert archive.erased is archive.segments[0]
    settle(archive, [midnight, midnight + 1], [], living=False)
    held = (tmp_path / archive.segments[0].file).read_bytes()
    assert not any(each in held for each in digits)
    assert archive.erased is None
    assert len(archive) == 2


@pytest.mark.skipif(not compiled.COMPILED, reason="it is this run that is not compiled")
def test_a_plain_machine_gives_the_same() -> None:
    """Without numba the same Python answers the same; numbers that overflow are errors there."""
    tests = ["tests/test_segments.py", "tests/test_places.py", "tests/test_people.py", "tests/test_wire.py"]
    chosen = "segment_answers or archive_is or lineages or living_visit or erased or outlives or dict or order and 3]"
    chosen += " or digits or no_array"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests, "-k", chosen],
        env={**os.environ, "LACAK_WITHOUT_NUMBA": "1", "LACAK_TEST_EXAMPLES": "8"},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stdout[-3000:]

"""Places against a count by hand: presences, windows and shared stays of small random worlds, and named examples."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from contacts.archive import MemoryShelf
from contacts.days import midnight_ms, midnights
from contacts.incoming import NEVER
from contacts.people import Directory
from contacts.places import Places, unused_people
from contacts.visits import Visit
from contacts.windows import WindowRows
from schemas.blocks import (
    ASSUMED,
    CHECKED_OUT,
    LATE,
    NEXT_CHECK_IN,
    SELF_REPORTED,
    TOUCHES,
    Barrier,
    BlockError,
    Lineage,
    PlacedControl,
    VisitBlock,
)
from schemas.messages import SharedStay, StayEvidence, Venue

MINUTE = 60_000
WINDOW = 10 * MINUTE
DAY = 86_400_000
ZONE = ZoneInfo("Asia/Jakarta")
START = 1_782_000_000_000 // DAY * DAY
FAR = START + 400 * DAY
LINEAGES = [
    Lineage("stall"),
    Lineage("mall"),
    Lineage("shop", ("mall",)),
    Lineage("rack", ("shop", "mall")),
    Lineage("inn"),
]
Row = tuple[int, ...]
Window = tuple[int, int, int, int, int]


class Later(Executor):
    """A worker that does nothing before it is told to."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, work: Callable[[], None]) -> Future[None]:  # type: ignore[override]
        """Something to do."""
        self._waiting.append((Future(), work))
        return self._waiting[-1][0]

    def run(self) -> None:
        """Do it now."""
        for future, work in self._waiting:
            future.set_result(work())  # type: ignore[func-returns-value]
        self._waiting.clear()


class KeepingShelf(MemoryShelf):
    """A shelf that snapshots of any age can be read from."""

    def drop(self, name: str) -> None:
        """Nothing is let go of."""


def make(sources: int = 1, retention: int = 28 * DAY) -> Places:
    """Places that hold nothing."""
    return Places(sources, WINDOW, 3 * DAY, retention, ZONE, shelf=KeepingShelf())


def settle(places: Places, until_ms: int) -> None:
    """Settle all visits of the days before a time, over or not."""
    places.shared_stays("", 0, 1, None)  # works on what waits
    index = places._index
    if index.first_ms is not None and index.first_ms < midnight_ms(until_ms, ZONE):
        index.settle(midnights(index.first_ms, until_ms, ZONE))


def again(places: Places, sources: int, retention: int = 28 * DAY) -> Places:
    """The same places, out of a snapshot."""
    return Places.load(places.dump(), sources, WINDOW, 3 * DAY, retention, ZONE, shelf=places.shelf)


def block(
    source: int, rows: list[Row], persons: list[str], log_time: int, controls: list[PlacedControl] | None = None
) -> VisitBlock:
    """A block of rows (their lineage an index into LINEAGES)."""
    first = rows[0][0] if rows else 0
    packed = np.array(rows, np.int64).tobytes()
    after = rows[-1][0] + 1 if rows else 0
    return VisitBlock(source, first, after, log_time, LINEAGES, persons, packed, controls or [])


def counted(visits: list[Visit]) -> list[Visit]:
    """Those that count: with a length, and late ones only where nothing was derived for the same check-in."""
    some = [visit for visit in visits if visit.end_ms > visit.start_ms]
    derived = {visit[:3] for visit in visits if visit.reason < LATE}  # be they of no length
    kept: list[Visit] = []
    for visit in some:
        if visit.reason == LATE:
            if visit[:3] in derived:
                continue
            derived.add(visit[:3])
        kept.append(visit)
    return kept


def united(visits: list[Visit]) -> list[tuple[int, int, bool, bool]]:
    """Unions of touching visits: start, end, whether all that end there are assumed ends, whether one is declared."""
    found: list[list[Visit]] = []
    for visit in sorted(visits, key=lambda each: each.start_ms):
        if found and visit.start_ms <= max(each.end_ms for each in found[-1]):
            found[-1].append(visit)
        else:
            found.append([visit])
    unions = []
    for part in found:
        end = max(each.end_ms for each in part)
        assumed = all(each.reason in (ASSUMED, LATE) for each in part if each.end_ms == end)
        unions.append((part[0].start_ms, end, assumed, any(each.reason == SELF_REPORTED for each in part)))
    return unions


def presences(visits: list[Visit]) -> dict[str, list[tuple[int, int, bool]]]:
    """By venue, the presences of all persons."""
    by_key: dict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in counted(visits):
        for venue in (visit.venue, *visit.ancestors):
            by_key[venue, visit.person].append(visit)
    found: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
    for (venue, _), part in by_key.items():
        found[venue] += [union[:3] for union in united(part)]
    return found


def windows_by_hand(visits: list[Visit], until: int) -> dict[tuple[str, int], Window]:
    """All windows that have ended by a time."""
    found: dict[tuple[str, int], Window] = {}
    for venue, stays in presences(visits).items():
        slots = {slot for start, end, _ in stays for slot in range(start // WINDOW, end // WINDOW + 1)}
        for slot in slots:
            low, high = slot * WINDOW, (slot + 1) * WINDOW
            here = [(max(start, low), min(end, high)) for start, end, _ in stays if start < high and end > low]
            exits = [assumed for _, end, assumed in stays if low <= end < high]
            if high <= until and (here or exits):
                found[venue, low] = (
                    sum(low <= start < high for start, _, _ in stays),
                    len(exits),
                    sum(exits),
                    max((sum(a <= moment < b for a, b in here) for moment, _ in here), default=0),
                    sum(b - a for a, b in here),
                )
    return found


def shared_by_hand(
    visits: list[Visit], person: str, window: tuple[int, int], as_of: int | None, linger: int, direction: str
) -> list[tuple[str, SharedStay]]:
    """All pairs of stays that share time."""
    cut = FAR if as_of is None else as_of
    known = [visit._replace(end_ms=min(visit.end_ms, cut)) for visit in counted(visits) if visit.start_ms < cut]
    known.sort(key=lambda visit: (visit.venue, visit.person))
    stays = {key: united(list(part)) for key, part in groupby(known, key=lambda visit: (visit.venue, visit.person))}
    found = []
    for (venue, case), mine in stays.items():
        for (place, other), theirs in stays.items():
            if case != person or place != venue or other == case:
                continue
            for start, end, assumed, told in mine:
                first, last = max(start, window[0]), min(end, window[1])
                for other_start, other_end, other_assumed, other_told in theirs:
                    low = max(first, other_start)
                    high = min(last + linger * (direction == "forward"), other_end + linger * (direction == "backward"))
                    if first < last and low < high:
                        evidence = SharedStay(
                            venue=venue,
                            start_ms=low,
                            end_ms=high,
                            minutes=(high - low) / MINUTE,
                            case_stay=StayEvidence(start_ms=start, end_ms=end, end_assumed=assumed, self_reported=told),
                            contact_stay=StayEvidence(
                                start_ms=other_start,
                                end_ms=other_end,
                                end_assumed=other_assumed,
                                self_reported=other_told,
                            ),
                        )
                        found.append((other, evidence))
    return sorted(
        found, key=lambda pair: (pair[0], pair[1].venue, pair[1].start_ms, pair[1].end_ms, pair[1].case_stay.start_ms)
    )


class Born(NamedTuple):
    """A visit of the random world with its birth: (offset, scan), lineage, and whether it was erased."""

    visit: Visit
    birth: tuple[int, int]
    lineage: int


class World:
    """Random changes of visits, as the visits agent would send them: each person from one source."""

    def __init__(self, seed: int, sources: int) -> None:
        self.random = random.Random(seed)
        self.sources = sources
        self.people = {f"p{number}": number % sources for number in range(self.random.randint(1, 8))}
        self.born: dict[str, list[Born]] = {person: [] for person in self.people}
        self.offsets = [0] * sources
        self.erased: dict[str, int] = {}

    def visits(self) -> list[Visit]:
        """All visits as they are now, in order of birth."""
        return [born.visit for kept in self.born.values() for born in kept]

    def change(self, source: int) -> tuple[list[Row], list[str]]:
        """The rows of one record of a source."""
        offset = self.offsets[source]
        self.offsets[source] += self.random.randint(1, 3)
        rows: list[Row] = []
        persons: list[str] = []
        own = [person for person, home in self.people.items() if home == source]
        for scan in range(self.random.randint(1, 4) if own else 0):
            person = self.random.choice(own)
            kept = self.born[person]
            for change in range(self.random.randint(1, 2)):
                older = [number for number, born in enumerate(kept) if born.birth != (offset, scan)]
                if change or (older and self.random.random() < 0.5):
                    number = self.random.choice(older or [-1])
                    if number < 0 or kept[number].visit.reason == LATE:
                        continue
                    born = kept[number]
                    longer = self.random.choice((-60, -10, -7, 0, 5, 30)) * MINUTE
                    reason = self.random.choice((ASSUMED, CHECKED_OUT, NEXT_CHECK_IN))
                    if born.visit.reason == SELF_REPORTED:
                        reason = SELF_REPORTED
                        longer = self.random.choice((longer, born.visit.start_ms - born.visit.end_ms))  # withdrawn
                    end = max(born.visit.start_ms, born.visit.end_ms + longer)
                    after = born._replace(visit=born.visit._replace(end_ms=end, reason=reason))
                else:
                    number, born, after = len(kept), None, self._birth(person, (offset, scan))
                    if after.visit.start_ms < self.erased.get(person, NEVER):
                        continue
                    kind = (LATE, SELF_REPORTED) if after.visit.reason == SELF_REPORTED else (-1, LATE - 1)
                    if after.visit.reason != LATE and any(
                        other.visit[:3] == after.visit[:3] and kind[0] < other.visit.reason <= kind[1] for other in kept
                    ):
                        continue
                    kept.append(after)
                old = born.visit if born else after.visit._replace(end_ms=after.visit.start_ms)
                touches = after.visit.reason >= LATE or any(
                    other.visit.venue == after.visit.venue
                    and other.visit.reason < LATE
                    and other.visit.start_ms <= max(old.end_ms, after.visit.end_ms)
                    and other.visit.end_ms >= after.visit.start_ms
                    for place, other in enumerate(kept)
                    if place != number
                )
                kept[number] = after
                visit = after.visit
                times = (visit.start_ms, visit.end_ms, old.end_ms, visit.reason, old.reason, TOUCHES * touches)
                rows.append((offset, scan, change, *after.birth, after.lineage, *times))
                persons.append(person)
        return rows, persons

    def _birth(self, person: str, birth: tuple[int, int]) -> Born:
        lineage = self.random.randrange(len(LINEAGES))
        start = START + self.random.choice((0, 1, 1, 1, 2, 3)) * DAY
        start += (12 * 60 + self.random.randrange(0, 36) * 5) * MINUTE
        reason = self.random.choice((ASSUMED, ASSUMED, ASSUMED, ASSUMED, CHECKED_OUT, LATE, SELF_REPORTED))
        if self.random.random() < 0.2:
            start += 9 * 60 * MINUTE
        length = self.random.choice((0, 5, 10, 30, 60, 180, 720)) * MINUTE
        place = LINEAGES[lineage]
        return Born(Visit(person, place.venue, start, start + length, reason, place.ancestors), birth, lineage)

    def erase(self) -> tuple[str, int]:
        """Forget somebody's visits before some time."""
        person = self.random.choice(sorted(self.people))
        before = START + self.random.randrange(4 * 24) * 60 * MINUTE
        self.erased[person] = max(before, self.erased.get(person, NEVER))
        self.born[person] = [born for born in self.born[person] if born.visit.start_ms >= before]
        return person, before


def publish(published: dict[tuple[str, int], Window], told: WindowRows | None) -> None:
    """Take up windows as the recorder does. A window is never told twice the same, nor withdrawn when it never was."""
    if told is not None:
        for venue, start, *numbers in told.rows.tolist():
            key = told.venues[venue], start
            window = tuple(numbers)
            assert published.get(key, (0, 0, 0, 0, 0)) != window
            if any(window):
                published[key] = window
            else:
                del published[key]


def check_contacts(places: Places, visits: list[Visit], dice: random.Random, people: list[str]) -> None:
    """Shared stays of somebody are those found by hand."""
    person = dice.choice(people)
    start = START + dice.randrange(72) * 60 * MINUTE
    window = start, start + dice.randrange(1, 72) * 60 * MINUTE
    as_of = dice.choice((None, START + dice.randrange(96) * 60 * MINUTE))
    linger = dice.choice((0, 45 * MINUTE))
    direction = dice.choice(("forward", "backward"))
    expected = shared_by_hand(visits, person, window, as_of, linger, direction)
    assert places.shared_stays(person, *window, as_of, linger, direction) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(120))
def test_any_order_of_changes_gives_what_the_final_visits_give(seed: int) -> None:
    """Counts, windows and shared stays are a function of the visits as they are, through duplicates and snapshots."""
    world = World(seed, sources=seed % 3 + 1)
    dice = world.random
    places = make(world.sources)
    published: dict[tuple[str, int], Window] = {}
    counts: dict[str, tuple[int, int]] = {}
    replaying = False  # then some are told again, since another worker may have told something else meanwhile
    now = [START] * world.sources
    sent: list[VisitBlock] = []
    later = Later()
    for _ in range(dice.randint(3, 40)):
        source = dice.randrange(world.sources)
        now[source] += dice.choice((0, 1, 20, 120, 500)) * MINUTE
        rows, persons = world.change(source)
        sent.append(block(source, rows, persons, now[source]))
        places.apply(sent[-1])
        if dice.random() < 0.3:
            places.apply(dice.choice(sent))
        if dice.random() < 0.1:
            places.erase(*world.erase())
        if dice.random() < 0.1:
            places = again(places, world.sources)
            replaying = True
        if dice.random() < 0.2:
            settle(places, START + dice.randrange(5) * DAY)
        if dice.random() < 0.3:
            places.settle(later)
        if dice.random() < 0.3:
            later.run()
        if dice.random() < 0.4:
            publish(published, places.windows())
            if places.log_time_ms != NEVER:
                assert published == windows_by_hand(world.visits(), places.log_time_ms)
        if dice.random() < 0.4:
            for count in places.counts():
                assert replaying or counts.get(count.venue) != (count.inside, count.assumed_inside)
                counts[count.venue] = count.inside, count.assumed_inside
            if places.log_time_ms != NEVER:
                time = places.log_time_ms
                for venue, stays in presences(world.visits()).items():
                    inside = [assumed for start, end, assumed in stays if start <= time < end]
                    assert counts.get(venue, (0, 0)) == (len(inside), sum(inside))
        if dice.random() < 0.3:
            check_contacts(places, world.visits(), dice, sorted(world.people))
    for source in range(world.sources):
        places.apply(block(source, [], [], FAR))
    publish(published, places.windows())
    assert published == windows_by_hand(world.visits(), FAR)
    visits = counted(world.visits())
    offline: dict[tuple[str, int], Window] = {}
    from_files = Places.from_visits(visits, WINDOW)
    publish(offline, from_files.windows())
    assert offline == published
    check_contacts(from_files, visits, dice, sorted(world.people))


def row(
    offset: int, birth: int, start: int, end: int, reason: int = ASSUMED, lineage: int = 0, touches: int = 0
) -> Row:
    """A row of a record with one scan; minutes since START. The old end is not read."""
    times = (START + start * MINUTE, START + end * MINUTE, START)
    return (offset, 0, 0, birth, 0, lineage, *times, reason, ASSUMED, touches)


def test_people_leave_as_time_passes() -> None:
    """A count falls when the log time passes an end, with no message about the visit; it says what share is assumed."""
    places = make()
    assert places.log_time_ms == NEVER
    assert places.counts() == []
    assert places.windows() is None
    places.add_venue(Venue(venue="stall", capacity=3))
    places.apply(block(0, [row(0, 0, 0, 60), row(1, 1, 10, 70, CHECKED_OUT)], ["a", "b"], START + 20 * MINUTE))
    assert places.counts() == [("stall", 2, 1, 3)]
    assert places.counts() == []
    places.apply(block(0, [], [], START + 60 * MINUTE))
    assert places.counts() == [("stall", 1, 0, 3)]
    places.apply(block(0, [], [], START + 70 * MINUTE))
    assert places.counts() == [("stall", 0, 0, 3)]


def test_allowed_follows_the_date() -> None:
    """A dated capacity changes what is allowed when the log time reaches its date."""
    places = make()
    places.add_venue(Venue(venue="stall", capacity=3))
    places.add_venue(Venue(venue="stall", capacity=9, valid_from_ms=START + DAY))
    places.apply(block(0, [], [], START))
    assert places.counts() == [("stall", 0, 0, 3)]
    places.apply(block(0, [], [], START + DAY))
    assert places.counts() == [("stall", 0, 0, 9)]
    assert places.category("stall", START) == "other"


def test_log_time_is_the_least_of_the_sources() -> None:
    """While one source has not been heard nothing is told; then the slowest says what time it is."""
    places = make(2)
    places.apply(block(1, [row(0, 0, 0, 5)], ["a"], START + DAY))
    assert places.log_time_ms == NEVER
    assert places.counts() == []
    assert places.windows() is None
    places.apply(block(0, [], [], START + 10 * MINUTE))
    assert places.log_time_ms == START + 10 * MINUTE
    told = places.windows()
    assert told is not None
    assert told.venues == ["stall"]
    assert told.rows.tolist() == [[0, START, 1, 1, 1, 1, 5 * MINUTE]]
    assert [(at.offset, at.log_time_ms) for at in places.as_of()] == [(-1, START + 10 * MINUTE), (0, START + DAY)]


def test_a_presence_that_touches_a_window_ends_in_it() -> None:
    """Ending at a window's first moment is an exit in it, with nobody inside; a withdrawn visit withdraws both."""
    places = make()
    places.apply(block(0, [row(0, 0, 0, 10)], ["a"], START + DAY))
    told = places.windows()
    assert told is not None
    assert told.rows[:, 1:].tolist() == [[START, 1, 0, 0, 1, WINDOW], [START + WINDOW, 0, 1, 1, 0, 0]]
    places.apply(block(0, [row(1, 0, 0, 0)], ["a"], START + DAY))
    told = places.windows()
    assert told is not None
    assert told.rows[:, 1:].tolist() == [[START, 0, 0, 0, 0, 0], [START + WINDOW, 0, 0, 0, 0, 0]]
    assert places.windows() is None


def test_a_mall_holds_those_in_its_shops_once() -> None:
    """Somebody in a mall and in its shop is one presence of the mall, from the first start to the last end."""
    places = make()
    rows = [row(0, 0, 0, 30, lineage=1), row(1, 1, 10, 50, CHECKED_OUT, lineage=2)]
    places.apply(block(0, rows, ["a", "a"], START + 20 * MINUTE))
    assert places.counts() == [("mall", 1, 0, None), ("shop", 1, 0, None)]


def test_late_visits_give_way() -> None:
    """A late visit counts until the same check-in comes in time, even if that one then falls to nothing."""
    places = make()
    places.apply(block(0, [row(0, 0, 0, 60, LATE, touches=1)], ["a"], START))
    places.apply(block(0, [row(1, 1, 0, 60, LATE, touches=1)], ["a"], START + MINUTE))
    assert places.counts() == [("stall", 1, 1, None)]
    places.apply(block(0, [row(2, 2, 0, 30, CHECKED_OUT)], ["a"], START + 40 * MINUTE))
    assert places.counts() == [("stall", 0, 0, None)]
    places.apply(block(0, [row(3, 2, 0, 0, CHECKED_OUT)], ["a"], START + 40 * MINUTE))
    assert places.counts() == []


def test_controls_come_once() -> None:
    """A block sent again moves nothing and gives no control twice."""
    places = make()
    barrier = PlacedControl(5, START, Barrier("q"))
    sent = block(0, [row(4, 4, 0, 60)], ["a"], START, [barrier])
    assert places.apply(sent) == [barrier]
    assert places.counts() == [("stall", 1, 1, None)]
    assert places.apply(sent) == []
    assert again(places, 1).apply(sent) == []
    assert places.counts() == []
    assert places.windows() is None


def test_an_unsound_block_is_refused_whole() -> None:
    """A block that contradicts itself raises and leaves everything as it was."""
    places = make()
    good = block(0, [row(0, 0, 0, 60), row(1, 1, 0, 60)], ["a", "b"], START)
    fields = {name: getattr(good, name) for name in VisitBlock.__struct_fields__}
    wrong: list[dict[str, object]] = [
        {"source_partition": 1},
        {"persons": ["a"]},
        {"rows": good.rows[:-8]},
        {"lineages": []},
        {"rows": good.rows[96:] + good.rows[:96]},
    ]
    for change in wrong:
        with pytest.raises(BlockError):
            places.apply(VisitBlock(**{**fields, **change}))
    assert places.log_time_ms == NEVER
    places.apply(good)
    assert places.counts() == [("stall", 2, 2, None)]


def test_an_erasure_by_another_source_first() -> None:
    """Rows of an erased visit that come before the person's own source erases it are taken back by that erasure."""
    places = make()
    places.apply(block(0, [row(0, 0, 0, 60)], ["a"], START + MINUTE))
    places.erase("a", START + DAY)
    assert places.counts() == []
    places.apply(block(0, [row(1, 0, 0, 50)], ["a"], START + MINUTE))
    places.apply(block(0, [row(2, 0, 0, 40)], ["a"], START + MINUTE))
    assert places.counts() == [("stall", 1, 1, None)]
    places.erase("a", START + DAY)
    assert places.counts() == [("stall", 0, 0, None)]
    assert places.shared_stays("a", START, FAR, None) == []


def test_nothing_outlives_the_retention() -> None:
    """Old visits and their persons' names go by whole days, with no word about their windows; the rest stays right."""
    places = make(retention=2 * DAY)
    midnight = 17 * 60  # in minutes since START, which is 07:00 in Jakarta
    rows = [row(0, 0, 0, 60), row(1, 1, midnight - 30, midnight + 30), row(2, 2, midnight + 5, midnight + 15)]
    places.apply(block(0, rows, ["old", "over", "new"], START + DAY))
    assert places.windows() is not None
    places.apply(block(0, [], [], START + midnight * MINUTE + 2 * DAY))
    places.expire()
    assert places.windows() is None
    kept = again(places, 1, 2 * DAY)
    for each in (places, kept):
        assert not any(b"old" in part for part in each.dump().values())
        assert [other for other, _ in each.shared_stays("new", START, FAR, None)] == ["over"]
        each.apply(block(0, [row(3, 1, midnight - 30, midnight + 40)], ["over"], START))
        told = each.windows()
        assert told is not None
        first = START + (midnight + 30) * MINUTE
        assert told.rows[:, 1:].tolist() == [[first, 0, 0, 0, 1, WINDOW], [first + WINDOW, 0, 1, 1, 0, 0]]


def test_many_visits_of_many_chunks() -> None:
    """Shared stays are found in the sorted part of the index as in its unsorted end, before and after a snapshot."""
    dice = np.random.default_rng(1)
    count = 300_000
    start = START + dice.integers(0, 20 * DAY // MINUTE, count) * MINUTE
    end = start + dice.integers(1, 240, count) * MINUTE
    persons = [f"p{number}" for number in dice.integers(0, 100_000, count)]
    venues = [f"v{number}" for number in dice.integers(0, 300, count)]
    columns = zip(persons, venues, start.tolist(), end.tolist(), strict=True)
    visits = [Visit(person, venue, low, high, ASSUMED) for person, venue, low, high in columns]
    places = Places.from_visits(visits, WINDOW)
    mine = {visit.venue for visit in visits if visit.person == "p7"}
    near = [visit for visit in visits if visit.venue in mine]
    expected = shared_by_hand(near, "p7", (START, START + 9 * DAY), START + 8 * DAY, 0, "forward")
    assert expected
    assert places.shared_stays("p7", START, START + 9 * DAY, START + 8 * DAY) == expected
    assert again(places, 1).shared_stays("p7", START, START + 9 * DAY, START + 8 * DAY) == expected
    settle(places, START + 12 * DAY)
    assert places.shared_stays("p7", START, START + 9 * DAY, START + 8 * DAY) == expected
    assert again(places, 1).shared_stays("p7", START, START + 9 * DAY, START + 8 * DAY) == expected


@pytest.mark.parametrize("settled", [(), (0,), (0, 1)])
def test_of_two_late_visits_the_first_counts_wherever_they_are(settled: tuple[int, ...]) -> None:
    """A late copy that the registry has given another length since does not take the first one's place."""
    places = make()
    for offset, minutes in enumerate((60, 20, 40)):
        places.apply(block(0, [row(offset, offset, 0, minutes, LATE, touches=1)], ["a"], START + DAY))
        if offset in settled:
            settle(places, START + 2 * DAY)
    for _ in range(2):
        told = places.windows()
        assert told is None or sum(told.rows[:, 2].tolist()) == 1
        assert Places.shared_stays(places, "a", START, FAR, None) == []
        index = places._index
        index.revive_all(0, FAR)
        rows = index.of_person(0)
        counted_ends = {int(index.column("end")[each]) for each in rows[index.live(rows)]}
        assert counted_ends == {START + 60 * MINUTE}
        settle(places, START + 2 * DAY)


def test_whom_waiting_rows_bring_is_in_use() -> None:
    """Who comes with rows that no partition has taken up yet is in use, and has a number by then."""
    people = Directory()
    gone = people.take(["nobody"]).tolist()
    partitions = [Places(1, WINDOW, 3 * DAY, 28 * DAY, ZONE, people, KeepingShelf()) for _ in range(2)]
    for number, places in enumerate(partitions):
        places.apply(block(0, [row(0, 0, 0, 10)], [f"person {number}"], START))
    assert unused_people(people, partitions) == gone
    assert len(people) == 3


def test_persons_that_only_another_partition_has_met() -> None:
    """Partitions share a directory: whoever is asked about or erased may have no visit here, nor room for one."""
    people = Directory()
    here, there = (Places(1, WINDOW, DAY, 2 * DAY, ZONE, people, KeepingShelf()) for _ in range(2))
    here.apply(block(0, [row(0, 0, 0, 60), row(1, 1, 0, 30)], ["a", "b"], START))
    assert len(here.shared_stays("a", START, FAR, None)) == 1
    there.apply(block(0, [row(number, number, 0, 60) for number in range(5000)], [f"t{n}" for n in range(5000)], START))
    assert there.shared_stays("a", START, FAR, None) == []
    for name in ("t4999", "t0"):
        assert here.shared_stays(name, START, FAR, None) == []
        here.erase(name, FAR)
        assert not here.holds(people.number(name))

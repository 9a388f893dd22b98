"""The gateway's own scans count once from the decision to the count that has them: no more, and never less."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.registry import Place
from gateway.ownscans import OwnScans
from schemas.messages import Scan, ScanKind

HOUR_MS = 3_600_000
ANCESTORS = {"mall": (), "shop": ("mall",), "kiosk": ("shop", "mall"), "cafe": ("mall",), "park": ()}


def place(venue: str, at_ms: int) -> Place:
    """A stay lasts an hour everywhere."""
    return Place(venue, HOUR_MS, HOUR_MS, ANCESTORS[venue])


def scan(person: str, venue: str, kind: ScanKind, at_ms: int) -> Scan:
    """A scan."""
    return Scan(person=person, venue=venue, kind=kind, at_ms=at_ms)


STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(sorted(ANCESTORS)), st.sampled_from(["in", "out"])),
    max_size=20,
)


def truth(scans: list[Scan], at_ms: int) -> dict[str, int]:
    """How many are inside each venue, by the visits of facts/visits.md: closed by the next, nested ones kept."""
    inside: dict[str, int] = dict.fromkeys(ANCESTORS, 0)
    for person in {each.person for each in scans}:
        open_stays: dict[str, int] = {}
        for each in (one for one in scans if one.person == person):
            over = [venue for venue, start in open_stays.items() if start + HOUR_MS <= each.at_ms]
            for venue in over:
                del open_stays[venue]
            if each.kind == "in":
                open_stays = {venue: at for venue, at in open_stays.items() if venue in ANCESTORS[each.venue]}
                open_stays[each.venue] = each.at_ms
            else:
                open_stays = {
                    venue: at
                    for venue, at in open_stays.items()
                    if venue != each.venue and each.venue not in ANCESTORS[venue]
                }
        for venue in ANCESTORS:
            inside[venue] += any(
                venue == stay or venue in ANCESTORS[stay]
                for stay, start in open_stays.items()
                if start + HOUR_MS > at_ms
            )
    return inside


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(0, 20), st.integers(0, 20))
def test_last_count_and_own_scans_are_the_people_inside(
    steps: list[tuple[str, str, ScanKind]], acknowledged: int, counted: int
) -> None:
    """However many of the scans are acknowledged, and however many of those counted: the sum is the truth.

    (Of people whom this gateway has seen come in; that is what it can know.)
    """
    counted, acknowledged = min(counted, acknowledged, len(steps)), min(acknowledged, len(steps))
    now_ms = 1000 + len(steps)
    own = OwnScans(place, lambda _: 0)
    scans, marks = [], []
    seen: set[str] = set()
    for number, (person, venue, kind) in enumerate(steps):
        kind = kind if person in seen else "in"
        seen.add(person)
        scans.append(scan(person, venue, kind, 1000 + number))
        marks.append(own.add(scans[-1:], now_ms))
    for number, mark in enumerate(marks[:acknowledged]):
        own.acknowledged(mark, 1000 + number)
    counts = truth(scans[:counted], now_ms)
    expected = truth(scans, now_ms)
    if counted:
        for venue in ANCESTORS:
            own.counted(venue, 1000 + counted - 1)
    assert {venue: counts[venue] + own.more(venue, now_ms) for venue in ANCESTORS} == expected


def test_what_the_brokers_have_is_let_go_by_the_partitions_log_time_or_in_the_end() -> None:
    """A scan that changed no count brings no message: others of the partition, or time, let it go."""
    log_time = 0
    own = OwnScans(place, lambda _: log_time, longest_ms=30_000)
    mark = own.add([scan("a", "park", "in", 0)], 0)
    own.acknowledged(mark, 1000)
    assert own.more("park", 2000) == 1
    log_time = 2999
    assert own.more("park", 2000) == 1
    log_time = 3001
    assert own.more("park", 2000) == 0
    mark = own.add([scan("b", "park", "in", 0)], 0)
    own.acknowledged(mark, 5000)
    assert own.more("park", 35_000) == 1
    assert own.more("park", 35_001) == 0


def test_who_is_not_known_to_be_inside_goes_out_of_that_place_alone() -> None:
    own = OwnScans(place, lambda _: 0)
    own.add([scan("a", "kiosk", "out", 0)], 0)
    assert {venue: own.more(venue, 0) for venue in ANCESTORS} == {
        "mall": 0, "shop": 0, "kiosk": -1, "cafe": 0, "park": 0
    }  # fmt: skip


def test_old_and_future_scans_and_refusals_add_nothing_and_undo_is_exact() -> None:
    own = OwnScans(place, lambda _: 0)
    now_ms = 10 * HOUR_MS
    own.add([scan("a", "mall", "in", now_ms - HOUR_MS), scan("b", "mall", "in", now_ms + HOUR_MS)], now_ms)
    own.add([scan("c", "mall", "refused", now_ms)], now_ms)
    assert own.more("mall", now_ms) == 0
    chance = random.Random(3)
    for number in range(50):
        venue = chance.choice(sorted(ANCESTORS))
        own.undo(own.add([scan(f"p{number}", venue, "in", now_ms)], now_ms))
    assert all(own.more(venue, now_ms) == 0 for venue in ANCESTORS)

"""Steps that a part of the log only put by: counts and windows are those of steps that were worked on as they came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.columns import ints
from contacts.occupancy import Inside
from contacts.passing import Passing, _by_page
from contacts.steps import Raw, Words, of_presences
from contacts.windows import Windows

WINDOW = 600_000
WORDS = Words(WINDOW)
VENUES, SLOTS = 3, 40

Presence = tuple[int, int, int, bool]

_TIME = st.integers(0, 20 * WINDOW)
_MANY = st.lists(st.tuples(st.integers(0, VENUES - 1), _TIME, _TIME, st.booleans()), min_size=1, max_size=8)
_TURNS = st.lists(
    st.tuples(_MANY, st.integers(0, 9), st.sampled_from([0, 1, WINDOW, 5 * WINDOW, 13 * WINDOW])), max_size=6
)


def raw(made: Sequence[Presence], weight: int) -> list[Raw]:
    """The steps of presences."""
    venue, start, end, assumed = (ints(column) for column in zip(*made, strict=True)) if made else (ints([]),) * 4
    return of_presences(venue, np.minimum(start, end), np.maximum(start, end) + 1, assumed != 0, weight)


def give(parts: list[Raw], inside: Inside, windows: Windows) -> None:
    """Steps, worked on at once."""
    steps = WORDS.net(parts)
    inside.add(steps)
    windows.add(steps)


def numbers(windows: Windows, log_time_ms: int) -> dict[tuple[int, int], tuple[int, ...]]:
    """All windows closed by a log time that are not empty, by slot and venue."""
    cells = windows.close(log_time_ms)
    slot, venue = (each.ravel() for each in np.meshgrid(np.arange(SLOTS), np.arange(VENUES), indexing="ij"))
    closed = slot < log_time_ms // WINDOW
    cells = windows.also(cells, slot[closed], venue[closed])
    rows = zip(cells.slot.tolist(), cells.venue.tolist(), cells.numbers.tolist(), strict=True)
    return {(at, where): tuple(found) for at, where, found in rows if any(found)}


@settings(max_examples=300, deadline=None)
@given(_TURNS, st.one_of(st.none(), _TIME), _TURNS, st.booleans())
def test_what_was_passed_over_is_as_if_it_had_been_worked_on(
    before: list[tuple[list[Presence], int, int]],
    forgotten_ms: int | None,
    after: list[tuple[list[Presence], int, int]],
    saved: bool,
) -> None:
    """Late and early presences, some taken back, over pages that time has passed or not; and then corrected as ever."""
    inside, windows, passing = Inside(WORDS), Windows(WORDS), Passing(WORDS)
    inside.make_room(VENUES)
    windows.make_room(VENUES)
    passing.make_room(VENUES)
    given_so_far: list[Presence] = []
    now_ms = 0
    for number, (made, gone, passed_ms) in enumerate(before):
        now_ms += passed_ms
        given_so_far += made
        parts = raw(made, 1) + raw([given_so_far.pop(0) for _ in range(min(gone, len(given_so_far)))], -1)
        give(parts, inside, windows)
        passing.add(parts)
        inside.advance(now_ms)
        windows.close(now_ms, told=False)
        passing.advance(now_ms)
        closed_ms = min(passing.closed_until_ms, windows.closed_until_ms)
        if number == len(before) // 2 and forgotten_ms is not None and forgotten_ms <= closed_ms:
            windows.forget(forgotten_ms)
            passing.forget(forgotten_ms)
    taken_inside, taken_windows = Inside(WORDS), Windows(WORDS)
    taken_inside.take_over(passing)
    taken_inside.add(passing.ahead())
    taken_windows.take_over(passing)
    taken_windows.add(passing.ahead())
    taken_windows.close(now_ms, told=False)
    taken_inside.advance(now_ms)
    if saved:
        parts_of_it = {name: bytes(part) for name, part in taken_windows.dump().items()}
        taken_windows = Windows(WORDS)
        taken_windows.load(parts_of_it)
    for made, gone, passed_ms in [([], 0, 0), *after, ([], 0, 9 * WINDOW)]:
        now_ms += passed_ms
        given_so_far += made
        parts = raw(made, 1) + raw([given_so_far.pop(0) for _ in range(min(gone, len(given_so_far)))], -1)
        give(parts, inside, windows)
        give(parts, taken_inside, taken_windows)
        inside.advance(now_ms)
        taken_inside.advance(now_ms)
        assert taken_inside.inside[:VENUES].tolist() == inside.inside[:VENUES].tolist()
        assert taken_inside.assumed[:VENUES].tolist() == inside.assumed[:VENUES].tolist()
        assert numbers(taken_windows, now_ms) == numbers(windows, now_ms)


@given(st.lists(st.tuples(st.one_of(st.integers(-5, 5), st.integers(-(2**40), 2**40)), st.integers(0, 9)), min_size=1))
def test_steps_are_told_apart_by_page(steps: list[tuple[int, int]]) -> None:
    """Each page once, its steps as they came, near to each other or far apart."""
    wanted: dict[int, list[int]] = {}
    for page, key in steps:
        wanted.setdefault(page, []).append(key)
    pages, keys = (ints(column) for column in zip(*steps, strict=True))
    assert {page: found.tolist() for page, found in _by_page(pages, keys)} == wanted


def test_a_page_is_made_when_it_is_asked_for() -> None:
    """Until then its steps take eight bytes each, and who was inside when it began."""
    passing, windows = Passing(WORDS), Windows(WORDS)
    passing.make_room(VENUES)
    passing.add(raw([(0, WINDOW, 30 * WINDOW, False)], 1))
    passing.advance(25 * WINDOW)
    windows.take_over(passing)
    windows.add(passing.ahead())
    assert not any(name.startswith("page.") for name in windows.dump())
    assert windows.dump()["raw.2.carry"].nbytes == 4  # type: ignore[union-attr]
    cells = windows.also(windows.close(25 * WINDOW), ints([9]), ints([0]))
    assert (cells.slot[-1], cells.numbers[-1].tolist()) == (9, [0, 0, 0, 1, WINDOW])
    assert {name for name in windows.dump() if name.endswith(".key")} == {"page.2.key", "page.6.key"}

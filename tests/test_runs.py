"""Rows by venue and time: sorted as they come or when somebody asks, a search finds what a look at all rows does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contacts.columns import Ints, ints
from contacts.runs import Asked, Runs

HOUR = 3_600_000
GONE, OUT = 1, 2


class Row(NamedTuple):
    """A visit of the living index, with its flags."""

    venue: int
    start: int
    end: int
    flags: int


ROWS = st.lists(
    st.builds(
        lambda venue, start, length, flags: Row(venue, start, start + length, flags),
        st.integers(0, 3), st.integers(0, 20 * HOUR), st.integers(0, 3 * HOUR), st.sampled_from((0, 0, 0, OUT)),
    ),
    max_size=60,
)  # fmt: skip


def column(rows: list[Row], name: str) -> Ints:
    """One of the columns."""
    return ints([getattr(row, name) for row in rows])


def found(runs: Runs, rows: list[Row], venue: int, since: int, until: int) -> list[int]:
    """What a search finds."""
    longest = max((row.end - row.start for row in rows), default=0)
    asked = Asked(*(ints([each]) for each in (7, venue, since, until)))
    flags = column(rows, "flags").astype(np.uint8)
    number, row = runs.search(asked, longest, column(rows, "start"), column(rows, "end"), flags, GONE | OUT)
    assert (number == 7).all()
    return sorted(row.tolist())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_search_finds_what_a_look_at_all_rows_does(monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    """Whatever is added, put off, sorted and let go of in between."""
    monkeypatch.setattr("contacts.runs._SMALLEST", 4)
    monkeypatch.setattr("contacts.runs._LARGEST", 64)
    runs, rows = Runs(), list[Row]()
    for _ in range(data.draw(st.integers(1, 8))):
        what = data.draw(st.sampled_from(("add", "add", "add", "defer", "drop", "search")))
        if what == "add":
            more = data.draw(ROWS)
            rows += more
            runs.add(column(more, "venue"), column(rows, "start"))
        elif what == "defer":
            runs.deferred = not runs.deferred
            if not runs.deferred:
                runs.catch_up(column(rows, "start"))
        elif what == "drop":
            first = data.draw(st.integers(0, len(rows)))
            rows = [row._replace(flags=GONE) for row in rows[:first]] + rows[first:]
            count = runs.droppable(column(rows, "flags") == GONE)
            living = [row for row in rows[:count] if row.flags != GONE]
            assert len(living) <= count / 64
            rows += living  # as the index moves them
            runs.add(column(living, "venue"), column(rows, "start"))
            runs.drop(count)
            rows = rows[count:]
        since, until = sorted((data.draw(st.integers(0, 23 * HOUR)), data.draw(st.integers(0, 23 * HOUR))))
        if what == "search":
            venue = data.draw(st.integers(0, 4))
            assert found(runs, rows, venue, since, until) == [
                number
                for number, row in enumerate(rows)
                if row.venue == venue and not row.flags and row.start < until and row.end > max(since, row.start)
            ]


def test_rows_that_were_put_off_can_be_let_go_of_unsorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rebuild has settled is dropped in whole runs of the largest size, behind those that were sorted before."""
    monkeypatch.setattr("contacts.runs._SMALLEST", 4)
    monkeypatch.setattr("contacts.runs._LARGEST", 64)
    runs, start = Runs(), np.arange(84 + 130)
    runs.add(np.zeros(84, np.int64), start[:84])
    runs.deferred = True
    runs.add(np.zeros(130, np.int64), start)
    assert runs.droppable(start >= 0) == 84 + 2 * 64
    assert runs.droppable(start < 84 + 70) == 84 + 64


def test_more_rows_than_a_run_holds_are_sorted_when_asked_for() -> None:
    runs, start = Runs(), np.arange(2 << 18)
    runs.deferred = True
    runs.add(np.zeros(len(start), np.int64), start)
    asked = Asked(ints([0]), ints([0]), ints([0]), ints([len(start)]))
    _, row = runs.search(asked, 1, start, start + 1, np.zeros(len(start), np.uint8), GONE)
    assert np.array_equal(np.sort(row), start)

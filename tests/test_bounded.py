"""What a places state keeps of a crowd that stays the same is level once the retention has passed."""

from __future__ import annotations

from collections import Counter
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.crowd import SOURCES, START_MS, Crowd
from bench.held import held
from bench.memory import keep_house
from contacts.columns import Columns
from contacts.index import VisitIndex
from contacts.places import Places
from contacts.windows import Windows, default_window_ms

_DAY_MS = 86_400_000
_RETENTION_DAYS = 2
_LEVEL_DAYS = range(5, 14)
"""From the fifth day on all is full: the retention, the day itself, the one that waits to be settled."""

_BYTES_A_VISIT = 2.0
"""What the noise of a small state comes to: rows are dropped in runs of 4,096."""

_BYTES_A_PERSON = 50.0
"""Of somebody who never comes again the number stays: two halves and a tag (17 bytes), a head and a mark of the index
(5, and as much of room), and 5.3 to 10.7 in the table; these two double now and then, which a slope sees larger."""


def grown(days: range, new_each_ms: int = 0) -> tuple[Counter[str], float]:
    """By name how many bytes more a visit there are, by the slope over the days; and of the whole."""
    crowd = Crowd(3000, 40, 0.25, new_each_ms=new_each_ms)
    zone = ZoneInfo("Asia/Jakarta")
    places = Places(SOURCES, default_window_ms(), _DAY_MS, _RETENTION_DAYS * _DAY_MS, zone)
    visits: list[int] = []
    sizes: list[Counter[str]] = []
    for day in range(days.stop):
        first_ms = START_MS + day * _DAY_MS
        for number, block in enumerate(crowd.blocks(first_ms, first_ms + _DAY_MS, 1_800_000), 1):
            places.apply(block)
            if number % SOURCES == 0:
                keep_house(places)
        if day in days:
            visits.append(places.born)
            sizes.append(held(places, 2))
    slope: Counter[str] = Counter()
    for name in set().union(*sizes):
        slope[name] = np.polyfit(visits, [each[name] for each in sizes], 1)[0]
    return slope, float(sum(slope.values()))


def test_memory_is_level_with_the_same_people() -> None:
    """People who come again and again: every structure of the state, each by itself and all together, is level."""
    slope, whole = grown(_LEVEL_DAYS)
    assert whole < _BYTES_A_VISIT, slope.most_common(5)
    assert max(slope.values()) < _BYTES_A_VISIT, slope.most_common(5)


def test_of_who_never_comes_again_a_number_is_kept() -> None:
    """People who are others every day: the directory of numbers grows, as it says, by the person; all else is level."""
    slope, _ = grown(_LEVEL_DAYS, new_each_ms=_DAY_MS)
    visits_a_person = 0.25 * 86_400 / 3000
    of_people = sum(slope.pop(name) for name in ("index.people", "index.head", "index.odd"))
    assert 17 / visits_a_person < of_people < _BYTES_A_PERSON / visits_a_person
    assert sum(slope.values()) < _BYTES_A_VISIT, slope.most_common(5)


@pytest.mark.parametrize(("owner", "method"), [(Windows, "forget"), (VisitIndex, "tidy"), (VisitIndex, "expire")])
def test_a_leak_is_seen(owner: type, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a state lets go of something, leaving that out is noticed: so the tests above can fail."""
    monkeypatch.setattr(owner, method, lambda *_: None)
    _, whole = grown(range(3, 9))
    assert whole > 2 * _BYTES_A_VISIT


def test_all_that_can_be_reached_is_counted() -> None:
    """Columns count what is filled, arrays that share memory once, and what lies in containers has their name."""
    columns = Columns(one="i8", two="u1")
    columns.grow(1000)

    class Holder:
        def __init__(self) -> None:
            self._columns = columns
            self.whole = np.zeros(500)
            self.part = self.whole[:10]
            self.pieces = {1: [np.zeros(3000, np.uint8)]}

    found = held(Holder())
    assert found["columns.one"] == 8000
    assert found["columns.two"] == 1000
    assert found["whole"] + found["part"] == 4000
    assert 3000 < found["pieces"] < 3600

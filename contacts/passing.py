"""A part of the log that has all been told of, and that nobody needs to hear of again: its steps, only put by.

Whoever rebuilds a state goes through two weeks of steps, and of hardly any window is anything asked later. So steps are
put by page as they come, neither sorted nor netted, and of a page that log time has passed only who was inside when it
began is noted. Windows are made of a page when one of them is asked for (`RawPage.made`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from contacts.columns import Ints, distinct, numbered
from contacts.compiled import compiled
from contacts.sorting import sort_words
from contacts.steps import (
    DOUBT,
    KIND_BITS,
    NO_STEPS,
    PAGE_BITS,
    Raw,
    Steps,
    Weights,
    Words,
    count_steps,
    kind_of,
    pass_window,
    summed,
)

_WEIGHT_BITS: Final = 2  # a step adds one or takes one away: 3 or 1 here, as `summed` reads it
_NO_WEIGHT: Final = 1 << (_WEIGHT_BITS - 1)
_SLOTS: Final = (1 << PAGE_BITS) - 1
_WIDE: Final = 1 << 16  # steps lie within so many pages, unless times are wild


class RawPage(NamedTuple):
    """The steps of a page's windows as they came: `steps` in any order, each a key (slot in the page, word) and its
    weight in one number. Who was inside when the page began is the sum of what `carry` has of a venue."""

    venue: Weights
    carry: Weights
    steps: Ints

    def made(self, words: Words, venues: int) -> tuple[Ints, Weights]:
        """The keys and weights of the steps of all its windows: in order, each once, the CARRY of each window too."""
        inside = np.zeros(venues, np.int64)
        np.add.at(inside, self.venue, self.carry)
        packed = sort_words(self.steps.copy())
        key, weight = np.empty(len(packed), np.int64), np.empty(len(packed), np.int64)
        count = summed(packed, _WEIGHT_BITS, key, weight)
        known = kind_of(key[:count]) != DOUBT
        key, weight = key[:count][known], weight[:count][known]
        edges = np.searchsorted(key, np.arange((1 << PAGE_BITS) + 1) << words.bits).tolist()
        keys, weights = [], []
        for slot, (first, last) in enumerate(pairwise(edges)):
            low = slot << words.bits
            merged, total = pass_window(inside, key[first:last] - low, weight[first:last], words)
            keys.append(merged + low)
            weights.append(total)
        return np.concatenate(keys), np.concatenate(weights)


class _Growing:
    """A `RawPage` that still grows."""

    def __init__(self) -> None:
        self.venues: list[Weights] = []
        self.carries: list[Weights] = []
        self.steps: list[Ints] = []

    def carry(self, venue: Ints, change: Ints) -> None:
        """So many more are inside venues when it begins."""
        self.venues.append(venue.astype(np.int32))
        self.carries.append(change.astype(np.int32))

    def joined(self) -> RawPage:
        """What it is so far, in one piece."""
        for pieces, kind in ((self.venues, np.int32), (self.carries, np.int32), (self.steps, np.int64)):
            if len(pieces) != 1:
                pieces[:] = [np.concatenate([np.empty(0, kind), *pieces])]  # type: ignore[arg-type,list-item]
        return RawPage(self.venues[0], self.carries[0], self.steps[0])


class Passing:
    """The steps of all visits so far, by page. `frontier` is the first page that log time has not passed, None before
    it has passed any; `inside` and `assumed` are the counts of each venue when that page begins."""

    def __init__(self, words: Words) -> None:
        self.frontier: int | None = None
        self.floor: int | None = None
        self.inside, self.assumed = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._words = words
        self._pages: dict[int, _Growing] = {}

    @property
    def closed_until_ms(self) -> int:
        """When the first page begins that log time has not passed; a very small number before it has passed any."""
        return -(1 << 62) if self.frontier is None else (self.frontier << PAGE_BITS) * self._words.window_ms

    def make_room(self, venues: int) -> None:
        """See that there is room for so many venues."""
        if venues > len(self.inside):
            more = np.zeros(max(64, venues * 3 // 2) - len(self.inside), np.int64)
            self.inside, self.assumed = np.append(self.inside, more), np.append(self.assumed, more)

    def add(self, parts: Sequence[Raw]) -> None:
        """Take steps in."""
        steps = parts[0] if len(parts) == 1 else Raw(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        if not len(steps.venue):
            return
        page, key = np.empty(len(steps.venue), np.int64), np.empty(len(steps.venue), np.int64)
        _keyed(*steps, self._words.window_ms, self._words.ms_bits, self._words.bits, page, key)
        for number, keys in _by_page(page, key):
            if self.frontier is not None and number < self.frontier:
                self._late(number, keys)
            if not self._forgotten(number):
                self._page(number).steps.append(keys)

    def _page(self, number: int) -> _Growing:
        return self._pages.setdefault(number, _Growing())

    def _forgotten(self, number: int) -> bool:
        return self.floor is not None and (number + 1) << PAGE_BITS <= self.floor

    def _late(self, number: int, steps: Ints) -> None:
        """Steps of a page that log time has passed: others are inside when later pages begin."""
        assert self.frontier is not None
        venue = distinct(self._words.venue(self._word(steps)))
        before = self.inside[venue]
        self._count(steps)
        change = self.inside[venue] - before
        venue, change = venue[change != 0], change[change != 0]
        if len(venue):
            for later in range(number + 1, self.frontier):
                if not self._forgotten(later):
                    self._page(later).carry(venue, change)

    def _count(self, steps: Ints) -> None:
        count_steps(self._word(steps), _weight(steps), self._words.venue_shift, self.inside, self.assumed)

    def _word(self, steps: Ints) -> Ints:
        return (steps >> _WEIGHT_BITS) & ((1 << self._words.bits) - 1)

    def advance(self, log_time_ms: int) -> None:
        """Let log time pass."""
        ends = (log_time_ms // self._words.window_ms) >> PAGE_BITS
        if self.frontier is None:
            first = min(self._pages, default=ends)
            if first >= ends:
                return
            self.frontier = first
        while self.frontier < ends:
            venue = np.flatnonzero(self.inside)
            if not len(venue) and self.frontier not in self._pages:
                self.frontier = min((each for each in self._pages if self.frontier < each < ends), default=ends)
                continue
            page = self._page(self.frontier)
            page.carry(venue, self.inside[venue])
            self._count(page.joined().steps)
            self.frontier += 1

    def forget(self, before_ms: int) -> None:
        """Let go of pages that end before a time."""
        self.floor = -(-before_ms // self._words.window_ms)
        for number in [number for number in self._pages if self._forgotten(number)]:
            del self._pages[number]

    def passed(self) -> dict[int, RawPage]:
        """The pages that log time has passed."""
        return {number: page.joined() for number, page in self._pages.items() if self._is_passed(number)}

    def ahead(self) -> Steps:
        """The steps of all other pages."""
        parts = [
            self._raw(number, page.joined().steps)
            for number, page in self._pages.items()
            if not self._is_passed(number)
        ]
        return self._words.net(parts) if parts else NO_STEPS

    def _is_passed(self, number: int) -> bool:
        return self.frontier is not None and number < self.frontier

    def _raw(self, number: int, steps: Ints) -> Raw:
        word, slot = self._word(steps), (number << PAGE_BITS) + (steps >> (_WEIGHT_BITS + self._words.bits))
        at = slot * self._words.window_ms + self._words.ms(word)
        return Raw(self._words.venue(word), at, kind_of(word), _weight(steps))


def _weight(steps: Ints) -> Ints:
    return (steps & ((1 << _WEIGHT_BITS) - 1)) - _NO_WEIGHT


def _by_page(page: Ints, key: Ints) -> Iterator[tuple[int, Ints]]:
    """The keys of each page that has any, as they came."""
    first = page.min()
    if page.max() - first < _WIDE:
        pages, place = np.arange(first, page.max() + 1), page - first
    else:
        pages, place = numbered(page - first)
        pages += first
    ends = np.cumsum(np.bincount(place, minlength=len(pages)))
    spread = np.empty_like(key)
    _spread(place, key, np.concatenate(([0], ends[:-1])), spread)
    for number, (begin, end) in zip(pages.tolist(), pairwise([0, *ends.tolist()]), strict=True):
        if end > begin:
            yield number, spread[begin:end].copy()


@compiled
def _spread(place: Ints, key: Ints, next_at: Ints, spread: Ints) -> None:
    """Put keys by their places, of which each begins at its `next_at`."""
    for row in range(len(key)):
        spread[next_at[place[row]]] = key[row]
        next_at[place[row]] += 1


@compiled
def _keyed(
    venue: Ints, at: Ints, kind: Ints, weight: Ints, window_ms: int, ms_bits: int, bits: int, page: Ints, key: Ints
) -> None:
    """Fill in the page of each step, and its key and weight in one number."""
    for row in range(len(venue)):
        slot = at[row] // window_ms
        word = ((venue[row] << ms_bits) | (at[row] - slot * window_ms)) << KIND_BITS | kind[row]
        page[row] = slot >> PAGE_BITS
        key[row] = (((slot & _SLOTS) << bits) | word) << _WEIGHT_BITS | (weight[row] + _NO_WEIGHT)

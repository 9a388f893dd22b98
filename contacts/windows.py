"""Occupancy by window, read from the steps of each window.

Steps are only collected until the log time has passed the end of their window. Then the window is closed: its steps go
to a page, with who was inside when it began as CARRY steps, so that a page alone says what its windows are. Steps that
come later correct the page, and the CARRY of all closed windows after them; what that changes is told again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby, pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Bools, Ints, among, distinct, ordered
from contacts.compiled import compiled
from contacts.passing import Passing, RawPage
from contacts.sorting import sort_words
from contacts.steps import (
    ASSUMED_END,
    CARRY,
    DOUBT,
    END,
    NO_STEPS,
    PAGE_BITS,
    START,
    VENUE_BITS,
    Steps,
    Store,
    Weights,
    Words,
    by_page,
    kind_of,
    net,
    pass_window,
)

_SUMS: Final = [0, 1, 2, 4]  # of a window's five numbers, those that add up: all but the peak


@cache
def default_window_ms() -> int:
    """The length of a window where nobody says otherwise (contacts/data/windows.toml)."""
    table = tomllib.loads(files("contacts.data").joinpath("windows.toml").read_text("utf-8"))
    return int(table["window_minutes"] * 60_000)


class WindowRows(NamedTuple):
    """Windows to publish: `rows` is int64 (n, len(WINDOW_COLUMNS)), its `venue` column an index into `venues`."""

    venues: list[str]
    rows: Ints


class Cells(NamedTuple):
    """Windows by (slot, venue). `numbers` is (n, 5): entries, exits, assumed exits, peak, presence in ms; all five are
    0 where the window does not exist."""

    slot: Ints
    venue: Ints
    numbers: Ints


class _Page(NamedTuple):
    """The steps of closed windows: keys (slot in the page, word) in order, each once, and their weights."""

    key: Ints
    weight: Weights


class _Closed(NamedTuple):
    """The steps of the windows of one slot, words in order and each once, and their weights."""

    slot: int
    word: Ints
    weight: Weights


Part = bytes | memoryview
"""A part of a snapshot."""

_NO_PAGE: Final = _Page(np.empty(0, np.int64), np.empty(0, np.int32))


class Windows:
    """All windows of one partition. `frontier` is the first slot that is still open, None before any was closed."""

    def __init__(self, words: Words) -> None:
        self.frontier: int | None = None
        self._words = words
        self._fresh = Store(words)
        self._pages: dict[int, _Page] = {}
        self._raw: dict[int, RawPage] = {}
        self._inside = np.zeros(0, np.int64)
        self._floor: int | None = None

    @property
    def closed_until_ms(self) -> int:
        """When the first window that is still open begins; a very small number before any was closed."""
        return -(1 << 62) if self.frontier is None else self.frontier * self._words.window_ms

    def make_room(self, venues: int) -> None:
        """See that there is room for so many venues."""
        if venues > len(self._inside):
            wider = np.zeros(max(64, venues * 3 // 2), np.int64)
            wider[: len(self._inside)] = self._inside
            self._inside = wider

    def take_over(self, passed: Passing) -> None:
        """Begin where a log has been passed over; the steps `ahead` of that are to be added."""
        self.frontier = None if passed.frontier is None else passed.frontier << PAGE_BITS
        self._floor, self._raw, self._inside = passed.floor, passed.passed(), passed.inside.copy()

    def add(self, steps: Steps) -> None:
        """Take steps in; nothing is told before `close`."""
        known = kind_of(steps.word) != DOUBT
        self._fresh.add(steps if known.all() else steps.of(known))

    def close(self, log_time_ms: int, *, told: bool = True) -> Cells:
        """Close the windows that the log time has passed; those that are new, changed, or no more.

        With `told` false none are given: what they are is not worked out before somebody asks.
        """
        ends = log_time_ms // self._words.window_ms
        fresh = self._fresh.take_net(ends)
        if self.frontier is None:
            if not len(fresh.slot):
                return _no_cells()
            self.frontier = int(fresh.slot[0])
        if ends <= self.frontier and not len(fresh.slot):
            return _no_cells()
        new = int(np.searchsorted(fresh.slot, self.frontier))
        late = self._late(fresh.part(0, new))
        closed = list(self._begun(fresh.part(new, len(fresh.slot)), ends))
        self.frontier = max(ends, self.frontier)
        self._put(closed)
        if not told:
            self._insert(late)
            return _no_cells()
        both = self._correct(late), self._cells(closed)
        return Cells(*(np.concatenate(pair) for pair in zip(*both, strict=True)))

    def also(self, cells: Cells, slot: Ints, venue: Ints) -> Cells:
        """The cells, and with them other closed windows, given by (slot, venue) in order, as they are."""
        other = ~among((slot << VENUE_BITS) | venue, sort_words((cells.slot << VENUE_BITS) | cells.venue))
        if self._floor is not None:
            other &= slot >= self._floor
        slot, venue = slot[other], venue[other]
        page = slot >> PAGE_BITS
        for number in distinct(page[np.isin(page, list(self._raw))]).tolist():
            self._page(number)
        known = np.isin(page, list(self._pages))
        numbers = np.zeros((len(slot), 5), np.int64)
        if known.any():
            numbers[known] = self._look(self._pages, slot[known], venue[known])
        return Cells(*(np.concatenate(pair) for pair in zip(cells, (slot, venue, numbers), strict=True)))

    def _late(self, steps: Steps) -> Steps:
        """The corrections of closed windows that their late steps are: with the CARRY of all those after them."""
        assert self.frontier is not None
        if not len(steps.slot):
            return steps
        venue, change = self._words.venue(steps.word), _change(steps)
        cells = _edges(steps.slot, venue)
        slot, venues, sums = steps.slot[cells], venue[cells], np.add.reduceat(change, cells)
        np.add.at(self._inside, venues, sums)
        if self._floor is not None:
            slot = np.maximum(slot, self._floor - 1)
            steps = steps.of(steps.slot >= self._floor)
        least = int(slot.min())
        order = ordered(venues * (int(slot.max()) - least + 1) + (slot - least))
        slot, venues, sums = slot[order], venues[order], np.cumsum(sums[order])
        first = _edges(venues)
        sums -= np.repeat(np.concatenate(([0], sums))[first], np.diff(np.append(first, len(slot))))
        until = np.append(slot[1:], self.frontier - 1)
        until[first[1:] - 1] = self.frontier - 1
        length = np.where(sums != 0, until - slot, 0)
        row = np.repeat(np.arange(len(slot)), length)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return net([steps, Steps(slot[row] + 1 + nth, self._words.carries(venues[row]), sums[row])])

    def _begun(self, steps: Steps, ends: int) -> Iterator[_Closed]:
        """The windows from the frontier up to slot `ends`, one slot after the other: of their steps those inside at
        the frontier, and who comes and goes, make the CARRY of each.

        Every window of a venue where somebody is inside has a CARRY: they come in order, and nothing is sorted again.
        """
        assert self.frontier is not None
        slot, place, length = self.frontier, 0, len(steps.slot)
        while slot < ends:
            held = self._inside.any()
            if not held:
                if place == length:
                    return
                slot = int(steps.slot[place])
            here = steps.part(place, place := int(np.searchsorted(steps.slot, slot, "right")))
            if held or len(here.slot):
                yield _Closed(slot, *pass_window(self._inside, here.word, here.weight, self._words))
            slot += 1

    def _put(self, closed: Sequence[_Closed]) -> None:
        """Put windows just closed at the end of their pages."""
        for number, slots in groupby(closed, lambda each: each.slot >> PAGE_BITS):
            parts = [_Page(((slot - (number << PAGE_BITS)) << self._words.bits) | word, w) for slot, word, w in slots]
            if number in self._pages or number in self._raw:
                parts.insert(0, self._page(number))
            self._pages[number] = _Page(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _cells(self, closed: Sequence[_Closed]) -> Cells:
        """All windows that have just been closed."""
        if not closed:
            return _no_cells()
        slot = np.repeat([each.slot for each in closed], [len(each.word) for each in closed])
        word, weight = (np.concatenate([each[column] for each in closed]) for column in (1, 2))
        venue = self._words.venue(word)
        first = _edges(slot, venue)
        return Cells(slot[first], venue[first], self._read(_counts(first, len(venue)), word, weight))

    def _correct(self, steps: Steps) -> Cells:
        """Bring corrections into the pages of closed windows; the windows that this changed."""
        venue = self._words.venue(steps.word)
        first = _edges(steps.slot, venue)
        slot, venue = steps.slot[first], venue[first]
        before = self._insert(steps)
        now = self._look(self._pages, slot, venue)
        # What the steps say is how the sums differ. Only where all of them cancel out may a window be as it was.
        change = self._read(_counts(first, len(steps.slot)), steps.word, steps.weight)
        changed: Bools = np.any(change[:, _SUMS], axis=1)
        unsure = np.flatnonzero(~changed)
        changed[unsure] = np.any(self._look(before, slot[unsure], venue[unsure]) != now[unsure], axis=1)
        return Cells(slot[changed], venue[changed], now[changed])

    def _insert(self, steps: Steps) -> dict[int, _Page]:
        """Bring corrections into the pages of closed windows; these pages as they were."""
        before: dict[int, _Page] = {}
        for number, part in by_page(steps):
            before[number] = self._page(number)
            self._pages[number] = _insert(before[number], _Page(self._keys(number, part), part.weight.astype(np.int32)))
        return before

    def _page(self, number: int) -> _Page:
        """A page as it is."""
        raw = self._raw.pop(number, None)
        if raw is not None:
            self._pages[number] = _Page(*raw.made(self._words, len(self._inside)))
        return self._pages.get(number, _NO_PAGE)

    def _keys(self, page: int, steps: Steps) -> Ints:
        """The keys of steps in their page."""
        return ((steps.slot - (page << PAGE_BITS)) << self._words.bits) | steps.word

    def _look(self, pages: Mapping[int, _Page], slot: Ints, venue: Ints) -> Ints:
        """The numbers of windows, given by (slot, venue) in order."""
        number = slot >> PAGE_BITS
        edges = [*_edges(number).tolist(), len(slot)]
        counts, keys, weights = [slot[:0]], [slot[:0]], [slot[:0].astype(np.int32)]
        for first, last in pairwise(edges):
            page = pages[int(number[first])]
            slots = slot[first:last] - (int(number[first]) << PAGE_BITS)
            low, high = (
                np.searchsorted(page.key, (slots << self._words.bits) | self._words.carries(venue[first:last] + more))
                for more in (0, 1)
            )
            count = high - low
            row = np.repeat(low - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
            counts.append(count)
            keys.append(page.key[row])
            weights.append(page.weight[row])
        return self._read(np.concatenate(counts), np.concatenate(keys), np.concatenate(weights))

    def _read(self, counts: Ints, key: Ints, weight: NDArray[np.integer]) -> Ints:
        """The five numbers of windows, from the steps of one after the other: `counts` says how many each has."""
        numbers = np.zeros((len(counts), 5), np.int64)
        some = counts > 0
        if not some.any():
            return numbers
        size = counts[some]
        first = np.cumsum(size) - size
        kind, ms = kind_of(key), self._words.ms(key)
        inside = np.cumsum(np.where(kind <= START, weight, -weight))
        inside -= np.repeat(np.concatenate(([0], inside))[first], size)
        last = np.append(ms[1:] != ms[:-1], True)
        until = np.append(ms[1:], 0)
        ends = first + size - 1
        last[ends], until[ends] = True, self._words.window_ms
        inside = np.where(last, inside, 0)
        sums = (
            np.where(kind == START, weight, 0),
            np.where(kind >= END, weight, 0),
            np.where(kind == ASSUMED_END, weight, 0),
        )
        columns = [np.add.reduceat(column, first) for column in sums]
        columns += [np.maximum.reduceat(inside, first), np.add.reduceat(inside * (until - ms), first)]
        numbers[some] = np.stack(columns, axis=1)
        return numbers

    def forget(self, before_ms: int) -> None:
        """Let go of closed windows that begin before a time: nothing of them is told again."""
        self._floor = -(-before_ms // self._words.window_ms)
        for number in [number for number in self._raw if (number + 1) << PAGE_BITS <= self._floor]:
            del self._raw[number]
        for number in [number for number in self._pages if number << PAGE_BITS < self._floor]:
            page = self._pages.pop(number)
            if (number + 1) << PAGE_BITS > self._floor:
                kept = int(np.searchsorted(page.key, (self._floor - (number << PAGE_BITS)) << self._words.bits))
                self._pages[number] = _Page(page.key[kept:].copy(), page.weight[kept:].copy())

    def dump(self) -> dict[str, Part]:
        """The whole state, as named parts. A page is never written to, but replaced."""
        parts: dict[str, Part] = {
            "windows": msgspec.msgpack.encode((self.frontier, self._floor, list(self._pages))),
            "windows.inside": self._inside.tobytes(),
            **self._fresh.dump("fresh."),
        }
        for number, page in self._pages.items():  # each by itself, and not copied: nearly all are as they were
            parts[f"page.{number}.key"] = page.key.data.cast("B")
            parts[f"page.{number}.weight"] = page.weight.data.cast("B")
        parts["windows.raw"] = msgspec.msgpack.encode(list(self._raw))
        for number, raw in self._raw.items():
            parts[f"raw.{number}.venue"] = raw.venue.data.cast("B")
            parts[f"raw.{number}.carry"] = raw.carry.data.cast("B")
            parts[f"raw.{number}.steps"] = raw.steps.data.cast("B")
        return parts

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up a dumped state."""
        small = msgspec.msgpack.decode(parts["windows"], type=tuple[int | None, int | None, list[int]])
        self.frontier, self._floor, numbers = small
        self._inside = np.frombuffer(parts["windows.inside"], np.int64).copy()
        self._pages = {
            number: _Page(
                np.frombuffer(parts[f"page.{number}.key"], np.int64),
                np.frombuffer(parts[f"page.{number}.weight"], np.int32),
            )
            for number in numbers
        }
        self._raw = {
            number: RawPage(
                np.frombuffer(parts[f"raw.{number}.venue"], np.int32),
                np.frombuffer(parts[f"raw.{number}.carry"], np.int32),
                np.frombuffer(parts[f"raw.{number}.steps"], np.int64),
            )
            for number in msgspec.msgpack.decode(parts.get("windows.raw", b"\x90"), type=list[int])
        }
        self._fresh.load("fresh.", parts)


def _no_cells() -> Cells:
    return Cells(NO_STEPS.slot, NO_STEPS.slot, np.empty((0, 5), np.int64))


def _edges(*columns: Ints) -> Ints:
    """Where runs of equal rows begin."""
    if not len(columns[0]):
        return columns[0]
    other = np.zeros(len(columns[0]), np.bool_)
    other[0] = True
    for column in columns:
        other[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(other)


def _counts(first: Ints, length: int) -> Ints:
    """How long the runs are that begin at `first`."""
    return np.diff(np.append(first, length))


def _change(steps: Steps) -> Ints:
    """What steps do to the count of those inside."""
    kind = kind_of(steps.word)
    return np.where(kind == START, steps.weight, np.where(kind == CARRY, 0, -steps.weight))


def _insert(page: _Page, fresh: _Page) -> _Page:
    """A page with corrections merged into it."""
    key, weight = np.empty(len(page.key) + len(fresh.key), np.int64), np.empty(len(page.key) + len(fresh.key), np.int32)
    count = _merge(*_read_only(page), *_read_only(fresh), key, weight)
    return _Page(key, weight) if count == len(key) else _Page(key[:count].copy(), weight[:count].copy())


def _read_only(page: _Page) -> _Page:
    """A page as those of a snapshot are: one compiled function for both."""
    page = _Page(page.key.view(), page.weight.view())
    page.key.flags.writeable = page.weight.flags.writeable = False
    return page


@compiled
def _merge(key: Ints, weight: Weights, fresh: Ints, change: Weights, merged: Ints, total: Weights) -> int:
    """Fill `merged` and `total` from two sets of keys, each in order; no weight 0 stays. How many there are."""
    count, row, other = 0, 0, 0
    while row < len(key) or other < len(fresh):
        if other == len(fresh) or (row < len(key) and key[row] < fresh[other]):
            merged[count], total[count] = key[row], weight[row]
            row += 1
        elif row == len(key) or fresh[other] < key[row]:
            merged[count], total[count] = fresh[other], change[other]
            other += 1
        else:
            merged[count], total[count] = key[row], weight[row] + change[other]
            row += 1
            other += 1
        if total[count] != 0:
            count += 1
    return count

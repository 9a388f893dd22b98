"""Steps: what presences do to a venue's count, as packed numbers that sort by window, venue and time.

A presence `[start, end)` at a venue is a START and an END (or ASSUMED_END); one whose end is only assumed is also a
DOUBT from its start on. Steps have weights, so a presence is taken back by adding it with weight -1, and the steps of
many persons at one venue and instant net out to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from contacts.columns import Bools, Ints

CARRY, START, END, ASSUMED_END, DOUBT = range(5)
"""Kinds of steps. CARRY, at a window's start, is who was inside when it began."""

PAGE_BITS: Final = 2
"""Steps are kept by pages of so many windows (as a power of two): few enough that a page is cheap to rewrite."""

_KIND_BITS: Final = 3
VENUE_BITS: Final = 24
_MANY_PIECES: Final = 64
_SMALL: Final = 1024
_NONE: Final = np.empty(0, np.int64)


class Raw(NamedTuple):
    """Steps as they come: venue, time (ms), kind and weight (+1 or -1), in any order."""

    venue: Ints
    at: Ints
    kind: Ints
    weight: Ints


class Steps(NamedTuple):
    """Steps by (slot, word), each pair once, no weight 0. `slot` is the window's number since the epoch."""

    slot: Ints
    word: Ints
    weight: Ints

    def part(self, first: int, last: int) -> Steps:
        """A run of them."""
        return Steps(self.slot[first:last], self.word[first:last], self.weight[first:last])

    def of(self, chosen: Bools) -> Steps:
        """The chosen ones."""
        return Steps(self.slot[chosen], self.word[chosen], self.weight[chosen])


NO_STEPS: Final = Steps(_NONE, _NONE, _NONE)


def of_presences(venue: Ints, start: Ints, end: Ints, assumed: Bools, weight: int) -> list[Raw]:
    """The steps of presences, each added (`weight` 1) or taken back (-1)."""
    each = np.full(len(venue), weight, np.int64)
    return [
        Raw(venue, start, np.full(len(venue), START, np.int64), each),
        Raw(venue, end, np.where(assumed, ASSUMED_END, END), each),
        doubts(venue[assumed], start[assumed], weight),
    ]


def doubts(venue: Ints, start: Ints, weight: int) -> Raw:
    """The steps that make presences doubtful, or take the doubt back."""
    return Raw(venue, start, np.full(len(venue), DOUBT, np.int64), np.full(len(venue), weight, np.int64))


def kind_of(word: Ints) -> Ints:
    """The kinds of words."""
    return word & ((1 << _KIND_BITS) - 1)


class Words:
    """How a step's venue, millisecond in its window, and kind stand in one integer of `bits` bits."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._ms_bits = window_ms.bit_length()
        self._venue_shift = self._ms_bits + _KIND_BITS
        self.bits = self._venue_shift + VENUE_BITS

    def venue(self, word: Ints) -> Ints:
        """The venues of words."""
        return word >> self._venue_shift

    def ms(self, word: Ints) -> Ints:
        """The times of words, in ms since the start of their window."""
        return (word >> _KIND_BITS) & ((1 << self._ms_bits) - 1)

    def carries(self, venue: Ints) -> Ints:
        """The words of CARRY steps, which are a venue's least."""
        return venue << self._venue_shift

    def net(self, parts: Sequence[Raw]) -> Steps:
        """Steps packed, sorted and netted."""
        venue, at, kind, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        slot = at // self.window_ms
        word = (((venue << self._ms_bits) | (at - slot * self.window_ms)) << _KIND_BITS) | kind
        if not len(slot):
            return NO_STEPS
        first = int(slot.min())
        shift = int(word.max()).bit_length() + 1
        if shift + (int(slot.max()) - first).bit_length() > 62:
            return net([Steps(slot, word, weight)])
        packed = np.sort(((slot - first) << shift) | (word << 1) | (weight < 0))  # sorting values is 10x an argsort
        key = packed >> 1
        edges = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        weight = np.add.reduceat(1 - ((packed & 1) << 1), edges)
        kept = weight != 0
        key, weight = key[edges[kept]], weight[kept]
        return Steps((key >> (shift - 1)) + first, key & ((1 << (shift - 1)) - 1), weight)


def net(parts: Sequence[Steps]) -> Steps:
    """Steps of any weight and in any order, sorted and netted."""
    slot, word, weight = (np.concatenate(column) for column in zip(NO_STEPS, *parts, strict=True))
    if not len(slot):
        return NO_STEPS
    first, least, bits = int(slot.min()), int(weight.min()), int(word.max()).bit_length()
    shift = (int(weight.max()) - least).bit_length()
    size = bits + (int(slot.max()) - first).bit_length()
    if size + shift <= 62:  # all of a step in one number: sorting values is 10x an argsort
        packed = np.sort(((((slot - first) << bits) | word) << shift) | (weight - least))
        weight, packed = (packed & ((1 << shift) - 1)) + least, packed >> shift
        slot, word = (packed >> bits) + first, packed & ((1 << bits) - 1)
    else:
        order = np.argsort(((slot - first) << bits) | word) if size <= 62 else np.lexsort((word, slot))
        slot, word, weight = slot[order], word[order], weight[order]
    edges = np.flatnonzero(np.concatenate(([True], (word[1:] != word[:-1]) | (slot[1:] != slot[:-1]))))
    steps = Steps(slot[edges], word[edges], np.add.reduceat(weight, edges))
    return steps.of(steps.weight != 0)


def by_page(steps: Steps) -> Iterator[tuple[int, Steps]]:
    """The steps of each page that has any."""
    page = steps.slot >> PAGE_BITS
    if len(page):
        edges = [0, *(np.flatnonzero(page[1:] != page[:-1]) + 1).tolist(), len(page)]
        for number, first, last in zip(page[edges[:-1]].tolist(), edges[:-1], edges[1:], strict=True):
            yield number, steps.part(first, last)


class Store:
    """Steps kept until their time comes.

    Small pieces are put together, not those of all pages at once, and larger ones stay: nobody waits for much of it.
    """

    def __init__(self) -> None:
        self._pages: dict[int, list[Steps]] = {}
        self._small: dict[int, list[Steps]] = {}

    def add(self, steps: Steps) -> None:
        """Keep steps, given in order of slots."""
        for page, part in by_page(steps):
            pieces = self._pages.setdefault(page, [])
            if len(part.slot) < _SMALL:
                small = self._small.setdefault(page, [])
                small.append(part)
                if len(small) <= _MANY_PIECES + page % _MANY_PIECES:
                    continue
                part = net(small)
                small[:] = [part] if len(part.slot) < _SMALL else []
            if len(part.slot) >= _SMALL:
                pieces.append(part)

    def take(self, before: int) -> list[Steps]:
        """All steps of slots below `before`, in pieces; they are kept no longer."""
        taken: list[Steps] = []
        for page in [page for page in self._pages if page << PAGE_BITS < before]:
            pieces = self._pages.pop(page) + self._small.pop(page, [])
            if (page + 1) << PAGE_BITS > before:
                cuts = [int(np.searchsorted(piece.slot, before)) for piece in pieces]
                later = [
                    piece.part(cut, len(piece.slot))
                    for piece, cut in zip(pieces, cuts, strict=True)
                    if cut < len(piece.slot)
                ]
                if later:
                    self._pages[page] = later
                pieces = [piece.part(0, cut) for piece, cut in zip(pieces, cuts, strict=True)]
            taken += pieces
        return taken

    def dump(self, prefix: str) -> dict[str, bytes]:
        """All steps as named parts."""
        held = (*self._pages.values(), *self._small.values())
        steps = net([piece for pieces in held for piece in pieces])
        return {prefix + name: column.tobytes() for name, column in zip(Steps._fields, steps, strict=True)}

    def load(self, prefix: str, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self.add(Steps(*(np.frombuffer(parts[prefix + name], np.int64) for name in Steps._fields)))

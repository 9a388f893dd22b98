"""Steps: what presences do to a venue's count, as packed numbers that sort by window, venue and time.

A presence `[start, end)` at a venue is a START and an END (or ASSUMED_END); one whose end is only assumed is also a
DOUBT from its start on. Steps have weights, so a presence is taken back by adding it with weight -1, and the steps of
many persons at one venue and instant net out to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Bools, Ints
from contacts.compiled import compiled
from contacts.sorting import sort_words

CARRY, START, END, ASSUMED_END, DOUBT = range(5)
"""Kinds of steps. CARRY, at a window's start, is who was inside when it began."""

PAGE_BITS: Final = 2
"""Steps are kept by pages of so many windows (as a power of two): few enough that a page is cheap to rewrite."""

KIND_BITS: Final = 3
"""How many bits a kind takes: a word's lowest."""

KINDS: Final = (1 << KIND_BITS) - 1
"""The bits of a word that are its kind."""

VENUE_BITS: Final = 24
_MANY_PIECES: Final = 64
_SMALL: Final = 1024
_NONE: Final = np.empty(0, np.int64)

Weights = NDArray[np.int32]


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
    doubtful = each[assumed]
    return [
        Raw(venue, start, np.full(len(venue), START, np.int64), each),
        Raw(venue, end, np.where(assumed, ASSUMED_END, END), each),
        Raw(venue[assumed], start[assumed], np.full(len(doubtful), DOUBT, np.int64), doubtful),
    ]


def kind_of(word: Ints) -> Ints:
    """The kinds of words."""
    return word & KINDS


class Words:
    """How a step's venue, millisecond in its window, and kind stand in one integer of `bits` bits."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.ms_bits = window_ms.bit_length()
        self.venue_shift = self.ms_bits + KIND_BITS
        """Where a word's venue begins."""
        self.bits = self.venue_shift + VENUE_BITS

    def venue(self, word: Ints) -> Ints:
        """The venues of words."""
        return word >> self.venue_shift

    def ms(self, word: Ints) -> Ints:
        """The times of words, in ms since the start of their window."""
        return (word >> KIND_BITS) & ((1 << self.ms_bits) - 1)

    def carries(self, venue: Ints) -> Ints:
        """The words of CARRY steps, which are a venue's least."""
        return venue << self.venue_shift

    def net(self, parts: Sequence[Raw]) -> Steps:
        """Steps packed, sorted and netted."""
        venue, at, kind, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        slot = at // self.window_ms
        word = (((venue << self.ms_bits) | (at - slot * self.window_ms)) << KIND_BITS) | kind
        if not len(slot):
            return NO_STEPS
        first = int(slot.min())
        shift = int(word.max()).bit_length() + 1
        if shift + (int(slot.max()) - first).bit_length() > 62:
            return net([Steps(slot, word, weight)])
        packed = sort_words(((slot - first) << shift) | (word << 1) | (weight < 0))
        steps = Steps(*np.empty((3, len(packed)), np.int64))
        return steps.part(0, _netted(packed, first, shift - 1, *steps))


@compiled
def _netted(packed: Ints, first: int, bits: int, slot: Ints, word: Ints, weight: Ints) -> int:
    """Fill the columns from numbers in order that are a slot (from `first`), a word of `bits`, and a bit that takes
    one away; how many rows there are."""
    count, row, mask = 0, 0, (1 << bits) - 1
    while row < len(packed):
        key, total = packed[row] >> 1, 0
        while row < len(packed) and packed[row] >> 1 == key:
            total += 1 - ((packed[row] & 1) << 1)
            row += 1
        if total != 0:
            slot[count], word[count], weight[count] = (key >> bits) + first, key & mask, total
            count += 1
    return count


def net(parts: Sequence[Steps]) -> Steps:
    """Steps of any weight and in any order, sorted and netted."""
    slot, word, weight = (np.concatenate(column) for column in zip(NO_STEPS, *parts, strict=True))
    if not len(slot):
        return NO_STEPS
    first, least, bits = int(slot.min()), int(weight.min()), int(word.max()).bit_length()
    shift = (int(weight.max()) - least).bit_length()
    size = bits + (int(slot.max()) - first).bit_length()
    if size + shift <= 62:  # all of a step in one number: sorting values is 10x an argsort
        packed = sort_words(((((slot - first) << bits) | word) << shift) | (weight - least))
        weight, packed = (packed & ((1 << shift) - 1)) + least, packed >> shift
        slot, word = (packed >> bits) + first, packed & ((1 << bits) - 1)
    else:
        order = np.argsort(((slot - first) << bits) | word) if size <= 62 else np.lexsort((word, slot))
        slot, word, weight = slot[order], word[order], weight[order]
    edges = np.flatnonzero(np.concatenate(([True], (word[1:] != word[:-1]) | (slot[1:] != slot[:-1]))))
    steps = Steps(slot[edges], word[edges], np.add.reduceat(weight, edges))
    return steps.of(steps.weight != 0)


@compiled
def count_steps(word: Ints, weight: Ints, shift: int, inside: Ints, assumed: Ints) -> None:
    """Bring steps into the counts of their venues."""
    for row in range(len(word)):
        venue, kind = word[row] >> shift, word[row] & KINDS
        if kind == START:
            inside[venue] += weight[row]
        elif kind == DOUBT:
            assumed[venue] += weight[row]
        elif kind == END:
            inside[venue] -= weight[row]
        elif kind == ASSUMED_END:
            inside[venue] -= weight[row]
            assumed[venue] -= weight[row]


def pass_window(inside: Ints, word: Ints, weight: Ints, words: Words) -> tuple[Ints, Weights]:
    """A window's steps, and before those of each venue where somebody is inside its CARRY. `inside` is by venue, and
    becomes who is inside when the window ends."""
    held = np.flatnonzero(inside)
    merged, total = np.empty(len(held) + len(word), np.int64), np.empty(len(held) + len(word), np.int32)
    _pass(held, inside, word, weight, words.venue_shift, merged, total)
    return merged, total


@compiled
def _pass(held: Ints, inside: Ints, word: Ints, weight: Ints, shift: int, merged: Ints, total: Weights) -> None:
    """Fill `merged` and `total` as `pass_window` gives them; `held` are the venues where somebody is inside."""
    place = row = 0
    for count in range(len(held) + len(word)):
        if row == len(word) or (place < len(held) and held[place] <= word[row] >> shift):
            merged[count], total[count] = held[place] << shift, inside[held[place]]
            place += 1
            continue
        merged[count], total[count] = word[row], weight[row]
        venue, kind = word[row] >> shift, word[row] & KINDS
        if kind == START:
            inside[venue] += weight[row]
        elif kind != CARRY:
            inside[venue] -= weight[row]
        row += 1


def by_page(steps: Steps) -> Iterator[tuple[int, Steps]]:
    """The steps of each page that has any."""
    page = steps.slot >> PAGE_BITS
    if len(page):
        edges = [0, *(np.flatnonzero(page[1:] != page[:-1]) + 1).tolist(), len(page)]
        for number, first, last in zip(page[edges[:-1]].tolist(), edges[:-1], edges[1:], strict=True):
            yield number, steps.part(first, last)


@compiled
def summed(packed: Ints, bits: int, word: Ints, weight: Ints) -> int:
    """Fill the columns from numbers in order that are a word and a weight of `bits`; how many rows there are."""
    count, row, mask, zero = 0, 0, (1 << bits) - 1, 1 << (bits - 1)
    while row < len(packed):
        key, total = packed[row] >> bits, 0
        while row < len(packed) and packed[row] >> bits == key:
            total += (packed[row] & mask) - zero
            row += 1
        if total != 0:
            word[count], weight[count] = key, total
            count += 1
    return count


class Store:
    """Steps kept until their time comes, in 8 bytes each.

    A step is its word and, in the bits below it, its weight. Of each slot small pieces are put together, not those of
    all slots at once, and larger ones stay: nobody waits for much of it. Nothing kept is a part of a larger array,
    which would stay as long.
    """

    def __init__(self, words: Words) -> None:
        self._weight_bits = 62 - words.bits
        self._slots: dict[int, list[Ints]] = {}
        self._small: dict[int, list[Ints]] = {}

    def add(self, steps: Steps) -> None:
        """Keep steps, given in order of slots."""
        slot, packed = self._packed(steps)
        if not len(slot):
            return
        edges = [0, *(np.flatnonzero(slot[1:] != slot[:-1]) + 1).tolist(), len(slot)]
        for number, first, last in zip(slot[edges[:-1]].tolist(), edges[:-1], edges[1:], strict=True):
            piece = packed[first:last]
            pieces = self._slots.setdefault(number, [])
            if len(piece) < _SMALL:
                small = self._small.setdefault(number, [])
                small.append(piece.copy())
                if len(small) <= _MANY_PIECES + number % _MANY_PIECES:
                    continue
                _, piece = self._packed(self._netted(number, small))
                small[:] = [piece] if len(piece) < _SMALL else []
            if len(piece) >= _SMALL:
                pieces.append(piece.copy())

    def take(self, before: int) -> Steps:
        """All steps of slots below `before`, in order of slots; they are kept no longer."""
        return self._joined([self._loose(*each) for each in self._taken(before)])

    def take_net(self, before: int) -> Steps:
        """The same by (slot, word), each pair once, no weight 0."""
        return self._joined([self._netted(*each) for each in self._taken(before)])

    def _taken(self, before: int) -> list[tuple[int, list[Ints]]]:
        slots = sorted(slot for slot in self._slots if slot < before)
        return [(slot, self._slots.pop(slot) + self._small.pop(slot, [])) for slot in slots]

    @staticmethod
    def _joined(parts: Sequence[Steps]) -> Steps:
        return Steps(*(np.concatenate(column) for column in zip(NO_STEPS, *parts, strict=True)))

    def _packed(self, steps: Steps) -> tuple[Ints, Ints]:
        """The slots of steps, and each in one number; one of a large weight in several, which together have it."""
        slot, word, weight = steps
        most = (1 << (self._weight_bits - 1)) - 1
        if len(weight) and max(int(weight.max()), -int(weight.min())) > most:
            count = -(-np.abs(weight) // most)
            row = np.repeat(np.arange(len(word)), count)
            full = np.sign(weight) * most
            rest = weight - full * (count - 1)
            slot, word, weight = slot[row], word[row], full[row]
            weight[np.cumsum(count) - 1] = rest
        return slot, (word << self._weight_bits) + (weight + (1 << (self._weight_bits - 1)))

    def _loose(self, slot: int, pieces: Sequence[Ints]) -> Steps:
        packed = np.concatenate(pieces) if pieces else NO_STEPS.word
        weight = (packed & ((1 << self._weight_bits) - 1)) - (1 << (self._weight_bits - 1))
        return Steps(np.full(len(packed), slot), packed >> self._weight_bits, weight)

    def _netted(self, slot: int, pieces: Sequence[Ints]) -> Steps:
        if not pieces:
            return NO_STEPS
        packed = sort_words(np.concatenate(pieces))
        word, weight = np.empty((2, len(packed)), np.int64)
        count = summed(packed, self._weight_bits, word, weight)
        return Steps(np.full(count, slot), word[:count], weight[:count])

    def dump(self, prefix: str) -> dict[str, bytes]:
        """All steps as named parts."""
        held = [(slot, pieces + self._small.get(slot, [])) for slot, pieces in sorted(self._slots.items())]
        steps = self._joined([self._netted(*each) for each in held])
        return {prefix + name: column.tobytes() for name, column in zip(Steps._fields, steps, strict=True)}

    def load(self, prefix: str, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        self.add(Steps(*(np.frombuffer(parts[prefix + name], np.int64) for name in Steps._fields)))

"""Sorting numbers digit by digit, compiled (docs/adr/0022 says why it is ours, and what it saves).

Most of what is sorted here are words that were packed to be sorted, whose lowest bits say in what order they came: of
these no digit needs to be looked at.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contacts.compiled import COMPILED, compiled

Words = NDArray[np.int64]

_FEW: Final = 128
"""So few numbers are sorted sooner by comparing."""
_NEGATIVE: Final = 2


def sort_words(words: Words, low: int = 0) -> Words:
    """The numbers in order; the array given is used up for it.

    Those that are alike from bit `low` on are in order already. Where no compiler has been loaded it is left to numpy:
    a command of half a second would wait longer for it than it saves.
    """
    fit = len(words) >= _FEW and words.dtype == np.int64 and words.flags.c_contiguous
    if fit and COMPILED and "numba" in sys.modules:
        spare = np.empty_like(words)
        where = _by_digits(words, spare, low)
        if where != _NEGATIVE:
            return spare if where else words
    words.sort()
    return words


@compiled
def _by_digits(words: Words, spare: Words, low: int) -> int:
    """Sort by the bits from `low` on: 0 where the result is in `words`, 1 in `spare`, 2 if nothing was done, as some
    are below 0."""
    count, most = len(words), np.int64(0)
    for row in range(count):
        if words[row] < 0:
            return 2
        most |= words[row]
    width = 8 if count < 4096 else 11
    places = np.empty(1 << width, np.int64)
    mask = (1 << width) - 1
    source, target, turns = words, spare, 0
    shift = low
    while shift < 63 and most >> shift != 0:
        places[:] = 0
        for row in range(count):
            places[(source[row] >> shift) & mask] += 1
        if places[(source[0] >> shift) & mask] != count:  # else this digit is everywhere the same
            total = 0
            for digit in range(mask + 1):
                many = places[digit]
                places[digit] = total
                total += many
            for row in range(count):
                digit = (source[row] >> shift) & mask
                target[places[digit]] = source[row]
                places[digit] += 1
            source, target, turns = target, source, turns + 1
        shift += width
    return turns & 1

"""Sorting numbers, digit by digit and compiled where numpy is slow (docs/adr/0022 says where, and what it saves).

Most of what is sorted here are words that were packed to be sorted, whose lowest bits say in what order they came: of
these no digit needs to be looked at.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
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
    if fit and COMPILED and "numba" in sys.modules and numpy_is_slow():
        spare = np.empty_like(words)
        where = _by_digits(words, spare, low)
        if where != _NEGATIVE:
            return spare if where else words
    words.sort()
    return words


@cache
def numpy_is_slow() -> bool:
    """Whether this is a processor on which `np.sort` is: one of AMD's with AVX-512."""
    try:
        about = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return False
    return "AuthenticAMD" in about and "avx512f" in about


@compiled
def _by_digits(words: Words, spare: Words, low: int) -> int:
    """Sort by the bits from `low` on: 0 where the result is in `words`, 1 in `spare`, 2 if nothing was done, as some
    are below 0."""
    count, most = len(words), np.int64(0)
    for row in range(count):
        most |= words[row]
    if most < 0:
        return 2
    bits = 0
    while bits < 63 - low and most >> (low + bits) != 0:
        bits += 1
    digits = -(-bits // (8 if count < 1024 else 11))
    width = -(-bits // digits) if digits else 0
    mask = (1 << width) - 1
    places = np.zeros((digits, 1 << width), np.int64)
    for row in range(count):
        rest = words[row] >> low
        for digit in range(digits):
            places[digit, rest & mask] += 1
            rest >>= width
    source, target, turns = words, spare, 0
    for digit in range(digits):
        shift, at = low + digit * width, places[digit]
        if at[(source[0] >> shift) & mask] != count:  # else this digit is everywhere the same
            total = 0
            for value in range(mask + 1):
                many = at[value]
                at[value] = total
                total += many
            for row in range(count):
                value = (source[row] >> shift) & mask
                target[at[value]] = source[row]
                at[value] += 1
            source, target, turns = target, source, turns + 1
    return turns & 1

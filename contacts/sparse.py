"""Sparse indexes of a segment: where to look in its two long columns, so that a search reads little of them.

To halve 8 million words 23 times is to wait for memory some dozen times, in each of a fortnight's segments; with these
it is to wait three times.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, ints
from contacts.compiled import compiled

Places = NDArray[np.uint32]

_VISITS: Final = 16
"""A stretch of persons has so many visits, to twice as many."""

_PLACES: Final = 256
"""So many places have one entry: of each the lineage is then looked for among some sixty."""


def over_persons(mine: Ints) -> Places:
    """Where stretches of persons begin in words in order of persons (person << 32).

    First how many bits a stretch has, then a place for each multiple of its length, at last the count of words.
    """
    if not len(mine):
        return np.empty(0, np.uint32)
    most = int(mine[-1] >> 32)
    bits = (most * _VISITS // len(mine)).bit_length()
    stretches = np.arange((most >> bits) + 1, dtype=np.int64)
    return np.concatenate(([bits], np.searchsorted(mine, stretches << (bits + 32)), [len(mine)])).astype(np.uint32)


def over_places(begins: Places) -> Places:
    """The lineage of every 256th place, and the last of all; `begins` says where each begins, and where all end."""
    last = len(begins) - 2
    if last < 0:
        return np.empty(0, np.uint32)
    places = np.arange(0, int(begins[-1]), _PLACES, dtype=np.uint32)
    return ints(np.append(np.searchsorted(begins, places, side="right") - 1, last)).astype(np.uint32)


@compiled
def entry_of_person(sparse: Places, person: int) -> Any:
    """Where an index that is not empty says where the stretch of a person begins; the next entry says where it ends."""
    return (person >> np.int64(sparse[0])) + 1


@compiled
def stretch_of_person(count: int, sparse: Places, person: int) -> Any:
    """Between which places of `count` the first is whose person is no less; without an index (an older file) all."""
    if not len(sparse):
        return 0, count
    at = entry_of_person(sparse, person)
    if at + 1 >= len(sparse):
        return count, count
    return np.int64(sparse[at]), np.int64(sparse[at + 1])


@compiled
def entry_of_place(place: int) -> Any:
    """Where an index says which lineage a place's stretch begins with."""
    return place // _PLACES


@compiled
def lineages_near(count: int, sparse: Places, place: int) -> Any:
    """The first and the last of `count` lineages of which one has this place."""
    if not len(sparse):
        return 0, count - 1
    at = entry_of_place(place)
    return np.int64(sparse[at]), np.int64(sparse[at + 1])

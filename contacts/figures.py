"""What an operator wants to know of a partition's places, in figures."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from contacts.columns import Ints
from contacts.index import VisitIndex
from contacts.occupancy import UNKNOWN
from contacts.thresholds import shares

FULLNESS: Final = ("unlimited", "below_80", "from_80", "full", "over")
"""How full a venue with people inside is: below the first threshold of its allowed count (contacts/data/occupancy.toml:
80 %), from it on, at what is allowed, above it."""


class Figures(NamedTuple):
    """`visits` in the index and the `bytes_held` of it; `inside`: people at venues, those of a shop at its mall too;
    `fullness`: how many venues with people inside are how full, in the order of FULLNESS; `clusters` that stand, and
    `watches` for standing traces."""

    visits: int
    bytes_held: int
    inside: int
    fullness: tuple[int, ...]
    clusters: int
    watches: int


def figures_of(index: VisitIndex, inside: Ints, allowed: Ints, clusters: int, watches: int) -> Figures:
    """The figures of an index and of what was told last of each venue (-1 inside: nothing yet)."""
    visits, people = len(index) + len(index.archive), int(inside[inside > 0].sum())
    return Figures(visits, index.bytes_held, people, fullness(inside, allowed), clusters, watches)


def fullness(inside: Ints, allowed: Ints) -> tuple[int, ...]:
    """How many venues are how full. `inside` and `allowed` (UNKNOWN: no limit) have one entry a venue."""
    peopled = inside > 0
    inside, allowed = inside[peopled], allowed[peopled]
    limited = allowed != UNKNOWN
    inside, allowed = inside[limited], allowed[limited]
    near = inside >= shares()[0] * allowed
    full, over = inside == allowed, inside > allowed
    counts = (~near, near & ~full & ~over, full, over)
    return int(np.count_nonzero(~limited)), *(int(np.count_nonzero(each)) for each in counts)

"""The places of the city: which there are, where, how popular, which lie within which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from lacak.city.words import DISTRICTS, PREFIXES, home_name, place_name
from schemas.messages import Venue

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CATEGORIES: Final = (
    "office", "school", "worship", "market", "mall", "shop", "restaurant", "fast_food", "bar", "gym", "museum",
    "cinema", "hotel", "ferry_terminal", "ferry", "home",
)  # fmt: skip
HOME: Final = CATEGORIES.index("home")

# Assumed: (share of the public doors, fewest, share of the people inside at the busiest hour of an ordinary day).
_MIX: Final[dict[str, tuple[float, int, float]]] = {
    "office": (0.27, 4, 0.30),
    "school": (0.08, 3, 0.24),
    "worship": (0.17, 4, 0.24),
    "market": (0.03, 2, 0.05),
    "mall": (0.006, 1, 0.05),
    "shop": (0.18, 6, 0.05),
    "restaurant": (0.13, 4, 0.07),
    "fast_food": (0.05, 2, 0.02),
    "bar": (0.012, 1, 0.012),
    "gym": (0.02, 1, 0.01),
    "museum": (0.004, 1, 0.004),
    "cinema": (0.004, 1, 0.01),
    "hotel": (0.02, 2, 0.01),
    "ferry_terminal": (0.0005, 1, 0.006),
    "ferry": (0.003, 2, 0.006),
}
_IN_MALL: Final[dict[str, float]] = {"shop": 0.45, "fast_food": 0.4, "restaurant": 0.12, "cinema": 1.0, "gym": 0.2}
"""Assumed share of the places of a category that lie within a mall."""
_MALL_TRADE: Final = 3.0  # assumed: those in a mall are built for its crowd

_TAIL: Final = 0.9
"""Popularity of the n-th place of a category is n to the power of minus this: a few places are very full."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """All places as columns; index = venue number. Homes come after the public places, one for each household.

    `parent` is the venue it lies within or -1; `weight` its popularity within its category (sums to 1 a category).
    """

    ids: list[str]
    names: list[str]
    category: Ints
    district: Ints
    parent: Ints
    weight: Floats
    capacity: Ints
    public: int
    registered: npt.NDArray[np.bool_]
    pickers: dict[str, Picker] = field(repr=False)

    def venues(self) -> list[Venue]:
        """The registry: the public places and the homes that keep a code at their door."""
        return [
            Venue(
                venue=self.ids[i],
                name=self.names[i],
                category=CATEGORIES[int(self.category[i])],
                region=f"ID-LA-{int(self.district[i]) + 1:02d}",
                capacity=int(self.capacity[i]),
                within=self.ids[int(self.parent[i])] if self.parent[i] >= 0 else None,
            )
            for i in np.flatnonzero(self.registered).tolist()
        ]


class Picker:
    """Draws places of one category (or of some of its places), by popularity, near home or anywhere."""

    def __init__(self, venues: Ints, district: Ints, weight: Floats, districts: int) -> None:
        order = np.argsort(district[venues], kind="stable")
        self._venues = venues[order]
        self._upto = np.concatenate(([0.0], np.cumsum(weight[self._venues])))
        edges = np.searchsorted(district[self._venues], np.arange(districts + 1))
        self._low, self._high = self._upto[edges[:-1]], self._upto[edges[1:]]

    def anywhere(self, rng: np.random.Generator, count: int) -> Ints:
        """`count` venue numbers, by popularity alone."""
        return self._at(rng.random(count) * self._upto[-1])

    def near(self, rng: np.random.Generator, district: Ints, loyal: float) -> Ints:
        """A venue number for each entry of `district`: in that district with the chance `loyal`, if it has one."""
        draw = rng.random(len(district))
        low, high = self._low[district], self._high[district]
        local = (rng.random(len(district)) < loyal) & (high > low)
        return self._at(np.where(local, low + draw * (high - low), draw * self._upto[-1]))

    def _at(self, point: Floats) -> Ints:
        found = np.searchsorted(self._upto, point, side="right") - 1
        return self._venues[np.minimum(found, len(self._venues) - 1)]


def build_places(
    rng: np.random.Generator, *, people: int, doors: int, home_district: Ints, home_share: float
) -> Places:
    """`doors` public places and a home for each entry of `home_district`; `home_share` of these keep a code."""
    districts = int(home_district.max()) + 1
    counts = _counts(doors)
    category = np.repeat(np.arange(len(counts)), counts)
    public = len(category)
    number = np.concatenate([np.arange(count) for count in counts])
    weight = (number + 1.0) ** -_TAIL
    weight /= np.bincount(category, weight)[category]
    district = rng.integers(0, districts, public)
    malls = np.flatnonzero(category == CATEGORIES.index("mall"))
    parent = np.full(public, -1, np.int64)
    for name, share in _IN_MALL.items():
        inside = np.flatnonzero((category == CATEGORIES.index(name)) & (rng.random(public) < share))
        parent[inside] = rng.choice(malls, len(inside), p=weight[malls] / weight[malls].sum())
    district = np.where(parent >= 0, district[parent], district)
    busy = np.array([_MIX[name][2] for name in CATEGORIES[:HOME]])[category] * people * weight
    busy *= np.where(parent >= 0, _MALL_TRADE, 1.0)
    capacity = np.maximum(10, np.ceil(busy * rng.uniform(0.9, 2.0, public) / 5) * 5).astype(np.int64)
    draws = rng.integers(0, 2**31, public).tolist()
    kinds = [CATEGORIES[i] for i in category.tolist()]
    ids = [f"{PREFIXES[kind]}-{n + 1:04d}" for kind, n in zip(kinds, number.tolist(), strict=True)]
    names = [
        place_name(kind, n, DISTRICTS[d], draw)
        for kind, n, d, draw in zip(kinds, number.tolist(), district.tolist(), draws, strict=True)
    ]
    pickers = {
        name: Picker(np.flatnonzero(category == i), district, weight, districts)
        for i, name in enumerate(CATEGORIES[:HOME])
    }
    for mall in malls.tolist():  # what one finds inside this mall
        inside = np.flatnonzero(parent == mall)
        if len(inside):
            pickers[ids[mall]] = Picker(inside, district, weight, districts)
    homes = len(home_district)
    return Places(
        ids=ids + [f"{PREFIXES['home']}-{n + 1:06d}" for n in range(homes)],
        names=names + [home_name(n, DISTRICTS[d]) for n, d in enumerate(home_district.tolist())],
        category=np.concatenate((category, np.full(homes, HOME))),
        district=np.concatenate((district, home_district)),
        parent=np.concatenate((parent, np.full(homes, -1))),
        weight=np.concatenate((weight, np.zeros(homes))),
        capacity=np.concatenate((capacity, np.full(homes, 12))),
        public=public,
        registered=np.concatenate((np.ones(public, np.bool_), rng.random(homes) < home_share)),
        pickers=pickers,
    )


def _counts(doors: int) -> list[int]:
    """How many places of each category but `home`; offices take up what is left of `doors`."""
    fewest = sum(least for _, least, _ in _MIX.values())
    if doors < fewest:
        raise ValueError(f"a city needs at least {fewest} places, not {doors}: ask for more doors")
    counts = [max(least, round(doors * share)) for share, least, _ in _MIX.values()]
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    while (extra := sum(counts) - doors) > 0:  # a small city: take from what it has most of
        for i in order[: min(extra, len(order))]:
            counts[i] = max(list(_MIX.values())[i][1], counts[i] - 1)
    counts[0] += doors - sum(counts)
    return counts

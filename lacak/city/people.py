"""The people of the city: households, what each one does by day, their habits at a door."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lacak.city.places import Ints, Places

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

ROLES: Final = ("pupil", "worker", "staff", "keeper", "elder", "visitor")
PUPIL, WORKER, STAFF, KEEPER, ELDER, VISITOR = range(6)
_ROLE_SHARES: Final = (0.24, 0.30, 0.14, 0.20, 0.11, 0.01)  # assumed; visitors come by ferry and sleep in a hotel
_HOUSEHOLD_SIZES: Final = (1, 2, 3, 4, 5, 6)
_HOUSEHOLD_SHARES: Final = (0.07, 0.14, 0.23, 0.28, 0.18, 0.10)  # assumed, mean about 3.7
_STAFFED: Final[dict[str, float]] = {
    "shop": 0.40, "restaurant": 0.20, "market": 0.18, "fast_food": 0.08, "hotel": 0.05, "mall": 0.05, "gym": 0.02,
    "ferry_terminal": 0.02,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class People:
    """Everybody as columns; index = person number.

    `base` is the venue number where one sleeps (home or hotel), `day_place` where one works or learns (-1: nowhere),
    `congregation` the mosque one usually goes to (-1: none); `friday` marks who goes to the Friday prayer;
    `arrives_day`, `leaves_day`: a visitor's days in the city, both included.
    """

    role: Ints
    district: Ints
    base: Ints
    day_place: Ints
    congregation: Ints
    friday: Bools
    scans: Floats
    checks_out: Floats
    arrives_day: Ints
    leaves_day: Ints

    def __len__(self) -> int:
        return len(self.role)


def draw_households(rng: np.random.Generator, people: int, districts: int) -> tuple[Ints, Ints]:
    """(household of each person, district of each household); every household has somebody in it."""
    sizes = rng.choice(_HOUSEHOLD_SIZES, people, p=_HOUSEHOLD_SHARES)
    upto = np.cumsum(sizes)
    homes = int(np.searchsorted(upto, people)) + 1
    household = np.repeat(np.arange(homes), sizes[:homes])[:people]
    size_of_district = rng.dirichlet(np.full(districts, 3.0))
    district = rng.choice(districts, homes, p=size_of_district)
    district[0] = districts - 1  # the last district exists, however few people there are
    return household, district


def build_people(
    rng: np.random.Generator, places: Places, household: Ints, *, days: int, scan_share: float, checkout_share: float
) -> People:
    """People of the given households. Shares are means: each person has a habit of their own around them."""
    count = len(household)
    role = rng.choice(len(ROLES), count, p=_ROLE_SHARES)
    base = household + places.public
    district = places.district[base]
    visitor = np.flatnonzero(role == VISITOR)
    base[visitor] = places.pickers["hotel"].anywhere(rng, len(visitor))
    day_place = np.full(count, -1, np.int64)
    for kind, who in (("school", role == PUPIL), ("office", role == WORKER)):
        index = np.flatnonzero(who)
        day_place[index] = places.pickers[kind].near(rng, district[index], 0.8)
    staff = np.flatnonzero(role == STAFF)
    kinds = rng.choice(len(_STAFFED), len(staff), p=list(_STAFFED.values()))
    for i, kind in enumerate(_STAFFED):
        index = staff[kinds == i]
        day_place[index] = places.pickers[kind].near(rng, district[index], 0.6)
    congregation = places.pickers["worship"].near(rng, district, 0.95)
    congregation[rng.random(count) < 0.15] = -1
    arrives = np.zeros(count, np.int64)
    leaves = np.full(count, days, np.int64)
    arrives[visitor] = rng.integers(-2, max(1, days), len(visitor))
    leaves[visitor] = arrives[visitor] + rng.integers(1, 6, len(visitor))
    return People(
        role=role,
        district=district,
        base=base,
        day_place=day_place,
        congregation=congregation,
        friday=(rng.random(count) < 0.5) & (congregation >= 0),
        scans=_habit(rng, scan_share, count),
        checks_out=_habit(rng, checkout_share, count),
        arrives_day=arrives,
        leaves_day=leaves,
    )


def _habit(rng: np.random.Generator, mean: float, count: int) -> Floats:
    """A chance for each person with the given mean; exactly 0 or 1 for everybody where the mean is."""
    if mean <= 0.0 or mean >= 1.0:
        return np.full(count, min(max(mean, 0.0), 1.0))
    return rng.beta(mean * 1.5, (1.0 - mean) * 1.5, count)  # some nearly always, some nearly never


def pseudonyms(seed: int, count: int) -> list[str]:
    """`p1:` and 32 hex digits for each person number, by a seeded hash: there is nobody behind it."""
    keyed = hashlib.blake2b(digest_size=16, key=seed.to_bytes(16, "big", signed=True), person=b"lacak-city")
    made = []
    for number in range(count):
        one = keyed.copy()
        one.update(number.to_bytes(8, "big"))
        made.append("p1:" + one.hexdigest())
    return made

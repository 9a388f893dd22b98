"""An infection that spreads over true co-presence, so that traces have a truth to be held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from lacak.city.people import WORKER, Bools, Floats, People
from lacak.city.places import CATEGORIES, Ints, Places
from lacak.city.rhythm import DAY_MS, HOUR_MS, Stays

NEVER: Final = np.iinfo(np.int64).max

_PROXIMITY: Final[dict[str, float]] = {
    "home": 1.0, "office": 0.1, "school": 0.2, "worship": 0.1, "market": 0.025, "mall": 0.025, "shop": 0.025,
    "restaurant": 0.2, "fast_food": 0.2, "bar": 0.2, "gym": 0.1, "museum": 0.024, "cinema": 0.1, "hotel": 0.05,
    "ferry_terminal": 0.025, "ferry": 0.1,
}  # fmt: skip
"""Assumed share of shared time that is face to face."""


@dataclass(frozen=True, kw_only=True)
class Disease:
    """How it spreads and how it is found; each number is an assumption of the generator.

    `rate_per_hour`: chance of infection in an hour face to face. `latent_days`: until one infects (at least 1, so
    that nobody is infected and infects on the same day). `tested_share`: of the infected who get a positive test.
    """

    rate_per_hour: float = 0.02
    latent_days: float = 3.0
    infectious_days: float = 8.0
    incubation_median_days: float = 5.8
    incubation_sigma: float = 0.45
    symptomatic_share: float = 0.7
    tested_share: float = 0.6
    isolation_days: int = 10

    def __post_init__(self) -> None:
        if self.latent_days < 1.0:
            raise ValueError("latent_days must be at least 1: nobody infects on the day of their own infection")


class Outbreak:
    """Who was infected by whom, where and when (ms after the first midnight), as the days go by."""

    def __init__(
        self, rng: np.random.Generator, people: People, places: Places, disease: Disease, *, first: int, days: int
    ) -> None:
        """`first` people carry it in; the very first falls ill on the first day and is tested on the last."""
        count = len(people)
        self._disease, self._places = disease, places
        self._proximity = np.array([_PROXIMITY[name] for name in CATEGORIES])
        self.infected_at: Ints = np.full(count, NEVER, np.int64)
        self.infector: Ints = np.full(count, -1, np.int64)
        self.venue: Ints = np.full(count, -1, np.int64)
        incubation = disease.incubation_median_days * np.exp(rng.normal(0.0, disease.incubation_sigma, count))
        self.symptomatic: Bools = rng.random(count) < disease.symptomatic_share
        self.tested: Bools = rng.random(count) < disease.tested_share
        self._onset_after = (incubation * DAY_MS).astype(np.int64)
        self._specimen_after = (rng.uniform(0.5, 3.0, count) * DAY_MS).astype(np.int64)
        residents = np.flatnonzero(people.arrives_day <= 0)
        self.first: Ints = rng.choice(residents, min(first, len(residents)), replace=False)
        working = residents[people.role[residents] == WORKER]
        if len(self.first) and len(working) and people.role[self.first[0]] != WORKER:
            new = np.setdiff1d(working, self.first)  # the one who is surely tested should meet people
            self.first[0] = rng.choice(new) if len(new) else self.first[0]
        self.infected_at[self.first] = -(rng.uniform(3.0, 8.0, len(self.first)) * DAY_MS).astype(np.int64)
        if len(self.first):
            chosen = self.first[0]
            self.tested[chosen] = self.symptomatic[chosen] = True
            self._onset_after[chosen] = 10 * HOUR_MS - self.infected_at[chosen]
            shown = min(days - 1, 3) * DAY_MS + 17 * HOUR_MS
            self._specimen_after[chosen] = shown - 10 * HOUR_MS

    @property
    def onset(self) -> Ints:
        """When symptoms begin, or would; meaningful for the infected only."""
        return np.where(self.infected_at == NEVER, NEVER, self.infected_at + self._onset_after)

    @property
    def specimen(self) -> Ints:
        """When a specimen is taken; NEVER for who is not infected or not tested."""
        found = (self.infected_at != NEVER) & self.tested
        return np.where(found, self.infected_at + self._onset_after + self._specimen_after, NEVER)

    def isolated(self, day: int) -> Bools:
        """Who stays in on `day`: from the day after the specimen, for the days of isolation."""
        began = self.specimen // DAY_MS + 1
        return (began <= day) & (day < began + self._disease.isolation_days)

    def infectious(self, day: int) -> Bools:
        """Who may infect at some moment of `day`."""
        known = self.infected_at != NEVER
        start = np.where(known, self.infected_at, 0) + self._latent
        today: Bools = known & (start < (day + 1) * DAY_MS) & (start + self._lasts > day * DAY_MS)
        return today

    def spread(self, rng: np.random.Generator, day: int, stays: Stays) -> None:
        """One day of it over that day's `stays` (with the base stays of the households of the infectious)."""
        sick = self.infectious(day)
        real = (stays.venue >= 0) & ~stays.refused
        touched = np.zeros(len(self._places.ids), np.bool_)
        touched[stays.venue[real & sick[stays.person]]] = True
        stays = stays.take(np.flatnonzero(real & touched[stays.venue]))
        stays = stays.take(np.lexsort((stays.person, stays.start, stays.venue)))
        shift = day * DAY_MS
        edges = np.searchsorted(stays.venue, np.arange(len(touched) + 1))
        hits: list[tuple[Ints, Ints, Ints, Ints]] = []
        for row in np.flatnonzero(sick[stays.person]).tolist():
            source, venue = int(stays.person[row]), int(stays.venue[row])
            begins = int(self.infected_at[source]) + self._latent - shift
            low, high = max(int(stays.start[row]), begins), min(int(stays.end[row]), begins + self._lasts)
            if low >= high:
                continue
            mates = slice(int(edges[venue]), int(edges[venue + 1]))
            start, end = np.maximum(stays.start[mates], low), np.minimum(stays.end[mates], high)
            met = np.flatnonzero((end > start) & (self.infected_at[stays.person[mates]] == NEVER))
            hours: Floats = (end[met] - start[met]) / HOUR_MS
            near = self._proximity[self._places.category[venue]]
            caught = met[rng.random(len(met)) < -np.expm1(-self._disease.rate_per_hour * near * hours)]
            moment = start[caught] + (rng.random(len(caught)) * (end[caught] - start[caught])).astype(np.int64)
            one = np.ones(len(caught), np.int64)
            hits.append((stays.person[mates][caught], moment + shift, source * one, venue * one))
        if not hits:
            return
        infected, moment, source_of, where = (np.concatenate([hit[i] for hit in hits]) for i in range(4))
        order = np.lexsort((where, source_of, moment))
        _, first = np.unique(infected[order], return_index=True)
        chosen = order[first]  # the earliest of several infections of one person is the one
        self.infected_at[infected[chosen]] = moment[chosen]
        self.infector[infected[chosen]] = source_of[chosen]
        self.venue[infected[chosen]] = where[chosen]

    @property
    def _latent(self) -> int:
        return round(self._disease.latent_days * DAY_MS)

    @property
    def _lasts(self) -> int:
        return round(self._disease.infectious_days * DAY_MS)

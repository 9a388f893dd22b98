"""The doors: what of the true stays is scanned, and when each scan reaches the programme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from lacak.city.people import Floats, People
from lacak.city.places import Ints, Places
from lacak.city.rhythm import DAY_MS, HOUR_MS, Stays
from schemas.blocks import KINDS

_IN, _OUT, _REFUSED = (KINDS.index(kind) for kind in ("in", "out", "refused"))
_USUAL_DELAY_MS: Final = 2_000.0
_SLOW_SHARE: Final = 0.03  # assumed: a phone without signal, a busy gateway
_SLOW_DELAY_MS: Final = 240_000.0


class ScanColumns(NamedTuple):
    """Scans as columns of equal length: person and venue numbers, kind (index into KINDS), times in ms.

    Times are since the epoch; rows are in order of `arrived_at_ms`.
    """

    person: npt.NDArray[np.int32]
    venue: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    at_ms: Ints
    arrived_at_ms: Ints

    def take(self, index: Ints | slice) -> ScanColumns:
        """Those rows."""
        return ScanColumns(
            self.person[index], self.venue[index], self.kind[index], self.at_ms[index], self.arrived_at_ms[index]
        )


@dataclass(frozen=True, kw_only=True)
class Doors:
    """`offline_share` of the doors are offline for some hours of a day and send what they saw afterwards;
    `duplicate_share` of the scans are sent again. `offline_hours`: shortest and longest outage."""

    people: People
    places: Places
    offline_share: float
    duplicate_share: float
    offline_hours: tuple[float, float]

    def scan(self, rng: np.random.Generator, stays: Stays, midnight_ms: int) -> ScanColumns:
        """The scans of one day's stays, in order of arrival."""
        seen = (stays.venue >= 0) & (rng.random(len(stays.person)) < self.people.scans[stays.person])
        seen[seen] = self.places.registered[stays.venue[seen]]
        stays = stays.take(np.flatnonzero(seen & (stays.opens | stays.closes)))
        tells = stays.closes & ~stays.refused & (rng.random(len(stays.person)) < self.people.checks_out[stays.person])
        enters, leaves = stays.take(np.flatnonzero(stays.opens)), stays.take(np.flatnonzero(tells))
        person = np.concatenate((enters.person, leaves.person))
        venue = np.concatenate((enters.venue, leaves.venue))
        kinds = (np.where(enters.refused, _REFUSED, _IN), np.full(len(leaves.person), _OUT))
        kind = np.concatenate(kinds)
        at = np.concatenate((enters.start, leaves.end)) + midnight_ms
        arrived = self._arrival(rng, venue, at - midnight_ms) + midnight_ms
        again = np.flatnonzero(rng.random(len(person)) < self.duplicate_share)
        retried = arrived[again] + 1_000 + rng.exponential(600_000.0, len(again)).astype(np.int64)
        row = np.concatenate((np.arange(len(person)), again))
        arrived = np.concatenate((arrived, retried))
        order = np.argsort(arrived, kind="stable")
        row = row[order]
        return ScanColumns(
            person[row].astype(np.int32),
            venue[row].astype(np.int32),
            kind[row].astype(np.uint8),
            at[row],
            arrived[order],
        )

    def _arrival(self, rng: np.random.Generator, venue: Ints, at: Ints) -> Ints:
        """When each scan arrives (ms after midnight): at once, a little later, or when its door is online again."""
        doors = len(self.places.ids)
        offline = rng.random(doors) < self.offline_share
        begins = np.where(offline, rng.uniform(6.0, 20.0, doors) * HOUR_MS, 2.0 * DAY_MS).astype(np.int64)
        shortest, longest = self.offline_hours
        ends = begins + (rng.uniform(shortest, longest, doors) * HOUR_MS).astype(np.int64)
        usual: Floats = rng.exponential(_USUAL_DELAY_MS, len(venue))
        slow = rng.random(len(venue)) < _SLOW_SHARE
        usual[slow] += rng.exponential(_SLOW_DELAY_MS, int(slow.sum()))
        caught = (at >= begins[venue]) & (at < ends[venue])
        online = np.where(caught, ends[venue], at)
        arrived: Ints = np.maximum(at, online + usual.astype(np.int64))
        return arrived


def merge(waiting: ScanColumns | None, new: ScanColumns) -> ScanColumns:
    """Both, in order of arrival; among equal arrivals those that waited come first."""
    if waiting is None:
        return new
    both = ScanColumns(
        np.concatenate((waiting.person, new.person)),
        np.concatenate((waiting.venue, new.venue)),
        np.concatenate((waiting.kind, new.kind)),
        np.concatenate((waiting.at_ms, new.at_ms)),
        np.concatenate((waiting.arrived_at_ms, new.arrived_at_ms)),
    )
    return both.take(np.argsort(both.arrived_at_ms, kind="stable"))


def split(columns: ScanColumns, before_ms: int) -> tuple[ScanColumns, ScanColumns]:
    """(those that arrived before `before_ms`, the others)."""
    at = int(np.searchsorted(columns.arrived_at_ms, before_ms))
    return columns.take(slice(0, at)), columns.take(slice(at, None))

"""Peers in this process's memory: plain numpy, polars, and networkx over the materialised contact graph."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from bench.peer import Contacts, Peer, PeerMissing, gathered, most_shared
from bench.population import Visits

_VENUE_SHIFT: Final = 32
_PAIRS_AT_A_TIME: Final = 4_000_000
_GRAPH_PAIRS: Final = 20_000_000
_WIDEST_SHARE: Final = 0.1


class Stays(NamedTuple):
    """Visits in order of (venue, start). `key` is `venue << 32 | ms since the window's start`."""

    key: NDArray[np.int64]
    person: NDArray[np.uint32]
    start_ms: NDArray[np.int64]
    end_ms: NDArray[np.int64]


def by_venue(visits: Visits, origin_ms: int) -> Stays:
    """The visits in order of (venue, start)."""
    key = (visits.venue.astype(np.int64) << _VENUE_SHIFT) | (visits.start_ms - origin_ms)
    order = np.argsort(key)
    return Stays(key[order], visits.person[order], visits.start_ms[order], visits.end_ms[order])


class Numpy(Peer):
    """Two sorted copies and binary search."""

    name = "numpy"
    form = "columns sorted by (venue, start), looking back by the venue's longest visit; a copy sorted by person"

    def load(self, days: Iterable[Visits]) -> None:
        """Sort."""
        visits = gathered(days)
        self._stays = by_venue(visits, self.window[0])
        venue = self._stays.key >> _VENUE_SHIFT
        first = np.flatnonzero(np.concatenate(([True], venue[1:] != venue[:-1])))
        self._longest = np.zeros(int(venue[-1]) + 1, np.int64)
        self._longest[venue[first]] = np.maximum.reduceat(self._stays.end_ms - self._stays.start_ms, first)
        order = np.argsort(visits.person, kind="stable")
        self._own = visits.of(order)

    def ask(self, person: int) -> Contacts:
        """Each of the case's stays in turn."""
        stays, (opens, closes) = self._stays, self.window
        low, high = np.searchsorted(self._own.person, np.array([person, person + 1], np.uint32))
        persons, shared = [], []
        for row in range(low, high):
            venue = int(self._own.venue[row])
            begin, until = max(int(self._own.start_ms[row]), opens), min(int(self._own.end_ms[row]), closes)
            base = (venue << _VENUE_SHIFT) - opens
            edges = base + begin - int(self._longest[venue]), base + until
            first, last = np.searchsorted(stays.key, np.array(edges, np.int64))
            part = np.minimum(stays.end_ms[first:last], until) - np.maximum(stays.start_ms[first:last], begin)
            hit = np.flatnonzero(part >= self.minimum_ms)
            persons.append(stays.person[first:last][hit])
            shared.append(part[hit])
        if not persons:
            return most_shared(np.empty(0, np.int64), np.empty(0, np.int64))
        person_of, part = np.concatenate(persons), np.concatenate(shared)
        others = person_of != person
        return most_shared(person_of[others], part[others])


def _polars(threads: int) -> Any:
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    try:
        import polars
    except ImportError:
        raise PeerMissing("polars is not installed: pip install polars") from None
    return polars


class Polars(Peer):
    """What one would write first: scan, filter, join."""

    name = "polars, scan"
    form = "one frame sorted by (venue, start), scanned for the case's stays and for its venues, then a join"

    def load(self, days: Iterable[Visits]) -> None:
        """One frame."""
        self._polars = _polars(self.threads)
        visits = gathered(days)
        frame = self._polars.DataFrame(visits._asdict())
        self._frame = frame.sort("venue", "start_ms")

    def ask(self, person: int) -> Contacts:
        """Two scans and a join."""
        return self._joined(self._frame.lazy().filter(self._polars.col("person") == person), person)

    def notes(self) -> dict[str, Any]:
        """The version."""
        return {"version": self._polars.__version__, "threads": self._polars.thread_pool_size()}

    def _joined(self, stays: Any, person: int) -> Contacts:
        pl, (opens, closes) = self._polars, self.window
        own = stays.select(
            "venue",
            begin=pl.max_horizontal("start_ms", pl.lit(opens)),
            until=pl.min_horizontal("end_ms", pl.lit(closes)),
        ).collect()
        if not own.height:
            return most_shared(np.empty(0, np.int64), np.empty(0, np.int64))
        return self._most(self._others(own), own, person)

    def _others(self, own: Any) -> Any:
        """The visits at the venues of the case's stays, in their time, and perhaps more."""
        pl = self._polars
        return self._frame.lazy().filter(
            pl.col("venue").is_in(own["venue"].unique().implode())
            & (pl.col("start_ms") < own["until"].max())
            & (pl.col("end_ms") > own["begin"].min())
        )

    def _most(self, others: Any, own: Any, person: int) -> Contacts:
        pl = self._polars
        found = (
            others.filter(pl.col("person") != person)
            .join(own.lazy(), on="venue")
            .select("person", shared=pl.min_horizontal("end_ms", "until") - pl.max_horizontal("start_ms", "begin"))
            .filter(pl.col("shared") >= self.minimum_ms)
            .group_by("person")
            .agg(pl.col("shared").max())
            .collect()
        )
        return Contacts(found["person"].to_numpy().astype(np.int64), found["shared"].to_numpy())


class PolarsSearch(Polars):
    """The same with the order made use of."""

    name = "polars, search"
    form = "the same frame and one sorted by person, rows found by search_sorted, then the join"

    def load(self, days: Iterable[Visits]) -> None:
        """Two frames."""
        super().load(days)
        self._by_person = self._frame.sort("person")

    def ask(self, person: int) -> Contacts:
        """Two searches and a join."""
        return self._joined(_slice(self._by_person, "person", person).lazy(), person)

    def _others(self, own: Any) -> Any:
        parts = [_slice(self._frame, "venue", venue) for venue in own["venue"].unique().to_list()]
        return self._polars.concat(parts, rechunk=False).lazy()


def _slice(frame: Any, column: str, value: int) -> Any:
    """The rows of a frame sorted by a column where it has a value."""
    first, last = (int(frame[column].search_sorted(value, side)) for side in ("left", "right"))
    return frame.slice(first, last - first)


class Networkx(Peer):
    """People as nodes, an edge for each pair of contacts: the answer to the one question that was foreseen."""

    name = "networkx"
    form = "the contact graph itself, an edge for each pair with the most that they shared"

    def load(self, days: Iterable[Visits]) -> None:
        """Make the graph of as many venues as fit."""
        visits = gathered(days)
        end = np.minimum(visits.end_ms, self.window[1])
        long_enough = end - visits.start_ms >= self.minimum_ms
        stays = by_venue(visits._replace(end_ms=end).of(long_enough), self.window[0])
        rows = np.arange(len(stays.key))
        venue = stays.key >> _VENUE_SHIFT
        latest = (venue << _VENUE_SHIFT) + stays.end_ms - self.minimum_ms - self.window[0]
        later = np.searchsorted(stays.key, latest, side="right") - rows - 1
        pairs = np.bincount(venue, later, minlength=int(visits.venue.max()) + 1).astype(np.int64)
        self._venues = _fitting(pairs, _GRAPH_PAIRS)
        fits = np.zeros(len(pairs), np.bool_)
        fits[self._venues] = True
        self._notes = {
            "pairs_of_all_visits": int(pairs.sum()),
            "pairs_held": int(pairs[fits].sum()),
            "visits_held": int(np.count_nonzero(fits[visits.venue])),
            "visits": len(visits.person),
        }
        self._graph = nx.Graph()
        self._grow(stays, rows[fits[venue]], later)

    def _grow(self, stays: Stays, rows: NDArray[np.int64], later: NDArray[np.int64]) -> None:
        """Add the edges that rows make with the rows after them at their venue."""
        rows = rows[later[rows] > 0]
        cuts = np.searchsorted(np.cumsum(later[rows]), np.arange(0, int(later[rows].sum()), _PAIRS_AT_A_TIME))
        for part in np.split(rows, cuts[1:]):
            count = later[part]
            first = np.repeat(part, count)
            second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
            shared = np.minimum(stays.end_ms[first], stays.end_ms[second]) - stays.start_ms[second]
            for one, other, ms in zip(
                stays.person[first].tolist(), stays.person[second].tolist(), shared.tolist(), strict=True
            ):
                if one != other:
                    held = self._graph.get_edge_data(one, other)
                    if held is None:
                        self._graph.add_edge(one, other, shared_ms=ms)
                    elif held["shared_ms"] < ms:
                        held["shared_ms"] = ms
        self._notes["edges"] = self._graph.number_of_edges()

    def ask(self, person: int) -> Contacts:
        """The person's neighbours."""
        if person not in self._graph:
            return most_shared(np.empty(0, np.int64), np.empty(0, np.int64))
        near = self._graph.adj[person]
        return Contacts(
            np.fromiter(near, np.int64, len(near)),
            np.fromiter((edge["shared_ms"] for edge in near.values()), np.int64, len(near)),
        )

    def venues(self) -> NDArray[np.uint32]:
        """Those whose pairs fit."""
        return self._venues

    def notes(self) -> dict[str, Any]:
        """How much of all it is."""
        return self._notes


def _fitting(pairs: NDArray[np.int64], most: int) -> NDArray[np.uint32]:
    """Venues, in order, drawn at random until they have that many pairs; none that has too large a part of them."""
    if pairs.sum() <= most:
        return np.arange(len(pairs), dtype=np.uint32)
    drawn = np.random.default_rng(1).permutation(len(pairs))
    drawn = drawn[pairs[drawn] <= most * _WIDEST_SHARE]
    return np.sort(drawn[np.cumsum(pairs[drawn]) <= most]).astype(np.uint32)

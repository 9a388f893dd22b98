"""The clusters of one partition of `visits` as its visits and cases change: which venues are to be told of, and what.

A case's windows come with the orders to watch for its two automatic traces. They are kept here until the retention has
passed them, longer than the watch itself stands. Every venue that a change may concern is *due*: its clusters are found
anew from the index when it is told of, and told when they are others than those told last. In a replay it is not known
what a worker that fell has told, so all venues that became due in it are told of when it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from contacts.clusterrules import ClusterRules, load_cluster_rules
from contacts.clusters import CaseVisit, clusters_at
from contacts.columns import Ints, ints
from contacts.incoming import NEVER
from contacts.index import VisitIndex
from contacts.meetings import visits_of
from contacts.pseudonyms import People, texts_of
from contacts.tracing import trace_id
from schemas.blocks import WatchOrder
from schemas.messages import Cluster

_PART: Final = "clusters"


class VenueNow(NamedTuple):
    """A venue with the clusters that it has now."""

    venue: str
    clusters: list[Cluster]


class _Part(NamedTuple):
    """A part of a case's visit that lies in a window of the case; `began_ms` is the start of the whole."""

    order: WatchOrder
    began_ms: int
    start_ms: int
    end_ms: int


class _State(msgspec.Struct, array_like=True):
    rules: bytes
    orders: list[WatchOrder]
    ended: dict[str, int]
    due: list[str]
    told: dict[str, list[Cluster]]


class Clustering:
    """The case visits of a partition, by venue."""

    def __init__(self, rules: ClusterRules | None = None) -> None:
        self._rules = rules or load_cluster_rules("default")
        self._orders: dict[str, WatchOrder] = {}
        self._ended: dict[str, int] = {}  # the revisions that said so
        self._traces: dict[str, set[str]] = {}
        self._parts: dict[str, dict[str, list[_Part]]] = {}
        self._venues: dict[str, set[str]] = {}
        self._stale: set[str] = set()
        self._due: set[str] = set()
        self._told: dict[str, list[Cluster]] = {}

    @property
    def standing(self) -> int:
        """How many clusters there are, as told last."""
        return sum(map(len, self._told.values()))

    def order(self, index: VisitIndex, order: WatchOrder) -> None:
        """A case's window, or that there is none any more (an empty one). Of one trace the highest revision holds."""
        if order.trace_id != trace_id(order.case_id, order.direction):  # not one of the two automatic traces
            return
        trace, held = order.trace_id, self._orders.get(order.trace_id)
        if order.revision <= (held.revision if held is not None else self._ended.get(trace, -1)):
            return
        self._refresh(index)
        self._due.update(self._venues.get(trace, ()))
        self._drop(trace)
        if order.window_start_ms < order.window_end_ms:
            self._keep(order)
            self._refresh(index)
            self._due.update(self._venues.get(trace, ()))
        else:
            self._ended[trace] = order.revision

    def _keep(self, order: WatchOrder) -> None:
        self._orders[order.trace_id] = order
        self._traces.setdefault(order.person, set()).add(order.trace_id)
        self._stale.add(order.person)

    def _drop(self, trace: str) -> None:
        self._ended.pop(trace, None)
        order = self._orders.pop(trace, None)
        if order is not None:
            self._forget_parts(trace)
            self._traces[order.person].discard(trace)
            if not self._traces[order.person]:
                del self._traces[order.person]
                self._stale.discard(order.person)

    def touch(self, index: VisitIndex, persons: People, lineage: Ints) -> None:
        """Rows of visits, about to go into the index: these persons', at these venues."""
        if self._traces:
            names = texts_of(persons)
            if not self._traces.keys().isdisjoint(names):
                rows = [row for row, person in enumerate(names) if person in self._traces]
                self._stale.update(names[row] for row in rows)
                self.visited(index, lineage[rows])

    def visited(self, index: VisitIndex, lineage: Ints) -> None:
        """Visits at these venues may be of cases."""
        self._due.update(index.lineages.venues.of(index.lineages.own(lineage)))

    def forget(self, person: str) -> None:
        """Some of a person's visits go, or have gone; where they were is said by `visited`."""
        if person in self._traces:
            self._stale.add(person)

    def rename(self, index: VisitIndex, venue: str) -> None:
        """The venue's record, and so perhaps its category, is another."""
        self._refresh(index)
        if venue in self._parts:
            self._due.add(venue)

    def tell(
        self, index: VisitIndex, category: Callable[[str, int], str], floor_ms: int, *, again: bool
    ) -> tuple[int | None, list[VenueNow]]:
        """The venues to tell of, in order, each with its clusters that begin at or after a time (None: all).

        `category(venue, at_ms)` is a venue's category; visits that ended before `floor_ms` (NEVER: none) may be gone.
        `again`: also venues whose clusters are as last told here.
        """
        since_ms = None if floor_ms == NEVER else self._since_ms(floor_ms)
        if not self._due:
            return since_ms, []
        self._refresh(index)
        found = []
        for venue in sorted(self._due):
            parts = [part for of_trace in self._parts.get(venue, {}).values() for part in of_trace]
            visits = [
                CaseVisit(p.order.case_id, p.order.direction, category(venue, p.began_ms), p.start_ms, p.end_ms)
                for p in parts
            ]
            now = _since(clusters_at(venue, visits, self._rules), since_ms)
            if again or now != _since(self._told.get(venue, []), since_ms):
                found.append(VenueNow(venue, now))
            self._told.pop(venue, None)
            if now:
                self._told[venue] = now
        self._due.clear()
        return since_ms, found

    def _since_ms(self, floor_ms: int) -> int:
        """From when on clusters can be told of.

        A slot that begins after the floor is whole. A cluster that begins so many slots later, and that more visits
        before the floor would let begin earlier, would be told as beginning before this.
        """
        slot = self._rules.slot_ms
        return (-(-floor_ms // slot) + self._rules.reach_slots) * slot

    def expire(self, floor_ms: int) -> None:
        """Let go of the windows that ended before a time, and of the visits that the index has let go of."""
        for order in list(self._orders.values()):
            if order.window_end_ms < floor_ms:
                self._drop(order.trace_id)
        self._ended.clear()
        since_ms = self._since_ms(floor_ms)
        self._told = {venue: kept for venue, told in self._told.items() if (kept := _since(told, since_ms))}
        self._stale.update(self._traces)

    def dump(self) -> dict[str, bytes]:
        """The whole state but what the index says, as a named part."""
        state = _State(self._rules_as_told(), list(self._orders.values()), self._ended, sorted(self._due), self._told)
        return {_PART: msgspec.msgpack.encode(state)}

    def load(self, parts: Mapping[str, bytes], index: VisitIndex) -> None:
        """Take up what `dump` gave, if there is any; under other rules everything is to be told anew."""
        if _PART not in parts:
            return
        state = msgspec.msgpack.decode(parts[_PART], type=_State)
        for order in state.orders:
            self._keep(order)
        self._ended = state.ended
        self._due.update(state.due)
        self._told = state.told
        self._refresh(index)
        if state.rules != self._rules_as_told():
            self._due.update(self._parts, self._told)

    def _rules_as_told(self) -> bytes:
        return msgspec.json.encode(self._rules)

    def _refresh(self, index: VisitIndex) -> None:
        """Find the case visits of the persons whose visits or windows have changed."""
        orders = {person: [self._orders[trace] for trace in self._traces[person]] for person in self._stale}
        self._stale.clear()
        for order in chain.from_iterable(orders.values()):
            self._forget_parts(order.trace_id)
        of_number = {index.people.number(person): own for person, own in orders.items()}
        of_number.pop(-1, None)  # of whom there is no visit here
        since = ints([min(order.window_start_ms for order in own) for own in of_number.values()])
        until = ints([max(order.window_end_ms for order in own) for own in of_number.values()])
        visits = visits_of(index, ints(list(of_number)), since, until)
        by_place = list(of_number.values())
        columns = visits.asked, visits.venue, visits.start, visits.end
        for place, number, began, end in zip(*(column.tolist() for column in columns), strict=True):
            venue = index.lineages.venues[number]
            for order in by_place[place]:
                start, stop = max(began, order.window_start_ms), min(end, order.window_end_ms)
                if start < stop:
                    part = _Part(order, began, start, stop)
                    self._parts.setdefault(venue, {}).setdefault(order.trace_id, []).append(part)
                    self._venues.setdefault(order.trace_id, set()).add(venue)

    def _forget_parts(self, trace: str) -> None:
        for venue in self._venues.pop(trace, ()):
            del self._parts[venue][trace]
            if not self._parts[venue]:
                del self._parts[venue]


def _since(clusters: list[Cluster], since_ms: int | None) -> list[Cluster]:
    return [cluster for cluster in clusters if since_ms is None or cluster.start_ms >= since_ms]

"""Counts made by hand: how a venue's count goes on from a guard's. The definition is docs/door.md's.

After a recount of N at t, of those who were inside at t (by the visits as they are known now) the share that is still
inside is taken of N; those who have come since are counted as always. A count of 0 empties what lies within, too.
Nothing is kept of a venue without a recount, and nothing is done for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np

from contacts.columns import Ints, among, distinct, ints
from contacts.index import VisitIndex
from contacts.occupancy import Numbers
from contacts.presence import AtOnce, presences_at
from contacts.registry import Registry, stay_limit_ms
from schemas.blocks import RecountOrder

_PART: Final = "recounts"
_EMPTY: Final = msgspec.msgpack.encode([])  # a snapshot of before there were recounts


class _Point(NamedTuple):
    """A venue's recount: by its time, at one time the venue's own before those of what it lies within, then as told."""

    at_ms: int
    own: bool
    origin: tuple[int, int]
    inside: int


class Recounts:
    """The recounts of one partition's venues that may still count, and what they make of its counts."""

    def __init__(self, index: VisitIndex, registry: Registry) -> None:
        self._index, self._registry = index, registry
        self._orders: dict[str, list[RecountOrder]] = {}
        self._points: dict[int, list[_Point]] | None = {}
        self._known: dict[tuple[int, int], AtOnce] = {}
        self._asked: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._orders or self._asked)

    def take(self, order: RecountOrder) -> None:
        """Take in a recount; of two at one venue and time the one told later holds."""
        orders = self._orders.setdefault(order.venue, [])
        place = bisect_left(orders, order.at_ms, key=lambda held: held.at_ms)
        if place == len(orders) or orders[place].at_ms != order.at_ms:
            orders.insert(place, order)
        elif orders[place].origin < order.origin:
            orders[place] = order
        self._index.lineages.venue(order.venue)
        self._points = None

    def registered(self) -> None:
        """The registry has changed: other venues may lie within, or stays be of another length."""
        self._points = None

    def touched(self, rows: Ints) -> None:
        """These visits have changed. One that began after a recount, of somebody not inside at it, means nothing."""
        if not self._known:
            return
        own, start = self._index.own_venue(rows), self._index.column("start")[rows]
        person = ints(self._index.column("person")[rows])
        venues_of = self._places_of(distinct(own))
        for key, known in list(self._known.items()):
            here = np.flatnonzero(among(own, venues_of[key[0]])) if key[0] in venues_of else ()
            if len(here) and ((start[here] <= key[1]).any() or among(person[here], known.persons).any()):
                del self._known[key]

    def _places_of(self, own: Ints) -> dict[int, Ints]:
        """By venue, in order: those of the venues given that lie within it or are it, by any of their lineages."""
        lineages = self._index.lineages
        which, lineage = lineages.of_venues(own)
        row, venue = lineages.places(lineage)
        found: dict[int, set[int]] = {}
        for each, around in zip(own[which[row]].tolist(), venue.tolist(), strict=True):
            found.setdefault(around, set()).add(each)
        return {around: ints(sorted(each)) for around, each in found.items()}

    def venues(self, at_ms: int) -> Ints:
        """The venues whose counts recounts may change at a time, or may have changed when this was asked last."""
        self._let_go(at_ms)
        if self._points is None:
            self._points = self._by_venue()
        before, self._asked = self._asked, set(self._points)
        return ints(sorted(before | self._asked))

    def counted(self, at_ms: int, now: Numbers) -> Numbers:
        """The numbers of venues at a time with the recounts in them, from those by the visits alone."""
        if not self._points:
            return now
        inside, assumed = now.inside.copy(), now.assumed.copy()
        for place in np.flatnonzero(among(now.venues, ints(sorted(self._points)))).tolist():
            venue, by_visits = int(now.venues[place]), int(inside[place])
            points = self._points[venue]
            last = bisect_right(points, at_ms, key=lambda point: point.at_ms)
            if last and (found := self._count(venue, points[last - 1], at_ms, by_visits)) is not None:
                inside[place] = found
                assumed[place] = _share(found, int(assumed[place]), by_visits) if by_visits else found
        return now._replace(inside=inside, assumed=assumed)

    def _count(self, venue: int, point: _Point, at_ms: int, by_visits: int) -> int | None:
        """The count of a venue under a recount; None: it does not hold any more."""
        name = self._index.lineages.venues[venue]
        if at_ms >= point.at_ms + self._registry.place(name, point.at_ms).longest_ms:
            return None
        known = self._known.get((venue, point.at_ms))
        if known is None:
            known = self._known[venue, point.at_ms] = presences_at(self._index, venue, point.at_ms)
        were = len(known.ends)
        still = were - int(np.searchsorted(known.ends, at_ms, "right"))
        return by_visits - still + (_share(point.inside, still, were) if were else point.inside)

    def _by_venue(self) -> dict[int, list[_Point]]:
        """The recounts that concern each venue, in order."""
        number = self._index.lineages.venue
        found: dict[int, list[_Point]] = {}
        for name, orders in self._orders.items():
            found.setdefault(number(name), []).extend(
                _Point(order.at_ms, True, order.origin, order.inside) for order in orders
            )
        emptied = {name for name, orders in self._orders.items() if any(not order.inside for order in orders)}
        for venue in {record.venue for record in self._registry.venues()} if emptied else ():
            for above in emptied.intersection(self._registry.ancestors(venue)):
                found.setdefault(number(venue), []).extend(
                    _Point(order.at_ms, False, order.origin, 0) for order in self._orders[above] if not order.inside
                )
        for points in found.values():
            points.sort()
        return found

    def _let_go(self, at_ms: int) -> None:
        """Let go of what has no more to say: what is over, and what a later one has taken the place of."""
        for name, orders in list(self._orders.items()):
            kept = [*_standing(orders, at_ms)]
            if len(kept) < len(orders):
                self._points = None
                if kept:
                    self._orders[name] = kept
                else:
                    del self._orders[name]
        if self._points is None:
            held = {order.at_ms for orders in self._orders.values() for order in orders}
            self._known = {key: known for key, known in self._known.items() if key[1] in held}

    def dump(self) -> dict[str, bytes]:
        """What a snapshot keeps, as named parts."""
        orders = [order for of_venue in self._orders.values() for order in of_venue]
        return {_PART: msgspec.msgpack.encode(orders)}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        for order in msgspec.msgpack.decode(parts.get(_PART, _EMPTY), type=list[RecountOrder]):
            self.take(order)


def _standing(orders: list[RecountOrder], at_ms: int) -> Iterator[RecountOrder]:
    """Those that may still count: the last one before a time, the last one of 0, and all after it."""
    past = [order for order in orders if order.at_ms <= at_ms]
    empty = next((order for order in reversed(past) if not order.inside), None)
    for order, after in pairwise([*orders, None]):
        assert order is not None
        last = after is None or after.at_ms > at_ms
        if order.at_ms + stay_limit_ms() > at_ms and (last or order is empty):
            yield order


def _share(of: int, part: int, whole: int) -> int:
    """`of` times part / whole, rounded half up."""
    return (2 * of * part + whole) // (2 * whole)

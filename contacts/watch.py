"""Which standing traces a change of visits concerns: the watch list of one partition of `visits`.

A standing trace watches one person over one window. A changed visit concerns it when it is that person's, in the
window, or somebody else's at a venue and time where that person has a stay in the window. To be told is a hint: the
trace is then asked anew. So a hit too many costs a question, and a hit too few would leave a report wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from contacts.cases import numbers
from contacts.columns import Bools, Ints, among, distinct, ints
from contacts.incoming import NEVER
from contacts.index import MEETS, VisitIndex
from contacts.meetings import meetings, visits_of
from contacts.presence import Change, unite
from schemas.blocks import WatchOrder

_FIRST: Final = -(1 << 62)
_FOREVER: Final = 1 << 62
_MINUTE_MS: Final = 60_000
_PART: Final = "watches"


class Watch(msgspec.Struct):
    """A watch as it stands. Times in ms of log time.

    `hit`: a change has concerned it since it was told of at `told_ms`. `due_ms`: when to look whether time alone has
    changed its report, which is cut at the log time: a stay goes on, and has become long enough, or has ended.
    """

    order: WatchOrder
    told_ms: int
    due_ms: int
    hit: bool = False


class _Spans(NamedTuple):
    """Spans of time at venues, in order and apart from one another, to be found by one sorted search."""

    venue: Ints
    end: Ints
    starts: Ints
    key: Ints

    @classmethod
    def of(cls, venue: Ints, start: Ints, end: Ints) -> Self:
        """What these spans cover."""
        order = np.lexsort((start, venue))
        union = unite(venue[order], start[order], end[order], np.zeros(len(order), np.bool_))
        starts = distinct(union.start)
        return cls(union.key, union.end, starts, union.key * (len(starts) + 1) + np.searchsorted(starts, union.start))

    def met_by(self, venue: Ints, start: Ints, end: Ints) -> Bools:
        """Which of these spans, all of some length, share time with one of ours at their venue."""
        if not len(self.key):
            return np.zeros(len(venue), np.bool_)
        # the last of ours that begins before the other's end
        after = np.searchsorted(self.key, venue * (len(self.starts) + 1) + np.searchsorted(self.starts, end))
        last = np.maximum(after - 1, 0)
        met: Bools = (after > 0) & (self.venue[last] == venue) & (self.end[last] > start)
        return met


class _Kept(NamedTuple):
    """The watched persons' visits, each cut to its watch's window: the watch's number, the venue's, `[start, end)`."""

    watch: Ints
    venue: Ints
    start: Ints
    end: Ints


_NONE: Final = ints([])


class WatchList:
    """The watches of one partition, by number; a trace has one at most."""

    def __init__(self) -> None:
        self._open_ms = round(numbers().open_minutes * _MINUTE_MS)
        self._watches: dict[int, Watch] = {}
        self._by_trace: dict[str, int] = {}
        self._next = 0
        self._unknown: set[int] = set()
        self._stale: set[int] = set()
        self._person_of: dict[int, int] = {}
        self._by_person: dict[int, set[int]] = {}
        self._persons = self._venues = _NONE
        self._kept = _Kept(_NONE, _NONE, _NONE, _NONE)
        self._reach = _NONE, _NONE, _NONE
        self._spans = _Spans.of(*self._reach)

    def __len__(self) -> int:
        return len(self._watches)

    def is_news(self, order: WatchOrder) -> bool:
        """Whether an order is newer than what is held of its trace; the end of a watch that is not held is none."""
        held = self._by_trace.get(order.trace_id)
        if held is None:
            return order.window_start_ms < order.window_end_ms
        return order.revision > self._watches[held].order.revision

    def put(self, order: WatchOrder, log_time_ms: int) -> None:
        """Let an order take the place of the one held of its trace; one whose time is over only ends that."""
        held = self._by_trace.get(order.trace_id)
        if held is not None:
            self._drop(held)
        if order.window_start_ms < order.window_end_ms and log_time_ms < order.until_ms:
            self._add(Watch(order, log_time_ms, log_time_ms + self._open_ms))

    def renumber(self) -> None:
        """Persons' numbers may have changed: some have been forgotten."""
        self._unknown = set(self._watches)
        self._by_person.clear()
        self._persons = _NONE

    def changed(self, index: VisitIndex, change: Change) -> None:
        """Note which watches a change concerns. The index holds the change."""
        self._refresh(index)
        person, venue = index.column("person")[change.rows].astype(np.int64), index.own_venue(change.rows)
        near = among(person, self._persons) | among(venue, self._venues)
        if not near.any():
            return
        person, venue, change = person[near], venue[near], change.of(near)
        start, end = _extents(index, change)
        some = end > start
        own = some & among(person, self._persons)
        for number, since, until in zip(person[own].tolist(), start[own].tolist(), end[own].tolist(), strict=True):
            for watch in self._by_person[number]:
                order = self._watches[watch].order
                if since < order.window_end_ms and until > order.window_start_ms:
                    self._watches[watch].hit = True
                    self._stale.add(watch)
        self._refresh(index)
        met = some & self._spans.met_by(venue, start, end)
        if met.any():
            spans = _Spans.of(venue[met], start[met], end[met])
            for watch in distinct(self._kept.watch[spans.met_by(*self._reach)]).tolist():
                self._watches[watch].hit = True

    def due(self, index: VisitIndex, log_time_ms: int) -> list[WatchOrder]:
        """The orders of the watches to tell of now; those whose time is over are told of once more, and end."""
        if log_time_ms == NEVER:
            return []
        self._refresh(index)
        told = []
        for number, watch in list(self._watches.items()):
            over = log_time_ms >= watch.order.until_ms
            due_ms = log_time_ms + self._open_ms
            if not watch.hit and not over:
                if log_time_ms < watch.due_ms:
                    continue
                last_ms = self._open_until(index, number)
                due_ms = min(due_ms, last_ms) if last_ms > log_time_ms else _FOREVER
                if last_ms <= watch.told_ms:  # nothing was open then, and nothing is now
                    watch.due_ms = due_ms
                    continue
            told.append(watch.order)
            watch.hit, watch.told_ms, watch.due_ms = False, log_time_ms, due_ms
            if over:
                self._drop(number)
        return told

    def _open_until(self, index: VisitIndex, watch: int) -> int:
        """When the last stay ends that there is to show for a watch; NEVER: there is none."""
        person, order = self._person_of.get(watch), self._watches[watch].order
        if person is None:
            return NEVER
        window = ints([order.window_start_ms]), ints([order.window_end_ms])
        met = meetings(index, ints([person]), *window, None, order.linger_ms + order.grid_ms, order.direction)
        ends = np.concatenate((met.end, met.own_end, met.other_end))
        return int(ends.max()) if len(ends) else NEVER

    def dump(self) -> dict[str, bytes]:
        """The whole state, as a named part."""
        return {_PART: msgspec.msgpack.encode(list(self._watches.values()))}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave, if there is any."""
        if _PART in parts:
            for watch in msgspec.msgpack.decode(parts[_PART], type=list[Watch]):
                self._add(watch)

    def _add(self, watch: Watch) -> None:
        number, self._next = self._next, self._next + 1
        self._watches[number] = watch
        self._by_trace[watch.order.trace_id] = number
        self._unknown.add(number)

    def _drop(self, number: int) -> None:
        del self._by_trace[self._watches.pop(number).order.trace_id]
        self._unknown.discard(number)
        self._stale.add(number)
        person = self._person_of.pop(number, None)
        if person in self._by_person:
            self._by_person[person].discard(number)

    def _refresh(self, index: VisitIndex) -> None:
        """Find the persons that have become known here, and the stays of those whose visits have changed."""
        known = len(self._unknown)
        for watch in list(self._unknown):
            number = index.people.number(self._watches[watch].order.person)
            person = None if number < 0 else number
            if person != self._person_of.get(watch):
                self._stale.add(watch)
            if person is None:
                self._person_of.pop(watch, None)
            else:
                self._unknown.remove(watch)
                self._person_of[watch] = person
                self._by_person.setdefault(person, set()).add(watch)
        if len(self._unknown) < known:
            self._persons = ints(sorted(self._by_person))
        if self._stale:
            kept = ~among(self._kept.watch, ints(sorted(self._stale)))
            parts = [_Kept(*(column[kept] for column in self._kept))]
            parts += [self._stays_of(index, watch) for watch in self._stale if watch in self._person_of]
            found = _Kept(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            order = np.lexsort((found.start, found.venue))
            self._kept = _Kept(*(column[order] for column in found))
            self._venues = distinct(self._kept.venue)
            self._reach = self._reached()
            self._spans = _Spans.of(*self._reach)
            self._stale.clear()

    def _stays_of(self, index: VisitIndex, watch: int) -> _Kept:
        order = self._watches[watch].order
        since, until = order.window_start_ms, order.window_end_ms
        visits = visits_of(index, ints([self._person_of[watch]]), ints([since]), ints([until]))
        start, end = np.maximum(visits.start, since), np.minimum(visits.end, until)
        within = end > start
        return _Kept(np.full(int(within.sum()), watch), visits.venue[within], start[within], end[within])

    def _reached(self) -> tuple[Ints, Ints, Ints]:
        """Venue, start and end of the times at which a stay of somebody else shares time with one of ours."""
        watch, venue, start, end = self._kept
        held = distinct(watch)
        lag, linger = np.zeros((2, len(held)), np.int64)
        for place, number in enumerate(held.tolist()):
            order = self._watches[number].order
            lag[place] = linger[place] = order.grid_ms
            (lag if order.direction == "backward" else linger)[place] += order.linger_ms
        places = np.searchsorted(held, watch)
        return venue, start - lag[places], end + linger[places]


def _extents(index: VisitIndex, change: Change) -> tuple[Ints, Ints]:
    """From when to when each changed visit, with those of its person at its venue that it touches, lasts or lasted."""
    rows = change.rows
    start, end = index.column("start")[rows], np.maximum(index.column("end")[rows], change.old_end)
    person = index.column("person")[rows].astype(np.int64)
    joined = (index.column("flags")[rows] & MEETS != 0) | index.odd[person]
    if joined.any():
        persons = distinct(person[joined])
        held = index.kept(distinct(index.of_persons(persons, np.full(len(persons), _FIRST))))
        place = np.searchsorted(held, rows[joined])
        until = index.column("end")[held]
        until[place] = end[joined]
        since = index.column("start")[held]
        key = index.column("person")[held].astype(np.int64) * len(index.lineages.venues) + index.own_venue(held)
        order = np.lexsort((since, key))
        union = unite(key[order], since[order], until[order], np.zeros(len(order), np.bool_))
        part = np.empty(len(held), np.int64)
        part[order] = union.part_of
        start[joined], end[joined] = union.start[part[place]], union.end[part[place]]
    return start, end

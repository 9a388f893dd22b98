"""Visits scan by scan: the state of one partition of `scans`, from its records to the blocks for `visits`.

Rows are upserts: each states a visit's end as it now is and as it was. What a row says depends on the scans before it
in the log alone, never on where a batch begins or ends, so a replay makes the same rows at the same positions.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from contacts.registry import Place, Registry, is_name
from contacts.visits import AT, CLOSED, DAY_MS, END, IN, ORDER, OUT, REASON, SPOT, Acceptance, Entry, settle
from schemas.blocks import (
    ASSUMED,
    CHECKED_OUT,
    LATE,
    NEXT_CHECK_IN,
    SCANNED_AGAIN,
    TOUCHES,
    Control,
    ErasureOrder,
    Lineage,
    PlacedControl,
    RegistryChange,
    Tick,
    VisitBlock,
)
from schemas.messages import Venue

NEVER_MS = -(1 << 62)
"""The log time of a partition that has seen nothing."""

Arrived = tuple[int, int, str, str, str, int, int]
"""A scan with its place in the log: offset, number in the record, person, venue, kind, time, arrival (ms)."""

Refuse = Callable[[int, int, str], None]
"""Told (offset, number, reason) of a scan that is refused: `too_old`, `in_the_future` or `bad_venue`."""


class _Target:
    """What this batch has for one partition of `visits`."""

    __slots__ = ("controls", "lineages", "persons", "rows", "seen")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.persons: list[str] = []
        self.lineages: list[Lineage] = []
        self.seen: dict[int, int] = {}
        self.controls: list[PlacedControl] = []

    def lineage(self, spot: int, lineage: Lineage) -> int:
        index = self.seen[spot] = len(self.lineages)
        self.lineages.append(lineage)
        return index


class Deriver:
    """The visits of one partition of `scans`. `route` gives the `visits` partition of an outermost venue."""

    def __init__(self, partition: int, targets: int, acceptance: Acceptance, route: Callable[[str], int]) -> None:
        self.partition = partition
        self.log_time_ms = NEVER_MS
        self.counts: Counter[str] = Counter()
        self.registry = Registry()
        self._acceptance = acceptance
        self._route = route
        self._people: dict[str, list[Entry]] = {}
        self._erased: dict[str, int] = {}
        self._origins: dict[int, int] = {}
        self._places: list[Place] = []
        self._lineages: list[Lineage] = []
        self._partition_of: list[int] = []
        self._spots: dict[str, int] = {}
        self._dated: dict[tuple[str, int, int], int] = {}
        self._pruned_ms = NEVER_MS
        self._ticked = False
        self._targets = [_Target() for _ in range(targets)]

    @property
    def known(self) -> Mapping[str, object]:
        """The people of whom scans are held, as keys: who is known has been checked before."""
        return self._people

    def derive(self, scans: Iterable[Arrived], refuse: Refuse) -> None:
        """Take scans in, in order of the log, and note what they change."""
        people, places, spots, erased = self._people, self._places, self._spots, self._erased
        horizon, tolerance = self._acceptance.horizon_ms, self._acceptance.tolerance_ms
        log_time, emit, targets, partition_of = self.log_time_ms, self._emit, self._targets, self._partition_of
        for offset, number, person, venue, kind, at, arrived in scans:
            late = not -tolerance <= arrived - at <= horizon
            if late:
                verdict = self._acceptance.judge(at, arrived)
                if verdict != "late":
                    refuse(offset, number, verdict)
                    continue
            if arrived > log_time:
                log_time = arrived
            if erased and at < erased.get(person, NEVER_MS):
                self.counts["erased"] += 1
                continue
            if kind == "refused":
                self.counts["refused"] += 1
                continue
            spot = spots.get(venue)
            if spot is None:
                if not is_name(venue):
                    refuse(offset, number, "bad_venue")
                    continue
                spot = self._spot(venue, at)
            if late or at < log_time - horizon:
                self._stand_alone(offset, number, person, spot, kind, at)
                continue
            history = people.get(person)
            if history is None:
                history = people[person] = []
            elif at <= history[-1][AT]:
                self._insert(history, offset, number, person, spot, kind, at)
                continue
            place = places[spot]
            change = 0
            touching = 0
            entry: Entry
            if kind == "in":
                for entry in reversed(history):
                    start = entry[AT]
                    if start + DAY_MS < at:
                        break
                    if entry[ORDER] == OUT:
                        continue
                    where = places[entry[SPOT]]
                    same = where.venue == venue
                    if not entry[CLOSED] and at < start + where.longest_ms and where.venue not in place.ancestors:
                        entry[CLOSED] = 1
                        end, reason = entry[END], entry[REASON]
                        if at < end:
                            entry[END] = at
                            entry[REASON] = SCANNED_AGAIN if same else NEXT_CHECK_IN
                            emit(
                                offset,
                                number,
                                change,
                                person,
                                entry,
                                end,
                                reason,
                                same or self._met(history, entry, end),
                            )
                            change += 1
                    if same and entry[END] >= at:
                        touching = TOUCHES
                end = at + place.assumed_ms
                history.append([at, IN, spot, end, ASSUMED, 0, offset, number])
                target = targets[partition_of[spot]]  # as _emit does, without the call: most rows are made here
                lineage = target.seen.get(spot)
                if lineage is None:
                    lineage = target.lineage(spot, self._lineages[spot])
                target.rows += (
                    offset, number, change, offset, number, lineage, at, end, at, ASSUMED, ASSUMED, touching,
                )  # fmt: skip
                target.persons.append(person)
            else:
                for entry in reversed(history):
                    start = entry[AT]
                    if start + DAY_MS < at:
                        break
                    if entry[ORDER] == OUT or entry[CLOSED]:
                        continue
                    where = places[entry[SPOT]]
                    if at < start + where.longest_ms and (where.venue == venue or venue in where.ancestors):
                        end, reason = entry[END], entry[REASON]
                        entry[END], entry[REASON], entry[CLOSED] = at, CHECKED_OUT, 1
                        emit(offset, number, change, person, entry, end, reason, self._met(history, entry, end))
                        change += 1
                if not change:
                    self.counts["orphans"] += 1
                history.append([at, OUT, spot, at, ASSUMED, 0, offset, number])
        self.log_time_ms = log_time

    def _emit(
        self, offset: int, number: int, change: int, person: str, entry: Entry, old_end: int, old_reason: int, met: int
    ) -> None:
        at, _, spot, end, reason, _, born_offset, born_number = entry
        target = self._targets[self._partition_of[spot]]
        lineage = target.seen.get(spot)
        if lineage is None:
            lineage = target.lineage(spot, self._lineages[spot])
        target.rows += (
            offset,
            number,
            change,
            born_offset,
            born_number,
            lineage,
            at,
            end,
            old_end,
            reason,
            old_reason,
            met,
        )
        target.persons.append(person)

    def _met(self, history: list[Entry], entry: Entry, old_end: int) -> int:
        """TOUCHES where another visit of this person at this venue meets the old or the new stay."""
        venue = self._places[entry[SPOT]].venue
        start, end = entry[AT], max(entry[END], old_end)
        for other in history:
            if (
                other is not entry
                and other[ORDER] == IN
                and other[AT] <= end
                and other[END] >= start
                and self._places[other[SPOT]].venue == venue
            ):
                return TOUCHES
        return 0

    def _stand_alone(self, offset: int, number: int, person: str, spot: int, kind: str, at: int) -> None:
        """A late scan: a visit of its own, which gives way to one derived in time (places sees to that)."""
        self.counts["late"] += 1
        if kind == "in":
            entry = [at, IN, spot, at + self._places[spot].assumed_ms, LATE, 1, offset, number]
            self._emit(offset, number, 0, person, entry, at, LATE, TOUCHES)

    def _insert(
        self, history: list[Entry], offset: int, number: int, person: str, spot: int, kind: str, at: int
    ) -> None:
        """A scan that is not later than the person's last: put it in its place and settle all of them anew."""
        order = IN if kind == "in" else OUT
        venue = self._places[spot].venue
        key = (at, order, venue)
        index = bisect_left(history, key, key=self._key)
        if index < len(history) and self._key(history[index]) == key:
            self.counts["duplicates"] += 1
            return
        entry = [at, order, spot, at, ASSUMED, 0, offset, number]
        history.insert(index, entry)
        changes = list(settle(history, self._places))
        reach = {id(moved): old_end for moved, old_end, _, _ in changes}
        for change, (moved, old_end, old_reason, _) in enumerate(changes):
            met = self._met_any(history, moved, old_end, reach)
            self._emit(offset, number, change, person, moved, old_end, old_reason, met)
        if order == IN and id(entry) not in reach:  # closed by an equal time: born with no length
            self._emit(offset, number, len(changes), person, entry, at, ASSUMED, TOUCHES)

    def _met_any(self, history: list[Entry], entry: Entry, old_end: int, reach: Mapping[int, int]) -> int:
        venue = self._places[entry[SPOT]].venue
        start, end = entry[AT], max(entry[END], old_end)
        for other in history:
            if (
                other is not entry
                and other[ORDER] == IN
                and other[AT] <= end
                and max(other[END], reach.get(id(other), other[END])) >= start
                and self._places[other[SPOT]].venue == venue
            ):
                return TOUCHES
        return 0

    def _key(self, entry: Entry) -> tuple[int, int, str]:
        return entry[AT], entry[ORDER], self._places[entry[SPOT]].venue

    def _spot(self, venue: str, at: int) -> int:
        """The index of the place as a scan at `at` finds it."""
        place = self.registry.place(venue, at)
        dated = self.registry.dated(venue)
        if not self.registry.known(venue):
            self.counts["unknown_venues"] += 1
        key = (venue, place.assumed_ms, place.longest_ms)
        spot = self._dated.get(key)
        if spot is None or self._places[spot] != place:
            spot = self._dated[key] = len(self._places)
            self._add_place(place)
        if not dated:
            self._spots[venue] = spot
        return spot

    def _add_place(self, place: Place) -> None:
        self._places.append(place)
        self._lineages.append(Lineage(place.venue, place.ancestors))
        self._partition_of.append(self._route(place.ancestors[-1] if place.ancestors else place.venue))

    def control(self, offset: int, control: Control) -> None:
        """A control record at its place in the partition."""
        if isinstance(control, Tick):
            self.log_time_ms = max(self.log_time_ms, control.at_ms)
            self._ticked = True
            return
        if isinstance(control, RegistryChange):
            partition, origin = control.origin
            if origin <= self._origins.get(partition, -1):
                return
            self._origins[partition] = origin
            self.registry.add(control.venue)
            self._spots.clear()
            targets = [self._targets[self._route(self.registry.outermost(control.venue.venue))]]
        elif isinstance(control, ErasureOrder):
            self._erase(control.person, control.before_ms)
            targets = self._targets
        else:
            targets = self._targets
        placed = PlacedControl(offset, self.log_time_ms, control)
        for target in targets:
            target.controls.append(placed)

    def _erase(self, person: str, before_ms: int) -> None:
        self._erased[person] = max(before_ms, self._erased.get(person, NEVER_MS))
        kept = [entry for entry in self._people.get(person, ()) if entry[AT] >= before_ms]
        if kept:
            self._people[person] = kept
        else:
            self._people.pop(person, None)

    def blocks(self, first_offset: int, next_offset: int, *, empty: bool = False) -> list[tuple[int, VisitBlock]]:
        """What the records `[first_offset, next_offset)` made, a block for each `visits` partition; then forgotten.

        With `empty`, and after a tick, also the blocks that hold nothing: they carry the log time to where no one goes.
        """
        empty, self._ticked = empty or self._ticked, False
        made = []
        for number, target in enumerate(self._targets):
            if empty or target.rows or target.controls:
                block = VisitBlock(
                    self.partition,
                    first_offset,
                    next_offset,
                    self.log_time_ms,
                    target.lineages,
                    target.persons,
                    struct.pack(f"<{len(target.rows)}q", *target.rows),
                    target.controls,
                )
                made.append((number, block))
                self._targets[number] = _Target()
        return made

    def prune(self) -> None:
        """Let go of what no scan within the horizon can meet, four times a day of log time."""
        limit = self.log_time_ms - self._acceptance.horizon_ms - 2 * DAY_MS
        if self._pruned_ms == NEVER_MS:
            self._pruned_ms = self.log_time_ms - self._acceptance.horizon_ms  # nothing older is here
        if limit < self._pruned_ms + DAY_MS // 4:
            return
        self._pruned_ms = limit
        gone = []
        for person, history in self._people.items():
            if history[0][AT] < limit:
                history[:] = [entry for entry in history if entry[AT] >= limit]
                if not history:
                    gone.append(person)
        for person in gone:
            del self._people[person]
        forgotten = self.log_time_ms - self._acceptance.retention_ms - self._acceptance.horizon_ms
        self._erased = {person: before for person, before in self._erased.items() if before >= forgotten}

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        state = {
            "log_time_ms": self.log_time_ms,
            "pruned_ms": self._pruned_ms,
            "places": self._places,
            "erased": self._erased,
            "origins": self._origins,
            "venues": list(self.registry.venues()),
            "counts": dict(self.counts),
        }
        return {"state": msgspec.msgpack.encode(state), "people": msgspec.msgpack.encode(self._people)}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up a dumped state."""
        state: dict[str, Any] = msgspec.msgpack.decode(parts["state"], strict=False)
        self.log_time_ms, self._pruned_ms = state["log_time_ms"], state["pruned_ms"]
        for venue in state["venues"]:
            self.registry.add(msgspec.convert(venue, Venue))
        self._erased = state["erased"]
        self._origins = {int(partition): origin for partition, origin in state["origins"].items()}
        self.counts = Counter(state["counts"])
        self._people = msgspec.msgpack.decode(parts["people"], type=dict[str, list[list[int]]])
        for venue, assumed, longest, ancestors in state["places"]:
            place = Place(venue, assumed, longest, tuple(ancestors))
            self._dated[venue, assumed, longest] = len(self._places)
            self._add_place(place)

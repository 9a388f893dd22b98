"""Visits scan by scan: the state of one partition of `scans`, from its records to the blocks for `visits`.

Rows are upserts: each states a visit's end as it now is and as it was. What a row says depends on the scans before it
in the log alone, never on where a batch begins or ends, so a replay makes the same rows at the same positions.

The state is columns (contacts/histories.py), and scans go through it in a compiled loop (contacts/scanloop.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import compress
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from contacts.columns import Bools, Ints, among
from contacts.declared import Declared
from contacts.histories import NONE, Histories
from contacts.registry import Place, Registry, are_names, is_name
from contacts.scanloop import DUPLICATES, HELD, LATES, ORPHANS, ROW_PERSON, ROW_WIDTH, ROWS, split_rows, take_scans
from contacts.spots import Spots
from contacts.texts import Texts, grown
from contacts.visits import DAY_MS, NEVER_MS, Acceptance
from schemas.blocks import (
    KINDS,
    SELF_REPORTED,
    TOUCHES,
    VISIT_BLOCKS,
    Control,
    ErasureOrder,
    PlacedControl,
    RecountOrder,
    RegistryChange,
    RulesChange,
    StayReport,
    Tick,
    VisitBlock,
)
from schemas.messages import Venue

_FORMAT: Final = 3
_ROWS_KEPT: Final = 1 << 16  # room for rows that stays when a batch needed more
_IN, _REFUSED = KINDS.index("in"), KINDS.index("refused")

Arrived = tuple[int, int, str, str, str, int, int]
"""A scan with its place in the log: offset, number in the record, person, venue, kind, time, arrival (ms)."""

Refuse = Callable[[int, int, str], None]
"""Told (offset, number, reason) of a scan that is refused: `too_old`, `in_the_future` or `bad_venue`."""


class Scans(NamedTuple):
    """Scans with their places in the log, as columns of one length, in order of the log; times in ms.

    `person` and `venue` are numbers in the deriver's `people` and `venues` (-1: no name for a venue), `kind` an index
    into KINDS.
    """

    offset: Ints
    number: Ints
    person: Ints
    venue: Ints
    kind: Ints
    at: Ints
    arrived: Ints

    def of(self, chosen: Bools) -> Scans:
        """Some of them."""
        columns: list[Ints] = [column[chosen] for column in self]
        return Scans(*columns)


class Packed(NamedTuple):
    """A block on its way: the partition of `visits` it goes to, how many rows it has, and its MessagePack body."""

    target: int
    rows: int
    body: bytes


class Deriver:
    """The visits of one partition of `scans`. `route` gives the `visits` partition of an outermost venue."""

    def __init__(self, partition: int, targets: int, acceptance: Acceptance, route: Callable[[str], int]) -> None:
        self.partition = partition
        self.log_time_ms = NEVER_MS
        self.counts: Counter[str] = Counter()
        self.histories = Histories()
        self._spots = Spots(route, self.counts)
        self._declared = Declared(acceptance, self._spots.find)
        self._acceptance = acceptance
        self._route = route
        self._erased: dict[int, int] = {}
        self._erased_people: Ints = np.empty(0, np.int64)
        self._origins: dict[str, int] = {}
        self._pruned_ms = NEVER_MS
        self._ticked = False
        self._controls: list[list[PlacedControl]] = [[] for _ in range(targets)]
        self._rows = np.empty((1024, ROW_WIDTH), np.int64)
        self._rows_made = 0

    @property
    def people(self) -> Texts:
        """The numbers of people."""
        return self.histories.people

    @property
    def venues(self) -> Texts:
        """The numbers of venues."""
        return self._spots.venues

    @property
    def registry(self) -> Registry:
        """The registry as it stands."""
        return self._spots.registry

    def derive(self, scans: Iterable[Arrived], refuse: Refuse) -> None:
        """Take scans in, in order of the log, and note what they change."""
        listed = list(scans)
        if listed:
            offset, number, person, venue, kind, at, arrived = zip(*listed, strict=True)
            self.take(
                Scans(
                    np.array(offset, np.int64),
                    np.array(number, np.int64),
                    self.people.take(person),
                    self.venue_numbers(venue),
                    np.array([KINDS.index(each) for each in kind], np.int64),
                    np.array(at, np.int64),
                    np.array(arrived, np.int64),
                ),
                refuse,
            )

    def venue_numbers(self, venues: Iterable[str]) -> Ints:
        """The numbers of venues, NONE for what is no name."""
        listed = list(venues)
        if are_names(listed):
            return self.venues.take(listed)
        named = [is_name(venue) for venue in listed]
        numbers = np.full(len(listed), NONE)
        numbers[named] = self.venues.take(list(compress(listed, named)))
        return numbers

    def take(self, scans: Scans, refuse: Refuse) -> None:
        """Take scans in, in order of the log, and note what they change."""
        nameless = scans.venue == NONE
        if nameless.any():  # whatever its kind, and before it moves the log time
            for row in np.flatnonzero(nameless).tolist():
                refuse(int(scans.offset[row]), int(scans.number[row]), "bad_venue")
            scans = scans.of(~nameless)
        horizon, tolerance = self._acceptance.horizon_ms, self._acceptance.tolerance_ms
        behind = scans.arrived - scans.at
        late = (behind < -tolerance) | (behind > horizon)
        if late.any():
            for row in np.flatnonzero(late).tolist():
                verdict = self._acceptance.judge(int(scans.at[row]), int(scans.arrived[row]))
                if verdict != "late":
                    refuse(int(scans.offset[row]), int(scans.number[row]), verdict)
                    behind[row] = NEVER_MS
            kept = behind != NEVER_MS
            scans, late = scans.of(kept), late[kept]
        if not len(scans.at):
            return
        log_time = np.maximum(np.maximum.accumulate(scans.arrived), self.log_time_ms)
        self.log_time_ms = int(log_time[-1])
        late |= scans.at < log_time - horizon
        kept = self._counts_at_all(scans)
        spots = self._spots.take(scans.venue, scans.at, kept)
        if not kept.all():
            scans, late, spots = scans.of(kept), late[kept], spots[kept]
        self._settle(scans, spots, late)

    def _counts_at_all(self, scans: Scans) -> Bools:
        """Which scans are neither erased nor those of people who were turned away."""
        kept: Bools = scans.kind != _REFUSED
        if self._erased:
            if len(self._erased_people) != len(self._erased):
                self._erased_people = np.sort(np.array(list(self._erased)))
            for row in np.flatnonzero(among(scans.person, self._erased_people)).tolist():
                if scans.at[row] < self._erased[int(scans.person[row])]:
                    self.counts["erased"] += 1
                    kept[row] = False
        return kept

    def _settle(self, scans: Scans, spots: Ints, late: Bools) -> None:
        known = spots != NONE
        columns = np.column_stack((scans.offset, scans.number, scans.person, spots, scans.at))[known]
        ins, late = scans.kind[known] == _IN, late[known]
        held, places = self.histories, self._spots
        held.make_room(len(columns))
        progress = np.zeros(6, np.int64)
        progress[HELD], progress[ROWS] = held.count, self._rows_made
        done = 0
        while True:
            done = take_scans(
                columns, ins, late, done, held.last, held.held, held.wide, held.narrow, places.places, places.above,
                places.venues.data, places.venues.begins, self._rows, progress,
            )  # fmt: skip
            if done == len(columns):
                break
            room = int(progress[ROWS]) + int(held.held[columns[done, 2]]) + 2
            self._rows = grown(self._rows, max(room, 2 * len(self._rows)))
        held.count, self._rows_made = int(progress[HELD]), int(progress[ROWS])
        for name, place in (("late", LATES), ("orphans", ORPHANS), ("duplicates", DUPLICATES)):
            self.counts[name] += int(progress[place])

    def control(self, offset: int, control: Control) -> None:
        """A control record at its place in the partition.

        Raises RegistryError for a record of a venue, and StayRefused for a declared stay, that it refuses.
        """
        if isinstance(control, Tick):
            self.log_time_ms = max(self.log_time_ms, control.at_ms)
            self._ticked = True
            return
        if isinstance(control, StayReport):
            self._declare(offset, control)
            return
        targets = self._controls
        if isinstance(control, RegistryChange | RecountOrder | RulesChange) and not self._is_new(control):
            return
        if isinstance(control, RegistryChange):
            self._spots.register(control.venue)
            targets = [self._controls[self._route(self._spots.registry.outermost(control.venue.venue))]]
        elif isinstance(control, RecountOrder):
            targets = [self._controls[self._route(self._spots.registry.outermost(control.venue))]]
        elif isinstance(control, ErasureOrder):
            person = int(self.people.take([control.person])[0])
            self._erased[person] = max(control.before_ms, self._erased.get(person, NEVER_MS))
            self.histories.cut(person, control.before_ms)
            self._declared.erase(control.person, control.before_ms)
        placed = PlacedControl(offset, self.log_time_ms, control)
        for target in targets:
            target.append(placed)

    def _is_new(self, control: RegistryChange | RecountOrder | RulesChange) -> bool:
        """Whether a record of another topic comes for the first time; it does not again."""
        partition, origin = control.origin
        channel = f"{control.__struct_config__.tag}/{partition}"
        if origin <= self._origins.get(channel, -1):
            return False
        self._origins[channel] = origin
        return True

    def _declare(self, offset: int, report: StayReport) -> None:
        """A declared stay: its visit stands alone, so all that it changes is told here. Raises StayRefused."""
        person = int(self.people.take([report.person])[0])
        erased_ms = self._erased.get(person, NEVER_MS)
        for change, moved in enumerate(self._declared.take(offset, report, self.log_time_ms, erased_ms)):
            if self._rows_made == len(self._rows):
                self._rows = grown(self._rows, 2 * len(self._rows))
            born, spot, start, end, old_end = moved
            times = start, end, old_end, SELF_REPORTED, SELF_REPORTED
            self._rows[self._rows_made] = offset, 0, change, born, 0, spot, *times, TOUCHES, person
            self._rows_made += 1
            self.counts["self_reported"] += end > start

    def packed(self, first_offset: int, next_offset: int, *, empty: bool = False, recorded_ms: int = 0) -> list[Packed]:
        """What the records `[first_offset, next_offset)` made, a block for each `visits` partition; then forgotten.

        With `empty`, and after a tick, also the blocks that hold nothing: they carry the log time to where no one goes.
        `recorded_ms` is the time of the first of the records in the log.
        """
        empty, self._ticked = empty or self._ticked, False
        count, self._rows_made = self._rows_made, 0
        rows, persons = np.empty((count, ROW_PERSON), np.int64), np.empty(count, np.int64)
        lineages = np.empty(min(count, len(self._spots)), np.int64)
        counts = np.zeros((len(self._controls), 2), np.int64)
        used = split_rows(
            self._rows[:count], self._spots.places, rows, persons, self._spots.lineage_of, lineages, counts
        )
        made = []
        start = 0
        for target, (size, _) in enumerate(counts.tolist()):
            if empty or size or self._controls[target]:
                stop = start + size
                block = (
                    self.partition,
                    first_offset,
                    next_offset,
                    self.log_time_ms,
                    self._spots.lineages(lineages[:used], target),
                    msgspec.Raw(self.people.packed(persons[start:stop])),
                    rows[start:stop].astype("<i8", copy=False).tobytes(),
                    self._controls[target],
                    recorded_ms,
                )
                made.append(Packed(target, size, msgspec.msgpack.encode(block)))
                self._controls[target] = []
            start += size
        if len(self._rows) > _ROWS_KEPT:
            self._rows = np.empty((_ROWS_KEPT, ROW_WIDTH), np.int64)
        return made

    def blocks(self, first_offset: int, next_offset: int, *, empty: bool = False) -> list[tuple[int, VisitBlock]]:
        """What `packed` gives, as a receiver reads it."""
        made = self.packed(first_offset, next_offset, empty=empty)
        return [(each.target, VISIT_BLOCKS.decode(each.body)) for each in made]

    def prune(self) -> None:
        """Let go of what no scan within the horizon can meet, four times a day of log time."""
        limit = self.log_time_ms - self._acceptance.horizon_ms - 2 * DAY_MS
        if self._pruned_ms == NEVER_MS:
            self._pruned_ms = self.log_time_ms - self._acceptance.horizon_ms  # nothing older is here
        if limit < self._pruned_ms + DAY_MS // 4 or self._rows_made:
            return
        self._pruned_ms = limit
        forgotten = self.log_time_ms - self._acceptance.retention_ms - self._acceptance.horizon_ms
        erased = {person: before for person, before in self._erased.items() if before >= forgotten}
        number_of = self.histories.prune(limit, np.array(list(erased), np.int64))
        self._erased = {int(number_of[person]): before for person, before in erased.items()}
        self._erased_people = np.empty(0, np.int64)
        self._declared.prune(self.log_time_ms - self._acceptance.retention_ms)

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        state = {
            "format": _FORMAT,
            "log_time_ms": self.log_time_ms,
            "pruned_ms": self._pruned_ms,
            "spots": self._spots.spots,
            "erased": self._erased,
            "origins": self._origins,
            "venues": list(self._spots.registry.venues()),
            "counts": dict(self.counts),
        }
        return {
            "state": msgspec.msgpack.encode(state), "declared": self._declared.dump(), **self.histories.dump()
        }  # fmt: skip

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up a dumped state. Raises ValueError when it is of another format: then it has to be rebuilt."""
        state: dict[str, Any] = msgspec.msgpack.decode(parts["state"], strict=False)
        if state.get("format") != _FORMAT:
            raise ValueError("another version of Lacak wrote it")
        self.log_time_ms, self._pruned_ms = state["log_time_ms"], state["pruned_ms"]
        for venue in state["venues"]:
            self._spots.registry.add(msgspec.convert(venue, Venue))
        self._spots.load(
            Place(venue, assumed, longest, tuple(above)) for venue, assumed, longest, above in state["spots"]
        )
        self._erased = {int(person): before for person, before in state["erased"].items()}
        self._origins = dict(state["origins"])
        self.counts.update(state["counts"])
        self._declared.load(parts["declared"])
        self.histories = Histories.load(parts)

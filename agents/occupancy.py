"""The occupancy agent: changes of visits in, one partition's index kept, counts, windows and clusters out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from agents.clusters import tell_clusters
from agents.contacts import Contacts
from agents.placemeters import PlaceMeters
from contacts.clusterrules import ClusterRules
from contacts.controls import fault_of
from contacts.doorrules import DoorRulesError
from contacts.occupancy import Count
from contacts.places import Places, unused_people
from contacts.registry import RegistryError
from contacts.thresholds import crosses
from contacts.visits import NEVER_MS
from contacts.windows import WindowRows
from contacts.wire import WIRE_BLOCKS, WireBlock
from schemas.blocks import (
    VISITS_MAGIC,
    WINDOWS_MAGIC,
    Barrier,
    BlockError,
    ErasureOrder,
    Heartbeat,
    RecountOrder,
    RegistryChange,
    RulesChange,
    WatchOrder,
    WindowBlock,
    frame,
    unframe,
)
from schemas.messages import Occupancy
from streams import meters
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import Owner
from streams.people_file import PeopleFile
from streams.progress import Progress
from streams.settings import Settings
from streams.shelf import FileShelf

_TELL_SECONDS = 1.0
"""A venue's count is told at most this often, by the processing clock, but at once at a threshold."""

_PASS_SECONDS = 5.0
"""What has all been told of is taken in so much of it at a time: few steps then come to a window closed already."""

_LOOK_SECONDS = 0.1
"""How often thresholds and clusters are looked at, if `_REST` lets them."""

_WINDOWS_A_RECORD = 30_000
"""A record holds no more windows: with the longest names it is still one that the brokers take."""

_REST = 9
"""Each is looked at again after so many times as long as it took, for each partition here: so that looking takes a
tenth of the worker's time, whatever its partitions, rows and cases. What is told once a second is not put off."""


class _Told:
    """What one partition has told, and what waits to be told."""

    def __init__(self, progress: Progress, passing_to: int = 0) -> None:
        self.replaying = True
        self.progress = progress
        self.passing_to = passing_to
        """Up to this offset everything has been told of."""
        self.closed = -1
        self.log_time_ms = 0
        self.at = 0.0
        self.looked = 0.0
        self.counts_rest_until = 0.0
        self.clusters_rest_until = 0.0
        self.waiting: dict[str, Count] = {}
        self.inside: dict[str, int] = {}


class OccupancyKeeper:
    """Keeps the places of each visits partition this worker holds and tells how full they are."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        letters: DeadLetters,
        contacts: Contacts,
        people: PeopleFile,
        home: Callable[[int], Path],
        states: Callable[[], Mapping[int, Places] | None],
        cluster_rules: ClusterRules,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters
        self._contacts = contacts
        self._people = people
        self._home = home
        self._states = states
        self._unused = False
        self._leaving: set[int] = set()
        self._leaving_at: dict[int, int] = {}
        self.owner: Owner[Places] | None = None
        """Who keeps the partitions; given once there is one."""
        self._builder = ThreadPoolExecutor(1, "settling")
        self._cluster_rules = cluster_rules
        self._told: dict[int, _Told] = {}
        self.meters = PlaceMeters(settings.partitions, clock, outbox)
        self._grow()

    def make(self, partition: int) -> Places:
        """The state of a partition that nothing is known of."""
        settings = self._settings
        places = Places(
            settings.partitions.scans,
            settings.window_ms,
            settings.horizon_ms,
            settings.retention_ms,
            settings.zone_info,
            self._people.people,
            FileShelf(self._home(partition)),
            self._cluster_rules,
        )
        self._contacts.begins(partition)
        self._begin(partition, places, 0)
        return places

    def load(self, partition: int, parts: Mapping[str, bytes]) -> Places:
        """The state of a partition from its snapshot. Raises ValueError or Damaged when it cannot be used."""
        self._people.check(partition, parts["directory"])
        settings = self._settings
        places = Places.load(
            dict(parts),
            settings.partitions.scans,
            settings.window_ms,
            settings.horizon_ms,
            settings.retention_ms,
            settings.zone_info,
            self._people.people,
            FileShelf(self._home(partition)),
            self._cluster_rules,
        )
        self._contacts.begins(partition)
        self._begin(partition, places, self._at(partition))
        return places

    def _at(self, partition: int) -> int:
        at = self.owner.position(partition) if self.owner is not None else 0
        return at if isinstance(at, int) else 0

    def _begin(self, partition: int, places: Places, position: int) -> None:
        """A state at a position goes through the log again: up to what was committed all of that has been told."""
        committed = self.owner.committed.get(partition, 0) if self.owner is not None else 0
        progress = Progress("visits", partition, position, self._clock.monotonic())
        self._told[partition] = _Told(progress, committed if committed > position else 0)
        if committed > position:
            places.pass_over()
        else:
            places.replaying()

    def returned(self, partition: int, places: Places) -> None:
        """A state goes on where another worker may have gone on: what that one told is not known."""
        self._begin(partition, places, self._at(partition))

    async def run(self, batches: AsyncIterator[Batch], owner: Owner[Places]) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                places, fresh = held
                self._passes(fresh.partition, places, fresh.next_offset)
                self.apply(places, fresh)
                self.look(fresh.partition, places, fresh.next_offset, owner.level(fresh.partition))
                await self._outbox.room()
                await owner.done(fresh)

    def apply(self, places: Places, batch: Batch) -> None:
        """Take one batch of blocks into the index."""
        bad = events = 0
        for index, value in enumerate(batch.views()):
            try:
                block = unframe(VISITS_MAGIC, value or b"", WIRE_BLOCKS)
                self._check(block)
                controls = places.apply(block)
            except BlockError as error:
                bad += 1
                self._letters.letter(batch, index, 0, "undecodable", str(error), self._clock.now_ms())
                continue
            events += block.count
            self.meters.took(batch.partition, block.recorded_ms, block.count)
            for placed in controls:
                if isinstance(placed.control, Barrier):
                    self._contacts.barrier(
                        batch.partition, block.source_partition, placed.control.query_id, placed.log_time_ms
                    )
                elif isinstance(placed.control, ErasureOrder):
                    places.erase(placed.control.person, placed.control.before_ms)
                    self._unused = True
                elif isinstance(placed.control, WatchOrder):
                    places.watch(placed.control)
                elif isinstance(placed.control, RegistryChange):
                    try:
                        places.add_venue(placed.control.venue)
                    except RegistryError as error:
                        self._letters.letter(batch, index, 0, "refused_venue", str(error), self._clock.now_ms())
                elif isinstance(placed.control, RecountOrder):
                    places.recount(placed.control)
                elif isinstance(placed.control, RulesChange):
                    try:
                        places.rule(placed.control)
                    except DoorRulesError as error:  # the registry agent's Lacak reads more than this one
                        self._letters.letter(batch, index, 0, "refused_rules", str(error), self._clock.now_ms())
                elif isinstance(placed.control, Heartbeat):
                    self.meters.beat(batch.partition, placed.control)
        meters.events_in("visits").inc(events)
        meters.log_time("visits", batch.partition, places.log_time_ms)
        self._letters.judge(len(batch), bad)
        self._contacts.answer_ready(batch.partition, places)

    def _passes(self, partition: int, places: Places, position: int) -> None:
        """A state is to go on to a position: behind what has been told of, a replay begins."""
        told = self._told[partition]
        if told.passing_to and position > told.passing_to:
            told.passing_to = 0
            places.passed_over()

    def telling(self, partition: int, places: Places, position: int) -> None:
        """Tell everything of a state that is about to be saved: so that nothing below what is committed is untold."""
        told = self._told[partition]
        if told.passing_to:
            return
        self._tell_windows(partition, places, told, position, self._windows(places, told))
        if not told.replaying:
            told.waiting.update((count.venue, count) for count in places.counts())
            self._tell_counts(partition, places, told, position, list(told.waiting.values()))
            told.waiting.clear()

    @staticmethod
    def _windows(places: Places, told: _Told) -> WindowRows | None:
        """The windows to tell of. In a replay, of all that it has touched: the rest of it is another replay."""
        if not told.replaying:
            return places.windows()
        found = places.replayed()
        places.replaying()
        return found

    def _check(self, block: WireBlock) -> None:
        """Raises BlockError for a block that holds a control record that cannot be taken: it is refused whole."""
        for placed in block.controls:
            if isinstance(placed.control, RulesChange):
                continue  # looked at by itself below: another Lacak may read more than this one
            if (fault := fault_of(placed.control, self._settings.partitions.cases)) is not None:
                raise BlockError(f"a control record in the block cannot be taken: {fault[1]}")

    def look(self, partition: int, places: Places, position: int, level: bool) -> None:
        """Tell what is due: everything that changed once a second, a crossed threshold or another cluster at once.

        `position` is the offset after what `places` holds, `level` whether that is all there was when reading began. In
        a replay counts and clusters wait until it is over, and what has been told of before is passed over.
        """
        told, now = self._told[partition], self._clock.monotonic()
        if told.replaying and level:
            self._passes(partition, places, position + 1)
            told.replaying = False
            self._tell_windows(partition, places, told, position, places.replayed())
            tell_clusters(self._outbox, partition, places, position, again=True)
            told.progress.done(position, places.born, now)
        if now - told.looked < _LOOK_SECONDS:
            return
        told.looked = now
        if told.replaying:
            if self.owner is not None:
                told.progress.tell(position, self.owner.ends.get(partition, position), places.born, now)
            if now - told.at >= (_PASS_SECONDS if told.passing_to else _TELL_SECONDS):
                told.at = now
                if told.passing_to:
                    places.pass_over()
                else:
                    self._tell_windows(partition, places, told, position, self._windows(places, told))
                self.meters.told(partition, replaying=True)
                self._keep_house(places)
            return
        all_of_it = now - told.at >= _TELL_SECONDS
        if all_of_it or now >= told.counts_rest_until:
            self._look_at_counts(partition, places, told, position, all_of_it=all_of_it)
        now = self._clock.monotonic()
        if now >= told.clusters_rest_until:
            tell_clusters(self._outbox, partition, places, position, again=False)
            told.clusters_rest_until = self._rests_until(now)

    def _look_at_counts(self, partition: int, places: Places, told: _Told, position: int, *, all_of_it: bool) -> None:
        now = self._clock.monotonic()
        changed = places.counts()
        told.counts_rest_until = self._rests_until(now)
        for count in changed:
            told.waiting[count.venue] = count
        if all_of_it:
            told.at = now
            ready = list(told.waiting.values())
            told.waiting.clear()
            self._tell_windows(partition, places, told, position, places.windows())
            self._contacts.tell(partition, places)
            self._keep_house(places)
        else:
            ready = [
                count for count in changed if crosses(told.inside.get(count.venue, 0), count.inside, count.allowed)
            ]
            for count in ready:
                del told.waiting[count.venue]
        self._tell_counts(partition, places, told, position, ready)
        if all_of_it:
            self.meters.told(partition, replaying=False)

    def _rests_until(self, began: float) -> float:
        now = self._clock.monotonic()
        here = len(self.owner.partitions) if self.owner is not None else 1
        return now + _REST * here * (now - began)

    def _keep_house(self, places: Places) -> None:
        self._unused |= places.expire()
        places.settle(self._builder)
        self._grow()
        self._forget()

    def _tell_counts(self, partition: int, places: Places, told: _Told, position: int, counts: list[Count]) -> None:
        if counts:
            log_time_ms = places.log_time_ms
            self._outbox.send_many("occupancy", [_message(partition, count, log_time_ms, position) for count in counts])
            told.inside.update((count.venue, count.inside) for count in counts)

    def _grow(self) -> None:
        """Have the directory's next table made before somebody waits for it."""
        table = self._people.people.growing()
        if table is not None:
            self._builder.submit(table)

    def _forget(self) -> None:
        """Wipe out the names of persons of whom this worker has no visit any more, nor has any snapshot of its.

        Else a restart would find visits of nobody, and take back what windows had told of them. Not while a partition
        is rebuilt: all files would be read through for each day that passes.
        """
        states = self._states() if self._unused or self._leaving else None
        if states is None or self.owner is None or self.owner.rebuilding():
            return
        held = {partition: self.owner.position(partition) for partition in states}
        if self._leaving and self._leaving_at.keys() == held.keys():
            durable = {partition: self.owner.durable(partition) for partition in held}
            if all((durable[partition] or 0) > at for partition, at in self._leaving_at.items()):
                away = set(range(self._settings.partitions.visits)).difference(states)
                gone = self._leaving.intersection(unused_people(self._people.people, states.values()))
                self._people.forget(gone, away)
                self._leaving = set()
                for places in states.values():
                    places.people_forgotten()
        elif all(isinstance(at, int) for at in held.values()):
            self._unused = False
            self._leaving = set(unused_people(self._people.people, states.values()))
            self._leaving_at = {partition: at for partition, at in held.items() if isinstance(at, int)}

    def _tell_windows(
        self, partition: int, places: Places, told: _Told, position: int, found: WindowRows | None
    ) -> None:
        """Tell the windows found; with none, up to where the log time has closed them."""
        window_ms = self._settings.window_ms
        closed = places.log_time_ms // window_ms
        if found is None and (places.log_time_ms <= NEVER_MS or closed == told.closed):
            return
        told.closed = closed
        parts = list(_parts(found)) if found is not None else [([], b"")]
        for number, (venues, rows) in enumerate(parts):
            log_time_ms = places.log_time_ms if number + 1 == len(parts) else told.log_time_ms  # once all are there
            block = WindowBlock(partition, (position, 0), window_ms, log_time_ms, venues, rows)
            self._outbox.send("windows", partition, frame(WINDOWS_MAGIC, block))
        told.log_time_ms = places.log_time_ms
        meters.events_out("windows").inc(len(found.rows) if found is not None else 0)


def _parts(found: WindowRows) -> Iterator[tuple[list[str], bytes]]:
    """Windows in parts that fit a record: the venues, and the rows."""
    for first in range(0, len(found.rows), _WINDOWS_A_RECORD):
        rows = found.rows[first : first + _WINDOWS_A_RECORD]
        if len(rows) == len(found.rows):
            yield found.venues, rows.tobytes()
            return
        used, place = np.unique(rows[:, 0], return_inverse=True)
        yield [found.venues[venue] for venue in used.tolist()], np.column_stack((place, rows[:, 1:])).tobytes()


def _message(partition: int, count: Count, log_time_ms: int, position: int) -> tuple[int, bytes, bytes]:
    message = Occupancy(
        venue=count.venue,
        inside=count.inside,
        log_time_ms=log_time_ms,
        position=(position, 0),
        allowed=count.allowed,
        assumed_end_share=count.assumed_inside / count.inside if count.inside else 0.0,
    )
    return partition, count.venue.encode(), msgspec.json.encode(message)

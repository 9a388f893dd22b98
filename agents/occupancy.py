"""The occupancy agent: changes of visits in, one partition's index kept, counts, windows and clusters out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from agents.clusters import tell_clusters
from agents.contacts import Contacts
from contacts.clusterrules import ClusterRules
from contacts.controls import fault_of
from contacts.doorrules import DoorRulesError
from contacts.occupancy import Count
from contacts.places import Places, unused_people
from contacts.registry import RegistryError
from contacts.thresholds import crosses
from contacts.visits import NEVER_MS
from contacts.windows import WindowRows
from schemas.blocks import (
    VISIT_BLOCKS,
    VISITS_MAGIC,
    WINDOWS_MAGIC,
    Barrier,
    BlockError,
    ErasureOrder,
    RecountOrder,
    RegistryChange,
    RulesChange,
    VisitBlock,
    WatchOrder,
    WindowBlock,
    frame,
    unframe,
)
from schemas.messages import Occupancy
from streams import metrics
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import Owner
from streams.people_file import PeopleFile
from streams.settings import Settings
from streams.shelf import FileShelf

_TELL_SECONDS = 1.0
"""A venue's count is told at most this often, by the processing clock, but at once at a threshold."""

_LOOK_SECONDS = 0.1
"""How often thresholds and clusters are looked at."""

_REST = 9
"""Clusters are looked at again after so many times as long as it took: where there are many cases, less often."""


class _Told:
    """What one partition has told, and what waits to be told."""

    def __init__(self) -> None:
        self.replaying = True
        self.closed = -1
        self.at = 0.0
        self.looked = 0.0
        self.rests_until = 0.0
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
        self._owner: Owner[Places] | None = None
        self._builder = ThreadPoolExecutor(1, "settling")
        self._cluster_rules = cluster_rules
        self._told: dict[int, _Told] = {}
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
        self.returned(partition, places)
        return places

    def load(self, partition: int, parts: Mapping[str, bytes]) -> Places:
        """The state of a partition from its snapshot. Raises ValueError or Damaged when it cannot be used."""
        self._people.check(partition, parts["directory"])
        self._told[partition] = _Told()
        settings = self._settings
        return Places.load(
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

    def returned(self, partition: int, places: Places) -> None:
        """A state goes on where another worker may have gone on: what that one told is not known."""
        self._told[partition] = _Told()
        places.replaying()

    async def run(self, batches: AsyncIterator[Batch], owner: Owner[Places]) -> None:
        """The agent's loop."""
        self._owner = owner
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                places, fresh = held
                self.apply(places, fresh)
                self.look(fresh.partition, places, fresh.next_offset, owner.level(fresh.partition))
                await self._outbox.room()
                await owner.done(fresh)

    def apply(self, places: Places, batch: Batch) -> None:
        """Take one batch of blocks into the index."""
        bad = 0
        for index, value in enumerate(batch.values):
            try:
                block = unframe(VISITS_MAGIC, value or b"", VISIT_BLOCKS)
                self._check(block)
                controls = places.apply(block)
            except BlockError as error:
                bad += 1
                self._letters.letter(batch, index, 0, "undecodable", str(error), self._clock.now_ms())
                continue
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
        self._letters.judge(len(batch), bad)
        self._contacts.answer_ready(batch.partition, places)

    def _check(self, block: VisitBlock) -> None:
        """Raises BlockError for a block that holds a control record that cannot be taken: it is refused whole."""
        for placed in block.controls:
            if isinstance(placed.control, RulesChange):
                continue  # looked at by itself below: another Lacak may read more than this one
            if (fault := fault_of(placed.control, self._settings.partitions.cases)) is not None:
                raise BlockError(f"a control record in the block cannot be taken: {fault[1]}")

    def look(self, partition: int, places: Places, position: int, level: bool) -> None:
        """Tell what is due: everything that changed once a second, a crossed threshold or another cluster at once.

        `position` is the offset after what `places` holds, `level` whether that is all there was when reading began.
        """
        told, now = self._told[partition], self._clock.monotonic()
        if told.replaying and level:
            told.replaying = False
            self._tell_windows(partition, places, told, position, places.replayed())
            tell_clusters(self._outbox, partition, places, position, again=True)
        if now - told.looked < _LOOK_SECONDS:
            return
        told.looked = now
        if not told.replaying and now >= told.rests_until:
            tell_clusters(self._outbox, partition, places, position, again=False)
            done = self._clock.monotonic()
            told.rests_until = done + _REST * (done - now)
        changed = places.counts()
        for count in changed:
            told.waiting[count.venue] = count
        if now - told.at >= _TELL_SECONDS:
            told.at = now
            ready = list(told.waiting.values())
            told.waiting.clear()
            self._tell_windows(partition, places, told, position, places.windows())
            if not told.replaying:
                self._contacts.tell(partition, places)
            self._unused |= places.expire()
            places.settle(self._builder)
            self._grow()
            self._forget()
        else:
            ready = [
                count for count in changed if crosses(told.inside.get(count.venue, 0), count.inside, count.allowed)
            ]
            for count in ready:
                del told.waiting[count.venue]
        if ready:
            log_time_ms = places.log_time_ms
            self._outbox.send_many("occupancy", [_message(partition, count, log_time_ms, position) for count in ready])
            told.inside.update((count.venue, count.inside) for count in ready)

    def _grow(self) -> None:
        """Have the directory's next table made before somebody waits for it."""
        table = self._people.people.growing()
        if table is not None:
            self._builder.submit(table)

    def _forget(self) -> None:
        """Wipe out the names of persons of whom this worker has no visit any more, nor has any snapshot of its.

        Else a restart would find visits of nobody, and take back what windows had told of them.
        """
        states = self._states() if self._unused or self._leaving else None
        if states is None or self._owner is None:
            return
        held = {partition: self._owner.position(partition) for partition in states}
        if self._leaving and self._leaving_at.keys() == held.keys():
            durable = {partition: self._owner.durable(partition) for partition in held}
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
        venues, rows = (found.venues, found.rows.tobytes()) if found is not None else ([], b"")
        block = WindowBlock(partition, (position, 0), window_ms, places.log_time_ms, venues, rows)
        self._outbox.send("windows", partition, frame(WINDOWS_MAGIC, block))
        metrics.rows_out("windows", len(found.rows) if found is not None else 0)
        metrics.log_time("visits", partition, places.log_time_ms)


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

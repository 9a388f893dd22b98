"""Who keeps the states of a topic's partitions, and says where reading starts and what may be committed.

The order is always: derive, produce, every output acknowledged, snapshot durable (state and offset together), commit.
`Owner` does that for agents whose state lives in memory and on disk, `DurableEachBatch` for those without. Their loop:

    async for batch in batches:
        held = await owner.take(batch)
        if held is not None:
            state, fresh = held
            ...                      # derive and send, without waiting for anything
            await outbox.room()
            await owner.done(fresh)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from streams.batches import Batch
from streams.keepers import DurableEachBatch, KeeperBase, Start
from streams.meters import StateMeters
from streams.settings import Settings
from streams.snapshots import Manifest, SnapshotStore

__all__ = ["DurableEachBatch", "Owner", "State"]

log = logging.getLogger(__name__)

_SHARE_MOST: Final = 0.1
"""How much of a worker's time it may take to copy states for snapshots: larger ones are made less often."""

_BEHIND: Final = 4
"""So many times as rarely while a state has not all yet that was in the log: what is written is soon outdated."""


class State(Protocol):
    """What a partition's state can do: become named parts. It must not change while this runs."""

    def dump(self) -> Mapping[str, bytes | memoryview | None]:
        """The whole state as parts; an unchanged part is not written again. None stands for a file that the state has
        written itself in the partition's folder."""
        ...


class Flushes(Protocol):
    """Where outputs go."""

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged."""
        ...


S = TypeVar("S", bound=State)


class _Slot(Generic[S]):
    """One partition that is this worker's."""

    def __init__(self, manifest: Manifest | None, now: float) -> None:
        self.manifest = manifest
        self.state: S | None = None
        self.durable: int | None = manifest.next_offset if manifest else None
        self.unmoved = self.durable  # up to here the log has changed nothing since the last snapshot
        self.taken = manifest.next_offset if manifest else 0  # up to here the state has it all, or has it in hand
        self.applied = self.taken
        self.records = 0
        self.since = now
        self.copying = 0.0  # how long it took to copy the state for its last snapshot
        self.writing: asyncio.Task[None] | None = None
        self.loading = asyncio.Lock()
        self.came_back = False
        """Its state was in memory when it was assigned, and nobody has been told yet."""


class Owner(KeeperBase, Generic[S]):
    """The states of one topic's partitions in this worker.

    `make(partition)` gives the state that nothing is known of, `load(partition, parts)` the one of a snapshot;
    `returned(partition, state)` is told of a state in memory whose partition was given up and has come back, perhaps
    from another worker, once it is known how far that one may have come (`ends`, `committed`); `clock` gives seconds
    that never go back; `shared()` gives a call that makes durable what the states share, as it is now: it runs in a
    thread before a snapshot that may refer to it; `telling(partition, state, offset)` sends whatever is to be told of a
    state that stands at an offset, before a snapshot of it: so everything below what is committed has been told. Errors
    of the outbox or the disk are raised by the next `take` or `done`.
    """

    def __init__(
        self,
        topic: str,
        make: Callable[[int], S],
        load: Callable[[int, Mapping[str, bytes]], S],
        store: SnapshotStore,
        outbox: Flushes,
        settings: Settings,
        clock: Callable[[], float],
        returned: Callable[[int, S], None] = lambda *_: None,
        shared: Callable[[], Callable[[], None]] = lambda: lambda: None,
        telling: Callable[[int, S, int], None] = lambda *_: None,
    ) -> None:
        super().__init__(topic, clock)
        self._make = make
        self._load = load
        self._returned = returned
        self._shared = shared
        self._telling = telling
        self._store = store
        self._outbox = outbox
        self._cadence = settings.snapshots
        self._slots: dict[int, _Slot[S]] = {}
        self.state_meters = StateMeters(topic)

    # For agents.

    async def take(self, batch: Batch) -> tuple[S, Batch] | None:
        """The state of the batch's partition, and what of the batch it does not have yet; None: nothing."""
        slot = self._wanted(batch)
        if slot is None or not await self._continues(batch, slot.taken):
            return None
        if slot.state is None:
            await self._bring_up(batch.partition, slot)
            if self._wanted(batch) is not slot:  # a rebalance or a new beginning came in between
                return None
        self._raise_failure(slot)
        fresh = batch.after(slot.taken)
        state = slot.state
        if fresh is None or state is None:
            return None
        slot.taken = fresh.next_offset
        self._has_in_hand(fresh)
        return state, fresh

    async def done(self, batch: Batch, *, moved: bool = True) -> None:
        """The batch is in the state and its outputs are sent. Makes a snapshot when one is due.

        What has not `moved` the state (a batch of heartbeats) asks for no snapshot: it may be read again.
        """
        self._puts_down(batch)
        slot = self._slots.get(batch.partition)
        if slot is None or slot.state is None or slot.taken != batch.next_offset:
            return
        if not moved and slot.unmoved == slot.applied:
            slot.unmoved = batch.next_offset
        slot.applied = batch.next_offset
        slot.records += len(batch)
        self._tell_progress(batch.partition, slot)
        self._raise_failure(slot)
        self._snapshot_if_due(batch.partition, slot)
        await asyncio.sleep(0)

    def state(self, partition: int) -> S | None:
        """The state of a partition, if this worker has it in memory."""
        slot = self._slots.get(partition)
        return slot.state if slot is not None and partition in self._held else None

    def states(self) -> dict[int, S] | None:
        """All states that this worker has or may get back from its memory; None while a partition's is not loaded."""
        found = {partition: slot.state for partition, slot in self._slots.items() if slot.state is not None}
        return found if len(found) == len(self._slots) else None

    def level(self, partition: int) -> bool:
        """Whether the state has everything that was in the log when reading it began."""
        slot = self._slots.get(partition)
        return slot is not None and slot.state is not None and slot.taken >= self.ends.get(partition, slot.taken + 1)

    def rebuilding(self) -> list[int]:
        """Partitions whose state has not yet all that was in the log when reading began."""
        return [partition for partition in self._held if not self._built(partition)]

    def _built(self, partition: int) -> bool:
        slot, began, end = self._slots.get(partition), self.meters.began.get(partition), self.ends.get(partition)
        if slot is None or began is None or end is None:
            return False
        nothing_to_read = began >= end
        if slot.state is None:
            return slot.manifest is None and nothing_to_read
        return slot.taken >= end or nothing_to_read

    # For the driver.

    def position(self, partition: int) -> int | Start:
        """Where to start reading: where the state stands, else the first record that is retained."""
        slot = self._slots.get(partition)
        if slot is None or (slot.state is None and slot.manifest is None):
            return Start.EARLIEST
        return slot.taken

    def durable(self, partition: int) -> int | None:
        """The offset of the last snapshot; None when there is none."""
        slot = self._slots.get(partition)
        return slot.durable if slot is not None else None

    def discard(self, partition: int, why: str) -> None:
        """Forget a partition's state: the log no longer continues it."""
        self._store.discard(self.topic, partition, why)
        if partition in self._slots:
            self._slots[partition] = _Slot(None, self._clock())

    async def assigned(self, partitions: frozenset[int]) -> None:
        """These are this worker's partitions now. Raises SnapshotError when another worker keeps one of them."""
        for partition in list(self._slots):
            if partition not in partitions:
                del self._slots[partition]
        for partition in partitions:
            await asyncio.to_thread(self._store.lock, self.topic, partition)
            slot, manifest = self._slots.get(partition), self._store.manifest(self.topic, partition)
            if slot is None or (slot.writing is None and slot.manifest != manifest):  # another worker went on here
                self._slots[partition] = _Slot(manifest, self._clock())
            elif slot.state is not None:
                slot.came_back = True
        self._holds(partitions)
        self.state_meters.holds(partitions, self._clock())

    def begins(self, partition: int, offset: int) -> None:
        """Reading of a partition begins here."""
        slot = self._slots.get(partition)
        if slot is not None and slot.state is None and slot.manifest is None:
            slot.taken = slot.applied = offset
        super().begins(partition, offset)
        if slot is not None and slot.came_back and slot.state is not None:
            slot.came_back = False
            self._returned(partition, slot.state)

    async def revoked(self) -> None:
        """Nothing is this worker's until `assigned` says so; states stay in memory in case they return."""
        self._lets_go()
        for partition, slot in self._slots.items():
            if slot.writing is not None:
                await asyncio.wait([slot.writing])
            self._store.unlock(self.topic, partition)

    # For the worker.

    async def warm(self) -> None:
        """Load the snapshots of quiet partitions too: their states have questions to answer and things to tell."""
        for partition in self._held:
            slot = self._slots.get(partition)
            if slot is not None and slot.state is None and slot.manifest is not None and not self._closing:
                await self._bring_up(partition, slot)

    def housekeep(self) -> None:
        """Make the snapshots that are due in quiet partitions; called every second or so."""
        if self._idle.is_set() and not self._closing:
            for partition in self._held:
                slot = self._slots[partition]
                self._raise_failure(slot)
                self._tell_progress(partition, slot)
                self._snapshot_if_due(partition, slot)

    async def close(self) -> None:
        """A clean stop: no more batches, and a last snapshot of every partition that has moved."""
        await self._closes()
        for partition in self._held:
            slot = self._slots[partition]
            if slot.writing is not None:
                await asyncio.wait([slot.writing])
            if slot.applied == slot.taken and slot.state is not None and slot.applied != slot.unmoved:
                self._telling(partition, slot.state, slot.applied)
                await self._snapshot(partition, slot, slot.applied, slot.state.dump(), self._shared())

    def unlock(self) -> None:
        """Let others keep the partitions: the last thing before the process ends."""
        for partition in self._slots:
            self._store.unlock(self.topic, partition)

    def _tell_progress(self, partition: int, slot: _Slot[S]) -> None:
        """Note when a state became level, and since when it holds what is in no snapshot."""
        told, now = self.state_meters, self._clock()
        if partition in told.loading and self._built(partition):
            told.took[partition] = now - told.loading.pop(partition)
        if slot.state is not None and slot.applied != slot.unmoved:
            told.unsaved.setdefault(partition, now)

    def _wanted(self, batch: Batch) -> _Slot[S] | None:
        return self._slots.get(batch.partition) if self._wants(batch) else None

    async def _bring_up(self, partition: int, slot: _Slot[S]) -> None:
        """Load the snapshot, if there is one. One that turns out unusable is thrown away, and reading begins anew."""
        async with slot.loading:
            if self._slots.get(partition) is not slot:  # whoever came first threw its snapshot away
                return
            if slot.state is None and slot.manifest is None:
                slot.state = self._make(partition)
            elif slot.state is None and slot.manifest is not None:
                await self._load_snapshot(partition, slot, slot.manifest)

    async def _load_snapshot(self, partition: int, slot: _Slot[S], manifest: Manifest) -> None:
        parts = await asyncio.to_thread(self._store.read, self.topic, partition, manifest)
        if parts is not None:
            try:
                slot.state = await asyncio.to_thread(self._load, partition, parts)
                return
            except Exception as error:
                log.debug("loading failed", exc_info=True)
                why = f"it cannot be loaded ({type(error).__name__}: {error})"
                self._store.discard(self.topic, partition, why)
        if self._slots.get(partition) is slot:
            self._slots[partition] = _Slot(None, self._clock())
            await self.reseek()

    def _snapshot_if_due(self, partition: int, slot: _Slot[S]) -> None:
        if slot.state is None or slot.writing is not None or slot.applied == slot.unmoved or slot.applied != slot.taken:
            return
        now = self._clock()
        passed, least = now - slot.since, slot.copying * len(self._held) / _SHARE_MOST
        times = 1 if self._built(partition) else _BEHIND
        due = slot.records >= times * self._cadence.every_records or passed >= times * self._cadence.every_seconds
        if due and passed >= least:
            slot.records, slot.since = 0, now
            self._telling(partition, slot.state, slot.applied)
            made = slot.state.dump(), self._shared()
            slot.copying = self._clock() - now
            slot.writing = asyncio.create_task(self._write_and_forget(partition, slot, slot.applied, *made))

    async def _write_and_forget(
        self,
        partition: int,
        slot: _Slot[S],
        offset: int,
        parts: Mapping[str, bytes | memoryview | None],
        shared: Callable[[], None],
    ) -> None:
        await self._snapshot(partition, slot, offset, parts, shared)
        slot.writing = None  # a failed one stays, so that take and done raise its error

    async def _snapshot(
        self,
        partition: int,
        slot: _Slot[S],
        offset: int,
        parts: Mapping[str, bytes | memoryview | None],
        shared: Callable[[], None],
    ) -> None:
        """First the outputs of everything below `offset`, then the state; only then is `offset` durable."""
        started = self._clock()
        await self._outbox.flush()
        await asyncio.to_thread(shared)
        slot.manifest = await asyncio.to_thread(self._store.write, self.topic, partition, offset, parts)
        slot.durable = slot.unmoved = offset
        now = self._clock()
        size = sum(part.size for part in slot.manifest.parts.values())
        self.state_meters.snapshot(partition, now, now - started, size, more=slot.applied != offset)

    @staticmethod
    def _raise_failure(slot: _Slot[S]) -> None:
        if slot.writing is not None and slot.writing.done() and (error := slot.writing.exception()) is not None:
            raise error

"""What the driver asks of whoever keeps a topic's partitions, and the keeper for agents without a state."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from streams.batches import Batch
from streams.meters import TopicMeters

log = logging.getLogger(__name__)


class Start(enum.Enum):
    """Where to read a partition that no state is held of."""

    EARLIEST = "earliest"
    COMMITTED = "committed"


class Keeper(Protocol):
    """What the driver asks of whoever keeps the state of a topic's partitions. Called in the main loop only."""

    epoch: int
    meters: TopicMeters
    ends: dict[int, int]
    """Given by the driver: where each partition's log ended when reading began."""
    committed: dict[int, int]
    """Given by the driver: what was committed of each partition then; 0: nothing, or nothing that the log has."""
    reseek: Callable[[], Awaitable[None]]
    """Given by the driver: read every partition from its `position` again."""

    def position(self, partition: int) -> int | Start:
        """Where to start reading: an offset, or what to let decide."""
        ...

    def durable(self, partition: int) -> int | None:
        """Up to where everything is durable, so that it may be committed; None: nothing yet."""
        ...

    def discard(self, partition: int, why: str) -> None:
        """The log no longer holds what follows the state: begin anew."""
        ...

    async def assigned(self, partitions: frozenset[int]) -> None:
        """These, and no others, are this worker's partitions now."""
        ...

    def begins(self, partition: int, offset: int) -> None:
        """Reading of a partition begins here: at its `position`, or where what that says stands in the log."""
        ...

    async def revoked(self) -> None:
        """None of the partitions is this worker's until `assigned` says so."""
        ...


async def _no_driver() -> None:
    """In place of a driver's seek while there is none."""


class KeeperBase:
    """One topic's partitions in this worker: which are held, which reading is the current one, what is in hand.

    One agent reads a topic, one batch at a time. `clock` gives seconds that never go back. All in the main loop.
    """

    def __init__(self, topic: str, clock: Callable[[], float]) -> None:
        self.topic = topic
        self.epoch = 0
        self.ends: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.reseek: Callable[[], Awaitable[None]] = _no_driver
        self._clock = clock
        self.meters = TopicMeters(topic)
        self._held: frozenset[int] = frozenset()
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._taken_at = 0.0
        self._waiting: dict[int, int] = {}
        self._sought: set[int] = set()

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are this worker's now."""
        return self._held

    @property
    def reading(self) -> frozenset[int]:
        """Those of them whose reading has begun: how far it has to come is known."""
        return frozenset(self._sought)

    def in_hand_seconds(self) -> float:
        """How long the batch in hand has been so; 0 when there is none."""
        return 0.0 if self._idle.is_set() else self._clock() - self._taken_at

    def rebuilding(self) -> list[int]:
        """Partitions whose state has not yet all that was in the log when reading began."""
        return []

    def waited(self, now_ms: int) -> dict[int, float]:
        """By partition with more in the log than was taken: how long ago (s) the brokers had the last record taken."""
        return {each: (now_ms - at_ms) / 1000 for each, at_ms in self._waiting.items() if each in self._held}

    def _wants(self, batch: Batch) -> bool:
        """Whether the batch is of the current reading of a partition that is held, and whose reading has begun.

        What comes between an assignment and the seek behind it comes again.
        """
        if self._closing or batch.epoch < self.epoch or batch.partition not in self._sought:
            return False
        self.epoch = batch.epoch
        return True

    def begins(self, partition: int, offset: int) -> None:
        """Reading of a partition begins here; `ends` and `committed` are known by now."""
        self._sought.add(partition)
        self.meters.begins(partition, offset)

    def _holds(self, partitions: frozenset[int]) -> None:
        """These partitions are this worker's; where to read them, and how far, is still to be asked."""
        self._held = partitions
        self._sought.clear()
        self.ends.clear()
        self.committed.clear()
        self.meters.holds(partitions)

    def _lets_go(self) -> None:
        """Nothing is this worker's."""
        self._held = frozenset()
        self._sought.clear()

    async def _continues(self, batch: Batch, taken: int) -> bool:
        """Whether a batch leaves nothing out behind `taken`. If it does, reading goes back to there.

        A batch of an earlier reading may still be under way when a state has been replaced by an older one.
        """
        if batch.begins <= taken:
            return True
        log.warning(
            "%s, partition %d, stands at offset %d, and what came begins at %d: it is read from there again.",
            self.topic, batch.partition, taken, batch.begins,
        )  # fmt: skip
        await self.reseek()
        return False

    def _has_in_hand(self, batch: Batch) -> None:
        self._idle.clear()
        self._taken_at = self._clock()
        self.meters.took(batch)
        if batch.behind:
            self._waiting[batch.partition] = batch.timestamps_ms[-1]
        else:
            self._waiting.pop(batch.partition, None)

    def _puts_down(self, batch: Batch) -> None:
        self._idle.set()
        self.meters.did(batch, self._clock() - self._taken_at)

    async def _closes(self) -> None:
        """Take no more batches, and wait for the one in hand."""
        self._closing = True
        await self._idle.wait()


class DurableEachBatch(KeeperBase):
    """For agents without a state of their own: `done(batch)` says that all of the batch is durable elsewhere.

    Its outputs are acknowledged, or its transaction is committed. Reading starts at what is committed, or at the
    beginning.
    """

    def __init__(self, topic: str, clock: Callable[[], float]) -> None:
        super().__init__(topic, clock)
        self._durable: dict[int, int] = {}
        self._taken: dict[int, int] = {}

    # For agents.

    async def take(self, batch: Batch) -> Batch | None:
        """What of the batch is new; None when nothing is."""
        taken = self._taken.get(batch.partition, 0)
        if not self._wants(batch) or not await self._continues(batch, taken):
            return None
        fresh = batch.after(taken)
        if fresh is not None:
            self._taken[batch.partition] = fresh.next_offset
            self._has_in_hand(fresh)
        return fresh

    async def done(self, batch: Batch) -> None:
        """Everything made from the batch is durable."""
        if self._taken.get(batch.partition) == batch.next_offset:
            self._durable[batch.partition] = batch.next_offset
        self._puts_down(batch)

    # For the driver.

    def position(self, partition: int) -> int | Start:
        """Where to start reading: behind what was taken in this process, else at what is committed."""
        return self._taken.get(partition, Start.COMMITTED)

    def durable(self, partition: int) -> int | None:
        """Up to where `done` was said."""
        return self._durable.get(partition)

    def discard(self, partition: int, why: str) -> None:
        """The log was cut behind what was taken: go on with what it has."""
        log.warning("Reading of %s, partition %d, goes on elsewhere: %s.", self.topic, partition, why)
        self._taken.pop(partition, None)
        self._durable.pop(partition, None)

    async def assigned(self, partitions: frozenset[int]) -> None:
        """These are this worker's partitions now."""
        for known in (self._taken, self._durable):
            for partition in known.keys() - partitions:
                del known[partition]
        self._holds(partitions)

    def begins(self, partition: int, offset: int) -> None:
        """Reading of a partition begins here."""
        self._taken.setdefault(partition, offset)
        super().begins(partition, offset)

    async def revoked(self) -> None:
        """Nothing is this worker's until `assigned` says so."""
        self._lets_go()

    # For the worker.

    async def warm(self) -> None:
        """Nothing to load."""

    def housekeep(self) -> None:
        """Nothing to do: each batch is durable by itself."""

    async def close(self) -> None:
        """A clean stop: no more batches; the one in hand is waited for."""
        await self._closes()

    def unlock(self) -> None:
        """Nothing is locked."""

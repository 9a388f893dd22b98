"""Keepers of partitions: whatever is under way when a state is replaced, nothing is left out or taken twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
from faust.types import TP

from streams.batches import Batch
from streams.driver import BatchConsumer
from streams.keepers import DurableEachBatch, Start
from streams.partitions import Owner
from streams.settings import Settings, Snapshots
from streams.snapshots import SnapshotStore

FIRST, END = 20, 400
"""What the log holds: earlier records are no longer retained."""


class Taken:
    """The offsets that a state has had, in order."""

    def __init__(self, worker: str, offsets: list[int] | None = None) -> None:
        self.worker = worker
        self.offsets = offsets or []

    def dump(self) -> Mapping[str, bytes]:
        return {"all": msgspec.json.encode((self.worker, self.offsets))}

    @staticmethod
    def load(worker: str, parts: Mapping[str, bytes]) -> Taken:
        made_by, offsets = msgspec.json.decode(parts["all"])
        if made_by != worker:
            raise ValueError("another worker's")
        return Taken(worker, offsets)


class NoOutputs:
    async def flush(self) -> None:
        """Nothing was sent."""


class Reading:
    """What the driver and Faust do for one partition: a seek, and a queue in front of the agent."""

    def __init__(self, keeper: Owner[Taken] | DurableEachBatch, committed: int = FIRST) -> None:
        self.keeper, self.committed = keeper, committed
        self.queue: list[Batch] = []
        self.epoch = self.position = 0
        self.seeking = asyncio.Lock()
        self.surveyed = asyncio.Event()  # a survey ends no sooner
        self.surveyed.set()
        self.asked = asyncio.Event()
        keeper.reseek = self.seek_again

    async def seek_again(self) -> None:
        self.asked.set()
        await self.seek()

    async def seek(self) -> None:
        async with self.seeking:
            await self.surveyed.wait()
            wanted = self.keeper.position(0)
            offset = (
                {Start.EARLIEST: FIRST, Start.COMMITTED: self.committed}[wanted]
                if isinstance(wanted, Start)
                else wanted
            )
            if offset < FIRST:
                self.keeper.discard(0, "the log no longer holds what follows")
                offset = FIRST
            self.keeper.ends[0], self.keeper.committed[0] = END, self.committed
            self.keeper.begins(0, offset)
            await asyncio.sleep(0)
            self.position, self.epoch = offset, self.epoch + 1
            await asyncio.sleep(0)
            self.keeper.epoch = self.epoch

    def fetch(self, count: int) -> None:
        """Put the next batch of the log into the queue."""
        offsets = range(self.position, min(self.position + count, END))
        if offsets:
            none = [None] * len(offsets)
            batch = Batch("scans", 0, offsets, [0] * len(offsets), none, none, highwater=END, epoch=self.epoch)
            self.queue.append(batch)
            self.position = batch.next_offset


def owner_of(folder: Path, worker: str, returned: Callable[[int, Taken], None] = lambda *_: None) -> Owner[Taken]:
    """An owner that makes a snapshot when it is closed."""
    store, settings = SnapshotStore(folder, "cluster"), Settings(snapshots=Snapshots(every_records=10**9))
    return Owner(
        "scans", lambda _: Taken(worker), lambda _, parts: Taken.load(worker, parts), store, NoOutputs(), settings,
        lambda: 0.0, returned,
    )  # fmt: skip


async def work(owner: Owner[Taken], reading: Reading) -> None:
    """The agent: the batch in front of it."""
    if reading.queue:
        held = await owner.take(reading.queue.pop(0))
        if held is not None:
            held[0].offsets += held[1].offsets
            await owner.done(held[1])


async def leave_snapshot(folder: Path, worker: str, upto: int) -> None:
    """A worker that held the partition and is gone."""
    owner = owner_of(folder, worker)
    await owner.assigned(frozenset({0}))
    reading = Reading(owner)
    await reading.seek()
    reading.fetch(upto - reading.position)
    await work(owner, reading)
    await owner.close()
    owner.unlock()


async def read_to_the_end(owner: Owner[Taken], reading: Reading) -> None:
    while reading.position < END or reading.queue:
        reading.fetch(50)
        await work(owner, reading)
    state = owner.state(0)
    assert state is not None
    assert state.offsets == list(range(FIRST, END))
    owner.unlock()


class Copied(Taken):
    """A state whose copy takes so many seconds."""

    takes = 0.0
    now = 0.0
    copies: ClassVar[list[float]] = []

    def dump(self) -> Mapping[str, bytes]:
        Copied.copies.append(Copied.now)
        Copied.now += Copied.takes
        return super().dump()


def seconds_between_copies(folder: Path, *, takes: float, wanted: float, end: int) -> list[float]:
    """While a worker reads a log, a record a second, of which `end` was the end when it began."""
    Copied.takes, Copied.now, Copied.copies = takes, 0.0, []
    owner: Owner[Copied] = Owner(
        "scans", lambda _: Copied("w"), lambda _, parts: Copied("w"), SnapshotStore(folder, "cluster"), NoOutputs(),
        Settings(snapshots=Snapshots(every_seconds=wanted)), lambda: Copied.now,
    )  # fmt: skip
    reading = Reading(owner)

    async def run() -> None:
        await owner.assigned(frozenset({0}))
        await reading.seek()
        owner.ends[0] = end
        for _ in range(END - FIRST):
            reading.fetch(1)
            await work(owner, reading)
            Copied.now += 1.0
            if (writing := owner._slots[0].writing) is not None:
                await asyncio.wait([writing])
        await owner.close()

    asyncio.run(run())
    *before, _ = Copied.copies
    assert len(before) > 1
    return [later - earlier for earlier, later in pairwise(before)]


def test_copies_of_a_large_state_take_a_tenth_of_the_time(tmp_path: Path) -> None:
    """However often snapshots are wanted: two seconds in twenty."""
    assert min(seconds_between_copies(tmp_path, takes=2.0, wanted=1.0, end=FIRST)) >= 20.0


def test_a_state_that_is_behind_is_copied_a_fourth_as_often(tmp_path: Path) -> None:
    """What it writes is soon outdated; once it is level it is copied as often as is wanted."""
    apart = seconds_between_copies(tmp_path, takes=0.0, wanted=3.0, end=FIRST + 40)
    assert min(apart[:2]) >= 12.0
    assert max(apart[3:]) <= 4.0


def test_a_batch_comes_while_a_snapshot_turns_out_to_be_of_no_use(tmp_path: Path) -> None:
    """Another's snapshot is thrown away while a batch that follows it is under way: all is read from the start."""

    async def live() -> None:
        await leave_snapshot(tmp_path, "other", 100)
        owner = owner_of(tmp_path, "own")
        await owner.assigned(frozenset({0}))
        reading = Reading(owner)
        await reading.seek()
        assert reading.position == 100
        reading.fetch(10)
        reading.surveyed.clear()
        warming = asyncio.create_task(owner.warm())
        await reading.asked.wait()  # it has been thrown away
        working = asyncio.create_task(work(owner, reading))
        await asyncio.sleep(0.01)
        reading.surveyed.set()
        await asyncio.gather(warming, working)
        await read_to_the_end(owner, reading)

    asyncio.run(live())


def test_a_batch_from_before_a_rebalance_comes_behind_it(tmp_path: Path) -> None:
    """The partition comes back with another's snapshot while a batch of the reading before is in the queue."""

    async def live() -> None:
        owner = owner_of(tmp_path, "own")
        await owner.assigned(frozenset({0}))
        reading = Reading(owner)
        await reading.seek()
        reading.fetch(50)
        await work(owner, reading)
        reading.fetch(50)  # in the queue when the partition goes
        await owner.revoked()
        await leave_snapshot(tmp_path, "own", 40)
        await owner.assigned(frozenset({0}))
        await work(owner, reading)
        await reading.seek()
        await read_to_the_end(owner, reading)

    asyncio.run(live())


def test_a_state_that_comes_back_waits_for_how_far_another_may_have_come(tmp_path: Path) -> None:
    """What was known of the log before its partition went says nothing: another worker has gone on since, and told of
    it. Until that is asked nothing counts as level, nothing is taken, and nobody is told that it is back."""

    async def live() -> None:
        back: list[tuple[int, int]] = []
        owner = owner_of(tmp_path, "own", lambda *_: back.append((owner.ends[0], owner.committed[0])))
        await owner.assigned(frozenset({0}))
        reading = Reading(owner)
        await reading.seek()
        reading.fetch(END)
        await work(owner, reading)
        assert owner.level(0)
        offsets, none = range(END, END + 5), [None] * 5
        under_way = Batch("scans", 0, offsets, [0] * 5, none, none, highwater=END + 5, epoch=reading.epoch)
        reading.queue.append(under_way)
        await owner.revoked()
        assert owner.reading == frozenset()
        await owner.assigned(frozenset({0}))
        await work(owner, reading)
        assert (owner.position(0), owner.level(0), owner.reading, back) == (END, False, frozenset(), [])
        owner.ends[0], owner.committed[0] = END + 100, END + 50
        owner.begins(0, END)
        assert (owner.level(0), owner.reading, back) == (False, {0}, [(END + 100, END + 50)])
        owner.begins(0, END)  # a seek that is done again
        assert len(back) == 1
        owner.unlock()

    asyncio.run(live())


def test_what_was_asked_before_a_rebalance_is_asked_again(tmp_path: Path) -> None:
    """A survey is under way while the partition goes and comes back: its ends are those of before."""

    class Surveys:
        """The consumer's thread: the first survey ends behind a rebalance."""

        def __init__(self) -> None:
            self.epoch = self.asked = 0

        async def survey(self, partitions: Collection[TP]) -> tuple[dict[TP, tuple[int, int]], dict[TP, int]]:
            self.asked += 1
            found = dict.fromkeys(partitions, (0, 100 * self.asked)), dict.fromkeys(partitions, 50 * self.asked)
            if self.asked == 1:
                await owner.revoked()
                consumer._revocations += 1
                await owner.assigned(frozenset({0}))
            return found

        async def seek_all(self, offsets: Mapping[TP, int]) -> int:
            assert offsets == {TP("scans", 0): 0}
            self.epoch += 1
            return self.epoch

    async def live() -> None:
        await owner.assigned(frozenset({0}))
        consumer._seeking = asyncio.Lock()
        await consumer.perform_seek()
        assert (owner.ends, owner.committed, owner.reading) == ({0: 200}, {0: 100}, {0})
        assert consumer._thread.epoch == owner.epoch == 1
        owner.unlock()

    owner, consumer = owner_of(tmp_path, "own"), BatchConsumer.__new__(BatchConsumer)
    consumer._keepers, consumer._thread, consumer._revocations = {"scans": owner}, Surveys(), 0
    consumer._read_offset, consumer._committed_offset, consumer._floor = {}, {}, {}
    consumer.assignment = lambda: {TP("scans", 0)}
    asyncio.run(live())


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_left_out_in_any_order(tmp_path: Path, seed: int) -> None:
    """Fetches, work, losses of what was queued, rebalances with and without another's snapshot, in a random order."""
    chance = random.Random(seed)

    async def live() -> None:
        owner = owner_of(tmp_path, "own")
        await owner.assigned(frozenset({0}))
        reading = Reading(owner)
        tasks = [asyncio.create_task(reading.seek())]
        for _ in range(60):
            what = chance.random()
            if what < 0.4:
                reading.fetch(chance.randrange(1, 20))
            elif what < 0.7:
                await work(owner, reading)
            elif what < 0.8:
                await owner.warm()
            elif what < 0.9:
                reading.queue = reading.queue[chance.randrange(3) :]
            else:
                await owner.revoked()
                if chance.random() < 0.7:
                    await leave_snapshot(tmp_path, chance.choice(["own", "other"]), chance.randrange(FIRST + 1, 200))
                await owner.assigned(frozenset({0}))
                tasks.append(asyncio.create_task(reading.seek()))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await reading.seek()
        await read_to_the_end(owner, reading)

    asyncio.run(live())


def test_without_a_state_nothing_is_left_out_either(tmp_path: Path) -> None:
    """A batch from before a rebalance does not stand for what is committed and was not yet read here."""

    async def live() -> None:
        keeper = DurableEachBatch("scans", lambda: 0.0)
        reading, done = Reading(keeper, committed=50), list[int]()

        async def step() -> None:
            batch = await keeper.take(reading.queue.pop(0))
            if batch is not None:
                done.extend(batch.offsets)
                await keeper.done(batch)

        await keeper.assigned(frozenset({0}))
        reading.position = 100
        reading.fetch(10)  # of the reading before this one
        await step()
        assert done == []
        await reading.seek()
        reading.fetch(60)
        await step()
        assert done == list(range(50, 110))

    asyncio.run(live())

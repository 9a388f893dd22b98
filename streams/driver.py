"""Faust's Kafka driver, handing out batches: one Faust event is the records of one partition that came together.

Faust keeps membership, assignment, supervision and the tables (their changelogs travel as ever, record by record). For
the topics that have a keeper this driver decides three things otherwise: what an event is (a `Batch`), where reading
starts (where the keeper's state stands), and what is committed (what the keeper says is durable; never back).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from streams.batches import Batch
from streams.keepers import Keeper, Start
from streams.metrics import COMMITS
from streams.threads import BatchThread


class BatchConsumer(stock.Consumer):  # type: ignore[misc]
    """Faust's consumer with a keeper for the batched topics."""

    transport: BatchTransport

    def __init__(self, transport: BatchTransport, *args: Any, **kwargs: Any) -> None:
        self._keepers = {transport.prefix + name: keeper for name, keeper in transport.keepers.items()}
        self._prefix_length = len(transport.prefix)
        self._floor: dict[TP, int] = {}
        self._seeking = asyncio.Lock()
        self.committed_at = time.monotonic()
        """When there was last nothing left to commit, or a commit was done."""
        super().__init__(transport, *args, **kwargs)
        for keeper in self._keepers.values():
            keeper.reseek = self.perform_seek

    def name_of(self, topic: str) -> str:
        """The topic's name without the deployment's prefix."""
        return topic[self._prefix_length :]

    def keeper_of(self, tp: Any) -> Keeper | None:
        """Who keeps this partition's topic; None for a topic that is not batched."""
        return self._keepers.get(tp.topic)

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, fetch_max_records=self.transport.fetch_max_records, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if type(record) is not Batch:
            return super()._to_message(tp, record)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offsets[-1],
            record.timestamps_ms[-1] / 1000.0,
            0,
            (),
            None,
            record,
            None,
            None,
            None,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Where reading starts.

    async def perform_seek(self) -> None:
        """Seek every kept partition to where its state stands, every other to what is committed.

        Faust calls it from its recovery and from its fetcher: one after the other, so that the keepers' epoch is always
        that of the last seek.
        """
        async with self._seeking:
            await self._seek()

    async def _seek(self) -> None:
        kept = {tp: keeper for tp in self.assignment() if (keeper := self.keeper_of(tp)) is not None}
        others = [tp for tp in self.assignment() if tp not in kept and not self._is_changelog_tp(tp)]
        thread: BatchThread = self._thread
        limits, committed = await thread.survey(list(kept), others)
        for tp in others:
            offset = committed.get(tp)
            self._read_offset[tp] = self._committed_offset[tp] = offset or None
        offsets: dict[TP, int] = {}
        for tp, keeper in kept.items():
            offsets[tp] = _start_of(tp, keeper, limits[tp], committed.get(tp))
            keeper.ends[tp.partition] = limits[tp][1]
            self._read_offset[tp] = None  # read whatever comes: the keeper knows what it has
            self._floor[tp] = self._committed_offset[tp] = committed.get(tp) or 0
        epoch = await thread.seek_all(offsets)
        for keeper in self._keepers.values():
            keeper.epoch = epoch

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins: commit what is durable, then nothing is ours."""
        await super().on_partitions_revoked(revoked)
        for keeper in self._keepers.values():
            await keeper.revoked()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance ends: tell the keepers what they have, before anybody asks where to read."""
        for topic, keeper in self._keepers.items():
            await keeper.assigned(frozenset(tp.partition for tp in assigned if tp.topic == topic))
        await super().on_partitions_assigned(assigned, generation_id)

    # What is committed: nothing is counted, the keeper is asked.

    def track_message(self, message: Any) -> None:
        """Batches are not waited for: an older epoch's are refused by their keeper."""
        if self.keeper_of(message.tp) is None:
            super().track_message(message)
        else:
            self._on_message_in(message.tp, message.offset, message)

    def ack(self, message: Any) -> bool:
        """That a batch left its stream says nothing yet about what is durable."""
        if self.keeper_of(message.tp) is None:
            return bool(super().ack(message))
        message.acked = True
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if self.keeper_of(tp) is None:
            await super()._add_gap(tp, offset_from, offset_to)

    def on_buffer_full(self, tp: TP) -> None:
        """A full buffer holds back the reading of batches by itself; pausing would cost a second each time."""
        if self.keeper_of(tp) is None:
            super().on_buffer_full(tp)

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""
        if self.keeper_of(tp) is None:
            super().on_buffer_drop(tp)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.assignment():
            if self.keeper_of(tp) is not None and (topics is None or tp in topics or tp.topic in topics):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        keeper = self.keeper_of(tp)
        if keeper is None:
            counted: int | None = super()._new_offset(tp)
            return counted
        durable = keeper.durable(tp.partition)
        return durable if durable is not None and durable > self._floor.get(tp, 0) else None

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        offsets: dict[TP, int] = super()._filter_committable_offsets(tps)
        if not offsets:
            self.committed_at = time.monotonic()
        return offsets

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        before = {tp: self._committed_offset[tp] for tp in offsets}
        if self.transport.flush is not None:
            await self.transport.flush()  # what agents of other topics sent before their events were acknowledged
        done: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if done:
            self._floor.update(offsets)
            self.committed_at = time.monotonic()
            COMMITS.labels("done").inc()
        else:
            COMMITS.labels("refused").inc()
            self._committed_offset.update(before)
        return done


def _start_of(tp: TP, keeper: Keeper, limits: tuple[int, int], committed: int | None) -> int:
    """Where to read a kept partition; its keeper is told when the log does not continue its state."""
    first, end = limits
    wanted = keeper.position(tp.partition)
    if isinstance(wanted, int):
        if first <= wanted <= end:
            return wanted
        where = f"begins at {first}" if wanted < first else f"ends at {end}"
        keeper.discard(tp.partition, f"its state stands at offset {wanted}, and the log {where}")
    elif wanted is Start.COMMITTED and committed is not None and first <= committed <= end:
        return committed
    return first


class BatchTransport(stock.Transport):  # type: ignore[misc]
    """The driver of an app: `app.transport = BatchTransport(app.conf.broker_consumer, app, keepers=...)`.

    `keepers` by topic name without `prefix`; `flush` is waited for before every commit: a topic without a keeper is
    committed up to what its agents have let go of, and by then all they sent has to be acknowledged.
    """

    Consumer = BatchConsumer

    def __init__(
        self,
        url: Any,
        app: Any,
        *,
        keepers: Mapping[str, Keeper],
        prefix: str,
        fetch_max_records: int,
        inflated_most: int,
        flush: Callable[[], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.flush = flush
        self.keepers = keepers
        self.prefix = prefix
        self.fetch_max_records = fetch_max_records
        self.inflated_most = inflated_most
        super().__init__(url, app, **kwargs)

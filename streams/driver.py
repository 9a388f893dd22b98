"""Faust's Kafka driver, handing out batches: one Faust event is the records of one partition that came together.

Faust keeps membership, assignment, supervision and the tables (their changelogs travel as ever, record by record). For
the topics that have a keeper this driver decides three things otherwise: what an event is (a `Batch`), where reading
starts (where the keeper's state stands), and what is committed (what the keeper says is durable; never back).

Of the other topics' records it keeps the account itself too (streams.plain): Faust's loses some in a rebalance.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from faust import streams as faust_streams
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from streams.batches import Batch
from streams.keepers import Keeper, Start
from streams.metrics import COMMITS
from streams.plain import Fetched, Line
from streams.threads import BatchThread

_AGAIN_SECONDS = 1.0

faust_streams._CStreamIterator = None
"""Faust's compiled loop counts what is done by itself, past `ack` of the consumer (docs/adr/0016)."""

log = logging.getLogger(__name__)


class BatchConsumer(stock.Consumer):  # type: ignore[misc]
    """Faust's consumer with a keeper for the batched topics."""

    transport: BatchTransport

    def __init__(self, transport: BatchTransport, *args: Any, **kwargs: Any) -> None:
        self._keepers = {transport.prefix + name: keeper for name, keeper in transport.keepers.items()}
        self._prefix_length = len(transport.prefix)
        self._floor: dict[TP, int] = {}
        self._lines: dict[TP, Line] = {}
        self._plain_epoch = 0
        self._revocations = 0
        self._seeking = asyncio.Lock()
        self.committed_at = time.monotonic()
        """When there was last nothing left to commit, or a commit was done."""
        self.leaves = False
        """Whether the end of this consumer is also its leave of the group."""
        self.joined = False
        """Whether the worker is a member whose partitions are known: of none, when it stands by."""
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
        if type(record) is Fetched:
            message: ConsumerMessage = super()._to_message(tp, record.record)
            message.epoch = record.epoch
            return message
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

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """What was fetched, a message at a time. Plain records from before the last seek come again, and are left out
        now."""
        async for tp, message in super().getmany(timeout):
            if type(message.value) is not Batch and not self._is_changelog_tp(tp):
                line = self._lines.get(tp)
                if line is None or message.epoch != self._plain_epoch:
                    continue
                line.hand_over(message.offset)
            yield tp, message

    # Where reading starts.

    async def perform_seek(self) -> None:
        """Seek every kept partition to where its state stands, every other to what is committed.

        Faust calls it from its recovery and from its fetcher: one after the other, so that the keepers' epoch is always
        that of the last seek.
        """
        async with self._seeking:
            done = False
            while not done:
                try:
                    done = await self._seek()
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    log.warning("Where to read cannot be asked (%s): it is asked again.", type(error).__name__)
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _seek(self) -> bool:
        """False: a rebalance has begun meanwhile, and what was asked is of before it."""
        kept = {tp: keeper for tp in self.assignment() if (keeper := self.keeper_of(tp)) is not None}
        others = [tp for tp in self.assignment() if tp not in kept and not self._is_changelog_tp(tp)]
        thread: BatchThread = self._thread
        revocations = self._revocations
        limits, committed = await thread.survey([*kept, *others])
        if revocations != self._revocations:
            return False
        offsets: dict[TP, int] = {}
        for tp in others:
            first, end = limits[tp]
            known = committed.get(tp)
            offsets[tp] = known if known is not None and first <= known <= end else first
            self._read_offset[tp] = None
            self._committed_offset[tp] = known or 0
        for tp, keeper in kept.items():
            offsets[tp] = _start_of(tp, keeper, limits[tp], committed.get(tp))
            keeper.ends[tp.partition] = limits[tp][1]
            keeper.committed[tp.partition] = reached if (reached := committed.get(tp) or 0) <= limits[tp][1] else 0
            keeper.begins(tp.partition, offsets[tp])
            self._read_offset[tp] = None  # read whatever comes: the keeper knows what it has
            self._floor[tp] = self._committed_offset[tp] = committed.get(tp) or 0
        # Ready before the first record of the new epoch can come; those of the old one come again.
        self._lines = {tp: Line(offsets[tp]) for tp in others}
        self._plain_epoch = thread.epoch + 1
        epoch = await thread.seek_all(offsets)
        for keeper in self._keepers.values():
            keeper.epoch = epoch
        return True

    def known_ends(self) -> dict[tuple[str, int], int]:
        """The end of each partition that is read, by topic (without prefix) and number, as the last fetch brought it.

        Topics without a keeper too; a partition not fetched yet is left out.
        """
        return {(self.name_of(topic), partition): end for (topic, partition), end in self._thread.known_ends().items()}

    def others(self) -> dict[tuple[str, int], int]:
        """What is committed of the partitions without a keeper, by topic (without prefix) and number."""
        return {
            (self.name_of(tp.topic), tp.partition): self._committed_offset.get(tp) or 0
            for tp in self.assignment()
            if self.keeper_of(tp) is None and not self._is_changelog_tp(tp)
        }

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins: commit what is durable, then nothing is ours."""
        self.joined = False
        self._revocations += 1
        self._lines.clear()  # what is let go of from now on may have been skipped
        await super().on_partitions_revoked(revoked)
        for keeper in self._keepers.values():
            await keeper.revoked()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance ends: tell the keepers what they have, before anybody asks where to read."""
        for topic, keeper in self._keepers.items():
            await keeper.assigned(frozenset(tp.partition for tp in assigned if tp.topic == topic))
        await super().on_partitions_assigned(assigned, generation_id)
        self.joined = True

    async def answers(self, seconds: float) -> bool:
        """Whether a broker answers within so many seconds."""
        thread: BatchThread = self._thread
        return await thread.answers(seconds)

    # What is committed: nothing is counted, the keeper is asked.

    def track_message(self, message: Any) -> None:
        """Batches are not waited for: an older epoch's are refused by their keeper."""
        if self.keeper_of(message.tp) is None:
            super().track_message(message)
        else:
            self._on_message_in(message.tp, message.offset, message)

    def ack(self, message: ConsumerMessage) -> bool:
        """That a batch left its stream says nothing yet about what is durable. That a plain message did says that it is
        done, unless a rebalance has begun: then the stream may have skipped it."""
        if self._is_changelog_tp(message.tp):
            acknowledged: bool = super().ack(message)
            return acknowledged
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        if self.keeper_of(message.tp) is None:
            line = self._lines.get(message.tp)
            if line is None or message.epoch != self._plain_epoch:
                return False
            line.let_go(message.offset)
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps are not counted: a line knows what was handed over."""

    def on_buffer_full(self, tp: TP) -> None:
        """A full buffer holds back the reading of batches by itself; pausing would cost a second each time."""
        if self.keeper_of(tp) is None:
            super().on_buffer_full(tp)

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""
        if self.keeper_of(tp) is None:
            super().on_buffer_drop(tp)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for tp in self.assignment():
            if (tp in self._lines or self.keeper_of(tp) is not None) and (
                topics is None or tp in topics or tp.topic in topics
            ):
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        keeper = self.keeper_of(tp)
        if keeper is None:
            line = self._lines.get(tp)
            return None if line is None else line.reached()
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

    `partition_bytes` is how much is fetched of a partition at once.

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
        partition_bytes: int,
        inflated_most: int,
        flush: Callable[[], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.flush = flush
        self.keepers = keepers
        self.prefix = prefix
        self.fetch_max_records, self.partition_bytes = fetch_max_records, partition_bytes
        self.inflated_most = inflated_most
        super().__init__(url, app, **kwargs)

"""The thread that fetches: Faust keeps the Kafka client in a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from streams.fetches import Unpacker, bounds, drain, keep_bytes, true_ends
from streams.plain import Fetched

if TYPE_CHECKING:
    from streams.driver import BatchConsumer

FETCH_WAIT_MS = 200
"""How long a broker may hold a fetch that finds nothing; a partition may wait so long for its neighbours' fetch."""


class BatchThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that fetches. Its methods with an underscore run in it, the others in the main loop."""

    consumer: BatchConsumer

    def __init__(self, consumer: BatchConsumer, *, fetch_max_records: int, **kwargs: Any) -> None:
        self.epoch = 0
        self._unpacker = Unpacker(fetch_max_records, consumer.name_of, consumer.transport.inflated_most)
        super().__init__(consumer, **kwargs)

    def _create_worker_consumer(self, transport: Any) -> Any:
        keep_bytes(self.consumer.transport.inflated_most)
        conf = self.app.conf
        self._assignor = self.app.assignor  # co-partitioned: partition n of every topic to one worker, tables or none
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            **self.app.settings.broker_access.arguments(),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 300) * 1000),
            max_partition_fetch_bytes=transport.partition_bytes,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_uncommitted",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
        )

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError

        def take(result: Any, tp: TopicPartition) -> list[Any]:
            if self.consumer.keeper_of(tp) is None:
                return [Fetched(record, self.epoch) for record in result.getall(max_records)]
            batch = self._unpacker.take(result, tp, self.epoch)
            return [] if batch is None else [batch]

        with fetcher._subscriptions.fetch_context():
            return await drain(fetcher, active_partitions, take, timeout or 0.0)

    def known_ends(self) -> dict[tuple[str, int], int]:
        """The high watermarks that the last fetches brought. Called in the main loop, it waits for nothing."""
        subscription = self._consumer._subscription.subscription if self._consumer is not None else None
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None:
            return {}
        found: dict[tuple[str, int], int] = {}
        for tp in assignment.tps:
            end = assignment.state_value(tp).highwater
            if end is not None:
                found[tp.topic, tp.partition] = end
        return found

    async def _highwaters(self, partitions: Iterable[Any]) -> Any:
        return await true_ends(self._ensure_consumer(), partitions)

    async def survey(self, partitions: Collection[TP]) -> tuple[Mapping[TP, tuple[int, int]], Mapping[TP, int | None]]:
        """The bounds of the partitions, and what is committed of each."""
        return await self.call_thread(self._survey, partitions)  # type: ignore[no-any-return]

    async def _survey(self, partitions: Collection[TP]) -> Any:
        consumer = self._ensure_consumer()
        mine = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        committed = {tp: await consumer.committed(tp) for tp in mine}
        return await bounds(consumer, mine), committed

    async def answers(self, seconds: float) -> bool:
        """Whether a broker answers within so many seconds. It waits for nothing else that the thread is asked."""
        if self._consumer is None:
            return False
        asked = asyncio.run_coroutine_threadsafe(self._consumer.topics(), self.thread_loop)
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), seconds)
        except (KafkaError, OSError, TimeoutError):
            return False
        return True

    async def on_thread_stop(self) -> None:
        """The end: of the membership too, where the group shall not wait for this worker's return."""
        if self.consumer.leaves and self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None  # aiokafka has static members never leave
        await super().on_thread_stop()

    async def seek_all(self, offsets: Mapping[TP, int]) -> int:
        """Read these partitions from these offsets on. Returns the epoch of everything fetched from now on.

        A partition that a rebalance has taken meanwhile is left alone: another seek follows it.
        """
        return await self.call_thread(self._seek_all, offsets)  # type: ignore[no-any-return]

    async def _seek_all(self, offsets: Mapping[TP, int]) -> int:
        consumer = self._ensure_consumer()
        self.epoch += 1
        assigned = consumer.assignment()
        for tp, offset in offsets.items():
            if (where := TopicPartition(tp.topic, tp.partition)) in assigned:
                consumer.seek(where, offset)
        return self.epoch

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's guesses at what hangs count records and acks; `streams.app` watches the age of commits instead."""

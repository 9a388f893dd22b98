"""The thread that fetches: Faust keeps the Kafka client in a thread and an event loop of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from streams.fetches import Unpacker, bounds, drain, keep_bytes, true_ends

if TYPE_CHECKING:
    from streams.driver import BatchConsumer

FETCH_WAIT_MS = 200
"""How long a broker may hold a fetch that finds nothing; a partition may wait so long for its neighbours' fetch."""

PARTITION_BYTES = 2 * 1024 * 1024
"""How much is fetched of a partition at once."""


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
            bootstrap_servers=stock.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 300) * 1000),
            max_partition_fetch_bytes=PARTITION_BYTES,
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
                records: list[Any] = result.getall(max_records)
                return records
            batch = self._unpacker.take(result, tp, self.epoch)
            return [] if batch is None else [batch]

        with fetcher._subscriptions.fetch_context():
            return await drain(fetcher, active_partitions, take, timeout or 0.0)

    async def _highwaters(self, partitions: Iterable[Any]) -> Any:
        return await true_ends(self._ensure_consumer(), partitions)

    async def survey(
        self, kept: Collection[TP], others: Collection[TP]
    ) -> tuple[Mapping[TP, tuple[int, int]], Mapping[TP, int | None]]:
        """The bounds of the kept partitions, and what is committed of all; the others are sought to that."""
        return await self.call_thread(self._survey, kept, others)  # type: ignore[no-any-return]

    async def _survey(self, kept: Collection[TP], others: Collection[TP]) -> Any:
        consumer = self._ensure_consumer()
        mine = [TopicPartition(tp.topic, tp.partition) for tp in kept]
        committed: dict[Any, int | None] = {}
        if others:
            committed.update(
                await consumer.seek_to_committed(*(TopicPartition(tp.topic, tp.partition) for tp in others))
            )
        for tp in mine:
            committed[tp] = await consumer.committed(tp)
        return await bounds(consumer, mine), committed

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

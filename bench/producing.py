"""Producing ready bytes quickly: not measured, and not how a gateway does it (gateway.client)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaProducer

from bench.workload import Scans, Workload

_BATCH_BYTES: Final = 512 * 1024
_CHUNK: Final = 40_000


class Producer:
    """Sends ready bytes in large batches, in order of each partition. Use it as an async context manager."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers, self._topic = brokers, topic
        self._producer: AIOKafkaProducer

    async def __aenter__(self) -> Producer:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers, acks="all", compression_type="lz4", max_batch_size=_BATCH_BYTES,
            max_request_size=8 << 20,
        )  # fmt: skip
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, partition: int, records: list[tuple[bytes, bytes]]) -> None:
        """Send records to one partition; returns when they are acknowledged."""
        sent = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                batch.close()
                sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            batch.close()
            sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        for each in sent:
            await each


async def publish(
    brokers: str, topic: str, partitions: int, workload: Workload, scans: Scans, told: Callable[[int], object] = bool
) -> None:
    """Publish all scans in order of arrival within each partition, one JSON message each."""
    homes = workload.homes(scans, partitions)
    async with Producer(brokers, topic) as producer:
        for start in range(0, len(homes), _CHUNK):
            stop = min(start + _CHUNK, len(homes))
            lanes: list[list[tuple[bytes, bytes]]] = [[] for _ in range(partitions)]
            for home, record in zip(homes[start:stop].tolist(), workload.records(scans, start, stop), strict=True):
                lanes[home].append(record)
            await asyncio.gather(*(producer.send(number, lane) for number, lane in enumerate(lanes)))
            told(stop - start)

"""Producing ready bytes quickly: not measured, and not how a gateway does it (gateway.client)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from aiokafka import AIOKafkaProducer

from bench.workload import Scans, Workload
from gateway.packing import BLOCK_SCANS
from schemas.blocks import KINDS, SCANS_MAGIC, ScanBlock, frame

_BATCH_BYTES: Final = 512 * 1024
_CHUNK: Final = 40_000
_IN, _OUT = KINDS.index("in"), KINDS.index("out")


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

    async def send(self, partition: int, records: Sequence[tuple[bytes | None, bytes]]) -> None:
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


async def publish_days(
    brokers: str, topic: str, partitions: int, workload: Workload, days: Iterable[Scans], told: Callable[[int], object]
) -> None:
    """Publish scans with their arrivals as blocks, in order of time within each partition, as a load of files is."""
    async with Producer(brokers, topic) as producer:
        for scans in days:
            homes = workload.homes(scans, partitions)
            lanes = [scans.of(np.flatnonzero(homes == number)) for number in range(partitions)]
            for first in range(0, max(len(lane.person) for lane in lanes), _CHUNK):
                parts = [lane.of(np.arange(first, min(first + _CHUNK, len(lane.person)))) for lane in lanes]
                await asyncio.gather(*(producer.send(home, _blocks(workload, part)) for home, part in enumerate(parts)))
                told(sum(len(part.person) for part in parts))


def _blocks(workload: Workload, scans: Scans) -> list[tuple[None, bytes]]:
    people, venues = workload.people, workload.venues
    found = []
    for first in range(0, len(scans.person), BLOCK_SCANS):
        person, venue, out, at, arrived = (column[first : first + BLOCK_SCANS] for column in scans)
        block = ScanBlock(
            persons=[people[number] for number in person.tolist()],
            venues=[venues[number].venue for number in venue.tolist()],
            kinds=np.where(out, _OUT, _IN).astype(np.uint8).tobytes(),
            at_ms=at.astype("<i8").tobytes(),
            arrived_at_ms=arrived.astype("<i8").tobytes(),
        )
        found.append((None, frame(SCANS_MAGIC, block)))
    return found

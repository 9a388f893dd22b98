"""Sending bad records as they are, many at a time, and reading the letters that come of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.settings import Settings
from tests.flood.bad import Bad, because
from tests.flood.bombs import Bomb
from tests.flood.ledger import Ledger

_BATCH_BYTES: Final = 900_000
_LARGEST: Final = 9_000_000


class Sender:
    """A producer that knows at which offset each record stands."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._producer: Any = None
        self._consumer: Any = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and begin to read the letters."""
        brokers = self._settings.brokers.split(",")
        self._producer = AIOKafkaProducer(
            bootstrap_servers=brokers, acks="all", max_batch_size=_BATCH_BYTES, max_request_size=_LARGEST,
            request_timeout_ms=120_000, linger_ms=0,
        )  # fmt: skip
        await self._producer.start()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=brokers, enable_auto_commit=False, max_partition_fetch_bytes=16 << 20
        )
        await self._consumer.start()
        where = TopicPartition(self._settings.topic("dead-letters"), 0)
        self._consumer.assign([where])
        await self._consumer.seek_to_beginning(where)
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Disconnect."""
        if self._reading is not None:
            self._reading.cancel()
        await self._producer.stop()
        await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            fetched = await self._consumer.getmany(timeout_ms=200, max_records=2_000)
            for records in fetched.values():
                for number, record in enumerate(records):
                    self._ledger.read(record.value)
                    if number % 100 == 0:
                        await asyncio.sleep(0)

    @property
    def broken(self) -> BaseException | None:
        """What ended the reading of letters."""
        reading = self._reading
        return reading.exception() if reading is not None and reading.done() and not reading.cancelled() else None

    async def send(self, records: Sequence[Bad]) -> None:
        """Send records; each is in the ledger when this returns."""
        lanes: dict[tuple[str, int], list[Bad]] = defaultdict(list)
        for each in records:
            lanes[each.topic, each.partition].append(each)
        await asyncio.gather(*(self._send_lane(*lane, many) for lane, many in lanes.items()))

    async def _send_lane(self, topic: str, partition: int, records: list[Bad]) -> None:
        waiting = records
        while waiting:
            batch = self._producer.create_batch()
            count = 0
            for each in waiting:
                if batch.append(key=each.key, value=each.value, timestamp=None) is None:
                    break
                count += 1
            batch.close()
            sent, waiting = waiting[:count], waiting[count:]
            answered = await self._producer.send_batch(batch, self._settings.topic(topic), partition=partition)
            first = (await answered).offset
            for number, each in enumerate(sent):
                self._ledger.enter(each, first + number)

    async def send_bomb(self, topic: str, partition: int, bomb: Bomb) -> None:
        """Send a batch that holds far more than it weighs: one letter accounts for it."""
        builder = await asyncio.to_thread(bomb.builder)
        answered = await self._producer.send_batch(builder, self._settings.topic(topic), partition=partition)
        kind = f"bomb of {bomb.codec}, {bomb.kind}"
        bad = Bad(topic, partition, None, None, kind, because("too-large"))
        self._ledger.enter(bad, (await answered).offset)

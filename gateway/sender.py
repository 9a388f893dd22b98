"""The sender: from the spool to the brokers, in order, as soon as they are there.

Each lane of the spool has a task. A round takes the groups that wait, gives every partition one batch of the log, and
ends when each is acknowledged by all replicas: what fails is sent again before anything that comes after it, so within
a partition nothing overtakes. Then the groups leave the spool. A crash, or an acknowledgement that is lost, sends a
batch twice: equal scans of a person are one, wherever they are read.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from gateway.metrics import SEND_FAILURES, SENT
from gateway.packing import Record, packed
from gateway.reading import is_cancelled
from gateway.settings import GatewaySettings
from gateway.spool import Lane, Parcel, Row, Spool
from schemas.messages import Scan
from schemas.partitions import partition_of, partitions_of
from security.clients import let_go
from security.refusal import reason
from security.settings import SecurityError

_LOG: Final = logging.getLogger(__name__)
_A_MOMENT: Final = 0.01
Place = tuple[str, int]
"""A topic's name on the brokers, and a partition of it."""


class Sent(NamedTuple):
    """Groups that the brokers have: their marks, and the time of the latest of their records."""

    lane: Lane
    marks: list[Any]
    at_ms: int


class Sender:
    """Empties a spool. `on_sent` is told, in the loop, of every round that was acknowledged."""

    def __init__(
        self,
        settings: GatewaySettings,
        spool: Spool,
        now_ms: Callable[[], int],
        on_sent: Callable[[Sent], None] = lambda _: None,
    ) -> None:
        self._settings, self._limits, self._spool = settings, settings.send, spool
        self._now_ms, self._on_sent = now_ms, on_sent
        self._producer: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = asyncio.Lock()
        self.away_since_ms: int | None = None
        self.sent = 0
        self.failures = 0

    def start(self) -> None:
        """Begin to send; whether the brokers are there does not matter."""
        lanes: tuple[Lane, ...] = ("scans", "others")
        self._tasks = [asyncio.create_task(self._run(lane), name=f"sender of {lane}") for lane in lanes]

    async def stop(self) -> None:
        """Stop sending. What is on its way may arrive, and is sent again at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._let_go()

    async def drain(self, timeout: float) -> bool:
        """Wait until nothing waits in the spool; False when that takes longer than `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._spool.waiting("scans") or self._spool.waiting("others"):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _run(self, lane: Lane) -> None:
        after = 0
        pause = self._limits.retry_seconds
        batches: dict[Place, list[Record]] = {}
        rows: list[Row] = []
        latest = began_ms = 0
        began = 0.0
        while True:
            try:
                if not batches:
                    await self._spool.fresh(lane)
                    if (wait := began + self._limits.every_ms / 1000 - time.monotonic()) > 0:
                        await asyncio.sleep(wait)
                    began = time.monotonic()
                    rows = await self._next(lane, after)
                    if not rows:  # a damaged group that is being set aside
                        await asyncio.sleep(_A_MOMENT)
                        continue
                    latest = 0
                    batches = await self._placed(lane, rows)
                    began_ms = self._now_ms()  # for brokers that do not say which time they gave a record
                while batches:
                    latest = max(latest, await self._send(batches))
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled(error):
                    raise
                if not isinstance(error, KafkaError | OSError | SecurityError | asyncio.CancelledError):
                    _LOG.exception("Sending %s failed; it is tried again, and nothing is lost.", lane)
                pause = await self._wait(lane, error, pause)
                continue
            after = rows[-1].seq
            pause = self._limits.retry_seconds
            self.away_since_ms = None
            count = sum(len(row.items) for row in rows)
            self.sent += count
            SENT.inc(count)
            marks = self._spool.sent(lane, [row.seq for row in rows])
            if marks:
                self._on_sent(Sent(lane, marks, latest or began_ms))

    async def _next(self, lane: Lane, after: int) -> list[Row]:
        """The groups that are first, from the memory or from the disk."""
        most = self._limits.scans_most
        at_hand = self._spool.next(lane, most)
        return await asyncio.to_thread(self._spool.read, lane, after, most) if at_hand is None else at_hand

    async def _placed(self, lane: Lane, rows: Sequence[Row]) -> dict[Place, list[Record]]:
        """What goes to which partition, in order."""
        items = [item for row in rows for item in row.items]
        placed: dict[Place, list[Record]] = {}
        if lane == "scans":
            scans = cast(list[Scan], items)
            topic = self._settings.topic("scans")
            by_partition: dict[int, list[Scan]] = defaultdict(list)
            homes = partitions_of([scan.person for scan in scans], await self._partitions(topic)).tolist()
            for scan, home in zip(scans, homes, strict=True):
                by_partition[home].append(scan)
            for partition, theirs in by_partition.items():
                placed[topic, partition] = list(packed(theirs))
            return placed
        for parcel in cast(list[Parcel], items):
            topic = self._settings.topic(parcel.topic)
            placing = (parcel.placed_by or parcel.key).decode()
            place = topic, partition_of(placing, await self._partitions(topic))
            placed.setdefault(place, []).append(Record(parcel.key, parcel.value, 1))
        return placed

    async def _partitions(self, topic: str) -> int:
        producer = await self._connected()
        there = await producer.partitions_for(topic)
        return len(there)

    async def _send(self, batches: dict[Place, list[Record]]) -> int:
        """Send one batch to each partition, and take out what was acknowledged; the latest time of a record.

        Raises the first error; the others' records are with the brokers, and gone from `batches`, all the same.
        """
        producer = await self._connected()
        places = list(batches)
        ends = await asyncio.gather(
            *(self._send_one(producer, place, batches) for place in places), return_exceptions=True
        )
        latest = 0
        problems = []
        for end in ends:
            if isinstance(end, BaseException):
                problems.append(end)
            else:
                latest = max(latest, end)
        if problems:
            raise problems[0]
        return latest

    async def _send_one(self, producer: Any, place: Place, batches: dict[Place, list[Record]]) -> int:
        records = batches[place]
        builder = producer.create_batch()
        count = 0
        for record in records:
            if builder.append(timestamp=None, key=record.key, value=record.value) is None:
                break
            count += 1
        builder.close()
        topic, partition = place
        timeout = self._limits.timeout_seconds
        try:
            future = await asyncio.wait_for(producer.send_batch(builder, topic, partition=partition), 2 * timeout)
            done = await asyncio.wait_for(future, 2 * timeout)
        except TimeoutError as error:
            raise KafkaTimeoutError from error
        del records[:count]
        if not records:
            del batches[place]
        return done.timestamp if done.timestamp and done.timestamp > 0 else 0

    async def _connected(self) -> Any:
        """The producer, connected once at least; from then on it finds the brokers again by itself."""
        async with self._ready:
            if self._producer is None:
                timeout_ms = int(self._limits.timeout_seconds * 1000)
                producer = AIOKafkaProducer(
                    **self._settings.broker_access.arguments(),
                    client_id=self._settings.name,
                    acks="all",
                    # One batch of a partition is on its way at a time, which keeps the order; a copy changes nothing.
                    enable_idempotence=False,
                    compression_type="lz4",
                    max_batch_size=self._limits.batch_bytes,
                    max_request_size=8 << 20,
                    request_timeout_ms=timeout_ms,
                    retry_backoff_ms=int(self._limits.retry_seconds * 1000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await let_go(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _wait(self, lane: Lane, error: BaseException, pause: float) -> float:
        """The brokers do not take it: say so once, wait a little, longer each time. Returns the next pause."""
        self.failures += 1
        SEND_FAILURES.inc()
        if self.away_since_ms is None:
            self.away_since_ms = self._now_ms()
            why = await reason(self._settings.broker_access, error)
            _LOG.warning("The brokers do not take %s (%s): they wait in the spool.", lane, why)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways, hides nothing
        return min(2 * pause, self._limits.retry_seconds_most)

    async def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(let_go(producer), self._limits.timeout_seconds)
            except (KafkaError, OSError, TimeoutError):
                pass

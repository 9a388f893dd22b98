"""Sending: without waiting, in order for each partition, and sure of it before a snapshot is made.

Every partition sent to has a lane: a queue and, while it holds something, a task that makes batches of it. Faust's own
producer is left to the changelogs of its tables; it costs 240 us a message, this one a few.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownError

from security.clients import let_go
from security.refusal import explain
from streams.compression import use_fast_lz4
from streams.meters import events_of_records_out
from streams.metrics import ACKNOWLEDGE_SECONDS, BYTES_OUT, OUTSTANDING, RECORDS_OUT
from streams.settings import Settings

MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
"""The largest record that topics take (`max.message.bytes`)."""
LETTER_BYTES_MAX: Final = 12 * 1024 * 1024
"""The same of dead letters, which hold the bytes of a record of any other topic, a third larger as text."""

_BATCH_BYTES: Final = 512 * 1024
_REQUEST_TIMEOUT_MS: Final = 30_000

log = logging.getLogger(__name__)


class OutboxError(RuntimeError):
    """Something sent was not acknowledged. What was made from it must not be called durable."""


class _Lane:
    """One topic-partition that is sent to."""

    __slots__ = ("acked", "bytes_out", "events_out", "partition", "queue", "records_out", "sent", "task", "topic")

    def __init__(self, topic: str, partition: int, name: str) -> None:
        self.topic = topic
        self.partition = partition
        self.queue: deque[tuple[bytes | None, bytes | None, int | None]] = deque()
        self.sent = 0
        self.acked = 0
        self.task: asyncio.Task[None] | None = None
        self.records_out = RECORDS_OUT.labels(name)
        self.bytes_out = BYTES_OUT.labels(name)
        self.events_out = events_of_records_out(name)


class Outbox:
    """A producer of the worker's own.

    `on_failure` is told the first error, in the event loop; afterwards every call raises it.
    """

    def __init__(
        self,
        settings: Settings,
        on_failure: Callable[[OutboxError], None] | None = None,
    ) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._prefix = settings.topic_prefix
        self._linger = settings.transport.linger_ms / 1000
        self._most, self._most_bytes = settings.transport.outstanding_max, settings.transport.outstanding_mib << 20
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._outstanding = 0
        self._bytes = 0
        self._failure: OutboxError | None = None
        self._producer: Any = None
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def outstanding(self) -> int:
        """Records sent and not yet acknowledged."""
        return self._outstanding

    async def start(self) -> None:
        """Connect. Raises OutboxError when no broker answers.

        A broker that knows no idempotent producers (Tansu, for this client) gets a plain one: a retry may then repeat a
        batch, which receivers skip by its position; order holds, since a partition has one request under way at a time.
        """
        try:
            self._producer = await self._connect(idempotent=True)
        except UnknownError:
            log.info("The broker gives no producer ids: sending without idempotence.")
            self._producer = await self._connect(idempotent=False)

    async def _connect(self, *, idempotent: bool) -> Any:
        use_fast_lz4()
        transport = self._settings.transport
        sender_log = logging.getLogger("aiokafka.producer.sender")
        producer = AIOKafkaProducer(
            **self._settings.broker_access.arguments(),
            client_id=f"{self._settings.deployment}-outbox",
            acks="all",
            enable_idempotence=idempotent,
            compression_type=None if transport.compression == "none" else transport.compression,
            max_batch_size=_BATCH_BYTES,
            max_request_size=MESSAGE_BYTES_MAX,
            linger_ms=0,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        # aiokafka lets what waits expire with the timeout of one request: an outage would end every worker.
        producer._message_accumulator._batch_ttl = transport.delivery_seconds
        producer._request_timeout_ms = int(transport.delivery_seconds * 1000)
        level = sender_log.level
        if idempotent:
            sender_log.setLevel(logging.CRITICAL)  # that a broker gives no producer ids is no error here
        try:
            await producer.start()
        except UnknownError:
            await let_go(producer)
            raise
        except KafkaError as error:
            await let_go(producer)
            why = await explain(self._settings.broker_access)
            raise OutboxError(f"No broker can be used at {self._settings.brokers}: {why}.") from error
        finally:
            sender_log.setLevel(level)
        return producer

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        if self._producer is not None:
            if self._failure is None:
                await asyncio.gather(*(lane.task for lane in self._lanes.values() if lane.task is not None))
            producer, self._producer = self._producer, None
            await let_go(producer)

    def send(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None
    ) -> None:
        """Send one record, without waiting. Raises OutboxError when an earlier one failed."""
        self._put(self._lane(topic, partition), key, value, timestamp_ms)

    def send_many(self, topic: str, messages: Iterable[tuple[int, bytes | None, bytes | None]]) -> None:
        """Send many small records `(partition, key, value)`, without waiting."""
        for partition, key, value in messages:
            self._put(self._lane(topic, partition), key, value, None)

    async def room(self) -> None:
        """Wait until not too much is outstanding. Raises OutboxError."""
        if self._failure is not None:
            raise self._failure
        if self._crowded():
            await self._wait(lambda: not self._crowded())

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged. Raises OutboxError when something was not."""
        if self._failure is not None:
            raise self._failure
        targets = [(lane, lane.sent) for lane in self._lanes.values() if lane.acked < lane.sent]
        if targets:
            await self._wait(lambda: all(lane.acked >= target for lane, target in targets))

    def when_acknowledged(self, told: Callable[[], object]) -> None:
        """Call `told` when everything sent so far is acknowledged; never, when something is not."""
        targets = [(lane, lane.sent) for lane in self._lanes.values() if lane.acked < lane.sent]
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(lambda done: None if done.cancelled() or done.exception() else told())
        if targets:
            self._waiters.append((lambda: all(lane.acked >= target for lane, target in targets), waiter))
        else:
            waiter.set_result(None)

    def _lane(self, topic: str, partition: int) -> _Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(self._prefix + topic, partition, topic)
        return lane

    def _put(self, lane: _Lane, key: bytes | None, value: bytes | None, timestamp_ms: int | None) -> None:
        if self._failure is not None:
            raise self._failure
        lane.queue.append((key, value, timestamp_ms))
        lane.sent += 1
        self._outstanding += 1
        self._bytes += len(value or b"")
        if lane.task is None:
            lane.task = asyncio.create_task(self._pump(lane))

    def _crowded(self) -> bool:
        return self._outstanding > self._most or self._bytes > self._most_bytes

    async def _pump(self, lane: _Lane) -> None:
        """Make batches of a lane's queue until it is empty."""
        try:
            if self._linger > 0:
                await asyncio.sleep(self._linger)
            while lane.queue:
                batch = self._producer.create_batch()
                count = size = 0
                while lane.queue:
                    key, value, timestamp_ms = lane.queue[0]
                    if batch.append(key=key, value=value, timestamp=timestamp_ms) is None:
                        break
                    lane.queue.popleft()
                    count += 1
                    size += len(value or b"")
                batch.close()
                began = time.monotonic()
                acknowledged = await self._producer.send_batch(batch, lane.topic, partition=lane.partition)
                acknowledged.add_done_callback(
                    lambda future, n=count, bytes_=size, began=began: self._acknowledged(lane, n, bytes_, began, future)
                )
        except Exception as error:
            self._fail(lane, error)
        finally:
            lane.task = None

    def _acknowledged(self, lane: _Lane, count: int, size: int, began: float, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._fail(lane, asyncio.CancelledError())
        elif (error := future.exception()) is not None:
            self._fail(lane, error)
        else:
            lane.acked += count
            self._outstanding -= count
            self._bytes -= size
            lane.records_out.inc(count)
            lane.bytes_out.inc(size)
            if lane.events_out is not None:
                lane.events_out.inc(count)
            ACKNOWLEDGE_SECONDS.observe(time.monotonic() - began)
            OUTSTANDING.set(self._outstanding)
            self._wake()

    def _fail(self, lane: _Lane, error: BaseException) -> None:
        if self._failure is not None:
            return
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        where = f"{lane.topic}, partition {lane.partition}"
        self._failure = OutboxError(f"What was sent to {where}, was not acknowledged ({why}).")
        self._failure.__cause__ = error
        log.error("%s", self._failure)
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._failure)
        self._waiters.clear()
        if self._on_failure is not None:
            self._on_failure(self._failure)

    async def _wait(self, reached: Callable[[], bool]) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((reached, waiter))
        await waiter

    def _wake(self) -> None:
        if not self._waiters:
            return
        waiting = []
        for reached, waiter in self._waiters:
            if waiter.done():
                continue
            if reached():
                waiter.set_result(None)
            else:
                waiting.append((reached, waiter))
        self._waiters = waiting

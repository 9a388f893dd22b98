"""Reading a compacted topic from where a copy stands, and knowing when the copy is level with the brokers.

The one module of the gateway that knows aiokafka's own buffers (0.14): a message costs half of what it does through an
object for each (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, UnknownTopicOrPartitionError
from aiokafka.record import default_records, legacy_records

from gateway.kept import Standpoint
from gateway.metrics import COPY_RECORDS
from gateway.settings import GatewaySettings
from schemas.heartbeats import HEARTBEAT_KEY, Pulse, beat_of
from schemas.inflating import bound_codecs
from security.clients import let_go
from security.refusal import reason
from security.settings import SecurityError

try:
    from aiokafka.record import _crecords

    _COMPILED: tuple[Any, ...] = (_crecords.default_records, _crecords.legacy_records)
except ImportError:  # aiokafka without its compiled part
    _COMPILED = ()

_LOG: Final = logging.getLogger(__name__)
_WAIT_MS: Final = 200
_PARTITION_BYTES: Final = 512 << 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_SILENCE_SECONDS: Final = 2.0

Records = Sequence[tuple[bytes | None, bytes | None]]


class _Plain(fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of a partition, as keys and values. (Topics read here hold no transactions.)"""

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not batch.is_control_batch:
                try:
                    for record in batch:
                        if record.offset >= self.next_fetch_offset:
                            self.next_fetch_offset = record.offset + 1
                            yield record.key, record.value
                except ValueError:  # it is as it was sent: it holds too much, or cannot be read
                    yield _REFUSED
            self.next_fetch_offset = batch.next_offset


_PLAIN: Final = object()
_CODECS: Final = (default_records, legacy_records, *_COMPILED)
_REFUSED: Final = (None, None)
"""In place of the records of a batch that is left out."""
_STOCK: Final = fetcher.PartitionRecords


def _records(tp: Any, records: Any, aborted: Any, offset: int, key_deserializer: Any, *others: Any) -> Any:
    """aiokafka's own, but for our consumers."""
    if key_deserializer is _PLAIN:
        return _Plain(tp, records, aborted, offset, None, *others)
    return _STOCK(tp, records, aborted, offset, key_deserializer, *others)


fetcher.PartitionRecords = _records


class Copy(Protocol):
    """What a reader keeps up to date."""

    def take(self, records: Records, partition: int) -> None:
        """Take in records of a partition, in their order."""

    def begin_again(self, *, other_log: bool) -> None:
        """The topic is read from its beginning; with `other_log`, it is another cluster's."""

    def end_again(self) -> None:
        """The topic has been read to its end, from its beginning: what it no longer has is gone."""


class Reader:
    """Reads one topic into a copy, from where that stands, for as long as `run` runs.

    `offsets`: the next offset of each partition; `level_at_ms`: when the copy last was level with the brokers, by the
    injected clock; None: never. `whole`: the topic has been read to its end. After a silence of the brokers, and at
    every start, the cluster is asked for its id: another cluster's topic is read from its beginning.
    """

    def __init__(
        self, settings: GatewaySettings, topic: str, copy: Copy, now_ms: Callable[[], int], standpoint: Standpoint
    ) -> None:
        self._settings, self._topic, self._copy, self._now_ms = settings, settings.topic(topic), copy, now_ms
        self.cluster, self.offsets = standpoint.cluster, dict(standpoint.offsets)
        self.level_at_ms, self.whole = standpoint.level_at_ms, standpoint.whole
        self.partitions = 0
        self.records = 0
        self.refused = 0
        bound_codecs(_CODECS, settings.copies.inflated_max_bytes)
        self.connected = False
        self._again = not standpoint.whole
        self._level_at: dict[Any, int] = {}
        self._counted = COPY_RECORDS.labels(topic)
        self.pulse = Pulse(topic, now_ms)

    def standpoint(self) -> Standpoint:
        """Where the copy stands."""
        return Standpoint(self.cluster, dict(self.offsets), self.level_at_ms, self._now_ms(), self.whole)

    def read_again(self) -> None:
        """Have the topic read from its beginning at the next connection."""
        self._again = True

    async def run(self) -> None:
        """Read until cancelled; whatever the brokers do, try again."""
        pause = _FIRST_PAUSE
        said = False
        while True:
            try:
                consumer, places = await self._connect()
                pause, said = _FIRST_PAUSE, False
                try:
                    await self._follow(consumer, places)
                finally:
                    self.connected = False
                    await let_go(consumer)
            except OffsetOutOfRangeError:
                self._again = True
            except (Exception, asyncio.CancelledError) as error:
                if is_cancelled(error):
                    raise
                if not isinstance(error, KafkaError | OSError | SecurityError | asyncio.CancelledError):
                    _LOG.exception("Reading %s failed; it is tried again.", self._topic)
                elif not said:
                    why = await reason(self._settings.broker_access, error)
                    _LOG.warning("%s cannot be read (%s): the last copy holds.", self._topic, why)
                said = True
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _connect(self) -> tuple[Any, list[TopicPartition]]:
        """A consumer of all partitions that stands where the copy does."""
        arguments = self._settings.broker_access.arguments()
        cluster, places = await _survey(arguments, self._topic)
        other_log = bool(self.cluster) and cluster != self.cluster
        known = {tp.partition for tp in places}
        if other_log or self._again or not known.issuperset(self.offsets):
            if other_log:
                _LOG.warning("%s is another cluster's than the copy: it is read from its beginning.", self._topic)
            self._copy.begin_again(other_log=other_log)
            self.offsets, self.whole = {}, False
        self.cluster, self.partitions, self._again = cluster, len(places), False
        consumer = AIOKafkaConsumer(
            **arguments,
            client_id=self._settings.name,
            enable_auto_commit=False,
            auto_offset_reset="none",
            key_deserializer=_PLAIN,
            fetch_max_wait_ms=_WAIT_MS,
            max_partition_fetch_bytes=_PARTITION_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=200,
        )
        try:
            await consumer.start()
            consumer.assign(places)
            starts = await consumer.beginning_offsets(places)
            for tp in places:
                consumer.seek(tp, self.offsets.get(tp.partition, starts[tp]))
        except BaseException:
            await let_go(consumer)
            raise
        return consumer, places

    async def _follow(self, consumer: Any, places: Sequence[TopicPartition]) -> None:
        """Read on until the brokers have been silent for a while, or have less than was read."""
        seen: dict[TopicPartition, int | None] = {}
        loop = asyncio.get_running_loop()
        heard = loop.time()
        self._level_at = {}
        self.connected = True
        most = self._settings.copies.batch_records
        states = {tp: consumer._subscription.subscription.assignment.state_value(tp) for tp in places}
        while True:
            fetched = await consumer.getmany(timeout_ms=_WAIT_MS, max_records=most)
            for tp, records in fetched.items():
                self.records += len(records)
                self._counted.inc(len(records))
                if _REFUSED in records:
                    count = len(records)
                    records = [each for each in records if each is not _REFUSED]
                    self.refused += count - len(records)
                    _LOG.warning("%s has a batch that cannot be read or holds too much: it is left out.", self._topic)
                self._copy.take(self._without_heartbeats(tp.partition, records), tp.partition)
            now_ms = self._now_ms()
            for tp, state in states.items():
                if not state.has_valid_position:
                    continue
                self.offsets[tp.partition] = state.position
                end = state.highwater
                if end is not None and state.position > end:  # a log that has lost its end, or another one
                    await asyncio.sleep(1.0)
                    return
                answered = state.timestamp != seen.get(tp)
                if answered:
                    seen[tp] = state.timestamp
                    heard = loop.time()
                if (answered or fetched.get(tp)) and end is not None and state.position == end:
                    self._level_at[tp] = now_ms
            if len(self._level_at) == len(places):
                self.level_at_ms = min(self._level_at.values())
                if not self.whole:
                    self.whole = True
                    self._copy.end_again()
            if loop.time() - heard > _SILENCE_SECONDS:
                return
            if fetched:
                await asyncio.sleep(0)  # others' turn: what has been fetched already is given without a pause

    def _without_heartbeats(self, partition: int, records: Records) -> Records:
        """The records, once heartbeats among them have been taken note of."""
        beats = [value for key, value in records if key == HEARTBEAT_KEY]
        if not beats:
            return records
        for heartbeat in filter(None, map(beat_of, beats)):
            self.pulse.came(partition, heartbeat)
        return [record for record in records if record[0] != HEARTBEAT_KEY]


def is_cancelled(error: BaseException) -> bool:
    """Whether this very task is to end: aiokafka lets its own cancelled futures come out of what one waits for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def _survey(arguments: Mapping[str, Any], topic: str) -> tuple[str, list[TopicPartition]]:
    """The cluster's id, and the topic's partitions. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**arguments, request_timeout_ms=10_000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        (found,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if found["error_code"] or not found["partitions"]:
        raise UnknownTopicOrPartitionError(f"there is no topic {topic}")
    return str(cluster.get("cluster_id") or ""), [
        TopicPartition(topic, number) for number in sorted(each["partition"] for each in found["partitions"])
    ]

"""What aiokafka fetched, taken as batches: one Python object a partition instead of one a record.

This is the one module that knows aiokafka's own buffers (0.14). All of it runs in the consumer's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import numpy as np
from aiokafka import TopicPartition, conn
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record import MemoryRecords

from contacts.compiled import COMPILED
from schemas.inflating import check_count
from streams.batches import Batch
from streams.compression import bound_inflation
from streams.records import INFLATED_MOST, BatchOfLog, CorruptBatch, is_v2, joined, size_of, unpack
from streams.refusing import BoundedBatch, Refused
from streams.spans import Spans

_SMALL, _LARGE = frozenset({"scans"}), frozenset({"visits"})
"""Topics of so many records, or of so many bytes, that an object for each counts: by how large they are."""

_READ_AHEAD: Final = 4 << 20  # a reply is of megabytes: reading it is not interrupted every 64 KiB
_PROBE_BYTES: Final = 1  # a broker answers with the high watermark and, at most, one batch of records
_PROBE_WAIT_MS: Final = 50  # Tansu answers nothing at all when it may not wait


class Unpacker:
    """Takes what was fetched of a partition, at most about `max_records` at a time (whole batches of the log)."""

    def __init__(self, max_records: int, name_of: Callable[[str], str], inflated_most: int = INFLATED_MOST) -> None:
        self._max_records = max_records
        self._inflated_most = inflated_most
        self._name_of = name_of

    def take(self, result: Any, tp: TopicPartition, epoch: int) -> Batch | None:
        """The next records of a fetch result; None when there is none. Raises CorruptRecordException."""
        if not result.check_assignment(tp) or not result.has_more():
            return None
        fetched = result._partition_records
        log, reached = fetched._records, fetched.next_fetch_offset
        batches: list[BatchOfLog] = []
        topic = self._name_of(tp.topic)
        by_columns = COMPILED and topic in _SMALL | _LARGE
        count = 0
        begin = reached
        refused: Refused | None = None
        while count < self._max_records and (size := size_of(log.data, log.place)) is not None:
            try:
                batch = self._read(log.data, log.place, size, check=fetched._check_crcs, by_columns=by_columns)
            except (CorruptBatch, CorruptRecordException) as error:
                raise CorruptRecordException(
                    f"a batch of {tp.topic}, partition {tp.partition}, is damaged at offset {reached}: {error}"
                ) from error
            except ValueError as error:  # it is as it was sent: reading it again would be no better
                if batches:
                    break  # what is before it first
                refused = Refused.of(log.data[log.place : log.place + size], error)
                batch = _as_one(refused, reached)
            log.place += size
            batches.append(batch)
            count += batch.found.shape[1]
            reached = max(reached, batch.next_offset)
            if refused is not None:
                break
        fetched.next_fetch_offset = reached
        result._update_position()
        if size_of(log.data, log.place) is None:
            result._partition_records = None
        records = joined(batches, begin, in_place=topic in _LARGE)
        if records is None:
            return None
        highwater = result._assignment.state_value(tp).highwater
        return Batch(
            topic,
            tp.partition,
            records.offsets,
            records.stamps,
            records.keys,
            records.values if refused is None else [refused],
            highwater=max(highwater or 0, reached),
            epoch=epoch,
            begins=begin,
            next_offset=reached,
        )

    def _read(self, data: bytes, place: int, size: int, *, check: bool, by_columns: bool) -> BatchOfLog:
        """A batch of the log, by our own reader or by aiokafka's. Raises what they raise."""
        if by_columns and is_v2(data, place):
            return unpack(data, place, size, check=check, inflated_most=self._inflated_most)
        return _read(data, place, size, check=check)


def _as_one(refused: Refused, offset: int) -> BatchOfLog:
    """A batch that cannot be read as one record without a key at `offset`; its value is put in its place later."""
    batch = MemoryRecords(bytes(refused)).next_batch()
    stamp = max(getattr(batch, "first_timestamp", 0) or 0, 0)
    found = np.array([[max(offset - batch.base_offset, 0)], [stamp], [0], [-1], [0], [0]], np.int64)
    return BatchOfLog(batch.next_offset, batch.base_offset, 0, None, b"\0", found)


class Log:
    """What a fetch brought of one partition: the bytes, and aiokafka's own reader for whoever goes by the record."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0
        own = MemoryRecords(data)
        self.has_next, self.size_in_bytes = own.has_next, own.size_in_bytes
        self._next_batch = own.next_batch

    def next_batch(self) -> Any:
        """The next batch, for who goes by the record."""
        size = size_of(self.data, self.place) or 0
        begin, self.place = self.place, self.place + size
        batch = self._next_batch()
        return None if batch is None else BoundedBatch(batch, self.data[begin : self.place])


def keep_bytes(inflated_most: int = INFLATED_MOST) -> None:
    """Let aiokafka's fetchers keep the bytes of what they fetch, and inflate no batch further than so many bytes."""
    fetcher.MemoryRecords = Log
    conn.READER_LIMIT = _READ_AHEAD
    bound_inflation(inflated_most)


def _read(data: bytes, place: int, size: int, *, check: bool) -> BatchOfLog:
    batch = MemoryRecords(data[place : place + size]).next_batch()
    if check and not batch.validate_crc():
        raise CorruptBatch("its checksum does not hold")
    if is_v2(data, place):
        check_count(data, place)
    records = [] if batch.is_control_batch else list(batch)
    values = [each for record in records for each in (record.key, record.value)]
    spans = Spans.of(values)
    first = batch.base_offset
    found = np.array(
        [
            [record.offset - first for record in records],
            [-1 if record.timestamp is None else record.timestamp for record in records],
            spans.begins[::2],
            spans.lengths[::2],
            spans.begins[1::2],
            spans.lengths[1::2],
        ],
        np.int64,
    )
    return BatchOfLog(batch.next_offset, first, 0, None, spans.data.tobytes(), found)


async def drain(
    fetches: Any,
    active: Collection[TopicPartition] | None,
    take: Callable[[Any, TopicPartition], list[Any]],
    timeout: float,
) -> dict[TopicPartition, list[Any]]:
    """What has been fetched of the `active` partitions, waiting up to `timeout` seconds for something.

    The same loop as aiokafka's own `fetched_records`, but every partition gives what it has: none waits in the buffer
    for its neighbour, and the next fetch asks for all of them.
    """
    while True:
        if fetches._subscriptions.reassignment_in_progress:
            await fetches._subscriptions.wait_for_assignment()
        started = time.monotonic()
        drained: dict[TopicPartition, list[Any]] = {}
        for tp in list(fetches._records):
            if active and tp not in active:
                if not fetches._subscriptions.is_assigned(tp):
                    del fetches._records[tp]
                continue
            result = fetches._records[tp]
            if type(result) is not FetchResult:
                if drained:
                    return drained
                del fetches._records[tp]
                fetches._notify(fetches._wait_consume_future)
                result.check_raise()
                continue
            taken = take(result, tp)
            if not result.has_more():
                del fetches._records[tp]
                fetches._notify(fetches._wait_consume_future)
            if taken:
                drained[tp] = taken
        if drained or timeout <= 0:
            return drained
        waiter = fetches._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=timeout)
        if not waiter.done() or fetches._closed:
            waiter.cancel()
            return {}
        waiter.result()
        timeout -= time.monotonic() - started


async def true_ends(consumer: Any, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The end of each partition, from the high watermark of a fetch: ListOffsets is too small on some brokers.

    Raises KafkaError when a broker does not say.
    """
    wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
    if not wanted:
        return {}
    ends: dict[TopicPartition, int] = dict(await consumer.end_offsets(wanted))
    by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp in wanted:
        node = consumer._client.cluster.leader_for_partition(tp)
        by_node[node][tp.topic].append((tp.partition, ends[tp], _PROBE_BYTES))
    for node, topics in by_node.items():
        request = FetchRequest(_PROBE_WAIT_MS, 0, _PROBE_BYTES, 0, list(topics.items()), rack_id="")
        response = await consumer._client.send(node, request)
        for topic, answers in response.topics:
            for partition, code, highwater, *_ in answers:
                error = for_code(code)
                if code:
                    raise error(f"the end of {topic}, partition {partition}, could not be asked for")
                tp = TopicPartition(topic, partition)
                ends[tp] = max(ends[tp], highwater)
    return ends


async def bounds(consumer: Any, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
    """The first retained offset and the end of each partition."""
    first = await consumer.beginning_offsets(list(partitions))
    ends = await true_ends(consumer, partitions)
    return {tp: (first[tp], max(ends[tp], first[tp])) for tp in partitions}

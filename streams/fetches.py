"""What aiokafka fetched, taken as batches: one Python object a partition instead of one a record.

This is the one module that knows aiokafka's own buffers (0.14). All of it runs in the consumer's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException, for_code
from aiokafka.protocol.fetch import FetchRequest

from streams.batches import Batch

_LOG_APPEND_TIME: Final = 1
_PROBE_BYTES: Final = 1  # a broker answers with the high watermark and, at most, one batch of records
_PROBE_WAIT_MS: Final = 50  # Tansu answers nothing at all when it may not wait


class Unpacker:
    """Takes what was fetched of a partition, at most about `max_records` at a time (whole batches of the log)."""

    def __init__(self, max_records: int, name_of: Callable[[str], str]) -> None:
        self._max_records = max_records
        self._name_of = name_of

    def take(self, result: Any, tp: TopicPartition, epoch: int) -> Batch | None:
        """The next records of a fetch result; None when there is none. Raises CorruptRecordException."""
        if not result.check_assignment(tp) or not result.has_more():
            return None
        fetched = result._partition_records
        log, reached = fetched._records, fetched.next_fetch_offset
        parts: list[tuple[range | list[int], list[int], list[bytes | None], list[bytes | None]]] = []
        count = 0
        while count < self._max_records and log.has_next():
            entry = log.next_batch()
            if fetched._check_crcs and not entry.validate_crc():
                raise CorruptRecordException(
                    f"a record of {tp.topic}, partition {tp.partition}, is damaged at offset {reached}"
                )
            if not entry.is_control_batch:
                part = _columns(entry, reached)
                if part is not None:
                    parts.append(part)
                    count += len(part[0])
            reached = max(reached, entry.next_offset)
        fetched.next_fetch_offset = reached
        result._update_position()
        if not log.has_next():
            result._partition_records = None
        if not parts:
            return None
        offsets, stamps, keys, values = parts[0]
        for more in parts[1:]:
            if isinstance(offsets, range) and isinstance(more[0], range) and offsets.stop == more[0].start:
                offsets = range(offsets.start, more[0].stop)
            else:
                offsets = [*offsets, *more[0]]
            stamps += more[1]
            keys += more[2]
            values += more[3]
        highwater = result._assignment.state_value(tp).highwater
        return Batch(
            self._name_of(tp.topic),
            tp.partition,
            offsets,
            stamps,
            keys,
            values,
            highwater=max(highwater or 0, reached),
            epoch=epoch,
            next_offset=reached,
        )


def _columns(
    entry: Any, start: int
) -> tuple[range | list[int], list[int], list[bytes | None], list[bytes | None]] | None:
    """The records of one batch of the log from offset `start` on."""
    records = list(entry)
    if not records:
        return None
    first, last = records[0].offset, records[-1].offset
    whole = last - first + 1 == len(records)
    if first < start:
        records = records[start - first :] if whole else [record for record in records if record.offset >= start]
        if not records:
            return None
        first = records[0].offset
    offsets = range(first, last + 1) if whole else [record.offset for record in records]
    if entry.timestamp_type == _LOG_APPEND_TIME:
        stamps = [entry.max_timestamp] * len(records)
    else:
        stamps = [record.timestamp for record in records]
    return offsets, stamps, [record.key for record in records], [record.value for record in records]


async def drain(
    fetcher: Any,
    active: Collection[TopicPartition] | None,
    take: Callable[[Any, TopicPartition], list[Any]],
    timeout: float,
) -> dict[TopicPartition, list[Any]]:
    """What has been fetched of the `active` partitions, waiting up to `timeout` seconds for something.

    The same loop as aiokafka's own `fetched_records`, but every partition gives what it has: none waits in the buffer
    for its neighbour, and the next fetch asks for all of them.
    """
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        started = time.monotonic()
        drained: dict[TopicPartition, list[Any]] = {}
        for tp in list(fetcher._records):
            if active and tp not in active:
                if not fetcher._subscriptions.is_assigned(tp):
                    del fetcher._records[tp]
                continue
            result = fetcher._records[tp]
            if type(result) is not FetchResult:
                if drained:
                    return drained
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
                result.check_raise()
                continue
            taken = take(result, tp)
            if not result.has_more():
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
            if taken:
                drained[tp] = taken
        if drained or timeout <= 0:
            return drained
        waiter = fetcher._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=timeout)
        if not waiter.done() or fetcher._closed:
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

"""Reading a topic from outside the agents: to its true end, or on and on; and its records in words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from kafka import TopicPartition
from kafka.record.default_records import DefaultRecordBatch

from schemas.blocks import (
    CONTROL_MAGIC,
    CONTROLS,
    KINDS,
    REASONS,
    SCAN_BLOCKS,
    SCANS_MAGIC,
    VISIT_BLOCKS,
    VISIT_COLUMNS,
    VISITS_MAGIC,
    WINDOW_BLOCKS,
    WINDOW_COLUMNS,
    WINDOWS_MAGIC,
    BlockError,
    unframe,
)
from schemas.bounds import UNDECODABLE
from schemas.inflating import RECORDS_MOST, TooLarge, inflate
from streams.clients import BrokerFault, consumer
from streams.records import INFLATED_MOST
from streams.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS = 200
_ENDS_SECONDS = 10.0


def _inflate_bounded(batch: Any) -> None:
    """In place of kafka-python's own: whatever the codec, and no further than what the agents take. A batch that they
    set aside has no records here."""
    if not batch._decompressed and batch.compression_type != batch.CODEC_NONE:
        try:
            if batch.records_count > RECORDS_MOST:
                raise TooLarge("it holds too many records")
            body = inflate(batch.compression_type, memoryview(batch._buffer)[batch._pos :], INFLATED_MOST)
        except ValueError as error:
            log.warning("A batch at offset %d is left out: %s", batch.base_offset, error)
            batch._num_records, body = 0, b""
        batch._buffer, batch._pos = bytearray(body), 0
    batch._decompressed = True


DefaultRecordBatch._maybe_uncompress = _inflate_bounded


class ReadRecord(NamedTuple):
    """One record of a topic, as it is on the broker."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class MissingTopic(BrokerFault):
    """The broker has no such topic."""


def read_topic(
    settings: Settings,
    topic: str,
    *,
    follow: bool = False,
    partitions: Iterable[int] | None = None,
    from_timestamp_ms: int | None = None,
    at_end: bool = False,
    idle: Callable[[], bool] = lambda: False,
) -> Iterator[ReadRecord]:
    """The records of a topic (name without prefix), each partition's in order, from the earliest or from a time.

    Ends where every partition's high watermark was when a fetch reached it; with `follow` it goes on until `idle`
    (asked after each fetch) says to end, with `at_end` it begins there. Raises MissingTopic.
    """
    name = settings.topic(topic)
    with consumer(settings, max_partition_fetch_bytes=16 << 20, fetch_max_wait_ms=100) as client:
        there = client.partitions_for_topic(name)
        if not there:
            if user := settings.broker_access.user:  # a broker does not tell of what one may not see
                raise MissingTopic(f"{user} sees no topic {name!r}: `lacak secure grants` shows who may read it.")
            raise MissingTopic(f"There is no topic {name!r} on the broker: `lacak topics` shows those there are.")
        wanted = [
            TopicPartition(name, number) for number in sorted(there) if partitions is None or number in set(partitions)
        ]
        client.assign(wanted)
        client.seek_to_beginning(*wanted)
        if from_timestamp_ms is not None:
            for tp, found in client.offsets_for_times(dict.fromkeys(wanted, from_timestamp_ms)).items():
                if found is not None:
                    client.seek(tp, found.offset)
        ends = client.end_offsets(wanted)
        open_ends = {tp for tp in wanted if ends.get(tp, 0) > 0}
        if at_end:
            for tp in wanted:
                client.seek(tp, ends[tp])
            follow = True
        while (open_ends or follow) and not idle():
            fetched = client.poll(timeout_ms=_POLL_MS)
            for tp, records in fetched.items():
                for record in records:
                    yield ReadRecord(topic, tp.partition, record.offset, record.timestamp, record.key, record.value)
            for tp in list(open_ends):
                end = client.highwater(tp)
                if end is not None and client.position(tp) >= max(end, ends[tp]):
                    open_ends.discard(tp)


def true_ends(settings: Settings, topics: Iterable[str], readable: Collection[str]) -> dict[str, int]:
    """How many offsets each topic has used, over all partitions.

    Of those in `readable` from the high watermarks of fetches, as what Tansu says without a fetch is too small; of the
    others, of which we may know how far they go and not what is in them, from what the broker says.
    """
    with consumer(settings, fetch_max_wait_ms=100) as client:
        names = {settings.topic(topic): topic for topic in topics}
        wanted = [TopicPartition(name, number) for name in names for number in client.partitions_for_topic(name) or ()]
        ends = dict(client.end_offsets(wanted))
        client.assign(wanted)
        filled = [tp for tp in wanted if ends[tp] > 0 and names[tp.topic] in readable]
        for tp in wanted:
            client.seek(tp, max(ends[tp] - 1, 0))
        client.pause(*(tp for tp in wanted if tp not in filled))
        deadline = time.monotonic() + _ENDS_SECONDS
        while filled and time.monotonic() < deadline:
            client.poll(timeout_ms=_POLL_MS)
            for tp in list(filled):
                high = client.highwater(tp)
                if high is not None:
                    ends[tp] = max(ends[tp], high)
                    filled.remove(tp)
        totals = dict.fromkeys(names.values(), 0)
        for tp, end in ends.items():
            totals[names[tp.topic]] += end
        return totals


def decode_record(value: bytes | None) -> Any:
    """A record's value as plain objects: a JSON message, or a frame with its rows by the names of their columns.

    Raises BlockError where it is neither.
    """
    if value is None:
        return None
    magic = value[:4]
    if magic == SCANS_MAGIC:
        scans = unframe(SCANS_MAGIC, value, SCAN_BLOCKS)
        at = np.frombuffer(scans.at_ms, "<i8").tolist()
        arrived = np.frombuffer(scans.arrived_at_ms, "<i8").tolist() or [None] * len(at)
        names = ("person", "venue", "kind", "at_ms", "arrived_at_ms")
        kinds = [KINDS[kind] for kind in scans.kinds]
        return {
            "scans": [
                dict(zip(names, row, strict=True))
                for row in zip(scans.persons, scans.venues, kinds, at, arrived, strict=True)
            ]
        }
    if magic == VISITS_MAGIC:
        visits = unframe(VISITS_MAGIC, value, VISIT_BLOCKS)
        rows = np.frombuffer(visits.rows, "<i8").reshape(-1, len(VISIT_COLUMNS)).tolist()
        named = []
        for person, row in zip(visits.persons, rows, strict=True):
            each = {"person": person, **dict(zip(VISIT_COLUMNS, row, strict=True))}
            each["venue"] = visits.lineages[each.pop("lineage")].venue
            each["reason"], each["old_reason"] = REASONS[each["reason"]], REASONS[each["old_reason"]]
            named.append(each)
        head = {
            field: getattr(visits, field)
            for field in ("source_partition", "first_offset", "next_offset", "log_time_ms")
        }
        return {**head, "rows": named, "controls": msgspec.to_builtins(visits.controls)}
    if magic == WINDOWS_MAGIC:
        windows = unframe(WINDOWS_MAGIC, value, WINDOW_BLOCKS)
        rows = np.frombuffer(windows.rows, "<i8").reshape(-1, len(WINDOW_COLUMNS)).tolist()
        named = [{**dict(zip(WINDOW_COLUMNS, row, strict=True)), "venue": windows.venues[row[0]]} for row in rows]
        head = {
            field: getattr(windows, field) for field in ("source_partition", "position", "window_ms", "log_time_ms")
        }
        return {**head, "rows": named}
    if magic == CONTROL_MAGIC:
        control = unframe(CONTROL_MAGIC, value, CONTROLS)
        return {"control": type(control).__name__, **msgspec.structs.asdict(control)}
    try:
        return msgspec.json.decode(value)
    except UNDECODABLE as error:
        raise BlockError(f"neither JSON nor a frame: {error}") from error

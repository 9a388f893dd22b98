"""The recorder agent: what the other agents publish, into PostgreSQL, a batch or a report in a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import zip_longest
from typing import Any

from agents import recordable
from agents.refusals import Refused
from schemas.blocks import CONTROL_MAGIC, WINDOW_COLUMNS, BlockError, Heartbeat
from schemas.bounds import UNDECODABLE
from schemas.channels import TOPICS as CHANNELS
from schemas.heartbeats import Pulse, beat_of
from streams import meters
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.partitions import DurableEachBatch
from streams.postgres import Records, Unstorable

TOPICS = (
    "occupancy", "windows", "clusters", "cases", "traces", "venues", "erasures", "statuses", "health-records",
    "declarations", "door-events",
)  # fmt: skip
"""What is recorded."""

_FORGOTTEN = ("cases", "traces", "statuses", "health-records")
"""Where a key without a value says that what it names is to be forgotten."""

_WINDOW_BYTES = 8 * len(WINDOW_COLUMNS)
_BEATEN = ("occupancy", "traces", "health-records", "statuses")
"""Where heartbeats come by."""
Placed = tuple[int, Any]
"""A message with its place in the batch."""


class Recorder:
    """Decodes batches and hands them to the database. `partitions` is how many the topics by person have."""

    def __init__(self, clock: Clock, letters: DeadLetters, records: Records, partitions: int) -> None:
        self._clock = clock
        self._letters = letters
        self._records = records
        self.pulses = {topic: Pulse(topic, clock.now_ms) for topic in _BEATEN}
        self._partitions = partitions

    async def run(self, batches: AsyncIterator[Batch], owner: DurableEachBatch) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                await self.record(held)
                await owner.done(held)

    async def record(self, batch: Batch) -> None:
        """Decode a batch and write it; what is no message, or nothing the database holds, goes to the dead letters."""
        placed: list[Placed] = []
        bad = 0
        heartbeats = []
        for index, value in enumerate(batch.values):
            try:
                if batch.topic in self.pulses and value is not None and value[:4] == CONTROL_MAGIC:
                    heartbeats.append(self._beat(batch.topic, value))
                    continue
                message = self._read(batch, index, value)
            except Refused as refused:
                self._set_aside(batch, index, refused.reason, str(refused))
                bad += 1
            except (BlockError, *UNDECODABLE) as error:
                self._set_aside(batch, index, "undecodable", str(error))
                bad += 1
            else:
                placed += [(index, message)] if message is not None else []
        parts = [[each] for each in placed] if batch.topic == "traces" else [placed]  # no report waits for the next
        for part, later in zip_longest(parts or [[]], parts[1:]):
            bad += await self._write(batch, part, batch.offsets[later[0][0]] if later else batch.next_offset)
        self._letters.judge(len(batch), bad)
        await self._letters.flush()
        for heartbeat in filter(None, heartbeats):
            self.pulses[batch.topic].came(batch.partition, heartbeat)
        if batch.topic == "windows":
            meters.events_in("windows").inc(sum(len(block.rows) // _WINDOW_BYTES for _, block in placed))

    @staticmethod
    def _beat(topic: str, value: bytes) -> Heartbeat | None:
        """The heartbeat that a control record is. Raises Refused for another, where none is expected."""
        heartbeat = beat_of(value)
        if heartbeat is None and topic != "health-records":  # those are the status agent's, and come as statuses
            raise Refused("undecodable", "a control record that is no heartbeat")
        return heartbeat

    def _read(self, batch: Batch, index: int, value: bytes | None) -> Any:
        """What is to be written of a record; None: nothing. Raises Refused, and what decoding raises."""
        topic, key = batch.topic, batch.keys[index] or b""
        if value is None and CHANNELS[topic].compacted:
            return key.decode() if topic in _FORGOTTEN else None
        message = recordable.read(topic, value or b"")
        fault = recordable.fault(message, key, batch.partition, self._partitions)
        if fault is not None:
            raise Refused(*fault)
        return message

    async def _write(self, batch: Batch, placed: list[Placed], next_offset: int) -> int:
        """Write in one transaction; if the database takes it not, in halves, until what it does not take is alone.

        How many were set aside. Letters are acknowledged before the offset behind them is reached.
        """
        try:
            await self._letters.flush()
            rows: dict[str, Any] = {batch.topic.replace("-", "_"): [message for _, message in placed]}
            await self._records.apply(batch.topic, batch.partition, next_offset, **rows)
        except Unstorable as error:
            if len(placed) == 1:
                self._set_aside(batch, placed[0][0], "unstorable", str(error))
                return 1 + await self._write(batch, [], next_offset)
            half = len(placed) // 2
            first, then = placed[:half], placed[half:]
            return await self._write(batch, first, batch.offsets[then[0][0]]) + await self._write(
                batch, then, next_offset
            )
        return 0

    def _set_aside(self, batch: Batch, index: int, reason: str, detail: str) -> None:
        self._letters.letter(batch, index, 0, reason, detail, self._clock.now_ms())

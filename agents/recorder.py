"""The recorder agent: what the other agents publish, into PostgreSQL, a batch in a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from schemas.blocks import CONTROL_MAGIC, WINDOW_BLOCKS, WINDOW_COLUMNS, WINDOWS_MAGIC, BlockError, unframe
from schemas.door import DoorEvent
from schemas.health import Declaration, HealthRecord, Status
from schemas.heartbeats import Pulse, beat_of
from schemas.messages import Case, Erasure, Occupancy, Trace, Venue, VenueClusters
from streams import meters
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.partitions import DurableEachBatch
from streams.postgres import Records

TOPICS = (
    "occupancy", "windows", "clusters", "cases", "traces", "venues", "erasures", "statuses", "health-records",
    "declarations", "door-events",
)  # fmt: skip
"""What is recorded."""

_READERS: dict[str, msgspec.json.Decoder[Any]] = {
    "occupancy": msgspec.json.Decoder(Occupancy),
    "clusters": msgspec.json.Decoder(VenueClusters),
    "cases": msgspec.json.Decoder(Case),
    "traces": msgspec.json.Decoder(Trace),
    "venues": msgspec.json.Decoder(Venue),
    "erasures": msgspec.json.Decoder(Erasure),
    "statuses": msgspec.json.Decoder(Status),
    "health-records": msgspec.json.Decoder(HealthRecord),
    "declarations": msgspec.json.Decoder(Declaration),
    "door-events": msgspec.json.Decoder(DoorEvent),
}
_FORGOTTEN = ("cases", "traces", "statuses", "health-records")
"""Where a key without a value says that what it names is to be forgotten."""

_WINDOW_BYTES = 8 * len(WINDOW_COLUMNS)
_BEATEN = ("occupancy", "traces", "health-records", "statuses")
"""Where heartbeats come by."""


class Recorder:
    """Decodes batches and hands them to the database."""

    def __init__(self, clock: Clock, letters: DeadLetters, records: Records) -> None:
        self._clock = clock
        self._letters = letters
        self._records = records
        self.pulses = {topic: Pulse(topic, clock.now_ms) for topic in _BEATEN}

    async def run(self, batches: AsyncIterator[Batch], owner: DurableEachBatch) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                await self.record(held)
                await owner.done(held)

    async def record(self, batch: Batch) -> None:
        """Decode a batch and write it in one transaction; what is no message goes to the dead letters."""
        messages: list[Any] = []
        heartbeats = []
        bad = 0
        for index, value in enumerate(batch.values):
            try:
                if value is None:
                    messages += [(batch.keys[index] or b"").decode()] if batch.topic in _FORGOTTEN else []
                    continue
                if batch.topic in self.pulses and value[:4] == CONTROL_MAGIC:
                    heartbeats.append(beat_of(value))
                    continue  # what doors are told of health records comes as statuses, erasures by their own topic
                if batch.topic == "windows":
                    messages.append(unframe(WINDOWS_MAGIC, value, WINDOW_BLOCKS))
                else:
                    messages.append(_READERS[batch.topic].decode(value))
            except (BlockError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._letters.letter(batch, index, 0, "undecodable", str(error), self._clock.now_ms())
                bad += 1
        self._letters.judge(len(batch), bad)
        await self._letters.flush()
        rows: dict[str, Any] = {batch.topic.replace("-", "_"): messages}
        await self._records.apply(batch.topic, batch.partition, batch.next_offset, **rows)
        for heartbeat in filter(None, heartbeats):
            self.pulses[batch.topic].came(batch.partition, heartbeat)
        if batch.topic == "windows":
            meters.events_in("windows").inc(sum(len(block.rows) // _WINDOW_BYTES for block in messages))

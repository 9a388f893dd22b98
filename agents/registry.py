"""The registry agent: puts each record of `venues` and `erasures` into the order of every scans partition.

Erasures also go to every coordinator of traces.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from contacts.registry import Registry, RegistryError
from schemas.blocks import CONTROL_MAGIC, ErasureOrder, RegistryChange, frame
from schemas.messages import Erasure, TraceAnswer, Venue
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import DurableEachBatch
from streams.settings import Settings

_VENUES = msgspec.json.Decoder(Venue)
_ERASURES = msgspec.json.Decoder(Erasure)


class Controls:
    """Turns records of the compacted topics into control records of `scans`."""

    def __init__(self, settings: Settings, clock: Clock, outbox: Outbox, letters: DeadLetters) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters

    async def run(self, batches: AsyncIterator[Batch], owner: DurableEachBatch) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                self.pass_on(held)
                await self._outbox.flush()
                await owner.done(held)

    def pass_on(self, batch: Batch) -> None:
        """Send what a batch says to every scans partition."""
        for index, value in enumerate(batch.values):
            if value is None:
                continue  # a tombstone: the broker's business
            origin = (batch.partition, batch.offsets[index])
            try:
                if batch.topic == "venues":
                    venue = _VENUES.decode(value)
                    Registry().check(venue)
                    control: RegistryChange | ErasureOrder = RegistryChange(origin, venue, batch.timestamps_ms[index])
                else:
                    erasure = _ERASURES.decode(value)
                    control = ErasureOrder(origin, erasure.person, erasure.before_ms)
                    self._tell_coordinators(erasure)
            except (msgspec.MsgspecError, UnicodeDecodeError, RegistryError) as error:
                self._letters.letter(batch, index, 0, "undecodable", str(error), self._clock.now_ms())
                continue
            record = frame(CONTROL_MAGIC, control)
            for partition in range(self._settings.partitions.scans):
                self._outbox.send("scans", partition, record)

    def _tell_coordinators(self, erasure: Erasure) -> None:
        """The person may be in anybody's reports, so every coordinator is told."""
        note = TraceAnswer(query_id="", trace_id="", kind="erasure", partition=-1, at_ms=erasure.before_ms)
        for partition in range(self._settings.partitions.cases):
            self._outbox.send("trace-answers", partition, msgspec.json.encode(note), erasure.person.encode())

"""The visits agent: scans in, changes of visits out, one batch of one partition at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec

from agents.intake import Intake
from contacts.controls import BAD_VENUE
from contacts.declared import StayRefused
from contacts.deriver import Deriver, Scans
from contacts.registry import RegistryError
from contacts.visits import Acceptance
from schemas.blocks import (
    CONTROL_MAGIC,
    SCAN_BLOCKS,
    SCANS_MAGIC,
    VISITS_MAGIC,
    Heartbeat,
    RegistryChange,
    ScanBlock,
    Tick,
    frame,
    frame_of,
    scan_of,
    unframe,
)
from schemas.heartbeats import Pulse, beat
from schemas.partitions import partition_of
from streams import meters
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import Owner
from streams.scanmeters import ScanMeters
from streams.settings import Settings

EMPTY_BLOCK_SECONDS = 0.5
"""How long a `visits` partition may go without a block while scans flow: log time is told at least once a second."""

QUIET_SECONDS = 0.8
"""How long a scans partition is quiet before it is ticked."""


class Visits:
    """Derives visits in each scans partition this worker holds."""

    def __init__(self, settings: Settings, clock: Clock, outbox: Outbox, letters: DeadLetters) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters
        self._told: dict[int, float] = {}
        self._heard: dict[int, float] = {}
        self._meters = ScanMeters()
        self.pulse = Pulse("scans", clock.now_ms)

    def make(self, partition: int) -> Deriver:
        """The state of a partition that nothing is known of."""
        times, counts = self._settings, self._settings.partitions
        acceptance = Acceptance(times.horizon_ms, times.retention_ms, times.times.clock_tolerance_seconds * 1000)
        return Deriver(partition, counts.visits, acceptance, lambda venue: partition_of(venue, counts.visits))

    def load(self, partition: int, parts: Mapping[str, bytes]) -> Deriver:
        """The state of a partition from its snapshot."""
        deriver = self.make(partition)
        deriver.load(parts)
        return deriver

    async def run(self, batches: AsyncIterator[Batch], owner: Owner[Deriver]) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                deriver, fresh = held
                self.derive(deriver, fresh)
                await self._outbox.room()
                await owner.done(fresh)

    def derive(self, deriver: Deriver, batch: Batch) -> None:
        """Take one batch through the core and send what it makes."""
        partition = batch.partition
        bad = total = 0
        rows = {offset: index for index, offset in enumerate(batch.offsets)} if len(batch) < 2 else None
        now_ms = self._clock.now_ms()
        late = deriver.counts["late"]
        alones = _Alone()

        def set_aside(offset: int, row: int, reason: str, detail: str = "") -> None:
            nonlocal bad, rows
            if rows is None:
                rows = {offset: index for index, offset in enumerate(batch.offsets)}
            bad += 1
            alone = alones.of(batch.values[rows[offset]], offset, row, reason)
            self._letters.letter(batch, rows[offset], row, reason, detail or _DETAILS[reason], now_ms, alone)

        intake = Intake(
            deriver,
            self._settings.partitions.scans,
            set_aside,
            file_clock=self._settings.clock == "file",
            tolerance_ms=self._settings.times.clock_tolerance_seconds * 1000,
            coordinators=self._settings.partitions.cases,
        )
        for part in intake.read(batch):
            if isinstance(part, Scans):
                total += len(part.at)
                self._meters.took(deriver, part)
                deriver.take(part, set_aside)
            else:
                if isinstance(part[1], Heartbeat):
                    self.pulse.came(partition, part[1])
                elif isinstance(part[1], RegistryChange):
                    self._meters.registered(deriver)
                try:
                    deriver.control(*part)
                except RegistryError as error:
                    set_aside(part[0], 0, "refused_venue", str(error))
                except StayRefused as error:
                    set_aside(part[0], 0, error.reason, str(error))
        self._letters.judge(total + bad, bad)
        self._meters.late(deriver.counts["late"] - late)
        now = self._clock.monotonic()
        self._heard[partition] = now
        empty = now - self._told.get(partition, 0.0) >= EMPTY_BLOCK_SECONDS
        if empty:
            self._told[partition] = now
        rows_out, recorded_ms = meters.events_out("visits"), batch.timestamps_ms[0]
        for target, count, body in deriver.packed(
            batch.offsets[0], batch.next_offset, empty=empty, recorded_ms=recorded_ms
        ):
            self._outbox.send("visits", target, frame_of(VISITS_MAGIC, body))
            rows_out.inc(count)
        meters.log_time("scans", partition, deriver.log_time_ms)
        deriver.prune()

    def tick(self, partitions: frozenset[int]) -> None:
        """Move the log time of this worker's quiet partitions: the end of the log says what time it is."""
        if self._settings.clock == "file":
            return
        now = self._clock.monotonic()
        for partition in partitions:
            if now - self._heard.get(partition, 0.0) >= QUIET_SECONDS:
                self._outbox.send("scans", partition, frame(CONTROL_MAGIC, Tick(self._clock.now_ms())))

    def beat(self, partitions: frozenset[int]) -> None:
        """Begin a heartbeat in each of this worker's partitions."""
        for partition in partitions:
            self._outbox.send("scans", partition, beat(partition, self._clock.now_ms()))


class _Alone:
    """Rows of blocks as messages of their own: a letter for each of 10 000 rows must not hold all of them."""

    def __init__(self) -> None:
        self._offset, self._block = -1, ScanBlock([], [], b"", b"")

    def of(self, value: bytes | None, offset: int, row: int, reason: str) -> bytes | None:
        """The row of a record at an offset; None where the record is none of rows, or is set aside whole."""
        if value is None or value[:4] != SCANS_MAGIC or reason == "undecodable":
            return None
        if offset != self._offset:
            self._offset, self._block = offset, unframe(SCANS_MAGIC, value, SCAN_BLOCKS)
        return msgspec.json.encode(scan_of(self._block, row))


_DETAILS = {
    "too_old": "its time is further behind its arrival than the retention",
    "in_the_future": "its time is further ahead of its arrival than clocks may differ",
    "bad_venue": BAD_VENUE,
}

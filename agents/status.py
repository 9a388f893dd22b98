"""The status agent: what is told of people's health in, what doors may know of them out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from contacts.colours import ColourRulesError
from contacts.controls import BAD_PATIENT, WRONG_PARTITION
from contacts.healthstate import NEVER_MS, HealthState, RulesOf
from contacts.registry import is_name
from schemas.blocks import (
    CONTROL_MAGIC,
    CONTROLS,
    BlockError,
    Control,
    ErasureOrder,
    Heartbeat,
    RulesChange,
    Tick,
    frame,
    unframe,
)
from schemas.bounds import UNDECODABLE
from schemas.health import COLOURS, HealthRecord
from schemas.heartbeats import HEARTBEAT_KEY, Pulse, beat
from schemas.keys import health_key
from schemas.partitions import partition_of, partitions_of
from streams import stagemetrics as metrics
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.meters import observe_many
from streams.outbox import Outbox
from streams.partitions import Owner
from streams.settings import Settings

TICK_KEY = b"tick"
"""The key of ticks: the topic keeps the newest."""

_AGAIN_SECONDS = 2.0
"""After this time a tick that was not read back is sent again."""

_RECORDS = msgspec.json.Decoder(HealthRecord)


class Said(NamedTuple):
    """One record of the log: its place in the batch, and what it says of a person or of all."""

    place: int
    what: HealthRecord | Control | tuple[str, str]  # a person and a record's id: it is forgotten


class Statuses:
    """Keeps the health of each partition's people, and tells doors of whoever changes.

    `ended` says up to where a partition's log ended when reading it began.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        letters: DeadLetters,
        rules_of: RulesOf,
        ended: Callable[[int], int],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters
        self._rules_of = rules_of
        self._ended = ended
        self._ticked: dict[int, float] = {}
        self._tolerance_ms = settings.times.clock_tolerance_seconds * 1000
        self._by_files = settings.clock == "file"
        self._born: dict[int, int] = {}
        self._began_ms = clock.now_ms()
        self._changes = {colour: metrics.STATUS_CHANGES.labels(colour) for colour in COLOURS}
        self.pulse = Pulse("health-records", clock.now_ms)

    def make(self, partition: int) -> HealthState:
        """The state of a partition that nothing is known of: silent up to where its log ends now."""
        return HealthState(self._rules_of, self._settings.zone_info, self._ended(partition))

    def load(self, _: int, parts: Mapping[str, bytes]) -> HealthState:
        """The state of a partition from its snapshot."""
        return HealthState.load(parts, self._rules_of, self._settings.zone_info)

    async def run(self, batches: AsyncIterator[Batch], owner: Owner[HealthState]) -> None:
        """The agent's loop."""
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                state, fresh = held
                moved = self.derive(state, fresh)
                await self._outbox.room()
                await owner.done(fresh, moved=moved)

    def derive(self, state: HealthState, batch: Batch) -> bool:
        """Take one batch through the core and send what it makes. False: it held nothing but heartbeats."""
        said = self.read(batch)
        self.take(state, batch, said)
        self.tell(state, batch)
        return not said or not all(isinstance(each.what, Heartbeat) for each in said)

    def read(self, batch: Batch) -> list[Said]:
        """What the records say; what says nothing, or to another partition, goes to the dead letters."""
        said = self._at_home(batch, self._read(batch))
        self._letters.judge(len(batch), len(batch) - len(said))
        return said

    def take(self, state: HealthState, batch: Batch, said: list[Said]) -> None:
        """Let the state take what the records say, each in turn."""
        numbers = iter(state.numbers([what.person for _, what in said if isinstance(what, HealthRecord)]))
        for index, what in said:
            offset, at_ms = batch.offsets[index], NEVER_MS if self._by_files else batch.timestamps_ms[index]
            if isinstance(what, HealthRecord):
                state.take(offset, what.told_at_ms if self._by_files else at_ms, next(numbers), what)
            elif isinstance(what, tuple):
                state.forgotten(offset, at_ms, *what)
            elif isinstance(what, Tick):
                self._ticked.pop(batch.partition, None)
                state.tick(offset, max(at_ms, what.at_ms))
            elif isinstance(what, ErasureOrder):
                state.erase(offset, at_ms, what.person, what.before_ms)
            elif isinstance(what, RulesChange):
                state.change_rules(offset, at_ms, what.origin, what.rules_id, what.text)
            elif isinstance(what, Heartbeat) and (born_ms := self.pulse.came(batch.partition, what)) is not None:
                self._born[batch.partition] = born_ms

    def tell(self, state: HealthState, batch: Batch) -> None:
        """Send what came of it."""
        made = state.made()
        for person, status in made:
            value = None if status is None else msgspec.json.encode(status)
            self._outbox.send("statuses", batch.partition, value, key=person.encode())
            if status is not None:
                self._changes[status.colour].inc()
        if made and batch.timestamps_ms[0] > self._began_ms:
            self._outbox.when_acknowledged(partial(self._told, batch.timestamps_ms[0], len(made)))
        born_ms = self._born.pop(batch.partition, None)
        if born_ms is not None:
            self._outbox.send("statuses", batch.partition, beat(batch.partition, born_ms), key=HEARTBEAT_KEY)
        if not batch.behind:
            for person, record_id, record in state.repairs():
                value = None if record is None else msgspec.json.encode(record)
                self._outbox.send("health-records", batch.partition, value, key=health_key(person, record_id))

    def _told(self, recorded_ms: int, many: int) -> None:
        """Doors are told of so many; what that came of was recorded then."""
        observe_many(metrics.STATUS_SECONDS, max(self._clock.now_ms() - recorded_ms, 0) / 1000, many)

    def tick(self, owner: Owner[HealthState]) -> None:
        """Move log time where something is due by now, or left over; one tick a partition is under way at a time."""
        now = self._clock.monotonic()
        for partition in owner.partitions:
            state, position = owner.state(partition), owner.position(partition)
            if state is None or not isinstance(position, int) or now < self._ticked.get(partition, now):
                continue
            at_ms = max(state.log_time_ms, 0 if self._by_files else self._clock.now_ms())
            if state.wants_tick(at_ms, position):
                self._ticked[partition] = now + _AGAIN_SECONDS
                self._outbox.send("health-records", partition, frame(CONTROL_MAGIC, Tick(at_ms)), key=TICK_KEY)

    def _read(self, batch: Batch) -> list[Said]:
        """What the records say, each by itself."""
        said: list[Said] = []
        for index, value in enumerate(batch.values):
            key = batch.keys[index] or b""
            try:
                if value is None:
                    person, _, record_id = key.decode().partition("|")
                    said.append(Said(index, (person, record_id)))
                elif value[:4] == CONTROL_MAGIC:
                    control = unframe(CONTROL_MAGIC, value, CONTROLS)
                    if (fault := self._control_fault(control, batch, index)) is None:
                        said.append(Said(index, control))
                    else:
                        self._set_aside(batch, index, *fault)
                else:
                    record = _RECORDS.decode(value)
                    if (fault := self._fault(record, key, batch.timestamps_ms[index])) is None:
                        said.append(Said(index, record))
                    else:
                        self._set_aside(batch, index, *fault)
            except (BlockError, *UNDECODABLE) as error:
                self._set_aside(batch, index, "undecodable", str(error))
        return said

    def _control_fault(self, control: Control, batch: Batch, index: int) -> tuple[str, str] | None:
        """Why a control record is refused: (reason, detail)."""
        if isinstance(control, Tick):
            if self._ahead(control.at_ms, batch.timestamps_ms[index]):
                return "arrival_ahead", "a tick is ahead of its record's time"
        elif isinstance(control, ErasureOrder):
            if not is_name(control.person) or "|" in control.person:
                return "bad_person", BAD_PATIENT
            if partition_of(control.person, self._settings.partitions.cases) != batch.partition:
                return "wrong_partition", WRONG_PARTITION
        elif isinstance(control, RulesChange):
            try:
                self._rules_of({control.rules_id: control.text})
            except ColourRulesError as error:
                return "bad_rules", str(error)
        elif not isinstance(control, Heartbeat):
            return "bad_control", "there is no such control record among health records"
        return None

    def _fault(self, record: HealthRecord, key: bytes, stamp_ms: int) -> tuple[str, str] | None:
        """Why a record is refused."""
        person, record_id = record.person, record.record_id
        if not is_name(person) or "|" in person:
            return "bad_person", BAD_PATIENT
        if not is_name(record_id):
            return "bad_record", "a record's id is 1 to 200 characters, none of them a control"
        if key != health_key(person, record_id):
            return "bad_key", "the record's key is not its person, a bar and its id"
        if self._ahead(record.told_at_ms, stamp_ms):
            return "arrival_ahead", "it was told later than its record came"
        return None

    def _at_home(self, batch: Batch, said: list[Said]) -> list[Said]:
        """Without the records of people who belong to another partition."""
        places = [place for place, each in enumerate(said) if isinstance(each.what, HealthRecord)]
        persons = [each.what.person for each in said if isinstance(each.what, HealthRecord)]
        homes = partitions_of(persons, self._settings.partitions.cases)
        away = {places[row] for row in np.flatnonzero(homes != batch.partition).tolist()}
        for place in away:
            why = WRONG_PARTITION
            self._set_aside(batch, said[place].place, "wrong_partition", why)
        return [each for place, each in enumerate(said) if place not in away] if away else said

    def _ahead(self, at_ms: int, stamp_ms: int) -> bool:
        return not self._by_files and at_ms > stamp_ms + self._tolerance_ms

    def _set_aside(self, batch: Batch, index: int, reason: str, detail: str) -> None:
        self._letters.letter(batch, index, 0, reason, detail, self._clock.now_ms())

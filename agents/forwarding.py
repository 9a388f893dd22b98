"""The forwarder: what laboratories, people and officers say, put where the status and visits agents read it.

A test result becomes a health record; a declared stay becomes one where it was elsewhere, and at a registered venue a
control record among the person's scans; an erasure and colour rules become control records among health records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from agents.refusals import Refused
from contacts.colours import ColourRulesError
from contacts.coloursinforce import ColoursInForce
from contacts.controls import BAD_PATIENT, WRONG_PARTITION
from contacts.facts import Facts
from contacts.forwarded import fault_of, result_record, specimen_id, stay_of, travel_of
from contacts.healthstate import HealthState
from contacts.registry import is_name
from schemas.blocks import CONTROL_MAGIC, ErasureOrder, RulesChange, frame
from schemas.bounds import UNDECODABLE
from schemas.channels import TOPICS as CHANNELS
from schemas.door import RuleSet
from schemas.health import Declaration, HealthRecord
from schemas.keys import health_key
from schemas.messages import Erasure, TestResult
from schemas.partitions import partition_of
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import DurableEachBatch, Owner
from streams.settings import Settings

TOPICS = ("test-results", "declarations", "erasures", "rules")
"""What is forwarded."""

_READERS: dict[str, msgspec.json.Decoder[Any]] = {
    "test-results": msgspec.json.Decoder(TestResult),
    "declarations": msgspec.json.Decoder(Declaration),
    "erasures": msgspec.json.Decoder(Erasure),
    "rules": msgspec.json.Decoder(RuleSet),
}


_OTHERS: Final = ("test-results", "erasures")
"""What other agents read too, and put to the dead letters where it is no message."""

_LOOK_SECONDS: Final = 0.02
_SENT_MOST: Final = 10_000


class Forwarder:
    """Passes on what the topics say. `owner` keeps the states of health records in the same worker."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        outbox: Outbox,
        letters: DeadLetters,
        colours: ColoursInForce,
        owner: Owner[HealthState],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._letters = letters
        self._colours = colours
        self._owner = owner
        self._by_files = settings.clock == "file"
        self._sent: dict[tuple[str, str], HealthRecord] = {}

    async def run(self, batches: AsyncIterator[Batch], keeper: DurableEachBatch) -> None:
        """The agent's loop for one topic."""
        async for batch in batches:
            held = await keeper.take(batch)
            if held is not None:
                if held.topic == "test-results":
                    await self._level(held.partition)
                self.pass_on(held)
                await self._outbox.flush()
                await keeper.done(held)

    def pass_on(self, batch: Batch) -> None:
        """Send on what a batch says. What laboratories send in vain the tracing agent puts to the dead letters."""
        bad = 0
        for index, value in enumerate(batch.values):
            if value is None and CHANNELS[batch.topic].compacted:
                continue  # a tombstone: the broker's business
            try:
                self._pass_on(batch, index, _READERS[batch.topic].decode(value or b""))
            except Refused as refused:
                reason, why = refused.reason, str(refused)
            except UNDECODABLE as error:
                reason, why = "undecodable", str(error)
            else:
                continue
            if batch.topic not in _OTHERS:
                bad += 1
                self._letters.letter(batch, index, 0, reason, why, self._clock.now_ms())
        self._letters.judge(len(batch), bad)

    def _pass_on(self, batch: Batch, index: int, body: TestResult | Declaration | Erasure | RuleSet) -> None:
        origin, stamp_ms = (batch.partition, batch.offsets[index]), batch.timestamps_ms[index]
        if isinstance(body, RuleSet):
            self._rules(body, origin)
            return
        if not is_name(body.person) or "|" in body.person:
            raise Refused("bad_person", BAD_PATIENT)
        if not isinstance(body, Erasure) and self._home(body.person) != batch.partition:
            raise Refused("wrong_partition", WRONG_PARTITION)
        if isinstance(body, TestResult):
            self._result(body, stamp_ms)
        elif isinstance(body, Declaration):
            self._declaration(body, origin, stamp_ms)
        else:
            self._sent = {key: record for key, record in self._sent.items() if key[0] != body.person}
            order = frame(CONTROL_MAGIC, ErasureOrder(origin, body.person, body.before_ms))
            self._outbox.send("health-records", self._home(body.person), order, key=health_key(body.person, ""))

    def _result(self, result: TestResult, stamp_ms: int) -> None:
        """A result, told when it arrived: under the clock `file` when the laboratory gave it, else of the specimen."""
        person, told_ms = result.person, stamp_ms
        if self._by_files:
            told_ms = result.specimen_ms if result.result_ms is None else result.result_ms
        key = person, specimen_id(result.specimen_ms)
        state = self._owner.state(self._home(person))
        held = Facts().take(self._sent[key]) if key in self._sent else None
        row = held.rows[key[1]] if held is not None else state.row(*key) if state is not None else None
        record = self._sent[key] = result_record(result, told_ms, row)
        self._send(record)

    def _declaration(self, told: Declaration, origin: tuple[int, int], stamp_ms: int) -> None:
        tolerance_ms = self._settings.times.clock_tolerance_seconds * 1000
        if not self._by_files and told.told_at_ms > stamp_ms + tolerance_ms:
            raise Refused("arrival_ahead", "it was told later than its record came")
        if (fault := fault_of(told)) is not None:
            raise Refused("bad_declaration", fault)
        self._send(travel_of(told))
        scans = partition_of(told.person, self._settings.partitions.scans)
        self._outbox.send("scans", scans, frame(CONTROL_MAGIC, stay_of(told, origin)))

    def _rules(self, rules: RuleSet, origin: tuple[int, int]) -> None:
        if rules.kind != "colours":
            return
        try:
            self._colours.check(rules.rules_id, rules.text)
        except ColourRulesError as error:
            raise Refused("bad_rules", str(error)) from error
        change = frame(CONTROL_MAGIC, RulesChange(origin, rules.rules_id, rules.text))
        for partition in range(self._settings.partitions.cases):
            self._outbox.send("health-records", partition, change, key=f"rules/{rules.rules_id}".encode())

    def _send(self, record: HealthRecord) -> None:
        key = health_key(record.person, record.record_id)
        self._outbox.send("health-records", self._home(record.person), msgspec.json.encode(record), key=key)

    def _home(self, person: str) -> int:
        return partition_of(person, self._settings.partitions.cases)

    async def _level(self, partition: int) -> None:
        """Wait until the state has what was forwarded before this worker began; forget what it has by now."""
        owner = self._owner
        while partition in owner.partitions and owner.ends.get(partition) != 0 and not owner.level(partition):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        if len(self._sent) > _SENT_MOST:
            self._sent = {key: record for key, record in self._sent.items() if not self._has(record)}

    def _has(self, record: HealthRecord) -> bool:
        state = self._owner.state(self._home(record.person))
        row = state.row(record.person, record.record_id) if state is not None else None
        return row is not None and row.told_ms >= record.told_at_ms

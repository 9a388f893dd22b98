"""The registry agent: puts records of the compacted topics, and recounts, into the order of every scans partition.

Erasures also go to every coordinator of traces.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from agents.refusals import Refused
from contacts.controls import BAD_PERSON, recount_fault
from contacts.doorrules import DoorRulesError, read_door_rules
from contacts.registry import Registry, RegistryError, is_name
from schemas.blocks import CONTROL_MAGIC, ErasureOrder, RecountOrder, RegistryChange, RulesChange, frame
from schemas.bounds import UNDECODABLE
from schemas.channels import TOPICS as CHANNELS
from schemas.door import Recount, RuleSet
from schemas.keys import rules_key, venue_key
from schemas.messages import Erasure, TraceAnswer, Venue
from streams.batches import Batch
from streams.clock import Clock
from streams.deadletters import DeadLetters
from streams.outbox import Outbox
from streams.partitions import DurableEachBatch
from streams.settings import Settings

TOPICS: Final = ("venues", "erasures", "rules", "recounts")
"""What is passed on."""
_REASONS: Final[dict[type[Exception], str]] = {RegistryError: "refused_venue", DoorRulesError: "refused_rules"}

_VENUES = msgspec.json.Decoder(Venue)
_ERASURES = msgspec.json.Decoder(Erasure)
_RULES = msgspec.json.Decoder(RuleSet)
_RECOUNTS = msgspec.json.Decoder(Recount)


def _check_key(batch: Batch, index: int, key: bytes) -> None:
    """Raises Refused where a record of a compacted topic would take the place of another's."""
    if batch.keys[index] != key:
        raise Refused("bad_key", f"the record's key is not {key.decode()!r}")


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
        bad = 0
        for index, value in enumerate(batch.values):
            if value is None and CHANNELS[batch.topic].compacted:
                continue  # a tombstone: the broker's business
            try:
                control = self._control(batch, index, value or b"")
            except (*UNDECODABLE, RegistryError, DoorRulesError, Refused) as error:
                bad += 1
                reason = error.reason if isinstance(error, Refused) else _REASONS.get(type(error), "undecodable")
                self._letters.letter(batch, index, 0, reason, str(error), self._clock.now_ms())
                continue
            if control is not None:
                record = frame(CONTROL_MAGIC, control)
                for partition in range(self._settings.partitions.scans):
                    self._outbox.send("scans", partition, record)
        self._letters.judge(len(batch), bad)

    def _control(
        self, batch: Batch, index: int, value: bytes
    ) -> RegistryChange | ErasureOrder | RulesChange | RecountOrder | None:
        """What a record says, in the order of scans; None: nothing."""
        origin = (batch.partition, batch.offsets[index])
        if batch.topic == "venues":
            venue = _VENUES.decode(value)
            Registry().check(venue)
            _check_key(batch, index, venue_key(venue.venue, venue.valid_from_ms))
            return RegistryChange(origin, venue, batch.timestamps_ms[index])
        if batch.topic == "erasures":
            erasure = _ERASURES.decode(value)
            if not is_name(erasure.person):
                raise Refused("bad_person", BAD_PERSON)
            _check_key(batch, index, erasure.person.encode())
            self._tell_coordinators(erasure)
            return ErasureOrder(origin, erasure.person, erasure.before_ms)
        if batch.topic == "rules":
            rules = _RULES.decode(value)
            _check_key(batch, index, rules_key(rules.kind, rules.rules_id))
            if rules.kind != "door":
                return None  # the status agent's
            read_door_rules(rules.rules_id, rules.text, rules.rules_id)
            return RulesChange(origin, rules.rules_id, rules.text)
        return self._recount(origin, _RECOUNTS.decode(value), batch.timestamps_ms[index])

    def _recount(self, origin: tuple[int, int], recount: Recount, arrived_ms: int) -> RecountOrder:
        if (fault := recount_fault(recount.venue, recount.inside)) is not None:
            raise Refused(*fault)
        if recount.at_ms > arrived_ms + self._settings.times.clock_tolerance_seconds * 1000:
            raise Refused("in_the_future", "its time is further ahead of its arrival than clocks may differ")
        return RecountOrder(origin, recount.venue, recount.inside, recount.at_ms)

    def _tell_coordinators(self, erasure: Erasure) -> None:
        """The person may be in anybody's reports, so every coordinator is told."""
        note = TraceAnswer(query_id="", trace_id="", kind="erasure", partition=-1, at_ms=erasure.before_ms)
        for partition in range(self._settings.partitions.cases):
            self._outbox.send("trace-answers", partition, msgspec.json.encode(note), erasure.person.encode())

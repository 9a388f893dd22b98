"""Every agent with a list for a log and no database: what comes of one record, at once."""

from __future__ import annotations

from typing import Any

import msgspec

from agents.contacts import Contacts
from agents.forwarding import TOPICS as FORWARDED
from agents.forwarding import Forwarder
from agents.occupancy import OccupancyKeeper
from agents.recorder import TOPICS as RECORDED
from agents.recorder import Recorder
from agents.registry import TOPICS as REGISTERED
from agents.registry import Controls
from agents.status import Statuses
from agents.tracing import TOPICS as TRACED
from agents.tracing import Tracing
from agents.visits import Visits
from contacts.coloursinforce import ColoursInForce
from contacts.places import Places
from contacts.profiles import load_profiles
from contacts.risk import load_risk
from schemas.messages import DeadLetter
from schemas.partitions import partition_of
from streams.batches import Batch
from streams.deadletters import TOPIC, DeadLetters
from streams.settings import DeadLetterLimits, Partitions, Settings, Times
from streams.topics import partition_counts
from tests.flood.bad import Bad
from tests.pipeline import FAR_DAYS
from tests.worlds import BEGIN, DAY

SETTINGS = Settings(
    clock="file", partitions=Partitions(scans=4, visits=4, cases=2), times=Times(retention_days=FAR_DAYS)
)


class Log:
    """Where agents send; also their clock, and a database that takes everything."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.sent: list[tuple[str, int, bytes | None, bytes | None]] = []
        self._partitions = partition_counts(SETTINGS)

    def send(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None
    ) -> None:
        """A record at the end; there must be such a partition."""
        assert 0 <= partition < self._partitions[topic], (topic, partition)
        if topic == TOPIC:
            self.letters.append(msgspec.json.decode(value or b"", type=DeadLetter))
        else:
            self.sent.append((topic, partition, value, key))

    def send_many(self, topic: str, messages: Any) -> None:
        """Many of them."""
        for partition, key, value in messages:
            self.send(topic, partition, value, key)

    async def flush(self) -> None:
        """Acknowledged when sent."""

    async def apply(self, *_: Any, **__: Any) -> None:
        """The database takes it."""

    def now_ms(self) -> int:
        """A time within the world's."""
        return BEGIN + DAY

    def monotonic(self) -> float:
        """Time stands still."""
        return 5.0


class _NoOwner:
    """Nobody keeps the health records that are forwarded."""

    def state(self, _: int) -> None:
        """Nothing is known."""


class Agents:
    """All of them, each with the state of every partition."""

    def __init__(self, limits: DeadLetterLimits | None = None) -> None:
        log: Any = Log()
        self.log: Log = log
        letters = DeadLetters(log, limits or DeadLetterLimits(share=1.0, run_length=0))
        counts, colours = SETTINGS.partitions, ColoursInForce()
        self._visits = Visits(SETTINGS, log, log, letters)
        self._derivers = [self._visits.make(number) for number in range(counts.scans)]
        zone, times = SETTINGS.zone_info, (SETTINGS.window_ms, SETTINGS.horizon_ms, SETTINGS.retention_ms)
        self._places = [Places(counts.scans, *times, zone) for _ in range(counts.visits)]
        self._contacts = Contacts(SETTINGS, log, log, letters, lambda partition: self._places[partition])
        self._keeper = OccupancyKeeper.__new__(OccupancyKeeper)  # of it only `apply`: no shelf, no files
        self._keeper.__dict__.update(
            _settings=SETTINGS, _letters=letters, _clock=log, _contacts=self._contacts, _unused=False
        )
        self._controls = Controls(SETTINGS, log, log, letters)
        self._tracing = Tracing(SETTINGS, log, log, letters, load_profiles(), load_risk(), {}, {}, lambda _: None)
        self._statuses = Statuses(SETTINGS, log, log, letters, colours, lambda _: 0)
        self._health = [self._statuses.make(number) for number in range(counts.cases)]
        self._forwarder = Forwarder(SETTINGS, log, log, letters, colours, _NoOwner())  # type: ignore[arg-type]
        self._recorder = Recorder(log, letters, log, counts.cases)

    async def take(self, bad: Bad, offset: int) -> list[DeadLetter]:
        """Hand a record to everybody who reads its topic; the letters that come of it."""
        batch = Batch(
            bad.topic, bad.partition, [offset], [BEGIN + 30 * DAY], [bad.key], [bad.value], highwater=offset + 1
        )
        before = len(self.log.letters)
        if bad.topic == "scans":
            self._visits.derive(self._derivers[bad.partition], batch)
        if bad.topic == "visits":
            self._keeper.apply(self._places[bad.partition], batch)
        if bad.topic in REGISTERED:
            self._controls.pass_on(batch)
        if bad.topic in TRACED:
            await self._tracing.take(batch)
        if bad.topic == "trace-queries":
            await self._contacts.take(batch)
        if bad.topic == "health-records":
            self._statuses.derive(self._health[bad.partition], batch)
        if bad.topic in FORWARDED:
            self._forwarder.pass_on(batch)
        if bad.topic in RECORDED:
            await self._recorder.record(batch)
        return self.log.letters[before:]


def partition_of_scans(person: str) -> int:
    """Where a person's scans go."""
    return partition_of(person, SETTINGS.partitions.scans)

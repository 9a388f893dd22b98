"""One run of the flood: a pipeline and a gateway, bad input to all of it, good input in between, and the checks."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from kafka.errors import KafkaError

from lacak.level import NotLevel
from lacak.processes import WorkerFell
from schemas.blocks import BlockError
from schemas.channels import TOPICS
from schemas.health import Status
from schemas.partitions import partition_of
from streams.reader import read_topic
from streams.settings import DeadLetterLimits
from streams.topics import partition_counts
from tests.doorway import Doorway
from tests.flood.bad import Bad
from tests.flood.bombs import BOMBS
from tests.flood.frames import Frames
from tests.flood.ledger import Ledger
from tests.flood.memory import Held, Watch
from tests.flood.messages import FIELDS, Messages
from tests.flood.requests import Caller, check_in, copies_refused, device_for
from tests.flood.sending import Sender
from tests.pipeline import Broker, Pipeline, pipeline
from tests.test_pipeline import check
from tests.test_status_pipeline import END, Town, publish, recorded, said, tick, until
from tests.worlds import World, world

OFF: Final = DeadLetterLimits(share=1.0, run_length=0)
"""No limit: the flood is to come through to its end."""

SHARES: Final[Mapping[str, float]] = {
    "scans": 30, "scans, blocks": 10, "visits": 12, "windows": 6, "health-records": 8, "health-records, controls": 4,
    "statuses": 4, "occupancy": 3, "clusters": 2, "cases": 2, "traces": 2, "venues": 3, "erasures": 2, "rules": 0.4,
    "recounts": 3, "door-events": 3, "declarations": 2, "test-results": 0.8, "trace-requests": 0.8,
    "contact-decisions": 0.8, "interview-contacts": 0.8, "trace-answers": 0.8, "trace-queries": 0.8,
}  # fmt: skip
"""Of a hundred records, how many go where. What Faust hands out by the record is slow, and gets less."""
REQUESTS: Final = 0.04
"""Of all bad input this share are requests to the gateway."""

_SLICE: Final = 2_000
_SLICES_MOST: Final = 25
_OPEN_MOST: Final = 20_000
_QUIET_SECONDS: Final = 30.0
_GOOD_REQUESTS: Final = 50


class Outcome(NamedTuple):
    """What a run came to. `faults` are sentences; without one it is as it should be.

    `sending_seconds`: from the first bad record to the last letter, without start and checks.
    """

    ledger: Ledger
    caller: Caller
    memory: dict[str, Held]
    seconds: float
    sending_seconds: float
    faults: list[str]


def makers(partitions: Mapping[str, int]) -> dict[str, Callable[[random.Random], Bad]]:
    """What makes bad records, by the names of SHARES."""
    found: dict[str, Callable[[random.Random], Bad]] = {
        topic: Messages(topic, partitions[topic]).make for topic in FIELDS
    }
    found |= {topic: Frames(topic, partitions[topic]).make for topic in ("visits", "windows")}
    found["scans, blocks"] = Frames("scans", partitions["scans"]).make
    found["health-records, controls"] = Frames("health-records", partitions["health-records"]).make
    return found


def bad_records(seed: int, count: int, partitions: Mapping[str, int]) -> Iterator[Bad]:
    """So many bad records, those of a seed."""
    dice, made = random.Random(f"flood {seed}"), makers(partitions)
    names, weights = list(SHARES), list(SHARES.values())
    for _ in range(count):
        yield made[dice.choices(names, weights)[0]](dice)


def flood(
    broker: Broker,
    database: str,
    folder: Path,
    *,
    seed: int,
    count: int,
    bombs: bool,
    say: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Run it. `say` is told how much has been sent, and how much of it is not accounted for yet."""
    began = time.monotonic()
    with pipeline(broker, database, folder, limits=OFF) as running:
        door = Doorway(running.settings, folder / "gateway")
        door.start()
        try:
            run = _Run(running, door, seed, count, bombs, say)
            with Watch(run.pids, lambda: None if run.seconds else run.sent) as watch:
                try:
                    asyncio.run(run.flood())
                    faults = run.checks()
                except (OSError, KafkaError, WorkerFell) as error:
                    faults = [f"it did not come to its end: {error}"]
            run.caller.close()
            faults += [f"{name} was started again: it crashed" for name in watch.crashed()] + watch.grown()
            return Outcome(run.ledger, run.caller, watch.summary(), time.monotonic() - began, run.seconds, faults)
        finally:
            door.stop()


class _Run:
    def __init__(
        self, running: Pipeline, door: Doorway, seed: int, count: int, bombs: bool, say: Callable[[int, int], None]
    ) -> None:
        self.ledger = Ledger()
        self.sent, self.seconds = 0, 0.0
        self._running, self._door, self._seed, self._bombs, self._say = running, door, seed, bombs, say
        self._requests = int(count * REQUESTS)
        self._records = count - self._requests
        self._world: World = world(seed, people=60, venues=14, days=2, scans=1500)
        self._town = Town(seed, 120)
        self._key = device_for(door)
        self.caller = Caller(door.url, self._key, seed)

    def pids(self) -> dict[str, int]:
        """Whose memory is watched."""
        found = {worker.role: worker.pid for worker in self._running.lacak.workers}
        return {**found, "gateway": self._door.pid}

    async def flood(self) -> None:
        """Good input in slices, and bad input between them."""
        running, town = self._running, self._world
        await asyncio.to_thread(running.register, town.registry())
        await asyncio.to_thread(running.erase, town.erasure_messages())
        sender = Sender(running.settings, self.ledger)
        await sender.start()
        began = time.monotonic()
        try:
            scans, told = town.shuffled(self._seed), self._town.messages()
            slices = min(max(self._records // _SLICE, 1), _SLICES_MOST)
            records = bad_records(self._seed, self._records, partition_counts(running.settings))
            bombs = self._plan_bombs(slices)
            for number in range(slices):
                left = _part(self._records, number, slices)
                while left:
                    some = [next(records) for _ in range(min(left, _SLICE))]
                    left -= len(some)
                    await sender.send(some)
                    self.sent += len(some)
                for topic, bomb in bombs.get(number, ()):
                    await sender.send_bomb(topic, 0, bomb)
                requests = _part(self._requests, number, slices)
                await asyncio.to_thread(self.caller.send, requests)
                self.sent += requests
                good = scans[_at(len(scans), number, slices) : _at(len(scans), number + 1, slices)]
                if good:
                    await asyncio.to_thread(running.publish, good, blocks=number % 2 == 0)
                health = told[_at(len(told), number, slices) : _at(len(told), number + 1, slices)]
                if health:
                    await asyncio.to_thread(publish, running, health)
                self._say(self.sent, len(self.ledger.open))
                await self._settle(sender, _OPEN_MOST)
            await self._settle(sender, 0)
            self.seconds = time.monotonic() - began
            for place, bad in list(self.ledger.open.items())[:20]:
                print("not accounted for:", place, bad.kind, file=sys.stderr, flush=True)
        finally:
            await sender.stop()

    def _plan_bombs(self, slices: int) -> dict[int, list[tuple[str, Any]]]:
        """Each topic gets bombs, and each kind of bomb goes somewhere, spread over the run."""
        if not self._bombs:
            return {}
        dice, found = random.Random(f"bombs {self._seed}"), {}
        topics = [topic for topic in TOPICS if topic != "dead-letters"]
        for number, topic in enumerate(topics):
            found.setdefault(dice.randrange(slices), []).append((topic, BOMBS[number % len(BOMBS)]))
        return found

    async def _settle(self, sender: Sender, most: int) -> None:
        """Wait until no more than so many records are not accounted for. Gives up when nothing comes for a while."""
        before, since = len(self.ledger.open), time.monotonic()
        while len(self.ledger.open) > most:
            self._running.lacak.watch()
            if sender.broken is not None:
                raise sender.broken
            if len(self.ledger.open) != before:
                before, since = len(self.ledger.open), time.monotonic()
            if time.monotonic() - since > _QUIET_SECONDS:
                return
            await asyncio.sleep(0.1)

    def checks(self) -> list[str]:
        """What is not as it should be."""
        faults = [f"not accounted for: {place} {bad.kind}" for place, bad in list(self.ledger.open.items())[:20]]
        faults += self.ledger.wrong[:20] + self.caller.wrong[:20]
        strangers = self.ledger.strangers()[:20]
        faults += [f"a good record was refused: {each.letter_id} {each.reason}: {each.detail}" for each in strangers]
        for what in (self._check_pipeline, self._check_statuses, self._check_gateway):
            try:
                what()
            except (AssertionError, NotLevel, OSError, KafkaError, BlockError) as error:
                faults.append(f"{what.__name__}: {type(error).__name__} {error}"[:2000])
        return faults

    def _check_pipeline(self) -> None:
        """Visits, windows and traces of the good ones are the oracle's."""
        self._running.end(180.0)
        check(self._running, self._world)

    def _check_statuses(self) -> None:
        """So are colours, as doors and officers are told them."""
        tick(self._running, END)
        wanted = self._town.expected()
        others = {scan.person for scan in self._world.scans}  # whom the traces of the check have made contacts

        def differ() -> str:
            found = said(statuses(self._running))
            wrong = [name for name in {*wanted, *found} - others if wanted.get(name) != found.get(name)]
            return f"{len(wrong)} differ, such as {wanted.get(wrong[0])} and {found.get(wrong[0])}" if wrong else ""

        until(lambda: not differ(), differ, 60.0)
        plain = {name: (each.colour, each.reason, each.doses) for name, each in wanted.items()}
        held = {name: row for name, row in recorded(self._running).items() if name not in others}
        assert held == plain, "PostgreSQL has other statuses"

    def _check_gateway(self) -> None:
        """The gateway still answers good requests, its copies are level, and it has counted what they left out."""
        for number in range(_GOOD_REQUESTS):
            check_in(self._door.url, self._key, f"p1:{number:032x}", self._world.venues[0].venue)
        refused = copies_refused(self._door.url)
        for copy in ("occupancy", "venues", "rules", "statuses"):
            assert refused[copy] > 0, f"the copy of {copy} counted nothing that it left out"


def statuses(running: Pipeline) -> dict[str, Status]:
    """What a reader of the topic holds that leaves out what is no status."""
    records = ((each.partition, each.key, each.value) for each in read_topic(running.settings, "statuses"))
    return standing_statuses(records, running.settings.partitions.cases)


def standing_statuses(records: Iterable[tuple[int, bytes | None, bytes | None]], partitions: int) -> dict[str, Status]:
    """The newest status of each person in `(partition, key, value)`: of nobody without a name, and none that stands
    under another's key or in another's partition."""
    held: dict[str, Status] = {}
    for partition, raw, value in records:
        key = (raw or b"").decode("utf-8", "replace")
        if value is None:
            held.pop(key, None)
            continue
        try:
            status = msgspec.json.decode(value, type=Status)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        named = 1 <= len(key) <= 200 and all(" " <= letter != "\x7f" for letter in key)  # no is_name: it is judged
        good = named and status.person == key and partition_of(key, partitions) == partition
        if good and "\0" not in status.reason and (key not in held or status.position > held[key].position):
            held[key] = status
    return held


def _at(length: int, number: int, of: int) -> int:
    return length * number // of


def _part(total: int, number: int, of: int) -> int:
    return _at(total, number + 1, of) - _at(total, number, of)

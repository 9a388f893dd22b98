"""The load: scans straight into Kafka and through a real gateway, results and erasures, and probes; who was answered.

Each way is a thread with clients of its own. Only what was acknowledged counts as said; what was not is said again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Final, NamedTuple

import httpx
import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from gateway.client import Gateway, GatewayError
from lacak.level import NotLevel, wait_registry
from lacak.venues import publish_venues
from schemas.messages import Scan, Venue
from schemas.partitions import partition_of
from streams.reader import MissingTopic
from streams.settings import Settings
from tests.chaos.town import PARTITIONS, Message, Town

_CHUNK: Final = 150
_RETRY_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 0.5
_DOOR_SECONDS: Final = 0.15
_GIVE_UP_SECONDS: Final = 240.0
_LAST_SECONDS: Final = 60.0


class Probe(NamedTuple):
    """A scan that was acknowledged at a moment (monotonic seconds): the `number`-th of its venue."""

    venue: str
    number: int
    at: float


class LoadFailed(RuntimeError):
    """Something could not be published at all."""


class Load:
    """Everything that is published during one run. `said` are the scans straight into Kafka that were acknowledged;
    `answered` the ids of those that the gateway said it has."""

    def __init__(self, settings: Settings, town: Town, seed: int, seconds: float, port: int, key: str) -> None:
        self._settings, self._town, self._seconds = settings, town, seconds
        self._chance = random.Random(f"load {seed}")
        self._url, self.key = f"http://127.0.0.1:{port}/v1/scans", key
        self.said: list[Scan] = []
        self.rare: list[Message] = []
        self.answered: set[str] = set()
        self.probes: list[Probe] = []
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(each,), name=each.__name__, daemon=True)
            for each in (self._publish, self._tell, self._doors, self._probe)
        ]

    def register(self) -> None:
        """Put the venues in force, before anything else."""
        self._in_force(self._town.registry)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    @property
    def going(self) -> bool:
        """Whether what was to be published is not all out."""
        return any(thread.is_alive() for thread in self._threads[:2])

    def end(self) -> None:
        """End the doors and the probes. Raises LoadFailed."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60.0)
        if self.failures:
            raise LoadFailed("; ".join(self.failures))

    def stop(self) -> None:
        """End, whatever became of it."""
        self._ended.set()

    def last_probes(self) -> list[Probe]:
        """One more probe of each venue out of each scans partition: behind everything else."""
        wanted = [(venue, partition) for venue in self._town.probe_venues for partition in range(PARTITIONS)]
        deadline = time.monotonic() + _LAST_SECONDS
        while wanted and time.monotonic() < deadline:
            with suppress(KafkaError), closing(self._made()) as producer:
                while wanted:
                    self._one_probe(producer, *wanted[0])
                    del wanted[0]
        if wanted:
            raise LoadFailed("the last probes could not be published")
        return self.probes

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:
            self.failures.append(f"{run.__name__.strip('_')}: {type(error).__name__}: {error}")

    def _publish(self) -> None:
        """The town's scans, in chunks, as blocks and as plain messages; the registry changes in between."""
        chunks = [
            (part, scans[start : start + _CHUNK])
            for part, scans in enumerate((self._town.first, self._town.second))
            for start in range(0, len(scans), _CHUNK)
        ]
        pause = self._seconds * 0.8 / len(chunks)
        changed = False
        for number, (part, chunk) in enumerate(chunks):
            if part == 1 and not changed:
                self._in_force(self._town.changes)
                changed = True
            self._until_said(chunk, blocks=number % 3 != 1)
            time.sleep(pause)

    def _until_said(self, chunk: Sequence[Scan], *, blocks: bool) -> None:
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            with suppress(GatewayError, KafkaError):
                gateway = Gateway(
                    self._settings.brokers, topic=self._settings.topic("scans"), blocks=blocks, timeout_seconds=10
                )
                with gateway:
                    gateway.publish(chunk)
                    said = gateway.flush()
                if not said.failed and said.acknowledged == len(chunk):
                    self.said += chunk
                    return
            time.sleep(_RETRY_SECONDS)
        raise LoadFailed("scans could not be published")

    def _in_force(self, venues: Sequence[Venue]) -> None:
        """Publish records of venues, and wait until each scans partition has them in its order."""
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        began_ms = time.time_ns() // 1_000_000 - 10_000
        while time.monotonic() < deadline:
            try:
                publish_venues(self._settings, venues)
                wait_registry(self._settings, began_ms, seconds=60.0)
                return
            except (KafkaError, NotLevel, MissingTopic):
                time.sleep(_RETRY_SECONDS)
        raise LoadFailed("the registry could not be put in force")

    def _tell(self) -> None:
        """What is rare, spread over the load."""
        pause = self._seconds * 0.85 / max(len(self._town.rare), 1)
        for message in self._town.rare:
            deadline = time.monotonic() + _GIVE_UP_SECONDS
            while not self._told(message):
                if time.monotonic() > deadline:
                    raise LoadFailed(f"a record of {message.topic} could not be published")
                time.sleep(_RETRY_SECONDS)
            self.rare.append(message)
            time.sleep(pause)

    def _told(self, message: Message) -> bool:
        try:
            producer = self._kept()
            topic = self._settings.topic(message.topic)
            producer.send(topic, message.value, message.key, partition=message.partition).get(10)
        except (KafkaError, OSError):
            self._drop()
            return False
        return True

    def _kept(self) -> KafkaProducer:
        if not hasattr(self, "_teller"):
            self._teller = self._made()
        return self._teller

    def _drop(self) -> None:
        if hasattr(self, "_teller"):
            with suppress(Exception):
                self._teller.close(timeout=1)
            del self._teller

    def _made(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._settings.brokers.split(","), acks="all", enable_idempotence=False,
            request_timeout_ms=5_000, delivery_timeout_ms=8_000, max_block_ms=5_000,
        )  # fmt: skip

    def _doors(self) -> None:
        """People at doors: one by one, decided, and lists of what has happened."""
        number = 0
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(timeout=5.0, headers=headers) as client:
            while not self._ended.wait(_DOOR_SECONDS):
                number += 1
                self._one_door(client, number)

    def _one_door(self, client: httpx.Client, number: int) -> None:
        chance = self._chance
        now_ms = time.time_ns() // 1_000_000
        ids: list[str] = []
        body: object
        if number % 3:
            ids = [f"d{number}"]
            body = {
                "person": f"h{chance.randrange(300)}", "venue": chance.choice(self._town.door_venues),
                "kind": chance.choice(("in", "in", "out")), "scan_id": ids[0],
            }  # fmt: skip
        else:
            ids = [f"b{number}.{row}" for row in range(chance.randint(1, 12))]
            body = [
                {
                    "person": f"h{chance.randrange(300)}", "venue": chance.choice(self._town.door_venues),
                    "kind": chance.choice(("in", "in", "out")), "at_ms": now_ms - chance.randrange(3_600_000),
                    "scan_id": each,
                }
                for each in ids
            ]  # fmt: skip
        for _ in range(4):
            try:
                head = {"Idempotency-Key": f"request-{number}", "X-Lacak-Time": str(time.time_ns() // 1_000_000)}
                answer = client.post(self._url, json=body, headers=head)
            except httpx.HTTPError:
                if self._ended.wait(_RETRY_SECONDS):
                    return
                continue
            if answer.status_code == 200:
                said = answer.json()
                self.answered.update(said.get("scan_ids", []) if isinstance(body, dict) else ids[: said["accepted"]])
            return

    def _probe(self) -> None:
        """A scan twice a second to a venue of each partition in turn."""
        producer: KafkaProducer | None = None
        turn = 0
        while not self._ended.wait(_PROBE_SECONDS / len(self._town.probe_venues)):
            try:
                producer = producer or self._made()
                venue = self._town.probe_venues[turn % len(self._town.probe_venues)]
                self._one_probe(producer, venue, None)
                turn += 1
            except (KafkaError, OSError):
                if producer is not None:
                    with suppress(Exception):
                        producer.close(timeout=1)
                producer = None
        if producer is not None:
            with suppress(Exception):
                producer.close(timeout=1)

    def _one_probe(self, producer: KafkaProducer, venue: str, partition: int | None) -> None:
        """One person comes in and stays; an attempt that failed may be in the log too: `number` is what must show."""
        number = sum(probe.venue == venue for probe in self.probes) + 1
        names = (f"{venue}.{number}.{extra}" for extra in range(10_000))
        person = next(name for name in names if partition is None or partition_of(name, PARTITIONS) == partition)
        scan = Scan(person=person, venue=venue, kind="in", at_ms=time.time_ns() // 1_000_000)
        home = partition_of(person, PARTITIONS)
        producer.send(self._settings.topic("scans"), msgspec.json.encode(scan), person.encode(), partition=home).get(10)
        self.probes.append(Probe(venue, number, time.monotonic()))

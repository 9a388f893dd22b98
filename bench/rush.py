"""A small city's rush hour through a running deployment, as it happens: what dashboards and alerts are looked at with.

The city's morning is told at once, as doors tell it that were offline; then its people go on in the city's order, each
scan at the moment it is sent. A part of them are asked for at the door, one by one; people fall ill, officers decide
about contacts, some of what comes is late or no message at all. Everything goes in by the gateway, as from real doors,
so that a broker which is away fills the gateway's spool.
"""

from __future__ import annotations

import http.client
import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from kafka import KafkaProducer

from gateway.wire import PastScan
from lacak.city import City
from lacak.clock import SystemClock
from lacak.level import wait_registry
from lacak.officer_commands import send
from lacak.venues import publish_venues
from officer.store import Store
from schemas.health import HealthRecord, PersonFact, VaccinationFact
from schemas.keys import health_key
from schemas.messages import ContactDecision, Erasure, Scan, TestResult, Venue
from schemas.partitions import partition_of
from streams.settings import DAY_MS, Settings

_TICK_SECONDS: Final = 0.1
_CASE_SECONDS: Final = 6.0
_ODD_SECONDS: Final = 2.0
_BULK_SCANS: Final = 2_000
_NOON: Final = 12
_LUNCH: Final = Venue(venue="rush-warung", name="Warung Rame", category="restaurant", region="ID-LA-01", capacity=40)
_SMALL: Final = Venue(venue="rush-kiosk", name="Kios Kecil", category="shop", region="ID-LA-01", capacity=4)
_JSON: Final = {"Content-Type": "application/json"}
_OFFICER: Final = "rush"
_PURPOSE: Final = "a look at the dashboards"


class Rush:
    """The traffic, from threads of its own between `start` and `stop`. `sent` counts scans that the gateway took.

    `port` is the gateway's on 127.0.0.1, `key` that of a device with the scopes `scan` and `staff`. `trouble` holds
    what went wrong last: while a server is away on purpose that is what is expected. Without `odd` all that is sent is
    as it should be.
    """

    def __init__(
        self, settings: Settings, port: int, key: str, *, people: int = 3000, rate: float = 40.0,
        seed: int = 1, odd: bool = True,
    ) -> None:  # fmt: skip
        self.settings, self.rate, self.sent, self.trouble = settings, rate, 0, ""
        self._works = (self._move, self._ask, self._fall_ill, *([self._send_odd] if odd else []))
        self._port, self._key = port, key
        self._clock, self._dice = SystemClock(), random.Random(seed)
        self._city = City(people=people, days=1, seed=seed, zone=settings.zone, start=self._day())
        self._morning, self._rest = self._halves()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._cases: list[str] = []

    def _day(self) -> Any:
        """A day whose noon has just been, so that the city's morning lies behind us."""
        zone = ZoneInfo(self.settings.zone)
        return (datetime.fromtimestamp(self._clock.now_ms() / 1000, zone) - timedelta(days=1)).date()

    def _halves(self) -> tuple[list[Scan], list[Scan]]:
        """The city's day in two, moved so that its noon is now."""
        midnight = datetime.combine(self._city.start, datetime.min.time(), ZoneInfo(self.settings.zone))
        now_ms = self._clock.now_ms()
        shift = now_ms - int((midnight + timedelta(hours=_NOON)).timestamp() * 1000)
        moved = [
            msgspec.structs.replace(scan, at_ms=scan.at_ms + shift, arrived_at_ms=None) for scan in self._city.scans()
        ]
        return [scan for scan in moved if scan.at_ms <= now_ms], [scan for scan in moved if scan.at_ms > now_ms]

    @property
    def lunch(self) -> list[str]:
        """Three who ate at one table for an hour, and who will all test positive."""
        return self._city.persons[:3]

    def prepare(self) -> None:
        """Register the places, tell of people's vaccinations, and of the morning."""
        since_ms = self._clock.now_ms() - 10_000
        publish_venues(self.settings, [*self._city.venues(), _LUNCH, _SMALL])
        wait_registry(self.settings, since_ms, seconds=60.0)
        self._tell_health()
        hour = 3_600_000
        table = [self._past(person, _LUNCH.venue, "in", -2 * hour) for person in self.lunch]
        table += [self._past(person, _LUNCH.venue, "out", -hour) for person in self.lunch]
        morning = [PastScan(person=s.person, venue=s.venue, kind=s.kind, at_ms=s.at_ms) for s in self._morning]
        morning = [scan for scan in morning if scan.person not in self.lunch]
        for begin in range(0, len(morning), _BULK_SCANS):
            self._post(morning[begin : begin + _BULK_SCANS])
        self._post(table)
        self._call("/v1/recounts", {"venue": _LUNCH.venue, "inside": 12})

    def start(self) -> None:
        """Begin; returns at once."""
        for work in self._works:
            thread = threading.Thread(target=self._keep, args=(work,), daemon=True, name=work.__name__)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End, and wait for the threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30.0)

    def __enter__(self) -> Rush:
        self.prepare()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _keep(self, work: Any) -> None:
        """Go through the steps of some work, whatever fails on the way."""
        steps: Iterator[float] = work()
        while not self._ended.is_set():
            try:
                pause = next(steps, None)
                if pause is None:
                    return
            except Exception as error:  # a server is away: go on as doors do
                self.trouble, steps, pause = f"{work.__name__}: {error}", work(), 1.0
            self._ended.wait(pause)

    def _move(self) -> Iterator[float]:
        """People check in and out, in the city's order, at `rate` scans a second."""
        people = cycle(self._rest)
        due = time.monotonic()
        while True:
            count = max(0, round((time.monotonic() - due) * self.rate))
            if count:
                due += count / self.rate
                now_ms = self._clock.now_ms()
                chosen = [next(people) for _ in range(min(count, _BULK_SCANS))]
                self._post([PastScan(person=s.person, venue=s.venue, kind=s.kind, at_ms=now_ms) for s in chosen])
                self.sent += len(chosen)
            yield _TICK_SECONDS

    def _ask(self) -> Iterator[float]:
        """Some ask at the door one by one: the cases among them, whom it refuses, and more than the kiosk holds; now
        and then a guard counts."""
        while True:
            person = self._dice.choice([*self._cases, self._dice.choice(self._city.persons)])
            venue = _SMALL.venue if self._dice.random() < 0.3 else self._dice.choice(self._city.venue_ids)
            self._call("/v1/scans", {"person": person, "venue": venue})
            if self._dice.random() < 0.02:
                self._call("/v1/recounts", {"venue": _LUNCH.venue, "inside": self._dice.randrange(5, 30)})
            yield 0.2

    def _fall_ill(self) -> Iterator[float]:
        """The three of one table test positive, then others one by one; an officer confirms a contact of each."""
        yield _CASE_SECONDS
        waiting = [*self.lunch, *self._city.persons[3:200]]
        for person in [each for each in waiting if each not in self._cases]:
            began_ms = self._clock.now_ms()
            result = TestResult(person=person, outcome="positive", specimen_ms=began_ms, onset_ms=began_ms - DAY_MS)
            send(self.settings, "test-results", person, result)
            self._cases.append(person)
            with Store.opened(self.settings.database) as store:
                made = store.await_traces(person, began_ms, 2, 10.0)
            for trace in made[:1]:
                for contact in trace.contacts[:1]:
                    decision = ContactDecision(
                        trace_id=trace.trace_id, person=person, contact=contact.person, grade="confirmed",
                        officer=_OFFICER, purpose=_PURPOSE, decided_at_ms=self._clock.now_ms(),
                    )  # fmt: skip
                    send(self.settings, "contact-decisions", person, decision)
            yield _CASE_SECONDS

    def _send_odd(self) -> Iterator[float]:
        """What is no message, scans from the future and from last week, a key that is not there, one who is erased."""
        self._erase(self._city.persons[-1])
        for number in range(1_000_000):
            now_ms = self._clock.now_ms()
            person, venue = self._dice.choice(self._city.persons), self._dice.choice(self._city.venue_ids)
            match number % 4:
                case 0:
                    self.send_bad(1)
                case 1:
                    self._post([PastScan(person=person, venue=venue, kind="in", at_ms=now_ms - 5 * DAY_MS)])
                case 2:
                    self._send_scan(Scan(person=person, venue=venue, kind="in", at_ms=now_ms + 3_600_000))
                case 3:
                    self._call("/v1/scans", {"person": person, "venue": venue}, key="lk_none_none")
            yield _ODD_SECONDS

    def send_bad(self, count: int) -> None:
        """Put records that are no messages into `scans`."""
        partitions = self.settings.partitions.scans
        self._produce("scans", [(self._dice.randrange(partitions), b"", b"\x00no scan") for _ in range(count)])

    def _send_scan(self, scan: Scan) -> None:
        partition = partition_of(scan.person, self.settings.partitions.scans)
        self._produce("scans", [(partition, scan.person.encode(), msgspec.json.encode(scan))])

    def _erase(self, person: str) -> None:
        erasure = Erasure(person=person, before_ms=self._clock.now_ms(), officer=_OFFICER, purpose=_PURPOSE)
        self._produce("erasures", [(0, person.encode(), msgspec.json.encode(erasure))])

    def _tell_health(self) -> None:
        """Doses by lot, so that people have colours."""
        now_ms = self._clock.now_ms()
        records = []
        for person in self._city.persons:
            facts: dict[str, Any] = {"age": PersonFact(age_band="18-59")}
            for dose in range(self._dice.choice((0, 1, 2, 2, 2, 3))):
                facts[f"dose {dose}"] = VaccinationFact(product="CoronaVac", at_ms=now_ms - (200 - 40 * dose) * DAY_MS)
            records += [
                HealthRecord(person=person, record_id=name, fact=fact, told_at_ms=now_ms)
                for name, fact in facts.items()
            ]
        partitions = self.settings.partitions.cases
        self._produce(
            "health-records",
            [
                (partition_of(person, partitions), health_key(person, each.record_id), msgspec.json.encode(each))
                for each in records
                for person in (each.person,)
            ],
        )

    def _past(self, person: str, venue: str, kind: Any, later_ms: int) -> PastScan:
        return PastScan(person=person, venue=venue, kind=kind, at_ms=self._clock.now_ms() + later_ms)

    def _post(self, scans: Sequence[PastScan]) -> None:
        self._call("/v1/scans", scans)

    def _call(self, path: str, body: Any, key: str | None = None) -> bytes:
        """Ask the gateway something, as a device does; answers that refuse are answers too."""
        headers = {
            "Authorization": f"Bearer {key or self._key}",
            "X-Lacak-Time": str(self._clock.now_ms()),
            "Idempotency-Key": secrets.token_hex(16),
            **_JSON,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15.0)
        try:
            connection.request("POST", path, msgspec.json.encode(body), headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def _produce(self, topic: str, records: Sequence[tuple[int, bytes, bytes]]) -> None:
        producer = KafkaProducer(bootstrap_servers=self.settings.brokers, acks="all", linger_ms=5)
        try:
            sent = [
                producer.send(self.settings.topic(topic), key=key, value=value, partition=partition)
                for partition, key, value in records
            ]
            for each in sent:
                each.get(timeout=15)
        finally:
            producer.close(timeout=5)

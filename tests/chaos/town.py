"""What is published during a schedule: a nasty town of two days, its sick, its erased, and what is no message."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from schemas.blocks import SCANS_MAGIC
from schemas.health import HealthRecord, PersonFact, VaccinationFact
from schemas.keys import health_key
from schemas.messages import Erasure, Scan, TestResult, Venue
from schemas.partitions import partition_of
from tests import oracle
from tests.chaos.schedule import Schedule
from tests.worlds import BEGIN, DAY, HOUR, MINUTE, World, world

RETENTION_MS: Final = 28 * DAY
HORIZON_MS: Final = 3 * DAY
TOLERANCE_MS: Final = 300_000
PARTITIONS: Final = 4
CASE_PARTITIONS: Final = 2

_VENUES: Final = 28
_BEFORE_MS: Final = 3 * HOUR
_LATE_BY_MS: Final = 12 * DAY
_GROUPS, _GROUP_MOST = 3, 5


class Message(NamedTuple):
    """One record: topic without prefix, partition, key, value."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Town(NamedTuple):
    """Everything of one run. `first` is published before `changes` are in force in the registry, `second` after."""

    registry: list[Venue]
    changes: list[Venue]
    records: list[oracle.VenueRecord]
    first: list[Scan]
    second: list[Scan]
    rare: list[Message]
    bad: dict[bytes, str]
    cases: dict[str, TestResult]
    withdrawn: list[str]
    door_venues: list[str]
    probe_venues: list[str]


def town(schedule: Schedule, now_ms: int) -> Town:
    """The town of a schedule, as of now."""
    chance = random.Random(f"town {schedule.seed}")
    base = (now_ms - _BEFORE_MS - 2 * DAY) // (10 * MINUTE) * (10 * MINUTE)
    made = world(schedule.seed, people=schedule.people, venues=_VENUES, days=2, scans=schedule.scans, erasures=5)
    scans = [_moved(scan, base, chance) for scan in made.scans]
    records = [_record_moved(record, base) for record in made.venues]
    cut = base + DAY + chance.randrange(DAY // 2)
    changed = [
        record._replace(
            assumed_stay_minutes=chance.choice((20, 75)), longest_stay_minutes=None, valid_from=cut,
            capacity=chance.choice((3, 40)),
        )
        for record in chance.sample([each for each in records if each.valid_from == 0], _VENUES // 5)
        if all(each.valid_from < cut for each in records if each.venue == record.venue)
    ]  # fmt: skip
    doors = [oracle.VenueRecord(f"door-{number}", "mall", 10_000, 90.0, 600.0) for number in range(3)]
    probes = [oracle.VenueRecord(name, "", None, 600.0, 900.0) for name in _probe_venues()]
    everything = [*records, *doors, *probes, *changed]
    early = [scan for scan in scans if scan.at < cut]
    late = [scan for scan in scans if scan.at >= cut]
    cases, withdrawn, told = _health(scans, everything, base, chance)
    erasures = [
        Erasure(person=each.person, before_ms=each.before - BEGIN + base, officer="chaos", purpose="a test")
        for each in made.erasures
    ]
    told += [Message("erasures", 0, each.person.encode(), msgspec.json.encode(each)) for each in erasures]
    bad = _bad(now_ms, chance)
    told += [message for message, _ in bad]
    told = _mixed(told, chance)
    return Town(
        registry=World([*records, *doors, *probes], [], []).registry(),
        changes=World(changed, [], []).registry(),
        records=everything,
        first=_messages(early, chance),
        second=_messages(late, chance),
        rare=told,
        bad={message.value: reason for message, reason in bad},
        cases=cases,
        withdrawn=withdrawn,
        door_venues=[each.venue for each in doors],
        probe_venues=[each.venue for each in probes],
    )


def _moved(scan: oracle.Scan, base: int, chance: random.Random) -> oracle.Scan:
    """A scan of the world, moved to the last days: so that all that is in time is within the horizon of log time.

    What was to arrive after its horizon lies further back, and its arrival in the past.
    """
    at, delay = scan.at - BEGIN + base, scan.arrived - scan.at
    if delay > HORIZON_MS:
        return scan._replace(at=at - _LATE_BY_MS, arrived=at - _LATE_BY_MS + delay)
    return scan._replace(at=at, arrived=min(at + min(delay, DAY), max(base + 2 * DAY, at)))


def _record_moved(record: oracle.VenueRecord, base: int) -> oracle.VenueRecord:
    return record._replace(valid_from=record.valid_from - BEGIN + base) if record.valid_from else record


def _messages(scans: Sequence[oracle.Scan], chance: random.Random) -> list[Scan]:
    """The scans in disorder, a twentieth twice; half of them say when they arrived, the others arrive as they come."""
    found = []
    for scan in [*scans, *chance.sample(list(scans), len(scans) // 20)]:
        told = scan.arrived if scan.arrived - scan.at > HORIZON_MS or chance.random() < 0.5 else None
        found.append(Scan(person=scan.person, venue=scan.venue, kind=scan.kind, at_ms=scan.at, arrived_at_ms=told))  # type: ignore[arg-type]
    chance.shuffle(found)
    return found


def _probe_venues() -> list[str]:
    """A venue in each partition of `visits`."""
    names = (f"probe-{number}" for number in range(10_000))
    homes: dict[int, str] = {}
    for name in names:
        homes.setdefault(partition_of(name, PARTITIONS), name)
        if len(homes) == PARTITIONS:
            break
    return [homes[partition] for partition in range(PARTITIONS)]


def _health(
    scans: Iterable[oracle.Scan], venues: Sequence[oracle.VenueRecord], base: int, chance: random.Random
) -> tuple[dict[str, TestResult], list[str], list[Message]]:
    """Groups of people who were together fall ill, of whom one was tested wrongly and another says more later."""
    here = [scan for scan in scans if scan.kind == "in" and scan.at >= base]
    cases: dict[str, TestResult] = {}
    told: list[tuple[str, str, object]] = []

    def near(seed: oracle.Scan) -> list[str]:
        own = (each for each in here if each.venue == seed.venue and abs(each.at - seed.at) <= 40 * MINUTE)
        return list(dict.fromkeys(each.person for each in own))

    for _ in range(_GROUPS):
        for person in max((near(each) for each in chance.sample(here, 40)), key=len)[:_GROUP_MOST]:
            specimen = base + DAY + chance.randrange(20) * HOUR
            cases[person] = TestResult(
                person=person, outcome="positive", specimen_ms=specimen, result_ms=specimen + 2 * HOUR
            )
    for result in cases.values():
        told.append(("test-results", result.person, result))
        if chance.random() < 0.3:
            told.append(("test-results", result.person, result))
    people = list(cases)
    for person in people[1:3]:
        cases[person] = msgspec.structs.replace(cases[person], onset_ms=base + HOUR * chance.randrange(24))
        told.append(("test-results", person, cases[person]))
    withdrawn = people[:1]
    for person in withdrawn:
        told.append(("test-results", person, msgspec.structs.replace(cases.pop(person), outcome="withdrawn")))
    messages = [
        Message(topic, partition_of(person, CASE_PARTITIONS), person.encode(), msgspec.json.encode(message))
        for topic, person, message in told
    ]
    for number in range(60):
        person = chance.choice(here).person
        fact = (
            VaccinationFact(product="CoronaVac", at_ms=base - chance.randrange(200) * DAY)
            if chance.random() < 0.7
            else PersonFact(age_band=chance.choice(("6-11", "18-59", "60+")))
        )
        record = HealthRecord(person=person, record_id=f"r{number}", fact=fact, told_at_ms=base + number)
        home = partition_of(person, CASE_PARTITIONS)
        key = health_key(person, record.record_id)
        messages.append(Message("health-records", home, key, msgspec.json.encode(record)))
    return cases, withdrawn, messages


def _bad(now_ms: int, chance: random.Random) -> list[tuple[Message, str]]:
    """What cannot be accepted, each with the reason that its letter is to give; no two alike."""
    home = partition_of("somebody", PARTITIONS)

    def scan(**changes: object) -> bytes:
        good = {"person": "somebody", "venue": "v0", "kind": "in", "at_ms": now_ms - HOUR}
        return msgspec.json.encode({key: value for key, value in {**good, **changes}.items() if value is not None})

    def at(partition: int, value: bytes) -> Message:
        return Message("scans", partition, b"somebody", value)

    return [
        (at(home, b"\xff\xfe nonsense" + chance.randbytes(8)), "undecodable"),
        (at(home, SCANS_MAGIC + chance.randbytes(40)), "undecodable"),
        (at(home, scan(kind="sideways")), "undecodable"),
        (at(home, scan(at_ms="yesterday")), "undecodable"),
        (at(home, scan(venue=None)), "undecodable"),
        (at(home, scan(at_ms=now_ms + 3 * HOUR)), "in_the_future"),
        (at(home, scan(at_ms=now_ms - RETENTION_MS - HOUR)), "too_old"),
        (at((home + 1) % PARTITIONS, scan()), "wrong_partition"),
        (at(home, scan(arrived_at_ms=now_ms + DAY, at_ms=now_ms + DAY)), "arrival_ahead"),
        (at(home, scan(venue="\u0007")), "bad_venue"),
        (Message("test-results", 0, b"x", b"{" + chance.randbytes(4).hex().encode()), "undecodable"),
        (Message("venues", 0, b"x", b"{" + chance.randbytes(4).hex().encode()), "undecodable"),
    ]


def _mixed(messages: list[Message], chance: random.Random) -> list[Message]:
    """In any order, but those of one key in theirs."""
    keyed: dict[tuple[str, bytes | None], list[Message]] = {}
    for message in messages:
        keyed.setdefault((message.topic, message.key), []).append(message)
    order = [key for key, each in keyed.items() for _ in each]
    chance.shuffle(order)
    return [keyed[key].pop(0) for key in order]

"""Small worlds that are nasty on purpose: equal times, touching ends, places in places, latecomers, copies."""

from __future__ import annotations

import random
from typing import NamedTuple

from schemas.messages import Erasure, Scan, Venue
from tests import oracle

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BEGIN = 1_634_749_200_000
"""Midnight in Jakarta, 21 October 2021."""

_CATEGORIES = ("mall", "shop", "office", "restaurant", "market", "")


class World(NamedTuple):
    """What there is; every scan has its arrival, so that its place in the log means nothing."""

    venues: list[oracle.VenueRecord]
    scans: list[oracle.Scan]
    erasures: list[oracle.Erasure]

    def registry(self) -> list[Venue]:
        """The venues as messages."""
        return [
            Venue(
                venue=each.venue, category=each.category, capacity=each.capacity, within=each.within,
                assumed_stay_minutes=each.assumed_stay_minutes, longest_stay_minutes=each.longest_stay_minutes,
                valid_from_ms=each.valid_from,
            )
            for each in self.venues
        ]  # fmt: skip

    def messages(self) -> list[Scan]:
        """The scans as messages, in order of arrival."""
        ordered = sorted(self.scans, key=lambda scan: scan.arrived)
        return [
            Scan(person=each.person, venue=each.venue, kind=each.kind, at_ms=each.at, arrived_at_ms=each.arrived)  # type: ignore[arg-type]
            for each in ordered
        ]

    def shuffled(self, seed: int) -> list[Scan]:
        """The scans in any order within the horizon of three days; what arrives after it follows in order."""
        early = [scan for scan in self.messages() if (scan.arrived_at_ms or 0) < BEGIN + 3 * DAY]
        later = [scan for scan in self.messages() if (scan.arrived_at_ms or 0) >= BEGIN + 3 * DAY]
        random.Random(seed).shuffle(early)
        return early + later

    def erasure_messages(self) -> list[Erasure]:
        """The erasures as messages."""
        return [
            Erasure(person=each.person, before_ms=each.before, officer="test", purpose="test") for each in self.erasures
        ]


def world(
    seed: int,
    *,
    people: int = 8,
    venues: int = 6,
    days: int = 2,
    scans: int = 120,
    late: float = 0.04,
    erasures: int = 1,
    dated: bool = True,
) -> World:
    """A world of a seed. `late` is the share of scans that arrive after the horizon of three days."""
    chance = random.Random(f"world {seed}")
    records = _registry(chance, venues, dated)
    names = [*dict.fromkeys(record.venue for record in records), "unregistered"]
    persons = [f"p{number}" for number in range(people)]
    grid = chance.choice([1, MINUTE, 10 * MINUTE])
    found: list[oracle.Scan] = []
    for _ in range(scans):
        at = BEGIN + chance.randrange(0, days * DAY) // grid * grid
        person, venue = chance.choice(persons), chance.choice(names)
        kind = chance.choice(("in", "in", "in", "in", "out", "out", "refused"))
        if found and chance.random() < 0.3:  # after somebody's last scan, at a time that matters
            before = chance.choice(found)
            person = before.person
            step = chance.choice((0, MINUTE, 30 * MINUTE, 2 * HOUR, 8 * HOUR, 12 * HOUR, 24 * HOUR))
            at = min(before.at + step, BEGIN + days * DAY - 1)
            if chance.random() < 0.5:
                venue = before.venue
        delay = chance.choice((0, 0, MINUTE, HOUR, DAY))
        if chance.random() < late:
            delay = chance.choice((3 * DAY, 3 * DAY + 1, 5 * DAY, 10 * DAY))
        elif chance.random() < 0.02:
            delay = -chance.choice((1, 299_999, 300_000))
        found.append(oracle.Scan(person, venue, kind, at, at + delay))
        if chance.random() < 0.05:
            found.append(found[-1])
        elif chance.random() < 0.03:
            found.append(found[-1]._replace(arrived=at + chance.choice((0, DAY, 4 * DAY))))
    chance.shuffle(found)
    gone = [
        oracle.Erasure(person, BEGIN + chance.randrange(0, days * DAY))
        for person in chance.sample(persons, min(erasures, people))
    ]
    return World(records, found, gone)


def declared(town: World, seed: int, count: int = 40) -> list[oracle.Stay]:
    """Declared stays for a world, revised, withdrawn and doubled, some of which cannot be; and some like its visits."""
    chance = random.Random(f"declared {seed}")
    names = [*dict.fromkeys(record.venue for record in town.venues), "unregistered"]
    persons = sorted({scan.person for scan in town.scans})
    found: list[oracle.Stay] = []
    for order in range(count):
        person, venue = chance.choice(persons), chance.choice(names)
        start = BEGIN + chance.randrange(-12 * DAY, 2 * DAY) // (10 * MINUTE) * (10 * MINUTE)
        if chance.random() < 0.6:  # when and where there is a scan
            scan = chance.choice(town.scans)
            person, venue, start = scan.person, scan.venue, scan.at
        end = start + chance.choice((0, 1, MINUTE, HOUR, HOUR, 2 * HOUR, 4 * HOUR, 12 * HOUR, 12 * HOUR + 1, 24 * HOUR))
        told = max(start, end) + chance.choice((-300_001, -300_000, 0, HOUR, DAY, 9 * DAY))
        if chance.random() < 0.1:
            told = start + chance.choice((28 * DAY, 28 * DAY + 1))
        name = f"d{chance.randrange(count // 3)}"
        if found and chance.random() < 0.3:  # the same person says something about the same again
            before = chance.choice(found)
            person, name = before.person, chance.choice((before.declaration, name))
            if chance.random() < 0.5:
                venue, start = before.venue, before.start
                told = max(told, start)
        found.append(oracle.Stay(person, venue, name, start, end, told, order, chance.random() < 0.15))
    return found


def _registry(chance: random.Random, count: int, dated: bool) -> list[oracle.VenueRecord]:
    """Trees of venues up to four deep."""
    records: list[oracle.VenueRecord] = []
    for number in range(count):
        within = None
        if records and chance.random() < 0.6:
            within = chance.choice(records).venue
        assumed = chance.choice((None, None, 10, 45, 120, 0))
        longest = chance.choice((None, None, 60, 240, 1440))
        if assumed is not None and longest is not None and assumed > longest:
            longest = None
        records.append(
            oracle.VenueRecord(
                f"v{number}", chance.choice(_CATEGORIES), chance.choice((None, 2, 5)), assumed, longest, within
            )
        )
    if dated:
        for record in chance.sample(records, max(1, count // 4)):
            later = BEGIN + chance.randrange(0, 2 * DAY)
            records.append(record._replace(assumed_stay_minutes=chance.choice((15, 90)), valid_from=later))
    return records

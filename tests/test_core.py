"""The core against the oracle: whatever the order, the batches, the copies, the partitions, the snapshots."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from contacts.declared import StayRefused
from contacts.deriver import Deriver
from contacts.incoming import NEVER
from contacts.matching import contacts_of, may_count
from contacts.places import Places
from contacts.profiles import load_profiles
from contacts.registry import Registry
from contacts.visits import Acceptance, Visit, derive_visits
from contacts.windows import WindowRows
from schemas.blocks import (
    REASONS,
    ErasureOrder,
    RecountOrder,
    RegistryChange,
    RulesChange,
    StayReport,
    Tick,
    VisitBlock,
)
from schemas.messages import Scan, StayEvidence
from schemas.partitions import partition_of
from tests import oracle, profile_oracle
from tests.test_places import KeepingShelf, settle
from tests.worlds import BEGIN, DAY, HOUR, World, declared, world

HORIZON, RETENTION, TOLERANCE = 3 * DAY, 28 * DAY, 300_000
RULES = oracle.Rules(HORIZON, RETENTION, TOLERANCE)
ZONE = ZoneInfo("Asia/Jakarta")
WINDOW = 600_000
END = BEGIN + 20 * DAY


def rests_on_word(visits: list[oracle.Visit], person: str, venue: str, stay: StayEvidence, as_of: int | None) -> bool:
    """Whether a visit that was only declared is part of a stay."""
    return any(
        (visit.person, visit.venue, visit.reason) == (person, venue, "self_reported")
        and stay.start_ms <= visit.start <= stay.end_ms
        and (as_of is None or visit.start < as_of)
        for visit in visits
    )


def report(stay: oracle.Stay) -> StayReport:
    """A declared stay as it comes to the visits agent."""
    origin, times = (0, stay.order), (stay.start, stay.end)
    return StayReport(origin, stay.person, stay.venue, stay.declaration, *times, stay.withdrawn, stay.told)


class Chain:
    """Derivers and places of some partitions, fed as the agents would, and stopped and loaded now and then."""

    def __init__(self, town: World, partitions: int, chance: random.Random) -> None:
        self.town, self.count, self.chance = town, partitions, chance
        self.derivers = [self._deriver(number) for number in range(partitions)]
        self.places = [self._new_places() for _ in range(partitions)]
        self.told: dict[tuple[str, int], tuple[int, tuple[int, ...]]] = {}
        self.offsets = [0] * partitions
        self.log: list[list[VisitBlock]] = [[] for _ in range(partitions)]
        self.applied = [0] * partitions
        self.saved: list[tuple[dict[str, bytes] | None, int]] = [(None, 0)] * partitions
        self.counts: dict[str, tuple[int, int]] = {}

    @property
    def windows(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """The windows that exist, as told."""
        return {key: numbers for key, (_, numbers) in self.told.items() if any(numbers)}

    def _new_places(self) -> Places:
        places = Places(self.count, WINDOW, HORIZON, RETENTION, ZONE, shelf=KeepingShelf())
        places.replaying()
        return places

    def _deriver(self, number: int) -> Deriver:
        acceptance = Acceptance(HORIZON, RETENTION, TOLERANCE)
        return Deriver(number, self.count, acceptance, lambda venue: partition_of(venue, self.count))

    def control(self, make: Callable[[int], object]) -> None:
        """A control record in every partition."""
        for number, deriver in enumerate(self.derivers):
            offset = self.offsets[number]
            self.offsets[number] += 1
            deriver.control(offset, make(offset))  # type: ignore[arg-type]
            self._pass_on(number, offset, empty=False)

    def take(self, scans: list[Scan]) -> None:
        """Scans in this order, in batches of any size."""
        homes: dict[int, list[Scan]] = {}
        for scan in scans:
            homes.setdefault(partition_of(scan.person, self.count), []).append(scan)
        waiting = list(homes.items())
        while waiting:
            place = self.chance.randrange(len(waiting))
            number, rest = waiting[place]
            size = self.chance.randrange(1, 12)
            batch, left = rest[:size], rest[size:]
            waiting[place : place + 1] = [(number, left)] if left else []
            first = self.offsets[number]
            arrived = [
                (first + row, 0, s.person, s.venue, s.kind, s.at_ms, s.arrived_at_ms or 0)
                for row, s in enumerate(batch)
            ]
            self.offsets[number] += len(batch)
            self.derivers[number].derive(arrived, lambda *_: None)
            self._pass_on(number, first, empty=self.chance.random() < 0.3)
            if self.chance.random() < 0.1:
                self._reload(number)

    def say(self, stays: list[oracle.Stay]) -> None:
        """Declared stays in this order, each to its person's partition."""
        for stay in stays:
            number = partition_of(stay.person, self.count)
            offset = self.offsets[number]
            self.offsets[number] += 1
            with suppress(StayRefused):
                self.derivers[number].control(offset, report(stay))
            self._pass_on(number, offset, empty=False)
            if self.chance.random() < 0.1:
                self._reload(number)

    def _pass_on(self, number: int, first: int, *, empty: bool) -> None:
        for target, block in self.derivers[number].blocks(first, self.offsets[number], empty=empty):
            self._append(target, block)
        if self.chance.random() < 0.1:  # what was sent before comes again
            target = self.chance.randrange(self.count)
            for old in list(self.log[target][self.chance.randrange(len(self.log[target]) + 1) :]):
                self._append(target, old)

    def _append(self, target: int, block: VisitBlock) -> None:
        """A block at the end of a partition of `visits`; then the worker may tell, save its state, or be killed."""
        self.log[target].append(block)
        self._apply(target, block)
        if self.applied[target] == 1:
            self._keep(target, self.places[target].replayed())
        what = self.chance.random()
        if self.chance.random() < 0.1:
            settle(self.places[target], BEGIN + self.chance.randrange(4) * DAY)
        if what < 0.15:
            self.tell(target)
        elif what < 0.25:
            self.tell(target)
            self.saved[target] = self.places[target].dump(), self.applied[target]
        elif what < 0.3:
            self._kill(target)

    def _kill(self, target: int) -> None:
        parts, self.applied[target] = self.saved[target]
        if parts is None or self.chance.random() < 0.4:  # what was committed says up to where all has been told
            self.places[target] = self._new_places()
            committed, self.applied[target] = self.applied[target], 0
            self.saved[target] = None, committed
            if committed:
                self.places[target].pass_over()
            for block in self.log[target][:committed]:
                self._apply(target, block)
                if self.chance.random() < 0.2:
                    self.places[target].pass_over()
                if self.chance.random() < 0.02:  # and fell on the way, behind a snapshot
                    self.places[target] = self._loaded(target, self.places[target].dump())
                    self.places[target].pass_over()
            if committed:
                self.places[target].passed_over()
        else:
            self.places[target] = self._loaded(target, parts)
        for block in self.log[target][self.applied[target] :]:
            self._apply(target, block)
            if self.chance.random() < 0.1:  # a part of the replay is over
                self._keep(target, self.places[target].replayed())
                self.places[target].replaying()
                if self.chance.random() < 0.5:
                    self.saved[target] = self.places[target].dump(), self.applied[target]
        self._keep(target, self.places[target].replayed())
        self._count(target)

    def _loaded(self, target: int, parts: dict[str, Any]) -> Places:
        shelf = self.places[target].shelf
        return Places.load(parts, self.count, WINDOW, HORIZON, RETENTION, ZONE, shelf=shelf)

    def _apply(self, target: int, block: VisitBlock) -> None:
        self.applied[target] += 1
        places = self.places[target]
        for placed in places.apply(block):
            if isinstance(placed.control, ErasureOrder):
                places.erase(placed.control.person, placed.control.before_ms)
            elif isinstance(placed.control, RegistryChange):
                places.add_venue(placed.control.venue)
            elif isinstance(placed.control, RecountOrder):
                places.recount(placed.control)
            elif isinstance(placed.control, RulesChange):
                places.rule(placed.control)

    def _reload(self, number: int) -> None:
        state = self.derivers[number].dump()
        self.derivers[number] = self._deriver(number)
        self.derivers[number].load(state)

    def tell(self, number: int) -> None:
        """Windows as the recorder keeps them: a row takes the place of one with a lower position."""
        self._keep(number, self.places[number].windows())
        self._count(number)

    def _count(self, number: int) -> None:
        """Counts as their readers keep them: one with a lower position is ignored."""
        for count in self.places[number].counts():
            if self.counts.get(count.venue, (-1, 0))[0] < self.applied[number]:
                self.counts[count.venue] = self.applied[number], count.inside
        places = self.places[number]
        if places.log_time_ms != NEVER:
            names = places._index.lineages.venues
            for name, inside in zip(
                names.of(np.arange(len(names))), places._numbers(np.arange(len(names))).inside, strict=True
            ):
                assert self.counts.get(name, (0, 0))[1] == inside

    def _keep(self, number: int, found: WindowRows | None) -> None:
        if found is not None:
            for venue, start, *numbers in found.rows.tolist():
                key, position = (found.venues[venue], start), self.applied[number]
                if key not in self.told or self.told[key][0] < position:
                    self.told[key] = position, tuple(numbers)


def run(seed: int) -> tuple[World, Chain, list[oracle.Visit]]:
    """A world through the chain in any order, ended by a tick far away; and the oracle's visits."""
    chance = random.Random(f"run {seed}")
    town = world(seed)
    chain = Chain(town, chance.choice((1, 2, 3, 4)), chance)
    for number, venue in enumerate(town.registry()):
        chain.control(lambda offset, v=venue, n=number: RegistryChange((0, n), v, 0))  # type: ignore[misc]
    scans, stays = town.shuffled(seed), declared(town, seed)
    said = [*stays, *chance.sample(stays, 10)]
    chance.shuffle(said)
    cut = chance.randrange(len(scans))
    chain.take(scans[: cut // 2])
    chain.say(said[: len(said) // 3])
    chain.take(scans[cut // 2 : cut])
    chain.say(said[len(said) // 3 : len(said) // 2])
    for number, erasure in enumerate(town.erasures):
        chain.control(lambda offset, e=erasure, n=number: ErasureOrder((0, n), e.person, e.before))  # type: ignore[misc]
    chain.say(said[len(said) // 2 :])
    chain.take(scans[cut:])
    chain.control(lambda offset: Tick(END, True))
    for number in range(chain.count):
        chain.tell(number)
    return town, chain, oracle.visits(town.scans, town.venues, RULES, town.erasures, stays)


@pytest.mark.parametrize("seed", range(60))
def test_windows_and_counts_of_any_order_are_the_oracle_s(seed: int) -> None:
    _, chain, wanted = run(seed)
    assert chain.windows == oracle.windows(wanted)
    assert {inside for _, inside in chain.counts.values()} <= {0}


@pytest.mark.parametrize("seed", range(40))
def test_contacts_under_every_profile_are_the_oracle_s(seed: int) -> None:
    town, chain, wanted = run(seed)
    chance = random.Random(seed)
    for name, profile in load_profiles().items():
        for direction in ("forward", "backward"):
            person = chance.choice([visit.person for visit in wanted])
            as_of = chance.choice([None, BEGIN + chance.randrange(0, 2 * DAY)])
            window = BEGIN + chance.randrange(-DAY, DAY), BEGIN + chance.randrange(0, 3 * DAY)
            onset = BEGIN + chance.randrange(-DAY, 2 * DAY)
            rows = []
            for places in chain.places:
                shared = places.shared_stays(person, *window, as_of, profile.air, direction)  # type: ignore[arg-type]
                rows += may_count(shared, profile, places.category, direction)  # type: ignore[arg-type]
            course = profile.course(onset, None, ZONE) if direction == "forward" else None
            found = {
                contact.person: profile_oracle.Found(
                    round(contact.minutes, 9),
                    sorted(
                        (oracle.Shared(contact.person, stay.venue, stay.start_ms, stay.end_ms), stay.minutes)
                        for stay in contact.evidence
                    ),
                    contact.score,
                    contact.level,
                )
                for contact in contacts_of(rows, profile, person, course)
            }
            for other, shared in rows:
                assert shared.case_stay.self_reported == rests_on_word(
                    wanted, person, shared.venue, shared.case_stay, as_of
                )
                assert shared.contact_stay.self_reported == rests_on_word(
                    wanted, other, shared.venue, shared.contact_stay, as_of
                )
            expected = profile_oracle.contacts(
                wanted, profile_oracle.table(name), person, window, as_of=as_of, direction=direction,
                venues=town.venues, onset=onset,
            )  # fmt: skip
            assert found == {other: each._replace(minutes=round(each.minutes, 9)) for other, each in expected.items()}


@pytest.mark.parametrize("seed", range(40))
def test_how_many_are_inside_at_any_time(seed: int) -> None:
    """Ticks move the log time; what is inside then is what the oracle says of all that has arrived by then."""
    town = world(seed, late=0.0, erasures=0)
    chance = random.Random(f"inside {seed}")
    chain = Chain(town, 1, chance)
    for number, venue in enumerate(town.registry()):
        chain.control(lambda offset, v=venue, n=number: RegistryChange((0, n), v, 0))  # type: ignore[misc]
    scans = town.messages()
    for moment in sorted(BEGIN + chance.randrange(0, 4 * DAY) for _ in range(6)):
        arrived = [scan for scan in scans if (scan.arrived_at_ms or 0) <= moment]
        scans = scans[len(arrived) :]
        chance.shuffle(arrived)
        chain.take(arrived)
        chain.control(lambda offset, at=moment: Tick(at))  # type: ignore[misc]
        chain.tell(0)
        known = oracle.visits([scan for scan in town.scans if scan.arrived <= moment], town.venues, RULES)
        names = {name for visit in known for name in (visit.venue, *visit.ancestors)}
        assert {name: chain.counts.get(name, (0, 0))[1] for name in names} == {
            name: oracle.inside(known, name, moment) for name in names
        }


@pytest.mark.parametrize("seed", range(60))
def test_the_offline_way_gives_the_oracle_s_visits(seed: int) -> None:
    town = world(seed, erasures=0)
    registry = Registry()
    for venue in town.registry():
        registry.add(venue)
    for acceptance, rules in ((None, None), (Acceptance(HORIZON, RETENTION, TOLERANCE), RULES)):
        found = derive_visits(town.messages(), registry, acceptance)
        wanted = oracle.visits(town.scans, town.venues, rules)
        assert [(v.person, v.venue, v.start_ms, v.end_ms, REASONS[v.reason], v.ancestors) for v in found] == wanted
        places = Places.from_visits(found, WINDOW)
        told = places.windows()
        rows = told.rows.tolist() if told is not None else []
        windows = {(told.venues[venue], start): tuple(row) for venue, start, *row in rows} if told is not None else {}
        assert windows == oracle.windows(wanted)
        assert np.all([row[0] >= 0 for row in rows])


@pytest.mark.parametrize("seed", range(30))
def test_finished_visits_some_of_them_declared_give_the_oracle_s_windows_and_stays(seed: int) -> None:
    """The offline way on: from a file of visits, among them self-reported ones."""
    town, chance = world(seed), random.Random(f"finished {seed}")
    wanted = oracle.visits(town.scans, town.venues, RULES, town.erasures, declared(town, seed))
    assert any(visit.reason == "self_reported" for visit in wanted)
    rows = [Visit(v.person, v.venue, v.start, v.end, REASONS.index(v.reason), v.ancestors) for v in wanted]
    chance.shuffle(rows)
    places = Places.from_visits(rows, WINDOW)
    told = places.windows()
    assert told is not None
    found = {(told.venues[venue], start): tuple(row) for venue, start, *row in told.rows.tolist()}
    assert found == oracle.windows(wanted)
    for person in {visit.person for visit in wanted}:
        window = BEGIN + chance.randrange(-DAY, DAY), BEGIN + chance.randrange(0, 3 * DAY)
        shared = places.shared_stays(person, *window, None)
        assert sorted(
            oracle.Shared(other, stay.venue, stay.start_ms, stay.end_ms) for other, stay in shared
        ) == oracle.shared_stays(wanted, person, window)
        for other, stay in shared:
            assert stay.contact_stay.self_reported == rests_on_word(wanted, other, stay.venue, stay.contact_stay, None)


def test_a_stay_shared_to_the_millisecond() -> None:
    """Fifteen minutes are fifteen minutes, one millisecond less is not."""
    for extra, contacts in ((0, 1), (-1, 0)):
        scans = [
            Scan(person="a", venue="v", kind="in", at_ms=BEGIN),
            Scan(person="b", venue="v", kind="in", at_ms=BEGIN + HOUR),
            Scan(person="a", venue="v", kind="out", at_ms=BEGIN + HOUR + 900_000 + extra),
        ]
        places = Places.from_visits(derive_visits(scans, Registry()), WINDOW)
        profile = load_profiles()["who"]
        shared = places.shared_stays("a", BEGIN - DAY, BEGIN + DAY, None)
        assert len(contacts_of(may_count(shared, profile, places.category), profile, "a")) == contacts

"""Counts made by hand, through derivers and places in any order, against the oracle; and named examples."""

from __future__ import annotations

import random

import numpy as np
import pytest

from contacts.occupancy import Numbers
from contacts.places import Places
from contacts.presence import presences_at
from contacts.recounts import Recounts
from contacts.visits import Visit
from schemas.blocks import REASONS, ErasureOrder, RecountOrder, RegistryChange, Tick
from schemas.messages import Scan, Venue
from tests import oracle, oracle_door
from tests.test_core import RULES, Chain
from tests.worlds import BEGIN, DAY, HOUR, MINUTE, World, world


class Calm(random.Random):
    """Chance by which nothing comes twice, and nobody is killed."""

    def random(self) -> float:
        return 0.99


def register(chain: Chain, town: World) -> None:
    """All venues of the town."""
    for number, venue in enumerate(town.registry()):
        chain.control(lambda offset, v=venue, n=number: RegistryChange((0, n), v, 0))  # type: ignore[misc]


def told_counts(chain: Chain) -> dict[str, int]:
    """What has been told by now, by venue: before a snapshot, and now."""
    for number, places in enumerate(chain.places):
        chain.counts |= {count.venue: (chain.applied[number], count.inside) for count in places.counts()}
    return {venue: inside for venue, (_, inside) in chain.counts.items()}


@pytest.mark.parametrize("seed", range(100))
def test_counts_after_recounts_are_the_oracle_s(seed: int) -> None:
    """A count is a function of the visits known, the recounts known and the log time: through scans that come late and
    in any order, erasures, copies of recounts, snapshots and kills, over several partitions."""
    chance = random.Random(f"recounts {seed}")
    town = world(seed, late=0.0, erasures=1, scans=chance.choice((20, 120, 240)), people=chance.choice((4, 12, 30)))
    chain = Chain(town, chance.choice((1, 1, 2, 4)), chance if seed % 2 else Calm())
    register(chain, town)
    scans = town.messages()
    names = [*dict.fromkeys(record.venue for record in town.venues), "unregistered"]
    known: list[oracle_door.Recount] = []
    erased: list[oracle.Erasure] = []
    moment = BEGIN
    for _ in range(chance.randrange(2, 20)):
        moment += chance.choice((1, 10 * MINUTE, HOUR, 3 * HOUR, 11 * HOUR, DAY))
        arrived = [scan for scan in scans if (scan.arrived_at_ms or 0) <= moment]
        scans = scans[len(arrived) :]
        chance.shuffle(arrived)
        cut = chance.randrange(len(arrived) + 1)
        chain.take(arrived[:cut])
        for _ in range(chance.choice((0, 0, 1, 1, 3))):
            venue = chance.choice(names)
            back = chance.choice((0, 0, 0, MINUTE, 30 * MINUTE, 5 * HOUR, 30 * HOUR, -2 * HOUR))
            again = chance.choice(known) if known and chance.random() < 0.3 else None
            at = again.at if again else moment - back
            if again and chance.random() < 0.7:
                venue = again.venue
            recount = oracle_door.Recount(venue, chance.choice((0, 0, 1, 2, 5, 40)), at, len(known))
            known.append(recount)
            order = RecountOrder((0, recount.told), recount.venue, recount.inside, recount.at)
            for _ in range(chance.choice((1, 1, 2))):
                chain.control(lambda offset, o=order: o)  # type: ignore[misc]
        if town.erasures and not erased and chance.random() < 0.2:
            erased = list(town.erasures)
            for erasure in erased:
                chain.control(lambda offset, e=erasure: ErasureOrder((0, 0), e.person, e.before))  # type: ignore[misc]
        chain.take(arrived[cut:])
        chain.control(lambda offset, at=moment: Tick(at))  # type: ignore[misc]
        counts = told_counts(chain)
        visits = oracle.visits([scan for scan in town.scans if scan.arrived <= moment], town.venues, RULES, erased)
        assert {name: counts.get(name, 0) for name in names} == {
            name: oracle_door.inside(visits, known, name, moment, town.venues) for name in names
        }


def test_the_worlds_have_recounts_of_every_kind() -> None:
    """The random test sees recounts of 0 and more, that hold and have ended, with and without anybody inside."""
    chance = random.Random("kinds")
    kinds = set()
    for seed in range(40):
        town = world(seed, late=0.0)
        visits = oracle.visits(town.scans, town.venues, RULES)
        for _ in range(20):
            venue = chance.choice(town.venues).venue
            recount = oracle_door.Recount(venue, chance.choice((0, 5)), BEGIN + chance.randrange(2 * DAY), 0)
            at = recount.at + chance.choice((HOUR, 13 * HOUR))
            held = oracle_door.in_force([recount], venue, at, town.venues) is not None
            before, after = (oracle_door.inside(visits, known, venue, at, town.venues) for known in ((), (recount,)))
            kinds.add((held, oracle.inside(visits, venue, recount.at) > 0, before < after, before > after))
    assert {(True, True, True, False), (True, True, False, True), (True, False, True, False)} < kinds
    assert any(not held for held, *_ in kinds)


class Door:
    """One partition, with a mall of a longest stay of 10 hours and a shop in it."""

    def __init__(self) -> None:
        mall = Venue(venue="mall", category="mall", capacity=100)
        shop = Venue(venue="shop", category="shop", within="mall")
        self.chain = Chain(World([], [], []), 1, Calm())
        for number, venue in enumerate((mall, shop)):
            self.chain.control(lambda offset, v=venue, n=number: RegistryChange((0, n), v, 0))  # type: ignore[misc]
        self.counts: dict[str, tuple[int, int]] = {}
        self.told = 0

    def scan(self, minute: int, venue: str, kind: str, *persons: str) -> None:
        """These persons at a minute after BEGIN."""
        at = BEGIN + minute * MINUTE
        self.chain.take([Scan(person=p, venue=venue, kind=kind, at_ms=at, arrived_at_ms=at) for p in persons])  # type: ignore[arg-type]

    def recount(self, minute: int, venue: str, inside: int) -> None:
        """A guard counts."""
        order = RecountOrder((0, self.told), venue, inside, BEGIN + minute * MINUTE)
        self.told += 1
        self.chain.control(lambda offset: order)

    def at(self, minute: int, venue: str = "mall") -> int:
        """How many are inside at a minute."""
        self.chain.control(lambda offset: Tick(BEGIN + minute * MINUTE))
        for count in self.chain.places[0].counts():
            self.counts[count.venue] = count.inside, count.assumed_inside
        return self.counts.get(venue, (0, 0))[0]


def test_those_inside_leave_in_proportion() -> None:
    """Four are known inside and six are counted: when one of the four leaves, a quarter of the six has left."""
    door = Door()
    door.scan(0, "mall", "in", "a", "b", "c", "d")
    door.recount(10, "mall", 6)
    assert door.at(10) == 6
    door.scan(20, "mall", "out", "a")
    assert door.at(20) == 5  # 6 x 3/4 = 4.5, half up
    door.scan(30, "mall", "in", "e")
    assert door.at(30) == 6
    door.scan(40, "mall", "out", "b", "c", "d")
    assert door.at(40) == 1


def test_everyone_out_empties_what_lies_within_and_those_who_come_after_count() -> None:
    """A recount of 0 at the mall is one at the shop in it; a recount of the shop is none of the mall's."""
    door = Door()
    door.scan(0, "shop", "in", "a", "b")
    assert (door.at(1), door.at(1, "shop")) == (2, 2)
    door.recount(5, "shop", 7)
    assert (door.at(5), door.at(5, "shop")) == (2, 7)
    door.recount(10, "mall", 0)
    assert (door.at(10), door.at(10, "shop")) == (0, 0)
    door.scan(12, "shop", "in", "c")
    assert (door.at(12), door.at(12, "shop")) == (1, 1)


def test_a_recount_of_an_empty_place_holds_for_the_longest_stay() -> None:
    """Where nobody is known inside, those counted stay for the longest stay: 10 hours in a mall."""
    door = Door()
    door.recount(0, "mall", 3)
    assert door.at(1) == 3
    assert door.counts["mall"] == (3, 3)  # nobody knows when they leave
    assert door.at(10 * 60 - 1) == 3
    assert door.at(10 * 60) == 0


def test_late_scans_change_what_a_recount_makes_of_the_count() -> None:
    """Somebody turns out to have been inside when the guard counted, and so to be one of those counted."""
    door = Door()
    door.scan(0, "mall", "in", "a")
    door.recount(10, "mall", 2)
    door.scan(20, "mall", "out", "a")
    assert door.at(20) == 0
    at = BEGIN + 5 * MINUTE
    door.chain.take([Scan(person="b", venue="mall", kind="in", at_ms=at, arrived_at_ms=BEGIN + 25 * MINUTE)])
    assert door.at(25) == 1  # of two counted, one of the two known has left


def test_places_without_a_recount_cost_nothing() -> None:
    """What is kept of a recount goes when it is over, and then no scan is looked at for it."""
    door = Door()
    recounts: Recounts = door.chain.places[0]._recounts
    assert not recounts
    door.recount(0, "mall", 3)
    door.at(1)
    assert recounts
    door.at(24 * 60 + 1)
    assert not recounts and not recounts._known and not recounts._points


def test_a_presence_that_goes_on_elsewhere_in_the_mall_has_not_ended() -> None:
    """From a shop into the hall of its mall: one presence at the mall, that goes on; at the shop it has ended."""
    door = Door()
    door.scan(0, "shop", "in", "a")
    door.scan(20, "mall", "in", "a")
    door.recount(10, "mall", 4)
    door.recount(10, "shop", 4)
    assert (door.at(25), door.at(25, "shop")) == (4, 0)
    index = door.chain.places[0]._index
    mall, shop = (index.lineages.venue(name) for name in ("mall", "shop"))
    assert presences_at(index, mall, BEGIN + 10 * MINUTE).ends.tolist() == [BEGIN + 140 * MINUTE]
    assert presences_at(index, shop, BEGIN + 10 * MINUTE).ends.tolist() == [BEGIN + 20 * MINUTE]


def test_a_mall_that_was_emptied_and_counted_anew_has_empty_shops() -> None:
    """A later recount of the mall takes nothing from what its recount of 0 said of the shop."""
    door = Door()
    door.scan(0, "shop", "in", "a", "b")
    door.recount(5, "mall", 0)
    door.recount(9, "mall", 4)
    assert (door.at(20), door.at(20, "shop")) == (4, 0)


@pytest.mark.parametrize("seed", range(30))
def test_the_order_in_which_recounts_are_told_of_means_nothing(seed: int) -> None:
    """Each scans partition passes recounts on at its own pace: any order, with copies, gives the same counts."""
    chance = random.Random(f"order {seed}")
    town = world(seed, late=0.0)
    visits = [
        Visit(v.person, v.venue, v.start, v.end, REASONS.index(v.reason), v.ancestors)
        for v in oracle.visits(town.scans, town.venues, RULES)
    ]
    names = [record.venue for record in town.venues]
    orders = [
        RecountOrder(
            (0, number), chance.choice(names[:2]), chance.choice((0, 0, 3, 9)), BEGIN + chance.randrange(9) * 3 * HOUR
        )
        for number in range(12)
    ]
    known = [oracle_door.Recount(each.venue, each.inside, each.at_ms, each.origin[1]) for each in orders]
    at = BEGIN + chance.randrange(2 * DAY)
    for _ in range(3):
        places = Places.from_visits(visits)
        for venue in town.registry():
            places.add_venue(venue)
        told = orders + chance.sample(orders, 4)
        chance.shuffle(told)
        for order in told:
            places.recount(order)
        index, counts = places._index, places._tally.inside
        counts.advance(at)
        counts.make_room(len(index.lineages.venues))
        venues = np.arange(len(index.lineages.venues))
        by_visits = Numbers(venues, counts.inside[venues], counts.assumed[venues], venues)
        places._recounts.venues(at)
        inside = places._recounts.counted(at, by_visits).inside
        found = dict(zip(index.lineages.venues.of(venues), inside.tolist(), strict=True))
        wanted = oracle.visits(town.scans, town.venues, RULES)
        assert {name: found.get(name, 0) for name in names} == {
            name: oracle_door.inside(wanted, known, name, at, town.venues) for name in names
        }


def test_a_presence_that_a_later_visit_makes_longer_is_still_one_of_those_counted() -> None:
    """In the hall from 0 to 120 by assumption, in a shop of the mall from 110 to 140: inside the mall until then."""
    door = Door()
    door.scan(0, "mall", "in", "a")
    door.recount(10, "mall", 4)
    assert door.at(10) == 4
    door.scan(110, "shop", "in", "a")
    assert (door.at(130), door.at(140)) == (4, 0)

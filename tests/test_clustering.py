"""A partition's clusters as visits and cases change, against the oracle; through copies, snapshots and falls."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from zoneinfo import ZoneInfo

import pytest

from contacts.archive import Shelf
from contacts.clusterrules import ClusterRule, ClusterRules, Count, load_cluster_rules
from contacts.incoming import NEVER
from contacts.people import Directory
from contacts.places import Places
from contacts.tracing import trace_id
from schemas.blocks import CHECKED_OUT, WatchOrder
from schemas.messages import Cluster, Venue
from tests import oracle_clusters as oracle
from tests.test_places import DAY, FAR, LINEAGES, MINUTE, START, KeepingShelf, World, block, counted, row, settle

ZONE = ZoneInfo("Asia/Jakarta")
THRESHOLDS = [
    oracle.Threshold("*", "either", 3, 2, 1, 3.0),
    oracle.Threshold("*", "backward", 2, 1, 0, 2.0),
    oracle.Threshold("bar", "either", 2, 2, 1, 4.0),
    oracle.Threshold("bar", "forward", 1, 1, 0, 1.0),
]
RULES = ClusterRules(
    "made", "made", date(2021, 10, 21), 30,
    tuple(
        ClusterRule(pattern, tuple(Count(*each[1:]) for each in THRESHOLDS if each.pattern == pattern))
        for pattern in ("*", "bar")
    ),
    "made",
)  # fmt: skip


def make(rules: ClusterRules = RULES, retention: int = 28 * DAY, sources: int = 1) -> Places:
    """Places that hold nothing."""
    return Places(sources, 10 * MINUTE, 3 * DAY, retention, ZONE, shelf=KeepingShelf(), cluster_rules=rules)


def load(
    parts: dict[str, bytes | None], shelf: Shelf, rules: ClusterRules = RULES, retention: int = 28 * DAY,
    sources: int = 1,
) -> Places:  # fmt: skip
    """Places out of a snapshot; on the shelf is what had been settled."""
    return Places.load(
        parts,
        sources,
        10 * MINUTE,
        3 * DAY,
        retention,
        ZONE,
        shelf=shelf,
        cluster_rules=rules,  # type: ignore[arg-type]
    )


def order(
    person: str,
    direction: str = "forward",
    window: tuple[int, int] = (START - 30 * DAY, FAR),
    revision: int = 1,
    case: str | None = None,
) -> WatchOrder:
    """What the tracing agent orders for an automatic trace of a person's case."""
    case = case or f"case-{person}"
    return WatchOrder(trace_id(case, direction), case, revision, person, direction, 0, *window, window[1])  # type: ignore[arg-type]


class Published:
    """What a reader of the topic has: the clusters of each venue that stand."""

    def __init__(self) -> None:
        self.clusters: dict[str, list[Cluster]] = {}
        self.told = 0
        self.since_ms: int | None = None

    def take(self, places: Places, *, again: bool = False) -> None:
        """What is told now. Without `again` nothing is told twice."""
        since_ms, venues = places.clusters(again=again)
        self.since_ms = since_ms
        for venue, clusters in venues:
            held = self.clusters.get(venue, [])
            kept = [each for each in held if since_ms is not None and each.start_ms < since_ms]
            assert again or kept + clusters != held
            self.clusters[venue] = kept + clusters
            self.told += 1

    def found(self) -> dict[str, list[oracle.Found]]:
        """The clusters as the oracle writes them."""
        found = {}
        for venue, clusters in self.clusters.items():
            own = []
            for each in clusters:
                _, pattern, visits = each.rule.split()
                times = each.start_ms, each.end_ms
                own.append(
                    oracle.Found(pattern, visits, *times, each.case_ids, each.risk, each.category, each.slot_cases)
                )
            if own:
                found[venue] = sorted(own, key=lambda each: (each.start, each.pattern, each.visits))
        return found

    def check(self, found: dict[str, list[oracle.Found]]) -> None:
        """What is published is this, as far back as the retention lets one tell."""
        since_ms = self.since_ms or START
        assert _after(self.found(), since_ms) == _after(found, since_ms)


def _after(found: dict[str, list[oracle.Found]], since_ms: int) -> dict[str, list[oracle.Found]]:
    later = {venue: [each for each in own if each.start >= since_ms] for venue, own in found.items()}
    return {venue: own for venue, own in later.items() if own}


def wanted(world: World, orders: list[WatchOrder], venues: list[Venue]) -> dict[str, list[oracle.Found]]:
    """The clusters of all venues, by the oracle."""
    newest: dict[tuple[str, str], WatchOrder] = {}
    for each in orders:
        key = each.case_id, each.direction
        if key not in newest or each.revision > newest[key].revision:
            newest[key] = each

    def category(venue: str, at: int) -> str:
        records = sorted((v for v in venues if v.venue == venue), key=lambda v: v.valid_from_ms)
        return ([v for v in records if v.valid_from_ms <= at] or records[:1])[-1].category if records else "other"

    found = {}
    for venue in (lineage.venue for lineage in LINEAGES):
        seen = [
            oracle.Seen(
                each.case_id, each.direction, category(venue, visit.start_ms),
                max(visit.start_ms, each.window_start_ms), min(visit.end_ms, each.window_end_ms),
            )
            for visit in counted(world.visits()) if visit.venue == venue
            for each in newest.values() if each.person == visit.person
        ]  # fmt: skip
        clusters = oracle.clusters(seen, THRESHOLDS, 30)
        if clusters:
            found[venue] = clusters
    return found


@pytest.mark.parametrize("seed", range(120))
def test_what_is_published_is_what_the_visits_and_cases_give(seed: int) -> None:
    """Whatever the changes, their copies and the falls between them, readers have the oracle's clusters."""
    world = World(seed, sources=seed % 3 + 1)
    dice = world.random
    retention = 28 * DAY if seed % 2 else DAY
    places, published = make(sources=world.sources, retention=retention), Published()
    now = [START] * world.sources
    orders: list[WatchOrder] = []
    recent: list[WatchOrder] = []  # copies by other sources come within the day
    venues: list[Venue] = []
    snapshot = places.dump()
    since: list[Callable[[Places], object]] = []  # what has come after the snapshot

    def come(event: Callable[[Places], object]) -> None:
        since.append(event)
        event(places)

    for _ in range(dice.randint(5, 50)):
        source = dice.randrange(world.sources)
        now[source] += dice.choice((0, 1, 20, 120, 500)) * MINUTE
        sent = block(source, *world.change(source), now[source])
        come(lambda each, sent=sent: each.apply(sent))  # type: ignore[misc]
        if dice.random() < 0.4:
            orders.append(_some_order(dice, sorted(world.people), len(orders)))
            recent.append(orders[-1])
            for each in (orders[-1], dice.choice(recent)):
                come(lambda places, each=each: places.watch(each))  # type: ignore[misc]
        if dice.random() < 0.1:
            person, before = world.erase()
            come(lambda each, person=person, before=before: each.erase(person, before))  # type: ignore[misc]
        if dice.random() < 0.1:
            valid_from = START + dice.randrange(4) * DAY
            venue = Venue(
                venue=dice.choice(LINEAGES[:2]).venue, category=dice.choice(("bar", "shop")), valid_from_ms=valid_from
            )
            venues = [v for v in venues if (v.venue, v.valid_from_ms) != (venue.venue, valid_from)] + [venue]
            come(lambda each, venue=venue: each.add_venue(venue))  # type: ignore[misc]
        if dice.random() < 0.4:
            published.take(places)
            if places.log_time_ms != NEVER:
                published.check(wanted(world, orders, venues))
        if dice.random() < 0.2:
            places.windows()
            places.expire()
            recent.clear()
        if dice.random() < 0.3:
            settle(places, START + dice.randrange(5) * DAY)
        if dice.random() < 0.1:
            snapshot, since = places.dump(), []
        if dice.random() < 0.15:  # it falls, and another replays from the snapshot what has come since
            places = load(snapshot, places.shelf, RULES, retention, world.sources)
            for event in since:
                event(places)
                if dice.random() < 0.1:
                    snapshot, since = places.dump(), since[since.index(event) + 1 :]
                    places = load(snapshot, places.shelf, RULES, retention, world.sources)
            published.take(places, again=True)
            if places.log_time_ms != NEVER:
                published.check(wanted(world, orders, venues))
    for source in range(world.sources):
        places.apply(block(source, [], [], START + 5 * DAY))
    published.take(places)
    published.check(wanted(world, orders, venues))


def _some_order(dice: random.Random, people: list[str], revision: int) -> WatchOrder:
    begin = START + dice.randrange(-1, 4) * DAY
    window = (begin, begin) if dice.random() < 0.2 else (begin, begin + dice.randint(1, 4) * DAY)
    return order(dice.choice(people), dice.choice(("forward", "backward")), window, revision)


def at_the_stall(places: Places, people: str, log_time: int = START + DAY) -> None:
    """Each of the people was at the stall in the first half hour."""
    rows = [row(number, number, 0, 20) for number in range(len(people))]
    places.apply(block(0, rows, list(people), log_time))


def ids(published: Published) -> dict[str, list[tuple[str, ...]]]:
    """Cases of the clusters that stand, by venue."""
    return {venue: [each.case_ids for each in told] for venue, told in published.clusters.items() if told}


def test_only_the_automatic_traces_of_a_case_count() -> None:
    """A trace of an officer's choosing, with dates of its own, makes no case and no window."""
    places, published = make(load_cluster_rules("default")), Published()
    at_the_stall(places, "abc")
    for person in "ab":
        places.watch(order(person))
    places.watch(WatchOrder("f-officer", "case-c", 1, "c", "forward", 0, START - DAY, FAR, FAR))
    places.watch(WatchOrder("f-nobody", "", 1, "c", "forward", 0, START - DAY, FAR, FAR))
    published.take(places)
    assert published.clusters == {}
    places.watch(order("c", "backward"))
    published.take(places)
    assert ids(published) == {"stall": [("case-a", "case-b", "case-c")]}


def test_what_changes_nothing_is_not_told() -> None:
    """Visits of cases to other places and times, and of others to this place, make no message."""
    places, published = make(load_cluster_rules("default")), Published()
    at_the_stall(places, "abc")
    for person in "abc":
        places.watch(order(person))
    published.take(places)
    assert published.told == 1
    more = [row(10, 10, 300, 320), row(11, 11, 0, 20, lineage=4), row(12, 12, 0, 20), row(13, 0, 0, 21, CHECKED_OUT)]
    places.apply(block(0, more, ["a", "a", "somebody", "a"], START + DAY))
    published.take(places)
    assert published.told == 1


def test_other_rules_find_everything_anew() -> None:
    """A worker that starts with other rules tells the clusters of these, and those of the old ones are gone."""
    places, published = make(load_cluster_rules("default")), Published()
    at_the_stall(places, "abc")
    for person in "abc":
        places.watch(order(person))
    published.take(places)
    places = load(places.dump(), places.shelf, load_cluster_rules("tac-signal"))
    published.take(places, again=True)
    assert [each.rule for each in published.clusters["stall"]] == ["tac-signal@2021-06-09 * forward"]
    told = published.told
    published.take(load(places.dump(), places.shelf, load_cluster_rules("tac-signal")), again=True)
    assert published.told == told


def test_what_the_retention_takes_withdraws_nothing() -> None:
    """Clusters older than the retention stand as last told; younger ones are exact; old windows are forgotten."""
    places, published = make(load_cluster_rules("default"), retention=2 * DAY), Published()
    midnight = 17 * 60  # in minutes since START, which is 07:00 in Jakarta
    spans = [(0, 20), (midnight - 40, midnight - 20), (midnight + 5, midnight + 20)]
    spans.append((midnight + 5 * 60, midnight + 6 * 60))
    times = [span for span in spans for _ in "abc"]
    rows = [row(number, number, *span) for number, span in enumerate(times)]
    places.apply(block(0, rows, list("abc") * 4, START + 2 * DAY))
    for person in "abc":
        places.watch(order(person, window=(START - DAY, START + 10 * DAY)))
        places.watch(order(person, "backward", window=(START - DAY, START), case=f"case-old-{person}"))
    published.take(places)
    before = ids(published)
    assert len(before["stall"]) == 3
    places.apply(block(0, [], [], START + midnight * MINUTE + 2 * DAY))
    places.windows()
    places.expire()
    published.take(places)
    places.apply(block(0, [row(20, 20, midnight + 6 * 60, midnight + 7 * 60)], ["a"], START))
    published.take(places)
    assert ids(published) == before
    assert published.clusters["stall"][-1].slot_cases == (3, 3, 1)
    assert not any(b"case-old" in part for part in places.dump().values())
    places.watch(order("somebody", window=(0, 0), case="case-s", revision=2))
    assert b"somebody" not in places.dump()["clusters"]
    places.apply(block(0, [row(21, 9, midnight + 5 * 60, midnight + 5 * 60)], ["a"], START))
    places.watch(order("b", window=(0, 0), revision=2))
    published.take(places)
    assert [each.start_ms for each in published.clusters["stall"]] == [START, START + (midnight - 60) * MINUTE]


def test_who_was_erased_elsewhere_is_in_no_cluster_after_a_restart() -> None:
    """Another partition of the worker erases a person, the worker falls, and the snapshot still has the visits."""
    people, shelf, published = Directory(), KeepingShelf(), Published()
    shared = {"people": people, "shelf": shelf, "cluster_rules": load_cluster_rules("default")}
    places = Places(1, 10 * MINUTE, 3 * DAY, 28 * DAY, ZONE, **shared)  # type: ignore[arg-type]
    at_the_stall(places, "abc")
    snapshot = places.dump()
    for person in "abc":
        places.watch(order(person))
    published.take(places)
    assert ids(published) == {"stall": [("case-a", "case-b", "case-c")]}
    people.forget([people.number("a")])
    places = Places.load(snapshot, 1, 10 * MINUTE, 3 * DAY, 28 * DAY, ZONE, **shared)  # type: ignore[arg-type]
    for person in "abc":
        places.watch(order(person))
    places.erase("a", START + DAY)
    published.take(places, again=True)
    assert ids(published) == {}

"""Clusters of the running pipeline: raised by the visit or test that completes one, withdrawn with its cause."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from lacak.officer_commands import send
from officer.store import Store
from schemas.messages import Scan, TestResult, Trace, Venue
from tests import oracle, oracle_clusters
from tests.pipeline import Broker, Pipeline, pipeline
from tests.worlds import BEGIN, DAY, World, world

MINUTE = 60_000
HOUR = 60 * MINUTE
DEFAULT = [oracle_clusters.Threshold("*", "either", 3, 2, 1, 3.0)]


class Row(NamedTuple):
    """A row of lacak.clusters."""

    venue: str
    start: int
    end: int
    cases: tuple[str, ...]
    withdrawn: bool


def clusters(running: Pipeline) -> list[Row]:
    """All clusters in PostgreSQL, those withdrawn too."""
    with psycopg.connect(running.settings.database) as database:
        rows = database.execute(
            "select venue, round(extract(epoch from starts) * 1000)::bigint, round(extract(epoch from ends) * 1000)"
            "::bigint, case_ids, withdrawn, cases from lacak.clusters order by venue, starts"
        ).fetchall()
    assert all(len(row[3]) == (0 if row[4] else row[5]) for row in rows)
    return [Row(row[0], row[1], row[2], tuple(row[3]), row[4]) for row in rows]


def report(running: Pipeline, person: str, specimen: int, outcome: str = "positive") -> list[Trace]:
    """Report a test, and wait for what its traces say of it: then every partition knows."""
    began_ms = time.time_ns() // 1_000_000
    result = TestResult(person=person, outcome=outcome, specimen_ms=specimen)  # type: ignore[arg-type]
    send(running.settings, "test-results", person, result)
    with Store.opened(running.settings.database) as store:
        made = store.await_traces(person, began_ms, 2, 60.0)
    assert len(made) == 2
    return made


def await_clusters(running: Pipeline, wanted: Callable[[list[Row]], bool]) -> list[Row]:
    """The clusters, as soon as they are as wanted."""
    deadline = time.monotonic() + 60.0
    while not wanted(found := clusters(running)):
        running.lacak.watch()
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def stand(rows: list[Row]) -> list[str]:
    """Venues of the clusters that stand."""
    return [row.venue for row in rows if not row.withdrawn]


def raise_and_withdraw(broker: Broker, database: str, folder: Path, fall: Callable[[Pipeline], None]) -> None:
    """A day of three people at two places; `fall` may let workers fall between the steps."""
    now = time.time_ns() // 1_000_000
    noon = (now - DAY) // (30 * MINUTE) * 30 * MINUTE

    def scan(person: str, venue: str, minutes: float, kind: str = "in") -> Scan:
        return Scan(person=person, venue=venue, kind=kind, at_ms=noon + round(minutes * MINUTE))  # type: ignore[arg-type]

    with pipeline(broker, database, folder, clock="live", snapshot_seconds=0.5) as running:
        running.register(
            [Venue(venue="warung", category="restaurant"), Venue(venue="bioskop", category="cinema"), Venue(venue="x")]
        )
        eating = [scan("ani", "warung", 40), scan("budi", "warung", 45), scan("citra", "warung", -60)]
        running.publish(
            [*eating, scan("dewi", "warung", 40), scan("ani", "bioskop", 300), scan("budi", "bioskop", 301)]
        )
        for person in ("ani", "budi"):
            report(running, person, now)
        fall(running)
        assert clusters(running) == []

        report(running, "citra", now)  # the third test
        found = await_clusters(running, lambda rows: stand(rows) == ["warung"])
        assert [(row.start, row.end) for row in found] == [(noon, noon + 90 * MINUTE)]
        fall(running)

        running.publish([scan("citra", "bioskop", 299)])  # a scan that comes late
        found = await_clusters(running, lambda rows: stand(rows) == ["bioskop", "warung"])
        assert found[0].cases == found[1].cases
        fall(running)

        running.publish([scan("citra", "warung", -30, "out")])  # she had left before
        await_clusters(running, lambda rows: stand(rows) == ["bioskop"])
        fall(running)

        report(running, "budi", now, "withdrawn")
        await_clusters(running, lambda rows: stand(rows) == [])
        fall(running)
        report(running, "budi", now)
        again = await_clusters(running, lambda rows: stand(rows) == ["bioskop"])
        assert again == [found[0], found[1]._replace(cases=(), withdrawn=True)]


def test_the_third_case_raises_a_cluster_and_corrections_withdraw_it(
    broker: Broker, database: str, tmp_path: Path
) -> None:
    raise_and_withdraw(broker, database, tmp_path, lambda _: None)


@pytest.mark.kafka
@pytest.mark.parametrize("roles", [("places",), ("visits", "places", "recorder")])
def test_workers_killed_in_between_change_nothing(
    broker: Broker, database: str, tmp_path: Path, roles: tuple[str, ...]
) -> None:
    chance = random.Random(1)

    def fall(running: Pipeline) -> None:
        time.sleep(chance.uniform(0.0, 1.0))
        for role in roles:
            running.worker(role).kill()
        for role in roles:
            running.worker(role).start()

    raise_and_withdraw(broker, database, tmp_path, fall)


@pytest.fixture(scope="module")
def town() -> World:
    """A nasty town of two days."""
    return world(23, people=30, venues=10, days=2, scans=1200)


def by_oracle(running: Pipeline, town: World, traces: dict[str, list[Trace]]) -> list[Row]:
    """The clusters that stand, from the visits of the pipeline and the windows of the cases."""
    visits = running.visits()
    found = []
    for venue in sorted({visit.venue for visit in visits}):
        seen = [
            oracle_clusters.Seen(
                trace.case_id, trace.direction, "any",
                max(visit.start, trace.window_start_ms), min(visit.end, trace.window_end_ms),
            )
            for visit in visits if visit.venue == venue
            for trace in traces.get(visit.person, [])
        ]  # fmt: skip
        found += [
            Row(venue, each.start, each.end, each.cases, False) for each in oracle_clusters.clusters(seen, DEFAULT, 30)
        ]
    return found


def test_clusters_of_a_nasty_town_are_those_of_the_oracle(
    broker: Broker, database: str, tmp_path: Path, town: World
) -> None:
    """Cases before and after the scans, in any order, one withdrawn and one revised."""
    scans = town.shuffled(3)
    specimen = BEGIN + 20 * HOUR
    people = sorted({visit.person for visit in oracle.visits(town.scans, town.venues)})[:9]
    traces: dict[str, list[Trace]] = {}
    with pipeline(broker, database, tmp_path) as running:
        running.register(town.registry())
        running.publish(scans[: len(scans) // 2])
        for person in people[:5]:
            traces[person] = report(running, person, specimen)
        running.publish(scans[len(scans) // 2 :])
        running.erase(town.erasure_messages())
        for person in people[5:]:
            traces[person] = report(running, person, specimen)
        running.end()
        wanted = by_oracle(running, town, traces)
        assert len(wanted) > 5
        await_clusters(running, lambda rows: [row for row in rows if not row.withdrawn] == wanted)

        report(running, people[0], specimen, "withdrawn")
        del traces[people[0]]
        traces[people[1]] = report(running, people[1], specimen - 2 * DAY)
        fewer = by_oracle(running, town, traces)
        assert fewer != wanted
        await_clusters(running, lambda rows: [row for row in rows if not row.withdrawn] == fewer)

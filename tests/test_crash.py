"""Workers killed in the middle and started again, on Apache Kafka: nothing lost, nothing counted twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.pipeline import Broker, pipeline
from tests.test_pipeline import check, settled_files
from tests.worlds import World, world

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def town() -> World:
    """A nasty town of two days."""
    return world(11, people=60, venues=14, days=2, scans=2000)


@pytest.mark.parametrize("role", ["visits", "places", "recorder"])
def test_a_killed_worker_changes_nothing(broker: Broker, database: str, tmp_path: Path, town: World, role: str) -> None:
    """Of any role, at any moment; meanwhile days are settled into files."""
    scans = town.shuffled(5)
    chance = random.Random(role)
    with pipeline(broker, database, tmp_path, snapshot_seconds=0.5) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        for start in range(0, len(scans), 400):
            running.publish(scans[start : start + 400], blocks=start % 800 == 0)
            time.sleep(chance.uniform(0.0, 1.2))
            running.worker(role).kill()
            running.worker(role).start()
        running.end(150.0)
        check(running, town)
        assert settled_files(running, 1)


def test_all_workers_killed_at_once_change_nothing(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    scans = town.shuffled(6)
    with pipeline(broker, database, tmp_path, workers={"visits": 2, "places": 2}, snapshot_seconds=0.5) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        for start in range(0, len(scans), 700):
            running.publish(scans[start : start + 700])
            time.sleep(1.0)
            for worker in running.lacak.workers:
                worker.kill()
            for worker in running.lacak.workers:
                worker.start()
        running.end(150.0)
        check(running, town)

"""A clean stop, on Apache Kafka and under load: in time, nothing done twice, and the others go on at once."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.kafka import Kafka
from deploy.ports import free_ports
from lacak.deployment import ROLES
from lacak.processes import Worker
from schemas.blocks import VISIT_BLOCKS, VISITS_MAGIC, unframe
from streams.reader import read_topic
from streams.settings import HealthLimits, Settings, Transport
from tests.pipeline import Broker, Pipeline, pipeline
from tests.test_health import Probed, ask, wait_until
from tests.test_pipeline import check
from tests.worlds import World, world

pytestmark = pytest.mark.kafka

STOP_SECONDS = 25.0
SESSION_SECONDS = 45
STATEFUL = {"visits": 2, "places": 2}


@pytest.fixture(scope="module")
def town() -> World:
    """A nasty town of two days."""
    return world(13, people=60, venues=14, days=2, scans=3000)


def stop(worker: Worker) -> float:
    """Ask a worker to stop and wait for its end; how long it took (s). It must end in time, and say 0."""
    process = worker._process
    assert process is not None
    began = time.monotonic()
    worker.ask_to_stop()
    code = process.wait(STOP_SECONDS + 5)
    took = time.monotonic() - began
    assert (code, took < STOP_SECONDS) == (0, True), f"{worker.role}: code {code} after {took:.1f} s"
    return took


@contextmanager
def load(running: Pipeline, town: World) -> Iterator[threading.Thread]:
    """The town's scans, published in a thread piece by piece; all of them, before the block ends."""
    scans = town.shuffled(3)

    def publish() -> None:
        for start in range(0, len(scans), 100):
            running.publish(scans[start : start + 100], blocks=start % 200 == 0)
            time.sleep(0.25)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(120)


def origins_repeat(settings: Settings) -> list[tuple[int, int, int, int]]:
    """Blocks of `visits` that cover source offsets which an earlier block of the same way covered."""
    reached: dict[tuple[int, int], int] = defaultdict(int)
    found = []
    for record in read_topic(settings, "visits"):
        block = unframe(VISITS_MAGIC, record.value or b"", VISIT_BLOCKS)
        way = (block.source_partition, record.partition)
        if block.first_offset < reached[way]:
            found.append((*way, block.first_offset, reached[way]))
        reached[way] = max(reached[way], block.next_offset)
    return found


def test_every_role_stops_cleanly_under_load(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    """Each in turn while scans flow: code 0 in time; started again it goes on where it was, and what all make is what
    the oracle says. The visits role sends no row twice, though snapshots come every ten seconds only."""
    ports = free_ports(len(ROLES))
    with pipeline(broker, database, tmp_path, snapshot_seconds=10.0, metrics_port=ports[0]) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        Probed(running).wait_ready(120)  # one that is still starting has nothing to stop cleanly
        with load(running, town):
            for role in ROLES:
                worker = running.worker(role)
                stop(worker)
                worker.start()
                time.sleep(0.5)
        running.end(150.0)
        check(running, town)
        assert origins_repeat(running.settings) == []


def test_a_worker_that_stops_hands_over_at_once(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    """The other has all partitions before the session would have timed out; on Apache Kafka long before. (The embedded
    broker, when a group is divided anew, waits for half of the session for who may still come.)"""
    most = SESSION_SECONDS * (0.5 if isinstance(broker, Kafka) else 0.75)
    with pipeline(
        broker, database, tmp_path, workers=STATEFUL, metrics_port=free_ports(8)[0],
        transport=Transport(session_timeout_seconds=SESSION_SECONDS),
    ) as running:  # fmt: skip
        probed = Probed(running)
        probed.wait_ready(120)
        with load(running, town):
            for role, topic in (("visits", "scans"), ("places", "visits")):
                stays, goes = running.worker(role, 0), running.worker(role, 1)
                assert len(probed.ready(stays)[1]["partitions"][topic]) == 2
                began = time.monotonic()
                stop(goes)
                wait_until(
                    lambda stays=stays, topic=topic: held(probed, stays, topic) == 4, most, "it has not taken over"
                )
                assert time.monotonic() - began < most
        running.end(150.0)
        assert origins_repeat(running.settings) == []


def test_a_worker_that_is_waited_for_comes_back_to_its_own(broker: Broker, database: str, tmp_path: Path) -> None:
    """With LACAK_TRANSPORT_LEAVE_ON_STOP=false nobody is given its partitions, and nothing is rebalanced."""
    with pipeline(
        broker, database, tmp_path, workers=STATEFUL, metrics_port=free_ports(8)[0],
        transport=Transport(session_timeout_seconds=SESSION_SECONDS, leave_on_stop=False),
    ) as running:  # fmt: skip
        probed = Probed(running)
        probed.wait_ready(120)
        stays, goes = running.worker("visits", 0), running.worker("visits", 1)
        mine = probed.ready(goes)[1]["partitions"]["scans"]
        stop(goes)
        time.sleep(3.0)
        assert held(probed, stays, "scans") == 2
        goes.start()
        wait_until(lambda: probed.ready(goes)[0] == 200, 60, "it has not come back")
        assert probed.ready(goes)[1]["partitions"]["scans"] == mine
        assert held(probed, stays, "scans") == 2


def held(probed: Probed, worker: Worker, topic: str) -> int:
    """How many partitions a worker says that it has."""
    body = ask(probed.port(worker), "/ready")[1] or {}
    return len(body.get("partitions", {}).get(topic, ()))


def test_a_stop_that_cannot_be_clean_says_so(broker: Broker, database: str, tmp_path: Path, town: World) -> None:
    """Where the brokers do not answer any more, the worker ends in time all the same, with another code."""
    own = Kafka(tmp_path / "kafka")
    own.start()
    try:
        with pipeline(
            own, database, tmp_path, clock="live", retention_days=28, metrics_port=free_ports(6)[0],
            health=HealthLimits(stop_seconds=4.0),
        ) as running:  # fmt: skip
            probed = Probed(running)
            probed.wait_ready(120)
            own.kill()
            time.sleep(2.0)  # a tick or two is sent, and not acknowledged
            worker = running.worker("visits")
            process = worker._process
            assert process is not None
            worker.ask_to_stop()
            assert process.wait(15) == 1
            assert "could not stop cleanly within 4 s" in worker.log.read_text().splitlines()[-1]
    finally:
        own.stop()

"""Bad input through the running pipeline: a short flood, the limit that stops a broken deploy, and sending again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaProducer

from lacak.main import cli
from lacak.processes import WorkerFell
from lacak.settings import environment_of
from schemas.messages import DeadLetter, Scan
from schemas.partitions import partition_of
from streams.reader import read_topic
from streams.settings import DeadLetterLimits
from tests.flood.memory import Watch, held_over
from tests.flood.requests import Caller
from tests.flood.running import flood
from tests.gateway_http import running_gateway
from tests.pipeline import Broker, Pipeline, pipeline
from tests.test_pipeline import check
from tests.worlds import BEGIN, DAY, world

ON_KAFKA = os.environ.get("LACAK_TEST_BROKER") == "kafka"
MESSAGES = int(os.environ.get("LACAK_TEST_FLOOD", "20000" if ON_KAFKA else "5000"))


def test_a_flood_is_accounted_for_and_the_good_ones_come_through(broker: Broker, database: str, tmp_path: Path) -> None:
    """Every bad record has a letter with a reason that is right, every bad request a 4xx; the good ones' visits,
    windows, traces and statuses are the oracle's; no process ends."""
    # Tansu inflates whatever it is sent
    came = flood(broker, database, tmp_path, seed=11, count=MESSAGES, bombs=ON_KAFKA)
    assert came.faults == []
    assert came.ledger.sent + came.caller.counts.total() >= MESSAGES


def test_memory_is_told_against_what_was_sent() -> None:
    """A tenth is one of what was sent, whatever time it took; the slope is that of the second half alone."""
    growing = [(sent, 100.0 + sent / 1000) for sent in range(0, 100_001, 500) for _ in range(1 + sent % 3)]
    held = held_over(growing)
    assert (held.start, held.most, held.slope) == (100, 200, 100.0)
    assert held.tenths == pytest.approx([105, 115, 125, 135, 145, 155, 165, 175, 185, 195], abs=1)
    level = [(sent, min(100.0 + sent / 100, 300.0)) for sent in range(0, 100_001, 500)]
    assert held_over(level).slope == 0.0
    assert held_over([(0, 5.0), (0, 6.0)]).tenths == [6] * 10  # nothing was sent, or it never came so far
    for most, told in ((99_500, []), (100_000, ["a leak grew from 648 to 1050 MB"])):
        watch = Watch(dict, lambda: None)
        leak = [(at, 100.0 + at / 100) for at in range(0, most + 1, 500)]
        watch.samples = {"level": level, "a leak": leak}
        assert watch.grown() == told


def test_every_endpoint_refuses_what_it_cannot_take(tmp_path: Path) -> None:
    """Problem details with a 4xx whose kind the metrics count, whatever comes; and then it still answers."""
    with running_gateway(tmp_path) as gateway:
        key = gateway.add("scan", "staff", "declare", "venue", per_second=1e6, burst=1_000_000)
        caller = Caller(gateway.url, key, 3, gateway.clock.now_ms)
        caller.send(3_000)
        caller.close()
        assert caller.wrong == []
        assert caller.counts.total() == 3_000
        assert len({refusal.kind for refusal in caller.counts}) > 10
        with gateway.client(key) as client:
            body = {"person": "p1:1", "venue": "mall-1", "kind": "in"}
            assert client.post("/v1/scans", json=body, headers=gateway.stamped()).status_code == 200


def test_a_broken_deploy_is_stopped_and_what_was_put_right_is_brought_back(
    broker: Broker, database: str, tmp_path: Path
) -> None:
    """A gateway is deployed that sends people's scans into others' partitions. The visits worker stops, says why, and
    is not started again. When the gateway is right, it is let through what lies in the log; sent again, all of it
    counts, and once."""
    town = world(9, people=60, venues=10, days=2, scans=1200)
    early = [scan for scan in town.messages() if (scan.arrived_at_ms or 0) < BEGIN + 3 * DAY]
    late = [scan for scan in town.messages() if (scan.arrived_at_ms or 0) >= BEGIN + 3 * DAY]
    limits = DeadLetterLimits(share=0.5, sample=200, run_length=100)
    with pipeline(broker, database, tmp_path, limits=limits) as running:
        running.register(town.registry())
        running.erase(town.erasure_messages())
        running.publish(early[:200])  # however they are cut into batches, more than half of a partition's are bad
        misplaced = early[200:800]
        _misplace(running, misplaced)
        worker = running.worker("visits")
        said = _stopped(running)
        assert "set aside as dead letters" in said
        assert "wrong_partition" in said
        assert "LACAK_DEAD_LETTERS_SHARE" in said
        running.publish(early[800:])
        worker._environment |= {"LACAK_DEAD_LETTERS_SHARE": "1", "LACAK_DEAD_LETTERS_RUN_LENGTH": "0"}
        worker.start()
        _await_letters(running, len(misplaced))
        for _ in range(2):  # the second time changes nothing
            done = _replay(running)
            assert done.exit_code == 0, done.output
            assert f"{len(misplaced)} sent again, 0 left." in done.output
        running.publish(late)
        running.end()
        check(running, town)
        assert len(_letters(running)) == len(misplaced)


def _misplace(running: Pipeline, scans: Sequence[Scan]) -> None:
    """Send scans to the partition behind their own."""
    count = running.settings.partitions.scans
    producer = KafkaProducer(bootstrap_servers=running.settings.brokers, acks="all")
    for scan in scans:
        away = (partition_of(scan.person, count) + 1) % count
        producer.send(running.settings.topic("scans"), msgspec.json.encode(scan), scan.person.encode(), partition=away)
    producer.flush()
    producer.close()


def _stopped(running: Pipeline, seconds: float = 60.0) -> str:
    """Wait until the deployment says that a worker has stopped for good; what it said."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            running.lacak.watch()
        except WorkerFell as fell:
            return str(fell)
        time.sleep(0.1)
    raise AssertionError("no worker stopped")


def _letters(running: Pipeline) -> set[str]:
    return {
        msgspec.json.decode(record.value or b"", type=DeadLetter).letter_id
        for record in read_topic(running.settings, "dead-letters")
    }


def _await_letters(running: Pipeline, count: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while len(_letters(running)) < count:
        assert time.monotonic() < deadline, f"{len(_letters(running))} letters of {count}"
        time.sleep(0.2)


def _replay(running: Pipeline) -> Result:
    who = ["--officer", "dr", "--purpose", "the gateway was put right"]
    asked = ["dead-letters", "replay", "--reason", "wrong_partition", "--yes", *who]
    return CliRunner().invoke(cli, asked, env=environment_of(running.settings))

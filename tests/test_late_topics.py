"""A group that was formed while the brokers did not tell of its topics takes them up when they do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from streams.app import METADATA_AGE_MS
from streams.reader import read_topic
from streams.settings import Partitions, Settings, Transport
from streams.topics import ensure_topics
from tests.pipeline import Broker

_SECONDS = 40.0


@pytest.mark.kafka
def test_topics_that_the_leader_did_not_see_are_read_soon_after(broker: Broker, tmp_path: Path) -> None:
    """As after a broker's restart: the metadata at the join lack the topic, so nobody is given a partition. Records are
    handled within some refreshes of the metadata, not after the client's own five minutes."""
    settings = Settings(
        brokers=broker.bootstrap, data_dir=tmp_path, topic_prefix=f"late{time.monotonic_ns()}.",
        partitions=Partitions(scans=2, visits=2, cases=1), transport=Transport(session_timeout_seconds=6),
    )  # fmt: skip
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.counting_role", str(tmp_path / "faust")],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        assert worker.stdin is not None
        worker.stdin.write(msgspec.json.encode(settings, enc_hook=str))
        worker.stdin.close()
        _until(lambda: b"Ignoring missing topic" in log.read_bytes(), "the group was formed without its topic")
        ensure_topics(settings)
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
        for partition in range(2):
            producer.send(settings.topic("scans"), b"x", b"key", partition=partition).get(30)
        producer.close()
        began = time.monotonic()
        _until(lambda: {r.partition for r in read_topic(settings, "visits")} == {0, 1}, "both records were handled")
        assert time.monotonic() - began < 6 * METADATA_AGE_MS / 1000
    finally:
        worker.kill()
        worker.wait()


def _until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)

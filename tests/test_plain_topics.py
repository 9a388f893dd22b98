"""Topics without a keeper, through rebalances: every record is handled, whatever was in the stream's hands."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from streams.plain import Line
from streams.reader import read_topic
from streams.settings import DeadLetterLimits
from tests.pipeline import Broker, Pipeline, pipeline

SESSION_SECONDS = 6
"""The session's timeout of a pipeline with one worker a role."""


def test_what_may_be_committed_is_the_first_that_is_not_done() -> None:
    """Whatever the order in which records are let go of; offsets that were never written are passed over."""
    line = Line(10)
    assert line.reached() == 10
    for offset in (10, 11, 14, 15):
        line.hand_over(offset)
    line.let_go(14)
    assert line.reached() == 10
    line.let_go(10)
    assert line.reached() == 11
    line.let_go(11)
    assert line.reached() == 15
    line.let_go(15)
    assert line.reached() == 16
    line.hand_over(16)
    assert line.reached() == 16


@pytest.mark.kafka
def test_a_worker_that_sleeps_through_its_session_handles_every_record(
    broker: Broker, database: str, tmp_path: Path
) -> None:
    """The tracing worker is stopped for longer than its session, again and again, while records come that it cannot
    read: each becomes a dead letter. Faust alone loses those that wait in a stream when the rebalance begins."""
    unlimited = DeadLetterLimits(share=2.0, run_length=1_000_000)
    with pipeline(broker, database, tmp_path, clock="live", limits=unlimited) as running:
        ended = threading.Event()
        counts = [0] * running.settings.partitions.cases
        sender = threading.Thread(target=_send, args=(running, counts, ended))
        sender.start()
        try:
            for _ in range(3):
                time.sleep(3.0)
                pid = running.worker("tracing").pid
                os.kill(pid, signal.SIGSTOP)
                time.sleep(SESSION_SECONDS + 3.0)
                os.kill(pid, signal.SIGCONT)
        finally:
            ended.set()
            sender.join()
        wanted = {(partition, offset) for partition, count in enumerate(counts) for offset in range(count)}
        deadline = time.monotonic() + 60.0
        while (missing := wanted - _lettered(running)) and time.monotonic() < deadline:
            running.lacak.watch()
            time.sleep(0.5)
    assert not missing, f"{len(missing)} of {len(wanted)} records were lost: {sorted(missing)[:10]}"
    assert len(wanted) > 500


def _send(running: Pipeline, counts: list[int], ended: threading.Event) -> None:
    """Records that are none, some forty a second."""
    producer = KafkaProducer(bootstrap_servers=running.settings.brokers, acks="all")
    topic = running.settings.topic("test-results")
    while not ended.wait(0.05):
        for partition in range(len(counts)):
            sent = producer.send(topic, b"no result", b"x", partition=partition).get(30)
            counts[partition] = sent.offset + 1
    producer.close()


def _lettered(running: Pipeline) -> set[tuple[int, int]]:
    letters = (msgspec.json.decode(record.value or b"") for record in read_topic(running.settings, "dead-letters"))
    return {(letter["partition"], letter["offset"]) for letter in letters if letter["topic"] == "test-results"}

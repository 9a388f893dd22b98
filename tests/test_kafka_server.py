"""The Apache Kafka of deploy.kafka keeps what it acknowledged, and leaves nothing running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from deploy import kafka as server
from deploy.embedded import ServerError
from deploy.kafka import Kafka, KafkaMissing
from streams.outbox import MESSAGE_BYTES_MAX

RECORDS = [f"record {number}".encode() for number in range(500)]
ROOT = Path(__file__).parents[1]


def make_topic(bootstrap: str, topic: str) -> None:
    """A topic of one partition that takes the largest records we send."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    config = {"max.message.bytes": str(MESSAGE_BYTES_MAX)}
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1, topic_configs=config)])
    admin.close()


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Send the records and wait until the broker has acknowledged each."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=MESSAGE_BYTES_MAX)
    for future in [producer.send(topic, value=value, partition=0) for value in values]:
        future.get(30)
    producer.close()


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` records, or fewer after 20 s."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    values: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(values) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            values += [record.value for record in records]
    consumer.close()
    return values


def alive(pid: int) -> bool:
    """Whether the process is there (and is no zombie)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.kafka
def test_a_killed_broker_has_its_records_at_the_next_start(tmp_path: Path) -> None:
    """What was acknowledged before a SIGKILL and before a clean stop is there afterwards, at the same address."""
    kafka = Kafka(tmp_path)
    kafka.start()
    try:
        bootstrap, first = kafka.bootstrap, kafka.pid
        make_topic(bootstrap, "kept")
        produce(bootstrap, "kept", RECORDS)
        kafka.kill()
        assert not alive(first)
        kafka.start()
        assert kafka.bootstrap == bootstrap
        assert consume(bootstrap, "kept", len(RECORDS)) == RECORDS
        largest = b"x" * (MESSAGE_BYTES_MAX - 1000)
        produce(bootstrap, "kept", [largest])
        kafka.stop()
        kafka = Kafka(tmp_path)  # another process would find the same ports
        kafka.start()
        assert kafka.bootstrap == bootstrap
        assert consume(bootstrap, "kept", len(RECORDS) + 1) == [*RECORDS, largest]
    finally:
        last = kafka.pid
        kafka.stop()
    assert last and not alive(last)
    assert kafka.pid == 0


@pytest.mark.kafka
def test_a_second_broker_over_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It would answer in the first one's name."""
    kafka = Kafka(tmp_path)
    kafka.start()
    try:
        with pytest.raises(ServerError, match="Another process listens"):
            Kafka(tmp_path).start()
        with pytest.raises(ServerError, match="already runs"):
            kafka.start()
    finally:
        kafka.stop()


@pytest.mark.kafka
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_command_leaves_no_broker_behind(tmp_path: Path, number: signal.Signals) -> None:
    """`python -m deploy.kafka` prints its address; Ctrl-C ends it and its broker, and so does a kill."""
    command = [sys.executable, "-m", "deploy.kafka", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "LACAK_BROKERS=127.0.0.1:" in said
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 1
        process.send_signal(number)
        try:
            assert process.wait(30) == (0 if number == signal.SIGINT else -signal.SIGKILL)
        finally:
            process.kill()
    deadline = time.monotonic() + 10
    while alive(int(children[0])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(children[0]))


def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Java: the message names a package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(KafkaMissing, match="openjdk-17-jre-headless"):
        server.find_java()


def test_without_maven_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Maven and nothing fetched before: the message says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LACAK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KafkaMissing, match="apt install maven"):
        server.fetch(server.Java("java", {}))
    assert list(tmp_path.iterdir()) == []


def test_an_old_java_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Java 11 does not run Kafka 4."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    with pytest.raises(KafkaMissing):
        server.find_java()
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.2\"' >&2\n")
    assert server.find_java().program == str(java)

"""Statuses through the running pipeline: what laboratories, officers and people say becomes what doors are told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from kafka import KafkaProducer

from lacak.main import cli
from lacak.settings import environment_of
from schemas.blocks import CONTROL_MAGIC, CONTROLS, StayReport, Tick, frame, unframe
from schemas.health import (
    Declaration,
    HealthRecord,
    PersonFact,
    Status,
    TestFact,
    TravelFact,
    VaccinationFact,
)
from schemas.heartbeats import beat_of
from schemas.keys import health_key
from schemas.messages import Erasure, TestResult
from schemas.partitions import partition_of
from streams.reader import read_topic
from tests.health_log import DAY, HOUR, START, Entry, Erased, expected, said
from tests.pipeline import Broker, Pipeline, pipeline

END = START + 200 * DAY
"""The last tick: 18 March 2022."""


class Town:
    """What is known of people, and what is told of them: in any order, some of it twice, some withdrawn or erased."""

    def __init__(self, seed: int, people: int) -> None:
        dice = random.Random(seed)
        self.records: list[HealthRecord] = []
        self.results: list[TestResult] = []
        self.declarations: list[Declaration] = []
        self.erasures: list[Erasure] = []
        for number in range(people):
            person = f"p1:{dice.getrandbits(128):032x}"
            told = START + number
            self._say(person, "age", PersonFact(age_band=dice.choice(["6-11", "18-59", "60+"])), told)
            for dose in range(dice.randrange(4)):
                given = START + dice.randrange(-200, 150) * DAY
                self._say(person, f"dose {dose}", VaccinationFact(product="CoronaVac", at_ms=given), told)
            for _ in range(dice.randrange(3)):
                specimen = START + dice.randrange(195 * 24) * HOUR
                outcome = dice.choice(["positive", "negative", "negative"])
                times = {"specimen_ms": specimen, "result_ms": specimen + dice.randrange(30) * HOUR}
                self.results.append(TestResult(person=person, outcome=outcome, **times))  # type: ignore[arg-type]
                if dice.random() < 0.2:
                    times["result_ms"] += HOUR
                    self.results.append(TestResult(person=person, outcome="withdrawn", **times))
            if dice.random() < 0.2:
                arrival = START + dice.randrange(190) * DAY
                self.declarations.append(
                    Declaration(
                        person=person, declaration_id="trip", start_ms=arrival - 5 * DAY, end_ms=arrival,
                        told_at_ms=arrival, place="Singapore", country="SG",
                    )
                )  # fmt: skip
            if dice.random() < 0.1:
                before = START + dice.randrange(200) * DAY
                self.erasures.append(Erasure(person=person, before_ms=before, officer="dr", purpose="asked to"))
        self._dice = dice

    def _say(self, person: str, name: str, fact: object, told_ms: int) -> None:
        record = HealthRecord(person=person, record_id=name, fact=fact, told_at_ms=told_ms)  # type: ignore[arg-type]
        self.records.append(record)
        if random.Random(f"{person}{name}").random() < 0.1:
            self.records.append(msgspec.structs.replace(record, withdrawn=True, told_at_ms=told_ms + HOUR))

    def messages(self) -> list[tuple[str, object]]:
        """All of it, shuffled, a tenth of it twice; of one test the laboratory's words stay in their order."""
        plain: list[tuple[str, object]] = [("health-records", each) for each in self.records]
        plain += [("declarations", each) for each in self.declarations]
        plain += [("erasures", each) for each in self.erasures]
        plain += [("test-results", each) for each in self.results]
        plain += self._dice.sample(plain, len(plain) // 10)
        self._dice.shuffle(plain)
        return plain

    def expected(self) -> dict[str, Status]:
        """By hand: the results and declarations as records, under the clock `file`."""
        log: list[Entry | None] = [Entry(END, each) for each in self.records]
        for result in self.results:
            assert result.result_ms is not None
            fact = TestFact(
                test="pcr", outcome=result.outcome, specimen_ms=result.specimen_ms, result_ms=result.result_ms
            )
            log.append(
                Entry(
                    END,
                    HealthRecord(
                        person=result.person, record_id=f"specimen {result.specimen_ms}", fact=fact,
                        told_at_ms=result.result_ms, withdrawn=result.outcome == "withdrawn",
                    ),
                )
            )  # fmt: skip
        for told in self.declarations:
            travel = TravelFact(place=told.place, country=told.country, start_ms=told.start_ms, end_ms=told.end_ms)
            record = HealthRecord(person=told.person, record_id="trip", fact=travel, told_at_ms=told.told_at_ms)
            log.append(Entry(END, record))
        log += [Entry(END, Erased(each.person, each.before_ms)) for each in self.erasures]
        return expected(log, END)


def publish(running: Pipeline, messages: Sequence[tuple[str, object]]) -> None:
    """Send messages as their senders do."""
    settings = running.settings
    producer = KafkaProducer(bootstrap_servers=settings.brokers, acks="all")
    sent = []
    for topic, message in messages:
        person = message.person  # type: ignore[attr-defined]
        key = person.encode()
        if isinstance(message, HealthRecord):
            key = health_key(person, message.record_id)
        partition = 0 if topic == "erasures" else partition_of(person, settings.partitions.cases)
        sent.append(producer.send(settings.topic(topic), msgspec.json.encode(message), key, partition=partition))
    for each in sent:
        each.get(30)
    producer.close()


def tick(running: Pipeline, at_ms: int) -> None:
    """Move the log time of every partition of health records."""
    running.send_raw(
        "health-records",
        [(p, b"tick", frame(CONTROL_MAGIC, Tick(at_ms))) for p in range(running.settings.partitions.cases)],
    )


def statuses(running: Pipeline) -> dict[str, Status]:
    """What a reader of the topic holds: by position, forgotten where a key has no value."""
    held: dict[str, Status] = {}
    for record in read_topic(running.settings, "statuses"):
        if beat_of(record.value) is not None:
            continue
        if record.value is None:
            held.pop((record.key or b"").decode(), None)
            continue
        status = msgspec.json.decode(record.value, type=Status)
        assert status.person.encode() == record.key
        if status.person not in held or status.position > held[status.person].position:
            held[status.person] = status
    return held


def recorded(running: Pipeline) -> dict[str, tuple[str, str, int]]:
    """Colours, reasons and doses in PostgreSQL."""
    with psycopg.connect(running.settings.database) as database:
        rows = database.execute("select person, colour, reason, doses from lacak.statuses").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def until(found: Callable[[], bool], what: Callable[[], str], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def check(running: Pipeline, town: Town, seconds: float = 60.0) -> None:
    """Doors and officers are told what the oracle says, and nothing else."""
    wanted = town.expected()

    def differ() -> str:
        found = said(statuses(running))
        wrong = [name for name in {*wanted, *found} if wanted.get(name) != found.get(name)]
        return f"{len(wrong)} differ, such as {wanted.get(wrong[0])} and {found.get(wrong[0])}" if wrong else ""

    until(lambda: not differ(), differ, seconds)
    plain = {name: (each.colour, each.reason, each.doses) for name, each in wanted.items()}
    until(lambda: recorded(running) == plain, lambda: "PostgreSQL has other statuses", 30.0)


def test_statuses_are_those_of_the_oracle(broker: Broker, database: str, tmp_path: Path) -> None:
    """Whatever the order and however often: results, declarations, erasures and records, under the clock `file`."""
    town = Town(7, 120)
    with pipeline(broker, database, tmp_path) as running:
        publish(running, town.messages())
        time.sleep(1.0)
        tick(running, END)
        check(running, town)


@pytest.mark.kafka
def test_a_killed_status_worker_changes_nothing(broker: Broker, database: str, tmp_path: Path) -> None:
    """At any moment, many times; in the end once more with its snapshots gone."""
    town, chance = Town(8, 400), random.Random(5)
    with pipeline(broker, database, tmp_path, snapshot_seconds=0.5) as running:
        messages = town.messages()
        for start in range(0, len(messages), 300):
            publish(running, messages[start : start + 300])
            time.sleep(chance.uniform(0.0, 1.2))
            running.worker("status").kill()
            running.worker("status").start()
        tick(running, END)
        check(running, town, 90.0)
        running.worker("status").kill()
        for path in (running.settings.data_dir / "state" / "status").rglob("manifest"):
            path.unlink()
        running.worker("status").start()
        before = {name: each.position for name, each in statuses(running).items()}
        until(
            lambda: all(each.position > before[name] for name, each in statuses(running).items()),
            lambda: "who begins anew did not tell of everybody",
        )
        check(running, town)


def test_a_positive_test_is_black_at_once_and_a_stay_goes_to_the_scans(
    broker: Broker, database: str, tmp_path: Path
) -> None:
    """Under the clock `live`: day 0 is when the laboratory's message came, and stays so when it corrects an onset."""
    now = time.time_ns() // 1_000_000
    with pipeline(broker, database, tmp_path, clock="live") as running:
        first = TestResult(person="p1:ill", outcome="positive", specimen_ms=now - DAY)
        publish(running, [("test-results", first)])
        until(lambda: statuses(running).get("p1:ill") is not None, lambda: "no status came")
        told = statuses(running)["p1:ill"]
        assert (told.colour, told.reason) == ("black", "case")
        assert now - 60_000 <= told.since_ms <= now + 60_000
        revised = msgspec.structs.replace(first, onset_ms=now - 2 * DAY)
        stay = Declaration(
            person="p1:ill", declaration_id="d", venue="cafe", start_ms=now - HOUR, end_ms=now - HOUR // 2,
            told_at_ms=now,
        )  # fmt: skip
        publish(running, [("test-results", revised), ("declarations", stay)])

        def stays() -> list[StayReport]:
            controls = [
                unframe(CONTROL_MAGIC, record.value, CONTROLS)
                for record in read_topic(running.settings, "scans")
                if record.value is not None and record.value[:4] == CONTROL_MAGIC
                and record.partition == partition_of("p1:ill", running.settings.partitions.scans)
            ]  # fmt: skip
            return [each for each in controls if isinstance(each, StayReport)]

        until(lambda: bool(stays()), lambda: "no stay came")
        assert [(s.venue, s.start_ms, s.end_ms, s.withdrawn) for s in stays()] == [
            ("cafe", now - HOUR, now - HOUR // 2, False)
        ]
        results = [
            msgspec.json.decode(record.value, type=HealthRecord).fact
            for record in read_topic(running.settings, "health-records")
            if record.key is not None and record.key.startswith(b"p1:ill|test/")
        ]
        assert [fact.result_ms for fact in results] == [told.since_ms] * 2  # type: ignore[union-attr]
        assert statuses(running)["p1:ill"] == told
        until(lambda: "p1:ill" in recorded(running), lambda: "the recorder wrote no status")
        asked = ["status", "p1:ill", "--explain"]
        who = ["--officer", "dr", "--purpose", "the person asked"]
        refused = CliRunner().invoke(cli, asked, env=environment_of(running.settings))
        assert "--officer" in refused.output
        said = CliRunner().invoke(cli, [*asked, *who], env={**environment_of(running.settings), "COLUMNS": "200"})
        assert said.exit_code == 0, said.output
        assert "black" in said.output
        assert f"test/{now - DAY}" in said.output
        assert "Doors were told last: black" in said.output
        with psycopg.connect(running.settings.database) as database:
            looks = database.execute("select officer, action, person from lacak.audit").fetchall()
        assert looks == [("dr", "status", "p1:ill")]

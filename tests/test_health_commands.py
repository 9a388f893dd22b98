"""`lacak health` from the command line: files in, messages out, what is said and written, and the way to the topics."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result

from gateway.fhir import About
from gateway.fhir_files import Fault
from gateway.health_rows import read_facts
from gateway.pseudonyms import Key
from gateway.times import parse_time
from lacak.main import cli
from lacak.settings import environment_of
from schemas.blocks import CONTROL_MAGIC
from schemas.health import (
    Declaration,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TravelFact,
    VaccinationFact,
)
from schemas.keys import health_key
from schemas.messages import TestResult, Venue
from schemas.partitions import partition_of
from streams.reader import read_topic
from tests.fhir_samples import NIK, SECRETS, bundle, immunization, observation, patient, written
from tests.pipeline import Broker, pipeline

ASKING = ("--officer", "officer", "--purpose", "purpose")
ZONE = ZoneInfo("Asia/Jakarta")
NOW = parse_time("2021-11-01T00:00:00Z")


def run(*words: object, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, words), *ASKING], env=env)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key file."""
    path = tmp_path / "key"
    Key.make(path, "p1")
    return path


def at(hours_ago: int) -> str:
    """A time so long ago: the commands ask the real clock."""
    return (datetime.now(UTC) - timedelta(hours=hours_ago)).isoformat(timespec="seconds")


def listed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_dry_run_says_what_would_come_and_what_is_refused(tmp_path: Path, key: Path) -> None:
    """Nothing is needed but the files; refusals are told, written beside the file, and make the exit code 3."""
    bad = [observation(f"bad-{n}", status="?") for n in range(7)]
    path = written(tmp_path / "bundle.json", bundle(patient(), observation(), immunization(), *bad))
    out = tmp_path / "out.ndjson"
    words = ("health", "import", path, "--key", key, "--identifier-system", NIK, "--dry-run")
    told = run(*words, "-o", out)
    assert told.exit_code == 3
    assert "1 test results" in told.output
    assert "1 vaccinations" in told.output
    assert "7 refused" in told.output
    assert "Nothing was published" in told.output
    refused = (tmp_path / "bundle.json.refused").read_text("utf-8").splitlines()
    assert len(refused) == 7
    assert refused[0].startswith("Bundle.entry[3].resource.status: it is none of")
    assert told.output.count("bundle.json, Bundle.entry[") == 5
    person = Key.load(key).pseudonym(SECRETS[0])
    assert {each["person"] for each in listed(out)} == {person}
    everything = out.read_bytes() + told.output.encode() + "\n".join(refused).encode()
    assert [secret for secret in SECRETS if secret.encode() in everything] == []
    assert run(*words).exit_code == 3
    written(path, bundle(patient(), immunization()))
    assert run(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("FILE", "--key", "KEY"), "need --identifier-system"),
        (("FILE", "--key", "nowhere", "--identifier-system", NIK), "cannot be read"),
        (("nowhere.json", "--key", "KEY", "--identifier-system", NIK), "cannot be read"),
        (("FILE", "--key", "KEY", "--identifier-system", NIK, "--codes", "FILE"), "cannot be used"),
        (("BROKEN", "--key", "KEY", "--identifier-system", NIK), "is no JSON"),
        (("FILE", "--key", "KEY", "--identifier-system", NIK, "--source", "\x07"), "--source is at most"),
    ],
)
def test_errors_are_sentences(tmp_path: Path, key: Path, words: tuple[str, ...], said: str) -> None:
    path = written(tmp_path / "bundle.json", bundle(patient()))
    (tmp_path / "broken.json").write_text('{"resourceType":\n "Bundle"', "utf-8")
    known = {"FILE": path, "KEY": key, "BROKEN": tmp_path / "broken.json"}
    told = run("health", "import", *(known.get(word, word) for word in words), "--dry-run")
    assert told.exit_code in (1, 2)
    assert said in told.output.replace("\n", " ")
    assert "Traceback" not in told.output


LIST = """fact,identity,person,at,outcome,test,product,dose,age_band,birth_date,place,country,until,record,withdrawn
test,3201010101900001,,2021-10-20T08:00:00+07:00,positive,antigen,,,,,,,,,
test,3201010101900001,,2021-10-21,,,,,,,,,,,yes
vaccination,,p1:abc,2021-08-30,,,CoronaVac,2,,,,,,MRN-4711,
recovery,,p1:abc,2021-07-15,,,,,,,,,,,
person,,p1:abc,,,,,,6-11,,,,,,
person,3201010101900002,,,,,,,,1990-05-17,,,,,
travel,,p1:abc,2021-10-01,,,,,,,Changi,SG,2021-10-03,,
"""


def facts_of(text: str, path: Path) -> tuple[list[HealthRecord | TestResult], list[str]]:
    path.write_text(text, "utf-8")
    faults: list[Fault] = []
    about = About("clinic", "officer", "purpose", NOW, ZONE)
    found = list(read_facts(str(path), Key("p1", b"a secret of more than 16 bytes"), about, faults.append))
    return found, [f"{each.line} {each.path}: {each.reason}" for each in faults]


def test_a_list_has_the_same_facts(tmp_path: Path) -> None:
    """One fact a line; a date is the day's begin in the zone, the end of a travel its end."""
    found, faults = facts_of(LIST, tmp_path / "facts.csv")
    assert faults == []
    tests = [each for each in found if isinstance(each, TestResult)]
    assert [(each.outcome, each.test) for each in tests] == [("positive", "antigen"), ("withdrawn", "pcr")]
    assert [each.fact for each in found if isinstance(each, HealthRecord)] == [
        VaccinationFact(product="CoronaVac", at_ms=parse_time("2021-08-30T00:00:00+07:00"), dose=2),
        RecoveryFact(recovered_ms=parse_time("2021-07-15T00:00:00+07:00")),
        PersonFact(age_band="6-11"),
        PersonFact(age_band="18-59"),
        TravelFact(
            place="Changi", country="SG", start_ms=parse_time("2021-10-01T00:00:00+07:00"),
            end_ms=parse_time("2021-10-04T00:00:00+07:00"),
        ),
    ]  # fmt: skip
    again, _ = facts_of(LIST, tmp_path / "facts.csv")
    assert again == found
    out = msgspec.json.encode(found).decode()
    assert [secret for secret in SECRETS if secret in out] == []
    records = {each.record_id for each in found if isinstance(each, HealthRecord)}
    assert len(records) == 4  # of a person there is one age band


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fact": "scan"}, "fact: it is none of test"),
        ({"identity": "", "person": "Siti Aminah"}, "person: it is no pseudonym"),
        ({"identity": "", "person": ""}, "person: it is missing"),
        ({"identity": "Siti\x00"}, "identity: it is no identity"),
        ({"at": "soon"}, "at: it is neither a date nor a time"),
        ({"at": ""}, "at: it is missing"),
        ({"at": "2031-01-01"}, "at: it is in the future"),
        ({"outcome": "Siti"}, "outcome: it is none of positive"),
        ({"test": "blood"}, "test: it is none of pcr"),
        ({"withdrawn": "perhaps"}, "withdrawn: "),
        ({"fact": "vaccination"}, "product: it is missing"),
        ({"fact": "vaccination", "product": "CoronaVac", "dose": "0"}, "dose: it is no number"),
        ({"fact": "person"}, "birth_date: it is missing"),
        ({"fact": "person", "age_band": "5-6"}, "age_band: "),
        ({"fact": "person", "birth_date": "17 May"}, "birth_date: it is no date"),
        ({"fact": "travel", "country": "Singapore"}, "until: it is missing"),
        ({"fact": "travel", "country": "sg", "until": "2021-10-21"}, "country: "),
        ({"fact": "travel", "country": "SG", "until": "2021-10-19"}, "until: it is no later"),
    ],
)
def test_a_line_with_a_fault_is_refused_by_its_column(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    first, *_ = csv.DictReader(io.StringIO(LIST))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(first))
    writer.writeheader()
    writer.writerow(first | change)
    writer.writerow(first)
    found, faults = facts_of(text.getvalue(), tmp_path / "facts.csv")
    assert len(found) == 1
    assert len(faults) == 1
    assert faults[0].startswith(f"2 {expected}")
    assert [secret for secret in SECRETS if secret in faults[0]] == []


def test_the_way_to_the_topics(broker: Broker, database: str, tmp_path: Path, key: Path) -> None:
    """Through the real broker: where records go and by what key, importing twice, records, declarations, the audit."""
    path = written(tmp_path / "bundle.json", bundle(patient(), observation(), immunization()))
    person = Key.load(key).pseudonym(SECRETS[0])
    day = (datetime.now(UTC) - timedelta(days=2)).date()  # what began longer ago than the retention is refused
    with pipeline(broker, database, tmp_path, partitions=2) as running:
        env = {**os.environ, **environment_of(running.settings)}
        running.register([Venue(venue="mall", category="mall")])
        for _ in range(2):
            told = run("health", "import", path, "--key", key, "--identifier-system", NIK, env=env)
            assert told.exit_code == 0, told.output
        dose = ("--vaccination", "CoronaVac", "--at", "2021-08-30")
        words = [
            ("record", person, *dose, "--dose", "2"),
            ("record", person, *dose, "--withdraw"),
            ("record", person, "--recovered", "2021-07-15"),
            ("record", person, "--age-band", "60+"),
            ("record", person, "--travel", "Changi", "--country", "SG", "--from", "2021-10-01", "--to", "2021-10-03"),
            ("declare", person, "--place", "Changi", "--country", "SG", "--from", "2021-10-01", "--to", "2021-10-03"),
            ("declare", person, "--venue", "mall", "--id", "d1", "--from", f"{day}T10:00Z", "--to", f"{day}T12:00Z"),
            ("declare", person, "--id", "d1", "--withdraw"),
        ]
        for each in words:
            told = run("health", *each, env=env)
            assert told.exit_code == 0, told.output
        wrong = [
            (("record", person), "tell one"),
            (("record", person, "--age-band", "60+", "--recovered", "2021-07-15"), "tell one"),
            (("record", person, "--recovered", "2099-07-15"), "in the future"),
            (
                (
                    "record",
                    person,
                    "--travel",
                    "X",
                    "--country",
                    "Singapore",
                    "--from",
                    "2021-10-01",
                    "--to",
                    "2021-10-03",
                ),
                "capital",
            ),
            (("declare", person, "--venue", "nowhere", "--from", "2021-10-01", "--to", "2021-10-01"), "no venue"),
            (("declare", person, "--venue", "mall", "--from", "2021-10-01", "--to", "2021-10-03"), "in parts"),
            (
                ("declare", person, "--venue", "mall", "--from", "2099-10-01T10:00Z", "--to", "2099-10-01T12:00Z"),
                "future",
            ),
            (("declare", person, "--withdraw"), "--id"),
            (("declare", person), "--venue or --place"),
        ]
        for each, said in wrong:
            told = run("health", *each, env=env)
            assert (told.exit_code, said in told.output) == (2, True), told.output
        found = read_topic(running.settings, "health-records")
        records = [each for each in found if each.value and each.value[:4] != CONTROL_MAGIC]  # no heartbeats and ticks
        held: dict[bytes, HealthRecord] = {}
        for record in records:
            message = msgspec.json.decode(record.value or b"", type=HealthRecord)
            assert record.key == health_key(message.person, message.record_id)
            assert record.partition == partition_of(person, running.settings.partitions.cases)
            if message.source not in {"test-results", "declarations"}:  # passed on: sooner or later, not always yet
                held[record.key] = message
        assert sorted(type(each.fact).__name__ for each in held.values()) == sorted(
            ["VaccinationFact", "VaccinationFact", "RecoveryFact", "PersonFact", "TravelFact"]
        )
        assert [each.withdrawn for each in held.values() if each.source == "officer"].count(True) == 1
        results = [
            msgspec.json.decode(each.value or b"", type=TestResult)
            for each in read_topic(running.settings, "test-results")
        ]
        assert len(results) == 2
        assert results[0] == results[1]
        declared = [
            msgspec.json.decode(each.value or b"", type=Declaration)
            for each in read_topic(running.settings, "declarations")
        ]
        assert [(each.venue, each.country, each.withdrawn) for each in declared] == [
            ("", "SG", False), ("mall", "ID", False), ("", "ID", True),
        ]  # fmt: skip
        with psycopg.connect(running.settings.database) as connection:
            audited = connection.execute(
                "select action, person from lacak.audit where action like 'health%'"
            ).fetchall()
        assert len(audited) == 2 + len(words)

"""`lacak migrate`: topics and tables once, by one process, and again without harm."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
from click.testing import CliRunner

from lacak.main import cli
from tests.pipeline import Broker


def _environment(broker: str, database: str, folder: Path) -> dict[str, str | None]:
    return {
        "LACAK_BROKERS": broker,
        "LACAK_DATABASE": database,
        "LACAK_DATA_DIR": str(folder),
        "LACAK_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:10]}.",
    }


def test_migrating_twice_is_migrating_once(broker: Broker, database: str, tmp_path: Path) -> None:
    """The first run makes all topics and tables, the second finds nothing to do."""
    name = f"t{uuid.uuid4().hex[:10]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
    own = database.replace("/postgres?", f"/{name}?")
    environment = _environment(broker.bootstrap, own, tmp_path)
    first = CliRunner().invoke(cli, ["migrate"], env=environment)
    assert first.exit_code == 0, first.output
    assert "0001_tables.sql" in first.output
    assert "scans" in first.output
    again = CliRunner().invoke(cli, ["migrate"], env=environment)
    assert (again.exit_code, again.output) == (0, "Tables: up to date.\nTopics: up to date.\n")
    with psycopg.connect(own) as connection:
        assert connection.execute("select count(*) > 4 from lacak.migrations").fetchone() == (True,)


def test_migrating_says_what_is_away(broker: Broker, tmp_path: Path) -> None:
    """A database that does not answer is a sentence and code 1, so that a Job tries again."""
    environment = _environment(broker.bootstrap, "postgresql://x@127.0.0.1:2/x", tmp_path)
    found = CliRunner().invoke(cli, ["migrate"], env=environment)
    assert found.exit_code == 1
    assert "LACAK_DATABASE right?" in found.output

"""Records that nobody can take do not keep a command from the others of their topic."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from lacak.deployment import ROLES
from lacak.main import cli
from lacak.published import publish_first, published_rules
from lacak.settings import environment_of
from schemas.keys import venue_key
from schemas.messages import Venue
from tests.pipeline import Broker, pipeline


def test_bad_records_of_venues_are_left_out_and_counted(broker: Broker, database: str, tmp_path: Path) -> None:
    """A record that is no JSON, one of another's key, and one that moves a venue: each is skipped, told of in a line,
    and what is good is listed, imported and registered as if they were not there."""
    only_registry = {role: int(role == "registry") for role in ROLES}
    with pipeline(broker, database, tmp_path, partitions=2, workers=only_registry, clock="live") as running:

        def run(*words: str) -> Result:
            found = CliRunner().invoke(cli, ["venues", *words], env=environment_of(running.settings))
            assert found.exit_code == 0, found.output
            assert "Traceback" not in found.output
            return found

        assert run("register", "mall", "--name", "Mal Kartini").stderr == ""
        running.send_raw("venues", [(0, b"k", b"\xff no venue")])
        told = run("list")
        assert "Mal Kartini" in told.stdout
        assert told.stderr.startswith("1 record is left out of the topic venues (partition 0, offset 1: ")
        assert told.stderr.count("\n") == 1

        moved = msgspec.json.encode(Venue(venue="mall", within="port", valid_from_ms=5))
        strange = msgspec.json.encode(Venue(venue="cafe"))
        running.send_raw("venues", [(0, venue_key("mall", 5), moved), (0, venue_key("kiosk", 0), strange)])
        (tmp_path / "venues.csv").write_text("venue,name\nkiosk,Kios\n")
        told = run("import", str(tmp_path / "venues.csv"))
        assert "1 record is in force; 2 in all." in told.stdout
        assert told.stderr.startswith("3 records are left out of the topic venues (the first: partition 0, offset 1: ")
        assert "Kios" in run("list").stdout
        assert "is in force" in run("register", "shop", "--within", "mall").stdout


def test_bad_records_of_rules_are_left_out(
    broker: Broker, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules that are in force are found beside a record that is none."""
    with pipeline(broker, database, tmp_path, partitions=2, workers=dict.fromkeys(ROLES, 0)) as running:
        assert publish_first(running.settings, 1)
        before = {file.id for file in published_rules(running.settings).files}
        assert before
        running.send_raw("rules", [(0, b"k", b"\xff no rules")])
        assert {file.id for file in published_rules(running.settings).files} == before
        assert "1 record is left out of the topic rules (" in capsys.readouterr().err

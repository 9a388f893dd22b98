"""A whole Lacak that cannot start, or whose servers fall: said in a sentence, and put right where that can be."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from lacak.deployment import Deployment, ServerFell
from lacak.main import cli, main
from streams import scraping
from streams.settings import Settings
from tests.pipeline import Broker


def _fall(server: object) -> None:
    """End a server as a crash would, without its owner's knowing."""
    os.kill(server._child.pid, signal.SIGKILL)  # type: ignore[attr-defined]


def _watch_until(lacak: Deployment, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "nothing was noticed"
        lacak.watch()
        time.sleep(0.05)


def test_servers_that_fall(tmp_path: Path) -> None:
    """PostgreSQL is started again, with what it held; without the broker there is nothing to go on with."""
    said: list[str] = []
    with Deployment(Settings(data_dir=tmp_path), say=said.append) as lacak:
        with psycopg.connect(lacak.settings.database, autocommit=True) as connection:
            connection.execute("create table kept (it int)")
        _fall(lacak._database)
        _watch_until(lacak, lambda: "PostgreSQL ended; starting it again" in said)
        with psycopg.connect(lacak.settings.database) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (0,)
        _fall(lacak._broker)
        with pytest.raises(ServerFell, match="its topics"):
            _watch_until(lacak, lambda: False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"LACAK_DATABASE": "postgresql://x@127.0.0.1:2/x"}, "LACAK_DATABASE right?"),
        ({"LACAK_DATA_DIR": "{folder}/file/in"}, "set LACAK_DATA_DIR"),
    ],
)
def test_what_cannot_start_says_why(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    """A wrong address or folder is a sentence, not a traceback."""
    (tmp_path / "file").touch()
    given = {name: value.format(folder=tmp_path) for name, value in settings.items()}
    env = {"LACAK_BROKERS": None, "LACAK_DATABASE": None, "LACAK_DATA_DIR": str(tmp_path / "data"), **given}
    found = CliRunner().invoke(cli, ["up"], env=env)
    assert found.exit_code == 1, found.output
    assert words in found.output


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LACAK_PROFILE", "nope", "There is no profile 'nope'"),
        ("LACAK_HOPS", "0", "LACAK_HOPS=0: a trace goes 1 to 10 hops."),
        ("LACAK_HOPS", "11", "LACAK_HOPS=11: a trace goes 1 to 10 hops."),
    ],
)
def test_traces_that_cannot_be_are_told_at_the_start(
    broker: Broker, tmp_path: Path, variable: str, value: str, words: str
) -> None:
    """Not at the first positive test, which would then fall again and again."""
    env = {
        "LACAK_BROKERS": broker.bootstrap,
        "LACAK_DATABASE": "postgresql://x@127.0.0.1:2/x",
        "LACAK_DATA_DIR": str(tmp_path),
        "LACAK_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:10]}.",
        variable: value,
    }
    found = CliRunner().invoke(cli, ["worker", "tracing"], env=env)
    assert found.exit_code == 3
    assert words in found.output


def test_a_taken_metrics_port_is_a_sentence() -> None:
    """Who reads the worker's last line knows what to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(scraping.PortTaken, match="LACAK_METRICS_PORT"):
            scraping.serve(Settings(metrics_port=other.getsockname()[1]), "visits")


def test_an_interrupted_demo_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The exit code that a command asks for is that of the process."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lacak.demo.Deployment", interrupted)
    monkeypatch.setattr("sys.argv", ["lacak", "demo"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_the_demo_ignores_nothing_it_is_given() -> None:
    """A registry without scans is a mistake, not another city."""
    found = CliRunner().invoke(cli, ["demo", "--venues", __file__])
    assert found.exit_code == 2
    assert "go with --scans" in found.output

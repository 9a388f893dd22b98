"""A network to PostgreSQL that falls silent: nobody is told, and the worker finds out in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lacak.settings import environment_of, read_settings
from security.settings import DatabaseNetwork
from streams.settings import HealthLimits

SHORT = DatabaseNetwork(idle_seconds=1, probe_seconds=1, probes=2, unacknowledged_seconds=3)


def alone(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a network of its own."""
    return subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, timeout=180, check=False)


def test_defaults_are_shorter_than_a_worker_may_be_silent() -> None:
    """A lost connection is known before the worker counts as unready for want of a commit; all of it can be set."""
    network = DatabaseNetwork()
    found = (network.idle_seconds + network.probes * network.probe_seconds, network.unacknowledged_seconds)
    assert max(found) + network.connect_seconds < HealthLimits().commit_seconds
    told = read_settings({"LACAK_DATABASE_NETWORK_PROBES": "7", "LACAK_DATABASE": "postgresql://x"})
    assert told.database_access.arguments()["keepalives_count"] == 7
    assert read_settings(environment_of(told)) == told


@pytest.mark.parametrize("when", ["waiting", "sending"])
def test_a_silent_network_is_found_out(tmp_path: Path, when: str) -> None:
    """The kernel is told to ask, and asks: while an answer is waited for, and when what is sent is not acknowledged,
    the connection ends about when the settings say; without them it would be after 15 minutes, or two hours."""
    if alone("true").returncode:
        pytest.skip("making a network of one's own is not allowed here")
    driver = [sys.executable, "-m", "tests.silent_network_driver", when, str(tmp_path / "postgres")]
    done = alone(*driver, msgspec.json.encode(SHORT).decode())
    assert done.returncode == 0, done.stderr
    told = msgspec.json.decode(done.stdout)
    assert told.pop("SO_KEEPALIVE") == 1
    assert 1.0 <= told.pop("seconds") < 20.0
    assert told == {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 3000}

"""A real Prometheus scrapes a running Lacak in its rush hour: every query of every panel and rule has an answer, and
alerts are raised by their fault and end with it. The rules are the deployment's, with all times shortened."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.dashboards import MARK, PAGE, answer, answer_sql, asked, busiest, recorded, short_rules
from bench.machine import bench_folder
from bench.sight import Sight, sight
from deploy.prometheus.live import filled_in
from tests.fix_prometheus import needs_prometheus

pytestmark = [
    needs_prometheus,
    # A client of kafka-python that finds its broker frozen leaves its sockets to the collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]
needs_time = pytest.mark.skipif(
    os.environ.get("LACAK_TEST_SIGHT") != "1",
    reason="faults and their alerts take a quiet quarter of an hour: make sight",
)

ANSWER_SECONDS = 120.0
FIRES_SECONDS = 90.0
RECOVERS_SECONDS = 180.0
REBUILT_SCANS = 2_000_000

MAY_BE_EMPTY = {
    ("Lacak: throughput", "Alerts"): "empty while all is well",
    ("Lacak: throughput", "Time of a rebalance"): "a time is told only within a minute of a rebalance",
}
"""Panels that may have no answer, and why."""

PROMISES = {
    f"Lacak{name}{lately}" for name in ("OccupancySlow", "ReportSlow", "FreshnessLost") for lately in ("", "Lately")
}


@pytest.fixture(scope="module")
def seen() -> Iterator[Sight]:
    """The running whole; what is no message comes only where a test sends it."""
    with bench_folder() as folder, sight(folder, rules=short_rules(folder / "rules"), odd=False) as running:
        yield running


def firing(seen: Sight, *names: str) -> bool:
    """Whether all of these alerts are firing."""
    up = seen.prometheus.firing()
    return all(up.get(name) == "firing" for name in names)


def symptoms(seen: Sight) -> set[str]:
    """The symptoms that are firing. A slow machine breaks promises of a second without any fault."""
    up = {name for name, state in seen.prometheus.firing().items() if state == "firing"}
    return up - PROMISES - {"LacakDiskFilling"}  # what else this machine writes within minutes, taken for a day


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 512 MiB, in memory, for the length of a `with` block."""
    folder.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "lacak", folder], check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def await_quiet(seen: Sight) -> None:
    """Wait until every symptom has ended."""
    seen.wait(lambda: not symptoms(seen), "no symptom", RECOVERS_SECONDS)


def test_every_query_has_an_answer() -> None:
    """Of every panel and recording rule, from the running pipeline, within two minutes of its rush hour; no alert's
    expression has a fault."""
    with bench_folder() as folder, sight(folder, rules=short_rules(folder / "rules")) as seen:
        missing = {(each.dashboard, each.panel, each.query) for each in asked()}
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline and any(key[:2] not in MAY_BE_EMPTY for key in missing):
            seen.keep()
            time.sleep(2.0)
            venue = busiest(seen.database)
            for each in asked():
                key = (each.dashboard, each.panel, each.query)
                if key in missing:
                    got = (
                        answer_sql(seen.database, each.query, venue)
                        if each.sql
                        else answer(seen.prometheus, filled_in(each.query))
                    )
                    if got.total:
                        missing.discard(key)
        assert {key for key in missing if key[:2] not in MAY_BE_EMPTY} == set()
        for rule in seen.prometheus.rules():
            assert rule["health"] == "ok", (rule["name"], rule.get("lastError"))
        silent = {name for name, _, is_alert in recorded() if not is_alert and not answer(seen.prometheus, name).total}
        assert silent <= {"lacak:report_slow:ratio_rate5m"}, silent  # five seconds without a report have no share


@needs_time
def test_all_is_quiet_while_nothing_is_wrong(seen: Sight) -> None:
    """The rush hour alone raises nothing: a start's alerts end by themselves, and for a while no other comes."""
    await_quiet(seen)
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline:
        seen.keep()
        assert symptoms(seen) == set()
        time.sleep(1.0)


def test_bad_letters_raise_their_alerts(seen: Sight) -> None:
    """A run of records that are no messages: both alerts of dead letters, and they end. The one fault that needs no
    quiet machine, so that every run of the tests sees an alert come and go."""
    alerts = {"LacakDeadLetters", "LacakDeadLettersMany"}
    assert not alerts & set(seen.prometheus.firing())

    def sent() -> bool:
        seen.rush.send_bad(5)
        return firing(seen, *alerts)

    seen.wait(sent, "the alerts of dead letters", FIRES_SECONDS)
    seen.wait(lambda: not alerts & set(seen.prometheus.firing()), "their end", RECOVERS_SECONDS)


@needs_time
def test_a_killed_worker_raises_its_alerts(seen: Sight) -> None:
    """Both places workers killed: they do not answer, their role is gone, counts and reports are late, reports lack
    answers; when they are back, all of it ends."""
    await_quiet(seen)
    gone = ("LacakWorkerGone", "LacakRoleGone", "LacakHeartbeatOld", "LacakFreshnessLost")
    with seen.down(seen.worker("places", 0), seen.worker("places", 1)):
        seen.wait(lambda: firing(seen, *gone), f"{gone}", FIRES_SECONDS)
        seen.wait(lambda: firing(seen, "LacakTracesIncomplete"), "LacakTracesIncomplete", FIRES_SECONDS)
    late = PROMISES - {"LacakFreshnessLost"}
    seen.wait(lambda: firing(seen, *late), f"{late}", FIRES_SECONDS)
    await_quiet(seen)


@needs_time
def test_a_stopped_database_raises_its_alerts(seen: Sight) -> None:
    """PostgreSQL killed: the recorder has none, falls behind, and what people read is old; then it ends."""
    await_quiet(seen)
    raised = ("LacakDatabaseAway", "LacakLagGrowing", "LacakHeartbeatOld", "LacakFreshnessLost")
    with seen.database_killed():
        seen.wait(lambda: firing(seen, *raised), f"{raised}", FIRES_SECONDS)
    await_quiet(seen)


@needs_time
def test_a_stopped_broker_raises_its_alerts(seen: Sight) -> None:
    """A broker that answers nothing: gateways write to their spools and read nothing, workers make nothing durable and
    do not commit; when it is back, what waited is sent, and all of it ends."""
    await_quiet(seen)
    raised = (
        "LacakBrokersAway", "LacakSpoolFilling", "LacakHeartbeatOld", "LacakNoCommit", "LacakSnapshotOld",
        "LacakCopiesStale",
    )  # fmt: skip
    with seen.broker_frozen():
        seen.wait(lambda: firing(seen, *raised), f"{raised}", FIRES_SECONDS)
    await_quiet(seen)


@needs_time
def test_workers_that_come_and_go_raise_their_alert(seen: Sight) -> None:
    """One more worker joins the others and leaves again and again: their group does nothing but divide its partitions
    anew, and they stand still."""
    await_quiet(seen)

    def came_and_went() -> bool:
        with seen.one_more("places"):
            pass
        return firing(seen, "LacakRebalancing")

    seen.wait(came_and_went, "LacakRebalancing", FIRES_SECONDS)
    await_quiet(seen)


@needs_time
def test_a_rebuild_that_does_not_end_raises_its_alert() -> None:
    """The places workers lose their snapshots, and the broker hangs in the midst of what they read anew."""
    with bench_folder() as folder, sight(folder, rules=short_rules(folder / "rules"), odd=False) as seen:
        seen.preload(REBUILT_SCANS)
        await_quiet(seen)
        with seen.rebuild_held_up():
            seen.wait(lambda: firing(seen, "LacakRecoveryLong"), "LacakRecoveryLong", FIRES_SECONDS)
        await_quiet(seen)


@needs_time
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, as root")
def test_a_full_disk_raises_its_alerts() -> None:
    """The gateway's disk fills: nothing can be made durable, so nothing is taken; then there is room again."""
    with bench_folder() as folder:
        disk = folder / "data" / "gateway"
        with small_disk(disk), sight(folder, rules=short_rules(folder / "rules"), odd=False) as seen:
            await_quiet(seen)
            place = seen.lacak.metrics["gateway-0"].removeprefix("http://").removesuffix("/metrics")

            def up() -> set[str]:
                alerts = seen.prometheus.query(f'ALERTS{{alertstate="firing", instance="{place}"}}')
                return {alert.labels["alertname"] for alert in alerts}

            filled, raised = disk / "filled", {"LacakDiskFull", "LacakDiskFilling", "LacakDoorErrors"}
            filled.write_bytes(bytes(shutil.disk_usage(disk).free - (8 << 20)))
            seen.wait(lambda: raised <= up(), f"{raised}", FIRES_SECONDS)
            filled.unlink()
            seen.wait(lambda: not up(), "an end of the disk's alerts", RECOVERS_SECONDS)


def test_the_page_has_every_panel_and_rule() -> None:
    """docs/dashboards.md has been made since a dashboard or a rule last changed."""
    made = PAGE.read_text("utf-8").partition(MARK)[2]
    for each in asked():
        assert f"**{each.panel}**. {each.description}" in made and f"`{each.query}`" in made, "make dashboards"
    for name, _, _ in recorded():
        assert f"`{name}`: " in made, "make dashboards"

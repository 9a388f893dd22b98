"""The metrics of a running pipeline: every one of the catalogue is told, with its labels and no name in them; ages
grow; what has stopped shows."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contacts.columns import ints
from contacts.figures import FULLNESS, fullness
from contacts.occupancy import UNKNOWN
from deploy.ports import free_port
from lacak.metrics_page import GROUPS
from lacak.officer_commands import send
from lacak.scrapes import Round, Scrape, Target, ask_all
from lacak.settings import environment_of, running
from schemas.exposition import PROCESSES
from schemas.messages import ContactDecision, Scan, TestResult, Venue
from streams.meters import observe_many
from streams.metrics import STATES, TIMED, WORKERS
from streams.stagemetrics import STAGES
from tests.pipeline import Broker, Pipeline, pipeline

HOUR = 3_600_000
_SUFFIXES = {"counter": ("_total",), "info": ("_info",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_BEATEN = {
    "visits": {"scans"},
    "places": {"visits"},
    "tracing": {"trace-answers"},
    "status": {"health-records"},
    "recorder": {"occupancy", "traces", "health-records", "statuses"},
    "gateway": {"occupancy", "statuses"},
}


def ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def live(broker: Broker, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline under the live clock, with a gateway, through which something of each kind has gone."""
    folder = tmp_path_factory.mktemp("metrics")
    options: dict[str, Any] = {"clock": "live", "partitions": 2, "retention_days": 28, "heartbeat_seconds": 0.5}
    with pipeline(broker, database, folder, gateway_port=free_port(), snapshot_seconds=0.5, **options) as found:
        found.register(
            [
                Venue(venue="mal-x", category="mall", region="ID-JK-01", capacity=3),
                Venue(venue="toko-x", category="shop", region="ID-JK-01", capacity=9, within="mal-x"),
                Venue(venue="warung-x", category="restaurant", region="ID-JB-02"),
            ]
        )
        now = ms()
        scans = [
            Scan(person=f"person-{number}", venue=venue, kind="in", at_ms=now - 2 * HOUR + number * 1000)
            for number in range(6)
            for venue in ("toko-x", "warung-x")
        ]
        late = [Scan(person="person-late", venue="mal-x", kind="in", at_ms=now - 96 * HOUR)]
        inside = [Scan(person=f"person-{number}", venue="toko-x", kind="in", at_ms=now - 1000) for number in range(4)]
        found.publish([*scans, *late, *inside])
        found.send_raw("scans", [(0, b"someone", b"{no scan")])
        positive = TestResult(person="person-1", outcome="positive", specimen_ms=now - 24 * HOUR)
        send(found.settings, "test-results", "person-1", positive)
        _ask_the_door(found)
        yield found


def _ask_the_door(found: Pipeline) -> None:
    """A device is added as an operator does, and asks about somebody."""
    environment = {**os.environ, **environment_of(found.settings)}
    command = [sys.executable, "-m", "lacak", "devices", "add", "door-1", "--scope", "scan"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    key = next(word for word in (said.stdout + said.stderr).split() if len(word) > 30)
    url = targets(found)["gateway-0"].removesuffix("/metrics")
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20.0) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, 120.0)
        headers = {"X-Lacak-Time": str(ms()), "Idempotency-Key": secrets.token_hex(16)}
        body = {"person": "person-9", "venue": "warung-x", "kind": "in"}
        assert client.post("/v1/scans", json=body, headers=headers).status_code == 200
        assert client.post("/v1/scans", json={"person": ""}, headers=headers).status_code >= 400


def targets(found: Pipeline) -> dict[str, str]:
    """Where each process tells its metrics, as `lacak top` finds it."""
    run = running(found.settings.data_dir)
    assert run is not None
    return run.metrics


def told(found: Pipeline) -> Round:
    """What every process tells now."""
    return ask_all([Target(*each) for each in targets(found).items()])


def wait_for(wanted: Callable[[], bool], seconds: float) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "it has not come"
        time.sleep(0.2)


def expected(stage: str) -> dict[str, Any]:
    """The metrics that a stage should tell, by the name of a sample of each."""
    if stage == "gateway":
        from gateway.metrics import CATALOGUE

        metrics = [*PROCESSES, *CATALOGUE]
    else:
        metrics = [*PROCESSES, *WORKERS, *STAGES.get(stage, ())]
        metrics += TIMED if stage in ("visits", "places") else ()
        metrics += STATES if stage in ("visits", "places", "status") else ()
    return {metric._name + suffix: metric for metric in metrics for suffix in _SUFFIXES[metric._type]}


_SENDERS = {"registry", "visits", "places", "tracing", "status"}
RARE = {
    "dead_letters": {"visits"},
    "commits": {"registry", "visits", "places", "tracing", "status", "recorder"},
    "gateway_problems": {"gateway"},
    "records_out": _SENDERS,
    "events_out": _SENDERS,
    "bytes_out": _SENDERS,
}
"""Told only once there was one, and here by these stages."""


def lacking(found: Pipeline) -> list[str]:
    """What should be told and is not."""
    lacks = []
    for name, scrape in told(found).items():
        stage = name.rpartition("-")[0]
        for sample, metric in expected(stage).items():
            rare = metric._name.removeprefix("lacak_")
            if not any(scrape.each(sample)) and stage in RARE.get(rare, {stage}):
                lacks.append(f"{name}: {sample}")
        topics = {labels["topic"] for labels, _ in scrape.each("lacak_heartbeat_seconds_count")}
        lacks += [f"{name}: a heartbeat by {topic}" for topic in _BEATEN.get(stage, set()) - topics]
    return lacks


def test_every_metric_is_told_by_the_running_pipeline(live: Pipeline) -> None:
    """By each stage that docs/metrics.md names for it; a decision about a contact too, once an officer makes one."""
    deadline = time.monotonic() + 180.0
    decided = False
    while lacks := lacking(live):
        if lacks == [lack for lack in lacks if "contact_decisions" in lack] and not decided:
            decided = True
            decision = ContactDecision(
                trace_id="t", person="person-1", contact="person-2", grade="confirmed", officer="o", purpose="p",
                decided_at_ms=ms(),
            )  # fmt: skip
            send(live.settings, "contact-decisions", "person-1", decision)
        assert time.monotonic() < deadline, lacks
        live.lacak.watch()
        time.sleep(0.5)


def test_labels_are_those_of_the_catalogue_and_name_nobody(live: Pipeline) -> None:
    """Each sample has `stage`, the labels that the catalogue says and no others; no label holds a person or a venue,
    and nothing is told that is in no catalogue."""
    known = {}
    for _, _, metrics in GROUPS:
        for metric in metrics:
            known.update({metric._name + suffix: metric for suffix in _SUFFIXES[metric._type]})
    for name, scrape in told(live).items():
        assert not scrape.fault, name
        for sample, found in scrape.samples.items():
            if not sample.startswith("lacak_"):
                continue
            metric = known[sample]
            for labels, _ in found:
                own = set(labels) - {
                    "le",
                    *(("version", "python", "role", "index") if sample.endswith("_info") else ()),
                }
                assert own == {"stage", *metric._labelnames}, sample
                assert labels["stage"] == name.rpartition("-")[0]
                assert not any(part in value for value in labels.values() for part in ("person", "-x")), sample


def test_what_the_pipeline_tells_is_so(live: Pipeline) -> None:
    """Counts that are known: scans by kind, check-ins by category and region, the late one, people inside, the case."""
    wait_for(lambda: told(live)["tracing-0"].sum("lacak_report_seconds_count") == 2, 60.0)
    found = told(live)
    visits, places, tracing = (found[f"{stage}-0"] for stage in ("visits", "places", "tracing"))
    assert visits.sum("lacak_scans_total", kind="in") == 17
    assert visits.sum("lacak_scans_total", kind="refused") == 0
    by_sort = {(labels["category"], labels["region"]): value for labels, value in visits.each("lacak_check_ins_total")}
    assert by_sort == {("mall", "ID-JK-01"): 1, ("shop", "ID-JK-01"): 10, ("restaurant", "ID-JB-02"): 6}
    assert visits.sum("lacak_late_scans_total") == 1
    assert visits.sum("lacak_scan_lateness_seconds_count") == 17
    late = {labels["le"]: value for labels, value in visits.each("lacak_scan_lateness_seconds_bucket")}
    assert (late["60.0"], late["3600.0"], late["21600.0"], late["259200.0"], late["+Inf"]) == (4, 4, 16, 16, 17)
    assert visits.sum("lacak_dead_letters_total", topic="scans", reason="undecodable") == 1
    assert places.sum("lacak_venues", fullness="over") == 1, "the mall is over its three"
    assert places.sum("lacak_venues", fullness="below_80") == 1, "the shop is not"
    assert places.sum("lacak_occupancy_seconds_count") >= 17
    assert tracing.sum("lacak_cases_total", change="opened") == 1
    assert tracing.sum("lacak_traces", state="complete") == 2
    assert found["gateway-0"].sum("lacak_gateway_decisions_total") == 1
    assert found["gateway-0"].sum("lacak_gateway_colours_total", colour="unknown") == 1


def test_ages_grow_between_scrapes_and_a_stopped_worker_shows(live: Pipeline) -> None:
    """The status worker stops: its own age is not told any more, those behind it grow, those before it stay young; when
    it goes on all are young again."""
    wait_for(lambda: _oldest(told(live)["gateway-0"]) < 5.0, 60.0)
    stopped = live.worker("status")
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: _oldest(told(live)["gateway-0"], "statuses") > 6.0, 60.0)
        found = told(live)
        assert found["status-0"].fault == "silent"
        assert _oldest(found["recorder-0"], "statuses") > 5.0
        assert _oldest(found["recorder-0"], "occupancy") < 5.0
        assert _oldest(found["gateway-0"], "occupancy") < 5.0
        first = _oldest(told(live)["recorder-0"], "statuses")
        time.sleep(0.5)
        assert _oldest(told(live)["recorder-0"], "statuses") > first
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    wait_for(lambda: _oldest(told(live)["gateway-0"]) < 5.0, 60.0)


def _oldest(scrape: Scrape, topic: str | None = None) -> float:
    labels = {} if topic is None else {"topic": topic}
    return scrape.most("lacak_heartbeat_age_seconds", **labels) or 0.0


def test_a_quiet_partition_of_health_records_makes_no_snapshots(live: Pipeline) -> None:
    """Heartbeats change nothing, so nothing is to be made durable for them."""
    wait_for(lambda: told(live)["status-0"].most("lacak_unsaved_seconds") == 0.0, 60.0)
    before = told(live)["status-0"].sum("lacak_snapshot_seconds_count")
    time.sleep(4.0)  # eight heartbeats, and a snapshot is due every half second
    after = told(live)["status-0"]
    assert after.sum("lacak_snapshot_seconds_count") == before
    assert (after.most("lacak_snapshot_age_seconds") or 0.0) >= 4.0


def top(found: Pipeline, *options: str, **more: str) -> str:
    """What `lacak top --once` prints in a terminal of 80 columns."""
    environment = {**os.environ, "LACAK_DATA_DIR": str(found.settings.data_dir), "COLUMNS": "80"}
    for name in ("LACAK_BROKERS", "LACAK_DATABASE"):
        environment.pop(name, None)
    environment.update(more)
    command = [sys.executable, "-m", "lacak", "top", "--once", *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_top_shows_the_running_pipeline(live: Pipeline) -> None:
    """All is well; every process with its partitions, the counts, and what is inside; in 80 columns."""
    wait_for(lambda: "● alive:" in top(live), 60.0)
    said = top(live)
    assert max(map(len, said.splitlines())) <= 80
    for stage, held in (("visits-0", "scans 0-1"), ("places-0", "visits 0-1"), ("status-0", "health-records 0-1")):
        assert any(line.startswith(stage) and line.rstrip().endswith(held) for line in said.splitlines()), said
    assert "dead letters 1: scans undecodable 1" in said
    assert "2 complete" in said
    assert "mal-x" in said and "toko-x" in said
    assert "▲ no broker listens at 127.0.0.1:1:" in top(live, LACAK_BROKERS="127.0.0.1:1")
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    assert "▲ PostgreSQL does not answer" in top(live, LACAK_BROKERS=live.settings.brokers, LACAK_DATABASE=away)


def test_top_by_way_of_a_prometheus(live: Pipeline, tmp_path: Path) -> None:
    """A real Prometheus that asks the processes is as good as asking them; another program's metrics are left out."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no prometheus here")
    port = free_port()
    addresses = [url.removeprefix("http://").removesuffix("/metrics") for url in targets(live).values()]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "lacak-worker", "static_configs": [{"targets": [*addresses, "127.0.0.1:1"]}]},
            {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    command = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/-/ready").status_code == 200 if _listens(port) else False, 60.0)

        def seen() -> bool:
            said = top(live, "--prometheus", url)
            stages = [line.split()[:2] for line in said.splitlines() if line]
            return all([stage, "1/1"] in stages for stage in _BEATEN) and "127.0.0.1:1 is gone" in said

        wait_for(seen, 60.0)
        assert f"127.0.0.1:{port}" not in top(live, "--prometheus", url).replace(f"brokers 127.0.0.1:{port}", "")
    finally:
        server.terminate()
        server.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_top_says_that_a_worker_is_gone_and_when_it_is_back(live: Pipeline) -> None:
    """A killed places worker is told of first, and its stage has nobody; started again, all is well by and by."""
    live.worker("places").kill()
    said = top(live)
    assert "▲ places-0 is gone" in said
    assert "GONE: nothing listens where it was" in said
    assert ["places", "0/1"] in [line.split()[:2] for line in said.splitlines() if line]
    live.lacak.watch()
    wait_for(lambda: "● alive:" in top(live), 120.0)


@pytest.mark.parametrize(
    ("inside", "allowed", "wanted"),
    [
        ([], [], (0, 0, 0, 0, 0)),
        ([0, -1, 0], [5, 5, UNKNOWN], (0, 0, 0, 0, 0)),
        ([1, 7, 8, 9, 10, 11], [UNKNOWN, 10, 10, 10, 10, 10], (1, 1, 2, 1, 1)),
        ([1, 1], [0, 1], (0, 0, 0, 1, 1)),
    ],
)
def test_how_full(inside: list[int], allowed: list[int], wanted: tuple[int, ...]) -> None:
    """A venue is of one sort; one that is empty, or of which nothing was told, of none."""
    assert fullness(ints(inside), ints(allowed)) == wanted
    assert len(wanted) == len(FULLNESS)


def test_observing_many_at_once_is_observing_each() -> None:
    """One call leaves what as many calls of `observe` leave."""
    from prometheus_client import CollectorRegistry, Histogram

    registry = CollectorRegistry()
    one = Histogram("one", "", registry=registry, buckets=(0.5, 1.0, 2.0))
    many = Histogram("many", "", registry=registry, buckets=(0.5, 1.0, 2.0))
    for value, count in ((0.5, 3), (0.50001, 2), (7.0, 4), (0.0, 1), (2.0, 5)):
        observe_many(many, value, count)
        for _ in range(count):
            one.observe(value)
    samples = [
        {
            (each.name.removeprefix(name), *each.labels.values()): each.value
            for family in metric.collect()
            for each in family.samples
        }
        for name, metric in (("one", one), ("many", many))
    ]
    assert samples[0] == pytest.approx(samples[1])

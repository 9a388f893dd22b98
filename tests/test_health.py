"""Probes that mean something: alive is a loop that turns, ready is a worker that does its part."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import Tansu
from deploy.ports import free_ports
from lacak.processes import Worker, _last_line
from schemas.messages import Scan, Venue
from streams.batches import Batch
from streams.health import Health
from streams.keepers import DurableEachBatch
from streams.partitions import Owner
from streams.settings import HealthLimits, Settings, Transport
from streams.snapshots import SnapshotStore
from tests.counting_role import Count, load
from tests.pipeline import Broker, Pipeline, pipeline

LIMITS = HealthLimits(live_seconds=60.0, broker_seconds=20.0, behind_seconds=120.0)


class Hands:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _health() -> tuple[Hands, Health]:
    clock = Hands()
    return clock, Health("visits", 0, LIMITS, clock, lambda: int(clock.now * 1000))


def test_a_worker_is_not_ready_before_it_says_so() -> None:
    """It lives from its start, and is ready when its loop has said that nothing speaks against it."""
    _, health = _health()
    assert health.live()[0] == 200
    assert health.ready()[0] == 503
    health.turned((), {"scans": (0, 2)})
    status, probe = health.ready()
    assert (status, probe.state, probe.partitions) == (200, "ready", {"scans": (0, 2)})


def test_a_loop_that_does_not_turn_is_dead() -> None:
    """After so long, and neither alive nor ready; when it turns again, it is both."""
    clock, health = _health()
    health.turned((), {})
    health.answered()
    clock.now += LIMITS.live_seconds
    health.answered()
    assert (health.live()[0], health.ready()[0]) == (200, 200)
    clock.now += 1
    health.answered()
    status, probe = health.live()
    assert (status, probe.state) == (503, "hung")
    assert "has not turned for 61 s" in probe.reasons[0]
    assert health.ready()[0] == 503
    health.turned((), {})
    assert (health.live()[0], health.ready()[0]) == (200, 200)


def test_silent_brokers_are_no_reason_to_start_anew() -> None:
    """However long they are silent the worker lives; it is not ready."""
    clock, health = _health()
    for _ in range(1000):
        clock.now += 10
        health.turned((), {})
    assert health.live()[0] == 200
    status, probe = health.ready()
    assert (status, probe.reasons) == (503, ("No broker has answered for 10000 s.",))


class Nothing:
    """An outbox of whom nobody wants anything."""

    async def flush(self) -> None:
        """Done."""


def _batch(first: int, count: int, highwater: int, stamp_ms: int = 0) -> Batch:
    offsets = range(first, first + count)
    return Batch("scans", 0, offsets, [stamp_ms] * count, [None] * count, [b""] * count, highwater=highwater)


async def _owner(tmp_path: Path, start: int, end: int) -> Owner[Count]:
    store = SnapshotStore(tmp_path, "cluster")
    owner = Owner("scans", lambda _: Count(), load, store, Nothing(), Settings(), time.monotonic)
    await owner.assigned(frozenset({0}))
    assert owner.rebuilding() == [0], "nothing is known of the log yet"
    owner.ends[0] = end
    owner.begins(0, start)
    return owner


async def _takes(owner: Owner[Count], batch: Batch) -> None:
    held = await owner.take(batch)
    assert held is not None
    await owner.done(held[1])


async def _rebuilds(tmp_path: Path, start: int, end: int) -> None:
    owner = await _owner(tmp_path, start, end)
    for first in range(start, end, 10):
        assert owner.rebuilding() == [0]
        await _takes(owner, _batch(first, 10, 100))
    assert owner.rebuilding() == []


def test_a_state_is_rebuilt_until_it_has_what_was_there(tmp_path: Path) -> None:
    """From the first record that is retained to where the log ended when reading began; what came later is lag."""
    for number, (start, end) in enumerate([(0, 30), (10, 30)]):
        asyncio.run(_rebuilds(tmp_path / str(number), start, end))


@pytest.mark.parametrize(("start", "end"), [(0, 0), (70, 70)])
def test_an_empty_log_is_rebuilt_at_once(tmp_path: Path, start: int, end: int) -> None:
    """Where nothing was ever written, or all of it has expired."""

    async def run() -> None:
        assert (await _owner(tmp_path, start, end)).rebuilding() == []

    asyncio.run(run())


def test_a_snapshot_that_is_not_read_yet_is_no_state(tmp_path: Path) -> None:
    """Even where the log has nothing more: the state is in no memory yet."""
    SnapshotStore(tmp_path, "cluster").write("scans", 0, 30, Count(30, 0).dump())

    async def run() -> None:
        owner = await _owner(tmp_path, 30, 30)
        assert owner.rebuilding() == [0]
        await owner.warm()
        assert owner.rebuilding() == []

    asyncio.run(run())


def test_how_long_records_wait() -> None:
    """Since the brokers had the last record taken, while there are more; at the end of the log nobody waits."""

    async def run() -> None:
        keeper = DurableEachBatch("scans", time.monotonic)
        await keeper.assigned(frozenset({0}))
        keeper.begins(0, 0)
        assert keeper.waited(10_000) == {}
        for first, highwater, expected in ((0, 100, {0: 7.0}), (10, 20, {})):
            fresh = await keeper.take(_batch(first, 10, highwater, stamp_ms=3_000))
            assert fresh is not None
            await keeper.done(fresh)
            assert keeper.waited(10_000) == expected
        await keeper.take(_batch(20, 10, 100, stamp_ms=3_000))
        await keeper.revoked()
        assert keeper.waited(10_000) == {}

    asyncio.run(run())


# On a real pipeline.


def ask(port: int, path: str, timeout: float = 2.0) -> tuple[int, Any]:
    """Status and body; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


class Probed:
    """The workers of a pipeline and where each answers."""

    def __init__(self, running: Pipeline) -> None:
        self.workers = running.lacak.workers
        self._first = running.settings.metrics_port

    def port(self, worker: Worker) -> int:
        return self._first + self.workers.index(worker)

    def ready(self, worker: Worker) -> tuple[int, Any]:
        return ask(self.port(worker), "/ready")

    def live(self, worker: Worker) -> int:
        return ask(self.port(worker), "/live")[0]

    def all(self, path: str) -> set[int]:
        return {ask(self.port(worker), path)[0] for worker in self.workers}

    def wait_ready(self, seconds: float) -> None:
        """Until all are; else it says what speaks against it."""
        deadline = time.monotonic() + seconds
        while against := {w.log.stem: body for w in self.workers if (body := self.ready(w))[0] != 200}:
            assert time.monotonic() < deadline, f"not ready after {seconds:.0f} s: {against}"
            time.sleep(0.05)


def wait_until(done: Callable[[], object], seconds: float, what: str) -> None:
    """Look every 50 ms."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _town() -> list[Venue]:
    return [Venue(venue=f"v{number}", name=f"v{number}", category="mall", valid_from_ms=0) for number in range(5)]


def _scans(count: int, at_ms: int) -> list[Scan]:
    return [Scan(person=f"p1:{n:032x}", venue=f"v{n % 5}", kind="in", at_ms=at_ms - n % 1000) for n in range(count)]


def test_a_stopped_process_and_a_standby(broker: Broker, database: str, tmp_path: Path) -> None:
    """All become ready, a member without partitions too; one that is stopped (SIGSTOP) does not answer /live, and the
    others do not mind; when it goes on, it is alive and ready again."""
    first = free_ports(8)[0]
    with pipeline(
        broker, database, tmp_path, partitions=1, workers={"visits": 2}, clock="live", metrics_port=first,
        retention_days=28,
    ) as running:  # fmt: skip
        probed = Probed(running)
        probed.wait_ready(90)
        visits = [running.worker("visits", index) for index in (0, 1)]
        held = sorted(len(probed.ready(worker)[1].get("partitions", {}).get("scans", ())) for worker in visits)
        assert held == [0, 1], "one holds the partition, the other stands by"
        recorder = running.worker("recorder")
        os.kill(recorder.pid, signal.SIGSTOP)
        try:
            assert ask(probed.port(recorder), "/live", timeout=3.0)[0] == 0
            assert {probed.live(worker) for worker in probed.workers if worker is not recorder} == {200}
        finally:
            os.kill(recorder.pid, signal.SIGCONT)
        wait_until(lambda: probed.live(recorder) == 200, 10, "it does not live again")
        wait_until(lambda: probed.ready(recorder)[0] == 200, 60, "it is not ready again")


def test_ready_means_rebuilt(broker: Broker, database: str, tmp_path: Path) -> None:
    """A worker that has lost its state is not ready before it has all that was in the log when it began."""
    first, count = free_ports(6)[0], 20_000
    with pipeline(
        broker, database, tmp_path, partitions=1, clock="live", metrics_port=first, retention_days=28
    ) as running:
        probed = Probed(running)
        probed.wait_ready(90)
        running.register(_town())
        running.publish(_scans(count, time.time_ns() // 1_000_000), blocks=False)
        worker = running.worker("visits")
        wait_until(lambda: _taken(probed.port(worker)) >= count, 60, "the scans were not taken")
        worker.kill()
        for path in sorted((running.settings.data_dir / "state" / "visits").rglob("manifest*")):
            path.unlink()
        worker.start()
        said: set[str] = set()

        def ready() -> bool:
            status, body = probed.ready(worker)
            said.update((body or {}).get("reasons", ()))
            return status == 200

        wait_until(ready, 90, f"it is not ready again: {said}")
        assert _taken(probed.port(worker)) >= count
        assert "It is joining its group." in said


def _taken(port: int) -> float:
    """How many records of scans the worker has taken."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("lacak_records_in_total{") and 'topic="scans"' in line
    )


def test_without_brokers_all_live_and_none_is_ready(database: str, tmp_path: Path) -> None:
    """Nothing is started anew because of an outage: each says that no broker answers, and goes on living, for longer
    than a request takes to fail."""
    broker = Tansu(tmp_path / "broker")
    broker.start()
    try:
        with pipeline(
            broker, database, tmp_path, clock="live", metrics_port=free_ports(6)[0], retention_days=28,
            health=HealthLimits(broker_seconds=3.0, stop_seconds=1.0),
            transport=Transport(session_timeout_seconds=6),
        ) as running:  # fmt: skip
            probed = Probed(running)
            probed.wait_ready(90)
            broker.stop()
            wait_until(lambda: probed.all("/ready") == {503}, 30, "some are ready without a broker")
            for worker in probed.workers:
                assert any("No broker has answered" in reason for reason in probed.ready(worker)[1]["reasons"])
            until = time.monotonic() + 35
            while time.monotonic() < until:
                fallen = [_last_line(each.log) for each in probed.workers if each.fell]
                assert (fallen, probed.all("/live")) == ([], {200})
                time.sleep(1.0)
    finally:
        broker.stop()

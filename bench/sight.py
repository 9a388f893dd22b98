"""A small Lacak in its rush hour under the eyes of a real Prometheus, with faults to be made: for tests, for
docs/dashboards.md, and for a look at the dashboards as an operator would have it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import msgspec
import psutil

from bench.producing import publish
from bench.rush import Rush
from bench.trace import history
from bench.workload import Shape, Workload
from deploy.embedded import Postgres, Tansu
from deploy.ports import free_port, free_ports
from deploy.prometheus.server import RULES, Prometheus
from gateway.devices import Devices
from gateway.keyring import Keyring
from gateway.running import DEVICES_FILE, KEYS_FOLDER
from lacak.clock import SystemClock
from lacak.deployment import Deployment
from lacak.level import wait_registry
from lacak.processes import Worker, stop_all
from lacak.scrapes import Target, ask_all
from lacak.settings import environment_of
from lacak.venues import publish_venues
from streams.settings import Partitions, Settings, Snapshots, Transport

_READY_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.5
_SOON_SECONDS: Final = 0.05
_IN_HAND_SECONDS: Final = 2.0
_ONE_MORE: Final = 9
_SHARED_WORKERS: Final = {"visits": 2, "places": 2}


class NotSeen(RuntimeError):
    """What was waited for has not come in time; the message says what it was."""


class Sight:
    """The running parts: the deployment with its rush hour, and the Prometheus that scrapes it."""

    def __init__(
        self, lacak: Deployment, rush: Rush, prometheus: Prometheus, broker: Tansu, postgres: Postgres
    ) -> None:
        self.lacak, self.rush, self.prometheus = lacak, rush, prometheus
        self._broker, self._postgres = broker, postgres
        self._kept_down: set[int] = set()

    @property
    def database(self) -> str:
        """The address of its PostgreSQL."""
        return self.lacak.settings.database

    def worker(self, role: str, index: int = 0) -> Worker:
        """One of its processes; the gateway goes by the role `gateway`."""
        return next(each for each in self.lacak.workers if (each.role, each.index) == (role, index))

    def wait(self, seen: Callable[[], bool], what: str, seconds: float, look: float = _LOOK_SECONDS) -> float:
        """Wait until something is seen, keeping the workers up meanwhile; how long it took. Raises NotSeen."""
        began = time.monotonic()
        while not seen():
            if time.monotonic() - began > seconds:
                raise NotSeen(
                    f"{what}: not within {seconds:.0f} s; the traffic says {self.rush.trouble or 'nothing'}; "
                    f"up are {self.prometheus.firing()}, not answering {self.prometheus.down()}"
                )
            self.keep()
            time.sleep(look)
        return time.monotonic() - began

    def keep(self) -> None:
        """Start again what has fallen, but for what is kept down."""
        for worker in self.lacak.workers:
            if worker.pid not in self._kept_down:
                worker.watch(lambda _: None)

    @contextmanager
    def down(self, *workers: Worker) -> Iterator[None]:
        """Workers that are killed and not started again before the block ends."""
        for worker in workers:
            worker.kill()
            self._kept_down.add(worker.pid)
        try:
            yield
        finally:
            for worker in workers:
                self._kept_down.discard(worker.pid)
            self.keep()

    @contextmanager
    def broker_frozen(self) -> Iterator[None]:
        """A broker that hangs: connections stand, and nothing is answered.

        It begins when PostgreSQL has held back the recorder for a moment, which then writes what it has in hand: so
        there is something that is not committed.
        """
        with ExitStack() as stack:
            with _frozen([self._postgres.pid, *(each.pid for each in psutil.Process(self._postgres.pid).children())]):
                time.sleep(_IN_HAND_SECONDS)
                stack.enter_context(_frozen([self._broker.pid]))
            yield

    @contextmanager
    def one_more(self, role: str) -> Iterator[None]:
        """Another worker of a role that has joined the others, and leaves them at the end. Raises NotSeen."""
        port = free_port()
        own = msgspec.structs.replace(self.lacak.settings, metrics_port=port, worker_index=_ONE_MORE, role=role)
        worker = Worker(role, _ONE_MORE, environment_of(own), own.data_dir / "logs")
        worker.start()
        try:
            self.wait(lambda: _is_ready(port), f"one more of {role}", _READY_SECONDS)
            yield
        finally:
            stop_all([worker])

    def preload(self, scans: int) -> None:
        """A day's scans of a city that has ended just now: so much that to rebuild its state takes seconds."""
        settings, workload = self.lacak.settings, Workload(Shape(scans=scans, people=scans // 10, venues=scans // 1000))
        began_ms = time.time_ns() // 1_000_000 - 10_000
        publish_venues(settings, workload.registrations())
        wait_registry(settings, began_ms, seconds=_READY_SECONDS)
        made = history(workload, time.time_ns() // 1_000_000)
        asyncio.run(publish(settings.brokers, settings.topic("scans"), settings.partitions.scans, workload, made))

    @contextmanager
    def rebuild_held_up(self) -> Iterator[None]:
        """Workers of places that have lost their snapshots, and a broker that hangs while they read their partitions
        anew. Raises NotSeen."""
        workers = [each for each in self.lacak.workers if each.role == "places"]
        targets = [Target(each, self.lacak.metrics[each]) for each in (f"places-{each.index}" for each in workers)]
        with self.down(*workers):
            shutil.rmtree(self.lacak.settings.data_dir / "state" / "places")
        self.wait(
            lambda: any(each.most("lacak_recovery_in_progress") for each in ask_all(targets).values()),
            "a rebuild", _READY_SECONDS, look=_SOON_SECONDS,
        )  # fmt: skip
        with _frozen([self._broker.pid]):
            yield

    @contextmanager
    def database_killed(self) -> Iterator[None]:
        """No PostgreSQL, before it is started again over the same data."""
        self._postgres.kill()
        try:
            yield
        finally:
            self._postgres.start()

    @contextmanager
    def frozen(self, *workers: Worker) -> Iterator[None]:
        """Workers that hang; they answer nobody, Prometheus neither."""
        with _frozen([worker.pid for worker in workers]):
            yield


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/ready", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def sight(
    folder: Path,
    *,
    rules: Path = RULES,
    interval: str = "2s",
    rate: float = 40.0,
    people: int = 3000,
    odd: bool = True,
) -> Iterator[Sight]:
    """The whole of it for the length of a `with` block. Prometheus scrapes every `interval`; `odd` as for a Rush."""
    with ExitStack() as stack:
        broker, database = Tansu(folder / "broker"), Postgres(folder / "postgres")
        for server in (broker, database):
            stack.callback(server.stop)
            server.start()
        settings = Settings(
            brokers=broker.bootstrap,
            database=database.url,
            data_dir=folder / "data",
            metrics_port=free_ports(12)[0],
            partitions=Partitions(scans=4, visits=4, cases=2),
            transport=Transport(session_timeout_seconds=10),
            snapshots=Snapshots(every_seconds=5.0),
            heartbeat_seconds=1.0,
        )
        gateway = settings.data_dir / "gateway"
        clock, port = SystemClock(), free_port()
        Keyring.make(gateway / KEYS_FOLDER, clock.now_ms())
        with Devices(gateway / DEVICES_FILE) as devices:
            key = devices.add("rush", ("scan", "staff"), clock.now_ms(), per_second=1e6, burst=1_000_000)
        lacak = stack.enter_context(Deployment(settings, workers=_SHARED_WORKERS, gateway_port=port))
        scraped = [
            f"127.0.0.1:{settings.metrics_port + i}" for i, each in enumerate(lacak.workers) if each.role != "gateway"
        ]
        targets = {"lacak-worker": scraped, "lacak-gateway": [f"127.0.0.1:{port}"]}
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", targets, rules=rules, interval=interval))
        rush = Rush(settings, port, key, people=people, rate=rate, odd=odd)
        seen = Sight(lacak, rush, prometheus, broker, database)
        wanted = len(lacak.workers)
        seen.wait(
            lambda: prometheus.value("count(max_over_time(up[20s]) == 1)") == wanted,
            "all workers answer Prometheus",
            _READY_SECONDS,
        )
        stack.enter_context(rush)
        yield seen

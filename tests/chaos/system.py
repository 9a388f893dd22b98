"""The pipeline under the harness: worker processes and a gateway that are watched, wronged, and started again.

Everything here is called from the main thread: the kernel ends a child with the thread that started it.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from gateway.devices import Devices
from gateway.running import DEVICES_FILE
from lacak.processes import Worker
from lacak.settings import environment_of
from streams.postgres import adopt
from streams.settings import HealthLimits, Partitions, Settings, Snapshots, Transport
from streams.topics import TopicError, cluster_id, ensure_topics, topic_specs
from tests.chaos.schedule import ROLES, SESSION_SECONDS, Schedule
from tests.chaos.servers import Cluster, Database
from tests.pipeline import new_database

FAKETIME: Final = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
"""libfaketime, which moves the clock of a process while it runs (Debian: libfaketime); None where it is not."""

_STOP_SECONDS: Final = 10.0
_SMALL_DISK: Final = 24 << 20
_BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
_CALM_SECONDS: Final = 20.0


class Refused(RuntimeError):
    """A worker ended with the exit code that says that somebody has to look."""


class Member:
    """One process of the pipeline: whether it is meant to run, and how often it fell by itself."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.wanted = True
        self.falls = 0
        self.fell_at: float | None = None
        self._started = 0.0

    @property
    def name(self) -> str:
        """Role and index."""
        return f"{self.worker.role}-{self.worker.index}"

    def start(self) -> None:
        """Start it."""
        self.wanted, self.fell_at = True, None
        self._started = time.monotonic()
        self.worker.start()

    def kill(self) -> None:
        """End it by SIGKILL; it stays down until it is started."""
        self.wanted = False
        self.worker.kill()

    def leave(self, seconds: float = _STOP_SECONDS + 3.0) -> None:
        """Ask it to stop, and wait for it."""
        self.wanted = False
        self.worker.ask_to_stop()
        self.worker.wait(seconds)

    def watch(self) -> None:
        """Start it again when it has ended by itself, the later the more often it does. Raises Refused."""
        process = self.worker._process
        if not self.wanted or process is None or (code := process.poll()) is None:
            return
        now = time.monotonic()
        if code == 3:
            raise Refused(f"{self.name} ended with code 3, and would again: see {self.worker.log}")
        if self.fell_at is None:
            self.fell_at = now
            self.falls = self.falls + 1 if now - self._started < _CALM_SECONDS else 1
        if now - self.fell_at >= _BACK_OFF_SECONDS[min(self.falls, len(_BACK_OFF_SECONDS)) - 1]:
            falls = self.falls
            self.start()
            self.falls = falls


def _make_topics(settings: Settings) -> None:
    """Brokers that have just started, on a machine that is busy, may be slow the first time."""
    for _ in range(2):
        try:
            ensure_topics(settings)
        except TopicError:
            continue
        return
    ensure_topics(settings)


class System:
    """A deployment with topics and a database of its own over standing servers."""

    def __init__(
        self, schedule: Schedule, cluster: Cluster, database: Database, folder: Path, gateway_port: int
    ) -> None:
        self.schedule, self.cluster, self.database, self.folder = schedule, cluster, database, folder
        name = f"c{schedule.seed}x{os.getpid()}x{time.monotonic_ns() % 1_000_000}"
        database.wait()
        new_database(database.direct, name)  # with its tables
        data = folder / "data"
        self.settings = Settings(
            brokers=cluster.bootstrap,
            database=database.url.replace("/postgres?", f"/{name}?"),
            data_dir=data,
            topic_prefix=f"{name}.",
            clock="live",
            profile="who",
            partitions=Partitions(scans=4, visits=4, cases=2),
            transport=Transport(session_timeout_seconds=SESSION_SECONDS, replication=cluster.size),
            snapshots=Snapshots(every_seconds=1.0, every_records=500),
            health=HealthLimits(stop_seconds=_STOP_SECONDS),
        )
        self.own = msgspec.structs.replace(
            self.settings, brokers=cluster.direct, database=database.direct.replace("/postgres?", f"/{name}?")
        )
        """How the harness itself reaches the servers: past the network."""
        self.small_disk: Path | None = None
        self.members: list[Member] = []
        self.gateway_port = gateway_port
        self.device_key = ""
        self._clocks = folder / "clocks"
        self._limited: dict[str, int] = {}

    def open(self) -> None:
        """Make topics and tables, and start everything."""
        _make_topics(self.own)
        adopt(self.own.database, cluster_id(self.own))
        self._clocks.mkdir(parents=True)
        home = self.settings.data_dir / "gateway"
        home.mkdir(parents=True)
        if any(fault.kind == "disk" for fault in self.schedule.faults):
            self._mount()
        with Devices(home / DEVICES_FILE) as devices:
            self.device_key = devices.add("chaos", ("scan",), time.time_ns() // 1_000_000, per_second=1e6, burst=10**6)
        for role in ROLES:
            for index in range(self.schedule.workers.get(role, 1)):
                self.members.append(self._member(role, index))
        self.members.append(self._member("gateway", 0))
        for member in self.members:
            member.start()

    def close(self, *, forget: bool) -> None:
        """Stop everything, and leave the folder; topics and database too, unless they are to be forgotten."""
        for member in self.members:
            member.kill()
        if forget:
            self._forget()
        if self.small_disk is not None:
            subprocess.run(["umount", str(self.small_disk)], check=False, capture_output=True)

    def _forget(self) -> None:
        """Take topics and database away, so that the servers are as new for the next run."""
        with suppress(KafkaError, psycopg.Error):
            admin = KafkaAdminClient(bootstrap_servers=self.own.brokers.split(","), request_timeout_ms=10_000)
            with closing(admin):
                admin.delete_topics([self.own.topic(each.name) for each in topic_specs(self.own)])
            name = self.own.topic_prefix.removesuffix(".")
            with psycopg.connect(self.database.direct, autocommit=True) as database:
                database.execute(f'drop database if exists "{name}" with (force)'.encode())

    def named(self, target: str) -> list[Member]:
        """The members of a role, or the one that is named `role-index`."""
        return [each for each in self.members if target in (each.name, each.worker.role)]

    def watch(self) -> None:
        """Start again what fell by itself. Raises Refused."""
        for member in self.members:
            member.watch()
            if (limit := self._limited.get(member.worker.role)) is not None and member.worker.pid:
                _limit(member.worker.pid, limit)

    # Wrongs that a system can do to itself.

    def stop(self, target: str) -> Callable[[], None]:
        """SIGSTOP; what is returned wakes it."""
        member = self.named(target)[0]
        pid = member.worker.pid
        _signal(pid, signal.SIGSTOP)

        def wake() -> None:
            if member.worker.pid == pid:  # nobody has started another meanwhile
                _signal(pid, signal.SIGCONT)

        return wake

    def join(self, role: str) -> Member:
        """Another worker of a role."""
        index = 1 + max(each.worker.index for each in self.named(role))
        member = self._member(role, index)
        self.members.append(member)
        member.start()
        return member

    def set_clock(self, role: str, seconds: float) -> None:
        """Set the clock of a role's processes off; 0: right again."""
        path = self._clocks / role
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(path)

    def fill_disk(self, role: str) -> str:
        """Let the disk under a role's snapshots be full; how it was done."""
        if self.small_disk is not None:
            fill(self.small_disk / "filler")
            return "a full tmpfs"
        self._limited[role] = 512
        return "RLIMIT_FSIZE"

    def free_disk(self, role: str) -> None:
        """Let there be room again."""
        if self.small_disk is not None:
            (self.small_disk / "filler").unlink(missing_ok=True)
        if self._limited.pop(role, None) is not None:
            for member in self.named(role):
                _limit(member.worker.pid, resource.RLIM_INFINITY)

    def _mount(self) -> None:
        """A small disk of its own under the snapshots, where we may mount one."""
        state = self.settings.data_dir / "state"
        state.mkdir(parents=True)
        if shutil.which("mount") and os.geteuid() == 0:
            command = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "tmpfs", str(state)]
            if subprocess.run(command, check=False, capture_output=True).returncode == 0:
                self.small_disk = state

    def _member(self, role: str, index: int) -> Member:
        data = self.settings.data_dir
        if self.schedule.own_folders and index:
            data = data.with_name(f"data-{index}")
        own = msgspec.structs.replace(self.settings, worker_index=index, data_dir=data)
        environment = environment_of(own)
        if role == "gateway":
            environment["LACAK_GATEWAY_DATA_DIR"] = str(self.settings.data_dir / "gateway")
        if FAKETIME is not None and any(f.kind == "clock" and f.target == role for f in self.schedule.faults):
            if not (self._clocks / role).exists():
                self.set_clock(role, 0)
            environment |= {
                "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._clocks / role),
                "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        command = ("gateway", "--port", str(self.gateway_port)) if role == "gateway" else ()
        return Member(Worker(role, index, environment, self.folder / "logs", command))


def fill(path: Path) -> None:
    """Write a file until there is no room for a byte more. Nothing is held back: closing would fail for it."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 16))


def _signal(pid: int, number: signal.Signals) -> None:
    """Send a signal, if the process is there: it may just have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _limit(pid: int, size: int) -> None:
    """Let a process write no file beyond `size` bytes."""
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass  # it has just ended

"""A whole Lacak on this machine: servers, topics, tables, workers; all of it gone when the `with` block ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import msgspec
from kafka.errors import KafkaError

from contacts.doorrules import DoorRulesError
from deploy.embedded import Postgres, ServerError, Tansu
from deploy.migrate import MigrationError, migrate
from deploy.ports import free_ports
from lacak.clock import SystemClock
from lacak.processes import Worker, WorkerFell, stop_all
from lacak.published import publish_first
from lacak.settings import RUN_FILE, Run, environment_of, running
from security.settings import WORKERS, BrokerSecurity, DatabaseSecurity
from streams.postgres import adopt
from streams.settings import Settings
from streams.topics import TopicError, cluster_id, ensure_topics

_EMBEDDED_SESSION_SECONDS = 6
_EMBEDDED_SESSION_SECONDS_SHARED = 10
"""On the embedded broker joining a group takes half the session's timeout; below 10 s two members lose each other."""

_STOP_MARGIN_SECONDS = 3.0

ROLES = WORKERS


class AlreadyRunning(RuntimeError):
    """Another `lacak up` runs over the same data folder."""


class ServerFell(RuntimeError):
    """A server ended, and what it held is gone; the message says where its log is."""


FAULTS = (AlreadyRunning, MigrationError, OSError, ServerError, ServerFell, TopicError, WorkerFell)
"""What `Deployment` raises when it cannot start or go on; the messages are for people."""


class Deployment(AbstractContextManager["Deployment"]):
    """Servers where none are named in the settings, `workers` processes of each role (default one), and a gateway that
    listens on `gateway_port` where one is given. `metrics` says where each process tells its metrics."""

    def __init__(
        self,
        settings: Settings,
        *,
        workers: Mapping[str, int] | None = None,
        gateway_port: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.workers: list[Worker] = []
        self._counts = workers or {}
        self._gateway_port = gateway_port
        self.metrics: dict[str, str] = {}
        self._say = say
        self._stack = ExitStack()
        self._broker: Tansu | None = None
        self._database: Postgres | None = None

    def __enter__(self) -> Deployment:
        try:
            self._start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Stop everything; a second Ctrl-C does not leave half of it behind."""
        held = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
        try:
            self._stack.close()
        finally:
            for number, handler in held:
                signal.signal(number, handler)

    def _start(self) -> None:
        settings = self.settings
        folder = settings.data_dir.absolute()
        if running(folder) is not None:
            raise AlreadyRunning(
                f"A Lacak already runs over {settings.data_dir}: stop it with `lacak down`, or set LACAK_DATA_DIR."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"The folder {folder} cannot be made ({error.strerror}): set LACAK_DATA_DIR.") from error
        changes: dict[str, object] = {"data_dir": folder}
        if not settings.brokers:
            self._say("starting the embedded broker (Tansu, in memory)")
            broker = self._broker = Tansu(folder / "broker")
            self._stack.callback(broker.stop)
            broker.start()
            changes["brokers"] = broker.bootstrap
            changes["security"] = BrokerSecurity()  # it is on loopback, and knows neither TLS nor logins
            shared = max(self._counts.values(), default=1) > 1
            session = _EMBEDDED_SESSION_SECONDS_SHARED if shared else _EMBEDDED_SESSION_SECONDS
            changes["transport"] = msgspec.structs.replace(settings.transport, session_timeout_seconds=session)
        if not settings.database:
            self._say("starting the embedded PostgreSQL")
            database = self._database = Postgres(folder / "postgres")
            self._stack.callback(database.stop)
            database.start()
            changes["database"] = database.url
            changes["database_security"] = DatabaseSecurity()  # a Unix socket that only this user may open
        self.settings = settings = msgspec.structs.replace(settings, **changes)
        for name in migrate(settings.database_access):
            self._say(f"migrated the database: {name}")
        ensure_topics(settings)
        if adopt(settings.database_access, cluster_id(settings)):
            self._say("the database held rows of another broker's run: they stay, and give way to what comes now")
        members = [(role, index) for role in ROLES for index in range(self._counts.get(role, 1))]
        ports = _ports(settings.metrics_port, len(members))
        for (role, index), port in zip(members, ports, strict=True):
            own = msgspec.structs.replace(settings, metrics_port=port, worker_index=index, role=role)
            self.workers.append(Worker(role, index, environment_of(own), folder / "logs"))
            self.metrics[f"{role}-{index}"] = f"http://127.0.0.1:{port}/metrics"
        if self._gateway_port is not None:
            command = ("gateway", "--port", str(self._gateway_port))
            own = msgspec.structs.replace(settings, role="gateway")
            self.workers.append(Worker("gateway", 0, environment_of(own), folder / "logs", command))
            self.metrics["gateway-0"] = f"http://127.0.0.1:{self._gateway_port}/metrics"
        self._write_run_file(folder)
        self._stack.callback(stop_all, self.workers, settings.health.stop_seconds + _STOP_MARGIN_SECONDS)
        for worker in self.workers:
            worker.start()

    def publish_first_rules(self) -> None:
        """See that rules of doors are in force: for who runs a deployment, and not a part of one in a test."""
        try:
            if ids := publish_first(self.settings, SystemClock().now_ms()):
                self._say(f"published the rules of doors: {', '.join(ids)}")
        except (DoorRulesError, KafkaError) as error:
            self._say(f"the rules of doors are not published ({error}): publish them with `lacak rules publish`")

    def _write_run_file(self, folder: Path) -> None:
        shared = msgspec.structs.replace(self.settings, role="")  # another terminal's commands have roles of their own
        run = Run(os.getpid(), shared.brokers, shared.database, environment_of(shared), self.metrics)
        path = folder / RUN_FILE
        path.write_bytes(msgspec.json.encode(run))
        self._stack.callback(path.unlink, missing_ok=True)

    def watch(self) -> None:
        """Start again what has fallen. Raises WorkerFell when a worker cannot be kept up, ServerFell for the broker."""
        if self._broker is not None and self._broker.fell:
            raise ServerFell(
                f"The embedded broker ended, and with it its topics. Its log is in {self.settings.data_dir / 'broker'}."
            )
        if self._database is not None and self._database.fell:
            self._say("PostgreSQL ended; starting it again")
            self._database.start()
        for worker in self.workers:
            worker.watch(self._say)


def _ports(first: int, count: int) -> list[int]:
    """Where workers tell their metrics: from a port on, or, given none, wherever there is room now."""
    if first:
        return list(range(first, first + count))
    return list(free_ports(count))

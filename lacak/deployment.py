"""A whole Lacak on this machine: servers, topics, tables, workers; all of it gone when the `with` block ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import msgspec

from deploy.embedded import Postgres, ServerError, Tansu
from deploy.migrate import MigrationError, migrate
from lacak.processes import Worker, WorkerFell, stop_all
from lacak.settings import RUN_FILE, Run, environment_of, running
from streams.postgres import adopt
from streams.settings import Settings
from streams.topics import TopicError, cluster_id, ensure_topics

_EMBEDDED_SESSION_SECONDS = 6
_EMBEDDED_SESSION_SECONDS_SHARED = 10
"""On the embedded broker joining a group takes half the session's timeout; below 10 s two members lose each other."""

_STOP_MARGIN_SECONDS = 3.0

ROLES = ("registry", "visits", "places", "tracing", "status", "recorder")


class AlreadyRunning(RuntimeError):
    """Another `lacak up` runs over the same data folder."""


class ServerFell(RuntimeError):
    """A server ended, and what it held is gone; the message says where its log is."""


FAULTS = (AlreadyRunning, MigrationError, OSError, ServerError, ServerFell, TopicError, WorkerFell)
"""What `Deployment` raises when it cannot start or go on; the messages are for people."""


class Deployment(AbstractContextManager["Deployment"]):
    """Servers where none are named in the settings, `workers` processes of each role (default one), and a gateway that
    listens on `gateway_port` where one is given."""

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
            shared = max(self._counts.values(), default=1) > 1
            session = _EMBEDDED_SESSION_SECONDS_SHARED if shared else _EMBEDDED_SESSION_SECONDS
            changes["transport"] = msgspec.structs.replace(settings.transport, session_timeout_seconds=session)
        if not settings.database:
            self._say("starting the embedded PostgreSQL")
            database = self._database = Postgres(folder / "postgres")
            self._stack.callback(database.stop)
            database.start()
            changes["database"] = database.url
        self.settings = settings = msgspec.structs.replace(settings, **changes)
        for name in migrate(settings.database):
            self._say(f"migrated the database: {name}")
        ensure_topics(settings)
        if adopt(settings.database, cluster_id(settings)):
            self._say("the database held rows of another broker's run: they stay, and give way to what comes now")
        self._write_run_file(folder)
        for role in ROLES:
            for index in range(self._counts.get(role, 1)):
                port = settings.metrics_port and settings.metrics_port + len(self.workers)
                own = msgspec.structs.replace(settings, metrics_port=port, worker_index=index)
                self.workers.append(Worker(role, index, environment_of(own), folder / "logs"))
        if self._gateway_port is not None:
            command = ("gateway", "--port", str(self._gateway_port))
            self.workers.append(Worker("gateway", 0, environment_of(settings), folder / "logs", command))
        self._stack.callback(stop_all, self.workers, settings.health.stop_seconds + _STOP_MARGIN_SECONDS)
        for worker in self.workers:
            worker.start()

    def _write_run_file(self, folder: Path) -> None:
        run = Run(os.getpid(), self.settings.brokers, self.settings.database, environment_of(self.settings))
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

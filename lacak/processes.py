"""Worker processes of `lacak up`: started, watched, started again when they fall, and never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_RESTARTS_MAX = 5
_RESTART_WINDOW_SECONDS = 120.0


def end_with_parent() -> None:
    """In a child on Linux: be ended when the parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class WorkerFell(RuntimeError):
    """A worker ended again and again; the message says which, and where its log is."""


class Worker:
    """One worker process: a role, its index, its log file. `command` is what `lacak` is given, else `worker ROLE`."""

    def __init__(
        self,
        role: str,
        index: int,
        environment: Mapping[str, str],
        logs: Path,
        command: Sequence[str] = (),
    ) -> None:
        self.role = role
        self._command = tuple(command) or ("worker", role)
        self.index = index
        self.log = logs / f"{role}-{index}.log"
        self._environment = {**os.environ, **environment}
        self._starts: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id; 0 before it is started."""
        return self._process.pid if self._process else 0

    @property
    def fell(self) -> bool:
        """Whether the process was started and has ended."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the process in a session of its own, so that a Ctrl-C reaches it by way of us alone."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._starts.append(time.monotonic())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lacak", *self._command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def watch(self, say: Callable[[str], None]) -> None:
        """Start the process again if it has ended. Raises WorkerFell when that happens too often."""
        if self._process is None or (code := self._process.poll()) is None:
            return
        recent = [start for start in self._starts if time.monotonic() - start < _RESTART_WINDOW_SECONDS]
        last = _last_line(self.log)
        if code == 3 or len(recent) >= _RESTARTS_MAX:
            raise WorkerFell(f"The {self.role} worker stopped ({last}). Its log is {self.log}.")
        say(f"The {self.role} worker ended with code {code} ({last}); starting it again.")
        self.start()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask for a clean stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for the end, and make one if it does not come."""
        if self._process is None:
            return
        try:
            self._process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def stop_all(workers: list[Worker], seconds: float = 28.0) -> None:
    """Stop all workers, side by side."""
    for worker in workers:
        worker.ask_to_stop()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.wait(deadline - time.monotonic())


def _last_line(log: Path) -> str:
    try:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:500] if lines else "it said nothing"

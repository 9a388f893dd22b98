"""How much memory processes hold, second by second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Thread

_GROWTH, _SLACK_MB = 4 / 3, 50


class Watch:
    """Samples the resident memory (MB) of named processes until stopped; a process of another id is another life."""

    def __init__(self, pids: Callable[[], Mapping[str, int]], seconds: float = 1.0) -> None:
        self._pids, self._seconds = pids, seconds
        self.samples: dict[str, list[tuple[float, float]]] = {}
        self.lives: dict[str, set[int]] = {}
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._seconds):
            for name, pid in self._pids().items():
                if (held := resident_mb(pid)) is not None:
                    self.lives.setdefault(name, set()).add(pid)
                    self.samples.setdefault(name, []).append((time.monotonic() - self._began, held))

    def crashed(self) -> list[str]:
        """Who was started more than once."""
        return [name for name, pids in self.lives.items() if len(pids) > 1]

    def grown(self) -> list[str]:
        """Who held more in the last quarter of the time than in the second by a third and more: sentences."""
        return [
            f"{name} grew from {second} to {last} MB"
            for name, (_, _, second, last) in self.summary().items()
            if last > second * _GROWTH + _SLACK_MB
        ]

    def summary(self) -> dict[str, tuple[int, int, int, int]]:
        """Of each: at the start, most, the middle of the second and of the last quarter of the time (MB)."""
        found = {}
        for name, samples in self.samples.items():
            held = [each for _, each in samples]
            quarter = max(len(held) // 4, 1)
            second, last = sorted(held[quarter : 2 * quarter] or held), sorted(held[-quarter:])
            middle, end = second[len(second) // 2], last[len(last) // 2]
            found[name] = (round(held[0]), round(max(held)), round(middle), round(end))
        return found


def resident_mb(pid: int) -> float | None:
    """The resident memory of a process in MB; None when there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), None)

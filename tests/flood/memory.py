"""How much memory processes hold while bad input comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import linear_regression, median
from threading import Event, Thread
from typing import Final, NamedTuple

TENTHS: Final = 10
_GROWTH, _SLACK_MB = 4 / 3, 50
_STEP: Final = 100_000
_LONG: Final = 100_000
"""A run of fewer is over before buffers and caches are full: it says nothing of growth."""


class Held(NamedTuple):
    """The memory of a process over a run, in MB: when it began; in the middle of each tenth of what was sent; the most;
    and how much more for each 100 000 further bad inputs, by the line of least squares through the second half."""

    start: int
    tenths: list[int]
    most: int
    slope: float


class Watch:
    """Samples the resident memory (MB) of named processes until stopped; a process of another id is another life.

    `sent` says how much has been sent so far, None when all is and what comes is the check: a process's memory is told
    against that, not against time.
    """

    def __init__(
        self, pids: Callable[[], Mapping[str, int]], sent: Callable[[], int | None], seconds: float = 1.0
    ) -> None:
        self._pids, self._sent, self._seconds = pids, sent, seconds
        self.samples: dict[str, list[tuple[int, float]]] = {}
        self.lives: dict[str, set[int]] = {}
        self._end = Event()
        self._thread = Thread(target=self._run, daemon=True)

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
                    if (sent := self._sent()) is not None:
                        self.samples.setdefault(name, []).append((sent, held))

    def crashed(self) -> list[str]:
        """Who was started more than once."""
        return [name for name, pids in self.lives.items() if len(pids) > 1]

    def grown(self) -> list[str]:
        """Who held more at the end of a long run than when half was sent, by a third and 50 MB: sentences."""
        return [
            f"{name} grew from {held.tenths[TENTHS // 2]} to {held.tenths[-1]} MB"
            for name, held in self.summary().items()
            if self.samples[name][-1][0] >= _LONG and held.tenths[-1] > held.tenths[TENTHS // 2] * _GROWTH + _SLACK_MB
        ]

    def summary(self) -> dict[str, Held]:
        """Of each process, what it held."""
        return {name: held_over(samples) for name, samples in self.samples.items()}


def held_over(samples: Sequence[tuple[int, float]]) -> Held:
    """What samples of (sent, MB) come to. A tenth without a sample is as the one before it."""
    total, before = max(samples[-1][0], 1), samples[0][1]
    tenths: list[int] = []
    for tenth in range(TENTHS):
        within = [mb for sent, mb in samples if min(sent * TENTHS // total, TENTHS - 1) == tenth]
        before = median(within) if within else before
        tenths.append(round(before))
    late = [(sent / _STEP, mb) for sent, mb in samples if 2 * sent >= total]
    moved = len({sent for sent, _ in late}) > 1
    slope = linear_regression(*zip(*late, strict=True)).slope if moved else 0.0
    return Held(round(samples[0][1]), tenths, round(max(mb for _, mb in samples)), round(slope, 1))


def resident_mb(pid: int) -> float | None:
    """The resident memory of a process in MB; None when there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), None)

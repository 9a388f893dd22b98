"""`python -m bench.sizing`: what a district, a province and a nation need, from measured figures, as docs/sizing.md.

Measured are docs/figures/*.json, the reports of benches; taken for granted is what docs/figures/sizing.toml says. The
page names the field behind every number, and a test makes it anew.
"""

from __future__ import annotations

import argparse
import math
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

ROOT: Final = Path(__file__).parent.parent
FIGURES: Final = ROOT / "docs" / "figures"
PAGE: Final = ROOT / "docs" / "sizing.md"

STATEFUL: Final = ("visits", "places", "status")
ROLES: Final = ("registry", "visits", "places", "tracing", "status", "recorder")

_MIB: Final = 2**20
_GIB: Final = 2**30
_DAY_SECONDS: Final = 86_400
_WORKERS_LEAST: Final = {"visits": 2, "places": 2}
_GATEWAYS_LEAST: Final = 2
_PARTITIONS_LEAST: Final = {"scans": 4, "visits": 4, "cases": 2}
_FEW: Final = 32
_READERS: Final = {"scans": "visits", "visits": "places", "cases": "status"}
_EMPTY_BLOCKS_A_SECOND: Final = 2.0
"""agents.visits.EMPTY_BLOCK_SECONDS: log time is told to every partition twice a second."""


class Assumptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken for granted; docs/figures/sizing.toml says why."""

    scans_a_person_a_day: float
    visits_a_scan: float
    peak_of_mean: float
    use_of_a_core: float
    gateway_use_of_a_core: float
    health_events_a_person_a_day: float
    health_records_a_person: float
    horizon_days: float
    scans_kept_days: float
    retention_days: float
    worker_memory_gib_most: float
    visits_a_places_worker_most: int
    partition_skew: float
    disk_room: float


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a deployment is for; `overlay` is its folder in deploy/kubernetes/overlays."""

    name: str
    people: int
    replication: int
    overlay: str


class Guide(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """docs/figures/sizing.toml."""

    assumptions: Assumptions
    regions: list[Region]


class Measured(NamedTuple):
    """What was measured, each with the file and field that it is from (`SOURCES`)."""

    cpu_us: dict[str, float]
    base_mib: dict[str, float]
    visits_bytes_a_scan: float
    living_bytes_a_scan: float
    index_bytes_a_visit: float
    index_disk_bytes_a_visit: float
    scans_topic_bytes: float
    visits_topic_bytes: float
    database_bytes: float
    status_events: float
    status_bytes_a_record: float
    decisions: float


class Workers(NamedTuple):
    """One role in one region: how many workers, and what each is to be given."""

    number: int
    cores: float
    memory_gib: float
    disk_gib: float


class Size(NamedTuple):
    """What one region needs."""

    region: Region
    scans_a_day: float
    peak: float
    partitions: dict[str, int]
    workers: dict[str, Workers]
    gateways: int
    kafka_gib: float
    kafka_mb_a_second: float
    blocks_a_second: float
    database_gib: float

    @property
    def cores(self) -> float:
        """Of all workers."""
        return sum(each.number * each.cores for each in self.workers.values())

    @property
    def memory_gib(self) -> float:
        """Of all workers."""
        return sum(each.number * each.memory_gib for each in self.workers.values())


def load_guide() -> Guide:
    """What is taken for granted."""
    with (FIGURES / "sizing.toml").open("rb") as file:
        return msgspec.convert(tomllib.load(file), Guide)


def load_reports() -> dict[str, Any]:
    """The benches' reports, by the names of their files."""
    return {path.stem: msgspec.json.decode(path.read_bytes()) for path in sorted(FIGURES.glob("*.json"))}


def read_measured(reports: dict[str, Any]) -> Measured:
    """What the sizing needs of the reports."""
    stream, index = reports["stream"], reports["index"]["build"]
    run, scans = stream["runs"][0], stream["scans"]
    peak = run["peak_mib"]
    compiled = peak["status"]  # in that run a worker that did nothing, with the same libraries loaded
    return Measured(
        cpu_us=stream["cpu_us"],
        base_mib={**peak, "visits": compiled, "places": compiled},
        visits_bytes_a_scan=(peak["visits"] - compiled) * _MIB / scans,
        living_bytes_a_scan=(peak["places"] - compiled) * _MIB / scans,
        index_bytes_a_visit=index["resident_without_exact_times_bytes_a_visit"],
        index_disk_bytes_a_visit=index["bytes_a_visit"] + index["exact_times_on_disk_bytes_a_visit"],
        scans_topic_bytes=run["topic_bytes"]["scans"] / scans,
        visits_topic_bytes=run["topic_bytes"]["visits"] / scans,
        database_bytes=run["database_bytes"] / scans,
        status_events=reports["status"]["events_a_core_second"],
        status_bytes_a_record=(reports["status"]["worker_mib"] - compiled) * _MIB / reports["status"]["events"],
        decisions=min(each["single"]["requests_per_second"] for each in reports["door"]["runs"]),
    )


def size(region: Region, given: Assumptions, measured: Measured) -> Size:
    """What a region needs."""
    scans = region.people * given.scans_a_person_a_day
    peak = scans / _DAY_SECONDS * given.peak_of_mean
    kept = given.partition_skew * scans * given.visits_a_scan * given.retention_days
    today = given.partition_skew * scans
    visits_bytes = today * given.horizon_days * measured.visits_bytes_a_scan
    places_bytes = kept * measured.index_bytes_a_visit + today * measured.living_bytes_a_scan
    most = given.worker_memory_gib_most * _GIB
    health_bytes = region.people * given.health_records_a_person * measured.status_bytes_a_record
    held = {"visits": visits_bytes, "places": places_bytes, "status": health_bytes}
    counts = {role: math.ceil(held[role] / (most - measured.base_mib[role] * _MIB)) for role in STATEFUL}
    counts["places"] = max(counts["places"], math.ceil(kept / given.visits_a_places_worker_most))
    disk = {**held, "places": kept * measured.index_disk_bytes_a_visit}
    events = region.people * given.health_events_a_person_a_day / _DAY_SECONDS * given.peak_of_mean
    workers = {}
    for role in ROLES:
        busy = events / measured.status_events if role == "status" else peak * measured.cpu_us[role] / 1e6
        cores = busy / given.use_of_a_core
        count = max(counts.get(role, 1), _WORKERS_LEAST.get(role, 1), math.ceil(cores))
        workers[role] = Workers(
            count,
            cores / count,
            (held.get(role, 0.0) / count + measured.base_mib[role] * _MIB) / _GIB,
            disk.get(role, 0.0) / count * given.disk_room / _GIB,
        )
    partitions = {topic: _partitions(topic, workers[role].number) for topic, role in _READERS.items()}
    copies = region.replication
    kafka = scans * (
        measured.scans_topic_bytes * given.scans_kept_days + measured.visits_topic_bytes * (given.retention_days + 1)
    )
    return Size(
        region=region,
        scans_a_day=scans,
        peak=peak,
        partitions=partitions,
        workers=workers,
        gateways=max(_GATEWAYS_LEAST, math.ceil(peak / (measured.decisions * given.gateway_use_of_a_core))),
        kafka_gib=kafka * copies * given.disk_room / _GIB,
        kafka_mb_a_second=peak * (measured.scans_topic_bytes + measured.visits_topic_bytes) * copies / 1e6,
        blocks_a_second=partitions["scans"] * partitions["visits"] * _EMPTY_BLOCKS_A_SECOND,
        database_gib=scans * given.retention_days * measured.database_bytes * given.disk_room / _GIB,
    )


def _partitions(topic: str, workers: int) -> int:
    """As many for each worker: where they are few, two, so that there may be twice as many of them one day."""
    return max(_PARTITIONS_LEAST[topic], workers * (2 if workers <= _FEW else 1))


def sizes(guide: Guide, measured: Measured) -> list[Size]:
    """Every region's size."""
    return [size(region, guide.assumptions, measured) for region in guide.regions]


def main() -> int:
    """Write the page."""
    from bench.sizing_page import page

    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/sizing.md)")
    parser.parse_args().page.write_text(page(load_guide(), load_reports()), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

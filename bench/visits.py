"""`python -m bench.visits`: what a scan costs the visits agent, stage by stage, in one process and without a broker.

One partition's share of a day of scans, as the log holds it (batches of records, lz4), goes through what the agent does
with it: unpacking, reading and checking, deriving, making blocks. CPU time of the process, in microseconds a scan.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from rich.console import Console
from rich.table import Table

from agents.intake import Intake
from bench.machine import describe, peak_mib
from bench.workload import Shape, Workload
from contacts.deriver import Deriver, Scans
from contacts.visits import Acceptance
from schemas.blocks import VISITS_MAGIC, RegistryChange, frame_of
from schemas.partitions import partition_of
from streams.batches import Batch
from streams.records import joined, size_of, unpack
from streams.settings import Settings

STAGES: Final = ("unpack", "intake", "derive", "blocks", "dump")
_LZ4: Final = 3
_BATCH_RECORDS: Final = 4000


def log_of(workload: Workload, partitions: int, partition: int) -> bytes:
    """The partition's batches of records, laid end to end as a fetch brings them."""
    scans = workload.scans()
    mine = np.flatnonzero(workload.homes(scans, partitions) == partition)
    chosen = scans.of(mine)
    batches = []
    for start in range(0, len(mine), _BATCH_RECORDS):
        builder = DefaultRecordBatchBuilder(2, _LZ4, 0, -1, -1, -1, 1 << 30)
        records = workload.records(chosen, start, min(start + _BATCH_RECORDS, len(mine)))
        for delta, (key, value) in enumerate(records):
            builder.append(delta, workload.end_ms(), key, value, [])
        batch = bytearray(builder.build())
        batch[:8] = start.to_bytes(8, "big")  # what a broker does; the checksum does not cover it
        batches.append(bytes(batch))
    return b"".join(batches)


def batches_of(log: bytes) -> Iterator[Batch]:
    """What the fetching thread makes of it."""
    place = 0
    while (size := size_of(log, place)) is not None:
        batch = unpack(log, place, size, check=True)
        place += size
        records = joined([batch], 0)
        assert records is not None
        yield Batch("scans", 0, *records, highwater=0)


def measure(log: bytes, workload: Workload, settings: Settings) -> dict[str, float]:
    """CPU seconds of each stage for the whole log, and how many `scans` and `rows` there were."""
    counts = settings.partitions
    acceptance = Acceptance(settings.horizon_ms, settings.retention_ms)
    deriver = Deriver(0, counts.visits, acceptance, lambda venue: partition_of(venue, counts.visits))
    for number, venue in enumerate(workload.registrations()):
        deriver.control(number, RegistryChange((0, number), venue, 0))
    deriver.packed(0, 1)
    spent = dict.fromkeys((*STAGES, "scans", "rows"), 0.0)
    clock = time.process_time
    fetched = batches_of(log)
    while True:
        began = clock()
        batch = next(fetched, None)
        if batch is None:
            break
        unpacked = clock()
        parts = list(Intake(deriver, counts.scans, _no_letter, file_clock=True, tolerance_ms=300_000).read(batch))
        read = clock()
        for part in parts:
            assert isinstance(part, Scans)
            deriver.take(part, _no_letter)
        derived = clock()
        made = deriver.packed(batch.offsets[0], batch.next_offset)
        for each in made:
            frame_of(VISITS_MAGIC, each.body)
        deriver.prune()
        done = clock()
        for stage, seconds in zip(
            STAGES, (unpacked - began, read - unpacked, derived - read, done - derived), strict=False
        ):
            spent[stage] += seconds
        spent["scans"] += len(batch)
        spent["rows"] += sum(each.rows for each in made)
    began = clock()
    deriver.dump()
    spent["dump"] = clock() - began
    return spent


def _no_letter(*letter: object) -> None:
    raise AssertionError(f"the workload has no bad scans: {letter}")


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.visits", description=__doc__)
    parser.add_argument("--scans", type=int, default=2_000_000, help="scans of all partitions (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="the median of so many runs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-visits.json"))
    given = parser.parse_args()
    settings = Settings()
    workload = Workload(Shape(scans=given.scans, seed=given.seed))
    log = log_of(workload, settings.partitions.scans, 0)
    measure(log, Workload(Shape(scans=1000)), settings)  # what is compiled is compiled here
    runs = [measure(log, workload, settings) for _ in range(given.runs)]
    scans = runs[0]["scans"]
    found = {stage: statistics.median(run[stage] for run in runs) / scans * 1e6 for stage in STAGES}
    found["total"] = statistics.median(sum(run[stage] for stage in STAGES[:-1]) for run in runs) / scans * 1e6
    table = Table("stage", "us a scan", box=None, header_style="bold")
    for stage, value in found.items():
        table.add_row(stage, f"{value:.3f}", style="bold" if stage == "total" else "")
    console = Console()
    console.print(table)
    machine = describe("none")
    rows = runs[0]["rows"]
    console.print(f"{scans:,.0f} scans, {rows:,.0f} rows, a log of {len(log):,} bytes; dump is one at the end.")
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "what": "CPU time of one process a scan, one partition; total: without dump",
        "machine": machine,
        "scans": scans,
        "rows": runs[0]["rows"],
        "cpu_us": found,
        "peak_mib": peak_mib(os.getpid()),
        "runs": runs,
    }
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

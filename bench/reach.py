"""`python -m bench.reach`: how long dated contact lists take, in one process, on one core.

A list is made from a seed: some ids have very many contacts, most few. It is taken as times (nearly all different) and
as dates (hundreds of contacts at one time). Measured: everyone's reach both ways, one root at a time, and the whole
command from file to file. Figures are medians of `--runs`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import bench_folder, describe
from contacts.dated import DatedContacts
from contacts.reach import ReachCounts, reach, reach_of_all
from gateway.files import format_time

_DAY_MS: Final = 86_400_000
_START_MS: Final = 1_633_046_400_000  # 2021-10-01
_TAIL: Final = 0.7
_ROOTS: Final = 200


class Shape(NamedTuple):
    """How large a list is."""

    contacts: int
    people: int
    days: int
    seed: int


def make_list(shape: Shape, dates: bool) -> tuple[list[str], list[str], list[int]]:
    """Sources, targets, times (ms): the n-th busiest id has about n ** -0.7 of the first's contacts."""
    random = np.random.default_rng(shape.seed)
    share = np.arange(1, shape.people + 1) ** -_TAIL
    share /= share.sum()
    source, target = (
        random.permutation(shape.people)[random.choice(shape.people, shape.contacts, p=share)] for _ in range(2)
    )
    at_ms = _START_MS + random.integers(0, shape.days * _DAY_MS, shape.contacts)
    if dates:
        at_ms -= at_ms % _DAY_MS
    names = [f"id-{number + 2**33}" for number in range(shape.people)]
    return [names[each] for each in source.tolist()], [names[each] for each in target.tolist()], at_ms.tolist()


def timed(runs: int, work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Medians of some runs in ms, by the clock and of this process's CPU, and what the last gave."""
    took, used = [], []
    for _ in range(runs):
        began, cpu = time.perf_counter(), time.process_time()
        found = work()
        took.append((time.perf_counter() - began) * 1000)
        used.append((time.process_time() - cpu) * 1000)
    return statistics.median(took), statistics.median(used), found


def _one_by_one(contacts: DatedContacts, roots: list[int], strict: bool, counts: ReachCounts) -> list[float]:
    """ms for each root, both ways; what they reach is held against the counts of all."""
    took = []
    for root in roots:
        began = time.perf_counter()
        out, into = reach(contacts, root, "out", strict), reach(contacts, root, "in", strict)
        took.append((time.perf_counter() - began) * 1000)
        if (len(into.person), len(out.person)) != (counts.in_reach[root], counts.out_reach[root]):
            raise SystemExit(f"the two ways to count differ for root {root}: a defect.")
    return took


def measure(shape: Shape, runs: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each kind of list and dialect."""
    rows = []
    for dates in (False, True):
        listed = make_list(shape, dates)
        contacts = DatedContacts.of(*listed)
        roots = np.random.default_rng(shape.seed).choice(len(contacts.people), _ROOTS).tolist()
        path = folder / "contacts.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("from", "to", "at"))
            writer.writerows(zip(listed[0], listed[1], map(format_time, listed[2]), strict=True))
        for strict in (False, True):
            whole, cpu, counts = timed(runs, lambda: reach_of_all(contacts, strict))  # noqa: B023
            single = _one_by_one(contacts, roots, strict, counts)
            command = [sys.executable, "-m", "lacak", "reach", str(path), "--summary", "-o", str(folder / "out.csv")]
            command += ["--strict"] if strict else []
            with_files, _, _ = timed(runs, lambda: subprocess.run(command, check=True, capture_output=True))  # noqa: B023
            rows.append(
                {
                    "at": "dates" if dates else "times",
                    "dialect": "strict" if strict else "same or later",
                    "ids": len(contacts.people),
                    "contacts": len(contacts.at_ms),
                    "all_roots_both_ways_ms": round(whole, 1),
                    "all_roots_both_ways_cpu_ms": round(cpu, 1),
                    "one_root_both_ways_p50_ms": round(float(np.median(single)), 2),
                    "one_root_both_ways_p99_ms": round(float(np.quantile(single, 0.99)), 2),
                    "command_file_to_file_ms": round(with_files, 1),
                    "mean_reach": round(float(counts.out_reach.mean()), 1),
                    "most_in_reach": int(counts.in_reach.max()),
                    "most_out_reach": int(counts.out_reach.max()),
                }
            )
    return rows


def main() -> int:
    """Run the benchmark and print what was measured where."""
    parser = argparse.ArgumentParser(prog="python -m bench.reach", description=__doc__)
    parser.add_argument("--contacts", type=int, default=70_000)
    parser.add_argument("--people", type=int, default=12_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench-reach.json"))
    given = parser.parse_args()
    machine = describe("none")
    with bench_folder() as folder:
        rows = measure(Shape(given.contacts, given.people, given.days, given.seed), given.runs, folder)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    what = "ms for reach on dated contacts, one process and one core, medians"
    data = msgspec.json.encode({"what": what, "machine": machine, "runs": given.runs, "lists": rows})
    given.output.write_bytes(msgspec.json.format(data) + b"\n")
    console = Console()
    table = Table("ms", "next is", "all roots", "CPU", "one p50", "p99", "files", "mean reach", box=None)
    for row in rows:
        table.add_row(
            row["at"],
            row["dialect"],
            f"{row['all_roots_both_ways_ms']:.0f}",
            f"{row['all_roots_both_ways_cpu_ms']:.0f}",
            f"{row['one_root_both_ways_p50_ms']:.1f}",
            f"{row['one_root_both_ways_p99_ms']:.1f}",
            f"{row['command_file_to_file_ms']:.0f}",
            f"{row['mean_reach']:.0f}",
        )
    console.print(table)
    console.print(
        f"{rows[0]['contacts']:,} contacts of {rows[0]['ids']:,} ids; every figure is for both ways."
        " One: a root alone. Files: the command, from file to file.",
        highlight=False,
    )
    console.print(", ".join(f"{key} {value}" for key, value in machine.items()), style="dim", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m bench.memory`: what a places state keeps of a crowd of constant size, day by day, in one process.

What it keeps on purpose is bounded by the retention: once that has passed, memory must be level. Each line gives what
the state's own arrays hold by name, the memory of the process, and what the allocator gives back when it is asked
(`malloc_trim`): the difference is fragmentation, not the state.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import time
from collections import Counter
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from bench.crowd import SOURCES, START_MS, Crowd
from bench.held import held
from bench.machine import describe, resident_mib
from contacts.places import Places
from contacts.windows import default_window_ms

_DAY_MS: Final = 86_400_000


class Look(msgspec.Struct):
    """How it is at a time: seconds of log time, visits so far, bytes by name, and the process in MiB."""

    at_s: float
    visits: int
    bytes: dict[str, int]
    rss_mib: float
    trimmed_mib: float


def keep_house(places: Places) -> None:
    """What the worker does once a second."""
    places.windows()
    places.counts()
    places.expire()
    places.settle()


def main() -> int:
    """Run, and say what is held of what."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--venues", type=int, default=500)
    parser.add_argument("--rate", type=float, default=1.0, help="visits a second (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=240.0)
    parser.add_argument("--tick-seconds", type=float, default=600.0)
    parser.add_argument("--retention-days", type=int, default=3)
    parser.add_argument("--newcomers", action="store_true", help="each day all are people who never came before")
    parser.add_argument("--looks", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("build/bench-memory.json"))
    given = parser.parse_args()
    crowd = Crowd(given.people, given.venues, given.rate, new_each_ms=_DAY_MS if given.newcomers else 0)
    horizon_ms, retention_ms = _DAY_MS, given.retention_days * _DAY_MS
    places = Places(SOURCES, default_window_ms(), horizon_ms, retention_ms, ZoneInfo("Asia/Jakarta"))
    looks: list[Look] = []
    tick_ms, span_ms = int(given.tick_seconds * 1000), int(given.hours * 3_600_000 / given.looks)
    began = time.process_time()
    for number in range(given.looks):
        for count, block in enumerate(
            crowd.blocks(START_MS + number * span_ms, START_MS + (number + 1) * span_ms, tick_ms), 1
        ):
            places.apply(block)
            if count % SOURCES == 0:
                keep_house(places)
        for _ in range(8):  # nothing is under way
            keep_house(places)
        looks.append(look((number + 1) * span_ms / 1000, places))
        last, cpu_s = looks[-1], time.process_time() - began
        print(
            f"{last.at_s / 3600:7.2f} h {last.visits:>11,} visits, held {sum(last.bytes.values()) / 2**20:8.1f} MiB,"
            f" process {last.rss_mib:7.0f}, trimmed {last.trimmed_mib:7.0f}, {cpu_s:.0f} CPU s",
            flush=True,
        )
    first, last = looks[0], looks[-1]
    for name, size in Counter(last.bytes).most_common(25):
        more = size - first.bytes.get(name, 0)
        a_visit = more / max(last.visits - first.visits, 1)
        print(f"{size / 2**20:9.2f} MiB {more / 2**20:+9.2f} {a_visit:7.1f} bytes a visit  {name}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(msgspec.json.encode({"machine": describe(), "looks": looks}) + b"\n")
    return 0


def look(at_s: float, places: Places) -> Look:
    """How it is now."""
    gc.collect()
    rss = resident_mib(os.getpid())
    ctypes.CDLL(None).malloc_trim(0)
    return Look(at_s, places.born, dict(held(places)), rss, resident_mib(os.getpid()))


if __name__ == "__main__":
    raise SystemExit(main())

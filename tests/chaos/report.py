"""`docs/reliability.md`, made whole from the kept results and from what was found by hand."""

from __future__ import annotations

import fcntl
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.run import Result

RESULTS: Final = Path(__file__).parent / "results" / "seeds.json"
FOUND: Final = Path(__file__).parent / "found.md"
ABOUT: Final = Path(__file__).parent / "about.md"


def read(path: Path = RESULTS) -> list[Result]:
    """The results that are kept, by seed."""
    return msgspec.json.decode(path.read_bytes(), type=list[Result]) if path.exists() else []


def keep(result: Result, path: Path = RESULTS) -> None:
    """Put a result among those kept, in place of an older one of its seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # several may run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = sorted([*(each for each in read(path) if each.seed != result.seed), result], key=lambda each: each.seed)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(held), indent=1) + b"\n")


def report(results: Sequence[Result]) -> str:
    """The page."""
    equal = sum(result.verdict == "equal" for result in results)
    recoveries = [each for result in results for each in result.recovery if each is not None]
    lines = [
        "# Reliability",
        "",
        "<!-- Written by `python -m tests.chaos --write docs/reliability.md`; change tests/chaos/*.md, not this. -->",
        "",
        ABOUT.read_text("utf-8").strip(),
        "",
        "## The seeds",
        "",
        f"{len(results)} schedules, {equal} of them equal to the oracle in every kind; "
        f"{sum(r.scans for r in results):,} scans acknowledged, {sum(sum(r.counts.values()) for r in results):,} rows "
        "compared.",
    ]
    if recoveries:
        lines[-1] += (
            f" From a fault's end to level again: median {statistics.median(recoveries):.1f} s, at most "
            f"{max(recoveries):.1f} s. The stalest answer: {max(result.stale for result in results):.1f} s."
        )
    lines += [
        "",
        "| seed | brokers | faults, and the recovery after each (s) | verdict | stalest (s) |",
        "|--:|--:|---|---|--:|",
    ]
    for result in results:
        faults = "; ".join(
            f"{fault}: {'never level' if each is None else f'{each:.1f}'}"
            for fault, each in zip(result.faults, result.recovery, strict=True)
        )
        lines.append(f"| {result.seed} | {result.brokers} | {faults} | {result.verdict} | {result.stale:.1f} |")
    lines += ["", "## What differed, and why", "", FOUND.read_text("utf-8").strip()]
    return "\n".join(lines) + "\n"

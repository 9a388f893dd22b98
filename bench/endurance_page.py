"""`python -m bench.endurance_page JSON`: docs/endurance.md and its pictures, from what `bench.endurance` measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import msgspec

from bench.endurance import BURST, SHARE, Fault, limits_of
from bench.vitals import Vitals

_DOCS: Final = Path(__file__).parent.parent / "docs"
_MINUTE: Final = 60.0
_COLOURS: Final = {"steady": "#e8f3e8", "burst": "#f9d9d3", "drain": "#fdf1d3", "after": "#e8f3e8", "ramp": "#eeeeee"}


class Found(msgspec.Struct):
    """The JSON."""

    machine: dict[str, str]
    minutes: float
    most: float
    rate: float
    burst_rate: float
    drained: bool
    drain_s: float
    latency_s: dict[str, float]
    faults: list[Fault]
    looks: list[Vitals]


def _picture(found: Found, path: Path, title: str, unit: str, lines: dict[str, Callable[[Vitals], Any]], *, log: bool = False) -> None:  # fmt: skip
    """One picture: lines over time, with the phases behind them."""
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    minutes = [look.at_s / _MINUTE for look in found.looks]
    for first, last, phase in _phases(found.looks):
        axes.axvspan(first / _MINUTE, last / _MINUTE, color=_COLOURS[phase], zorder=0, linewidth=0)
    for name, value in lines.items():
        axes.plot(minutes, [value(look) for look in found.looks], label=name, linewidth=1.1)
    axes.set(title=title, xlabel="minutes (green: 80 % of the most; red: the burst; yellow: the drain)", ylabel=unit)
    if log:
        axes.set_yscale("symlog")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(fontsize="small", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")


def _of(field: str, name: str) -> Callable[[Vitals], Any]:
    return lambda look: getattr(look, field)[name]


def _phases(looks: Sequence[Vitals]) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []
    for look in looks:
        if found and found[-1][2] == look.phase:
            found[-1] = (found[-1][0], look.at_s, look.phase)
        else:
            found.append((found[-1][1] if found else 0.0, look.at_s, look.phase))
    return found


def _page(found: Found, note: str) -> str:
    looks = {phase: [look for look in found.looks if look.phase == phase] for phase in _COLOURS}
    steady, after = looks["steady"], looks["after"] or looks["drain"]
    warm = steady[int(len(steady) * limits_of()["warm_up_share"])]
    rows = [
        f"| {name} | {warm.rss_mib[name]:,.0f} | {steady[-1].rss_mib[name]:,.0f}"
        f" | {max(look.rss_mib[name] for look in looks['burst'] + looks['drain']):,.0f} | {after[-1].rss_mib[name]:,.0f}"
        f" | {warm.handles[name]} | {after[-1].handles[name]} |"
        for name in warm.rss_mib
    ]
    most_lag = {topic: max(look.lag[topic] for look in found.looks) for topic in steady[0].lag}
    verdict = "Nothing grew that should not have." if not found.faults else "What was not as it should be:\n\n" + "\n".join(
        f"- {fault.what}: {fault.found:,.1f}, at most {fault.limit:,.1f}" for fault in found.faults
    )  # fmt: skip
    stale = max((look.stale_s for look in steady), default=0.0)
    return f"""# Under load for long, and a burst

Written by `python -m bench.endurance_page` from a run of `make bench-endurance`: the whole pipeline on Apache Kafka
under {SHARE:.0%} of the most it takes, then {BURST:.0f} times that for a minute (or as much as the generator makes), then
{SHARE:.0%} again. {", ".join(f"{key} {value}" for key, value in found.machine.items())}.
{note}
| | |
|---|---|
| the most: found by the ramp, or given | {found.most:,.0f} scans a second |
| the load | {found.rate:,.0f} scans a second for {found.minutes:g} minutes, {steady[-1].published - steady[0].published:,} in all |
| a scan shows in `occupancy` after | p50 {found.latency_s["p50"]:.2f} s, p99 {found.latency_s["p99"]:.2f} s, at most {found.latency_s["max"]:.2f} s |
| the oldest that the newest count was in that time | {stale:.1f} s |
| the burst | {found.burst_rate:,.0f} scans a second |
| level again | {f"{found.drain_s:.0f} s after it, with the load going on" if found.drained else f"not within {found.drain_s:.0f} s"} |
| the most that waited, in records | {", ".join(f"{topic} {count:,}" for topic, count in most_lag.items())} |

{verdict}

![lag](pictures/endurance-lag.svg)

![memory](pictures/endurance-memory.svg)

![latency](pictures/endurance-latency.svg)

![open files](pictures/endurance-handles.svg)

| process | MiB after the warm-up | at the end of the load | most in burst and drain | at the end | open files after the warm-up | at the end |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

## What is counted, and what may grow

Lag in records is what a topic holds less what its readers have taken in. A scan shows when the count of its venue, told at
most once a second, has been read back from the topic `occupancy`. The visits and places roles keep something of each scan
on purpose; what they and the others may grow by stands with its reasons in [bench/limits.toml](../bench/limits.toml), and
the command fails beyond it, by the slope after the first fifth. What the places role holds, by name and over days:
[memory.md](memory.md).

## Where a flood waits

In the log. A worker fetches no more than it has room for, and takes no batch while too much that it sent is not acknowledged:

| setting | default | what it bounds |
|---|---|---|
| `LACAK_TRANSPORT_FETCH_MAX_RECORDS` | 4000 | records handed to an agent at once (whole batches of the log) |
| `LACAK_TRANSPORT_FETCH_PARTITION_KIB` | 2048 | fetched of a partition at once; one answer waits, unpacked, a partition |
| `LACAK_TRANSPORT_QUEUED_BATCHES` | 8 | batches that wait in front of an agent |
| `LACAK_TRANSPORT_OUTSTANDING_MAX` | 2000 | records sent and not yet acknowledged |
| `LACAK_TRANSPORT_OUTSTANDING_MIB` | 64 | their bytes |
"""


def main() -> int:
    """Write the page and the pictures."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance_page", description=__doc__)
    parser.add_argument("json", type=Path, nargs="?", default=Path("build/bench-endurance.json"))
    parser.add_argument("--note", default="", help="a sentence about the run, for the page")
    given = parser.parse_args()
    found = msgspec.json.decode(given.json.read_bytes(), type=Found)
    note = f"\n{given.note}\n" if given.note else ""
    mpl.rcParams["svg.hashsalt"] = "lacak"
    pictures = _DOCS / "pictures"
    topics, processes = list(found.looks[0].lag), list(found.looks[0].rss_mib)
    _picture(found, pictures / "endurance-lag.svg", "Records that wait", "records", {
        topic: _of("lag", topic) for topic in topics
    }, log=True)  # fmt: skip
    _picture(found, pictures / "endurance-memory.svg", "Memory (RSS)", "MiB", {
        name: _of("rss_mib", name) for name in processes
    })  # fmt: skip
    _picture(found, pictures / "endurance-latency.svg", "How late a scan shows", "seconds", {
        "a scan until it shows": lambda look: look.latency_s,
        "age of the newest that shows": lambda look: look.stale_s,
    }, log=True)  # fmt: skip
    _picture(found, pictures / "endurance-handles.svg", "Open files", "files", {
        name: _of("handles", name) for name in processes
    })  # fmt: skip
    (_DOCS / "endurance.md").write_text(_page(found, note), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

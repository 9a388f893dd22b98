"""docs/metrics.md, made from the catalogues: `python -m lacak.metrics_page`; with `--check` it only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gateway.metrics import CATALOGUE as GATEWAY
from schemas.exposition import PROCESSES
from schemas.heartbeats import HEARTBEATS
from streams.metrics import STATES, TIMED, WORKERS
from streams.stagemetrics import STAGES

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/metrics.md"
_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
_STAGES: Final = {
    "visits": "The visits role",
    "places": "The places role",
    "tracing": "The tracing role",
    "status": "The status role",
    "recorder": "The recorder role",
}

GROUPS: Final[tuple[tuple[str, str, tuple[Any, ...]], ...]] = (
    (
        "Every process",
        "Also `process_...` and `python_...` of prometheus_client: CPU, memory, open files, start.",
        PROCESSES,
    ),
    ("Every worker", "What flows through it, and how it stands with the brokers.", WORKERS),
    ("Log time", "From the roles that follow it: visits, places and status.", TIMED),
    (
        "Heartbeat",
        "From whoever reads heartbeats: visits (topic `scans`), places (`visits`), tracing (`trace-answers`), status"
        " (`health-records`), recorder (`occupancy`, `traces`, `statuses`) and gateways (`occupancy`, `statuses`).",
        HEARTBEATS,
    ),
    ("State", "From the roles that keep states in snapshots: visits, places and status.", STATES),
    *((_STAGES[stage], "", metrics) for stage, metrics in STAGES.items()),
    ("A gateway", "At `/metrics` of its own address.", GATEWAY),
)
"""Title, a sentence, and the metrics."""

_HEAD: Final = """# Metrics

<!-- Made by `python -m lacak.metrics_page` from streams/metrics.py, streams/stagemetrics.py, gateway/metrics.py and
schemas/exposition.py: change those, not this page. -->

A worker with `LACAK_METRICS_PORT=9100` answers Prometheus on 127.0.0.1:9100; under `lacak up` each further worker takes
the next port. Every sample has the label `stage`: the worker's role (registry, visits, places, tracing, status,
recorder), or `gateway`. Units are seconds, bytes and ratios. No label names a person or a venue. The labels named below
come besides `stage`.
"""


def name_of(metric: Any) -> str:
    """The name by which a metric is asked for: a counter's ends in `_total`, an info's in `_info`."""
    return str(metric._name) + _SUFFIXES.get(metric._type, "")


def render() -> str:
    """The page."""
    parts = [_HEAD]
    for title, about, metrics in GROUPS:
        parts.append(f"## {title}\n\n" + (f"{about}\n\n" if about else "") + _table(metrics))
    return "\n".join(parts)


def _table(metrics: Iterable[Any]) -> str:
    lines = ["| metric | kind | labels | |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(metric._labelnames)
        lines.append(f"| `{name_of(metric)}` | {metric._type} | {labels} | {metric._documentation} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with `--check` say whether it is as it should be."""
    page = render()
    if sys.argv[1:] == ["--check"]:
        stale = not PAGE.exists() or PAGE.read_text("utf-8") != page
        print(
            "docs/metrics.md is stale: python -m lacak.metrics_page" if stale else "docs/metrics.md is as it should be."
        )
        return int(stale)
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

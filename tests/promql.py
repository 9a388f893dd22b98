"""What tests read in a PromQL expression: which metrics it asks for, with which labels, under which functions.

No parser, but enough of one for expressions as this project writes them; whether they are PromQL says promtool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gateway.metrics import CATALOGUE as GATEWAY
from schemas.exposition import PROCESSES
from schemas.heartbeats import HEARTBEATS
from streams.metrics import STATES, TIMED, WORKERS
from streams.stagemetrics import STAGES

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(
    r"\b((?:lacak|process|python)_[a-z0-9_]+|up|ALERTS|lacak:[a-z0-9_:]+)\b\s*(\{[^}]*\})?\s*(\[[^\]]+\])?"
)
_MATCHER = re.compile(r'\s*([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_TARGET = {"job", "instance"}


class Selector(NamedTuple):
    """A metric as it is asked for: the labels it is matched by, its range, and the function just around it."""

    name: str
    labels: frozenset[str]
    range: str
    function: str


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that an expression asks for."""
    for found in _SELECTOR.finditer(expression):
        before = expression[: found.start()].rstrip()
        function = re.search(r"([a-z_]+)\s*\($", before)
        labels = frozenset(_MATCHER.findall(found[2] or ""))
        yield Selector(found[1], labels, (found[3] or "").strip("[]"), function[1] if function else "")


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups by or joins on."""
    plain = _STRING.sub('""', expression)
    return {label.strip() for labels in _GROUPING.findall(plain) for label in labels.split(",") if label.strip()}


def known() -> dict[str, set[str]]:
    """The labels of every series there is, by its name in Prometheus."""
    found: dict[str, set[str]] = {
        "up": set(_TARGET),
        "ALERTS": {"alertname", "alertstate", "severity", "stage"} | _TARGET,
    }
    stages = [metric for metrics in STAGES.values() for metric in metrics]
    for metric in (*PROCESSES, *WORKERS, *TIMED, *HEARTBEATS, *STATES, *stages, *GATEWAY):
        labels = {*metric._labelnames, "stage"} | _TARGET
        match metric._type:
            case "counter":
                found[metric._name + "_total"] = labels
            case "info":
                extra = {"role", "index"} if metric._name == "lacak_worker" else {"version", "python"}
                found[metric._name + "_info"] = labels | extra
            case "histogram":
                found |= {metric._name + suffix: labels for suffix in ("_count", "_sum")}
                found[metric._name + "_bucket"] = labels | {"le"}
            case _:
                found[metric._name] = labels
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
        found[f"process_{name}"] = {"stage"} | _TARGET
    return found


def counters() -> set[str]:
    """Names that only ever rise: they mean something under rate or increase."""
    return {name for name in known() if name.endswith(("_total", "_bucket", "_count", "_sum"))}

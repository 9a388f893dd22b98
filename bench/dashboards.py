"""`python -m bench.dashboards`: run a small Lacak in its rush hour under a real Prometheus, ask it everything that the
dashboards and rules ask, and write the answers into docs/dashboards.md, below its mark.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
import yaml
from rich.console import Console

from bench.machine import bench_folder, describe
from bench.sight import Sight, sight
from deploy.grafana.__main__ import FOLDER
from deploy.prometheus.live import filled_in, filled_in_sql
from deploy.prometheus.server import RULES, Prometheus
from deploy.prometheus.shorten import shorten_rules

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/dashboards.md"
MARK: Final = "<!-- What follows is made by `python -m bench.dashboards` (make dashboards). -->"
_SHOWN: Final = 4
_UNITS: Final = {
    "s": " s", "eps": "/s", "reqps": "/s", "ops": "/s", "bytes": " B", "Bps": " B/s", "short": "", "none": "",
    "percentunit": "", "dateTimeAsIso": " ms",
}  # fmt: skip


class Asked(NamedTuple):
    """One query of a panel: where it stands, what it asks, in which language, and how its series are called."""

    dashboard: str
    row: str
    panel: str
    description: str
    unit: str
    query: str
    legend: str
    sql: bool


class Answer(NamedTuple):
    """What came: how many series or rows there are, and the first of them as text."""

    total: int
    shown: tuple[str, ...]


def asked() -> Iterator[Asked]:
    """Every query of every dashboard, in order."""
    for name in ("throughput", "programme", "venue"):
        tree = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        row = ""
        for panel in tree["panels"]:
            if panel["type"] == "row":
                row = panel["title"]
                continue
            unit = panel["fieldConfig"]["defaults"].get("unit", "s")
            for target in panel["targets"]:
                sql = "rawSql" in target
                yield Asked(
                    tree["title"], row, panel["title"], panel["description"], unit,
                    target["rawSql"] if sql else target["expr"], target.get("legendFormat", ""), sql,
                )  # fmt: skip


def recorded() -> Iterator[tuple[str, str, bool]]:
    """(name, expression, whether it is an alert) of every rule."""
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                yield rule.get("record", rule.get("alert")), rule["expr"], "alert" in rule


def answer(prometheus: Prometheus, query: str, legend: str = "", unit: str = "short") -> Answer:
    """What Prometheus answers now; series without a number (a share of nothing) do not count."""
    found = [each for each in prometheus.query(query) if not math.isnan(each.value)]
    found.sort(key=lambda each: -each.value)
    shown = []
    for each in found[:_SHOWN]:
        name = legend
        for label, value in each.labels.items():
            name = name.replace(f"{{{{{label}}}}}", value)
        shown.append(f"{name}: {_number(each.value, unit)}" if name else _number(each.value, unit))
    return Answer(len(found), tuple(shown))


def answer_sql(database: str, query: str, venue: str) -> Answer:
    """What PostgreSQL answers the dashboards' own role."""
    with psycopg.connect(database) as connection:
        connection.execute("set role lacak_dashboards")
        rows = connection.execute(filled_in_sql(query, venue).encode()).fetchall()
    rows = [row for row in rows if any(value is not None for value in row)]
    return Answer(len(rows), tuple(", ".join(map(_cell, row)) for row in rows[:2]))


def short_rules(folder: Path) -> Path:
    """The deployment's rules for a look of minutes: an hour of them in a minute, ages of two minutes in twelve
    seconds. Returns the folder."""
    shorten_rules(RULES, folder, 60.0, least_ms=5000, ages=10.0, least_age=6)
    return folder


def busiest(database: str) -> str:
    """The place with a cluster, or else with the most entries: one of which there is something to be seen."""
    with psycopg.connect(database) as connection:
        row = connection.execute(
            "select venue from dashboards.windows"
            " left join (select distinct venue, true as has from dashboards.clusters) c using (venue)"
            " left join (select distinct venue, true as did from dashboards.deeds) d using (venue)"
            " group by venue, has, did order by has nulls last, did nulls last, sum(entries) desc limit 1"
        ).fetchone()
    return str(row[0]) if row else ""


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    text = f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return text + _UNITS.get(unit, f" {unit}")


def page(seen: Sight, seconds: float) -> tuple[str, list[str]]:
    """The page, and the queries that have no answer."""
    empty: list[str] = []
    lines = [PAGE.read_text("utf-8").partition(MARK)[0].rstrip(), "", MARK]
    venue, before = busiest(seen.database), ("", "", "")
    for each in asked():
        if each.dashboard != before[0]:
            lines += ["", f"## {each.dashboard}"]
        if (each.dashboard, each.row) != before[:2]:
            lines += ["", f"### {each.row}"]
        if (each.dashboard, each.row, each.panel) != before:
            lines += ["", f"**{each.panel}**. {each.description}", ""]
        before = (each.dashboard, each.row, each.panel)
        if each.sql:
            got = answer_sql(seen.database, each.query, venue)
        else:
            got = answer(seen.prometheus, filled_in(each.query), each.legend, each.unit)
        lines += [f"- `{each.query}`", f"  {_said(got, 'rows' if each.sql else 'series')}"]
        if not got.total:
            empty.append(f"{each.dashboard} / {each.panel}")
    lines += [
        "",
        "## Rules",
        "",
        "What each rule has recorded, and how each alert is, an hour of theirs being a minute here.",
        "",
    ]
    up = seen.prometheus.firing()
    for name, _, is_alert in recorded():
        got = answer(seen.prometheus, name) if not is_alert else Answer(0, ())
        said = up.get(name, "quiet") if is_alert else _said(got, "series")
        if (line := f"- `{name}`: {said}") not in lines:
            lines.append(line)
        if not got.total and not is_alert:
            empty.append(name)
    about = ", ".join(f"{name} {value}" for name, value in describe("Tansu").items())
    lines += ["", f"Asked after {seconds:.0f} s of the rush hour, on: {about}.", ""]
    return "\n".join(lines), empty


def _said(got: Answer, what: str) -> str:
    if not got.total:
        return "(nothing)"
    more = f" … ({got.total} {what})" if got.total > len(got.shown) else ""
    return "; ".join(got.shown) + more


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, ask, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboards", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="how long the rush hour lasts (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    console.print("starting a small Lacak and Prometheus")
    with bench_folder() as folder, sight(folder, rules=short_rules(folder / "rules")) as seen:
        began = time.monotonic()
        while time.monotonic() - began < given.seconds:
            seen.keep()
            time.sleep(1.0)
        text, empty = page(seen, given.seconds)
    PAGE.write_text(text, "utf-8")
    console.print(f"docs/dashboards.md is written; {len(empty)} queries without an answer")
    for each in empty:
        console.print(f"  {each}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The demo's report: one page with the picture, and the trace as files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from officer.exports import to_csv, to_gexf, to_graphml, to_json
from officer.picture import svg
from schemas.messages import Trace

_WIDTH, _HEIGHT, _LEFT, _FOOT = 1040, 220, 48, 28

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:1184px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.25rem .9rem .25rem 0;text-align:left;border-bottom:1px solid #8883}
td.number{text-align:right;font-variant-numeric:tabular-nums}
svg{max-width:100%;height:auto}
@media (prefers-color-scheme:dark){body{background:#16181c}}
.curve{font:12px system-ui,sans-serif}.curve text{fill:currentColor;opacity:.7}
"""


class Curve(NamedTuple):
    """How full a place was: `points` are (window's start, its peak) in order of time."""

    title: str
    allowed: int | None
    points: Sequence[tuple[datetime, int]]


class Table(NamedTuple):
    """A table of the page; cells that are numbers stand to the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]


def write_report(
    folder: Path, title: str, sentences: Sequence[str], curve: Curve | None, tables: Sequence[Table], trace: Trace,
    zone: ZoneInfo,
) -> Path:  # fmt: skip
    """Write the page and the trace's files into `folder`, which is made; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = svg(trace, zone)
    for name, text in (
        ("trace.svg", picture),
        ("trace.json", to_json(trace)),
        ("contacts.csv", to_csv(trace)),
        ("trace.graphml", to_graphml(trace)),
        ("trace.gexf", to_gexf(trace)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>",
        *(f"<p>{escape(sentence)}</p>" for sentence in sentences),
    ]
    if curve is not None and curve.points:
        parts.append(f"<h2>{escape(curve.title)}</h2>{curve_svg(curve, zone)}")
    parts += [_table(table) for table in tables]
    parts.append(f"<h2>The contacts</h2>{picture}")
    parts.append(
        '<p>The same as files: <a href="contacts.csv">contacts.csv</a>, <a href="trace.json">trace.json</a>, '
        '<a href="trace.graphml">trace.graphml</a>, <a href="trace.gexf">trace.gexf</a>, '
        '<a href="trace.svg">trace.svg</a>.</p></html>'
    )
    page = folder / "index.html"
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def curve_svg(curve: Curve, zone: ZoneInfo) -> str:
    """People inside over time as steps, with the allowed number as a line."""
    first, last = curve.points[0][0].timestamp(), curve.points[-1][0].timestamp() + 600
    most = max([peak for _, peak in curve.points] + [curve.allowed or 0, 1])

    def x(at: float) -> float:
        return round(_LEFT + (at - first) / (last - first) * (_WIDTH - _LEFT), 1)

    def y(people: float) -> float:
        return round(_HEIGHT - _FOOT - people / most * (_HEIGHT - _FOOT - 16), 1)

    path = [f"M{x(first)},{y(0)}"]
    ended = first
    for start, peak in curve.points:
        at = start.timestamp()
        if at > ended:
            path.append(f"V{y(0)}H{x(at)}")
        path.append(f"V{y(peak)}H{x(at + 600)}")
        ended = at + 600
    path.append(f"V{y(0)}Z")
    out = [
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(curve.title)}</title>',
        f'<path d="{"".join(path)}" fill="#4477aa" fill-opacity=".55" stroke="#4477aa"/>',
        f'<text x="{_LEFT - 8}" y="{y(most) + 4}" text-anchor="end">{most}</text>',
        f'<text x="{_LEFT - 8}" y="{y(0)}" text-anchor="end">0</text>',
    ]
    if curve.allowed:
        level = y(curve.allowed)
        out.append(
            f'<path d="M{_LEFT},{level}H{_WIDTH}" stroke="#ee6677" stroke-dasharray="6 4"/>'
            f'<text x="{_WIDTH}" y="{level - 5}" text-anchor="end">allowed: {curve.allowed}</text>'
        )
    days = (last - first) / 86_400
    for start, _ in curve.points:
        local = start.astimezone(zone)
        if local.minute == 0 and (local.hour == 12 or (days < 4 and local.hour % 6 == 0)):
            words = f"{local:%d %b %H:%M}" if days < 4 else f"{local:%d %b}"
            out.append(f'<text x="{x(start.timestamp())}" y="{_HEIGHT - 8}" text-anchor="middle">{words}</text>')
    return "".join(out) + "</svg>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in table.rows)
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{body}</table>"


def _cell(cell: object) -> str:
    if isinstance(cell, int):
        return f'<td class="number">{cell:,}</td>'
    return f"<td>{escape(str(cell))}</td>"

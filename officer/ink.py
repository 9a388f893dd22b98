"""What a picture is drawn with: its style in light and dark, words, marks, and round times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

STYLE = """
.trace{font:12.5px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;max-width:100%;height:auto}
.trace text{fill:#1d2126}.trace .paper{fill:#fff}.trace .quiet{fill:#59616b}
.trace .title{font-size:18px;font-weight:600}
.trace .head{font-weight:600}.trace .warn{fill:#a3200d;font-weight:600}.trace .gone{text-decoration:line-through}
.trace .grid{stroke:#1d2126;stroke-opacity:.13}.trace .life{stroke:#1d2126;stroke-opacity:.16}
.trace .rule{stroke:#1d2126;stroke-opacity:.4}.trace .way{stroke:#1d2126;stroke-opacity:.3;fill:none}
.trace .dot{fill:#1d2126;fill-opacity:.6}.trace .mark{stroke:#1d2126;stroke-width:1.5;fill:none}
.trace .full{fill:#1d2126}.trace .window{fill:#4477aa;fill-opacity:.16}
.trace .edge{stroke:#1d2126;stroke-opacity:.3}.trace .out{fill:none;stroke:#59616b;stroke-dasharray:3 2}
.trace .own{fill:#98a1ab;stop-color:#98a1ab}.trace .case{fill:#4a5560;stop-color:#4a5560}
.trace .none{fill:#c6ccd3;stop-color:#c6ccd3}
.trace .r0{fill:#fdeab8;stop-color:#fdeab8}.trace .r1{fill:#fcc271;stop-color:#fcc271}
.trace .r2{fill:#ee8540;stop-color:#ee8540}.trace .r3{fill:#c23b22;stop-color:#c23b22}
.trace .r4{fill:#6b0f2b;stop-color:#6b0f2b}
.trace .in{font-size:10px;font-weight:600;text-anchor:middle}
.trace .by{fill:#59616b;stroke:#fff;stroke-width:2.5px;paint-order:stroke}
.trace .on-case,.trace .on-r3,.trace .on-r4{fill:#fff}
@media (prefers-color-scheme:dark){
.trace text{fill:#e8eaed}.trace .paper{fill:#16181c}.trace .quiet{fill:#a5adb7}.trace .warn{fill:#ff9c8a}
.trace .grid,.trace .life,.trace .rule,.trace .way,.trace .mark,.trace .edge{stroke:#e8eaed}.trace .out{stroke:#a5adb7}
.trace .dot,.trace .full{fill:#e8eaed}.trace .window{fill:#77aadd;fill-opacity:.2}
.trace .own{fill:#6b747e;stop-color:#6b747e}.trace .case{fill:#aeb7c1;stop-color:#aeb7c1}
.trace .none{fill:#4b535c;stop-color:#4b535c}
.trace .r0{fill:#4d3c29;stop-color:#4d3c29}.trace .r1{fill:#8c5c26;stop-color:#8c5c26}
.trace .r2{fill:#d9822b;stop-color:#d9822b}.trace .r3{fill:#ffc266;stop-color:#ffc266}
.trace .r4{fill:#fff4c9;stop-color:#fff4c9}.trace .by{fill:#a5adb7;stroke:#16181c}
.trace .on-case,.trace .on-r2,.trace .on-r3,.trace .on-r4{fill:#16181c}}
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "", tip: str = "") -> str:
    """Words at a place, and what is told when one points at them; nothing where there are none."""
    look = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    told = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<text x="{x:g}" y="{y:g}"{look}>{escape(words)}{told}</text>' if words else ""


def mark(x: float, y: float, grade: str) -> str:
    """A ring for possible, a disc for confirmed, a cross for dismissed."""
    if grade == "dismissed":
        return f'<path class="mark" d="M{x - 4:g},{y - 4:g}l8,8m0,-8l-8,8"/>'
    return f'<circle class="mark{" full" if grade == "confirmed" else ""}" cx="{x:g}" cy="{y:g}" r="4.5"/>'


def ticks(first: int, last: int, zone: ZoneInfo) -> tuple[int, list[datetime]]:
    """How many hours apart, and up to some fourteen marks at round times of the zone."""
    hours = next((step for step in (1, 2, 3, 6, 12, 24, 48, 96, 168) if (last - first) / 3_600_000 / step <= 14), 336)
    begin = datetime.fromtimestamp(first / 1000, UTC).astimezone(zone)
    moment = begin.replace(hour=begin.hour // hours * hours if hours < 24 else 0, minute=0, second=0, microsecond=0)
    marks = []
    while (at_ms := round(moment.timestamp() * 1000)) <= last:
        if at_ms >= first:
            marks.append(moment)
        moment += timedelta(hours=hours)
    return hours, marks

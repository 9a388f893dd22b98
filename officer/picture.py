"""One picture of a trace: time from left to right, a line for each contact, a bar for each shared stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from zoneinfo import ZoneInfo

from officer.exports import by_hop, local, percent
from schemas.messages import Contact, Trace

_COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#e68613",
    "#777777",
)  # Paul Tol's bright scheme
_MARKS = {"possible": "○", "confirmed": "●", "dismissed": "×"}
_MOST = 60
_LEFT, _WIDTH, _ROW, _TOP = 250, 820, 24, 96

_STYLE = """
svg{font:13px system-ui,sans-serif;color-scheme:light dark;background:#fff;color:#222}
text{fill:currentColor}.dim{opacity:.6}.grid{stroke:currentColor;opacity:.15}.title{font-weight:600;font-size:16px}
@media(prefers-color-scheme:dark){svg{background:#16181c;color:#e6e6e6}}
"""


def svg(trace: Trace, zone: ZoneInfo) -> str:
    """The picture as SVG, complete in itself. A faded end of a bar is only assumed."""
    contacts = by_hop(trace.contacts)
    shown, more = contacts[:_MOST], len(contacts) - _MOST
    stays = [stay for contact in shown for stay in contact.evidence]
    venues = list(dict.fromkeys(stay.venue for stay in sorted(stays, key=lambda stay: stay.start_ms)))
    colour = {venue: _COLOURS[index % len(_COLOURS)] for index, venue in enumerate(venues)}
    first = min((min(s.start_ms, s.case_stay.start_ms) for s in stays), default=trace.window_start_ms)
    last = max((max(s.end_ms, s.case_stay.end_ms) for s in stays), default=max(trace.window_end_ms, first + 3_600_000))
    scale = _WIDTH / max(last - first, 60_000)
    rows = len(shown) + 1
    legend_top = _TOP + rows * _ROW + (44 if more > 0 else 24)
    height = legend_top + 22 * ((len(venues) + 2) // 3) + 16

    def x(at_ms: int) -> float:
        return round(_LEFT + (at_ms - first) * scale, 1)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 30} {height}" role="img">',
        f"<style>{_STYLE}</style>",
        f"<title>{escape(trace.direction)} trace of {escape(trace.person)}</title>",
        f"<desc>{len(contacts)} contacts; each line is a person, each bar a stay shared with the case "
        "(at a later hop with who exposed them).</desc>",
        f'<text class="title" x="16" y="28">{escape(trace.direction.capitalize())} trace of '
        f"{escape(_short(trace.person))}: {len(contacts)} contacts</text>",
        f'<text class="dim" x="16" y="48">{escape(trace.profile)} of {escape(trace.profile_version)}, '
        f"{escape(trace.state)}, {local(trace.window_start_ms, zone)} to {local(trace.window_end_ms, zone)}</text>",
        '<defs><linearGradient id="fade"><stop offset=".4" stop-color="#fff"/>'
        '<stop offset="1" stop-color="#fff" stop-opacity=".25"/></linearGradient>'
        '<mask id="assumed" maskContentUnits="objectBoundingBox"><rect width="1" height="1" fill="url(#fade)"/></mask>'
        "</defs>",
    ]
    for at_ms, label in _ticks(first, last, zone):
        out.append(f'<line class="grid" x1="{x(at_ms)}" x2="{x(at_ms)}" y1="{_TOP - 16}" y2="{_TOP + rows * _ROW}"/>')
        out.append(f'<text class="dim" x="{x(at_ms)}" y="{_TOP - 22}" text-anchor="middle">{label}</text>')
    out.append(f'<text x="16" y="{_TOP + 16}">case</text>')
    own = (stay for contact in shown if contact.hop == 1 for stay in contact.evidence)
    drawn = {(stay.venue, stay.case_stay.start_ms): stay for stay in own}
    out += [
        _bar(
            x(stay.case_stay.start_ms),
            x(stay.case_stay.end_ms),
            _TOP + 3,
            colour[stay.venue],
            stay.case_stay.end_assumed,
            stay.venue,
        )
        for stay in drawn.values()
    ]
    for number, contact in enumerate(shown, 1):
        top = _TOP + number * _ROW
        out.append(
            f'<text x="16" y="{top + 16}">{_MARKS[contact.grade]} {escape(_short(contact.person))}'
            f"<title>{escape(_who(contact))}</title></text>"
            f'<text class="dim" x="{_LEFT - 12}" y="{top + 16}" text-anchor="end">{contact.minutes:.0f} min</text>'
        )
        for stay in contact.evidence:
            words = f"{stay.venue}, {local(stay.start_ms, zone)} to {local(stay.end_ms, zone)}, {stay.minutes:.0f} min"
            out.append(
                _bar(
                    x(stay.start_ms), x(stay.end_ms), top + 3, colour[stay.venue], stay.contact_stay.end_assumed, words
                )
            )
    if more > 0:
        out.append(f'<text class="dim" x="16" y="{_TOP + rows * _ROW + 20}">and {more} more</text>')
    for index, venue in enumerate(venues):
        left, top = 16 + (index % 3) * 350, legend_top + 22 * (index // 3)
        out.append(
            f'<rect x="{left}" y="{top}" width="14" height="14" rx="3" fill="{colour[venue]}"/>'
            f'<text x="{left + 22}" y="{top + 12}">{escape(venue[:42])}</text>'
        )
    out.append("</svg>")
    return "\n".join(out)


def html(trace: Trace, zone: ZoneInfo) -> str:
    """The picture on a page of its own."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Trace {escape(trace.trace_id)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f'<body style="margin:1rem auto;max-width:1120px">{svg(trace, zone)}</body></html>'
    )


def _bar(left: float, right: float, top: int, colour: str, assumed: bool, words: str) -> str:
    mask = ' mask="url(#assumed)"' if assumed else ""
    return (
        f'<rect x="{left}" y="{top}" width="{max(right - left, 2):.1f}" height="{_ROW - 7}" rx="3" '
        f'fill="{colour}"{mask}>'
        f"<title>{escape(words)}</title></rect>"
    )


def _who(contact: Contact) -> str:
    risk = "" if contact.risk is None else f", risk {percent(contact.risk)}"
    way = f", hop {contact.hop} by way of {', '.join(contact.exposed_by)}" if contact.exposed_by else ""
    return f"{contact.person}, {contact.grade}{risk}{way}"


def _short(person: str) -> str:
    return person if len(person) <= 18 else f"{person[:15]}…"


def _ticks(first: int, last: int, zone: ZoneInfo) -> list[tuple[int, str]]:
    """Some eight marks at round times of the zone."""
    hours = next((step for step in (1, 2, 3, 6, 12, 24, 48, 96, 168) if (last - first) / 3_600_000 / step <= 9), 336)
    moment = datetime.fromtimestamp(first / 1000, UTC).astimezone(zone).replace(minute=0, second=0, microsecond=0)
    moment = moment.replace(hour=moment.hour // hours * hours if hours < 24 else 0)
    marks = []
    while (at_ms := round(moment.timestamp() * 1000)) <= last:
        if at_ms >= first:
            marks.append(
                (at_ms, moment.strftime("%d %b") if moment.hour == 0 or hours >= 24 else moment.strftime("%H:%M"))
            )
        moment += timedelta(hours=hours)
    return marks

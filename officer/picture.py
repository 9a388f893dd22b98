"""The picture of a trace: time from left to right, a line for each person, a bar for each shared stay, risk as colour.

The case comes first, then the people of each hop. Everything that a colour or a shade says stands there in words too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from zoneinfo import ZoneInfo

from officer.drawn import Hop, band, drawing, exposer, hops_drawn, letters, short
from officer.exports import end_assumed, lacking, local, percent, reach, self_reported
from officer.ink import STYLE, mark, text, ticks
from schemas.messages import Contact, SharedStay, StayEvidence, Trace

_LEFT, _RIGHT, _WIDTH = 360, 1160, 1184
_ROW, _HEAD, _LINE = 22, 30, 19
_NAME, _VIA, _RISK, _MINUTES = 56, 230, 294, 346  # where the columns of text begin or, but for the first, end
_NO_VENUE = "no venue"
_GRADES = ("possible", "confirmed", "dismissed")


def svg(trace: Trace, zone: ZoneInfo) -> str:
    """The picture as SVG, complete in itself, in light or dark as the viewer likes."""
    return "\n".join(_Picture(trace, zone).drawn())


def html(trace: Trace, zone: ZoneInfo) -> str:
    """The picture on a page of its own."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Trace {escape(trace.trace_id)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        "<style>@media (prefers-color-scheme:dark){body{background:#16181c}}</style>"
        f'<body style="margin:1rem auto;max-width:1240px">{svg(trace, zone)}</body></html>'
    )


class _Picture:
    """One picture in the making; `_y` is how far down it has come."""

    def __init__(self, trace: Trace, zone: ZoneInfo) -> None:
        numbers = drawing()
        self._trace, self._zone, self._bands, self._most_places = trace, zone, numbers.risk_bands, numbers.places
        self._hops = hops_drawn(trace, numbers.people)
        self._shown = [contact for hop in self._hops for contact in hop.shown]
        stays = [stay for contact in self._shown for stay in contact.evidence]
        self._letters = letters(stay.venue for stay in sorted(stays, key=lambda stay: (stay.start_ms, stay.venue)))
        self._categories = {stay.venue: stay.category for stay in stays if stay.category}
        self._names = short([trace.person, *(contact.person for contact in self._shown)])
        self._number = {contact.person: number for number, contact in enumerate(self._shown, 1)}
        spans: list[SharedStay | StayEvidence] = [
            each for stay in stays for each in (stay, stay.case_stay, stay.contact_stay)
        ]
        self._first = min((span.start_ms for span in spans), default=trace.window_start_ms)
        last = max((span.end_ms for span in spans), default=trace.window_end_ms)
        self._last = max(last, self._first + 3_600_000)
        self._row: dict[str, int] = {}
        self._y = 30

    def drawn(self) -> Iterator[str]:
        """The lines of the file."""
        head = [*self._header(), *self._legend()]
        top = self._y + 44
        self._y = top + 6
        rows = [*self._case(), *(line for hop in self._hops for line in self._group(hop))]
        bottom = self._y
        ways = list(self._ways())
        key = list(self._key())
        title = f"{escape(self._trace.direction.capitalize())} trace of {escape(self._trace.person)}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="trace" viewBox="0 0 {_WIDTH} {self._y + 8}" '
            f'width="{_WIDTH}" role="img">'
        )
        yield f"<title>{title}</title><desc>{escape(self._told())}</desc><style>{STYLE}</style>"
        kinds = ["own", "case", "none", *(f"r{number}" for number in range(len(self._bands) + 1))]
        yield "<defs>" + "".join(
            f'<linearGradient id="fade-{kind}"><stop offset=".35" class="{kind}"/>'
            f'<stop offset="1" class="{kind}" stop-opacity=".12"/></linearGradient>'
            for kind in kinds
        ) + "</defs>"  # fmt: skip
        yield f'<rect class="paper" width="{_WIDTH}" height="{self._y + 8}"/>'
        yield from head
        yield from self._axis(top, bottom)
        yield from rows
        yield from ways
        yield from key
        yield "</svg>"

    def _told(self) -> str:
        counts = ", ".join(f"{hop.people} at hop {hop.hop}" for hop in self._hops) or "nobody"
        return f"People: {counts}. Each line is a person, each bar a stay shared with who exposed them."

    def _x(self, at_ms: int) -> float:
        return round(_LEFT + (at_ms - self._first) / (self._last - self._first) * (_RIGHT - _LEFT), 1)

    def _header(self) -> Iterator[str]:
        trace = self._trace
        count = len(trace.contacts)
        people = "nobody" if not count else "1 person" if count == 1 else f"{count} people"
        name = short([trace.person], 44)[trace.person]
        yield text(16, self._y, f"{trace.direction.capitalize()} trace of {name}: {people}", "title")
        infectious = "infectious" if trace.direction == "forward" else "may have been infected"
        window = f"{local(trace.window_start_ms, self._zone)} to {local(trace.window_end_ms, self._zone)}"
        about = f"{trace.profile} of {trace.profile_version}; {infectious} {window}; revision {trace.revision}"
        if trace.as_of_ms is not None:
            about += f", as of {local(trace.as_of_ms, self._zone)}"
        lines = [(about, "quiet")]
        if trace.state == "withdrawn":
            lines.append(("This trace is withdrawn.", "warn"))
        lines += [(words, "warn") for words in lacking(trace)]
        if trace.hops > 1 or trace.cut_by:
            lines.append((reach(trace), "warn" if trace.cut_by else "quiet"))
        self._y += 4
        for words, kind in lines:
            for line in textwrap.wrap(words, 165):
                self._y += _LINE
                yield text(16, self._y, line, kind)

    def _legend(self) -> Iterator[str]:
        self._y += 28
        y, x = self._y, 16.0
        yield text(x, y, "Risk", "head")
        x += 42
        risks = [percent(limit) for limit in self._bands]
        words = [f"under {risks[0]}", *(f"{a} to {b}" for a, b in pairwise(risks)), f"{risks[-1]} and more"]
        kinds = [f"r{number}" for number in range(len(words))]
        if any(contact.risk is None for contact in self._shown):
            words, kinds = [*words, "not known"], [*kinds, "none"]
        for kind, each in zip(kinds, words, strict=True):
            yield f'<rect class="{kind} edge" x="{x:g}" y="{y - 11}" width="22" height="14" rx="3"/>'
            yield text(x + 28, y, each)
            x += 44 + 7 * len(each)
        x = max(x + 24, 760.0)
        for grade in _GRADES:
            yield mark(x + 6, y - 4, grade) + text(x + 18, y, grade)
            x += 98
        self._y += 24
        y, x = self._y, 16.0
        forward = self._trace.direction == "forward"
        other = "who exposed them" if forward else "whom they exposed"
        samples = (
            ("r1 edge", "", 14, f"shared with {other}; the letter is the place"),
            ("own edge", "", 5, "the whole stay"),
            ("edge", ' fill="url(#fade-r1)"', 14, "end only assumed"),
            ("window", "", 18, "case infectious" if forward else "case may have been infected"),
        )
        for kind, fill, height, each in samples:
            place = f'x="{x:g}" y="{y - 4 - height / 2:g}" width="26" height="{height}"'
            yield f'<rect class="{kind}"{fill} {place} rx="2"/>'
            yield text(x + 32, y, each)
            x += 56 + 6.7 * len(each)

    def _axis(self, top: int, bottom: int) -> Iterator[str]:
        hours, marks = ticks(self._first, self._last, self._zone)
        days = [moment for moment in marks if moment.hour == 0 or hours >= 24]
        for moment in marks:
            x = self._x(round(moment.timestamp() * 1000))
            yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top - 2}" y2="{bottom}"/>'
            if hours < 24:
                yield text(x, top - 8, f"{moment:%H:%M}", "quiet", "middle")
        first = datetime.fromtimestamp(self._first / 1000, UTC).astimezone(self._zone)
        if hours < 24 and not (days and self._x(round(days[0].timestamp() * 1000)) < _LEFT + 60):
            yield text(_LEFT, top - 23, f"{first:%d %b}", "", "middle")
        for moment in days:
            x = self._x(round(moment.timestamp() * 1000))
            yield text(x, top - (23 if hours < 24 else 8), f"{moment:%d %b}", "", "middle")
        if self._shown:
            yield text(_RISK, top - 8, "risk", "quiet", "end") + text(_MINUTES, top - 8, "min", "quiet", "end")

    def _case(self) -> Iterator[str]:
        trace, y = self._trace, self._y
        middle = y + _ROW // 2
        self._row[trace.person] = middle
        start, end = max(trace.window_start_ms, self._first), min(trace.window_end_ms, self._last)
        yield text(16, y + 15, "Case", "head") + text(_NAME, y + 15, self._names[trace.person], tip=trace.person)
        if start < end:
            words = "infectious" if trace.direction == "forward" else "may have been infected"
            left = self._x(start)
            yield (
                f'<rect class="window" x="{left}" y="{y}" width="{self._x(end) - left:.1f}" height="{_ROW}">'
                f"<title>{words} {local(trace.window_start_ms, self._zone)} to {local(trace.window_end_ms, self._zone)}"
                "</title></rect>"
            )
        yield self._life(middle)
        own = {
            (stay.venue, stay.case_stay)
            for contact in self._shown
            if not contact.exposed_by
            for stay in contact.evidence
        }
        bars = sorted(own, key=lambda each: (each[1].start_ms, each[0]))
        for venue, stay in bars:
            yield self._bar(stay, middle, 14, "case", stay.end_assumed, f"{venue or _NO_VENUE}, {self._span(stay)}")
        yield from self._named([(venue, stay, "case", stay.end_assumed) for venue, stay in bars], middle)
        self._y += _ROW + 4

    def _group(self, hop: Hop) -> Iterator[str]:
        self._y += _HEAD
        forward = self._trace.direction == "forward"
        if hop.hop == 1:
            words = "met the case" if forward else "may have infected the case"
        else:
            words = "met somebody above who may have been infected by then"
            words = words if forward else "may have infected somebody above"
        count = f"{hop.people} " + ("person" if hop.people == 1 else "people")
        yield f'<line class="rule" x1="16" x2="{_RIGHT}" y1="{self._y - 20}" y2="{self._y - 20}"/>'
        yield text(16, self._y - 4, f"Hop {hop.hop}: {count} who {words}", "head")
        self._y += 2
        for contact in hop.shown:
            yield from self._person(contact)
        more = hop.people - len(hop.shown)
        if more:
            self._y += _LINE
            yield text(_NAME, self._y - 4, f"and {more} more at hop {hop.hop}, with less risk or dismissed", "quiet")

    def _person(self, contact: Contact) -> Iterator[str]:
        y, middle = self._y, self._y + _ROW // 2
        self._row[contact.person] = middle
        gone = contact.grade == "dismissed"
        kind = "quiet gone" if gone else ""
        risk = percent(contact.risk) if contact.risk is not None else ""
        yield text(28, y + 15, str(self._number[contact.person]), "quiet", "end") + mark(42, middle, contact.grade)
        yield text(_NAME, y + 15, self._names[contact.person], kind, tip=self._who(contact))
        if contact.exposed_by:
            via = self._number.get(contact.exposed_by[-1])
            way = f"hop {contact.hop} by way of {', '.join(contact.exposed_by)}"
            yield text(_VIA, y + 15, f"via {via}" if via else "via ?", "quiet", "end", way)
        yield text(_RISK, y + 15, risk, kind, "end")
        yield text(_MINUTES, y + 15, f"{contact.minutes:.0f}", kind, "end") + self._life(middle)
        colour = band(contact.risk, self._bands)
        kind = "out" if gone else "none" if colour is None else f"r{colour}"
        for stay in contact.evidence:
            mine = stay.contact_stay
            if (mine.start_ms, mine.end_ms) == (stay.start_ms, stay.end_ms):
                continue
            yield self._bar(mine, middle, 5, "own", mine.end_assumed, f"whole stay, {self._span(mine)}")
        for stay in contact.evidence:
            assumed = end_assumed(stay)
            told = f", told to {stay.told_by}" if stay.told_by else ""
            words = f"{stay.venue or _NO_VENUE}, {self._span(stay, assumed)}, {stay.minutes:.0f} min{told}"
            yield self._bar(stay, middle, 14, kind, assumed, words)
        yield from self._named([(stay.venue, stay, kind, end_assumed(stay)) for stay in contact.evidence], middle)
        self._y += _ROW

    def _ways(self) -> Iterator[str]:
        """At later hops: from who exposed somebody down to them, when they first shared time."""
        for contact in self._shown:
            source = self._row.get(exposer(self._trace, contact)) if contact.exposed_by else None
            if source is not None and contact.evidence:
                first = min(contact.evidence, key=lambda stay: stay.start_ms)
                x = self._x(first.start_ms)
                yield f'<path class="way" d="M{x},{source}V{self._row[contact.person] - 7}"/>'
                yield f'<circle class="dot" cx="{x}" cy="{source}" r="2.5"/>'

    def _key(self) -> Iterator[str]:
        if not self._letters:
            self._y += 30
            yield text(_LEFT + 12, self._y, "Nobody shared enough time with the case within the window.", "head")
            return
        self._y += 26
        yield text(16, self._y, "Places", "head")
        listed = list(self._letters.items())
        shown = listed[: self._most_places]
        categories = [self._categories.get(venue) for venue, _ in shown]
        words = [
            f"{venue} ({category})" if category else venue or _NO_VENUE
            for (venue, _), category in zip(shown, categories, strict=True)
        ]
        cut = short(words, 46)
        for number, (_, letter) in enumerate(shown):
            if number % 3 == 0:
                self._y += _LINE
            x = 16 + number % 3 * 388
            each = words[number]
            yield text(x, self._y, letter, "head") + text(x + 28, self._y, cut[each], tip=each)
        if len(listed) > len(shown):
            self._y += _LINE
            yield text(16, self._y, f"and {len(listed) - len(shown)} more", "quiet")

    def _life(self, middle: int) -> str:
        return f'<line class="life" x1="{_LEFT}" x2="{_RIGHT}" y1="{middle}" y2="{middle}"/>'

    def _bar(
        self, stay: StayEvidence | SharedStay, middle: int, height: int, kind: str, assumed: bool, words: str
    ) -> str:
        left, width = self._place(stay)
        look = f'class="edge" fill="url(#fade-{kind})"' if assumed and kind != "out" else f'class="{kind} edge"'
        return (
            f'<rect {look} x="{left:g}" y="{middle - height / 2:g}" width="{width:g}" height="{height}" rx="2">'
            f"<title>{escape(words)}</title></rect>"
        )

    def _place(self, stay: StayEvidence | SharedStay) -> tuple[float, float]:
        left = self._x(stay.start_ms)
        return left, max(round(self._x(stay.end_ms) - left, 1), 2.0)

    def _named(self, bars: Sequence[tuple[str, StayEvidence | SharedStay, str, bool]], middle: int) -> Iterator[str]:
        """The letters of a line's bars (venue, stay, kind, assumed), in the bar, or behind it where there is room.

        Bars of one time, as in a shop and the mall around it, are told together.
        """
        spots: list[tuple[float, float, list[str], str, bool]] = []
        for venue, stay, kind, fades in bars:
            left, width = self._place(stay)
            on = "" if kind == "out" else f" on-{kind}"
            right, named = left + width, [self._letters[venue]]
            if spots and left < spots[-1][1]:
                left, end, before, on, faded = spots.pop()
                right, named, fades = max(end, right), list(dict.fromkeys([*before, *named])), fades or faded
            spots.append((left, right, named, on, fades))
        after = [spot[0] for spot in spots[1:]] + [_RIGHT + 16.0]
        for (left, right, named, on, fades), free in zip(spots, after, strict=False):
            words = "+".join(named)
            room = 3 + 7 * len(words)
            if right - left >= room:
                width = min(right - left, room + 4.0) if fades else right - left
                yield f'<text class="in{on}" x="{left + width / 2:.1f}" y="{middle + 3.5:g}">{words}</text>'
            elif free - right >= room:
                yield f'<text class="in by" x="{right + room / 2:.1f}" y="{middle + 3.5:g}">{words}</text>'

    def _span(self, stay: StayEvidence | SharedStay, assumed: bool | None = None) -> str:
        doubt = stay.end_assumed if isinstance(stay, StayEvidence) else assumed
        begin, end = local(stay.start_ms, self._zone), local(stay.end_ms, self._zone)
        words = f"{begin} to {end[11:] if end[:10] == begin[:10] else end}"
        words = f"{words} (assumed)" if doubt else words
        told = stay.self_reported if isinstance(stay, StayEvidence) else self_reported(stay)
        return f"{words} (self-reported)" if told else words

    def _who(self, contact: Contact) -> str:
        by = f" by {contact.decided_by}" if contact.decided_by else ""
        words = [contact.person, contact.grade + by, contact.rule]
        if contact.score is not None:
            words.append(f"score {contact.score:g} {contact.level or ''}".rstrip())
        if contact.earliest_ms is not None:
            when = "earliest" if self._trace.direction == "forward" else "latest"
            words.append(f"infected at the {when} {local(contact.earliest_ms, self._zone)}")
        return ", ".join(words)

"""A sheet of paper, laid out once and written as SVG or PDF: boxes, words and a QR code, in millimetres.

(0, 0) is the upper left corner. The same sheet gives the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Literal, NamedTuple

import segno
from fpdf import FPDF
from fpdf.drawing import PaintedPath
from fpdf.drawing_primitives import DeviceRGB
from fpdf.enums import PathPaintRule

from gateway.lettering import ENCODING, FAMILIES, font_for, in_helvetica, width

QUIET_MODULES = 4
"""The white border that ISO/IEC 18004 wants around a QR code, in modules."""

_POINTS_PER_MM = 72 / 25.4
_MADE = datetime(2021, 1, 1, tzinfo=UTC)  # a date of making would make each writing another file

Anchor = Literal["start", "middle", "end"]


class Box(NamedTuple):
    """A filled rectangle, its corners rounded by `radius`."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    radius: float = 0.0


class Words(NamedTuple):
    """One line of text: `x` is its start, middle or end, `y` its baseline, `size` that of the font."""

    x: float
    y: float
    size: float
    text: str
    fill: str
    bold: bool = False
    anchor: Anchor = "start"


class Square(NamedTuple):
    """A QR code of at least level M in a white square of `side`, its quiet zone within."""

    x: float
    y: float
    side: float
    content: str


Item = Box | Words | Square


class Sheet(NamedTuple):
    """A page and what stands on it, first to last; `title` is read out where a screen reader meets it."""

    width: float
    height: float
    title: str
    language: str
    items: Sequence[Item]

    def svg(self) -> str:
        """The sheet as one SVG document, as large as the paper. Its texts stay texts."""
        body = "".join(map(_svg, self.items))
        size = f'width="{self.width:g}mm" height="{self.height:g}mm" viewBox="0 0 {self.width:g} {self.height:g}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} lang="{self.language}" role="img">'
            f"<title>{escape(self.title)}</title>"
            f"<g font-family='{FAMILIES}'>{body}</g></svg>\n"
        )

    def pdf(self, font: Path | None = None) -> bytes:
        """The sheet as a PDF of one page. Raises LetteringError when a text cannot be drawn (gateway.lettering)."""
        pdf = FPDF(unit="mm", format=(self.width, self.height))
        pdf.core_fonts_encoding = ENCODING
        pdf.set_creation_date(_MADE)
        pdf.set_title(self.title)
        pdf.set_lang(self.language)
        pdf.set_auto_page_break(False)
        pdf.add_page()
        for item in self.items:
            if isinstance(item, Box):
                pdf.set_fill_color(item.fill)
                rounded = item.radius > 0
                pdf.rect(item.x, item.y, item.width, item.height, "F", rounded, item.radius)
            elif isinstance(item, Words):
                _write(pdf, item, font)
            else:
                _paint(pdf, item)
        return bytes(pdf.output())


def code_version(content: str) -> int:
    """The version (1 to 40) of the QR code of a content."""
    return int(_code(content).version)


@lru_cache(maxsize=64)
def _code(content: str) -> segno.QRCode:
    """Level M, or better where that makes it no larger."""
    return segno.make_qr(content, error="m")


def _runs(square: Square) -> Iterator[tuple[float, float, float, float]]:
    """The dark modules, those side by side together: (x, y, width, height)."""
    rows = [bytes(row) for row in _code(square.content).matrix]
    module = square.side / (len(rows) + 2 * QUIET_MODULES)
    left, top = square.x + QUIET_MODULES * module, square.y + QUIET_MODULES * module
    for number, row in enumerate(rows):
        start = row.find(1)
        while start >= 0:
            end = row.find(0, start)
            end = len(row) if end < 0 else end
            yield left + start * module, top + number * module, (end - start) * module, module
            start = row.find(1, end)


def _svg(item: Item) -> str:
    if isinstance(item, Box):
        radius = f' rx="{item.radius:g}"' if item.radius else ""
        place = f'x="{item.x:g}" y="{item.y:g}" width="{item.width:g}" height="{item.height:g}"'
        return f'<rect {place}{radius} fill="{item.fill}"/>'
    if isinstance(item, Words):
        weight = ' font-weight="bold"' if item.bold else ""
        anchor = f' text-anchor="{item.anchor}"' if item.anchor != "start" else ""
        place = f'x="{item.x:g}" y="{item.y:g}" font-size="{item.size:g}"'
        if in_helvetica(item.text):  # a font that is taken for Helvetica may be wider: the text keeps its place
            wide = width(item.text, item.size, bold=item.bold)
            place += f' textLength="{wide:.3f}" lengthAdjust="spacingAndGlyphs"'
        return f'<text {place}{weight}{anchor} fill="{item.fill}">{escape(item.text)}</text>'
    runs = "".join(f"M{x:.4f} {y:.4f}h{w:.4f}v{h:.4f}h-{w:.4f}z" for x, y, w, h in _runs(item))
    white = f'<rect x="{item.x:g}" y="{item.y:g}" width="{item.side:g}" height="{item.side:g}" fill="#fff"/>'
    return f'{white}<path shape-rendering="crispEdges" d="{runs}"/>'


def _write(pdf: FPDF, words: Words, font: Path | None) -> None:
    file = font_for(words.text, font)
    if file is None:
        pdf.set_font("helvetica", "B" if words.bold else "", words.size * _POINTS_PER_MM)
    else:
        family = f"file-{file.stem.lower()}"
        if family not in pdf.fonts:
            pdf.add_font(family, fname=file)
        pdf.set_font(family, "", words.size * _POINTS_PER_MM)
    pdf.set_text_color(words.fill)
    wide = pdf.get_string_width(words.text) if words.anchor != "start" else 0.0
    pdf.text(words.x - wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[words.anchor], words.y, words.text)


def _paint(pdf: FPDF, square: Square) -> None:
    pdf.set_fill_color("#ffffff")
    pdf.rect(square.x, square.y, square.side, square.side, "F")
    path = PaintedPath()  # one path for all, so that no hair lines show between the rows
    path.style.paint_rule = PathPaintRule.FILL_NONZERO
    path.style.fill_color = DeviceRGB(0, 0, 0)
    path.style.stroke_color = None
    for x, y, w, h in _runs(square):
        path.rectangle(x, y, w, h)
    with pdf.drawing_context() as context:
        context.add_item(path)


def fitted(
    text: str, wide: float, choices: Sequence[tuple[float, int]], *, bold: bool = False
) -> tuple[float, list[str]]:
    """The first of the choices (size, most lines) at which a text fits into a width, and its lines.

    At the last choice what does not fit ends in an ellipsis.
    """
    for size, most in choices:
        lines = _broken(text, wide, size, bold)
        if len(lines) <= most:
            return size, lines
    last = lines[most - 1]
    while last and width(last + "…", size, bold=bold) > wide:
        last = last[:-1].rstrip()
    return size, [*lines[: most - 1], last + "…"]


def _broken(text: str, wide: float, size: float, bold: bool) -> list[str]:
    """A text in lines no wider than `wide`: between words where it can be, within one that is too long."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer, size, bold=bold) <= wide:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and width(lines[-1] + letter, size, bold=bold) > wide:
                lines.append("")
            lines[-1] += letter
    return lines

"""The poster for a venue's door: A4, in Indonesian and English, as SVG and as PDF from one layout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gateway.codes import venue_text
from gateway.lettering import LetteringError
from gateway.sheet import Box, Item, Sheet, Square, Words, code_version, fitted
from schemas.messages import Venue

_WIDE, _HIGH, _MARGIN = 210.0, 297.0, 10.0
_INK, _QUIET, _DEEP, _PALE, _WHITE = "#12262b", "#4a5a60", "#0b4f5c", "#e6f0f1", "#ffffff"
_SIDE = 116.0
_NAME = ((14.0, 1), (12.0, 1), (10.5, 1), (10.5, 2), (9.0, 2), (7.5, 3), (6.5, 3), (5.5, 4))
"""How a venue's name may be set: size and most lines, the best first."""
_STEPS = (
    (
        "Arahkan kamera ponsel ke kode ini.",
        "Buka alamatnya, lalu pilih Masuk.",
        "Saat pergi, pindai lagi dan pilih Keluar.",
    ),
    (
        "Point your phone's camera at this code.",
        "Open the address and choose Check in.",
        "When you leave, scan again: Check out.",
    ),
)
_NO_PHONE = (
    "Tanpa ponsel? Tunjukkan kartu Anda kepada petugas.",
    "No phone? Show your card to the staff.",
)
_ADDRESS = "Alamat yang terbuka harus dimulai dengan  ·  The address that opens must begin with"

__all__ = ["LetteringError", "Poster", "poster"]


class Poster(NamedTuple):
    """A poster, laid out. `version` is that of its QR code, `content` what stands in it."""

    sheet: Sheet
    content: str
    version: int

    def svg(self) -> str:
        """The poster as SVG, A4."""
        return self.sheet.svg()

    def pdf(self, font: Path | None = None) -> bytes:
        """The poster as PDF, A4; `font` is a font file for letters that Helvetica lacks. Raises LetteringError."""
        return self.sheet.pdf(font)


def poster(venue: Venue, token: str, base_url: str) -> Poster:
    """The poster of a venue with its static code (gateway.codes.sign_static), for pages under `base_url`."""
    name = " ".join(venue.name.split()) or venue.venue
    content = venue_text(base_url, token)
    middle = _WIDE / 2
    items: list[Item] = [
        Box(0, 0, _WIDE, _HIGH, _WHITE),
        Box(_MARGIN, _MARGIN, _WIDE - 2 * _MARGIN, 46, _DEEP, 5),
        Words(middle, 33, 17, "Pindai untuk masuk", _WHITE, True, "middle"),
        Words(middle, 47, 9.5, "Scan to come in", _WHITE, False, "middle"),
    ]
    size, lines = fitted(name, _WIDE - 2 * _MARGIN - 6, _NAME, bold=True)
    base = 75.5 - size * 1.15 * (len(lines) - 1) / 2 + size * 0.36
    items += [
        Words(middle, base + number * size * 1.15, size, line, _INK, True, "middle")
        for number, line in enumerate(lines)
    ]
    left, top = middle - _SIDE / 2, 99.0
    items += [
        Box(left - 4, top - 4, _SIDE + 8, _SIDE + 8, _DEEP, 6),
        Box(left - 2, top - 2, _SIDE + 4, _SIDE + 4, _WHITE, 4),
        Square(left, top, _SIDE, content),
    ]
    for column, (steps, without) in enumerate(zip(_STEPS, _NO_PHONE, strict=True)):
        items += _column(_MARGIN + 3 + column * 96, 230, steps, without, first=column == 0)
    items += _footer(venue, base_url)
    title = f"{name}: pindai untuk masuk / scan to come in"
    return Poster(Sheet(_WIDE, _HIGH, title, "id", items), content, code_version(content))


def _column(x: float, y: float, steps: tuple[str, ...], without: str, *, first: bool) -> list[Item]:
    """The instructions in one language; the first language's are the heavier."""
    items: list[Item] = []
    for number, step in enumerate(steps):
        base = y + number * 9
        items += [
            Box(x, base - 5, 7, 7, _PALE, 2),
            Words(x + 3.5, base, 4.2, str(number + 1), _DEEP, True, "middle"),
            Words(x + 9.5, base, 4.2, step, _INK, first),
        ]
    items.append(Words(x, y + 29, 3.5, without, _QUIET, first))
    return items


def _footer(venue: Venue, base_url: str) -> list[Item]:
    """What lets a visitor see that nobody has put another code over this one."""
    middle, wide = _WIDE / 2, _WIDE - 2 * _MARGIN
    size, (address, *_) = fitted(
        venue_text(base_url, ""), wide - 10, tuple((size, 1) for size in (5, 4.2, 3.5, 2.8)), bold=True
    )
    small, (number, *_) = fitted(venue.venue, wide, ((2.8, 1), (2.2, 1)))
    return [
        Box(_MARGIN, 265, wide, 17, _PALE, 4),
        Words(middle, 271.5, 3.3, _ADDRESS, _QUIET, False, "middle"),
        Words(middle, 278.5, size, address, _DEEP, True, "middle"),
        Words(middle, 287.5, small, number, _QUIET, False, "middle"),
    ]

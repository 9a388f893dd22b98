"""Which font draws a text on paper, and how wide it comes out.

Texts in Western European letters are drawn in Helvetica, which every PDF reader has. Others need a font file that holds
their letters: the one given, or one of this machine's. Letters that are joined, carry marks or go from right to left
need more than a font. What cannot be drawn right is refused, never drawn wrong.

A browser finds fonts and shapes text by itself: an SVG can always be made, and only measures its text here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError
from fpdf import FPDF

FAMILIES = 'Helvetica, Arial, "Liberation Sans", "Noto Sans", "DejaVu Sans", sans-serif'
"""What a browser is asked for: Helvetica, or what has its widths, or what has the letters."""

ENCODING = "windows-1252"
_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".local/share/fonts",
    Path("/Library/Fonts"),
    Path("/System/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)
_SUFFIXES = {".ttf", ".otf", ".ttc"}
_OTHER_STYLES = ("mono", "italic", "oblique", "condensed", "serif", "light", "thin", "narrow", "math")
_JOINED = {"Mn", "Mc", "Me"}
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


class LetteringError(ValueError):
    """A text that cannot be drawn in a PDF here; the message says what to do."""


def in_helvetica(text: str) -> bool:
    """Whether Helvetica has all letters of a text."""
    try:
        text.encode(ENCODING)
    except UnicodeEncodeError:
        return False
    return True


def width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is, in the unit of its size: exact in Helvetica, else an estimate that is seldom too small."""
    if in_helvetica(text):
        measuring = _measuring()
        measuring.set_font("helvetica", "B" if bold else "", 10)
        return float(measuring.get_string_width(text)) / 10 * size
    return sum(map(_em, text)) * size


def font_for(text: str, font: Path | None) -> Path | None:
    """The font file that draws a text in a PDF: `font` if it has the letters, else one of this machine's.

    None: Helvetica does. Raises LetteringError.
    """
    if in_helvetica(text):
        return None
    if needs_shaping(text):
        raise LetteringError(
            f"The letters of {text!r} are joined, carry marks or go from right to left, which no PDF of ours can "
            "draw: take the SVG and print it from a browser."
        )
    letters = frozenset(letter for letter in text if not letter.isspace())
    found = font if font is not None and _has(font, letters) else _on_this_machine(letters)
    if found is None:
        lacking = " ".join(sorted(letter for letter in letters if not in_helvetica(letter))[:10])
        raise LetteringError(
            f"No font here has all letters of {text!r} ({lacking}): name a font file that has them, or take the SVG "
            "and print it from a browser."
        )
    return found


def needs_shaping(text: str) -> bool:
    """Whether a text has letters that are joined, carry marks of their own, or go from right to left."""
    return any(
        unicodedata.category(letter) in _JOINED or unicodedata.bidirectional(letter) in _RIGHT_TO_LEFT
        for letter in unicodedata.normalize("NFC", text)
    )


@cache
def _measuring() -> FPDF:
    pdf = FPDF(unit="pt")
    pdf.core_fonts_encoding = ENCODING
    return pdf


def _em(letter: str) -> float:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.72


@lru_cache(maxsize=256)
def _on_this_machine(letters: frozenset[str]) -> Path | None:
    """The first font that has all letters; bold upright sans serif ones are looked at first."""
    return next((file for file in _fonts() if _has(file, letters)), None)


@cache
def _fonts() -> tuple[Path, ...]:
    def found() -> Iterator[Path]:
        for folder in _FOLDERS:
            if folder.is_dir():
                yield from (file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)

    def preference(file: Path) -> tuple[int, bool, bool, str]:
        name = file.stem.lower()
        return sum(style in name for style in _OTHER_STYLES), "sans" not in name, "bold" not in name, name

    return tuple(sorted(found(), key=preference))


def _has(file: Path, letters: frozenset[str]) -> bool:
    return all(ord(letter) in _letters_of(file) for letter in letters)


@cache
def _letters_of(file: Path) -> frozenset[int]:
    try:
        with file.open("rb") as stream, TTFont(stream, lazy=True, fontNumber=0) as font:
            return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError, AssertionError, KeyError, ValueError):
        return frozenset()  # no font, or one that is damaged

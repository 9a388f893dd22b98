"""What the pages say, by language."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Final, Literal, get_args

Language = Literal["id", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


@cache
def texts(language: Language) -> dict[str, str]:
    """The texts of a language by name."""
    table: dict[str, dict[str, str]] = tomllib.loads(files("gateway.pages").joinpath("texts.toml").read_text("utf-8"))
    return table[language]


def other(language: Language) -> Language:
    """The other of the two languages."""
    return "en" if language == "id" else "id"


def language_of(chosen: str | None, accepted: str) -> Language:
    """The language that somebody chose, else the first of the two that their browser asks for, else Indonesian.

    `accepted` is the header Accept-Language (RFC 9110, 12.5.4).
    """
    if chosen in LANGUAGES:
        return "en" if chosen == "en" else "id"
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, weight = part.strip().partition(";q=")
        try:
            wishes.append((-float(weight or 1), place, tag.split("-")[0].lower()))
        except ValueError:
            continue
    known = (tag for _, _, tag in sorted(wishes) if tag in LANGUAGES)
    return "en" if next(known, "id") == "en" else "id"

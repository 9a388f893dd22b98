"""What a door says: to the guard what to do, to the person why."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal, NamedTuple, get_args

from contacts.admission import Decision, Reason

Language = Literal["id", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

_OPEN_TO_GUARDS: Final[frozenset[Reason]] = frozenset(("closed", "escort_missing", "age"))
"""Reasons for a refusal that say nothing of anybody's health, so that the guard may read them."""

_Texts = Mapping[str, Mapping[str, Mapping[str, str]]]


class Said(NamedTuple):
    """The one word for an answer, and the sentence under it."""

    title: str
    sentence: str


def for_guard(decision: Decision, language: Language) -> Said:
    """What the guard reads. It depends on nobody's health but for the outcome itself."""
    key: str = decision.outcome
    if decision.outcome == "refuse" and decision.reason in _OPEN_TO_GUARDS:
        key = decision.reason
    texts = _texts()
    return Said(texts["outcome"][decision.outcome][language], texts["guard"][key][language])


def for_person(decision: Decision, language: Language, who: int = 0) -> Said:
    """What a person reads on their own screen; `who` they are in the question. Others of a group learn no reason."""
    texts = _texts()
    key: str = decision.reason
    if decision.who not in (-1, who) and decision.outcome in ("refuse", "check"):
        key = "companion"
    elif key == "colour" and f"colour_{decision.colour}" in texts["person"]:
        key = f"colour_{decision.colour}"
    return Said(texts["outcome"][decision.outcome][language], texts["person"][key][language])


def for_stay(minutes: int, language: Language) -> str:
    """How long those admitted may stay."""
    return _texts()["person"]["stay"][language].format(minutes=minutes)


@cache
def _texts() -> _Texts:
    found: _Texts = tomllib.loads(files("contacts.data").joinpath("door", "texts.toml").read_text("utf-8"))
    return found

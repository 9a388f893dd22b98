"""Resources as the models of fhir.resources (R4B), and what these find wrong, as a path and a sentence.

R4B is imported at the first use: its models take a second.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any, Final

KINDS: Final = ("Patient", "Observation", "DiagnosticReport", "Immunization", "Condition")
"""The resources that facts come from; all others are passed over."""

_ELEMENT: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_CHOICES: Final = re.compile(r"\[('\w+'(?:, '\w+')*)\]")
_NO_MEANING: Final = {
    "extra_forbidden": "the standard has no such element",
    "missing": "it is missing",
    "model_field_validation.missing": "it is missing",
    "string_type": "it is no text",
    "list_type": "it is no list",
    "bool_type": "it is neither true nor false",
}
_LONGEST: Final = 100
_TIMES: Final = {
    "DateTime value": "it is neither a date nor a time with an offset",
    "Date value": "it is no date",
    "Instant value": "it is no time with an offset",
}


@cache
def _model(kind: str) -> Any:
    return getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)


def parse(kind: str, resource: dict[str, Any]) -> Any:
    """The model of a resource, or the ValidationError that says what is wrong with it."""
    from pydantic import ValidationError

    try:
        return _model(kind).model_validate(resource)
    except ValidationError as error:
        return error
    except (RecursionError, OverflowError, AssertionError, TypeError, ValueError) as error:  # beside its own checks
        return error


def fault_of(path: str, error: Exception) -> tuple[str, str]:
    """Where the first fault of a resource at `path` is, and what it is; no value of the resource is quoted."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return path, "it is not as the standard has it"
    first = errors()[0]
    where = path
    for step in first["loc"]:
        if isinstance(step, int):
            where += f"[{step}]"
        elif _ELEMENT.fullmatch(str(step)):
            where += f".{step}"
    reason = _NO_MEANING.get(first["type"])
    if reason is not None:
        return where, reason
    message = str(first["msg"]).removeprefix("Value error, ").strip().rstrip(".!")
    choices = _CHOICES.search(message)
    if choices:
        names = re.findall(r"\w+", choices[1])
        several = "multiple" in message
        return f"{where}.{_stem(names)}[x]", "there is more than one of it" if several else "it is missing"
    for begin, plain in _TIMES.items():
        if message.startswith(begin):
            return where, plain
    given = first.get("input")
    if (isinstance(given, str) and given and given in message) or len(message) > _LONGEST:
        message = "it is not as the standard has it"
    return where, message[:1].lower() + message[1:]


def _stem(names: list[str]) -> str:
    """`occurrence` of occurrenceDateTime and occurrenceString."""
    stem = names[0]
    for name in names[1:]:
        while not name.startswith(stem):
            stem = stem[:-1]
    return stem

"""What codes in FHIR files mean: dated data (contacts/data/fhir.toml), and a deployment's own codes laid over it."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from schemas.messages import TestKind

ResultCode = Literal["positive", "negative", "none"]
Standing = Literal["counts", "waits", "withdrawn"]
Table = dict[str, dict[str, str]]


class CodesError(ValueError):
    """A file of codes that cannot be used; the message says which file and why."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How large a document (MiB), a line (MiB) and a dose's number may be."""

    largest_document_mib: int
    largest_line_mib: int
    greatest_dose: int


class Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tables of system and code to meaning. `aliases`: other addresses of a system."""

    limits: Limits
    tests: dict[str, dict[str, TestKind]]
    results: dict[str, dict[str, ResultCode]]
    vaccines: Table
    diseases: Table
    aliases: dict[str, str]
    statuses: dict[str, dict[str, Standing]]


class _Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment may add."""

    tests: dict[str, dict[str, TestKind]] = {}
    results: dict[str, dict[str, ResultCode]] = {}
    vaccines: Table = {}
    diseases: Table = {}
    aliases: dict[str, str] = {}


class Coded(NamedTuple):
    """A coding: its system and code."""

    system: str
    code: str


@cache
def standard_codes() -> Codes:
    """The codes that Lacak knows."""
    table = tomllib.loads(files("contacts.data").joinpath("fhir.toml").read_text("utf-8"))
    return msgspec.convert(table, Codes)


def load_codes(path: str | None) -> Codes:
    """The codes that Lacak knows, with those of a file of the same shape laid over them. Raises CodesError."""
    codes = standard_codes()
    if path is None:
        return codes
    try:
        own = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), _Own)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CodesError(f"The file of codes {path} cannot be read: {reason}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CodesError(f"The file of codes {path} cannot be used: {error}.") from error

    def over(name: str) -> dict[str, dict[str, str]]:
        laid: dict[str, dict[str, str]] = {system: dict(known) for system, known in getattr(codes, name).items()}
        for system, known in getattr(own, name).items():
            laid.setdefault(system, {}).update(known)
        return laid

    tables = {name: over(name) for name in ("tests", "results", "vaccines", "diseases")}
    return msgspec.structs.replace(codes, **tables, aliases={**codes.aliases, **own.aliases})


def meanings(table: dict[str, dict[str, str]], codings: list[Coded], codes: Codes) -> set[str]:
    """What the codings mean that a table knows; more than one meaning is a contradiction."""
    found = set()
    for system, code in codings:
        meaning = table.get(codes.aliases.get(system, system), {}).get(code)
        if meaning is not None:
            found.add(meaning)
    return found

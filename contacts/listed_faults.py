"""Faults in files that hold lists of tables, `[[sets]]` or `[[sets.case.exits]]`: on which line of which table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, get_args

import msgspec

from contacts.profile_faults import Fault, read_toml

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def read_listed(text: str, kind: type[_Struct], page: str) -> _Struct:
    """The struct that a TOML text describes; `page` explains it. Raises Fault, with the line within a list's table."""
    try:
        return read_toml(text, kind, page)
    except Fault:
        for key, inner in _lists(kind):
            for line, block in blocks(text, key):
                try:
                    read_listed(block, inner, page)
                except Fault as fault:
                    raise Fault(text, (), fault.sentence, line + fault.line - 1) from fault
        raise


def blocks(text: str, key: str) -> Iterator[tuple[int, str]]:
    """The tables of a list written as `[[key]]`: on which line each begins, and its text as a file of its own."""
    line, block = 0, list[str]()
    for number, written in enumerate(text.splitlines(), 1):
        header = written.strip()
        if header.startswith("[") and not header.lstrip("[").startswith(f"{key}."):
            if line:
                yield line, "\n".join(block)
            line, block = (number, [""]) if header.startswith(f"[[{key}]]") else (0, [])
        elif line:
            block.append(written.replace(f"[{key}.", "[", 1) if header.startswith("[") else written)
    if line:
        yield line, "\n".join(block)


def _lists(kind: type[msgspec.Struct]) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """The keys of a struct's lists of structs, and what each holds; those of a struct within it as `within.key`."""
    for field in msgspec.structs.fields(kind):
        for inner in (field.type, *get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                if Ellipsis in get_args(field.type):
                    yield field.name, inner
                else:
                    yield from ((f"{field.name}.{key}", each) for key, each in _lists(inner))

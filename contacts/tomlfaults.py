"""What is wrong in a TOML file of numbers or rules, told with its line and what to do.

A path names a key by the tables around it; in a list of tables (`[[entry]]`) the number of the table, from 0, is one
of its parts: `("entry", "2", "doses")`.
"""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_SYNTAX = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$", re.DOTALL)
_PART = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<other>[^\]]*)\]")
_FIELD = re.compile(r"unknown field `(?P<unknown>[^`]*)`|required field `(?P<missing>[^`]*)`")
_WRITE = {
    "float": "write a number, such as 15",
    "int": "write a whole number, such as 2",
    "bool": "write true or false",
    "date": "write a date without quotes, such as 2021-07-01",
    "time": "write a time without quotes, such as 21:30:00",
    "str": "write a text in quotes",
    "array": "write a list, such as [1, 2]",
    "object": "write a table of its own",
}

_TEXT_MOST: Final = 1 << 18
_DEEP_KEY: Final = re.compile(r"""(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){16}""")
"""Reading a dotted key takes memory by the square of its depth: 100 000 parts take all there is."""

Path = tuple[str, ...]


class Fault(ValueError):
    """A fault of a file: `line` counts from 1, `sentence` says what is wrong and what to do."""

    def __init__(self, text: str, path: Path, sentence: str, line: int | None = None) -> None:
        self.line = line_of(text, path) if line is None else line
        self.sentence = sentence
        super().__init__(f"line {self.line}: {sentence}")


def read_toml(text: str, kind: type[_Struct], page: str = "docs/profiles.md") -> _Struct:
    """The struct that a TOML text describes; `page` explains it. Raises Fault."""
    if len(text) > _TEXT_MOST:
        raise Fault(text, (), f"the file is longer than {_TEXT_MOST} characters: divide it.", 1)
    if (deep := _DEEP_KEY.search(text)) is not None:
        raise Fault(text, (), "a key is deeper than any table here.", text.count("\n", 0, deep.start()) + 1)
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise Fault(text, (), "it is nested deeper than any table here.", 1) from error
    except ValueError as error:
        found = _SYNTAX.match(str(error))
        what = found["what"] if found else str(error)
        line = int(found["line"]) if found and found["line"] else max(1, len(text.splitlines()))
        raise Fault(text, (), f"this is not TOML: {what[:1].lower()}{what[1:]}.", line) from error
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise _fault(text, table, kind, str(error), page) from error


def _fault(text: str, table: dict[str, Any], kind: type[msgspec.Struct], said: str, page: str) -> Fault:
    found = _AT.match(said)
    assert found is not None
    path = _path(table, kind, said, found["path"] or "")
    what = found["what"]
    field = _FIELD.search(what)
    if field is None:
        return Fault(text, path, f"{_told(path)}: {what[:1].lower()}{what[1:]}; {_advice(kind, path, what, page)}.")
    known = [each.name for each in msgspec.structs.fields(_kind_at(kind, path)) if each.name != "id"]
    if field["missing"]:
        here = f"the table [{_told(path)}]" if path else "the file"
        return Fault(text, path, f"{here} lacks {field['missing']}: add it.")
    close = get_close_matches(field["unknown"], known, 1)
    advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
    return Fault(text, (*path, field["unknown"]), f"{field['unknown']} is not known here; {advice}")


def _told(path: Path) -> str:
    """A path in words: `entry number 3: doses`."""
    return re.sub(r"\.(\d+)(?=\.|$)", lambda found: f" number {int(found[1]) + 1}", ".".join(path))


def _advice(kind: type[msgspec.Struct], path: Path, what: str, page: str) -> str:
    """What to write instead."""
    for name, advice in _WRITE.items():
        if what.startswith((f"Expected `{name}", f"Invalid RFC3339 encoded {name}")):
            return advice
    types = {each.name: each.type for each in msgspec.structs.fields(_kind_at(kind, path[:-1]))}
    choices = _choices(types.get(path[-1]) if path else None)
    return f"write one of {', '.join(map(str, choices))}" if choices else f"see {page}"


def _choices(kind: Any) -> tuple[Any, ...]:
    """The words that a type allows, be it in a list or as keys."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return next((found for each in get_args(kind) if (found := _choices(each))), ())


def _path(table: dict[str, Any], kind: type[msgspec.Struct], said: str, text: str) -> Path:
    """The keys of a path as msgspec writes it, down to a list of values; of a table of any keys the wrong one."""
    path: list[str] = []
    for part in _PART.finditer(text):
        if part["key"] is not None:
            path.append(part["key"])
        elif part["other"] == "...":
            keys = list(_at(table, path))
            path.append(next((key for key in keys if _says(table, path, key, kind, said)), keys[0]))
        elif isinstance(_at(table, [*path, part["other"]]), dict):
            path.append(part["other"])
        else:
            break
    return tuple(path)


def _at(table: dict[str, Any], path: list[str]) -> Any:
    node: Any = table
    for key in path:
        node = node[int(key) if isinstance(node, list) else key]
    return node


def _says(table: dict[str, Any], path: list[str], key: str, kind: type[msgspec.Struct], said: str) -> bool:
    """Whether this key alone gives the same fault."""
    alone = deepcopy(table)
    inner = _at(alone, path)
    for other in set(inner) - {key}:
        del inner[other]
    try:
        msgspec.convert(alone, kind)
    except msgspec.ValidationError as error:
        return str(error) == said
    return False


def _kind_at(kind: type[msgspec.Struct], path: Path) -> type[msgspec.Struct]:
    for key in path:
        if key.isdigit():
            continue  # a table of a list: the list's type has said what it is
        types = {each.name: each.type for each in msgspec.structs.fields(kind)}
        inner = types.get(key)
        options = [inner, *getattr(inner, "__args__", ())]
        structs = [each for each in options if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        if not structs:
            break
        kind = structs[0]
    return kind


def line_of(text: str, path: Path) -> int:
    """The line (from 1) on which the key of a path stands, or the nearest table around it that is written out."""
    best, line, table = 0, 1, ()  # type: tuple[int, int, Path]
    number_of: dict[Path, int] = {}
    for number, written in enumerate(text.splitlines(), 1):
        stripped = written.strip()
        if stripped.startswith("["):
            keys = _keys(stripped)
            if keys and stripped.startswith("[["):
                for within in [each for each in number_of if len(each) > len(keys) and each[: len(keys)] == keys]:
                    del number_of[within]  # they are counted anew in each
                number_of[keys] = number_of.get(keys, -1) + 1
            here = table = _numbered(keys, number_of) or table
        elif "=" in stripped and (keys := _keys(stripped.split("=", 1)[0] + "= 0")):
            here = (*table, *keys)
        else:
            continue
        if len(here) > best and here == path[: len(here)]:
            best, line = len(here), number
    return line


def _numbered(keys: Path, number_of: dict[Path, int]) -> Path:
    """The keys of a table's head, with the number of the list's table that it is, or lies in."""
    found: list[str] = []
    for place, key in enumerate(keys, 1):
        found.append(key)
        if (number := number_of.get(keys[:place])) is not None:
            found.append(str(number))
    return tuple(found)


def _keys(fragment: str) -> Path:
    """The keys that a line of TOML names."""
    try:
        node: Any = tomllib.loads(fragment)
    except tomllib.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        keys.append(key)
    return tuple(keys)

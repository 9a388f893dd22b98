"""A frozen tree of settings read from environment variables, one for each leaf: `PREFIX` and its path in capitals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec


class SettingsError(ValueError):
    """A variable that cannot be used; the message names it and what it takes."""


def variables(
    kind: type[msgspec.Struct], prefix: str, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every variable of a tree: (`LACAK_TIMES_HORIZON_DAYS`, ("times", "horizon_days"), type)."""
    for field in msgspec.structs.fields(kind):
        here = (*path, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from variables(field.type, prefix, here)
        else:
            yield prefix + "_".join(here).upper(), here, field.type


def read_tree(kind: type[msgspec.Struct], prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What an environment says of a tree; an empty variable says nothing. Raises SettingsError."""
    tree: dict[str, Any] = {}
    for name, path, leaf in variables(kind, prefix):
        text = environment.get(name)
        if not text:
            continue
        try:
            value = msgspec.convert(text, leaf, strict=False, dec_hook=decode)
        except (msgspec.ValidationError, ValueError) as error:
            raise SettingsError(f"{name}={text!r} is not usable: {error}.") from error
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = msgspec.to_builtins(value, enc_hook=str)
    return tree


def check_zone(name: str, zone: str) -> None:
    """Raises SettingsError where the variable's value is no time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"{name}={zone!r} is not a time zone, such as Asia/Jakarta.") from error


def decode(kind: type, value: Any) -> Any:
    """How msgspec reads the one type of settings that it does not know."""
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)

"""docs/messages.md: the text around is written by hand, the tables between its marks are made from the types."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from schemas.channels import CHANNELS, FRAMES, KEPT, Channel

BEGIN: Final = "<!-- made by `python -m schemas.contracts`: {} -->"
END: Final = "<!-- end of {} -->"


def render(page: str) -> str:
    """The page with its made parts renewed. Parts that have no marks yet are put at the end."""
    for name, text in (("topics", topics_table()), ("fields", fields_tables())):
        begin, end = BEGIN.format(name), END.format(name)
        made = f"{begin}\n\n{text}\n\n{end}"
        if begin in page and end in page:
            page = page[: page.index(begin)] + made + page[page.index(end) + len(end) :]
        else:
            page = page.rstrip() + ("\n\n" if page.strip() else "") + made + "\n"
    return page


def topics_table() -> str:
    """One row a topic."""
    rows = ["| topic | key | value | who writes | who reads | partitions | cleanup | kept |", "|---" * 8 + "|"]
    for channel in CHANNELS:
        cells = (
            f"`{channel.topic}`",
            channel.key,
            _value(channel),
            ", ".join(channel.senders),
            ", ".join(channel.readers),
            f"{_count(channel)}; {channel.placed}",
            channel.cleanup,
            KEPT[channel.keep],
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def fields_tables() -> str:
    """Each message with its fields: which must be there, and what stands for one left out."""
    parts: list[str] = []
    described: set[type[msgspec.Struct]] = set()
    for channel in CHANNELS:
        if channel.message is not None:
            _describe(channel.message, parts, described)
    parts.append("### Frames")
    rows = ["| magic | body | topic |", "|---|---|---|"]
    for framed in FRAMES:
        topics = ", ".join(f"`{channel.topic}`" for channel in CHANNELS if framed in channel.frames)
        rows.append(
            f"| `{framed.magic}` | [{framed.name}](../schemas/published/{framed.name}.schema.json) | {topics} |"
        )
    parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _describe(struct: type[msgspec.Struct], parts: list[str], described: set[type[msgspec.Struct]]) -> None:
    if struct in described:
        return
    described.add(struct)
    parts.append(f"### {struct.__name__}")
    parts.append("\n".join(line.strip() for line in (struct.__doc__ or "").strip().splitlines()))
    rows = ["| field | type | if left out |", "|---|---|---|"]
    inner: list[type[msgspec.Struct]] = []
    for field in msgspec.structs.fields(struct):
        rows.append(f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |")
        inner += _structs(field.type)
    parts.append("\n".join(rows))
    for one in inner:
        _describe(one, parts, described)


def _value(channel: Channel) -> str:
    names = [f"[{channel.message.__name__}](#{channel.message.__name__.lower()})"] if channel.message else []
    return ", ".join(names + [f"[{framed.name}](#frames)" for framed in channel.frames])


def _count(channel: Channel) -> str:
    return "1" if channel.group == "one" else f"as `{channel.group}`" if channel.topic != channel.group else "a setting"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be there"
    if field.default is msgspec.NODEFAULT:
        return "empty"
    if isinstance(field.default, msgspec.Raw):
        return f"`{bytes(field.default).decode()}`"
    return {"None": "nothing", "()": "empty", "b''": "empty", "''": "empty"}.get(
        repr(field.default), f"`{field.default}`"
    )


def _type(kind: Any) -> str:
    """A type in words that a reader of JSON knows."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in arguments if one is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {_type(arguments[0])}"
        return f"[{', '.join(_type(one) for one in arguments)}]"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    names = {str: "text", int: "integer", float: "number", bool: "true or false", bytes: "bytes as base64 text"}
    return names.get(kind, "any JSON")


def _structs(kind: Any) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for one in get_args(kind) for found in _structs(one)]

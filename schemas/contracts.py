"""The published contracts: a JSON Schema of every message and an AsyncAPI 3 document of every topic.

`python -m schemas.contracts` writes them into schemas/published/ and the tables into docs/messages.md;
`python -m schemas.contracts --check` writes nothing and exits with 1 when what is there is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from schemas.blocks import KINDS, REASONS, VISIT_COLUMNS, WINDOW_COLUMNS
from schemas.channels import CHANNELS, DAY_MS, FRAMES, KEPT, Channel, Framed, retention_ms
from schemas.page import render

VERSION: Final = "1.2.0"
"""Of the contracts: the second number grows with a field or topic added; the first would break readers."""

ROOT: Final = Path(__file__).resolve().parent.parent
PUBLISHED: Final = Path("schemas/published")
PAGE: Final = Path("docs/messages.md")
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BINDING: Final = "0.5.0"  # of AsyncAPI's Kafka bindings
_DEFAULTS: Final = {"horizon_ms": 3 * DAY_MS, "retention_ms": 28 * DAY_MS}  # design.md, rules 4 and 10

Json = dict[str, Any]


def message_schema(message: type[msgspec.Struct]) -> Json:
    """The JSON Schema (2020-12) of one message."""
    return _document(message.__name__, msgspec.json.schema(_plain(message)))


def frame_schema(framed: Framed) -> Json:
    """The JSON Schema of a frame's body, with what a schema cannot say under `x-` keys: magic, field names, columns.

    The body is MessagePack; where the schema says base64 text, the body holds the bytes themselves.
    """
    schema = _document(framed.name, msgspec.json.schema(framed.body))
    schema["x-frame"] = "magic (4 bytes) | CRC-32 of the body (4 bytes, big endian) | body (MessagePack)"
    schema["x-magic"] = framed.magic
    schema["x-fields"] = {struct.__name__: list(struct.__struct_fields__) for struct in _arrays(framed.body)}
    named: dict[str, Json] = {
        "ScanBlock": {"x-kinds": list(KINDS)},
        "VisitBlock": {"x-columns": list(VISIT_COLUMNS), "x-reasons": list(REASONS)},
        "WindowBlock": {"x-columns": list(WINDOW_COLUMNS)},
    }
    return schema | named.get(framed.name, {})


def asyncapi() -> Json:
    """The AsyncAPI 3.0 document: channels, who sends and receives, keys, partitions, cleanup and retention.

    Retention is given for the default horizon (3 days) and retention (28 days); a deployment sets its own.
    """
    operations: Json = {}
    for channel in CHANNELS:
        for action, parties in (("send", channel.senders), ("receive", channel.readers)):
            for party in parties:
                name = f"{party.replace(' ', '-')}.{action}.{channel.topic}"
                operations[name] = {
                    "action": action,
                    "title": f"{party} {action} {channel.topic}",
                    "channel": {"$ref": f"#/channels/{channel.topic}"},
                    "tags": [{"name": party}],
                }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lacak",
            "version": VERSION,
            "description": "Event-streaming contact tracing: the topics and what they carry.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel.topic: _channel(channel) for channel in CHANNELS},
        "operations": operations,
        "components": {"messages": _messages()},
    }


def contracts() -> dict[Path, str]:
    """Every published file, by its path from the root of the repository, with the text it should have."""
    files = {PUBLISHED / "asyncapi.json": _text(asyncapi())}
    for channel in CHANNELS:
        if channel.message is not None:
            files[PUBLISHED / _file(channel.message.__name__)] = _text(message_schema(channel.message))
    for framed in FRAMES:
        files[PUBLISHED / _file(framed.name)] = _text(frame_schema(framed))
    return files


def stale(root: Path = ROOT) -> list[Path]:
    """The files under `root` that are missing, differ from what the code says, or should not be there."""
    wanted = contracts() | {PAGE: render(_read(root / PAGE))}
    wrong = [path for path, text in wanted.items() if _read(root / path) != text]
    there = {path.relative_to(root) for path in (root / PUBLISHED).glob("*")}
    return sorted(wrong + [path for path in there if path not in wanted])


def write(root: Path = ROOT) -> list[Path]:
    """Bring every file under `root` up to date. Returns those that were stale."""
    wrong = stale(root)
    wanted = contracts() | {PAGE: render(_read(root / PAGE))}
    for path in wrong:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path], encoding="utf-8")
        else:
            (root / path).unlink()
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.contracts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when something is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: where this file lies)")
    options = parser.parse_args(arguments)
    wrong = stale(options.root) if options.check else write(options.root)
    for path in wrong:
        print(f"{'stale' if options.check else 'written'}: {path}")
    if options.check and wrong:
        print("The published contracts do not say what the code says: run `python -m schemas.contracts`.")
        return 1
    return 0


def _channel(channel: Channel) -> Json:
    names = [channel.message.__name__] if channel.message is not None else []
    names += [framed.name for framed in channel.frames]
    cleanup = channel.cleanup.split(",")
    binding: Json = {
        "topic": channel.topic,
        "topicConfiguration": {"cleanup.policy": cleanup, "retention.ms": retention_ms(channel.keep, **_DEFAULTS)},
        "bindingVersion": _BINDING,
    }
    if channel.group == "one":
        binding["partitions"] = 1
    return {
        "address": channel.topic,
        "title": channel.topic,
        "description": channel.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": binding},
        "x-key": channel.key,
        "x-partition": channel.placed,
        "x-partition-count": "1" if channel.group == "one" else f"the deployment's setting for `{channel.group}`",
        "x-kept": KEPT[channel.keep],
    }


def _messages() -> Json:
    found: Json = {}
    for channel in CHANNELS:
        if channel.message is not None:
            name = channel.message.__name__
            found[name] = {
                "name": name,
                "summary": _first_line(channel.message),
                "contentType": "application/json",
                "payload": {"$ref": f"./{_file(name)}"},
                "bindings": {
                    "kafka": {
                        "key": {"type": "string", "description": channel.key},
                        "bindingVersion": _BINDING,
                    }
                },
            }
    for framed in FRAMES:
        found[framed.name] = {
            "name": framed.name,
            "summary": f"A frame of kind {framed.magic}.",
            "contentType": "application/vnd.lacak.frame",
            "payload": {"$ref": f"./{_file(framed.name)}"},
        }
    return found


def _plain(message: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The message, with JSON that is passed on unread described as any value (msgspec cannot describe its default)."""
    fields = msgspec.structs.fields(message)
    if all(field.type is not msgspec.Raw for field in fields):
        return message
    twin: list[tuple[str, Any, Any]] = []
    for field in fields:
        if field.type is msgspec.Raw:
            twin.append((field.name, Any, None))
        elif field.default_factory is not msgspec.NODEFAULT:
            twin.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not msgspec.NODEFAULT:
            twin.append((field.name, field.type, field.default))
        else:
            twin.append((field.name, field.type, msgspec.field()))
    namespace = {"__doc__": message.__doc__}
    return msgspec.defstruct(message.__name__, twin, namespace=namespace, kw_only=True, omit_defaults=True)


def _arrays(kind: Any) -> list[type[msgspec.Struct]]:
    """The structs that travel as arrays within a type, the outermost first: their fields are known by place alone."""
    found: list[type[msgspec.Struct]] = []
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        inner = [field.type for field in msgspec.structs.fields(kind)]
        found = [kind] if kind.__struct_config__.array_like else []
    else:
        inner = list(get_args(kind))
    for one in inner:
        found += [struct for struct in _arrays(one) if struct not in found]
    return found


def _document(name: str, schema: Json) -> Json:
    return {"$schema": _DIALECT, "$id": _file(name), **schema}


def _file(name: str) -> str:
    return f"{name}.schema.json"


def _first_line(message: type[msgspec.Struct]) -> str:
    return (message.__doc__ or "").strip().split("\n")[0]


def _text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())

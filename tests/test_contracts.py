"""The published contracts say what the code says, and today's readers read yesterday's messages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import pytest

from schemas import contracts
from schemas.blocks import (
    CONTROLS,
    KINDS,
    REASONS,
    SCAN_BLOCKS,
    VISIT_BLOCKS,
    VISIT_COLUMNS,
    WINDOW_BLOCKS,
    WINDOW_COLUMNS,
    BlockError,
    unframe,
)  # fmt: skip
from schemas.catalogue import JSON_TOPICS
from schemas.channels import CHANNELS, DAY_MS, FRAMES, KEPT, TOPICS, retention_ms
from schemas.messages import Scan
from schemas.page import fields_tables, render
from tests.golden.meaning import holds, spell_out, spell_out_frame
from tests.golden.record import FRAME_SAMPLES, GOLDEN, SAMPLES, shapes

VERSIONS = sorted(path for path in GOLDEN.iterdir() if path.name.startswith("v"))
READERS: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    b"LKS1": SCAN_BLOCKS, b"LKV1": VISIT_BLOCKS, b"LKW1": WINDOW_BLOCKS, b"LKC1": CONTROLS,
}  # fmt: skip


def golden_messages() -> Iterator[tuple[str, bytes, Any]]:
    """(topic, record value, what it meant) of every version."""
    for version in VERSIONS:
        for path in sorted(version.glob("*.means.jsonl")):
            topic = path.name.removesuffix(".means.jsonl")
            values = (version / f"{topic}.jsonl").read_bytes().splitlines()
            means = path.read_text(encoding="utf-8").splitlines()
            for value, meant in zip(values, means, strict=True):
                yield topic, value, json.loads(meant)


def golden_frames() -> Iterator[tuple[str, bytes, Any]]:
    """(name, frame, what it meant) of every version."""
    for version in VERSIONS:
        for path in sorted(version.glob("*.frame")):
            yield path.stem, path.read_bytes(), json.loads((version / f"{path.stem}.means.json").read_text("utf-8"))


def read_frame(value: bytes) -> Any:
    """The body of a frame, by today's reader of its magic."""
    return unframe(value[:4], value, READERS[value[:4]])


def changed(struct: type[msgspec.Struct], edit: dict[str, Any]) -> type[msgspec.Struct]:
    """The message with fields edited: a new type for a field, None to take it away, or (new name, type)."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        if field.name not in edit:
            default = {} if field.required else {"default": field.default}
            fields.append((field.name, field.type, msgspec.field(**default)))
        elif isinstance(edit[field.name], tuple):
            fields.append(edit[field.name])
        elif edit[field.name] is not None:
            fields.append((field.name, edit[field.name]))
    return msgspec.defstruct(struct.__name__, fields, kw_only=True)


def breaks(struct: type[msgspec.Struct]) -> bool:
    """Whether a reader of this type reads some golden scan otherwise than it was meant."""
    for topic, value, meant in golden_messages():
        if topic == "scans":
            try:
                if not holds(meant, spell_out(msgspec.json.decode(value, type=struct))):
                    return True
            except msgspec.ValidationError:
                return True
    return False


# --- published files


def test_the_published_contracts_are_up_to_date() -> None:
    """schemas/published/ and docs/messages.md say what the types say; else run `python -m schemas.contracts`."""
    assert contracts.stale() == []


def test_a_stale_contract_fails_the_check_and_is_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check exits with 1 for a changed, a missing and a left-over file, and writes nothing; a run mends all."""
    shutil.copytree(contracts.ROOT / contracts.PUBLISHED, tmp_path / contracts.PUBLISHED)
    (tmp_path / "docs").mkdir()
    shutil.copy(contracts.ROOT / contracts.PAGE, tmp_path / contracts.PAGE)
    root = ["--root", str(tmp_path)]
    assert contracts.main(["--check", *root]) == 0
    published = tmp_path / contracts.PUBLISHED
    scan = published / "Scan.schema.json"
    scan.write_text(scan.read_text("utf-8").replace('"at_ms"', '"at"'), encoding="utf-8")
    (published / "asyncapi.json").unlink()
    (published / "Old.schema.json").write_text("{}", encoding="utf-8")
    assert contracts.main(["--check", *root]) == 1
    assert (published / "Old.schema.json").exists() and not (published / "asyncapi.json").exists()
    said = capsys.readouterr().out
    assert all(name in said for name in ("Scan.schema.json", "asyncapi.json", "Old.schema.json"))
    assert contracts.main(root) == 0
    assert contracts.main(["--check", *root]) == 0


def test_a_changed_type_makes_the_schema_stale() -> None:
    """A message with another field has another schema."""
    assert contracts.message_schema(Scan) != contracts.message_schema(changed(Scan, {"at_ms": float}))


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """Each $ref is a part of the document or a published file."""

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (node["$ref"],) if "$ref" in node else ()
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    document = contracts.asyncapi()
    files = contracts.contracts()
    found = list(references(document))
    assert found
    for reference in found:
        if reference.startswith("#/"):
            node: Any = document
            for part in reference[2:].split("/"):
                node = node[part]
        else:
            assert contracts.PUBLISHED / reference.removeprefix("./") in files


def test_the_asyncapi_document_covers_every_topic() -> None:
    """Each topic is a channel with messages, a key, cleanup and retention, and somebody sends and receives it."""
    document = contracts.asyncapi()
    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]) == set(JSON_TOPICS) | {"visits", "windows"}
    for topic, channel in document["channels"].items():
        assert channel["address"] == topic and channel["messages"] and channel["x-key"]
        settings = channel["bindings"]["kafka"]["topicConfiguration"]
        assert set(settings["cleanup.policy"]) <= {"delete", "compact"}
        assert isinstance(settings["retention.ms"], int)
        operations = [o for o in document["operations"].values() if o["channel"]["$ref"] == f"#/channels/{topic}"]
        assert {operation["action"] for operation in operations} == {"send", "receive"}


# --- the catalogue and its page


def test_the_catalogue_has_every_topic_with_its_message() -> None:
    """Each JSON topic stands in the catalogue with its type; every frame travels on some topic."""
    assert {topic: channel.message for topic, channel in TOPICS.items() if channel.message} == JSON_TOPICS
    assert {framed for channel in CHANNELS for framed in channel.frames} == set(FRAMES)
    assert {framed.magic.encode() for framed in FRAMES} == set(READERS)


def test_compaction_is_as_the_messages_say() -> None:
    """A message whose docstring says `(compacted)` is on a topic whose cleanup compacts, and no other is."""
    for channel in CHANNELS:
        said = channel.message is not None and "(compacted)" in (channel.message.__doc__ or "")
        assert said == ("compact" in channel.cleanup)


def test_retention_follows_the_horizon_and_the_retention() -> None:
    """Scans outlast the horizon by two longest stays, visits the retention by a day; what is only compacted stays."""
    kept = {keep: retention_ms(keep, horizon_ms=3 * DAY_MS, retention_ms=28 * DAY_MS) for keep in KEPT}
    assert kept["scans"] == 5 * DAY_MS
    assert kept["visits"] == 29 * DAY_MS
    assert kept["letters"] == 7 * DAY_MS
    assert all((channel.cleanup == "compact") == (kept[channel.keep] == -1) for channel in CHANNELS)


def test_the_page_names_every_topic_message_and_field() -> None:
    """docs/messages.md has a row for each topic and a row for each field of its message."""
    page = (contracts.ROOT / contracts.PAGE).read_text("utf-8")
    for topic in [*JSON_TOPICS, "visits", "windows"]:
        assert f"| `{topic}` |" in page
    for message in JSON_TOPICS.values():
        section = page.split(f"### {message.__name__}\n")[1].split("###")[0]
        assert all(f"| `{field}` |" in section for field in message.__struct_encode_fields__)


def test_rendering_the_page_keeps_what_was_written_by_hand() -> None:
    """Text outside the marks stays; made parts are renewed; a second rendering changes nothing."""
    page = render("# Ours\n\nby hand\n")
    spoilt = page.replace(fields_tables(), "old") + "\nafter\n"
    assert page.startswith("# Ours\n\nby hand\n")
    assert render(spoilt) == page + "\nafter\n"
    assert render(page) == page


# --- yesterday's messages


@pytest.mark.parametrize("topic", sorted(JSON_TOPICS))
def test_todays_readers_read_yesterdays_messages(topic: str) -> None:
    """Every golden record of a topic is decoded by the type it has today, with the same meaning."""
    records = [(value, meant) for name, value, meant in golden_messages() if name == topic]
    assert records
    for value, meant in records:
        assert holds(meant, spell_out(msgspec.json.decode(value, type=JSON_TOPICS[topic])))


def test_todays_readers_read_yesterdays_frames() -> None:
    """Every golden frame has the same meaning, column by column."""
    frames = list(golden_frames())
    assert {value[:4] for _, value, _ in frames} == set(READERS)
    for _, value, meant in frames:
        assert holds(meant, spell_out_frame(read_frame(value)))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: str(path.name))
def test_yesterdays_readers_can_read_todays_messages(version: Path) -> None:
    """No field of yesterday is gone or of another type, and nothing that is known by its place has moved."""
    then, now = json.loads((version / "shapes.json").read_text("utf-8")), shapes()
    for name, fields in then["fields"].items():
        for field, schema in fields.items():
            assert field in now["fields"][name], f"{name}.{field} is gone"
            assert essence(now["fields"][name][field]) == essence(schema), f"{name}.{field} has another type"
    for name, order in then["order"].items():
        assert now["order"][name][: len(order)] == order, f"the order of {name} has changed"


def essence(schema: Any) -> Any:
    """A field's type without defaults and limits: these decide what is accepted, not what it is. Literals may grow."""
    if isinstance(schema, dict):
        idle = {"default", "minimum", "maximum", "minLength", "maxLength", "description"}
        return {key: "text" if key == "enum" else essence(one) for key, one in schema.items() if key not in idle}
    return [essence(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    "edit",
    [
        {"gateway": None},
        {"gateway": ("gateway_id", str | None, None)},
        {"venue": ("place", str)},
        {"at_ms": str},
        {"at_ms": float},
        {"kind": Literal["in", "out"]},
    ],
    ids=["removed", "renamed", "renamed-required", "retyped", "widened", "word-removed"],
)
def test_a_breaking_change_of_a_field_is_seen(edit: dict[str, Any]) -> None:
    """The golden scans are not read with the same meaning when a field is removed, renamed or retyped."""
    assert not breaks(changed(Scan, {}))
    assert breaks(changed(Scan, edit))


def test_an_added_field_with_a_default_breaks_nothing() -> None:
    """What design.md allows: a field more, with a default."""
    added = msgspec.defstruct("Scan", [("door", str | None, None)], bases=(Scan,), kw_only=True, frozen=True)
    assert not breaks(added)


@pytest.mark.parametrize(
    "lists",
    [
        {"visit_columns": (*VISIT_COLUMNS[:6], VISIT_COLUMNS[7], VISIT_COLUMNS[6], *VISIT_COLUMNS[8:])},
        {"window_columns": tuple(reversed(WINDOW_COLUMNS))},
        {"reasons": (REASONS[1], REASONS[0], *REASONS[2:])},
        {"kinds": tuple(reversed(KINDS))},
    ],
    ids=["visit-columns", "window-columns", "reasons", "kinds"],
)
def test_a_changed_order_of_columns_or_indexes_is_seen(lists: dict[str, tuple[str, ...]]) -> None:
    """The golden frames mean something else to a reader with another order."""
    assert not all(holds(meant, spell_out_frame(read_frame(value), **lists)) for _, value, meant in golden_frames())


def test_a_frame_cut_short_or_altered_is_refused_whole() -> None:
    """Every prefix of a golden frame, and every one with a flipped bit, is an error and never half a block."""
    for _, value, _ in golden_frames():
        broken = [value[:length] for length in range(4, len(value), 7)]
        broken += [value[:i] + bytes([value[i] ^ 1]) + value[i + 1 :] for i in range(4, len(value), 5)]
        for one in broken:
            with pytest.raises(BlockError):
                read_frame(one)


def test_the_golden_messages_show_every_field_and_word() -> None:
    """Each field stands somewhere with a value that is not its default, and each word of a literal is used.

    Fails when a field is added: give it a value in tests/golden/record.py and record a new folder.
    """
    seen: set[tuple[str, str]] = set()
    words: set[tuple[str, str, str]] = set()

    def look(value: Any) -> None:
        if isinstance(value, msgspec.Struct):
            for field in msgspec.structs.fields(value):
                held = getattr(value, field.name)
                if field.required or held != field.default:
                    seen.add((type(value).__name__, field.name))
                if isinstance(held, str):
                    words.add((type(value).__name__, field.name, held))
                look(held)
        elif isinstance(value, list | tuple):
            for one in value:
                look(one)

    for topic, value, _ in golden_messages():
        look(msgspec.json.decode(value, type=JSON_TOPICS[topic]))
    for name in {name for name, _ in seen}:
        struct = next(s for s in structs() if s.__name__ == name)
        for field in msgspec.structs.fields(struct):
            assert (name, field.name) in seen, f"no golden message shows {name}.{field.name}"
            if isinstance(field.type, type(Literal["a"])):
                missing = {w for w in get_args(field.type) if (name, field.name, w) not in words}
                assert not missing, f"no golden message shows {name}.{field.name} = {missing}"
    assert {struct.__name__ for struct in structs()} == {name for name, _ in seen}


def structs() -> set[type[msgspec.Struct]]:
    """The types of every JSON topic and what they hold."""

    def within(kind: Any) -> Iterator[type[msgspec.Struct]]:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind
            for field in msgspec.structs.fields(kind):
                yield from within(field.type)
        else:
            for one in get_args(kind):
                yield from within(one)

    return {found for message in JSON_TOPICS.values() for found in within(message)}


def test_the_samples_cover_every_topic_and_frame() -> None:
    """What is recorded next covers all topics, so that a new topic cannot be forgotten."""
    assert set(SAMPLES) == set(JSON_TOPICS)
    assert {magic for magic, _ in FRAME_SAMPLES.values()} == set(READERS)

"""What a message or frame means, spelt out by name, and whether it still means what it meant."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from schemas.blocks import KINDS, REASONS, VISIT_COLUMNS, WINDOW_COLUMNS


def spell_out(value: Any) -> Any:
    """A message as plain values with every field, left out or not: structs as objects, bytes as base64 text."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, msgspec.Struct):
        return {field.name: spell_out(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
    if isinstance(value, list | tuple):
        return [spell_out(one) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def spell_out_frame(
    body: msgspec.Struct,
    visit_columns: Sequence[str] = VISIT_COLUMNS,
    window_columns: Sequence[str] = WINDOW_COLUMNS,
    reasons: Sequence[str] = REASONS,
    kinds: Sequence[str] = KINDS,
) -> Any:
    """A frame's body by name: columns, reasons and kinds too, as a reader with these lists would see them."""
    spelt = spell_out(body)
    spelt["of"] = type(body).__name__
    match type(body).__name__:
        case "ScanBlock":
            spelt["kinds"] = [kinds[kind] for kind in _bytes(spelt["kinds"])]
            for name in ("at_ms", "arrived_at_ms"):
                spelt[name] = np.frombuffer(_bytes(spelt[name]), "<i8").tolist()
        case "VisitBlock":
            spelt["rows"] = _rows(_bytes(spelt["rows"]), visit_columns)
            for row in spelt["rows"]:
                row["reason"], row["old_reason"] = reasons[row["reason"]], reasons[row["old_reason"]]
            for placed, one in zip(spelt["controls"], getattr(body, "controls", ()), strict=True):
                placed["control"]["of"] = type(one.control).__name__
        case "WindowBlock":
            spelt["rows"] = _rows(_bytes(spelt["rows"]), window_columns)
    return spelt


def holds(meant: Any, means: Any) -> bool:
    """Whether everything that was meant is still so. Fields of today that yesterday did not know are of no matter."""
    if isinstance(meant, dict):
        return isinstance(means, dict) and all(key in means and holds(meant[key], means[key]) for key in meant)
    if isinstance(meant, list):
        same = isinstance(means, list) and len(meant) == len(means)
        return same and all(holds(old, new) for old, new in zip(meant, means, strict=True))
    return type(meant) is type(means) and meant == means


def _rows(packed: bytes, columns: Sequence[str]) -> list[dict[str, int]]:
    table = np.frombuffer(packed, "<i8").reshape(-1, len(columns)).tolist()
    return [dict(zip(columns, row, strict=True)) for row in table]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)

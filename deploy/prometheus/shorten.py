"""The same rules in a shorter time: every duration of a rule file divided, so that a test need not wait for hours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")
_AGE: Final = re.compile(r"(_seconds(?:\{[^}]*\})?\)*\s*>\s*(?:bool )?)(\d+)\b")
_SPAN: Final = re.compile(r"\[([^\]]+)\]|\b(offset\s+)((?:\d+(?:ms|[smhdw]))+)")


def duration_ms(text: str) -> int:
    """`1h30m` in milliseconds. Raises ValueError."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f"{text!r} is no duration")
    return sum(int(count) * _UNITS_MS[unit] for count, unit in _DURATION.findall(text))


def shorten_rules(source: Path, target: Path, factor: float, *, least_ms: int, ages: float, least_age: int) -> None:
    """Write the rule files of `source` into `target` with every range, offset, `for`, `keep_firing_for` and interval
    divided by `factor`, none below `least_ms`; the ages in seconds that metrics are compared with are divided by
    `ages`, none below `least_age`. Whatever else the rules compare with stays."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.yaml")):
        tree = yaml.safe_load(path.read_text("utf-8"))
        for group in tree["groups"]:
            if "interval" in group:
                group["interval"] = _shorter(group["interval"], factor, least_ms)
            for rule in group["rules"]:
                _shorten(rule, factor, least_ms)
                rule["expr"] = younger(rule["expr"], ages, least_age)
        (target / path.name).write_text(yaml.safe_dump(tree, sort_keys=False, width=1000), "utf-8")


def shorten_expression(expression: str, factor: float, least_ms: int) -> str:
    """A PromQL expression with its ranges and offsets divided."""

    def shorter(found: re.Match[str]) -> str:
        if found[1] is None:
            return f"{found[2]}{_shorter(found[3], factor, least_ms)}"
        parts = (_shorter(part.strip(), factor, least_ms) if part.strip() else "" for part in found[1].split(":"))
        return f"[{':'.join(parts)}]"

    return _SPAN.sub(shorter, expression)


def younger(expression: str, ages: float, least: int) -> str:
    """A PromQL expression with the ages divided that it compares a metric of seconds with."""
    return _AGE.sub(lambda found: f"{found[1]}{max(round(int(found[2]) / ages), least)}", expression)


def _shorten(rule: dict[str, Any], factor: float, least_ms: int) -> None:
    rule["expr"] = shorten_expression(rule["expr"], factor, least_ms)
    for name in ("for", "keep_firing_for"):
        if name in rule and duration_ms(rule[name]):
            rule[name] = _shorter(rule[name], factor, least_ms)


def _shorter(text: str, factor: float, least_ms: int) -> str:
    return f"{max(round(duration_ms(text) / factor), least_ms)}ms"

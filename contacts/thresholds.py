"""When a venue's count is told at once: as it crosses a share of the allowed capacity."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files


@cache
def shares() -> tuple[float, ...]:
    """The thresholds, as shares of the allowed count."""
    return tuple(tomllib.loads(files("contacts.data").joinpath("occupancy.toml").read_text("utf-8"))["thresholds"])


def crosses(before: int, after: int, allowed: int | None) -> bool:
    """Whether going from `before` to `after` people inside crosses a threshold of the `allowed` capacity."""
    if allowed is None:
        return False
    return any((before >= share * allowed) != (after >= share * allowed) for share in shares())

"""What all families of bad input have in common."""

from __future__ import annotations

from typing import NamedTuple


class Bad(NamedTuple):
    """A record that no agent may accept: its place, its bytes, its kind, and the reasons that are right for it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    kind: str
    reasons: frozenset[str]


UNDECODABLE = frozenset({"undecodable"})


def because(*reasons: str) -> frozenset[str]:
    """The reasons of a kind."""
    return frozenset(reasons)

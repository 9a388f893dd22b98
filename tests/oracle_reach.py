"""The oracle of dated contacts: docs/reach.md read as it stands, by brute force, in the standard library alone.

A state is a person and the time of the contact by which a way came to them (or, looking backward, leaves them); every
state is tried with every contact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One contact."""

    source: str
    target: str
    at: int


def _states(
    root: str, steps: Callable[[str, int | None], Iterable[tuple[str, int]]]
) -> dict[str, tuple[int, list[int]]]:
    """For each person but the root: the least number of steps to them, and the times of all states there."""
    found: dict[str, tuple[int, list[int]]] = {}
    seen: set[tuple[str, int | None]] = {(root, None)}
    level, distance = [(root, None)], 0
    while level:
        distance += 1
        following = []
        for person, when in level:
            for state in steps(person, when):
                if state not in seen:
                    seen.add(state)
                    following.append(state)
        for person, when in following:
            if person != root:
                found.setdefault(person, (distance, []))[1].append(when)
        level = following
    return found


def out(rows: Iterable[Row], root: str, strict: bool) -> dict[str, tuple[int, int]]:
    """Whom the root reaches: distance, and the earliest time at which they are reached."""
    met = [row for row in rows if row.source != row.target]

    def steps(person: str, when: int | None) -> Iterable[tuple[str, int]]:
        for row in met:
            if row.source == person and (when is None or (row.at > when if strict else row.at >= when)):
                yield row.target, row.at

    return {person: (distance, min(times)) for person, (distance, times) in _states(root, steps).items()}


def into(rows: Iterable[Row], root: str, strict: bool) -> dict[str, tuple[int, int]]:
    """Who reaches the root: distance, and the latest time of a contact by which they still do."""
    met = [row for row in rows if row.source != row.target]

    def steps(person: str, when: int | None) -> Iterable[tuple[str, int]]:
        for row in met:
            if row.target == person and (when is None or (row.at < when if strict else row.at <= when)):
                yield row.source, row.at

    return {person: (distance, max(times)) for person, (distance, times) in _states(root, steps).items()}


def counts(rows: Iterable[Row], person: str, strict: bool) -> tuple[int, int, int, int]:
    """in_degree, out_degree, in_reach, out_reach."""
    listed = list(rows)
    return (
        len({row.source for row in listed if row.target == person != row.source}),
        len({row.target for row in listed if row.source == person != row.target}),
        len(into(listed, person, strict)),
        len(out(listed, person, strict)),
    )

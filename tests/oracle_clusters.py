"""The oracle of clusters: docs/clusters.md read as it stands, slow and plain. It shares no code with contacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

MINUTE = 60_000


class Seen(NamedTuple):
    """A case's stay at the venue, cut to one of its windows, with the venue's category as it began."""

    case: str
    direction: str
    category: str
    start: int
    end: int


class Threshold(NamedTuple):
    """One count of one rule."""

    pattern: str
    visits: str
    cases: int
    within: int
    gap: int
    risk: float


class Found(NamedTuple):
    """A cluster: its slots' times, its cases, and what raised it."""

    pattern: str
    visits: str
    start: int
    end: int
    cases: tuple[str, ...]
    risk: float
    category: str
    each: tuple[int, ...]


def fits(category: str, pattern: str) -> bool:
    """Whether a category has, part by part from the left, what the pattern names; `*` names nothing."""
    names = category.split("/")
    return all(
        part == "*" or (place < len(names) and names[place] == part) for place, part in enumerate(pattern.split("/"))
    )


def more_specific(one: str, other: str) -> bool:
    """Whether `one` names more than `other`, compared from the left: a name before `*` before nothing."""
    ours, theirs = one.split("/"), other.split("/")
    for mine, their in zip(ours, theirs, strict=False):
        if (mine == "*") != (their == "*"):
            return their == "*"
    return len(ours) > len(theirs)


def pattern_of(category: str, patterns: Sequence[str]) -> str | None:
    """The pattern that matches and is more specific than all others that do."""
    matching = [pattern for pattern in patterns if fits(category, pattern)]
    for pattern in matching:
        if all(pattern == other or more_specific(pattern, other) for other in matching):
            return pattern
    return None


def clusters(seen: Iterable[Seen], thresholds: Sequence[Threshold], slot_minutes: int) -> list[Found]:
    """All clusters of a venue, in order of (start, pattern, visits)."""
    length = slot_minutes * MINUTE
    patterns = list(dict.fromkeys(threshold.pattern for threshold in thresholds))
    everything = [each for each in seen if each.start < each.end]
    found = []
    for rule in thresholds:
        own = [
            each
            for each in everything
            if pattern_of(each.category, patterns) == rule.pattern and rule.visits in ("either", each.direction)
        ]
        if own:
            found += _of_rule(own, rule, length)
    return sorted(found, key=lambda each: (each.start, each.pattern, each.visits))


def _of_rule(own: Sequence[Seen], rule: Threshold, length: int) -> list[Found]:
    def present(slot: int) -> set[str]:
        return {each.case for each in own if each.start < (slot + 1) * length and each.end > slot * length}

    first = min(each.start for each in own) // length - rule.within
    last = max(each.end for each in own) // length + rule.within
    here = {slot: present(slot) for slot in range(first, last + rule.within + 1)}
    inside: set[int] = set()  # the slots that lie between the first and the last busy one of a hot window
    for begin in range(first, last + 1):
        window = range(begin, begin + rule.within)
        if len(set().union(*(here[slot] for slot in window))) >= rule.cases:
            busy = [slot for slot in window if here[slot]]
            inside |= set(range(min(busy), max(busy) + 1))
    groups: list[list[int]] = []
    for slot in sorted(inside):
        if groups and slot - groups[-1][-1] <= rule.gap + 1:
            groups[-1].append(slot)
        else:
            groups.append([slot])
    made = []
    for group in groups:
        slots = range(group[0], group[-1] + 1)
        cases = tuple(sorted(set().union(*(here[slot] for slot in slots))))
        begin, end = slots[0] * length, (slots[-1] + 1) * length
        earliest = min((each.start, each.category) for each in own if each.start < end and each.end > begin)
        each = tuple(len(here[slot]) for slot in slots)
        made.append(Found(rule.pattern, rule.visits, begin, end, cases, rule.risk, earliest[1], each))
    return made

"""Spans of time, `[start, end)` in ms: their union, and the most of it in any 24 hours."""

from __future__ import annotations

from collections.abc import Iterable

DAY_MS = 86_400_000

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """The union of spans in order; what touches is one."""
    pieces: list[Span] = []
    for start, end in sorted(spans):
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end))
        else:
            pieces.append((start, end))
    return pieces


def most_in_a_day(spans: Iterable[Span]) -> int:
    """The most time (ms, counted once) that the spans cover in any 24 hours.

    The time covered within a sliding day rises and falls in straight lines that bend only where a piece begins or ends
    at one of the day's borders, so one of those days holds the most.
    """
    pieces = union(spans)
    begins = [start for start, _ in pieces] + [end - DAY_MS for _, end in pieces]
    return max(
        (sum(max(0, min(end, begin + DAY_MS) - max(start, begin)) for start, end in pieces) for begin in begins),
        default=0,
    )

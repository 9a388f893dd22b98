"""The oracle of searches over several hops: docs/risk.md read as it stands, by brute force, standard library alone.

It shares no code with what it judges: every level works out everything anew, from all visits, looking at every pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tests.oracle import Visit, united

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Rules(NamedTuple):
    """The numbers of a search: the minimum, how long the air stays infectious, latency, risk."""

    minimum_minutes: float
    strict: bool
    per: str
    without_minimum: tuple[str, ...]
    linger: int
    latent: int
    rate: float
    infectiousness: tuple[float, ...]
    proximity: Mapping[str, float]
    least: float


class Label(NamedTuple):
    """A person reached."""

    hop: int
    earliest: int
    risk: float


Part = tuple[int, int, str]
"""Begin, end and venue of a shared part."""


def spread(
    given: Iterable[Visit],
    case: str,
    window: tuple[int, int],
    hops: int,
    rules: Rules,
    category: Callable[[str, int], str],
    as_of: int | None = None,
    direction: str = "forward",
) -> dict[str, Label]:
    """Everybody reached within so many hops."""
    stays = all_stays(given, as_of)
    forward = direction == "forward"
    labels: dict[str, Label] = {}
    for hop in range(1, hops + 1):
        before = dict(labels)
        earliest: dict[str, int] = {}
        escaped: dict[str, float] = {}
        for exposer in [case, *before]:
            if exposer == case:
                risk, first, last = 1.0, *window
            else:
                risk = before[exposer].risk
                if risk < rules.least * (1 - 1e-9):
                    continue
                moment = before[exposer].earliest
                first, last = (moment + rules.latent, 1 << 60) if forward else (-(1 << 60), moment - rules.latent)
            for other in sorted({person for person, _ in stays} - {case, exposer}):
                parts = counting(shared(stays, exposer, other, (first, last), rules, forward), rules, category)
                for begin, end, venue in parts:
                    since = begin - first if forward else last - end
                    by_day = rules.infectiousness[min(since // DAY, len(rules.infectiousness) - 1)]
                    near = rules.proximity[category(venue, begin)]
                    exposure = 1 - math.exp(-rules.rate * (end - begin) / HOUR * near * by_day)
                    escaped[other] = escaped.get(other, 1.0) * (1 - risk * exposure)
                    moment = begin if forward else end
                    held = earliest.get(other, moment)
                    earliest[other] = min(held, moment) if forward else max(held, moment)
        for other, moment in earliest.items():
            reached = before[other].hop if other in before else hop
            labels[other] = Label(reached, moment, 1 - escaped[other])
    return labels


def all_stays(given: Iterable[Visit], as_of: int | None) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """The stays of every person at every venue, cut at the as-of."""
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for visit in given:
        end = visit.end if as_of is None else min(visit.end, as_of)
        if visit.start < end:
            spans.setdefault((visit.person, visit.venue), []).append((visit.start, end))
    return {key: united(found) for key, found in spans.items()}


def shared(
    stays: Mapping[tuple[str, str], list[tuple[int, int]]],
    exposer: str,
    other: str,
    window: tuple[int, int],
    rules: Rules,
    forward: bool,
) -> list[Part]:
    """The parts of their stays that two people share, the exposer's cut to the window."""
    found = []
    for (person, venue), own in stays.items():
        for start, end in own if person == exposer else ():
            first, last = max(start, window[0]), min(end, window[1])
            if first >= last:
                continue
            for begin, until in stays.get((other, venue), ()):
                part = max(first, begin), min(last + rules.linger, until)
                if not forward:
                    part = max(first, begin), min(last, until + rules.linger)
                if part[0] < part[1]:
                    found.append((*part, venue))
    return found


def counting(parts: list[Part], rules: Rules, category: Callable[[str, int], str]) -> list[Part]:
    """Those that count under the minimum."""

    def enough(length: int) -> bool:
        least = rules.minimum_minutes * MINUTE
        return length > least if rules.strict else length >= least

    if rules.per == "stay":
        return [
            part for part in parts if enough(part[1] - part[0]) or category(part[2], part[0]) in rules.without_minimum
        ]
    spans = united((begin, end) for begin, end, _ in parts)
    edges = [edge - back for span in spans for edge in span for back in (0, DAY)]
    most = max((sum(max(0, min(e, at + DAY) - max(b, at)) for b, e in spans) for at in edges), default=0)
    return parts if enough(most) else []

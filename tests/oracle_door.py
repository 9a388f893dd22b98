"""Counts made by hand, as docs/door.md defines them: a reading of the definition, slow and without cleverness."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple

from tests import oracle


class Recount(NamedTuple):
    """`inside` people were counted at a venue at a time; `told` orders them as they were told."""

    venue: str
    inside: int
    at: int
    told: int


def in_force(recounts: Sequence[Recount], venue: str, at: int, venues: Sequence[oracle.VenueRecord]) -> Recount | None:
    """The recount that a venue's count goes by at a time, if one does."""
    last = {(recount.venue, recount.at): recount for recount in sorted(recounts, key=lambda each: each.told)}
    above = oracle.ancestors(venue, venues)
    registered = any(record.venue == venue for record in venues)
    best: tuple[tuple[int, bool, int], Recount] | None = None
    for recount in last.values():
        own = recount.venue == venue
        emptied = registered and recount.venue in above and recount.inside == 0
        if recount.at <= at and (own or emptied):
            rank = (recount.at, own, recount.told)
            if best is None or rank > best[0]:
                best = rank, recount
    if best is None:
        return None
    _, longest = oracle.stays(venue, best[1].at, venues)
    return best[1] if at < best[1].at + longest else None


def inside(
    visits: Sequence[oracle.Visit],
    recounts: Sequence[Recount],
    venue: str,
    at: int,
    venues: Sequence[oracle.VenueRecord],
) -> int:
    """How many count as inside a venue at a time."""
    spans = [(start, end) for _, start, end, _ in oracle.presences(visits, venue)]
    recount = in_force(recounts, venue, at, venues)
    if recount is None:
        return sum(start <= at < end for start, end in spans)
    came_since = sum(recount.at < start <= at < end for start, end in spans)
    were = [end for start, end in spans if start <= recount.at < end]
    if not were:
        return came_since + recount.inside
    still = sum(end > at for end in were)
    return came_since + floor(Fraction(recount.inside * still, len(were)) + Fraction(1, 2))

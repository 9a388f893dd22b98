"""TousAntiCovid Signal's slots (the CLEA protocol): a venue's time in slots of 30 minutes, some of them risky.

A case's visits after the day from which they may have infected are its forward visits, those before it backward ones.
A slot is risky when enough different cases' visits touch it: many backward ones say that the cases were infected
there, one forward one that others may be. Whoever touches a risky slot is warned with its risk. Its authors mark the
numbers as placeholders (contacts/data/profiles/clea.toml).

The contacts of one case under this rule: forward, everybody who was at the venue in a slot that the case touched, even
if they never met there. Backward one case alone makes no slot risky where the rule asks for three.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from schemas.messages import Direction


class Slots(Protocol):
    """The numbers of the rule for a venue: `contacts.profiles.SlotRule`."""

    @property
    def forward_visits(self) -> int:
        """How many forward visits make a slot risky."""

    @property
    def forward_risk(self) -> float:
        """How risky."""

    @property
    def backward_visits(self) -> int:
        """How many backward visits make a slot risky."""

    @property
    def backward_risk(self) -> float:
        """How risky."""


class CaseVisit(NamedTuple):
    """A visit `[start_ms, end_ms)` of a case at the venue."""

    person: str
    direction: Direction
    start_ms: int
    end_ms: int


def slots_of(start_ms: int, end_ms: int, slot_ms: int) -> range:
    """The numbers of the slots, counted from the epoch, that a visit touches; one that ends where a slot begins does
    not touch it."""
    return range(start_ms // slot_ms, -(-end_ms // slot_ms)) if start_ms < end_ms else range(0)


def risk_of_slot(rule: Slots | None, direction: Direction, cases: int) -> float | None:
    """The risk of a slot touched by visits of so many different cases, or None where it is not risky."""
    if rule is None:
        return None
    if direction == "forward":
        return rule.forward_risk if cases >= rule.forward_visits else None
    return rule.backward_risk if cases >= rule.backward_visits else None


def risky_slots(visits: Iterable[CaseVisit], rule: Slots, slot_ms: int) -> dict[int, float]:
    """Slot to risk, of those that are risky: the greater of both directions. A person counts once a slot and way."""
    cases: dict[tuple[int, Direction], set[str]] = defaultdict(set)
    for visit in visits:
        for slot in slots_of(visit.start_ms, visit.end_ms, slot_ms):
            cases[slot, visit.direction].add(visit.person)
    found: dict[int, float] = {}
    for (slot, direction), people in sorted(cases.items()):
        risk = risk_of_slot(rule, direction, len(people))
        if risk is not None:
            found[slot] = max(risk, found.get(slot, risk))
    return found


def risk_of_visit(start_ms: int, end_ms: int, risky: Mapping[int, float], slot_ms: int) -> float:
    """The risk that somebody's visit met: that of the riskiest slot it touches, 0 where none is risky."""
    return max((risky.get(slot, 0.0) for slot in slots_of(start_ms, end_ms, slot_ms)), default=0.0)

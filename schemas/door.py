"""What travels to and from the doors besides scans: rules, counts made by hand, and what staff did. Conventions as in
schemas.messages."""

from __future__ import annotations

from typing import Literal

from schemas.bounds import TimeMs
from schemas.messages import Message

RulesKind = Literal["door", "colours"]
Deed = Literal[
    "staff_admitted",  # after `admit with check by staff`
    "staff_refused",
    "typed_id",  # an id was typed at a staff scanner
    "recount",
    "everyone_out",
    "bound",  # a browser was bound to an identity
    "unbound",
    "declared",
]


class RuleSet(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `rules` (compacted), keyed by `KIND/RULES_ID`: one file of dated rules, whole, as TOML text."""

    kind: RulesKind
    rules_id: str
    text: str
    officer: str
    purpose: str
    published_at_ms: TimeMs


class Recount(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `recounts`, keyed by venue: a guard has counted `inside` people at `at_ms` (0: everyone is out).

    It changes the count from then on, not the visits: docs/door.md says how.
    """

    venue: str
    inside: int
    at_ms: TimeMs
    recount_id: str
    gateway: str
    device: str


class DoorEvent(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `door-events`, keyed by venue: what staff did at a door, or with an identity, for the audit.

    `person` is the pseudonym it was about, if any; `detail` holds no health data.
    """

    event_id: str
    venue: str
    gateway: str
    device: str
    deed: Deed
    at_ms: TimeMs
    person: str = ""
    detail: str = ""

"""Which control records can be taken: whoever writes one, what cannot be is told before anything is changed by it."""

from __future__ import annotations

from typing import Final

from contacts.doorrules import DoorRulesError, read_door_rules
from contacts.registry import Registry, RegistryError, is_name
from schemas.blocks import (
    Barrier,
    Control,
    ErasureOrder,
    Heartbeat,
    RecountOrder,
    RegistryChange,
    RulesChange,
    StayReport,
    Tick,
    WatchOrder,
)

BAD_PERSON: Final = "a person is 1 to 200 characters, none of them a control"
BAD_VENUE: Final = "a venue is 1 to 200 characters, none of them a control"
BAD_PATIENT: Final = f"{BAD_PERSON} or a bar"
"""Of a person in a health record's key (schemas.keys)."""
WRONG_PARTITION: Final = "the record's partition is not that of its person"
COUNT_MOST: Final = 1_000_000_000
_ID_LENGTH: Final = 500
_DAY_MS: Final = 86_400_000


def fault_of(control: Control, coordinators: int) -> tuple[str, str] | None:
    """Why a control record among scans cannot be taken: (reason, detail); None: it can, as far as itself goes.

    `coordinators` is how many partitions of traces there are: a watch order names one of them.
    """
    match control:
        case Tick() | Heartbeat():
            return None
        case RegistryChange():
            return _venue_fault(control)
        case ErasureOrder() | StayReport():
            return None if is_name(control.person) else ("bad_person", BAD_PERSON)
        case RecountOrder():
            return recount_fault(control.venue, control.inside)
        case RulesChange():
            return _rules_fault(control)
        case Barrier():
            return None if is_id(control.query_id) else ("bad_control", "a barrier names no question")
    return _watch_fault(control, coordinators)


def recount_fault(venue: str, inside: int) -> tuple[str, str] | None:
    """Why a count made by hand cannot be taken: (reason, detail)."""
    if not is_name(venue):
        return "bad_venue", BAD_VENUE
    if not 0 <= inside < COUNT_MOST:
        return "bad_count", f"{inside} people cannot be inside"
    return None


def is_id(text: str) -> bool:
    """Whether a text may be an id that one of our own agents has made."""
    return 0 < len(text) <= _ID_LENGTH and text.isprintable()


def _venue_fault(change: RegistryChange) -> tuple[str, str] | None:
    try:
        Registry().check(change.venue)
    except RegistryError as error:
        return "refused_venue", str(error)
    return None


def _rules_fault(change: RulesChange) -> tuple[str, str] | None:
    try:
        read_door_rules(change.rules_id, change.text, change.rules_id)
    except DoorRulesError as error:
        return "refused_rules", str(error)
    return None


def _watch_fault(order: WatchOrder, coordinators: int) -> tuple[str, str] | None:
    if not is_name(order.person):
        return "bad_person", BAD_PERSON
    if not is_id(order.trace_id):
        return "bad_control", "a watch order names no trace"
    if order.reply_partition >= coordinators:
        return "bad_control", f"a watch order names partition {order.reply_partition}, and there are {coordinators}"
    if not (0 <= order.linger_ms <= _DAY_MS and 0 <= order.grid_ms <= _DAY_MS):
        return (
            "bad_control",
            "a watch order lets the air stay infectious for over a day, or for no time",
        )
    return None

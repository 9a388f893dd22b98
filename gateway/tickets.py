"""What a door is asked, and what it answers."""

from __future__ import annotations

import os
from typing import Final, Literal

import msgspec

from contacts.admission import Decision
from schemas.health import AgeBand, Colour

Fault = Literal["bad_scan", "bad_party", "bad_count", "no_ticket", "answered", "expired"]


_ID_BYTES: Final = 12
_pool: list[str] = []


def new_id() -> str:
    """96 random bits, as 24 hex digits. The system is asked for a hundred at a time: that costs as much as for one."""
    if not _pool:
        digits = os.urandom(100 * _ID_BYTES).hex()
        _pool.extend(digits[each : each + 2 * _ID_BYTES] for each in range(0, len(digits), 2 * _ID_BYTES))
    return _pool.pop()


class DoorError(ValueError):
    """A request that cannot be answered; `code` is a key for programs, the message says why."""

    def __init__(self, code: Fault, text: str) -> None:
        super().__init__(text)
        self.code = code


class Companion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who comes in with the one who scans. `age_band`: as they or the staff say, where no status says it."""

    person: str
    age_band: AgeBand | None = None
    verified: bool = True


class Ask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody at a door. `party` comes in with them (children): one decision for all, a scan each.

    `verified`: the person is bound to an identity; else their status is not looked up, and they are unknown to the
    rules. `typed`: staff typed the id, which is audited. `at_ms`: when, None for now; `scan_id`: the caller's, kept.
    """

    venue: str
    person: str
    kind: Literal["in", "out"] = "in"
    party: tuple[Companion, ...] = ()
    age_band: AgeBand | None = None
    at_ms: int | None = None
    scan_id: str | None = None
    verified: bool = True
    typed: bool = False
    device: str = ""


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer. What it says is durable when it is given.

    `decision` is None for an `out`; contacts.doortexts has its words, for the guard and for the person. `colours` are
    those of the person and the party, for their own screens alone, None for whom no status is known. A `check` waits
    for the guard until `until_ms`, and `admitted` is the guard's answer. `inside` (with those who come in now) and
    `allowed` are the venue's; the ages are of the copies that were decided by, None where there was none.
    """

    ticket_id: str
    venue: str
    person: str
    kind: Literal["in", "out"]
    at_ms: int
    scan_ids: tuple[str, ...]
    party: tuple[str, ...] = ()
    decision: Decision | None = None
    colours: tuple[Colour | None, ...] = ()
    until_ms: int | None = None
    admitted: bool | None = None
    inside: int | None = None
    allowed: int | None = None
    statuses_age_ms: int | None = None
    counts_age_ms: int | None = None


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """What became of many scans: `accepted` are durable; `rejected` has place in the list, and why, of the others."""

    accepted: int
    rejected: tuple[tuple[int, str], ...] = ()

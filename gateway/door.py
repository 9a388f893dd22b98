"""The door: one decision from a person's status, the venue's rules and its count, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.copies import Copies
from gateway.settings import GatewaySettings
from gateway.spool import Parcel, Spool
from schemas.door import Deed
from schemas.health import Colour
from schemas.messages import Scan

Outcome = Literal["admit", "check", "refuse", "full", "out"]


class DoorError(ValueError):
    """A request that cannot be answered; `code` is a key for problem details, the message says why."""

    def __init__(
        self, code: Literal["bad_scan", "bad_party", "no_ticket", "answered", "expired", "too_many"], text: str
    ):
        super().__init__(text)
        self.code = code


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody at a door. `party` comes in with them (children): one decision, a scan each.

    `verified`: the person is bound to an identity; else their status is not looked up, and they are unknown to the
    rules. `typed`: staff typed the id. `at_ms`: when, None for now; `scan_id`: the caller's own, kept.
    """

    venue: str
    person: str
    kind: Literal["in", "out"] = "in"
    party: tuple[str, ...] = ()
    at_ms: int | None = None
    scan_id: str | None = None
    verified: bool = True
    typed: bool = False
    device: str = ""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. When it is given, what it says is durable.

    `reason` is the key of a text for the person's own screen; `guard` one for the guard, without health reasons.
    `colour` is None for whom no status is looked up. A `check` waits for the guard's answer until `until_ms`.
    `inside`, `allowed`: of the venue, with those who come in now; ages are of the copies it was decided by, None: none.
    """

    ticket_id: str
    venue: str
    person: str
    kind: Literal["in", "out"]
    outcome: Outcome
    reason: str
    guard: str
    at_ms: int
    scan_ids: tuple[str, ...] = ()
    party: tuple[str, ...] = ()
    colour: Colour | None = None
    colour_until_ms: int | None = None
    rule: str = ""
    until_ms: int | None = None
    inside: int | None = None
    allowed: int | None = None
    statuses_age_ms: int | None = None
    counts_age_ms: int | None = None
    admitted: bool | None = None


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """What became of many scans: `accepted` are durable; `rejected` holds (place in the list, why) of the others."""

    accepted: int
    rejected: tuple[tuple[int, str], ...] = ()


class Door:
    """Decides and publishes. Raises SpoolError (nothing was taken) from every method that publishes."""

    def __init__(self, settings: GatewaySettings, copies: Copies, spool: Spool) -> None:
        raise NotImplementedError

    async def ask(self, ask: Ask) -> Ticket:
        """Decide about somebody at the door, and make durable what comes of it: the `in` of those who go in, a
        `refused` for those who do not, the ticket of those whom the staff check first; an `out` is always taken.

        Raises DoorError.
        """
        raise NotImplementedError

    async def answer(self, ticket_id: str, admitted: bool, device: str) -> Ticket:
        """The guard's answer to a `check`, once: the same answer again gives the same ticket. Raises DoorError."""
        raise NotImplementedError

    async def bulk(self, scans: Sequence[Scan]) -> Bulk:
        """Take scans as they happened, without decisions: of systems that let people in by themselves, or later."""
        raise NotImplementedError

    async def recount(self, venue: str, inside: int, device: str, *, at_ms: int | None = None) -> str:
        """A guard has counted `inside` people (0: everyone is out). Returns the recount's id. Raises DoorError."""
        raise NotImplementedError

    async def event(self, deed: Deed, venue: str, device: str, *, person: str = "", detail: str = "") -> None:
        """Audit what staff did."""
        raise NotImplementedError

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish other records (venues, declarations, health records) by way of the spool."""
        raise NotImplementedError

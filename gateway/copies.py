"""Local copies of the compacted topics that a door decides by: statuses, occupancy, venues and rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from contacts.registry import Registry
from gateway.ownscans import OwnScans
from gateway.settings import GatewaySettings
from gateway.statuses import Standing, StatusCopy
from schemas.messages import Venue


class Count(NamedTuple):
    """How many are inside, by the last count and this gateway's own scans since; None where nothing is known.

    `age_ms`: how long ago the copy was level with the brokers; None: never.
    """

    venue: str
    inside: int | None
    allowed: int | None
    log_time_ms: int | None
    age_ms: int | None


class Copies:
    """The copies, kept up to date by tasks of the event loop: `open`, then `start`; `stop` keeps them for later."""

    def __init__(self, settings: GatewaySettings, now_ms: Callable[[], int]) -> None:
        self.settings, self.now_ms = settings, now_ms
        self.statuses = StatusCopy()
        self.registry = Registry()
        self.rules: Any = None  # contacts.doorrules.DoorRules
        self.own: OwnScans
        raise NotImplementedError

    async def open(self) -> None:
        """Take up the copies kept by the last run. A damaged one is set aside, and said."""

    def start(self) -> None:
        """Begin to read; whether the brokers are there does not matter."""

    async def stop(self) -> None:
        """Stop reading and keep the copies."""

    def statuses_age_ms(self) -> int | None:
        """How long ago the copy of statuses was level with the brokers; None: never."""
        raise NotImplementedError

    def counts_age_ms(self) -> int | None:
        """The same of the counts."""
        raise NotImplementedError

    @property
    def level(self) -> bool:
        """Whether all copies have been level with the brokers since the start (or were kept level)."""
        raise NotImplementedError

    def standing(self, person: str) -> Standing | None:
        """What is known of a person."""
        return self.statuses.get(person)

    def venue(self, venue_id: str, at_ms: int | None = None) -> Venue | None:
        """The venue's record in force, now or at a time."""
        raise NotImplementedError

    def requirements(self, venue_id: str, at_ms: int) -> Any:
        """What the rules ask at a venue."""
        raise NotImplementedError

    def place_facts(self, venue_id: str, at_ms: int) -> Any:
        """What the rules ask of a venue."""
        raise NotImplementedError

    def count(self, venue_id: str) -> Count:
        """How full a venue is now."""
        raise NotImplementedError

    def on_count(self, told: Callable[[Count], None]) -> Callable[[], None]:
        """Be told of every change of a count, in the loop (for streams to screens); the result ends it."""
        raise NotImplementedError

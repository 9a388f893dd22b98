"""How many may be inside each venue: capacity times the share that the rules in force allow at the log time.

Worked out again where it may have changed only: a record of the registry has come, a venue has several that follow one
another, a day has begun on which a row of the rules begins or ends, or other rules have come.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contacts.columns import Columns, Ints, ints
from contacts.doorrules import DoorRules, PlaceFacts, allowed, read_door_rules
from contacts.names import Lineages
from contacts.occupancy import UNKNOWN
from contacts.registry import Registry
from schemas.blocks import RulesChange

_PART: Final = "rules"
_EMPTY: Final = msgspec.msgpack.encode([])  # a snapshot of before there were rules


class Allowances:
    """What the rules that were published make of the capacities in a registry."""

    def __init__(self, registry: Registry, zone: ZoneInfo) -> None:
        self._registry, self._zone = registry, zone
        self._published: dict[str, RulesChange] = {}
        self._rules = DoorRules()
        self._changed: set[str] = set()
        self._dated: set[str] = set()
        self._border: float = inf
        self._columns = Columns(allowed="i8")

    @property
    def dated(self) -> set[str]:
        """The venues with several records, that follow one another."""
        return self._dated

    @property
    def allowed(self) -> Ints:
        """How many each venue is allowed, as `at` gave it last."""
        return self._columns["allowed"]

    def registered(self, venue: str) -> None:
        """The venue has a record, or another one."""
        self._changed.add(venue)
        if self._registry.dated(venue):
            self._dated.add(venue)

    def take(self, change: RulesChange) -> None:
        """Take in a file of rules; of those with one id the one published last holds. Raises DoorRulesError."""
        held = self._published.get(change.rules_id)
        if held is not None and held.origin >= change.origin:
            return
        file = read_door_rules(change.rules_id, change.text, change.rules_id)
        self._published[change.rules_id] = change
        self._rules = DoorRules([*(each for each in self._rules.files if each.id != file.id), file])
        self._border = -inf

    def at(self, at_ms: int, lineages: Lineages) -> tuple[Ints, Ints]:
        """How many each venue is allowed at a time, by its number (UNKNOWN: not known); times only grow.

        Also the numbers of those of which it may differ from the last call.
        """
        if at_ms >= self._border:
            self._border = self._rules.next_border(at_ms, self._zone)
            self._changed.update(record.venue for record in self._registry.venues())
        names = list(self._changed | self._dated)
        self._changed.clear()
        numbers = ints([lineages.venue(name) for name in names])
        self._columns.grow(len(lineages.venues) - self._columns.length, allowed=UNKNOWN)
        column = self._columns["allowed"]
        most = [self._allowed(name, at_ms) for name in names]
        column[numbers] = [UNKNOWN if each is None else each for each in most]
        return column, numbers

    def _allowed(self, name: str, at_ms: int) -> int | None:
        venue = self._registry.record(name, at_ms)
        if venue is None or not self._published:
            return venue.capacity if venue is not None else None
        in_force = self._rules.in_force(PlaceFacts.of(venue), at_ms, self._zone)
        return allowed(venue.capacity, in_force, venue.area_m2)

    def dump(self) -> dict[str, bytes]:
        """What a snapshot keeps, as named parts: the rules."""
        return {_PART: msgspec.msgpack.encode(list(self._published.values()))}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave. Raises DoorRulesError when this Lacak cannot read the rules any more."""
        for change in msgspec.msgpack.decode(parts.get(_PART, _EMPTY), type=list[RulesChange]):
            self.take(change)

"""Self-reported stays: what has been declared of each person, and the visits that it makes (docs/visits.md, rule 8).

Declarations are few, so this is plain Python beside the columns of contacts/histories.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from contacts.histories import NONE
from contacts.registry import Place, is_name
from contacts.visits import NEVER_MS, Acceptance
from schemas.blocks import StayReport

FindSpot = Callable[[str, int], tuple[int, Place]]
"""The place that a stay at a venue from a time on (ms) finds, with its number."""


class StayRefused(ValueError):
    """A report that cannot be a visit; `reason` is the dead letter's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Told(msgspec.Struct, array_like=True):
    """A declaration as last told. `until_ms` is the greatest start that it ever had: then it may be forgotten.

    One that was withdrawn or erased has `end_ms == start_ms`; it is held so that an older one cannot come after it.
    """

    origin: tuple[int, int]
    venue: str
    start_ms: int
    end_ms: int
    until_ms: int


class _Visit(msgspec.Struct, array_like=True):
    """A visit as last sent on: the record that first made it, its place, and its end (its start: it is none)."""

    born_offset: int
    spot: int
    venue: str
    start_ms: int
    end_ms: int


class _Person(msgspec.Struct, array_like=True):
    told: dict[str, _Told] = {}
    visits: list[_Visit] = []


class Moved(NamedTuple):
    """A change of a self-reported visit: who made it, where, and its ends (ms). `end_ms == start_ms`: it is no more."""

    born_offset: int
    spot: int
    start_ms: int
    end_ms: int
    old_end_ms: int


class Declared:
    """All that people of one partition of `scans` have declared within the retention."""

    def __init__(self, acceptance: Acceptance, find: FindSpot) -> None:
        self._acceptance = acceptance
        self._find = find
        self._people: dict[str, _Person] = {}

    def take(self, offset: int, report: StayReport, log_time_ms: int, erased_ms: int) -> list[Moved]:
        """A report at its place in the log; the visits that it moves. Raises StayRefused.

        Of one declaration the report with the greatest origin counts, in whatever order they come. What began before
        `erased_ms` counts as withdrawn. Visits that began longer than the retention before the log time are not told
        of any more: nobody holds them.
        """
        person = self._people.get(report.person, _NOBODY)
        before = person.told.get(report.declaration_id)
        if before is not None and report.origin <= before.origin:
            return []
        gone = report.withdrawn or report.start_ms < erased_ms
        spot = NONE if report.withdrawn else self._judged(report, log_time_ms)
        if person is _NOBODY:
            person = self._people[report.person] = _Person({}, [])
        if gone:
            told = _Told(report.origin, "", report.start_ms, report.start_ms, max(report.start_ms, erased_ms))
        else:
            told = _Told(report.origin, report.venue, report.start_ms, report.end_ms, report.start_ms)
            if self._visit(person, report.venue, report.start_ms) is None:
                start = report.start_ms
                person.visits.append(_Visit(offset, spot, report.venue, start, start))
        if before is not None:
            told.until_ms = max(told.until_ms, before.until_ms)
        person.told[report.declaration_id] = told
        keys = [(each.venue, each.start_ms) for each in (before, told) if each is not None and each.venue]
        oldest_ms = log_time_ms - self._acceptance.retention_ms
        return [
            moved
            for key in dict.fromkeys(keys)
            if key[1] >= oldest_ms and (moved := self._move(person, *key)) is not None
        ]

    def _judged(self, report: StayReport, log_time_ms: int) -> int:
        """The spot of a report that can be a visit. Raises StayRefused."""
        if not is_name(report.venue):
            raise StayRefused("bad_venue", "a venue is 1 to 200 characters, none of them a control")
        if report.end_ms <= report.start_ms:
            raise StayRefused("bad_stay", "the stay ends no later than it begins")
        told_ms = report.told_at_ms
        if told_ms is None:
            told_ms = report.end_ms if log_time_ms == NEVER_MS else log_time_ms
        if self._acceptance.judge(report.end_ms, told_ms) == "in_the_future":
            raise StayRefused("in_the_future", "the stay ends further ahead of its report than clocks may differ")
        if max(told_ms, log_time_ms) - report.start_ms > self._acceptance.retention_ms:
            raise StayRefused("too_old", "the stay began longer ago than the retention")
        spot, place = self._find(report.venue, report.start_ms)
        if report.end_ms - report.start_ms > place.longest_ms:
            minutes = place.longest_ms / 60_000
            raise StayRefused(
                "stay_too_long", f"the stay is longer than the venue's longest, {minutes:g} min: declare it in parts"
            )
        return spot

    @staticmethod
    def _visit(person: _Person, venue: str, start_ms: int) -> _Visit | None:
        return next((each for each in person.visits if each.start_ms == start_ms and each.venue == venue), None)

    def _move(self, person: _Person, venue: str, start_ms: int) -> Moved | None:
        """Bring a visit to where the declarations of its venue and start have it: the longest of them counts."""
        visit = self._visit(person, venue, start_ms)
        if visit is None:
            return None
        ends = (each.end_ms for each in person.told.values() if each.venue == venue and each.start_ms == start_ms)
        old_end, visit.end_ms = visit.end_ms, max(ends, default=start_ms)
        if visit.end_ms == old_end:
            return None
        return Moved(visit.born_offset, visit.spot, start_ms, visit.end_ms, old_end)

    def erase(self, person: str, before_ms: int) -> None:
        """Forget where a person was before a time; whoever holds the visits takes them away."""
        held = self._people.get(person)
        if held is not None:
            for name, told in held.told.items():
                if told.start_ms < before_ms:
                    until_ms = max(told.until_ms, before_ms)
                    held.told[name] = _Told(told.origin, "", before_ms, before_ms, until_ms)
            held.visits = [visit for visit in held.visits if visit.start_ms >= before_ms]

    def prune(self, oldest_ms: int) -> None:
        """Forget what began before a time and can begin no later any more."""
        for name in list(self._people):
            person = self._people[name]
            person.told = {key: told for key, told in person.told.items() if told.until_ms >= oldest_ms}
            person.visits = [visit for visit in person.visits if visit.start_ms >= oldest_ms]
            if not person.told and not person.visits:
                del self._people[name]

    def dump(self) -> bytes:
        """The whole state."""
        return msgspec.msgpack.encode(self._people)

    def load(self, data: bytes) -> None:
        """Take up what `dump` gave."""
        self._people = msgspec.msgpack.decode(data, type=dict[str, _Person])


_NOBODY: Final = _Person()

"""Visits from one person's scans: the rule itself, with nothing around it (docs/visits.md).

A visit's end is a function of its check-in and of the first later scan that closes it, so a person's visits can be
settled anew from their scans at any time; `Deriver` (contacts/deriver.py) does the same scan by scan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from contacts.registry import Place, Registry
from schemas.blocks import ASSUMED, CHECKED_OUT, LATE, NEXT_CHECK_IN, REASONS, SCANNED_AGAIN, SELF_REPORTED
from schemas.messages import Scan

DAY_MS = 86_400_000
NEVER_MS = -(1 << 62)
"""The log time of a partition that has seen nothing."""
OUT, IN = 0, 1
"""At equal times check-outs come first."""

AT, ORDER, SPOT, END, REASON, CLOSED, OFFSET, NUMBER = range(8)
"""The fields of an entry: when, OUT or IN, index of the place, and of a check-in the visit's end and reason,
whether a later scan closed it, and where its scan stands in the log."""

Entry = list[int]
"""One scan of a person's history, as plain integers: millions are held, and msgpack copies them at C speed."""


class Visit(NamedTuple):
    """One person's stay at one venue, `[start_ms, end_ms)`, with the reason (an index into REASONS) it ended."""

    person: str
    venue: str
    start_ms: int
    end_ms: int
    reason: int
    ancestors: tuple[str, ...] = ()


class Acceptance(NamedTuple):
    """How a scan's time is judged against its own arrival, all in ms (design.md, rule 4)."""

    horizon_ms: int
    retention_ms: int
    tolerance_ms: int = 300_000

    def judge(self, at_ms: int, arrived_at_ms: int) -> str:
        """`in_time`, `late`, `too_old` or `in_the_future`."""
        behind = arrived_at_ms - at_ms
        if behind > self.retention_ms:
            return "too_old"
        if behind < -self.tolerance_ms:
            return "in_the_future"
        return "late" if behind > self.horizon_ms else "in_time"


def visit_id(person: str, venue: str, start_ms: int, reason: int) -> str:
    """The visit's id: a function of person, venue, start and kind (derived, late or self-reported)."""
    kind = REASONS[reason] if reason in (LATE, SELF_REPORTED) else "derived"
    text = "\x1f".join((person, venue, str(start_ms), kind))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def settle(history: Sequence[Entry], places: Sequence[Place]) -> Iterator[tuple[Entry, int, int, int]]:
    """Settle the end of every visit of one person's history, in order of (time, outs first, venue).

    Brings each entry's END, REASON and CLOSED up to date and yields `(entry, old end, old reason, change)` for those
    whose end or reason moved. `history` holds a person's scans without doubles; an entry not yet settled has END == AT.
    """
    open_visits: list[tuple[Entry, Place, int, int]] = []
    settled: list[tuple[Entry, int, int, int]] = []
    for entry in history:
        at, place = entry[AT], places[entry[SPOT]]
        still_open = []
        for visit in open_visits:
            begun, where, end, reason = visit
            if at >= begun[AT] + where.longest_ms:
                settled.append((begun, end, reason, 0))
            elif entry[ORDER] == OUT:
                if where.venue == place.venue or place.venue in where.ancestors:
                    settled.append((begun, at, CHECKED_OUT, 1))
                else:
                    still_open.append(visit)
            elif where.venue in place.ancestors:
                still_open.append(visit)
            elif at < end:
                settled.append((begun, at, SCANNED_AGAIN if where.venue == place.venue else NEXT_CHECK_IN, 1))
            else:
                settled.append((begun, end, reason, 1))
        open_visits = still_open
        if entry[ORDER] == IN:
            open_visits.append((entry, place, at + place.assumed_ms, ASSUMED))
    settled.extend((begun, end, reason, 0) for begun, _, end, reason in open_visits)
    settled.sort(key=lambda item: (item[0][AT], places[item[0][SPOT]].venue))
    for entry, end, reason, closed in settled:
        old_end, old_reason = entry[END], entry[REASON]
        entry[END], entry[REASON], entry[CLOSED] = end, reason, closed
        if end != old_end or reason != old_reason:
            yield entry, old_end, old_reason, closed


def derive_visits(scans: Iterable[Scan], registry: Registry, acceptance: Acceptance | None = None) -> list[Visit]:
    """All visits of a whole set of scans under a whole registry, in order of (start, person, venue): the offline way.

    Without `acceptance` every scan counts; with it, scans are judged against their `arrived_at_ms` (else their own
    time), too old and future ones are left out, and late ones stand alone.
    """
    arrivals: dict[str, dict[tuple[int, int, str], int]] = {}
    for scan in scans:
        if scan.kind == "refused":
            continue
        person = arrivals.setdefault(scan.person, {})
        key = (scan.at_ms, IN if scan.kind == "in" else OUT, scan.venue)
        arrived = scan.at_ms if scan.arrived_at_ms is None else scan.arrived_at_ms
        if person.setdefault(key, arrived) > arrived:
            person[key] = arrived
    visits: list[Visit] = []
    places: list[Place] = []
    undated: dict[str, int] = {}
    for person_id, keys in arrivals.items():
        history: list[Entry] = []
        for key in sorted(keys):
            at, order, venue = key
            verdict = acceptance.judge(at, keys[key]) if acceptance else "in_time"
            spot = undated.get(venue)
            if spot is None:
                spot = len(places)
                places.append(registry.place(venue, at))
                if not registry.dated(venue):
                    undated[venue] = spot
            if verdict == "in_time":
                history.append([at, order, spot, at, ASSUMED, 0, 0, 0])
            elif verdict == "late" and order == IN and places[spot].assumed_ms:
                place = places[spot]
                visits.append(Visit(person_id, venue, at, at + place.assumed_ms, LATE, place.ancestors))
        for _ in settle(history, places):
            pass
        for entry in history:
            if entry[ORDER] == IN and entry[END] > entry[AT]:
                place = places[entry[SPOT]]
                visits.append(Visit(person_id, place.venue, entry[AT], entry[END], entry[REASON], place.ancestors))
    visits.sort(key=lambda visit: (visit.start_ms, visit.person, visit.venue))
    return visits

"""The oracle: docs/visits.md read as it stands, by brute force, in the standard library alone.

It shares no code with what it judges, and nothing in it is clever: every answer looks at everything. Times are
milliseconds; stays and windows are half-open.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
STAYS = tomllib.loads((Path(__file__).parents[1] / "contacts" / "data" / "stays.toml").read_text("utf-8"))


class Scan(NamedTuple):
    """One scan; `arrived` is when it reached the programme."""

    person: str
    venue: str
    kind: str
    at: int
    arrived: int


class VenueRecord(NamedTuple):
    """What the registry says of a venue from `valid_from` on."""

    venue: str
    category: str = ""
    capacity: int | None = None
    assumed_stay_minutes: float | None = None
    longest_stay_minutes: float | None = None
    within: str | None = None
    valid_from: int = 0


class Erasure(NamedTuple):
    """Everything of a person before a time is to be forgotten."""

    person: str
    before: int


class Stay(NamedTuple):
    """A declared stay. Of those of one person with one `declaration` the one with the greatest `order` holds."""

    person: str
    venue: str
    declaration: str
    start: int
    end: int
    told: int
    order: int
    withdrawn: bool = False


class Rules(NamedTuple):
    """How late and how early a scan may be, ms."""

    horizon: int
    retention: int
    tolerance: int


class Visit(NamedTuple):
    """One stay, with the reason it ended and what the venue lies within, nearest first."""

    person: str
    venue: str
    start: int
    end: int
    reason: str
    ancestors: tuple[str, ...] = ()


class Shared(NamedTuple):
    """A time that a stay of the case and one of another person share."""

    person: str
    venue: str
    start: int
    end: int


def ancestors(venue: str, venues: Sequence[VenueRecord]) -> tuple[str, ...]:
    """What a venue lies within, by its first record."""
    first = next((record for record in venues if record.venue == venue), None)
    if first is None or not first.within:
        return ()
    return (first.within, *ancestors(first.within, venues))


def stays(venue: str, at: int, venues: Sequence[VenueRecord]) -> tuple[int, int]:
    """The assumed and the longest stay in force at a time, ms."""
    records = sorted((record for record in venues if record.venue == venue), key=lambda record: record.valid_from)
    if not records:
        return STAYS["default"]["assumed_stay_minutes"] * MINUTE, STAYS["default"]["longest_stay_minutes"] * MINUTE
    record = ([each for each in records if each.valid_from <= at] or records[:1])[-1]
    usual = (STAYS["default"]["assumed_stay_minutes"], STAYS["default"]["longest_stay_minutes"])
    assumed, longest = STAYS["categories"].get(record.category, usual)
    if record.longest_stay_minutes is not None:
        longest = record.longest_stay_minutes
        assumed = min(assumed, longest)
    if record.assumed_stay_minutes is not None:
        assumed = record.assumed_stay_minutes
        longest = max(longest, assumed)
    longest = min(longest, STAYS["limits"]["longest_stay_minutes"])
    return round(min(assumed, longest) * MINUTE), round(longest * MINUTE)


def visits(
    scans: Iterable[Scan],
    venues: Sequence[VenueRecord] = (),
    rules: Rules | None = None,
    erasures: Iterable[Erasure] = (),
    declared: Iterable[Stay] = (),
) -> list[Visit]:
    """The visits of a set of scans and declared stays, in order of (start, person, venue, reason).

    Without rules every scan is in time.
    """
    erased = list(erasures)
    found: list[Visit] = []
    everything = list(scans)
    for person in sorted({scan.person for scan in everything}):
        least: dict[tuple[int, int, str], int] = {}  # equal scans are one, with the least arrival
        for scan in everything:
            if scan.person == person and scan.kind != "refused":
                key = (scan.at, 0 if scan.kind == "out" else 1, scan.venue)
                least[key] = min(scan.arrived, least.get(key, scan.arrived))
        in_time: list[tuple[int, int, str]] = []
        alone: list[tuple[int, int, str]] = []
        for key, arrived in sorted(least.items()):
            if any(each.person == person and key[0] < each.before for each in erased):
                continue
            if rules is None or -rules.tolerance <= arrived - key[0] <= rules.horizon:
                in_time.append(key)
            elif rules.horizon < arrived - key[0] <= rules.retention:
                alone.append(key)
        derived = _one_person(person, in_time, venues)
        met = {(venue, at) for at, kind, venue in in_time if kind == 1}
        found += derived
        for at, kind, venue in alone:
            assumed = stays(venue, at, venues)[0]
            if kind == 1 and (venue, at) not in met and assumed > 0:
                found.append(Visit(person, venue, at, at + assumed, "late", ancestors(venue, venues)))
    found += _self_reported(list(declared), venues, rules, erased)
    return sorted(found, key=lambda visit: (visit.start, visit.person, visit.venue, visit.reason == "self_reported"))


def _self_reported(
    declared: Sequence[Stay], venues: Sequence[VenueRecord], rules: Rules | None, erased: Sequence[Erasure]
) -> list[Visit]:
    """Rule 8: the last word on each declaration, unless it cannot be one; of equal visits the longest."""
    ends: dict[tuple[str, str, int], int] = {}
    for stay in declared:
        if not _can_be(stay, venues, rules):
            continue
        later = [
            each
            for each in declared
            if (each.person, each.declaration) == (stay.person, stay.declaration)
            and each.order > stay.order
            and _can_be(each, venues, rules)
        ]
        gone = any(each.person == stay.person and stay.start < each.before for each in erased)
        if not later and not gone and not stay.withdrawn:
            key = (stay.person, stay.venue, stay.start)
            ends[key] = max(stay.end, ends.get(key, stay.end))
    return [
        Visit(person, venue, start, end, "self_reported", ancestors(venue, venues))
        for (person, venue, start), end in ends.items()
    ]


def _can_be(stay: Stay, venues: Sequence[VenueRecord], rules: Rules | None) -> bool:
    """Whether a declaration is one: it lies in the past, within the retention, and is no longer than people stay."""
    if stay.withdrawn:
        return True
    if not 0 < stay.end - stay.start <= stays(stay.venue, stay.start, venues)[1]:
        return False
    return rules is None or (stay.end - stay.told <= rules.tolerance and stay.told - stay.start <= rules.retention)


def _one_person(person: str, scans: Sequence[tuple[int, int, str]], venues: Sequence[VenueRecord]) -> list[Visit]:
    """Rules 2 to 6 for one person's scans in time, given in order of (time, outs first, venue)."""
    made: list[Visit] = []
    for index, (start, kind, venue) in enumerate(scans):
        if kind != 1:
            continue
        assumed, longest = stays(venue, start, venues)
        around = ancestors(venue, venues)
        end, reason = start + assumed, "assumed"
        for at, later_kind, where in scans[index + 1 :]:  # the first that closes it has the last word
            if at >= start + longest:
                break
            if later_kind == 0:
                if where == venue or where in around:
                    end, reason = at, "checked_out"
                    break
            elif venue not in ancestors(where, venues):
                if at < end:
                    end, reason = at, "scanned_again" if where == venue else "next_check_in"
                break
        if end > start:
            made.append(Visit(person, venue, start, end, reason, around))
    return made


def presences(given: Iterable[Visit], venue: str) -> list[tuple[str, int, int, bool]]:
    """Who was at a venue or within it: (person, start, end, whether that end is only assumed)."""
    here = [visit for visit in given if visit.venue == venue or venue in visit.ancestors]
    found = []
    for person in sorted({visit.person for visit in here}):
        own = sorted((visit.start, visit.end, visit.reason) for visit in here if visit.person == person)
        for start, end in united([(start, end) for start, end, _ in own]):
            last = [reason for _, ended, reason in own if ended == end]
            found.append((person, start, end, all(reason in ("assumed", "late") for reason in last)))
    return found


def united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of spans; what touches is one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def inside(given: Iterable[Visit], venue: str, at: int) -> int:
    """How many are inside at a moment."""
    return sum(start <= at < end for _, start, end, _ in presences(given, venue))


def windows(given: Iterable[Visit], window: int = 10 * MINUTE) -> dict[tuple[str, int], tuple[int, int, int, int, int]]:
    """Every window: (venue, start) to (entries, exits, assumed exits, peak, presence time in ms)."""
    everything = list(given)
    found = {}
    for venue in sorted({name for visit in everything for name in (visit.venue, *visit.ancestors)}):
        here = presences(everything, venue)
        begins = {start for _, first, last, _ in here for start in range(first // window * window, last + 1, window)}
        for begin in begins:
            end = begin + window
            entries = sum(begin <= first < end for _, first, _, _ in here)
            exits = sum(begin <= last < end for _, _, last, _ in here)
            assumed = sum(begin <= last < end and unsure for _, _, last, unsure in here)
            moments = {begin, *(first for _, first, _, _ in here if begin <= first < end)}
            peak = max(sum(first <= moment < last for _, first, last, _ in here) for moment in moments)
            presence = sum(max(0, min(last, end) - max(first, begin)) for _, first, last, _ in here)
            if presence or exits:
                found[venue, begin] = (entries, exits, assumed, peak, presence)
    return found


def shared_stays(
    given: Iterable[Visit],
    person: str,
    window: tuple[int, int],
    as_of: int | None = None,
    linger: int = 0,
    direction: str = "forward",
) -> list[Shared]:
    """All pairs of a stay of the case and one of somebody else at the same venue that share time."""
    cut = [
        visit._replace(end=min(visit.end, as_of)) if as_of is not None else visit
        for visit in given
        if as_of is None or visit.start < as_of
    ]
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for visit in cut:
        spans.setdefault((visit.person, visit.venue), []).append((visit.start, visit.end))
    found = []
    for (who, venue), own in spans.items():
        if who != person:
            continue
        for start, end in united(own):
            begin, until = max(start, window[0]), min(end, window[1])
            if begin >= until:
                continue
            until += linger if direction == "forward" else 0
            for (other, where), theirs in spans.items():
                if other == person or where != venue:
                    continue
                for first, last in united(theirs):
                    shared = max(begin, first), min(until, last + (linger if direction == "backward" else 0))
                    if shared[0] < shared[1]:
                        found.append(Shared(other, venue, *shared))
    return sorted(found)


def contacts(
    given: Iterable[Visit],
    person: str,
    window: tuple[int, int],
    *,
    minimum_minutes: float,
    strict: bool,
    per: str,
    as_of: int | None = None,
    linger: int = 0,
    direction: str = "forward",
    without_minimum: Sequence[str] = (),
    venues: Sequence[VenueRecord] = (),
) -> dict[str, tuple[float, list[Shared]]]:
    """The contacts: person to (minutes of the union of their shared time, the shared stays)."""
    rows = shared_stays(given, person, window, as_of, linger, direction)
    found = {}
    for other in sorted({row.person for row in rows}):
        own = [row for row in rows if row.person == other]
        if per == "stay":
            own = [
                row
                for row in own
                if _enough(row.end - row.start, minimum_minutes, strict)
                or _category(row.venue, row.start, venues) in without_minimum
            ]
        elif not _enough(_most_in_a_day(own), minimum_minutes, strict):
            continue
        if own:
            spans = united((row.start, row.end) for row in own)
            found[other] = sum(end - start for start, end in spans) / MINUTE, own
    return found


def _enough(shared: int, minimum_minutes: float, strict: bool) -> bool:
    return shared > minimum_minutes * MINUTE if strict else shared >= minimum_minutes * MINUTE


def _category(venue: str, at: int, venues: Sequence[VenueRecord]) -> str:
    records = sorted((record for record in venues if record.venue == venue), key=lambda record: record.valid_from)
    return ([each for each in records if each.valid_from <= at] or records[:1])[-1].category if records else ""


def _most_in_a_day(rows: Sequence[Shared]) -> int:
    """The most shared time in any 24 hours: those are looked at that begin or end where a shared part does."""
    spans = united((row.start, row.end) for row in rows)
    edges = [edge for span in spans for edge in span]
    begins = edges + [edge - DAY for edge in edges]
    return max(sum(max(0, min(end, at + DAY) - max(start, at)) for start, end in spans) for at in begins)

"""Files of scans, venues, visits and dated contacts, and the files that Lacak writes.

Columns are found by their names, in any order; others are ignored (docs/publishing.md).
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast, get_args
from zoneinfo import ZoneInfo

from gateway.lines import BadLine, FileError, OnBad, Progress, called, read_lines, size_of
from gateway.times import format_time, parse_day, parse_time
from schemas.blocks import REASONS
from schemas.messages import Fallback, Scan, ScanKind, Venue

__all__ = [
    "BadLine",
    "ContactRow",
    "FileError",
    "OnBad",
    "Progress",
    "VisitRow",
    "called",
    "format_time",
    "parse_time",
    "read_contacts",
    "read_scans",
    "read_venues",
    "read_visits",
    "size_of",
    "write_rows",
]

_KINDS: dict[str, ScanKind] = {"in": "in", "out": "out", "refused": "refused"}
_REASONS = {name: number for number, name in enumerate(REASONS)}


class VisitRow(NamedTuple):
    """A line of a visits file; `reason` is an index into schemas.blocks.REASONS."""

    person: str
    venue: str
    start_ms: int
    end_ms: int
    reason: int


class ContactRow(NamedTuple):
    """A line of a dated contact list; `whole_day`: its time is a plain date, and `at_ms` the start of that day."""

    source: str
    target: str
    at_ms: int
    whole_day: bool


def read_scans(
    path: str, on_bad: OnBad, progress: Progress | None = None, check: Callable[[Scan], object] | None = None
) -> Iterator[Scan]:
    """The scans of a file (`-`: standard input): person, venue, kind, at (scan_id, gateway, arrived_at).

    A bad line is told and left out; so is one for which `check` raises ValueError. Raises FileError.
    """
    needed, optional = ("person", "venue", "kind", "at"), ("scan_id", "gateway", "arrived_at")
    for number, text, values in read_lines(path, needed, optional, on_bad, progress):
        person, venue, kind, at, scan_id, gateway, arrived = values
        try:
            if not person or not venue:
                raise ValueError("the person is empty" if not person else "the venue is empty")
            known = _KINDS.get(kind)
            if known is None:
                raise ValueError(f"the kind {kind[:40]!r} is not in, out or refused")
            scan = Scan(
                person=person,
                venue=venue,
                kind=known,
                at_ms=parse_time(at),
                arrived_at_ms=parse_time(arrived) if arrived else None,
                scan_id=scan_id or None,
                gateway=gateway or None,
            )
            if check is not None:
                check(scan)
        except ValueError as error:
            on_bad(BadLine(number, text, str(error)))
        else:
            yield scan


def read_venues(
    path: str, on_bad: OnBad, progress: Progress | None = None, check: Callable[[Venue], object] | None = None
) -> Iterator[Venue]:
    """The venues of a file; only the column `venue` is required. As `read_scans`: bad lines are told and left out."""
    optional = (
        "name",
        "category",
        "region",
        "capacity",
        "assumed_stay_minutes",
        "longest_stay_minutes",
        "within",
        "valid_from",
        "area_m2",
        "fallback",
        "route",
    )
    for number, text, values in read_lines(path, ("venue",), optional, on_bad, progress):
        venue, name, category, region, capacity, assumed, longest, within, valid_from, area, fallback, route = values
        try:
            if not venue:
                raise ValueError("the venue is empty")
            record = Venue(
                venue=venue,
                name=name,
                category=category or "other",
                region=region,
                capacity=_whole(capacity, "capacity"),
                assumed_stay_minutes=_number(assumed, "assumed_stay_minutes"),
                longest_stay_minutes=_number(longest, "longest_stay_minutes"),
                within=within or None,
                valid_from_ms=parse_time(valid_from) if valid_from else 0,
                area_m2=_number(area, "area_m2"),
                fallback=_fallback(fallback),
                route=route,
            )
            if check is not None:
                check(record)
        except ValueError as error:
            on_bad(BadLine(number, text, str(error)))
        else:
            yield record


def read_visits(path: str, on_bad: OnBad, progress: Progress | None = None) -> Iterator[VisitRow]:
    """The visits of a file, as `lacak visits` writes them: person, venue, start, end (end_reason). Raises FileError."""
    for number, text, values in read_lines(
        path, ("person", "venue", "start", "end"), ("end_reason",), on_bad, progress
    ):
        person, venue, start, end, reason = values
        try:
            if not person or not venue:
                raise ValueError("the person is empty" if not person else "the venue is empty")
            known = _REASONS.get(reason or "checked_out")
            if known is None:
                raise ValueError(f"the end_reason {reason[:40]!r} is none of {', '.join(REASONS)}")
            row = VisitRow(person, venue, parse_time(start), parse_time(end), known)
            if row.end_ms <= row.start_ms:
                raise ValueError("the visit does not end after its start")
        except ValueError as error:
            on_bad(BadLine(number, text, str(error)))
        else:
            yield row


def read_contacts(path: str, zone: ZoneInfo, on_bad: OnBad, progress: Progress | None = None) -> Iterator[ContactRow]:
    """The contacts of a dated list: from, to, at (a time, or a date in the zone). As `read_scans`. Raises FileError."""
    for number, text, (source, target, at) in read_lines(path, ("from", "to", "at"), (), on_bad, progress):
        try:
            if not source or not target:
                raise ValueError("from is empty" if not source else "to is empty")
            day = parse_day(at, zone)
            row = ContactRow(source, target, day[0] if day else parse_time(at), day is not None)
        except ValueError as error:
            on_bad(BadLine(number, text, str(error)))
        else:
            yield row


def _fallback(text: str) -> Fallback:
    for known in get_args(Fallback):
        if text in ("", known):
            return cast("Fallback", text or "check")
    raise ValueError(f"fallback is {text[:40]!r}: write {', '.join(get_args(Fallback))}")


def _number(text: str, name: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"its {name} is {text[:40]!r}, which is no number") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"its {name} is {text[:40]}: it must be a number that is not negative")
    return number


def _whole(text: str, name: str) -> int | None:
    number = _number(text, name)
    if number is not None and number != int(number):
        raise ValueError(f"its {name} is {text[:40]}: it must be a whole number")
    return None if number is None else int(number)


def write_rows(path: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> int:
    """Write CSV (`-`: standard output; gzip when the name ends in .gz), whole or not at all; the number of rows.

    Raises FileError, and then leaves what was there before.
    """
    if path == "-":
        return _write(sys.stdout, columns, rows)
    target = Path(path).resolve()
    try:
        if target.exists() and not target.is_file():  # a pipe or a device is written to, never replaced
            with target.open("w", encoding="utf-8", newline="") as file:
                return _write(file, columns, rows)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with (
                _packed(temporary)
                if path.endswith(".gz")
                else temporary.open("w", encoding="utf-8", newline="") as file
            ):
                count = _write(file, columns, rows)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"The file {path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    return count


def _packed(path: Path) -> Any:
    return gzip.open(path, "wt", compresslevel=6, encoding="utf-8", newline="")


def _write(file: IO[str], columns: Iterable[str], rows: Iterable[Iterable[object]]) -> int:
    count = 0

    def counted() -> Iterator[Iterable[object]]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(counted())
    file.flush()
    return count

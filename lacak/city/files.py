"""The city as files, with the columns that the commands read."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from lacak.city.city import City
from lacak.city.doors import ScanColumns
from lacak.city.places import Ints
from schemas.blocks import KINDS

Progress = Callable[[int], None]
"""Called with the number of rows just written."""


def write_scans(city: City, path: Path, progress: Progress) -> int:
    """`person,venue,kind,at,arrived_at` in order of arrival; gzipped when the name ends in .gz. Returns the rows."""
    written = 0
    with _text(path) as file:
        file.write("person,venue,kind,at,arrived_at\n")
        for chunk in city.columns():
            for lines in _scan_lines(city, chunk):
                file.write("\n".join(lines) + "\n")
                written += len(lines)
                progress(len(lines))
    return written


def write_venues(city: City, path: Path) -> int:
    """The registry, with the columns of a venues file. Returns the rows."""
    columns = ("venue", "name", "category", "region", "capacity", "within")
    rows = (
        (v.venue, v.name, v.category, v.region, str(v.capacity if v.capacity is not None else ""), v.within or "")
        for v in city.venues()
    )
    return _write(path, columns, rows)


def write_truth(city: City, path: Path) -> int:
    """`infector,infected,venue,at`: who infected whom; those who carried it in have no infector. Returns the rows."""
    first = [("", person, "", "") for person in city.truth.first]
    infections = city.truth.infections
    times = rfc3339(np.array([one.at_ms for one in infections], np.int64))
    rows = ((one.infector, one.infected, one.venue, at) for one, at in zip(infections, times, strict=True))
    return _write(path, ("infector", "infected", "venue", "at"), (*first, *rows))


def write_tests(city: City, path: Path) -> int:
    """`person,outcome,specimen,onset,isolated`: the positive tests of the run. Returns the rows."""
    rows = (
        (r.person, r.outcome, *("" if t is None else one_time(t) for t in (r.specimen_ms, r.onset_ms, r.isolated_ms)))
        for r in city.test_results()
    )
    return _write(path, ("person", "outcome", "specimen", "onset", "isolated"), rows)


def write_stays(city: City, path: Path) -> int:
    """`person,venue,start,end`: where everybody really was. Returns the rows."""
    rows = ((s.person, s.venue, one_time(s.start_ms), one_time(s.end_ms)) for s in city.truth.stays())
    return _write(path, ("person", "venue", "start", "end"), rows)


def rfc3339(times_ms: Ints) -> list[str]:
    """Times in UTC with milliseconds, as the commands write them."""
    text = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="ms")
    return [one + "Z" for one in text.tolist()]


def one_time(time_ms: int) -> str:
    """One time in UTC with milliseconds."""
    return str(np.datetime64(time_ms, "ms")) + "Z"


def _scan_lines(city: City, chunk: ScanColumns, at_once: int = 20_000) -> Iterator[list[str]]:
    persons, venues = city.persons, city.venue_ids
    for begin in range(0, len(chunk.person), at_once):
        part = chunk.take(slice(begin, begin + at_once))
        columns = (part.person.tolist(), part.venue.tolist(), part.kind.tolist())
        times = (rfc3339(part.at_ms), rfc3339(part.arrived_at_ms))
        yield [
            f"{persons[person]},{venues[venue]},{KINDS[kind]},{at},{arrived}"
            for person, venue, kind, at, arrived in zip(*columns, *times, strict=True)
        ]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    written = 0
    with _text(path) as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        for row in rows:
            out.writerow(row)
            written += 1
    return written


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """A text file to write; gzipped without name and date inside when the name says .gz, so that bytes repeat."""
    with ExitStack() as stack:
        raw: BinaryIO | gzip.GzipFile = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            raw = stack.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0))
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))

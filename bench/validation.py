"""`python -m bench.validation SCANS FACES`: how well "the same venue at the same time" tells who stood face to face.

SCANS is a file of scans (person, venue, kind, at), FACES one of how long two of those persons really stood face to
face (person_a, person_b, face_to_face_seconds; a pair once). Visits and shared stays are Lacak's own. The table in
docs/validation.md is written by this command; the page says where the files are from, and what the table means.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from bench.peer import minimum_ms
from contacts.places import Places
from contacts.registry import Registry
from contacts.visits import derive_visits
from gateway.files import BadLine, FileError, read_scans
from gateway.lines import read_lines

OVERLAPS: Final = (5, 10, 15, 30)
"""Minutes of overlap that are looked at."""

_MINUTE_MS: Final = 60_000
_EVER: Final = 1 << 60
_BEGIN: Final = "<!-- written by python -m bench.validation: begin -->"
_END: Final = "<!-- written by python -m bench.validation: end -->"

Pair = tuple[str, str]
"""Two persons, in the order of their names."""


class Row(msgspec.Struct, frozen=True):
    """The pairs that shared at least so many minutes in one stay, and how many of them were face to face."""

    minutes: int
    pairs: int
    face_to_face: int
    close: int
    precision: float
    precision_close: float
    recall: float
    recall_close: float


class Validation(msgspec.Struct, frozen=True):
    """What was found. A pair is `close` with at least `close_minutes` face to face. Times in hours."""

    visitors: int
    visits: int
    sharing_pairs: int
    face_to_face_pairs: int
    close_minutes: float
    close_pairs: int
    shared_hours: float
    face_to_face_hours: float
    proximity: float
    outside: int
    """Pairs that were face to face for longer than they shared a venue: there are none where the files fit."""
    rows: tuple[Row, ...]


def read_faces(path: str) -> dict[Pair, int]:
    """How long pairs were face to face, in ms. Raises FileError."""
    found: dict[Pair, int] = {}
    for number, text, (one, other, seconds) in read_lines(
        path, ("person_a", "person_b", "face_to_face_seconds"), (), _refuse(path)
    ):
        pair = (min(one, other), max(one, other))
        if not seconds.isdigit() or not one or one == other or pair in found:
            _refuse(path)(BadLine(number, text, "not two persons and whole seconds, or a pair that was there before"))
        found[pair] = int(seconds) * 1000
    return found


def _refuse(path: str):  # type: ignore[no-untyped-def]
    def refuse(line: BadLine) -> None:
        raise FileError(f"The file {path} cannot be used, line {line.number}: {line.reason}.")

    return refuse


def shared_times(places: Places, persons: Iterable[str]) -> dict[Pair, list[int]]:
    """The times (ms) of each pair's shared stays."""
    found: dict[Pair, list[int]] = {}
    for person in persons:
        for other, stay in places.shared_stays(person, -_EVER, _EVER, None):
            if person < other:
                found.setdefault((person, other), []).append(stay.end_ms - stay.start_ms)
    return found


def validate(scans: str, faces: str) -> Validation:
    """Compare the two files. Raises FileError."""
    visits = derive_visits(read_scans(scans, _refuse(scans)), Registry())
    persons = sorted({visit.person for visit in visits})
    shared = shared_times(Places.from_visits(visits), persons)
    truth = read_faces(faces)
    close_ms = minimum_ms()
    met = {pair for pair, ms in truth.items() if ms > 0}
    close = {pair for pair, ms in truth.items() if ms >= close_ms}
    rows = []
    for minutes in OVERLAPS:
        pairs = {pair for pair, stays in shared.items() if max(stays) >= minutes * _MINUTE_MS}
        both, both_close = len(pairs & met), len(pairs & close)
        rows.append(
            Row(
                minutes,
                len(pairs),
                both,
                both_close,
                _share(both, len(pairs)),
                _share(both_close, len(pairs)),
                _share(both, len(met)),
                _share(both_close, len(close)),
            )
        )
    shared_ms, near_ms = sum(map(sum, shared.values())), sum(truth.values())
    return Validation(
        visitors=len(persons),
        visits=len(visits),
        sharing_pairs=len(shared),
        face_to_face_pairs=len(met),
        close_minutes=close_ms / _MINUTE_MS,
        close_pairs=len(close),
        shared_hours=round(shared_ms / 60 / _MINUTE_MS, 1),
        face_to_face_hours=round(near_ms / 60 / _MINUTE_MS, 1),
        proximity=round(near_ms / shared_ms, 4) if shared_ms else 0.0,
        outside=sum(ms > sum(shared.get(pair, ())) for pair, ms in truth.items()),
        rows=tuple(rows),
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def markdown(found: Validation) -> str:
    """The tables of the page."""
    close = f"{found.close_minutes:g} min"
    lines = [
        f"{found.visitors:,} visitors, {found.visits:,} visits. Pairs of visitors who shared some time:"
        f" {found.sharing_pairs:,};",
        f"who stood face to face: {found.face_to_face_pairs:,}, {found.close_pairs:,} of them for {close} or more.",
        "",
        f"| overlap of at least | pairs | face to face at all | precision | face to face {close} or more | precision |"
        f" recall, at all | recall, {close} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.minutes} min | {row.pairs:,} | {row.face_to_face:,} | {row.precision:.1%} | {row.close:,} |"
        f" {row.precision_close:.1%} | {row.recall:.1%} | {row.recall_close:.1%} |"
        for row in found.rows
    ]
    lines += [
        "",
        f"Shared time, summed over pairs: {found.shared_hours:,.1f} hours; face to face:"
        f" {found.face_to_face_hours:,.1f} hours. Proximity: **{found.proximity:.3f}**.",
    ]
    return "\n".join(lines)


def write_page(page: Path, text: str) -> None:
    """Put the tables between the page's markers. Raises FileError."""
    try:
        before, begin, rest = page.read_text("utf-8").partition(_BEGIN)
    except OSError as error:
        raise FileError(f"The page {page} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise FileError(f"The page {page} lacks the lines {_BEGIN} and {_END}, between which the tables go.")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def main() -> int:
    """Validate, write the page and the JSON, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.validation", description=__doc__)
    parser.add_argument("scans", metavar="SCANS", help="person, venue, kind, at; CSV or NDJSON, gzip or not")
    parser.add_argument("faces", metavar="FACES", help="person_a, person_b, face_to_face_seconds")
    parser.add_argument("--page", type=Path, default=Path("docs/validation.md"), help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/validation.json"), help="(default: %(default)s)")
    given = parser.parse_args()
    try:
        found = validate(given.scans, given.faces)
        write_page(given.page, markdown(found))
    except (FileError, OSError) as error:
        Console(stderr=True).print(str(error), highlight=False, markup=False)
        return 1
    if found.outside:
        Console(stderr=True).print(
            f"{found.outside} pairs were face to face for longer than they shared a venue: the files do not fit.",
            highlight=False,
        )
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    print(markdown(found))
    print(f"\n{given.page} and {given.output} are written.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m bench.museum LIST...`: the files for `bench.validation`, from the contact lists that SocioPatterns has.

A list is a day: a line `t i j` for each pair of visitors who were face to face in the 20 seconds before t (Unix time).
Out come museum_scans.csv.gz (person, venue, kind, at) with an `in` at the first time that a visitor appears, less 20
seconds, and an `out` at the last; and museum_faces.csv.gz (person_a, person_b, face_to_face_seconds).
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from gateway.files import FileError, format_time, write_rows

_STEP_SECONDS: Final = 20
_VENUE: Final = "science-gallery"

Met = tuple[int, str, str]
"""The end of 20 seconds, and two visitors, in the order of their names."""


def read_list(path: str) -> Iterator[Met]:
    """The lines of one day. Raises FileError."""
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="ascii") as lines:
            for number, line in enumerate(lines, 1):
                fields = line.split()
                if len(fields) != 3 or not fields[0].isdigit() or fields[1] == fields[2]:
                    raise FileError(f"The list {path} cannot be used, line {number}: it is not `t i j`.")
                yield int(fields[0]), *sorted(f"visitor-{name}" for name in fields[1:])  # type: ignore[misc]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"The list {path} cannot be read: {str(error).lower()}.") from error


def convert(lists: Iterable[str], folder: Path) -> tuple[int, int]:
    """Write both files into a folder; how many visitors and pairs they have. Raises FileError."""
    stays: dict[str, tuple[int, int]] = {}
    faces: dict[tuple[str, str], int] = {}
    for path in lists:
        today: dict[str, tuple[int, int]] = {}
        for at, one, other in set(read_list(path)):
            faces[one, other] = faces.get((one, other), 0) + _STEP_SECONDS
            for person in (one, other):
                first, last = today.get(person, (at, at))
                today[person] = min(first, at), max(last, at)
        again = stays.keys() & today.keys()
        if again:
            raise FileError(f"The list {path} has {min(again)}, as an earlier one: a visitor comes on one day only.")
        stays |= today
    scans = [(first - _STEP_SECONDS, person, "in") for person, (first, _) in stays.items()]
    scans += [(last, person, "out") for person, (_, last) in stays.items()]
    write_rows(
        str(folder / "museum_scans.csv.gz"),
        ("person", "venue", "kind", "at"),
        ((person, _VENUE, kind, format_time(1000 * at)) for at, person, kind in sorted(scans)),
    )
    write_rows(
        str(folder / "museum_faces.csv.gz"),
        ("person_a", "person_b", "face_to_face_seconds"),
        ((*pair, seconds) for pair, seconds in sorted(faces.items())),
    )
    return len(stays), len(faces)


def main() -> int:
    """Convert, and say what came out."""
    parser = argparse.ArgumentParser(prog="python -m bench.museum", description=__doc__)
    parser.add_argument("lists", nargs="+", metavar="LIST", help="one file a day, packed with gzip or not")
    parser.add_argument("-o", "--output", type=Path, default=Path("build"), help="a folder (default: %(default)s)")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        visitors, pairs = convert(given.lists, given.output)
    except FileError as error:
        Console(stderr=True).print(str(error), highlight=False, markup=False)
        return 1
    print(f"{visitors} visitors and {pairs} pairs are in {given.output}/museum_scans.csv.gz and museum_faces.csv.gz.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

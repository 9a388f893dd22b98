"""A file of venues that came over HTTP, read as `lacak venues import` reads one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Final, NamedTuple

from contacts.registry import Registry
from gateway.files import BadLine, FileError, read_venues
from schemas.messages import Venue

_FAULTS_MOST: Final = 100
_GZIP: Final = b"\x1f\x8b"


class VenueFile(NamedTuple):
    """What a file holds: records that are taken, how many were known already, how many lines are not taken, and the
    first of those."""

    taken: list[Venue]
    known: int
    rejected: int
    bad: list[BadLine]


def read_venue_body(body: bytes, standing: Registry, serves: Callable[[str], bool]) -> VenueFile:
    """The venues of a body, each checked against the registry as it stands and the lines before. Raises FileError.

    The registry is not changed. For a thread: it takes seconds for the largest body.
    """
    if body.startswith(_GZIP):
        raise FileError("The body is packed with gzip: send it unpacked.")
    bad: list[BadLine] = []
    rejected = 0
    taken: list[Venue] = []
    known = 0
    fresh = Registry()

    def on_bad(line: BadLine) -> None:
        nonlocal rejected
        rejected += 1
        if len(bad) < _FAULTS_MOST:
            bad.append(line)

    def check(venue: Venue) -> None:
        nonlocal known
        if not serves(venue.venue):
            raise ValueError("the device is for other venues")
        standing.check(venue)
        _seed(fresh, standing, venue)
        if fresh.add(venue):
            taken.append(venue)
        else:
            known += 1

    with tempfile.NamedTemporaryFile(prefix="lacak-venues-") as file:
        file.write(body)
        file.flush()
        for _ in read_venues(file.name, on_bad, None, check):
            pass
    return VenueFile(taken, known, rejected, bad)


def _seed(fresh: Registry, standing: Registry, venue: Venue) -> None:
    """Bring what the registry knows of a venue, and of what it would lie within, beside the file's own records."""
    for name in (venue.venue, venue.within, *(standing.ancestors(venue.within) if venue.within else ())):
        if name is not None and not fresh.known(name):
            for record in standing.records(name):
                fresh.add(record)

"""What of a trace is drawn, and in what order: whom of each hop, the letters of places, the band of a risk."""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from schemas.messages import Contact, Trace

_LAST = {"confirmed": 0, "possible": 1, "dismissed": 2}


class Drawing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers of contacts/data/picture.toml: risks at which the colour changes, people and places at most."""

    risk_bands: tuple[float, ...]
    people: int
    places: int


@cache
def drawing() -> Drawing:
    """The numbers in use."""
    return msgspec.convert(tomllib.loads(files("contacts.data").joinpath("picture.toml").read_text("utf-8")), Drawing)


class Hop(NamedTuple):
    """The people of one hop: how many there are, and those who are drawn, in the order of their rows."""

    hop: int
    people: int
    shown: list[Contact]


def hops_drawn(trace: Trace, most: int) -> list[Hop]:
    """Whom to draw of each hop, `most` in all: confirmed first, dismissed last, else those at most risk.

    The hops share the room; what one does not need is the others'. Who exposed somebody drawn is drawn as well, and
    at a later hop those exposed by the same person stand together.
    """
    by_hop: dict[int, list[Contact]] = {}
    for contact in sorted(trace.contacts, key=_rank):
        by_hop.setdefault(contact.hop, []).append(contact)
    room = shares([len(by_hop[hop]) for hop in sorted(by_hop)], most)
    needed: set[str] = set()
    chosen: dict[int, list[Contact]] = {}
    for hop, rows in sorted(zip(sorted(by_hop), room, strict=True), reverse=True):
        first = sorted(by_hop[hop], key=lambda contact: contact.person not in needed)[:rows]
        chosen[hop] = sorted(first, key=_rank)
        needed |= {contact.exposed_by[-1] for contact in first if contact.exposed_by}
    row: dict[str, int] = {}
    found = []
    for hop in sorted(chosen):
        shown = sorted(chosen[hop], key=lambda contact: row.get(exposer(trace, contact), -1))
        row |= {contact.person: len(row) + place for place, contact in enumerate(shown)}
        found.append(Hop(hop, len(by_hop[hop]), shown))
    return found


def _rank(contact: Contact) -> tuple[int, float, float, str]:
    return _LAST[contact.grade], -(contact.risk or 0.0), -contact.minutes, contact.person


def exposer(trace: Trace, contact: Contact) -> str:
    """Who shared the stays of the evidence with a contact."""
    return contact.exposed_by[-1] if contact.exposed_by else trace.person


def shares(wanted: Sequence[int], most: int) -> list[int]:
    """`most` places given out evenly, to nobody more than they want."""
    given = [0] * len(wanted)
    left = min(most, sum(wanted))
    while left:
        open_ = [number for number, want in enumerate(wanted) if given[number] < want]
        each = max(left // len(open_), 1)
        for number in open_[:left]:
            more = min(each, wanted[number] - given[number], left)
            given[number] += more
            left -= more
    return given


def letters(venues: Iterable[str]) -> dict[str, str]:
    """A, B, ... Z, AA, AB, ... for venues, in the order in which they come."""
    found: dict[str, str] = {}
    for venue in dict.fromkeys(venues):
        number, letter = len(found), ""
        while number >= 0:
            number, digit = divmod(number, 26)
            letter, number = chr(65 + digit) + letter, number - 1
        found[venue] = letter
    return found


def band(risk: float | None, bands: Sequence[float]) -> int | None:
    """The number of the band that a risk lies in; None where none is known."""
    return None if risk is None else bisect_right(bands, risk)


def short(names: Iterable[str], most: int = 18) -> dict[str, str]:
    """Names cut to so many characters, so that they still differ: the beginning, else the beginning and the end."""
    cut = {name: name if len(name) <= most else f"{name[: most - 1]}…" for name in names}
    same: dict[str, int] = {}
    for words in cut.values():
        same[words] = same.get(words, 0) + 1
    tail = most // 2
    return {
        name: words if same[words] == 1 else f"{name[: most - tail - 1]}…{name[-tail:]}" for name, words in cut.items()
    }

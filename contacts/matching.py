"""Who is a contact: a profile's minimum over the time that stays share.

What one partition of `visits` may leave out it leaves out (`may_count`); a sum over 24 hours goes over all venues and
is made where all answers meet (`contacts_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from contacts.profiles import Profile
from schemas.messages import Contact, SharedStay

DAY_MS = 86_400_000
_MINUTE_MS = 60_000

Shared = tuple[str, SharedStay]
"""Another person, and one stay of theirs that shares time with one of the case's."""

Category = Callable[[str, int], str]
"""The category of a venue at a time (ms)."""


def may_count(shared: Iterable[Shared], profile: Profile, category: Category) -> list[Shared]:
    """What of one partition's rows can make a contact: with a minimum in one stay those that reach it, else all."""
    rows = list(shared)
    if profile.contact.per == "stay":
        rows = [row for row in rows if profile.enough(row[1].minutes, category(row[1].venue, row[1].start_ms))]
    return rows


def contacts_of(shared: Iterable[Shared], profile: Profile, case_person: str) -> list[Contact]:
    """The contacts, each with all evidence, in order of their names.

    `shared` has been through `may_count`. A contact's minutes are the union of the shared time, in minutes.
    """
    rows = sorted(
        (row for row in shared if row[0] != case_person),
        key=lambda row: (row[0], row[1].start_ms, row[1].venue, row[1].end_ms),
    )
    contacts = []
    for person, group in groupby(rows, key=lambda row: row[0]):
        evidence = tuple(stay for _, stay in group)
        if profile.contact.per == "24h" and not profile.enough(most_in_a_day(evidence) / _MINUTE_MS, ""):
            continue
        contacts.append(Contact(person=person, minutes=shared_minutes(evidence), rule=profile.rule, evidence=evidence))
    return contacts


def shared_minutes(evidence: Iterable[SharedStay]) -> float:
    """The minutes of shared time, counted once."""
    return sum(end - start for start, end in _union(evidence)) / _MINUTE_MS


def most_in_a_day(evidence: Iterable[SharedStay]) -> int:
    """The most shared time (ms, over all venues, counted once) in any 24 hours.

    The time shared within a sliding day rises and falls in straight lines that bend only where a piece of shared time
    begins or ends at one of the day's borders, so one of those days holds the most.
    """
    pieces = _union(evidence)
    begins = [start for start, _ in pieces] + [end - DAY_MS for _, end in pieces]
    return max(
        (sum(max(0, min(end, begin + DAY_MS) - max(start, begin)) for start, end in pieces) for begin in begins),
        default=0,
    )


def _union(evidence: Iterable[SharedStay]) -> list[tuple[int, int]]:
    pieces: list[tuple[int, int]] = []
    for start, end in sorted((stay.start_ms, stay.end_ms) for stay in evidence):
        if pieces and start <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], max(pieces[-1][1], end))
        else:
            pieces.append((start, end))
    return pieces

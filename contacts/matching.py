"""Who is a contact: a profile's minimum over the time that stays share.

What one partition of `visits` may leave out it leaves out (`may_count`); a sum over 24 hours goes over all venues and
is made where all answers meet (`contacts_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

import msgspec

from contacts.profiles import Profile
from contacts.rules.clea import risk_of_slot
from contacts.scoring import Course, Score, score_by_day, sum_by_day, total
from contacts.spans import Span, most_in_a_day, union
from schemas.messages import Contact, Direction, SharedStay

_MINUTE_MS = 60_000

Shared = tuple[str, SharedStay]
"""Another person, and one stay of theirs that shares time with one of the case's."""

Category = Callable[[str, int], str]
"""The category of a venue at a time (ms)."""


def may_count(
    shared: Iterable[Shared], profile: Profile, category: Category | None, direction: Direction = "forward"
) -> list[Shared]:
    """What of one partition's rows can make a contact: with a minimum in one stay those that reach it, else all.

    Their minutes are as the profile counts them. Where it has rules for slots, a row's score is its slot's risk.
    Without `category` each stay says its own.
    """
    rows = []
    for person, stay in shared:
        kind = ""
        if profile.contact.per == "stay":
            kind = stay.category if category is None else category(stay.venue, stay.start_ms)
        minutes = profile.minutes(stay.start_ms, stay.end_ms)
        if profile.contact.per == "stay" and not profile.enough(minutes, kind):
            continue
        score = None
        if profile.slots:
            score = risk_of_slot(profile.slot_rule(kind), direction, cases=1)
            if score is None:
                continue
        if minutes != stay.minutes or score is not None:
            stay = msgspec.structs.replace(stay, minutes=minutes, score=score)
        rows.append((person, stay))
    return rows


def contacts_of(
    shared: Iterable[Shared], profile: Profile, case_person: str, course: Course | None = None
) -> list[Contact]:
    """The contacts, each with all evidence, in order of their names.

    `shared` has been through `may_count`. A contact's minutes are the union of the shared time, in minutes. Where the
    profile scores and the case's dates (`course`) are given, contacts are those with a score, and only what has one is
    evidence. Tracing backward there is no score: nobody knows how infectious the other was.
    """
    rows = sorted(
        (row for row in shared if row[0] != case_person),
        key=lambda row: (row[0], row[1].start_ms, row[1].venue, row[1].end_ms),
    )
    contacts = []
    for person, group in groupby(rows, key=lambda row: row[0]):
        evidence = tuple(stay for _, stay in group)
        if profile.contact.per == "24h" and not profile.enough(most_in_a_day(_spans(evidence)) / _MINUTE_MS, ""):
            continue
        found = Contact(person=person, minutes=0.0, rule=profile.rule, evidence=evidence)
        if profile.score is not None and course is not None:
            found = _scored(found, profile.score, course)
            if found.level is None:
                continue
        elif profile.slots:
            found = msgspec.structs.replace(found, score=max(stay.score or 0.0 for stay in evidence))
        minutes = sum(profile.minutes(start, end) for start, end in union(_spans(found.evidence)))
        contacts.append(msgspec.structs.replace(found, minutes=minutes))
    return contacts


def shared_minutes(evidence: Iterable[SharedStay]) -> float:
    """The minutes of shared time, counted once."""
    return sum(end - start for start, end in union(_spans(evidence))) / _MINUTE_MS


def _scored(contact: Contact, score: Score, course: Course) -> Contact:
    """With the score of each stay, of the worst day, and its level; without what counts nothing."""
    days = [score_by_day(stay.start_ms, stay.end_ms, score, course) for stay in contact.evidence]
    worst = max(sum_by_day(days).values(), default=0.0)
    scored = zip(contact.evidence, map(total, days), strict=True)
    evidence = tuple(msgspec.structs.replace(stay, score=each) for stay, each in scored if each > 0)
    return msgspec.structs.replace(contact, evidence=evidence, score=worst, level=score.label(worst))


def _spans(evidence: Iterable[SharedStay]) -> list[Span]:
    return [(stay.start_ms, stay.end_ms) for stay in evidence]

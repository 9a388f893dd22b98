"""Admission: one answer to who asks to come in, from their status, what the place asks, and how full it is.

docs/door.md says in which order the questions are asked, and what each reason means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from contacts.doorrows import EntryRow
from contacts.doorrules import Requirements
from schemas.health import COLOURS, AgeBand, Colour, NegativeTest
from schemas.messages import Fallback

Outcome = Literal["admit", "check", "refuse", "full"]
Reason = Literal[
    "welcome",
    "unknown",  # nothing is known of the person: the staff look at the papers
    "colour",  # this colour comes in only after a check, or not at all
    "age",  # this age may not come in
    "doses",
    "test",
    "escort_missing",  # no adult checks in together with them
    "escort_colour",  # an adult does, of a colour that may not bring them
    "closed",
    "full",
    "stale",  # the door knows too little: its copies are too old
    "no_rule",  # no rule is in force here
    "staff",  # the staff have looked, and said no
]
_SEVERITY: Final[dict[Outcome, int]] = {"admit": 0, "check": 1, "full": 2, "refuse": 3}
_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_CHILDREN: Final[frozenset[AgeBand | None]] = frozenset(("0-5", "6-11", "12-17"))


class Visitor(NamedTuple):
    """Somebody who asks to come in, as the gateway's copy of the statuses has them.

    `known`: there is a status. `status_age_ms`: how old that copy is (not how long ago the status changed); None: there
    is no copy. `age_band` is that of the status or, where it says none, what the person or the staff say.
    `escorted_by`: colours of adults who came with them but are not in the question.
    """

    colour: Colour = "unknown"
    known: bool = False
    doses: int = 0
    full: bool = False
    booster: bool = False
    negatives: tuple[NegativeTest, ...] = ()
    age_band: AgeBand | None = None
    status_age_ms: int | None = 0
    escorted_by: tuple[Colour, ...] = ()


class Load(NamedTuple):
    """How full a venue is: `inside` by the last count and the gateway's unsent scans; `allowed` None: no limit.

    `age_ms`: how old the copy of the counts is; None: there is none. `already`: how many of those who ask are known to
    be in `inside`, as when they are in the mall and ask to enter a shop.
    """

    venue: str
    inside: int
    allowed: int | None
    age_ms: int | None = 0
    already: int = 0


class Limits(NamedTuple):
    """From which age on a copy says too little."""

    status_ms: int
    load_ms: int


class Decision(NamedTuple):
    """The answer. `who`: whose status it comes from (place in the question), -1: nobody's. `colour`: theirs.

    `venue`: which one is full. `row`: the id of the row that asked for what is missing. `stay_until_ms`: how long those
    admitted may stay, if a rule says so.
    """

    outcome: Outcome
    reason: Reason
    who: int = -1
    colour: Colour = "unknown"
    venue: str = ""
    row: str = ""
    stay_until_ms: int | None = None


class _Verdict(NamedTuple):
    outcome: Outcome
    reason: Reason
    row: str = ""


_CLOSED: Final = Decision("refuse", "closed")
_WELCOME: Final = _Verdict("admit", "welcome")
_ADMITTED: Final = {colour: Decision("admit", "welcome", 0, colour) for colour in COLOURS}
_MAY_STAY: Final = ("admit", "check")


def decide(
    visitors: Visitor | Sequence[Visitor],
    requirements: Requirements,
    loads: Sequence[Load],
    fallback: Fallback,
    at_ms: int,
    limits: Limits,
) -> Decision:
    """Whether the visitor may come in, or the group as a whole: all of them or none.

    `requirements` are those of the day that `at_ms` is in; `loads` are the venue and every one it lies within, nearest
    first. Of several answers the strictest is given: refuse, full, check, admit.
    """
    group: Sequence[Visitor] = (visitors,) if isinstance(visitors, Visitor) else visitors
    if not group:
        raise ValueError("nobody asks")
    if requirements.open is not None and not requirements.is_open(at_ms):
        return _CLOSED
    adults = () if len(group) == 1 else tuple(each.colour for each in group if each.age_band not in _CHILDREN)
    best, severity = _ADMITTED[group[0].colour], 0
    for who, visitor in enumerate(group):
        verdict = _judge(visitor, requirements, adults, fallback, at_ms, limits)
        if verdict is not _WELCOME and _SEVERITY[verdict.outcome] > severity:
            best, severity = _of(verdict, who, visitor.colour), _SEVERITY[verdict.outcome]
    for load in loads:
        verdict = _crowd(load, len(group), fallback, limits)
        if verdict is not _WELCOME and _SEVERITY[verdict.outcome] > severity:
            best, severity = _of(verdict, -1, group[0].colour, load.venue), _SEVERITY[verdict.outcome]
    if requirements.room is not None and (minutes := requirements.room.longest_stay_minutes) is not None:
        return best._replace(stay_until_ms=at_ms + minutes * _MINUTE_MS) if best.outcome in _MAY_STAY else best
    return best


def _of(verdict: _Verdict, who: int, colour: Colour, venue: str = "") -> Decision:
    return Decision(verdict.outcome, verdict.reason, who, colour, venue, verdict.row)


def _judge(
    visitor: Visitor,
    requirements: Requirements,
    adults: tuple[Colour, ...],
    fallback: Fallback,
    at_ms: int,
    limits: Limits,
) -> _Verdict:
    """What is said of one person, were the place empty."""
    row = requirements.by_age[visitor.age_band]
    if row is None:
        return _Verdict(fallback, "no_rule")
    stale = visitor.status_age_ms is None or visitor.status_age_ms > limits.status_ms
    if stale and not visitor.known:
        return _Verdict(fallback, "stale", row.id)
    verdict = _health(visitor, row, adults, at_ms)
    if stale and _SEVERITY[fallback] > _SEVERITY[verdict.outcome]:
        return _Verdict(fallback, "stale", row.id)  # never milder than the last that was known
    return verdict


def _health(visitor: Visitor, row: EntryRow, adults: tuple[Colour, ...], at_ms: int) -> _Verdict:
    colour = visitor.colour
    if not row.colours and not row.checked:
        return _Verdict("refuse", "age" if row.ages else "colour", row.id)
    if colour not in row.colours:
        checked = colour in row.checked
        return _Verdict("check" if checked else "refuse", "unknown" if colour == "unknown" else "colour", row.id)
    if row.escort:
        brought_by = (*visitor.escorted_by, *adults)
        if not any(each in row.escort for each in brought_by):
            if "unknown" in brought_by:
                return _Verdict("check", "unknown", row.id)
            return _Verdict("refuse", "escort_colour" if brought_by else "escort_missing", row.id)
    if visitor.doses < row.doses or (row.full and not visitor.full) or (row.booster and not visitor.booster):
        return _Verdict("check" if row.papers else "refuse", "doses", row.id)
    if row.negatives and not any(_recent(test, row, at_ms) for test in visitor.negatives):
        return _Verdict("check" if row.papers else "refuse", "test", row.id)
    return _WELCOME


def _recent(test: NegativeTest, row: EntryRow, at_ms: int) -> bool:
    """Whether a negative test is of a kind and an age that the row takes; the last moment counts."""
    hours = row.negatives.get(test.test)
    return hours is not None and 0 <= at_ms - test.specimen_ms <= hours * _HOUR_MS


def _crowd(load: Load, group: int, fallback: Fallback, limits: Limits) -> _Verdict:
    """What the count of one venue says: there must be room for all who are not inside already."""
    more = group - load.already
    if load.allowed is None or more <= 0:
        return _WELCOME
    if load.age_ms is None or load.age_ms > limits.load_ms:
        return _Verdict(fallback, "stale")
    return _Verdict("full", "full") if load.inside + more > load.allowed else _WELCOME

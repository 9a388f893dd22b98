"""The colour of a person at a time: what is known, under the rules in force then.

Black goes before all else; who is not known is unknown; then the first row that holds gives the colour. Nothing here
reads a clock or depends on the order in which records came. docs/colours.md says it in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args
from zoneinfo import ZoneInfo

from contacts.black import CASE, Span, black_spans, had_at
from contacts.colourfile import ColourRulesError, Reason
from contacts.colourrules import HOUR_MS, ColourRules, Ruling, SetInForce, Verdict, load_colour_rules, read_colour_rules
from contacts.facts import Facts, Sorted
from contacts.vaccines import NOTHING, Had
from schemas.health import AgeBand, Colour, NegativeTest
from schemas.messages import TestKind

__all__ = [
    "ColourRules",
    "ColourRulesError",
    "Facts",
    "Judgement",
    "Summary",
    "colour_of",
    "load_colour_rules",
    "read_colour_rules",
    "summary",
]

_KINDS: tuple[TestKind, ...] = get_args(TestKind)
_NEVER = 2**63
_ALWAYS = -_NEVER


class Judgement(NamedTuple):
    """A colour at a time, and why.

    Colour, rule and reason are the same in all of `[since_ms, until_ms)`. `until_ms` is when they, or what `summary`
    says, may differ although nothing is told; None is never. `facts_used`: the records that it rests on, sorted.
    """

    colour: Colour
    since_ms: int
    until_ms: int | None
    rule: str
    reason: Reason
    facts_used: tuple[str, ...]


class Summary(NamedTuple):
    """What a door may ask besides the colour: doses had, and the newest negative test of each kind."""

    doses: int
    full: bool
    booster: bool
    age_band: AgeBand | None
    negatives: tuple[NegativeTest, ...]


class _Good(NamedTuple):
    """Something good that holds in `[start_ms, end_ms)`, by a record."""

    start_ms: int
    end_ms: int
    record_id: str


class _Case(NamedTuple):
    """A person before the rules of one set: all that a verdict depends on besides the time."""

    in_force: SetInForce
    age: AgeBand
    known_ms: int
    history: Sequence[Had]
    black: Sequence[Span]
    recovered: Sequence[_Good]
    negative: Sequence[_Good]


def colour_of(facts: Facts, at_ms: int, rules: ColourRules, zone: ZoneInfo, *, used: bool = True) -> Judgement:
    """The colour at a time, exact to the millisecond, of who these facts are about.

    Without `used` it is not worked out on which records it rests: for those who are told a colour and no reasons.
    """
    known = facts.by_kind()
    in_force = rules.in_force(at_ms, zone)
    if in_force is None:
        until_ms = _told_until(known, at_ms, rules.first_ms(zone))
        return Judgement("unknown", min(at_ms, 0), until_ms, rules.no_rules.rule, "no_rules", ())
    case = _case(facts, known, rules, in_force, zone)
    ruling = _verdict(case, at_ms)
    colour, reason, rule = ruling[0]
    since_ms, last_ms = _holds(case, ruling[0], at_ms)
    until_ms = _told_until(known, at_ms, last_ms)
    rests_on = _used(case, known, ruling, at_ms) if used else ()
    return Judgement(colour, since_ms, until_ms, rule, reason, rests_on)


def summary(facts: Facts, at_ms: int, rules: ColourRules) -> Summary:
    """What a door may ask besides the colour, at a time."""
    known = facts.by_kind()
    had = had_at(facts.history(rules.vaccines), at_ms)
    negatives: tuple[NegativeTest, ...] = ()
    if known.negatives:
        newest: dict[TestKind, int] = {}
        for specimen_ms, result_ms, kind, _ in known.negatives:
            if result_ms <= at_ms and specimen_ms > newest.get(kind, _ALWAYS):
                newest[kind] = specimen_ms
        negatives = tuple(NegativeTest(test=kind, specimen_ms=newest[kind]) for kind in _KINDS if kind in newest)
    return Summary(had.doses, had.full, had.booster, None if known.age is None else known.age[1], negatives)


def _case(facts: Facts, known: Sorted, rules: ColourRules, in_force: SetInForce, zone: ZoneInfo) -> _Case:
    history = facts.history(rules.vaccines)
    black: Sequence[Span] = ()
    recovered: Sequence[_Good] = ()
    negative: Sequence[_Good] = ()
    if known.positives or known.contacts or known.travels:
        black = black_spans(known, history, rules, in_force, zone)
    if in_force.asks_recovered and (black or known.recoveries):
        recovered = _recovered(known, black, in_force)
    if in_force.asks_negative and known.negatives:
        hours = in_force.table.negative_hours
        negative = [
            _Good(result_ms, specimen_ms + hours[kind] * HOUR_MS + 1, record_id)  # the last millisecond included
            for specimen_ms, result_ms, kind, record_id in known.negatives
            if kind in hours
        ]
    age = in_force.assumed_age if known.age is None else known.age[1]
    return _Case(in_force, age, _known_ms(known, in_force), history, black, recovered, negative)


def _recovered(known: Sorted, black: Sequence[Span], in_force: SetInForce) -> list[_Good]:
    from_ms = [(recovered_ms, record_id) for recovered_ms, record_id in known.recoveries]
    if in_force.table.case is not None and in_force.table.case.recovers:
        from_ms += [(span.end_ms, span.record_id) for span in black if span.reason == CASE]
    return [_Good(at_ms, in_force.recovered_until(at_ms), record_id) for at_ms, record_id in from_ms]


def _known_ms(known: Sorted, in_force: SetInForce) -> int:
    """Since when the person is known."""
    known_by, since_ms = in_force.known_by, _NEVER
    if known.age is not None and "person" in known_by:
        return _ALWAYS
    if known.doses and "vaccination" in known_by:
        since_ms = known.doses[0][0]
    if "test" in known_by:
        for result_ms, _, _ in known.positives:
            since_ms = min(since_ms, result_ms)
        for _, result_ms, _, _ in known.negatives:
            since_ms = min(since_ms, result_ms)
    if "recovery" in known_by:
        for recovered_ms, _ in known.recoveries:
            since_ms = min(since_ms, recovered_ms)
    return since_ms


def _verdict(case: _Case, at_ms: int) -> Ruling:
    """The ruling at a time while the set is in force."""
    in_force, age, known_ms, history, black, recovered, negative = case
    if black:
        first = _NEVER
        for start_ms, end_ms, reason, _ in black:
            if start_ms <= at_ms < end_ms and reason < first:
                first = reason
        if first != _NEVER:
            return in_force.black[first]
    if at_ms < known_ms:
        return in_force.no_record
    has_recovered = is_negative = False
    for start_ms, end_ms, _ in recovered:
        if start_ms <= at_ms < end_ms:
            has_recovered = True
            break
    for start_ms, end_ms, _ in negative:
        if start_ms <= at_ms < end_ms:
            is_negative = True
            break
    had = NOTHING
    for step in history:
        if step[0] > at_ms:
            break
        had = step
    return in_force.ruling(age, had, has_recovered, is_negative)


def _holds(case: _Case, verdict: Verdict, at_ms: int) -> tuple[int, int | None]:
    """From when until when the verdict at a time is the same, within the time that the set is in force."""
    first_ms, last_ms = case.in_force.since_ms, case.in_force.until_ms
    points = {step[0] for step in case.history}
    points.add(case.known_ms)
    for spans in (case.black, case.recovered, case.negative):
        for span in spans:
            points.add(span[0])
            points.add(span[1])
    begin_ms = first_ms
    before = sorted([point for point in points if first_ms < point <= at_ms], reverse=True)
    for place, point in enumerate(before, 1):
        if _verdict(case, before[place] if place < len(before) else first_ms)[0] != verdict:
            begin_ms = point
            break
    end_ms = _NEVER if last_ms is None else last_ms
    for point in sorted([point for point in points if at_ms < point < end_ms]):
        if _verdict(case, point)[0] != verdict:
            return begin_ms, point
    return begin_ms, last_ms


def _told_until(known: Sorted, at_ms: int, until_ms: int | None) -> int | None:
    """`until_ms`, or when before that a fact that a summary tells of takes effect."""
    if known.doses and known.doses[-1][0] > at_ms:
        for dose_ms, _, _, _ in known.doses:
            if dose_ms > at_ms and (until_ms is None or dose_ms < until_ms):
                until_ms = dose_ms
    for _, result_ms, _, _ in known.negatives:
        if result_ms > at_ms and (until_ms is None or result_ms < until_ms):
            until_ms = result_ms
    return until_ms


def _used(case: _Case, known: Sorted, ruling: Ruling, at_ms: int) -> tuple[str, ...]:
    """The records that a ruling rests on."""
    verdict, row = ruling
    used: list[str] = []
    if verdict.colour == "black":
        place = case.in_force.black.index(ruling)
        used = _holding([span for span in case.black if span.reason == place], at_ms)
    elif row is not None:
        if row.recovered:
            used += _holding(case.recovered, at_ms)
        if row.negative:
            used += _holding(case.negative, at_ms)
        if row.counts_doses or not used:
            used += [record_id for dose_ms, _, _, record_id in known.doses if dose_ms <= at_ms]
        if row.of_age and known.age is not None:
            used.append(known.age[2])
    elif known.age is not None and verdict.reason == "no_row":
        used.append(known.age[2])
    used.sort()
    return tuple(used)


def _holding(spans: Sequence[Span] | Sequence[_Good], at_ms: int) -> list[str]:
    return [each.record_id for each in spans if each.start_ms <= at_ms < each.end_ms]

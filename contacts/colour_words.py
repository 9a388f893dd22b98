"""A person's colour in words: why, since when, until when, by which records, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contacts.black import BLACK_FACTS, CASE, CONTACT, Span, black_spans
from contacts.colourfile import Exit, NeededTest
from contacts.colourrules import ColourRules, Row, SetInForce
from contacts.colours import Judgement, colour_of
from contacts.facts import AgeRow, ContactRow, DoseRow, Facts, RecoveryRow, TestRow, TravelRow
from contacts.facts import Row as FactRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_MS = 1000
_BETTER = ("green", "yellow", "red")
_REASONS = {
    "case": "a positive test",
    "contact": "a contact of a case",
    "arrival": "arrived from abroad, in quarantine",
    "doses": "by the doses had",
    "booster": "a booster",
    "recovered": "recovered not long ago",
    "test": "a recent negative test",
    "no_record": "nothing is known of the person: the staff look at the papers",
    "no_row": "no rule is about people of this age: the staff look at the papers",
    "no_rules": "no rules are in force yet",
}


class Explanation(NamedTuple):
    """A judgement in words. `then` is the one at its `until_ms`, if it has one; `facts` are records and what they say;
    `changes` are sentences, the nearest change first."""

    judgement: Judgement
    why: str
    source: str
    disputed: bool
    then: Judgement | None
    facts: list[tuple[str, str]]
    changes: list[str]


def explain(facts: Facts, at_ms: int, rules: ColourRules, zone: ZoneInfo) -> Explanation:
    """The colour at a time, and all that there is to say about it."""
    found = colour_of(facts, at_ms, rules, zone)
    in_force = rules.in_force(at_ms, zone)
    then = None if found.until_ms is None else colour_of(facts, found.until_ms, rules, zone)
    source, disputed = ("", False) if in_force is None else _source(found, in_force)
    changes = [] if in_force is None else list(_changes(facts, at_ms, found, rules, in_force, zone))
    used = [(record_id, says(facts.rows[record_id], zone)) for record_id in found.facts_used]
    return Explanation(found, _REASONS[found.reason], source, disputed, then, used, changes)


def reason_words(judgement: Judgement) -> str:
    """Why a colour is what it is."""
    return _REASONS[judgement.reason]


def when(at_ms: int, zone: ZoneInfo) -> str:
    """A time of a zone, to the minute, or as exactly as it is given: `2022-02-20 15:00`."""
    try:
        moment = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).replace(tzinfo=None)
    except OverflowError:
        return f"{at_ms} ms"
    exact = "milliseconds" if at_ms % _SECOND_MS else "seconds" if moment.second else "minutes"
    return moment.isoformat(" ", exact)


def says(row: FactRow, zone: ZoneInfo) -> str:
    """What a record says."""
    match row:
        case TestRow():
            outcome = "positive" if row.positive else "negative"
            return f"{row.test} {outcome}, sample {when(row.specimen_ms, zone)}, result {when(row.result_ms, zone)}"
        case DoseRow():
            return f"dose{f' {row.number}' if row.number else ''} of {row.product}, {when(row.at_ms, zone)}"
        case RecoveryRow():
            return f"recovered, {when(row.recovered_ms, zone)}"
        case AgeRow():
            return f"age {row.age_band}"
        case ContactRow():
            risk = "" if row.risk < 0 else f", risk {row.risk:.2g}"
            return f"{row.grade} contact, registered {when(row.registered_ms, zone)}{risk}"
        case TravelRow():
            return f"arrived from {row.country}, {when(row.end_ms, zone)}"
    return "withdrawn"


def _source(found: Judgement, in_force: SetInForce) -> tuple[str, bool]:
    table = in_force.table
    rule = {"case": table.case, "contact": table.contact}.get(found.reason)
    if rule is None:
        return table.source, table.disputed
    return rule.source or table.source, rule.disputed or table.disputed


def _changes(
    facts: Facts, at_ms: int, found: Judgement, rules: ColourRules, in_force: SetInForce, zone: ZoneInfo
) -> Iterator[str]:
    known = facts.by_kind()
    if found.colour == "black":
        spans = black_spans(known, facts.history(rules.vaccines), rules, in_force, zone)
        for span in spans:
            if span.start_ms <= at_ms < span.end_ms:
                yield from _ways_out(span, in_force, zone)
        return
    age = in_force.assumed_age if known.age is None else known.age[1]
    rank = _BETTER.index(found.colour) if found.colour in _BETTER else len(_BETTER)
    for colour in _BETTER[:rank]:
        asks = [_asks(row, in_force) for row in in_force.rows[age] if row.verdict.colour == colour]
        if asks:
            yield f"It would be {colour} with {', or with '.join(dict.fromkeys(asks))}."
    if in_force.black_reasons:
        yield f"It would be black as {', or as '.join(BLACK_FACTS[reason] for reason in in_force.black_reasons)}."


def _ways_out(span: Span, in_force: SetInForce, zone: ZoneInfo) -> Iterator[str]:
    name = BLACK_FACTS[span.reason]
    yield f"As {name} ({span.record_id}) black ends on {when(span.end_ms, zone)} if nothing is told."
    table = in_force.table
    rule = (table.case, table.contact, None)[span.reason]
    for way in rule.exits if rule is not None else ():
        yield _way(way, span.start_ms, in_force, zone)
    if span.reason == CASE:
        yield "It ends at once if the laboratory withdraws the test."
    elif span.reason == CONTACT:
        yield "It ends at once if an officer dismisses the contact."


def _way(way: Exit, start_ms: int, in_force: SetInForce, zone: ZoneInfo) -> str:
    begin = in_force.days.begin
    tests = ", and ".join(_needed(test, start_ms, in_force, zone) for test in way.tests)
    apart = f", samples at least {way.apart_hours} h apart" if way.apart_hours else ""
    least = f", not before {when(begin(start_ms, way.clears_from_day), zone)}" if way.clears_from_day else ""
    return f"It ends earlier with {tests}{apart}: as soon as the results are there{least}."


def _needed(test: NeededTest, start_ms: int, in_force: SetInForce, zone: ZoneInfo) -> str:
    begin = in_force.days.begin
    last = "" if test.to_day is None else f" and before {when(begin(start_ms, test.to_day + 1), zone)}"
    return f"a negative {' or '.join(test.kinds)} sampled from {when(begin(start_ms, test.from_day), zone)} on{last}"


def _asks(row: Row, in_force: SetInForce) -> str:
    """What a row asks, as it follows `with`."""
    asked = []
    if row.doses:
        asked.append(f"{row.doses} dose{'s' if row.doses > 1 else ''}")
    if row.full:
        asked.append("a complete course")
    if row.booster:
        asked.append("a booster")
    if row.recovered:
        within = in_force.table.recovered_within
        assert within is not None
        asked.append(f"recovery less than {f'{within.months} months' if within.months else f'{within.days} days'} ago")
    if row.negative:
        hours = in_force.table.negative_hours
        asked.append(f"a negative {' or '.join(f'{kind} at most {hours[kind]} h old' for kind in hours)}")
    return " and ".join(asked) or "anything known"

"""When a person is black, and why: the spans that positive tests, contacts and arrivals from abroad make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contacts.colourfile import Exit
from contacts.colourrules import HOUR_MS, ColourRules, SetInForce
from contacts.days import Days
from contacts.facts import Sorted
from contacts.vaccines import NOTHING, Had
from schemas.messages import TestKind

CASE, CONTACT, ARRIVAL = range(3)  # places in colourrules.BLACK_REASONS
BLACK_FACTS = "a case", "a contact", "an arrival from abroad"
"""What a person is who is black for each of BLACK_REASONS."""

Negative = tuple[int, int, TestKind, str]


class Span(NamedTuple):
    """Black in `[start_ms, end_ms)` for the reason at this place of BLACK_REASONS, by this record."""

    start_ms: int
    end_ms: int
    reason: int
    record_id: str


def black_spans(
    known: Sorted, history: Sequence[Had], rules: ColourRules, in_force: SetInForce, zone: ZoneInfo
) -> list[Span]:
    """All spans that these rules make of what is known, whenever they lie; none of them is empty."""
    table, days, found = in_force.table, in_force.days, []
    if table.case is not None:
        for result_ms, kind, record_id in known.positives:
            if kind in table.case.kinds:
                end_ms = _end(result_ms, table.case.until_day, table.case.exits, known.negatives, days)
                found.append(Span(result_ms, end_ms, CASE, record_id))
    if table.contact is not None:
        least = table.contact.possible_from_risk
        for registered_ms, grade, risk, record_id in known.contacts:
            if grade == "confirmed" or (grade == "possible" and least is not None and risk >= least):
                end_ms = _end(registered_ms, table.contact.until_day, table.contact.exits, known.negatives, days)
                found.append(Span(registered_ms, end_ms, CONTACT, record_id))
    if table.black_on_arrival:
        for arrival_ms, country, record_id in known.travels:
            if country != in_force.home:
                had = had_at(history, arrival_ms)
                end_ms = arrival_ms + rules.quarantine_ms(arrival_ms, zone, country, had)
                found.append(Span(arrival_ms, end_ms, ARRIVAL, record_id))
    return [span for span in found if span.start_ms < span.end_ms]


def had_at(history: Sequence[Had], at_ms: int) -> Had:
    """What a person has had at a time."""
    last = NOTHING
    for step in history:
        if step.at_ms > at_ms:
            break
        last = step
    return last


def _end(start_ms: int, until_day: int, exits: Sequence[Exit], negatives: Sequence[Negative], days: Days) -> int:
    end_ms = days.begin(start_ms, until_day)
    if exits and negatives:
        day_ms = days.begin(start_ms)
        later = [each for each in negatives if each[0] >= day_ms]
        if later:
            for way in exits:
                opens_ms = _opens(start_ms, way, later, days)
                if opens_ms is not None and opens_ms < end_ms:
                    end_ms = opens_ms
    return end_ms


def _opens(start_ms: int, way: Exit, negatives: Sequence[Negative], days: Days) -> int | None:
    """When a way out opens; None: not with these tests."""
    apart_ms = way.apart_hours * HOUR_MS
    # (sample of the last test, when all results are there) of every choice of tests so far
    choices: list[tuple[int | None, int]] = [(None, days.begin(start_ms, way.clears_from_day))]
    for needed in way.tests:
        first_ms = days.begin(start_ms, needed.from_day)
        last_ms = None if needed.to_day is None else days.begin(start_ms, needed.to_day + 1)
        choices = [
            (specimen_ms, max(there_ms, result_ms))
            for before_ms, there_ms in choices
            for specimen_ms, result_ms, kind, _ in negatives
            if kind in needed.kinds
            and specimen_ms >= first_ms
            and (last_ms is None or specimen_ms < last_ms)
            and (before_ms is None or (specimen_ms > before_ms and specimen_ms - before_ms >= apart_ms))
        ]
    return min((there_ms for _, there_ms in choices), default=None)

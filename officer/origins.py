"""The common origins of cases, from their backward traces: with names, for officers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from contacts.risk import Risk
from contacts.sources import Attendance, CaseStays, Exposed, Origin, Place, Spreader, people, places, slot_ms
from officer.exports import utc
from officer.store import CaseFacts
from schemas.messages import Trace

CSV_COLUMNS = ("what", "name", "start", "end", "cases", "observed", "expected", "ratio", "chance", "score", "risk")
"""`what` is `place` (over the whole time), `time` (at the place above) or `person`; `cases` names the cases."""

Presence = Callable[[Sequence[str], int, int], tuple[list[tuple[str, int, int]], dict[int, int]]]
"""How long people were at venues between two times (ms), and everywhere, by slot; `Store.presence`."""


class Origins(NamedTuple):
    """What cases have in common: numbers in `places` are of `cases` and `venues`, those in `people` of `persons`."""

    cases: list[str]
    venues: list[str]
    persons: list[str]
    places: list[Place]
    people: list[Spreader]


class _Stay(NamedTuple):
    case: int
    venue: str
    start: int
    end: int
    own: bool


def origins(
    cases: Sequence[CaseFacts],
    traces: Mapping[str, Trace],
    within: Mapping[str, str | None],
    presence: Presence,
    risk: Risk,
    *,
    span: tuple[int, int],
    least_cases: int,
) -> Origins:
    """The places, times and people that may have infected so many of the cases, the most telling first.

    `traces` are the backward traces by person; what lies outside `span` (ms) is left out. A stay counts where the case
    shared time with somebody. Of a case without symptoms the specimen's time stands for the onset's.
    """
    onsets = np.array([case.specimen_ms if case.onset_ms is None else case.onset_ms for case in cases], np.int64)
    stays = sorted(
        {stay for number, case in enumerate(cases) for stay in _stays(number, traces[case.person], within, span)}
    )
    names = sorted({stay.venue for stay in stays})
    found: list[Place] = []
    if stays:
        begin, end = min(stay.start for stay in stays), max(stay.end for stay in stays)
        cells, total = presence(names, begin // slot_ms() * slot_ms(), (end // slot_ms() + 1) * slot_ms())
        number = {name: place for place, name in enumerate(names)}
        columns = [[number[s.venue] if field == 1 else int(s[field]) for s in stays] for field in range(5)]
        case, venue, start, until, own = (np.array(column, np.int64) for column in columns)
        at = np.array([(number[name], slot, ms) for name, slot, ms in cells], np.int64).reshape(-1, 3)
        found = places(
            CaseStays(case, venue, start, until, own != 0), onsets, Attendance(at[:, 0], at[:, 1], at[:, 2], total),
            risk.incubation, least_cases,
        )  # fmt: skip
    persons, met = _met(cases, traces, risk, span)
    likely = [each for each in people(met, onsets, risk.incubation) if len(each.cases) >= least_cases]
    return Origins([case.person for case in cases], names, persons, found, likely)


def _stays(case: int, trace: Trace, within: Mapping[str, str | None], span: tuple[int, int]) -> set[_Stay]:
    """The stays of a case within its window and the span, and again for what their venues lie within."""
    first, last = max(trace.window_start_ms, span[0]), min(trace.window_end_ms, span[1])
    found = set()
    for contact in trace.contacts:
        for stay in contact.evidence:
            start, end = max(stay.case_stay.start_ms, first), min(stay.case_stay.end_ms, last)
            venue, own = stay.venue, True
            while venue and start < end:
                found.add(_Stay(case, venue, start, end, own))
                venue, own = within.get(venue) or "", False
    return found


def _met(
    cases: Sequence[CaseFacts], traces: Mapping[str, Trace], risk: Risk, span: tuple[int, int]
) -> tuple[list[str], Exposed]:
    """Whom the cases met, but for those whom an officer dismissed: names, and the exposures."""
    rows = [
        (number, contact.person, max(stay.start_ms, span[0]), min(stay.end_ms, span[1]), risk.near(stay.category))
        for number, case in enumerate(cases)
        for contact in traces[case.person].contacts
        if contact.grade != "dismissed"
        for stay in contact.evidence
    ]
    rows = [row for row in rows if row[2] < row[3]]
    names = sorted({row[1] for row in rows})
    number = {name: place for place, name in enumerate(names)}
    start, end = (np.array([row[field] for row in rows], np.int64) for field in (2, 3))
    exposure = risk.exposure(end - start, np.array([row[4] for row in rows], np.float64), start - start)
    case, person = np.array([row[0] for row in rows], np.int64), np.array([number[row[1]] for row in rows], np.int64)
    return names, Exposed(case, person, start, exposure)


def rows(found: Origins) -> list[dict[str, object]]:
    """Places, each followed by its times, then people; the fields of CSV_COLUMNS."""
    listed: list[dict[str, object]] = []
    for place in found.places:
        listed.append(_origin(found, "place", place.whole))
        listed += [_origin(found, "time", each) for each in place.times]
    listed += [
        {
            "what": "person",
            "name": found.persons[each.person],
            "cases": [found.cases[case] for case in each.cases],
            "observed": len(each.cases),
            "risk": each.risk,
        }
        for each in found.people
    ]
    return listed


def _origin(found: Origins, what: str, origin: Origin) -> dict[str, object]:
    return {
        "what": what,
        "name": found.venues[origin.venue],
        "start": utc(origin.start_ms),
        "end": utc(origin.end_ms),
        "cases": [found.cases[case] for case in origin.cases],
        "observed": len(origin.cases),
        "expected": origin.expected,
        "ratio": origin.ratio,
        "chance": origin.tail,
        "score": origin.score,
    }


def to_json(found: Origins) -> str:
    """All of it, indented."""
    return msgspec.json.format(msgspec.json.encode(rows(found)), indent=2).decode()


def to_csv(found: Origins) -> str:
    """All of it under CSV_COLUMNS; several cases in one field have spaces between them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows(found):
        cases = row["cases"]
        assert isinstance(cases, list)
        writer.writerow({**row, "cases": " ".join(cases)})
    return text.getvalue()

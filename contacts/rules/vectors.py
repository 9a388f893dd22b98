"""Test vectors for the published rules: a file of cases, each with what must come out.

The shape is `{"cases": [{"function": "cwa.overlap_minutes", "input": {...}, "expected": ...}]}`, with an optional
`description`. A time is a number of ms or a text with an offset (`2021-03-04T09:30:00+01:00`); a tuple is a list. The
two shapes in which Corona-Warn-App's authors publish theirs are read too: `{"testCases": [...]}` with cases
`{"startDateStr", "endDateStr", "expStartDateStr", "expEndDateStr"}` for intervals and `{"checkIn": {"startDateStr",
"endDateStr"}, "traceTimeIntervalWarning": {"startIntervalDateStr", "period"}, "exp"}` for overlaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from contacts.rules import cdc, clea, cwa, measles, minutes

_SAME = 1e-9

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cdc.is_contact": cdc.is_contact,
    "cdc.most_minutes": cdc.most_minutes,
    "clea.slots_of": lambda start_ms, end_ms, slot_ms: list(clea.slots_of(start_ms, end_ms, slot_ms)),
    "cwa.infectious_interval": cwa.infectious_interval,
    "cwa.is_matched": cwa.is_matched,
    "cwa.level_by_onset": cwa.level_by_onset,
    "cwa.level_onset_unknown": cwa.level_onset_unknown,
    "cwa.level_without_symptoms": cwa.level_without_symptoms,
    "cwa.overlap_minutes": cwa.overlap_minutes,
    "cwa.risk_level": cwa.risk_level,
    "cwa.risk_value": cwa.risk_value,
    "cwa.split_at_midnight": cwa.split_at_midnight,
    "measles.infectious_until": measles.infectious_until,
    "measles.is_exposed": measles.is_exposed,
    "minutes.closed_space": minutes.closed_space,
    "minutes.ecdc": minutes.ecdc,
    "minutes.kmk_2021_07": minutes.kmk_2021_07,
    "minutes.kmk_413": minutes.kmk_413,
    "minutes.who": minutes.who,
}


class VectorError(ValueError):
    """A file that holds no vectors, or a vector that cannot be run."""


class Case(msgspec.Struct, frozen=True):
    """One vector: the function, its arguments by name, and what must come out."""

    function: str
    input: dict[str, Any]
    expected: Any
    description: str = ""


class Outcome(NamedTuple):
    """A vector and what came out."""

    case: Case
    found: Any

    @property
    def holds(self) -> bool:
        """Whether that is what must come out; numbers may differ by a billionth."""
        found, expected = self.found, self.case.expected
        if isinstance(found, float) and isinstance(expected, int | float):
            return abs(found - expected) < _SAME
        return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)


def read_vectors(data: bytes) -> list[Case]:
    """The vectors of a JSON file. Raises VectorError."""
    try:
        document = msgspec.json.decode(data)
        if isinstance(document, dict) and "testCases" in document:
            return [_overlap(case) if "checkIn" in case else _interval(case) for case in document["testCases"]]
        return msgspec.convert(document["cases"], list[Case])
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise VectorError(f"it holds no vectors as docs/profiles.md describes them: {error}") from error


def run_vectors(cases: list[Case]) -> Iterator[Outcome]:
    """Run each. Raises VectorError for one that names no function or does not fit it."""
    for number, case in enumerate(cases, 1):
        function = FUNCTIONS.get(case.function)
        if function is None:
            raise VectorError(f"case {number} names {case.function!r}; there are {', '.join(FUNCTIONS)}")
        try:
            arguments = {name: _argument(name, value) for name, value in case.input.items()}
            found = msgspec.json.decode(msgspec.json.encode(function(**arguments)))
        except (TypeError, ValueError) as error:
            raise VectorError(f"case {number} does not fit {case.function}: {error}") from error
        yield Outcome(case, found)


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [tuple(_argument(name, part) for part in each) if isinstance(each, list) else _argument(name, each)
                for each in value]  # fmt: skip
    return _time(value) if isinstance(value, str) and name not in ("category",) else value


def _time(text: str) -> int:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} lacks an offset, such as +07:00")
    return round(at.timestamp() * 1000)


def _interval(case: Mapping[str, Any]) -> Case:
    """A case of Corona-Warn-App's authors for the interval of a check-in; no times are one that is dropped."""
    begin, end = case["expStartDateStr"], case["expEndDateStr"]
    return Case(
        function="cwa.infectious_interval",
        input={"start_ms": _time(case["startDateStr"]), "end_ms": _time(case["endDateStr"])},
        expected=None if begin is None else [_time(begin), _time(end)],
        description=case.get("description", ""),
    )


def _overlap(case: Mapping[str, Any]) -> Case:
    """A case of theirs for the minutes shared; one for another venue has places that differ."""
    check_in, warned = case["checkIn"], case["traceTimeIntervalWarning"]
    places = [
        next((value for key, value in each.items() if "hash" in key.lower()), None) for each in (check_in, warned)
    ]
    return Case(
        function="cwa.overlap_minutes",
        input={
            "check_in_start_ms": _time(check_in["startDateStr"]),
            "check_in_end_ms": _time(check_in["endDateStr"]),
            "start_interval": _time(warned["startIntervalDateStr"]) // cwa.INTERVAL_MS,
            "period": warned["period"] if places[0] == places[1] else 0,
        },
        expected=case["exp"],
        description=case.get("description", ""),
    )

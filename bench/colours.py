"""`python -m bench.colours`: what a person's colour costs, stage by stage, on one core, in microseconds of CPU.

`take` adds a record to what is known, `colour` judges anew (nothing kept from before), `summary` is what doors are told
besides; `pack` and `unpack` are what a state that is held as bytes pays. The best of some rounds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from bench.machine import describe
from contacts.colours import Facts, colour_of, load_colour_rules, summary
from schemas.health import AnyFact, HealthRecord, PersonFact, TestFact, VaccinationFact

_ZONE: Final = ZoneInfo("Asia/Jakarta")
_ROUNDS: Final = 15
_CALLS: Final = 2000
_STAGES: Final = ("unpack", "take", "colour", "summary", "pack")


def _at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=_ZONE).timestamp() * 1000)


def _record(record_id: str, fact: AnyFact) -> HealthRecord:
    return HealthRecord(person="p1:5f3c", record_id=record_id, fact=fact, told_at_ms=_at("2022-08-01"))


def _test(record_id: str, kind: str, outcome: str, day: str) -> HealthRecord:
    times = _at(f"{day} 08:00"), _at(f"{day} 18:00")
    fact = TestFact(test=kind, outcome=outcome, specimen_ms=times[0], result_ms=times[1])  # type: ignore[arg-type]
    return _record(record_id, fact)


def _people() -> dict[str, list[HealthRecord]]:
    """Whom is asked about; the last record of each is the one that comes."""
    days = ("2021-08-10", "2021-09-10", "2022-03-10")
    facts = [VaccinationFact(product="CoronaVac", at_ms=_at(day), dose=n) for n, day in enumerate(days, 1)]
    doses = [_record(f"imm/{fact.dose}", fact) for fact in facts]
    age = _record("register/1", PersonFact(age_band="18-59"))
    positive = _test("lab/2", "pcr", "positive", "2022-07-28")
    return {
        "a second dose": [age, *doses[:2]],
        "a booster": [age, *doses],
        "a negative test": [age, *doses, _test("lab/1", "antigen", "negative", "2022-07-30")],
        "a positive test": [age, *doses, positive],
        "a negative after it": [age, *doses, positive, _test("lab/3", "pcr", "negative", "2022-08-02")],
    }


def _best(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_CALLS):
            call()
        best = min(best, time.process_time() - began)
    return best / _CALLS * 1e6


def measure(records: list[HealthRecord], at_ms: int) -> dict[str, float]:
    """The cost of each stage, in microseconds, when the last of the records comes."""
    rules = load_colour_rules()
    known = Facts()
    for record in records[:-1]:
        known = known.take(record) or known
    packed, last = known.pack(), records[-1]
    told = known.take(last)
    assert told is not None
    rows = told.rows

    def fresh() -> Facts:
        facts = Facts()
        facts.rows = rows
        return facts

    empty = _best(fresh)
    return {
        "unpack": _best(lambda: Facts.unpack(packed)),
        "take": _best(lambda: known.take(last)),
        "colour": _best(lambda: colour_of(fresh(), at_ms, rules, _ZONE)) - empty,
        "summary": _best(lambda: summary(told, at_ms, rules)),
        "pack": _best(told.pack),
    }


def main() -> None:
    """Print a table of costs."""
    print(", ".join(f"{name} {value}" for name, value in describe().items()))
    table = Table(title=f"CPU in us, best of {_ROUNDS} rounds", box=None)
    for name in ("what comes", *_STAGES, "all but packing"):
        table.add_column(name, justify="left" if name == "what comes" else "right")
    gc.freeze()
    for name, records in _people().items():
        costs = measure(records, _at("2022-08-03 12:00"))
        three = costs["take"] + costs["colour"] + costs["summary"]
        table.add_row(name, *(f"{costs[stage]:.2f}" for stage in _STAGES), f"{three:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()

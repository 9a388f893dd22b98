"""Health facts in lists: CSV with one fact a line, for those whose systems speak no FHIR.

Columns: `fact` (test, vaccination, recovery, person, travel) and `identity` or `person`; then what the fact needs: `at`
(specimen, dose, recovery, begin of the travel), `outcome`, `test`, `result_at`, `product`, `dose`, `age_band`,
`birth_date`, `place`, `country`, `until`; and `record` and `withdrawn`. No reason for a refusal quotes the line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Final, get_args

from contacts.registry import is_name
from gateway.fhir import About
from gateway.fhir_files import Fault
from gateway.fhir_parts import Wrong, age_band
from gateway.lines import Progress, read_lines
from gateway.pseudonyms import Key
from gateway.times import parse_day, parse_time
from schemas.health import AgeBand, AnyFact, HealthRecord, PersonFact, RecoveryFact, TravelFact, VaccinationFact
from schemas.messages import TestKind, TestOutcome, TestResult

_OPTIONAL: Final = (
    "identity", "person", "record", "at", "outcome", "test", "result_at", "product", "dose", "age_band", "birth_date",
    "place", "country", "until", "withdrawn",
)  # fmt: skip
COUNTRY: Final = re.compile("[A-Z]{2}")
_DAY_MS: Final = 86_400_000
_GREATEST_DOSE: Final = 20
_YES: Final = ("true", "yes", "1")
_NO: Final = ("", "false", "no", "0")


class Row:
    """A line by the names of its columns, and how its values are read. What is wrong is a Wrong with the column."""

    def __init__(self, values: tuple[str, ...], key: Key, about: About) -> None:
        self._values = dict(zip(("fact", *_OPTIONAL), values, strict=True))
        self._key, self._about = key, about

    def __getitem__(self, name: str) -> str:
        return self._values[name].strip()

    def needed(self, name: str) -> str:
        """A column that may not be empty."""
        if not self[name]:
            raise Wrong(name, "it is missing")
        return self[name]

    def time(self, name: str, *, whole_day: bool = False) -> int:
        """A time, or a date: its midnight in the zone, or with `whole_day` its end."""
        text = self.needed(name)
        try:
            day = parse_day(text, self._about.zone)
            at_ms = day[whole_day] if day else parse_time(text)
        except ValueError:
            raise Wrong(name, "it is neither a date nor a time with an offset") from None
        if at_ms > self._about.told_at_ms + _DAY_MS:
            raise Wrong(name, "it is in the future")
        return at_ms

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """A column with one of several words."""
        text = self.needed(name)
        if text not in known:
            raise Wrong(name, f"it is none of {', '.join(known)}")
        return text

    def person(self) -> str:
        """The pseudonym."""
        if self["identity"]:
            try:
                return self._key.pseudonym(self["identity"])
            except ValueError:
                raise Wrong("identity", "it is no identity that can be used") from None
        text = self.needed("person")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,15}:[!-~]{1,180}", text) or "|" in text:
            raise Wrong("person", "it is no pseudonym, KEY_ID:...: who they are belongs into the column identity")
        return text

    def withdrawn(self) -> bool:
        """Whether the fact is taken back."""
        text = self["withdrawn"].lower()
        if text not in (*_YES, *_NO):
            raise Wrong("withdrawn", "it is neither true nor false")
        return text in _YES

    def record(self, natural: str) -> str:
        """A keyed digest of the record's name, else of what it is about."""
        text = hashlib.blake2b((self["record"] or natural).encode("utf-8", "surrogatepass")).hexdigest()
        return self._key.pseudonym(text).rpartition(":")[2]


def read_facts(
    path: str, key: Key, about: About, on_fault: Callable[[Fault], None], progress: Progress | None = None
) -> Iterator[HealthRecord | TestResult]:
    """The facts of a list (`-`: standard input). Raises FileError."""
    for number, _, values in read_lines(
        path, ("fact",), _OPTIONAL, lambda bad: on_fault(Fault(bad.number, "", bad.reason)), progress
    ):
        try:
            yield _message(Row(values, key, about), about)
        except Wrong as wrong:
            on_fault(Fault(number, wrong.element, wrong.reason))


def _message(row: Row, about: About) -> HealthRecord | TestResult:
    kind = row.one_of("fact", ("test", "vaccination", "recovery", "person", "travel"))
    person, withdrawn = row.person(), row.withdrawn()
    if kind == "test":
        outcome: TestOutcome = "withdrawn" if withdrawn else row.one_of("outcome", ("positive", "negative"))  # type: ignore[assignment]
        test: TestKind = row.one_of("test", get_args(TestKind)) if row["test"] else "pcr"  # type: ignore[assignment]
        return TestResult(
            person=person, outcome=outcome, specimen_ms=row.time("at"), test=test,
            result_ms=row.time("result_at") if row["result_at"] else None, laboratory=about.source or None,
            officer=about.officer, purpose=about.purpose,
        )  # fmt: skip
    fact, natural = _FACTS[kind](row, about)
    return HealthRecord(
        person=person, record_id="age-band" if kind == "person" else f"list/{kind}/{row.record(f'{person}|{natural}')}",
        fact=fact, told_at_ms=about.told_at_ms, withdrawn=withdrawn, source=about.source or "list",
        officer=about.officer, purpose=about.purpose,
    )  # fmt: skip


def _vaccination(row: Row, _: About) -> tuple[AnyFact, str]:
    product, at_ms, dose = row.needed("product"), row.time("at"), None
    if not is_name(product):
        raise Wrong("product", "it is 1 to 200 characters, none of them a control")
    if row["dose"]:
        if not (row["dose"].isascii() and row["dose"].isdigit() and 1 <= int(row["dose"][:9]) <= _GREATEST_DOSE):
            raise Wrong("dose", f"it is no number from 1 to {_GREATEST_DOSE}")
        dose = int(row["dose"])
    return VaccinationFact(product=product, at_ms=at_ms, dose=dose), f"{product}|{at_ms}"


def _recovery(row: Row, _: About) -> tuple[AnyFact, str]:
    at_ms = row.time("at")
    return RecoveryFact(recovered_ms=at_ms), str(at_ms)


def _person(row: Row, about: About) -> tuple[AnyFact, str]:
    if row["age_band"]:
        return PersonFact(age_band=row.one_of("age_band", get_args(AgeBand))), ""  # type: ignore[arg-type]
    try:
        born = date.fromisoformat(row.needed("birth_date"))
    except ValueError:
        raise Wrong("birth_date", "it is no date") from None
    return PersonFact(age_band=age_band(born, datetime.fromtimestamp(about.told_at_ms / 1000, about.zone).date())), ""


def _travel(row: Row, _: About) -> tuple[AnyFact, str]:
    country, start_ms, end_ms = row.needed("country"), row.time("at"), row.time("until", whole_day=True)
    if not COUNTRY.fullmatch(country):
        raise Wrong("country", "it is no code of two capital letters (ISO 3166-1)")
    if end_ms <= start_ms:
        raise Wrong("until", "it is no later than `at`")
    if row["place"] and not is_name(row["place"]):
        raise Wrong("place", "it is at most 200 characters, none of them a control")
    fact = TravelFact(place=row["place"], country=country, start_ms=start_ms, end_ms=end_ms)
    return fact, f"{country}|{start_ms}"


_FACTS: Final[dict[str, Callable[[Row, About], tuple[AnyFact, str]]]] = {
    "vaccination": _vaccination, "recovery": _recovery, "person": _person, "travel": _travel,
}  # fmt: skip

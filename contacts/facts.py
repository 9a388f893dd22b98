"""All that is known of one person's health: one row for each record, whatever order the records came in.

Of two records with the same id the later told one stands; of two told at the same time a withdrawal, else the greater
by kind and content. So the rows are a function of the set of records. A withdrawn record stays as a row of its own:
an older one that comes late cannot bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from contacts.vaccines import Had, Vaccines
from schemas.health import (
    AgeBand,
    ContactFact,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TestFact,
    TravelFact,
    VaccinationFact,
)
from schemas.messages import Grade, TestKind

_LAYOUT: Final = 1


class Sorted:
    """The standing rows by kind, each with its record's id last: doses by time, the others in no order."""

    __slots__ = ("age", "contacts", "doses", "negatives", "positives", "recoveries", "travels")

    def __init__(self) -> None:
        self.doses: list[tuple[int, int, str, str]] = []  # at, number, product
        self.positives: list[tuple[int, TestKind, str]] = []  # result
        self.negatives: list[tuple[int, int, TestKind, str]] = []  # specimen, result
        self.recoveries: list[tuple[int, str]] = []  # recovered
        self.contacts: list[tuple[int, Grade, float, str]] = []  # registered, grade, risk
        self.travels: list[tuple[int, str, str]] = []  # arrival, country
        self.age: tuple[int, AgeBand, str] | None = None  # told


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What all rows have in common; they travel as arrays: the row's kind, then its fields."""

    told_ms: int

    def sort_into(self, known: Sorted, record_id: str) -> None:
        """Put the row to those of its kind."""
        raise NotImplementedError


class TestRow(_Row, frozen=True, array_like=True, gc=False, tag=1):
    """A test with a result; times in ms."""

    __test__ = False  # not a test class of pytest's

    test: TestKind
    positive: bool
    specimen_ms: int
    result_ms: int

    def sort_into(self, known: Sorted, record_id: str) -> None:
        if self.positive:
            known.positives.append((self.result_ms, self.test, record_id))
        else:
            known.negatives.append((self.specimen_ms, self.result_ms, self.test, record_id))


class DoseRow(_Row, frozen=True, array_like=True, gc=False, tag=2):
    """A dose of a vaccine; `number` is 0 where it was not written down."""

    at_ms: int
    product: str
    number: int

    def sort_into(self, known: Sorted, record_id: str) -> None:
        known.doses.append((self.at_ms, self.number, self.product, record_id))


class RecoveryRow(_Row, frozen=True, array_like=True, gc=False, tag=3):
    """Recovered, says somebody who may."""

    recovered_ms: int

    def sort_into(self, known: Sorted, record_id: str) -> None:
        known.recoveries.append((self.recovered_ms, record_id))


class AgeRow(_Row, frozen=True, array_like=True, gc=False, tag=4):
    """The person's age band."""

    age_band: AgeBand

    def sort_into(self, known: Sorted, record_id: str) -> None:
        told = self.told_ms, self.age_band, record_id
        known.age = told if known.age is None else max(told, known.age)


class ContactRow(_Row, frozen=True, array_like=True, gc=False, tag=5):
    """A trace has the person as a contact; `risk` is -1 where it is not known."""

    grade: Grade
    registered_ms: int
    risk: float

    def sort_into(self, known: Sorted, record_id: str) -> None:
        known.contacts.append((self.registered_ms, self.grade, self.risk, record_id))


class TravelRow(_Row, frozen=True, array_like=True, gc=False, tag=6):
    """The person was elsewhere until `end_ms`."""

    country: str
    end_ms: int

    def sort_into(self, known: Sorted, record_id: str) -> None:
        known.travels.append((self.end_ms, self.country, record_id))


class GoneRow(_Row, frozen=True, array_like=True, gc=False, tag=7):
    """A record that was withdrawn: it is known, and tells nothing."""

    def sort_into(self, known: Sorted, record_id: str) -> None:
        pass


Row = TestRow | DoseRow | RecoveryRow | AgeRow | ContactRow | TravelRow | GoneRow
_ORDER: Final = {kind: place for place, kind in enumerate(Row.__args__)}


class _Packed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    layout: int
    rows: dict[str, Row]


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


class Facts:
    """What is known of a person. `rows` by record id must not be changed from outside; `take` gives new facts."""

    __slots__ = ("_history", "_sorted", "rows")

    def __init__(self, rows: Mapping[str, Row] | None = None) -> None:
        self.rows: dict[str, Row] = dict(rows or {})
        self._sorted: Sorted | None = None
        self._history: tuple[Vaccines, list[Had]] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facts) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Facts({self.rows!r})"

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, record: HealthRecord) -> Facts | None:
        """The facts with a record of the same person added; None where it changes nothing that is held."""
        row = _row(record)
        held = self.rows.get(record.record_id)
        if held is not None and not _stands_over(row, held):
            return None
        taken = Facts(self.rows)
        taken.rows[record.record_id] = row
        return taken

    def pack(self) -> bytes:
        """The facts as bytes: the same bytes for the same facts."""
        return _ENCODER.encode((_LAYOUT, self.rows))

    @classmethod
    def unpack(cls, data: bytes) -> Facts:
        """The facts that `pack` made bytes of. Raises ValueError where these are none."""
        packed = _DECODER.decode(data)
        if packed.layout != _LAYOUT:
            raise ValueError(f"facts of layout {packed.layout} cannot be read, only those of {_LAYOUT}")
        facts = cls()
        facts.rows = packed.rows
        return facts

    def by_kind(self) -> Sorted:
        """The rows that stand, by kind; worked out once."""
        if self._sorted is None:
            known = self._sorted = Sorted()
            for record_id, row in self.rows.items():
                row.sort_into(known, record_id)
            known.doses.sort()
        return self._sorted

    def history(self, vaccines: Vaccines) -> list[Had]:
        """What the person's doses come to, step by step; worked out once."""
        if self._history is None or self._history[0] is not vaccines:
            self._history = vaccines, vaccines.history(self.by_kind().doses)
        return self._history[1]


def _row(record: HealthRecord) -> Row:
    told, fact = record.told_at_ms, record.fact
    if record.withdrawn:
        return GoneRow(told)
    if isinstance(fact, VaccinationFact):
        return DoseRow(told, fact.at_ms, fact.product, fact.dose or 0)
    if isinstance(fact, TestFact):
        if fact.outcome == "withdrawn":
            return GoneRow(told)
        return TestRow(told, fact.test, fact.outcome == "positive", fact.specimen_ms, fact.result_ms)
    if isinstance(fact, ContactFact):
        return ContactRow(told, fact.grade, fact.registered_ms, -1.0 if fact.risk is None else fact.risk)
    if isinstance(fact, PersonFact):
        return AgeRow(told, fact.age_band)
    if isinstance(fact, RecoveryFact):
        return RecoveryRow(told, fact.recovered_ms)
    assert isinstance(fact, TravelFact)
    return TravelRow(told, fact.country, fact.end_ms)


def _stands_over(row: Row, held: Row) -> bool:
    """Whether a row takes the place of the one held."""
    if row.told_ms != held.told_ms:
        return row.told_ms > held.told_ms
    ranks = _ORDER[type(row)], _ORDER[type(held)]
    if ranks[0] != ranks[1]:
        return ranks[0] > ranks[1]
    return msgspec.structs.astuple(row) > msgspec.structs.astuple(held)

"""FHIR R4 resources as health records and test results, with pseudonyms in place of who they are about.

A file is read twice: first for its patients and for what reports say of results, then for the facts. Nothing of a
resource but codes, times and numbers is ever taken over: no name, no text, no identifier.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from gateway.fhir_codes import Coded, Codes, meanings
from gateway.fhir_files import Entry, Fault
from gateway.fhir_models import KINDS, fault_of, parse
from gateway.fhir_parts import Wrong, age_band, codings, first_of, forms_of, listed, ms_of, scope_of, time_of
from gateway.gathered import Fact, Gathered, Place
from gateway.pseudonyms import Key
from schemas.health import AnyFact, HealthRecord, PersonFact, RecoveryFact, VaccinationFact
from schemas.messages import TestResult

_ENDED: Final = ("resolved", "inactive", "remission")
_NOT_SURE: Final = ("unconfirmed", "provisional", "differential")
_NOT_SO: Final = ("entered-in-error", "refuted")
_OUTCOMES: Final = {"withdrawn": 0, "negative": 1, "positive": 2}
_KINDS_OF_TEST: Final = {"other": 0, "antigen": 1, "pcr": 2}
_SETTLED: Final = {"final": 1, "amended": 2, "appended": 2, "corrected": 3, "cancelled": 4, "entered-in-error": 5}

_RECORDS: Final = msgspec.json.Decoder(HealthRecord)
_RESULTS: Final = msgspec.json.Decoder(TestResult)


class About(NamedTuple):
    """Of whom, where and why an import is told. `source` is the laboratory or hospital that the files come from."""

    source: str
    officer: str
    purpose: str
    told_at_ms: int
    zone: ZoneInfo


class _Nothing(Exception):
    """Nothing to be told of the resource in hand; the argument is what it is counted as."""


class Reader:
    """Takes the entries of files in, and gives what is to be published. `identifier_system` names the identity."""

    def __init__(
        self, key: Key, identifier_system: str, codes: Codes, about: About, on_fault: Callable[[int, Fault], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._key, self._system, self._codes, self._about = key, identifier_system, codes, about
        self._on_fault = on_fault
        self._gathered = Gathered()

    def first(self, file: int, entry: Entry) -> None:
        """An entry in the first reading: patients, and reports of results."""
        if entry.resource.get("resourceType") == "Patient":
            self._take(file, entry, self._patient)
        elif entry.resource.get("resourceType") == "DiagnosticReport" and entry.resource.get("result"):
            self._take(file, entry, self._report)

    def second(self, file: int, entry: Entry) -> None:
        """An entry in the second reading: the facts."""
        kind = entry.resource.get("resourceType")
        if kind == "Observation" or (kind == "DiagnosticReport" and not entry.resource.get("result")):
            self._take(file, entry, self._observation)
        elif kind == "Immunization":
            self._take(file, entry, self._immunization)
        elif kind == "Condition":
            self._take(file, entry, self._condition)
        elif kind not in KINDS:
            self.counts["other"] += 1

    def messages(self) -> Iterator[HealthRecord | TestResult]:
        """What is to be published, in an order that does not depend on that of the files; then it is told no more."""
        with self._gathered as gathered:
            for slot, packed, contradicting in gathered.facts():
                for file, line, path in contradicting:
                    self.counts["refused"] += 1
                    self._on_fault(file, Fault(line, path, "another result of the same specimen time stands over it"))
                if slot:
                    self.counts["tests"] += 1
                    yield _RESULTS.decode(packed)
                else:
                    record = _RECORDS.decode(packed)
                    self.counts[type(record.fact).__name__] += 1
                    yield record
            self.counts["superseded"] = gathered.superseded

    def _take(self, file: int, entry: Entry, take: Callable[[int, Entry, Any], None]) -> None:
        model = parse(entry.resource["resourceType"], entry.resource)
        try:
            if isinstance(model, Exception):
                raise Wrong(*fault_of("", model))
            take(file, entry, model)
        except Wrong as wrong:
            self.counts["refused"] += 1
            path = entry.path + (wrong.element if wrong.element.startswith(".") else f".{wrong.element}".rstrip("."))
            self._on_fault(file, Fault(entry.line, path, wrong.reason))
        except _Nothing as nothing:
            self.counts[str(nothing)] += 1

    # Patients and reports

    def _patient(self, file: int, entry: Entry, model: Any) -> None:
        person = self._person(model)
        references = [entry.full_url] if entry.full_url else []
        if model.id:
            references.append(f"Patient/{model.id}")
        self._gathered.add_patient(scope_of(file, entry), references, person)
        self.counts["patients"] += 1
        if model.birthDate is not None:
            today = datetime.fromtimestamp(self._about.told_at_ms / 1000, self._about.zone).date()
            fact = PersonFact(age_band=age_band(model.birthDate, today))
            self._add(file, entry, model, person, f"age-band|{person}", fact, "age-band", withdrawn=False)

    def _person(self, model: Any, prefix: str = "") -> str:
        """The pseudonym of a patient."""
        own = [
            (number, each)
            for number, each in enumerate(model.identifier or [])
            if each.system == self._system and each.value and each.use != "old"
        ]
        values = {each.value.strip() for _, each in own}
        if len(values) > 1:
            raise Wrong(f"{prefix}identifier", "it has several identifiers of the system, and they differ")
        if not own:
            raise Wrong(f"{prefix}identifier", "there is none of the system that names the person")
        try:
            return self._key.pseudonym(own[0][1].value)
        except ValueError:
            raise Wrong(f"{prefix}identifier[{own[0][0]}].value", "it is no identity that can be used") from None

    def _report(self, file: int, entry: Entry, model: Any) -> None:
        standing = self._standing("DiagnosticReport", model)
        issued_ms = ms_of(model.issued) if model.issued is not None else 0
        for result in model.result:
            if result.reference:
                for reference in forms_of(result.reference, "Observation"):
                    live, scope = standing != "withdrawn", scope_of(file, entry)
                    self._gathered.add_report(scope, reference, live=live, issued_ms=issued_ms)
        self.counts["reports"] += 1

    # Facts

    def _observation(self, file: int, entry: Entry, model: Any) -> None:
        """A result: an Observation, or a DiagnosticReport that has none and states a conclusion itself."""
        kind = entry.resource["resourceType"]
        standing = self._standing(kind, model)
        issued_ms = ms_of(model.issued) if model.issued is not None else None
        if kind == "Observation":
            own = [*([entry.full_url] if entry.full_url else []), *([f"Observation/{model.id}"] if model.id else [])]
            report = self._gathered.report(scope_of(file, entry), own)
            if report is not None:
                standing = standing if report[0] else "withdrawn"
                issued_ms = issued_ms if issued_ms is not None else report[1] or None
        test = self._meaning("tests", "code", codings(model.code), "no test for SARS-CoV-2 that is known")
        if standing == "waits":
            raise _Nothing("preliminary")
        element, at = first_of(model, "effective", ("DateTime", "Instant", "Period"))
        specimen_ms = self._at(element, at, "when the specimen was taken")
        outcome = "withdrawn" if standing == "withdrawn" else self._outcome(kind, model)
        person = self._subject(file, entry, model, "subject")
        result = TestResult(
            person=person, outcome=outcome, specimen_ms=specimen_ms, laboratory=self._about.source or None,  # type: ignore[arg-type]
            officer=self._about.officer, purpose=self._about.purpose, test=test, result_ms=issued_ms,  # type: ignore[arg-type]
        )  # fmt: skip
        place = Place(file, entry.line, entry.path)
        rank = _OUTCOMES[outcome], _KINDS_OF_TEST[test]
        name = self._record(kind, model, f"{person}|{specimen_ms}|{test}")
        version = self._version(model)
        packed = msgspec.json.encode(result)
        self._gathered.add(Fact(person, name, version, packed, place, f"test/{specimen_ms}", rank))

    def _outcome(self, kind: str, model: Any) -> str:
        if kind == "DiagnosticReport":
            element, given = "conclusionCode", [c for each in model.conclusionCode or [] for c in codings(each)]
        elif model.valueCodeableConcept is not None:
            element, given = "valueCodeableConcept", codings(model.valueCodeableConcept)
        elif model.interpretation:
            element, given = "interpretation", [c for each in model.interpretation for c in codings(each)]
        elif model.dataAbsentReason is not None:
            raise _Nothing("no result")
        else:
            raise Wrong("value[x]", "a result needs a code, and it has none")
        if not given:
            raise Wrong(element, "a result needs a code, and it has none")
        found = self._meaning("results", element, given, "no result that is known")
        if found == "none":
            raise _Nothing("no result")
        return found

    def _immunization(self, file: int, entry: Entry, model: Any) -> None:
        withdrawn = self._standing("Immunization", model) == "withdrawn" or model.isSubpotent is True
        person = self._subject(file, entry, model, "patient")
        if withdrawn and (model.identifier or model.id):
            fact = VaccinationFact(product="", at_ms=0)
            natural = ""
        else:
            coded = codings(model.vaccineCode)
            product = self._meaning("vaccines", "vaccineCode", coded, "no vaccine against COVID-19 that is known")
            at_ms = self._at("occurrenceDateTime", model.occurrenceDateTime, "the day of the dose")
            fact = VaccinationFact(product=product, at_ms=at_ms, dose=self._dose(model))
            natural = f"{person}|{product}|{at_ms}"
        name = self._record("Immunization", model, natural)
        self._add(file, entry, model, person, name, fact, "vaccination", withdrawn=withdrawn)

    def _dose(self, model: Any) -> int | None:
        if not model.protocolApplied:
            return None
        first, where = model.protocolApplied[0], "protocolApplied[0]."
        number: int | None = first.doseNumberPositiveInt
        if number is None and first.doseNumberString is not None:
            where += "doseNumberString"
            if not (first.doseNumberString.isascii() and first.doseNumberString.isdigit()):
                raise Wrong(where, "it is no number")
            number = int(first.doseNumberString[:9])
        else:
            where += "doseNumberPositiveInt"
        if number is not None and not 1 <= number <= self._codes.limits.greatest_dose:
            raise Wrong(where, f"it is not from 1 to {self._codes.limits.greatest_dose}")
        return number

    def _condition(self, file: int, entry: Entry, model: Any) -> None:
        """A recovery: COVID-19 that has ended. One that goes on takes back what was told of its end."""
        if not meanings(self._codes.diseases, codings(model.code), self._codes):
            raise _Nothing("other")
        sure = {each.code for each in codings(model.verificationStatus)}
        if sure & set(_NOT_SURE):
            raise _Nothing("preliminary")
        person = self._subject(file, entry, model, "subject")
        ended = bool({each.code for each in codings(model.clinicalStatus)} & set(_ENDED))
        withdrawn = bool(sure & set(_NOT_SO)) or not ended
        recovered_ms = 0
        if not withdrawn:
            element, at = first_of(model, "abatement", ("DateTime", "Period"), end=True)
            recovered_ms = self._at(element, at, "when it ended")
        name = self._record("Condition", model, person)
        self._add(
            file, entry, model, person, name, RecoveryFact(recovered_ms=recovered_ms), "recovery", withdrawn=withdrawn
        )

    def _add(
        self, file: int, entry: Entry, model: Any, person: str, name: str, fact: AnyFact, what: str, *, withdrawn: bool
    ) -> None:
        record = HealthRecord(
            person=person, record_id="age-band" if what == "age-band" else f"fhir/{what}/{name}", fact=fact,
            told_at_ms=self._about.told_at_ms, withdrawn=withdrawn, source=self._about.source or "fhir",
            officer=self._about.officer, purpose=self._about.purpose,
        )  # fmt: skip
        place = Place(file, entry.line, entry.path)
        self._gathered.add(Fact(person, name, self._version(model), msgspec.json.encode(record), place))

    # Parts of a resource

    def _standing(self, kind: str, model: Any) -> str:
        found = self._codes.statuses[kind].get(model.status)
        if found is None:
            raise Wrong("status", f"it is none of the standard's: {', '.join(self._codes.statuses[kind])}")
        return found

    def _meaning(self, table: str, element: str, given: list[Coded], unknown: str) -> str:
        found = meanings(getattr(self._codes, table), given, self._codes)
        if len(found) > 1:
            raise Wrong(element, "its codes contradict one another")
        if not found:
            raise Wrong(element, unknown if given else "it has no code")
        return found.pop()

    def _at(self, element: str, at: Any, what: str) -> int:
        return time_of(element, at, what, self._about.zone, self._about.told_at_ms)

    def _subject(self, file: int, entry: Entry, model: Any, element: str) -> str:
        """The pseudonym of the person that a resource is about."""
        subject = getattr(model, element)
        if subject is None:
            raise Wrong(element, "it is missing")
        named = subject.identifier
        if named is not None and named.system == self._system and named.value:
            try:
                return self._key.pseudonym(named.value)
            except ValueError:
                raise Wrong(f"{element}.identifier.value", "it is no identity that can be used") from None
        reference = subject.reference or ""
        if reference.startswith("#"):
            for number, each in enumerate(model.contained or []):
                if each.__class__.__name__ == "Patient" and f"#{each.id}" == reference:
                    return self._person(each, f"contained[{number}].")
        person = self._gathered.patient(scope_of(file, entry), forms_of(reference, "Patient")) if reference else None
        if person is None:
            raise Wrong(element, "no patient with an identifier of the system is there for it")
        return person

    def _record(self, kind: str, model: Any, natural: str) -> str:
        """What later versions of a resource are called as well: its business identifier, else its id, else what it is
        about. A keyed digest, so that it says nothing."""
        named = sorted((each.system, each.value) for each in listed(model.identifier) if each.system and each.value)
        text = repr(named[0] if named else (self._about.source, model.id) if model.id else natural)
        digest = hashlib.blake2b(f"{kind}|{text}".encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
        return self._key.pseudonym(digest).rpartition(":")[2]

    def _version(self, model: Any) -> tuple[int, int]:
        """When a resource was last changed, as far as it says, and how settled its status is."""
        changed = model.meta.lastUpdated if model.meta is not None else None
        changed = changed or getattr(model, "issued", None) or getattr(model, "recorded", None)
        return ms_of(changed) if isinstance(changed, datetime) else 0, _SETTLED.get(getattr(model, "status", ""), 0)

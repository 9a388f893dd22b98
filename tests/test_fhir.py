"""FHIR R4 in, health records and test results out: what stands, what is refused and where, and that nobody is named."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir import About, Reader
from gateway.fhir_codes import CodesError, Limits, load_codes, standard_codes
from gateway.fhir_files import Fault, read_entries
from gateway.files import FileError
from gateway.pseudonyms import Key
from gateway.times import parse_time
from schemas.health import HealthRecord, PersonFact, RecoveryFact, VaccinationFact
from schemas.messages import TestResult
from tests.fhir_samples import (
    CVX,
    LOINC,
    NIK,
    SECRETS,
    SNOMED,
    TERMINOLOGY,
    Resource,
    bundle,
    concept,
    condition,
    immunization,
    observation,
    patient,
    report,
    written,
)

KEY = Key("p1", b"a secret of more than 16 bytes")
NOW = parse_time("2021-11-01T00:00:00Z")
ABOUT = About("lab", "officer", "purpose", NOW, ZoneInfo("Asia/Jakarta"))
FIRST, SECOND = (KEY.pseudonym(f"320101010190000{n}") for n in (1, 2))


def ms(text: str) -> int:
    return parse_time(text)


def read(*paths: Path, codes: str | None = None) -> tuple[list[HealthRecord | TestResult], list[str], Reader]:
    """What files give: messages, faults as `line path: reason`, and the reader with its counts."""
    faults: list[str] = []

    def told(_: int, fault: Fault) -> None:
        faults.append(f"{fault.line} {fault.path}: {fault.reason}")

    reader = Reader(KEY, NIK, load_codes(codes), ABOUT, told)
    limits = standard_codes().limits
    for number, path in enumerate(paths):
        for entry in read_entries(str(path), limits, lambda _: None, None, (b"Patient", b"DiagnosticReport")):
            reader.first(number, entry)
    for number, path in enumerate(paths):
        for entry in read_entries(str(path), limits, lambda fault: told(0, fault)):
            reader.second(number, entry)
    return list(reader.messages()), faults, reader


def of(tmp_path: Path, *resources: Resource) -> tuple[list[HealthRecord | TestResult], list[str]]:
    """What a bundle of resources gives."""
    messages, faults, _ = read(written(tmp_path / "bundle.json", bundle(*resources)))
    return messages, faults


def facts(messages: list[HealthRecord | TestResult]) -> dict[str, Any]:
    """By kind of fact."""
    return {type(each.fact).__name__ if isinstance(each, HealthRecord) else "test": each for each in messages}


def test_a_bundle_of_all_that_is_understood(tmp_path: Path) -> None:
    messages, faults = of(tmp_path, patient(), observation(), report(), immunization(), condition())
    assert faults == []
    tests = [each for each in messages if isinstance(each, TestResult)]
    assert tests == [
        TestResult(
            person=FIRST, outcome="negative", specimen_ms=ms("2021-10-18T08:00:00Z"), laboratory="lab",
            officer="officer", purpose="purpose", test="antigen", result_ms=ms("2021-10-18T09:00:00Z"),
        ),
        TestResult(
            person=FIRST, outcome="positive", specimen_ms=ms("2021-10-20T01:00:00Z"), laboratory="lab",
            officer="officer", purpose="purpose", test="pcr", result_ms=ms("2021-10-20T08:30:00.250Z"),
        ),
    ]  # fmt: skip
    records = [each for each in messages if isinstance(each, HealthRecord)]
    assert {each.person for each in records} == {FIRST}
    assert {(each.told_at_ms, each.withdrawn, each.source) for each in records} == {(NOW, False, "lab")}
    assert {type(each.fact): each.fact for each in records} == {
        PersonFact: PersonFact(age_band="18-59"),
        RecoveryFact: RecoveryFact(recovered_ms=ms("2021-07-15T00:00:00+07:00")),
        VaccinationFact: VaccinationFact(product="CoronaVac", at_ms=ms("2021-08-30T00:00:00+07:00"), dose=2),
    }


FAULTS: list[tuple[Resource, str]] = [
    (observation(effectiveDateTime="2021-13-40"), "effectiveDateTime: "),
    (observation(effectiveDateTime="2021-10-20T08:00:00"), "effectiveDateTime: "),
    (observation(effectiveDateTime="2021-10"), "effectiveDateTime: it names no day, only a month or a year"),
    (observation(effectiveDateTime="2031-10-20"), "effectiveDateTime: it is in the future"),
    (observation(effectiveDateTime=None), "effective[x]: it is missing: when the specimen was taken"),
    (observation(effectivePeriod={"start": "2021-10-20"}), "effective[x]: there is more than one of it"),
    (observation(effectiveDateTime=None, effectivePeriod={"end": "2021-10-20"}), "effectivePeriod.start: it is "),
    (observation(status="bogus"), "status: it is none of the standard's: registered, preliminary"),
    (observation(status=None), "status: it is missing"),
    (observation(code=None), "code: it is missing"),
    (observation(code=concept(LOINC, "8310-5")), "code: no test for SARS-CoV-2 that is known"),
    (observation(code={"text": "PCR Siti Aminah"}), "code: it has no code"),
    (observation(code={"coding": [{"system": LOINC, "code": 94500}]}), "code.coding[0].code: it is no text"),
    (observation(code={"coding": "94500-6"}), "code.coding: "),
    (
        observation(code={"coding": [*concept(LOINC, "94500-6")["coding"], *concept(LOINC, "94558-4")["coding"]]}),
        "code: its codes contradict one another",
    ),
    (observation(valueCodeableConcept=concept(SNOMED, "11")), "valueCodeableConcept: no result that is known"),
    (observation(valueCodeableConcept={"text": "positive"}), "valueCodeableConcept: a result needs a code"),
    (observation(valueCodeableConcept=None, valueString="positive"), "value[x]: a result needs a code"),
    (observation(valueString="positive"), "value[x]: there is more than one of it"),
    (observation(subject=None), "subject: it is missing"),
    (observation(subject={"reference": "Patient/Aminah"}), "subject: no patient with an identifier of the system"),
    (observation(efectiveDateTime="2021-10-20"), "efectiveDateTime: the standard has no such element"),
    (observation(issued="20 October"), "issued: "),
    (report(conclusionCode=None), "conclusionCode: a result needs a code"),
    (report(status="final-ish"), "status: "),
    (immunization(vaccineCode=concept(CVX, "03", "MMR")), "vaccineCode: no vaccine against COVID-19 that is known"),
    (immunization(vaccineCode=None), "vaccineCode: it is missing"),
    (immunization(occurrenceDateTime=None), "occurrence[x]: it is missing"),
    (immunization(occurrenceDateTime=None, occurrenceString="last year"), "occurrenceDateTime: it is missing"),
    (immunization(occurrenceDateTime="2021"), "occurrenceDateTime: it names no day"),
    (immunization(protocolApplied=[{"doseNumberPositiveInt": 0}]), "protocolApplied[0].doseNumberPositiveInt: "),
    (immunization(protocolApplied=[{"doseNumberPositiveInt": 21}]), "protocolApplied[0].doseNumberPositiveInt: it"),
    (immunization(protocolApplied=[{"doseNumberString": "second"}]), "protocolApplied[0].doseNumberString: it is no"),
    (immunization(patient={"reference": "Group/1"}), "patient: no patient"),
    (condition(abatementDateTime=None), "abatement[x]: it is missing: when it ended"),
    (condition(abatementDateTime="soon"), "abatementDateTime: "),
    (patient(2, identifier=[{"system": "urn:other", "value": "3201010101900002"}]), "identifier: there is none of"),
    (patient(2, identifier=[{"system": NIK, "value": "1"}, {"system": NIK, "value": "2"}]), "identifier: it has "),
    (patient(2, identifier=[{"system": NIK, "value": "1\u0007"}]), "identifier[0].value: "),
    (patient(2, born="2030-01-01"), "birthDate: it is in the future"),
    (patient(2, born="2003"), "birthDate: without the day two age bands are possible"),
    (patient(2, born="17 May 1990"), "birthDate: "),
    (patient(2, contact="Siti"), "contact: "),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "expected"), FAULTS, ids=[f"{n}-{each[1]}" for n, each in enumerate(FAULTS)])
def test_what_is_malformed_is_refused_with_its_path_and_the_others_go_on(
    tmp_path: Path, bad: Resource, expected: str
) -> None:
    bad = {name: value for name, value in bad.items() if value is not None}
    good = immunization("imm-good", occurrenceDateTime="2021-09-30", identifier=[{"system": "urn:x", "value": "other"}])
    messages, faults = of(tmp_path, patient(), good, bad)
    assert len(faults) == 1
    assert faults[0].startswith(f"0 Bundle.entry[2].resource.{expected}")
    assert set(facts(messages)) == {"PersonFact", "VaccinationFact"}
    assert len(messages) == 2
    assert not any(secret in faults[0] for secret in SECRETS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("[]", "is no FHIR JSON"),
        ("{}", "has no resourceType"),
        ('{"resourceType": "Bundle", "entry": []}', "Bundle.type: it is missing"),
        ('{"resourceType": "Bundle", "type": "collection", "entry": {}}', "Bundle.entry: it is no list"),
        ('{"resourceType": "Bundle", "typ": "collection", "type": "collection"}', "Bundle.typ: the standard"),
        ('{"resourceType": "Bundle",\n"type": "collection"', "is no JSON: Input data was truncated"),
        ('{"a":' * 5000, "is nested too deeply"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_fhir_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text, "utf-8")
    with pytest.raises(FileError, match=said.replace("[", r"\[")):
        read(path)


def test_a_line_with_a_fault_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "bulk.ndjson"
    lines = [json.dumps(patient()), "", "{", "[1]", '{"id": "x"}', json.dumps(observation(status="bogus"))]
    path.write_text("\n".join([*lines, json.dumps(immunization()), json.dumps({"resourceType": "Device"})]), "utf-8")
    messages, faults, reader = read(path)
    assert [fault.split(":")[0] for fault in faults] == ["3 ", "4 ", "5 resourceType", "6 Observation.status"]
    assert set(facts(messages)) == {"PersonFact", "VaccinationFact"}
    assert reader.counts["other"] == 1


def test_a_bulk_export_s_files_refer_to_one_another(tmp_path: Path) -> None:
    """Patients in a file of their own, named last; packed; references with a server and a version."""
    results = written(
        tmp_path / "Observation.ndjson",
        observation(subject={"reference": "https://fhir.example/r4/Patient/MRN-4711-2/_history/3"}),
        observation("obs-2", effectiveDateTime="2021-10-21"),
    )
    people = tmp_path / "Patient.ndjson.gz"
    people.write_bytes(gzip.compress("\n".join(json.dumps(patient(n, born=None)) for n in (1, 2)).encode()))
    messages, faults, _ = read(results, people)
    assert faults == []
    assert {each.person for each in messages} == {FIRST, SECOND}


def test_bundles_have_their_own_references(tmp_path: Path) -> None:
    """Two bundles with a Patient of one id: each means its own; in one bundle such a reference means nobody."""
    mine = written(tmp_path / "a.json", bundle(patient(1, born=None), observation()))
    other = patient(2, born=None, id="MRN-4711-1")
    theirs = written(tmp_path / "b.json", bundle(other, observation("obs-2")))
    messages, faults, _ = read(mine, theirs)
    assert (faults, {each.person for each in messages}) == ([], {FIRST, SECOND})
    both = written(tmp_path / "c.json", bundle(patient(1, born=None), other, observation()))
    messages, faults, _ = read(both)
    assert messages == []
    assert faults[0].startswith("0 Bundle.entry[2].resource.subject: no patient")


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "urn:uuid:00000000-0000-0000-0000-000000000000"},
        {"identifier": {"system": NIK, "value": "3201010101900001"}},
        {"reference": "#me"},
    ],
)
def test_ways_to_say_whom_it_is_about(tmp_path: Path, subject: Resource) -> None:
    """By the entry's full URL, by the identifier itself, by a patient inside the resource."""
    inside = {"contained": [patient(1, id="me")]} if "#me" in str(subject) else {}
    messages, faults = of(tmp_path, patient(born=None), observation(subject=subject, **inside))
    assert (faults, [each.person for each in messages]) == ([], [FIRST])


def test_preliminary_results_wait(tmp_path: Path) -> None:
    waiting = [observation(f"o{n}", status=status) for n, status in enumerate(("registered", "preliminary"))]
    path = written(tmp_path / "b.json", bundle(patient(born=None), *waiting, report(status="partial")))
    messages, faults, reader = read(path)
    assert (messages, faults, reader.counts["preliminary"]) == ([], [], 3)
    inconclusive = observation(valueCodeableConcept=concept(SNOMED, "419984006"))
    absent = observation("o9", valueCodeableConcept=None, dataAbsentReason=concept("urn:x", "error"))
    absent.pop("valueCodeableConcept")
    messages, faults, reader = read(written(tmp_path / "b.json", bundle(patient(born=None), inconclusive, absent)))
    assert (messages, faults, reader.counts["no result"]) == ([], [], 2)


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_a_result_that_was_no_result_is_withdrawn(tmp_path: Path, status: str) -> None:
    """Also where it has lost its value; and where the report that it is part of says so."""
    gone = observation(status=status)
    gone.pop("valueCodeableConcept")
    messages, faults = of(tmp_path, patient(born=None), gone)
    assert faults == []
    assert [each.outcome for each in messages if isinstance(each, TestResult)] == ["withdrawn"]
    about = report(status=status, result=[{"reference": "Observation/obs-1"}])
    messages, _ = of(tmp_path, about, patient(born=None), observation())
    assert [each.outcome for each in messages if isinstance(each, TestResult)] == ["withdrawn"]
    another = report("rep-2", result=[{"reference": "urn:uuid:00000000-0000-0000-0000-000000000002"}])
    messages, _ = of(tmp_path, about, patient(born=None), observation(), another)
    assert [each.outcome for each in messages if isinstance(each, TestResult)] == ["positive"]


def test_what_a_report_says_of_when_it_was_issued(tmp_path: Path) -> None:
    """An observation without a time of issue has that of its report."""
    bare = observation()
    bare.pop("issued")
    messages, _ = of(tmp_path, patient(born=None), bare, report(result=[{"reference": "Observation/obs-1"}]))
    assert [each.result_ms for each in messages if isinstance(each, TestResult)] == [ms("2021-10-18T09:00:00Z")]
    messages, _ = of(tmp_path, patient(born=None), bare)
    assert [each.result_ms for each in messages if isinstance(each, TestResult)] == [None]


@pytest.mark.parametrize(
    ("changed", "withdrawn"),
    [
        (immunization(status="entered-in-error", vaccineCode={"text": "?"}), True),
        (immunization(status="not-done"), True),
        (immunization(isSubpotent=True), True),
        (immunization(protocolApplied=[{"doseNumberString": "1"}]), False),
        (condition(verificationStatus=concept(f"{TERMINOLOGY}/condition-ver-status", "refuted")), True),
        (condition(clinicalStatus=concept(f"{TERMINOLOGY}/condition-clinical", "active")), True),
        (condition(abatementDateTime="2021-07-20"), False),
    ],
)  # fmt: skip
def test_an_amended_record_takes_the_place_of_the_first(tmp_path: Path, changed: Resource, withdrawn: bool) -> None:
    """It has the id of the record that it changes, and says whether it stands."""
    first = immunization() if changed["resourceType"] == "Immunization" else condition()
    (before,), faults = of(tmp_path, patient(born=None), first)
    (after,), more = of(tmp_path, patient(born=None), changed)
    assert isinstance(before, HealthRecord)
    assert isinstance(after, HealthRecord)
    assert (faults, more, after.record_id, after.withdrawn) == ([], [], before.record_id, withdrawn)
    assert after != before


def test_of_versions_of_one_result_the_newest_counts(tmp_path: Path) -> None:
    first = observation(meta={"lastUpdated": "2021-10-20T09:00:00Z"})
    second = observation(
        status="corrected", meta={"lastUpdated": "2021-10-21T09:00:00Z"},
        valueCodeableConcept=concept(SNOMED, "260415000"),
    )  # fmt: skip
    for order in ((first, second), (second, first)):
        messages, faults = of(tmp_path, patient(born=None), *order)
        assert faults == []
        assert [each.outcome for each in messages if isinstance(each, TestResult)] == ["negative"]


def test_two_results_of_one_specimen_time(tmp_path: Path) -> None:
    """The topic knows one result a specimen: a positive stands over a negative, which is refused by its path."""
    negative = observation("obs-2", code=concept(LOINC, "94558-4"), valueCodeableConcept=concept(SNOMED, "260385009"))
    messages, faults = of(tmp_path, patient(born=None), negative, observation())
    assert [each.outcome for each in messages if isinstance(each, TestResult)] == ["positive"]
    assert faults == ["0 Bundle.entry[1].resource: another result of the same specimen time stands over it"]


def test_a_condition_of_another_kind_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "b.json", bundle(patient(born=None), condition(code=concept(SNOMED, "38341003"))))
    messages, faults, reader = read(path)
    assert (messages, faults, reader.counts["other"]) == ([], [], 1)


def test_codes_of_a_deployment_s_own(tmp_path: Path) -> None:
    """A table laid over those that Lacak knows; a file that is none is a sentence."""
    local = immunization(vaccineCode=concept("http://sys-ids.kemkes.go.id/kfa", "93001282"))
    path = written(tmp_path / "b.json", bundle(patient(born=None), local))
    assert read(path)[1] != []
    codes = tmp_path / "codes.toml"
    codes.write_text('[vaccines."http://sys-ids.kemkes.go.id/kfa"]\n93001282 = "CoronaVac"\n', "utf-8")
    messages, faults, _ = read(path, codes=str(codes))
    assert faults == []
    assert facts(messages)["VaccinationFact"].fact.product == "CoronaVac"
    for text in ("[vaccines", "[vaccins]\n", '[tests."x"]\n1 = "blood"\n'):
        codes.write_text(text, "utf-8")
        with pytest.raises(CodesError, match=r"codes\.toml cannot be used"):
            load_codes(str(codes))


@pytest.mark.parametrize(
    ("born", "band"),
    [
        ("2021-10-31", "0-5"), ("2015-11-02", "0-5"), ("2015-11-01", "6-11"), ("2009-11-02", "6-11"),
        ("2009-11-01", "12-17"), ("2003-11-02", "12-17"), ("2003-11-01", "18-59"), ("1961-11-02", "18-59"),
        ("1961-11-01", "60+"), ("1900-01-01", "60+"), ("1990", "18-59"), ("2003-10", "18-59"), ("1950-02", "60+"),
    ],
)  # fmt: skip
def test_age_bands_change_on_birthdays(tmp_path: Path, born: str, band: str) -> None:
    """On the day of the import, in the deployment's zone: 1 November 2021."""
    messages, faults = of(tmp_path, patient(born=born))
    assert faults == []
    assert facts(messages)["PersonFact"].fact.age_band == band


SOME = [
    patient(), patient(2, born="2011-02-28"), observation(), report(), immunization(), condition(),
    immunization("imm-2", patient={"reference": "Patient/MRN-4711-2"}, occurrenceDateTime="2021-07-30"),
    observation("obs-2", subject={"reference": "Patient/MRN-4711-2"}, status="preliminary"),
    observation("obs-3", subject={"reference": "Patient/MRN-4711-2"}, effectiveDateTime="2021-10-20"),
    observation("obs-4", effectiveDateTime="2021-10-20T08:00:00+07:00", code=concept(LOINC, "94558-4")),
    observation("obs-3", subject={"reference": "Patient/MRN-4711-2"}, effectiveDateTime="2021-10-20", status="amended",
                valueCodeableConcept=concept(SNOMED, "260415000")),
    observation("obs-5", status="entered-in-error", effectiveDateTime="2021-09-01"), observation("obs-6", status="?"),
    report("rep-2", status="entered-in-error", result=[{"reference": "Observation/obs-4"}]),
    immunization("imm-1", status="entered-in-error", meta={"lastUpdated": "2021-10-30T00:00:00Z"}),
]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(chance=st.randoms(use_true_random=False), twice=st.lists(st.integers(0, len(SOME) - 1), max_size=6))
def test_the_order_of_entries_and_copies_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, twice: list[int]
) -> None:
    """The bytes are the same in whatever order entries come, in one file or several, once or more often."""
    folder = tmp_path_factory.mktemp("order")
    wanted = msgspec.json.encode(read(written(folder / "a.json", bundle(*SOME)))[0])
    mixed = [*SOME, *(SOME[number] for number in twice)]
    chance.shuffle(mixed)
    assert msgspec.json.encode(read(written(folder / "b.json", bundle(*mixed)))[0]) == wanted
    cut = chance.randrange(2, len(mixed) - 2)
    parts = [written(folder / f"{n}.ndjson", *each) for n, each in enumerate((mixed[:cut], mixed[cut:]))]
    assert msgspec.json.encode(read(*parts)[0]) == wanted


def test_nobody_is_named_in_anything_that_comes_out(tmp_path: Path) -> None:
    """Not in messages, not in faults: no identifier, name, number, address, note, lot or accession."""
    messages, faults = of(tmp_path, *SOME, *(bad for bad, _ in FAULTS))
    out = msgspec.json.encode(messages).decode() + "\n".join(faults)
    assert [secret for secret in SECRETS if secret in out] == []
    assert "obs-" not in out
    assert "imm-" not in out


def test_too_long_is_refused(tmp_path: Path) -> None:
    limits = Limits(largest_document_mib=1, largest_line_mib=1, greatest_dose=20)
    big = observation(note=[{"text": "x" * (1 << 20)}])
    faults: list[Fault] = []
    lines = written(tmp_path / "b.ndjson", patient(), big, immunization())
    kinds = [entry.resource["resourceType"] for entry in read_entries(str(lines), limits, faults.append)]
    assert kinds == ["Patient", "Immunization"]
    assert [(fault.line, fault.reason) for fault in faults] == [(2, "the line is longer than 1 MiB")]
    with pytest.raises(FileError, match="more than 1 MiB: export it as NDJSON"):
        list(read_entries(str(written(tmp_path / "b.json", bundle(big))), limits, faults.append))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from([*SECRETS, "", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["coding", "system", "x"]), inner),
    max_leaves=5,
)


def _replaced(value: Any, chance: random.Random, new: Any) -> Any:
    """A copy in which one part, anywhere, is something else."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(sorted(value))
        return {**value, name: _replaced(value[name], chance, new)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], _replaced(value[place], chance, new), *value[place + 1 :]]
    return new


@settings(max_examples=150, deadline=None)
@given(chance=st.randoms(use_true_random=False), new=_JSON, number=st.integers(0, len(SOME) - 1))
def test_whatever_is_broken_is_a_fault_and_not_a_crash(
    tmp_path_factory: pytest.TempPathFactory, chance: random.Random, new: Any, number: int
) -> None:
    """One part of one resource is something else: the others are read as ever, and no fault says who it is about."""
    broken = _replaced(SOME[number], chance, new)
    others = [immunization("imm-8", occurrenceDateTime="2021-09-01"), patient()]
    path = tmp_path_factory.mktemp("broken") / "b.json"
    path.write_text(json.dumps(bundle(broken, *others)), "utf-8")
    messages, faults, _ = read(path)
    assert VaccinationFact(product="CoronaVac", at_ms=ms("2021-09-01T00:00:00+07:00"), dose=2) in [
        each.fact for each in messages if isinstance(each, HealthRecord)
    ]
    out = msgspec.json.encode(messages).decode() + "\n".join(faults)
    assert [secret for secret in SECRETS if secret in out] == []

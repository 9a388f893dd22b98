"""Resources in the standard's shapes (R4: Patient, Observation, DiagnosticReport, Immunization, Condition), made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NIK = "https://fhir.kemkes.go.id/id/nik"
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
CVX = "http://hl7.org/fhir/sid/cvx"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
SECRETS = (
    "3201010101900001",
    "3201010101900002",
    "Aminah",
    "Siti",
    "0812-555-001",
    "Jalan Melati",
    "LAB-ACC-77",
    "MRN-4711",
)
"""What stands in the samples and may stand in nothing that is made of them."""

Resource = dict[str, Any]


def concept(system: str, code: str, text: str = "") -> Resource:
    """A CodeableConcept."""
    return {"coding": [{"system": system, "code": code, "display": text or code}], **({"text": text} if text else {})}


def patient(number: int = 1, born: str | None = "1990-05-17", **more: Any) -> Resource:
    """A Patient with everything that must not travel."""
    found: Resource = {
        "resourceType": "Patient",
        "id": f"MRN-4711-{number}",
        "meta": {"versionId": "1", "lastUpdated": "2021-10-01T00:00:00Z"},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Siti Aminah</div>'},
        "identifier": [
            {"use": "usual", "system": "urn:oid:1.2.36.146.595.217.0.1", "value": "MRN-4711"},
            {"use": "official", "system": NIK, "value": f"320101010190000{number}"},
        ],
        "active": True,
        "name": [{"use": "official", "family": "Aminah", "given": ["Siti"]}],
        "telecom": [{"system": "phone", "value": "0812-555-001"}],
        "gender": "female",
        "address": [{"line": ["Jalan Melati 1"], "city": "Kotabumi"}],
    }
    if born is not None:
        found["birthDate"] = born
    return found | more


def observation(name: str = "obs-1", **more: Any) -> Resource:
    """A final, positive PCR of the first patient."""
    return {
        "resourceType": "Observation",
        "id": name,
        "identifier": [{"system": "https://lab.example/accession", "value": f"LAB-ACC-77-{name}"}],
        "status": "final",
        "category": [concept(f"{TERMINOLOGY}/observation-category", "laboratory")],
        "code": concept(LOINC, "94500-6", "SARS-CoV-2 RNA"),
        "subject": {"reference": "Patient/MRN-4711-1", "display": "Siti Aminah"},
        "effectiveDateTime": "2021-10-20T08:00:00+07:00",
        "issued": "2021-10-20T15:30:00.250+07:00",
        "performer": [{"display": "dr. Siti Aminah"}],
        "valueCodeableConcept": concept(SNOMED, "260373001", "Detected"),
        "note": [{"text": "Call Siti Aminah 0812-555-001"}],
    } | more


def report(name: str = "rep-1", **more: Any) -> Resource:
    """A DiagnosticReport without results of its own: its conclusion is the result."""
    return {
        "resourceType": "DiagnosticReport",
        "id": name,
        "status": "final",
        "code": concept(LOINC, "94558-4"),
        "subject": {"reference": "Patient/MRN-4711-1"},
        "effectivePeriod": {"start": "2021-10-18T08:00:00Z", "end": "2021-10-18T08:05:00Z"},
        "issued": "2021-10-18T09:00:00Z",
        "conclusion": "Siti Aminah: negative",
        "conclusionCode": [concept(SNOMED, "260385009", "Negative")],
    } | more


def immunization(name: str = "imm-1", **more: Any) -> Resource:
    """A second dose of CoronaVac, on a plain date."""
    return {
        "resourceType": "Immunization",
        "id": name,
        "status": "completed",
        "vaccineCode": concept(CVX, "511", "CoronaVac"),
        "patient": {"reference": "Patient/MRN-4711-1", "display": "Siti Aminah"},
        "occurrenceDateTime": "2021-08-30",
        "lotNumber": "LAB-ACC-77",
        "performer": [{"actor": {"display": "Siti"}}],
        "protocolApplied": [{"doseNumberPositiveInt": 2, "seriesDosesPositiveInt": 2}],
    } | more


def condition(name: str = "con-1", **more: Any) -> Resource:
    """COVID-19 that has ended."""
    return {
        "resourceType": "Condition",
        "id": name,
        "clinicalStatus": concept(f"{TERMINOLOGY}/condition-clinical", "resolved"),
        "verificationStatus": concept(f"{TERMINOLOGY}/condition-ver-status", "confirmed"),
        "code": concept(SNOMED, "840539006", "COVID-19"),
        "subject": {"reference": "Patient/MRN-4711-1"},
        "onsetDateTime": "2021-07-01",
        "abatementDateTime": "2021-07-15",
    } | more


def bundle(*resources: Resource, kind: str = "collection", **more: Any) -> Resource:
    """A Bundle of resources."""
    entries = [
        {"fullUrl": f"urn:uuid:00000000-0000-0000-0000-{n:012}", "resource": each} for n, each in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries} | more


def written(path: Path, *documents: Resource) -> Path:
    """One document as a file, several as NDJSON."""
    text = "\n".join(json.dumps(each, indent=2 if len(documents) == 1 else None) for each in documents)
    path.write_text(text + "\n", "utf-8")
    return path

"""Records today's messages as a new golden folder: `python -m tests.golden.record v2`. Never over an old one."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import numpy as np

from schemas import blocks
from schemas import messages as m
from schemas.channels import CHANNELS, FRAMES
from schemas.contracts import frame_schema, message_schema
from tests.golden.door_samples import DOOR_SAMPLES
from tests.golden.meaning import spell_out, spell_out_frame

GOLDEN: Final = Path(__file__).resolve().parent
_P, _Q = "p1:00112233445566778899aabbccddeeff", "p1:ffeeddccbbaa99887766554433221100"
_T = 1_634_790_600_000  # 2021-10-21T04:30:00Z

_SHARED: Final = m.SharedStay(
    venue="mal-0001",
    start_ms=_T,
    end_ms=_T + 1_234_567,
    minutes=20.576116666666668,
    case_stay=m.StayEvidence(start_ms=_T - 60_000, end_ms=_T + 1_234_567, end_assumed=True),
    contact_stay=m.StayEvidence(start_ms=_T, end_ms=_T + 7_200_000, self_reported=True),
    score=12.6,
    told_by="officer-8",
    category="mall",
)
_CONTACT: Final = m.Contact(
    person=_Q,
    minutes=20.5,
    rule="who@1",
    evidence=(_SHARED,),
    grade="confirmed",
    decided_by="officer-7",
    score=12.6,
    level="high",
    hop=2,
    risk=0.0125,
    earliest_ms=_T - 3,
    exposed_by=("p1:0123",),
)
_AS_OF: Final = (
    m.SourceOffset(partition=0, offset=17, log_time_ms=_T),
    m.SourceOffset(partition=1, offset=0, log_time_ms=_T),
)
_MEETING: Final = zlib.compress(np.array([1, 0, 0, 0, *range(_T, _T + 6), 3], "<i8").tobytes(), 1)
"""One meeting: by rows and by columns it is the same."""


def _met(part: int, parts: int, **meetings: Any) -> m.TraceAnswer:
    """An answer about the second hop."""
    rows = m.MeetingRows(venues=("mal-0001",), categories=("mall",), **meetings)
    return m.TraceAnswer(
        query_id="q-1", trace_id="trace-1", kind="answer", partition=2, hop=2, part=part, parts=parts, meetings=rows
    )


_WINDOW: Final[dict[str, Any]] = {"window_start_ms": _T - 172_800_000, "window_end_ms": _T + 864_000_000}
_OFFICER: Final[dict[str, Any]] = {"officer": "officer-7", "purpose": "outbreak 12"}
_TRACE: Final[dict[str, Any]] = {
    "trace_id": "trace-1",
    "case_id": "case-1",
    "person": _P,
    "profile": "who",
    "profile_version": "2021-02",
    "requested_at_ms": _T,
    "position": (41, 2),
    **_OFFICER,
    **_WINDOW,
}
_QUERY: Final[dict[str, Any]] = {
    "query_id": "q-1",
    "trace_id": "trace-1",
    "reply_partition": 3,
    "person": _P,
    **_WINDOW,
}

SAMPLES: Final[dict[str, list[m.Message]]] = {
    "scans": [
        m.Scan(person=_P, venue="mal-0001", kind="in", at_ms=_T),
        m.Scan(
            person="token 7", venue="kafé-ü", kind="out", at_ms=-1, arrived_at_ms=_T, scan_id="s-1", gateway="gw-03"
        ),
        m.Scan(person=_P, venue="toko-0001", kind="refused", at_ms=_T),
    ],
    "venues": [
        m.Venue(venue="mal-0001"),
        m.Venue(venue="mal-0001", fallback="admit"),
        m.Venue(venue="mal-0001", fallback="check"),
        m.Venue(
            venue="toko-0001",
            name="Toko Sinar Jaya",
            category="shop",
            region="ID-LA-01",
            capacity=40,
            assumed_stay_minutes=12.5,
            longest_stay_minutes=90.5,
            within="mal-0001",
            valid_from_ms=_T,
            area_m2=85.5,
            fallback="refuse",
            route="ID-LA > ID-BT",
        ),
    ],
    "erasures": [m.Erasure(person=_P, before_ms=_T, **_OFFICER)],
    "test-results": [
        m.TestResult(person=_P, outcome="negative", specimen_ms=_T),
        m.TestResult(person=_P, outcome="negative", specimen_ms=_T, test="other"),
        m.TestResult(
            person=_P,
            outcome="positive",
            specimen_ms=_T,
            onset_ms=_T - 1,
            isolated_ms=_T + 1,
            laboratory="lab-1",
            test="antigen",
            result_ms=_T + 3_600_000,
            **_OFFICER,
        ),
        m.TestResult(person=_P, outcome="withdrawn", specimen_ms=_T),
    ],
    "trace-requests": [
        m.TraceRequest(request_id="r-1", person=_P, direction="forward", **_OFFICER),
        m.TraceRequest(
            request_id="r-2",
            person=_P,
            direction="backward",
            profile="cdc",
            onset_ms=_T - 1,
            specimen_ms=_T,
            isolated_ms=_T + 1,
            hops=2,
            least_risk=0.05,
            people_most=500,
            seconds_most=7.5,
            **_OFFICER,
        ),
    ],
    "contact-decisions": [
        m.ContactDecision(trace_id="trace-1", person=_P, contact=_Q, grade=grade, decided_at_ms=_T, **_OFFICER)
        for grade in ("confirmed", "dismissed")
    ],
    "interview-contacts": [
        m.InterviewContact(person=_P, contact=_Q, start_ms=_T, end_ms=_T + 1_800_000, told_at_ms=_T + 1, **_OFFICER),
        m.InterviewContact(
            person=_P, contact=_Q, start_ms=_T, end_ms=_T + 1, told_at_ms=_T + 1, venue="mal-0001", **_OFFICER
        ),
    ],
    "occupancy": [
        m.Occupancy(venue="mal-0001", inside=0, log_time_ms=_T, position=(5, 0)),
        m.Occupancy(venue="mal-0001", inside=3, log_time_ms=_T, position=(6, 1), allowed=20, assumed_end_share=0.25),
    ],
    "cases": [
        m.Case(case_id="case-1", person=_P, specimen_ms=_T),
        m.Case(
            case_id="case-1",
            person=_P,
            specimen_ms=_T,
            onset_ms=_T - 1,
            isolated_ms=_T + 1,
            withdrawn=True,
            specimens_ms=(_T, _T + 5),
            revision=4,
            position=(9, 1),
        ),
    ],
    "traces": [
        *(m.Trace(direction="forward", state=state, revision=1, **_TRACE) for state in get_args(m.TraceState)),
        m.Trace(
            direction="backward",
            state="behind",
            revision=3,
            as_of_ms=_T,
            as_of=_AS_OF,
            missing_partitions=(1,),
            behind_partitions=(0, 2),
            contacts=(_CONTACT,),
            hops=2,
            least_risk=0.05,
            cut_by=("hops", "people", "seconds"),
            risk_numbers="2023-12-20",
            standing_until_ms=_T + 259_200_000,
            ended=True,
            **_TRACE,
        ),
        m.Trace(
            direction="forward",
            state="complete",
            revision=1,
            contacts=(
                msgspec.structs.replace(_CONTACT, grade="dismissed"),
                msgspec.structs.replace(_CONTACT, grade="possible", score=4.2, level="low"),
            ),
            **_TRACE,
        ),
    ],
    "clusters": [
        m.VenueClusters(venue="mal-0001", log_time_ms=_T, position=(12, 0)),
        m.VenueClusters(
            venue="toko-0001",
            log_time_ms=_T,
            position=(13, 1),
            since_ms=_T - 86_400_000,
            clusters=(
                m.Cluster(
                    cluster_id="cluster-1",
                    category="shop",
                    start_ms=_T,
                    end_ms=_T + 3_600_000,
                    cases=3,
                    case_ids=("case-1", "case-2", "case-3"),
                    risk=2.5,
                    rule="default@2021-10-21 * either",
                    slot_cases=(2, 3),
                ),
            ),
        ),
    ],
    **DOOR_SAMPLES,
    "dead-letters": [
        m.DeadLetter(
            letter_id="scans/1/2/3",
            reason="undecodable",
            detail="not JSON",
            topic="scans",
            partition=1,
            offset=2,
            row=3,
            at_ms=_T,
            key=b"\x00key",
            value=b"\xff\xfe{",
            size=9_000_000,
        ),
        m.DeadLetter(
            letter_id="scans/1/2/0", reason="late", detail="", topic="scans", partition=1, offset=2, row=0, at_ms=_T
        ),
    ],
    "trace-queries": [
        m.TraceQuery(
            kind="ask", direction="forward", profile_json=msgspec.Raw(b'{"id":"who","minimum_minutes":15}'), **_QUERY
        ),
        m.TraceQuery(kind="deadline", direction="backward", **_QUERY),
        m.TraceQuery(
            kind="ask",
            direction="forward",
            hop=2,
            people=(_P, _Q),
            since_ms=(_T, _T + 1),
            until_ms=(_T + 2, _T + 3),
            as_of_ms=_T + 4,
            as_of=_AS_OF,
            **_QUERY,
        ),
    ],
    "trace-answers": [
        m.TraceAnswer(
            query_id="q-1",
            trace_id="trace-1",
            kind="answer",
            partition=2,
            as_of_ms=_T,
            as_of=_AS_OF,
            shared=((_Q, _SHARED),),
            at_ms=_T,
        ),
        m.TraceAnswer(query_id="q-1", trace_id="trace-1", kind="behind", partition=2),
        _met(part=1, parts=3, people=(_Q,), rows=_MEETING),
        _met(part=2, parts=3, people=(_Q,), columns=_MEETING),
        _met(part=0, parts=1, key_id="p1", pseudonyms=bytes.fromhex(_Q.partition(":")[2]), columns=_MEETING),
        m.TraceAnswer(query_id="q-1", trace_id="trace-1", kind="not_ready", partition=2),
        m.TraceAnswer(query_id="q-1", trace_id="trace-1", kind="deadline", partition=-1),
        m.TraceAnswer(query_id="q-1", trace_id="trace-1", kind="overdue", partition=-1),
        m.TraceAnswer(query_id="q-1", trace_id="trace-1", kind="retry", partition=-1),
        m.TraceAnswer(query_id="", trace_id="trace-1", kind="changed", partition=2, as_of_ms=_T, as_of=_AS_OF),
        m.TraceAnswer(query_id="", trace_id="", kind="erasure", partition=-1, at_ms=_T),
    ],
}
"""Per topic: every field with a value that is not its default, and every word of every literal, at least once."""

_CHANGE: Final = blocks.RegistryChange(origin=(0, 8), venue=m.Venue(venue="mal-0001", capacity=9), at_ms=_T)
_ERASURE: Final = blocks.ErasureOrder(origin=(0, 9), person=_P, before_ms=_T)
_BARRIER: Final = blocks.Barrier(query_id="q-1")
_HEARTBEAT: Final = blocks.Heartbeat(source=1, born_ms=_T)
_WATCH: Final = blocks.WatchOrder(
    trace_id="trace-1",
    case_id="case-1",
    revision=2,
    person=_P,
    direction="backward",
    reply_partition=3,
    window_start_ms=_T - 172_800_000,
    window_end_ms=_T,
    until_ms=_T + 259_200_000,
    linger_ms=7_200_000,
    grid_ms=600_000,
)
_RECOUNT: Final = blocks.RecountOrder(origin=(0, 10), venue="mal-0001", inside=37, at_ms=_T)
_RULES: Final = blocks.RulesChange(origin=(0, 11), rules_id="indonesia", text='name = "x"')
_STAY: Final = blocks.StayReport(
    origin=(0, 12),
    person=_P,
    venue="mal-0001",
    declaration_id="d-1",
    start_ms=_T,
    end_ms=_T + 3_600_000,
    withdrawn=True,
    told_at_ms=_T + 7_200_000,
)
_PASSED_ON: Final = (_CHANGE, _ERASURE, _WATCH, _BARRIER, _RECOUNT, _RULES, _HEARTBEAT)
_ROWS: Final = [[7, 0, 0, 7, 0, 0, _T, _T + 7_200_000, _T, 0, 0, 0]] + [
    [8, scan, 1, 7, 0, 1, _T, _T + 60_000 * scan, _T + 7_200_000, scan, 0, blocks.TOUCHES]
    for scan in range(1, len(blocks.REASONS))
]

FRAME_SAMPLES: Final[dict[str, tuple[bytes, msgspec.Struct]]] = {
    "scans": (
        blocks.SCANS_MAGIC,
        blocks.ScanBlock(
            persons=[_P, _Q, _P],
            venues=["mal-0001", "toko-0001", "mal-0001"],
            kinds=bytes(range(3)),
            at_ms=np.array([_T, _T + 1, -1], "<i8").tobytes(),
            arrived_at_ms=np.array([_T, _T, _T], "<i8").tobytes(),
            scan_ids=["a", "b", "c"],
            gateway="gw-03",
        ),
    ),
    "visits": (
        blocks.VISITS_MAGIC,
        blocks.VisitBlock(
            source_partition=1,
            first_offset=7,
            next_offset=10,
            log_time_ms=_T,
            lineages=[blocks.Lineage("mal-0001"), blocks.Lineage("toko-0001", ("mal-0001",))],
            persons=[_P] * len(_ROWS),
            rows=np.array(_ROWS, "<i8").tobytes(),
            controls=[blocks.PlacedControl(9, _T, control) for control in _PASSED_ON],
            recorded_ms=_T - 5,
        ),
    ),
    "windows": (
        blocks.WINDOWS_MAGIC,
        blocks.WindowBlock(
            source_partition=2,
            position=(40, 1),
            window_ms=600_000,
            log_time_ms=_T,
            venues=["mal-0001"],
            rows=np.array([[0, _T, 3, 2, 1, 9, 123_456], [0, _T + 600_000, 0, 0, 0, 0, 0]], "<i8").tobytes(),
        ),
    ),
    "control-tick": (blocks.CONTROL_MAGIC, blocks.Tick(_T, True)),
    "control-venue": (blocks.CONTROL_MAGIC, _CHANGE),
    "control-erasure": (blocks.CONTROL_MAGIC, _ERASURE),
    "control-barrier": (blocks.CONTROL_MAGIC, _BARRIER),
    "control-watch": (blocks.CONTROL_MAGIC, _WATCH),
    "control-recount": (blocks.CONTROL_MAGIC, _RECOUNT),
    "control-rules": (blocks.CONTROL_MAGIC, _RULES),
    "control-stay": (blocks.CONTROL_MAGIC, _STAY),
    "control-heartbeat": (blocks.CONTROL_MAGIC, _HEARTBEAT),
}


def shapes() -> dict[str, Any]:
    """Every type's fields as their JSON Schemas; for what travels as an array or as columns, the names in order."""
    found: dict[str, Any] = {"fields": {}, "order": {}}
    documents = [message_schema(channel.message) for channel in CHANNELS if channel.message is not None]
    for document in documents + [frame_schema(framed) for framed in FRAMES]:
        for name, schema in document["$defs"].items():
            if "properties" in schema:
                found["fields"][name] = schema["properties"]
        found["order"] |= document.get("x-fields", {})
    found["order"] |= {
        "KINDS": list(blocks.KINDS),
        "REASONS": list(blocks.REASONS),
        "VISIT_COLUMNS": list(blocks.VISIT_COLUMNS),
        "WINDOW_COLUMNS": list(blocks.WINDOW_COLUMNS),
    }
    return found


def record(folder: Path) -> None:
    """Write today's samples into `folder`. Raises FileExistsError when it is there: yesterday is not rewritten."""
    folder.mkdir()
    for topic, samples in SAMPLES.items():
        _lines(folder / f"{topic}.jsonl", [msgspec.json.encode(sample).decode() for sample in samples])
        _lines(folder / f"{topic}.means.jsonl", [json.dumps(spell_out(sample)) for sample in samples])
    for name, (magic, body) in FRAME_SAMPLES.items():
        (folder / f"{name}.frame").write_bytes(blocks.frame(magic, body))
        _lines(folder / f"{name}.means.json", [json.dumps(spell_out_frame(body), indent=1)])
    _lines(folder / "shapes.json", [json.dumps(shapes(), indent=1)])


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the new folder: python -m tests.golden.record v2")
    record(GOLDEN / sys.argv[1])

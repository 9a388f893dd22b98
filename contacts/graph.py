"""The trace's graph: people as nodes, every shared stay an edge with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import networkx as nx

from schemas.messages import Contact, SharedStay, Trace

Attributes = dict[str, str | int | float | bool]


def trace_graph(trace: Trace) -> nx.MultiDiGraph:
    """The report as a networkx graph; an edge goes from who may have infected to who may have been infected.

    Nodes: `role` (case or contact) and `hop` (the case: 0); of contacts `grade`, `minutes`, and where they are known
    `decided_by`, `risk`, `earliest_ms`, `score` and `level`. Edges: `venue`, `category` where it is known, `start_ms`,
    `end_ms`, `minutes`, both stays (`case_start_ms`, `case_end_ms`, `contact_start_ms`, `contact_end_ms`; at a later
    hop the case's side is that of who exposed the contact), which ends are assumed (`case_end_assumed`,
    `contact_end_assumed`), of which a self-reported visit is part (`case_self_reported`, `contact_self_reported`),
    `rule` with its version, and where there is one `score` and `told_by`.
    """
    graph = nx.MultiDiGraph(
        trace_id=trace.trace_id, case_id=trace.case_id, direction=trace.direction, profile=trace.profile,
        profile_version=trace.profile_version, state=trace.state, revision=trace.revision, hops=trace.hops,
        cut_by=" ".join(trace.cut_by),
    )  # fmt: skip
    graph.add_node(trace.person, role="case", hop=0)
    for contact in trace.contacts:
        graph.add_node(contact.person, **_person(contact))
        exposer = contact.exposed_by[-1] if contact.exposed_by else trace.person
        pair = (exposer, contact.person) if trace.direction == "forward" else (contact.person, exposer)
        for stay in contact.evidence:
            graph.add_edge(*pair, **_stay(stay), rule=contact.rule)
    return graph


def dated_graph(trace: Trace) -> nx.MultiDiGraph:
    """The same with the shared time as `start` and `end` of each edge (RFC 3339, UTC), as a GEXF timeline has it."""
    graph = trace_graph(trace)
    for _, _, shared in graph.edges(data=True):
        shared["start"], shared["end"] = _utc(shared["start_ms"]), _utc(shared["end_ms"])
    return graph


def _person(contact: Contact) -> Attributes:
    known = {
        "decided_by": contact.decided_by, "risk": contact.risk, "earliest_ms": contact.earliest_ms,
        "score": contact.score, "level": contact.level,
    }  # fmt: skip
    return {
        "role": "contact", "hop": contact.hop, "grade": contact.grade, "minutes": contact.minutes, **_given(known)
    }  # fmt: skip


def _stay(stay: SharedStay) -> Attributes:
    known = {"category": stay.category or None, "score": stay.score, "told_by": stay.told_by}
    return {
        "venue": stay.venue,
        "start_ms": stay.start_ms,
        "end_ms": stay.end_ms,
        "minutes": stay.minutes,
        "case_start_ms": stay.case_stay.start_ms,
        "case_end_ms": stay.case_stay.end_ms,
        "case_end_assumed": stay.case_stay.end_assumed,
        "contact_start_ms": stay.contact_stay.start_ms,
        "contact_end_ms": stay.contact_stay.end_ms,
        "contact_end_assumed": stay.contact_stay.end_assumed,
        "case_self_reported": stay.case_stay.self_reported,
        "contact_self_reported": stay.contact_stay.self_reported,
        **_given(known),
    }


def _given(known: Mapping[str, str | int | float | None]) -> Attributes:
    return {name: value for name, value in known.items() if value is not None}


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

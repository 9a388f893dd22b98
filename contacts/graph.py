"""The trace's graph: people as nodes, every shared stay an edge with its evidence."""

from __future__ import annotations

import networkx as nx

from schemas.messages import Trace


def trace_graph(trace: Trace) -> nx.MultiDiGraph:
    """The report as a networkx graph; an edge goes from who may have infected to who may have been infected.

    Nodes: `role` (case or contact), `grade`, and of contacts `hop`, `risk` (-1 where unknown), `earliest_ms` (0 where
    unknown). Edges: `venue`, `category`, `start_ms`, `end_ms`, `minutes`, both stays (`case_start_ms`, `case_end_ms`,
    `contact_start_ms`, `contact_end_ms`; at a later hop the case's side is that of who exposed the contact), which
    ends are assumed, `rule`.
    """
    graph = nx.MultiDiGraph(
        trace_id=trace.trace_id, case_id=trace.case_id, direction=trace.direction, profile=trace.profile,
        profile_version=trace.profile_version, state=trace.state, revision=trace.revision, hops=trace.hops,
        cut_by=" ".join(trace.cut_by),
    )  # fmt: skip
    graph.add_node(trace.person, role="case", grade="")
    for contact in trace.contacts:
        graph.add_node(
            contact.person, role="contact", grade=contact.grade, hop=contact.hop,
            risk=-1.0 if contact.risk is None else contact.risk, earliest_ms=contact.earliest_ms or 0,
        )  # fmt: skip
        exposer = contact.exposed_by[-1] if contact.exposed_by else trace.person
        pair = (exposer, contact.person) if trace.direction == "forward" else (contact.person, exposer)
        for stay in contact.evidence:
            graph.add_edge(
                *pair,
                venue=stay.venue,
                category=stay.category,
                start_ms=stay.start_ms,
                end_ms=stay.end_ms,
                minutes=stay.minutes,
                case_start_ms=stay.case_stay.start_ms,
                case_end_ms=stay.case_stay.end_ms,
                case_end_assumed=stay.case_stay.end_assumed,
                contact_start_ms=stay.contact_stay.start_ms,
                contact_end_ms=stay.contact_stay.end_ms,
                contact_end_assumed=stay.contact_stay.end_assumed,
                rule=contact.rule,
            )
    return graph

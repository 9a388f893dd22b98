"""A trace as others read it: JSON, CSV, GraphML, GEXF, and a tree for the terminal."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from rich.text import Text
from rich.tree import Tree

from schemas.messages import Contact, Direction, SharedStay, Trace

CSV_COLUMNS = (
    "trace_id", "case", "direction", "contact", "grade", "decided_by", "venue", "start", "end", "minutes",
    "case_start", "case_end", "case_end_assumed", "contact_start", "contact_end", "contact_end_assumed", "rule",
    "score", "level", "hop", "exposed_by", "risk", "earliest", "case_self_reported", "contact_self_reported",
)  # fmt: skip
"""One row a shared stay; times are RFC 3339 in UTC. At a later hop `case_...` are of who exposed the contact."""

_GRADES = {"possible": "yellow", "confirmed": "red", "dismissed": "bright_black"}


def to_json(trace: Trace) -> str:
    """The whole report, indented."""
    return msgspec.json.format(msgspec.json.encode(trace), indent=2).decode()


def to_csv(trace: Trace) -> str:
    """The evidence, one row a shared stay, under CSV_COLUMNS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for contact in trace.contacts:
        for stay in contact.evidence:
            writer.writerow(
                (
                    trace.trace_id, trace.person, trace.direction, contact.person, contact.grade,
                    contact.decided_by or "", stay.venue, utc(stay.start_ms), utc(stay.end_ms), f"{stay.minutes:.3f}",
                    utc(stay.case_stay.start_ms), utc(stay.case_stay.end_ms), stay.case_stay.end_assumed,
                    utc(stay.contact_stay.start_ms), utc(stay.contact_stay.end_ms), stay.contact_stay.end_assumed,
                    contact.rule, stay.score, contact.level,
                    contact.hop, " ".join(contact.exposed_by), "" if contact.risk is None else f"{contact.risk:.9f}",
                    "" if contact.earliest_ms is None else utc(contact.earliest_ms),
                    stay.case_stay.self_reported, stay.contact_stay.self_reported,
                )
            )  # fmt: skip
    return text.getvalue()


def to_graphml(trace: Trace) -> str:
    """The trace's graph as GraphML, for Gephi, yEd or networkx."""
    import networkx as nx  # half of what starting a command would take

    from contacts.graph import trace_graph

    return "\n".join(nx.generate_graphml(trace_graph(trace)))


def to_gexf(trace: Trace) -> str:
    """The trace's graph as GEXF, for Gephi: each shared stay has its time, so that the timeline plays them."""
    import networkx as nx

    from contacts.graph import dated_graph

    return "\n".join(nx.generate_gexf(dated_graph(trace)))


def to_tree(trace: Trace, zone: ZoneInfo) -> Tree:
    """The report for the terminal: contacts with most minutes first, with their evidence; `~` marks an assumed end."""
    title = Text.assemble(
        (f"{trace.direction} trace {trace.trace_id}", "bold"), f" of {trace.person}\n",
        f"{trace.state}, revision {trace.revision}, profile {trace.profile}@{trace.profile_version}, "
        f"window {local(trace.window_start_ms, zone)} to {local(trace.window_end_ms, zone)}",
    )  # fmt: skip
    if trace.as_of_ms is not None:
        title.append(f"\nas of {local(trace.as_of_ms, zone)}, asked by {trace.officer} for: {trace.purpose}")
    if trace.standing_until_ms is not None and trace.state != "withdrawn":
        stands = "stood" if trace.ended else "stands: what changes comes as another report"
        title.append(f"\n{stands} until {local(trace.standing_until_ms, zone)}")
    tree = Tree(title)
    for sentence in lacking(trace):
        tree.add(Text(sentence, "bold red"))
    if trace.hops > 1:
        tree.add(Text(reach(trace), "bold yellow" if trace.cut_by else "dim"))
    if not trace.contacts:
        tree.add("nobody")
    for contact in by_hop(trace.contacts):
        branch = tree.add(_contact(contact, trace))
        for line in _way(contact, trace.direction, zone):
            branch.add(line)
        for stay in contact.evidence:
            branch.add(_evidence(stay, zone))
    return tree


def by_hop(contacts: Iterable[Contact]) -> list[Contact]:
    """Nearest first; at the first hop those with most minutes, later those with most risk."""
    return sorted(contacts, key=lambda c: (c.hop, -c.minutes if c.hop == 1 else -(c.risk or 0.0), c.person))


def lacking(trace: Trace) -> list[str]:
    """What a partial report lacks, a sentence for each reason."""
    reasons = ((trace.missing_partitions, "did not answer"), (trace.behind_partitions, "had not caught up"))
    return [
        f"Partitions {', '.join(map(str, partitions))} {words}: contacts may be lacking. They are asked again."
        for partitions, words in reasons
        if partitions
    ]


def reach(trace: Trace) -> str:
    """How far a trace over several hops went, and what it would have gone on for but for a limit."""
    counts = Counter(contact.hop for contact in trace.contacts)
    words = ", ".join(f"{counts[hop]} at hop {hop}" for hop in sorted(counts)) or "nobody"
    followed = f"{trace.hops} hops, followed from a risk of {percent(trace.least_risk or 0.0)} on: {words}."
    cut = [_CUTS[limit] for limit in trace.cut_by]
    return f"{followed} Cut by {' and '.join(cut)}: there are more." if cut else f"{followed} No limit cut it."


_CUTS = {"hops": "the number of hops", "people": "the number of people", "seconds": "its time"}


def percent(risk: float) -> str:
    """A risk as people read it."""
    return "< 0.01 %" if 0 < risk < 0.0001 else f"{100 * risk:.2g} %" if risk < 0.1 else f"{100 * risk:.0f} %"


def _contact(contact: Contact, trace: Trace) -> Text:
    by = f" by {contact.decided_by}" if contact.decided_by else ""
    risk = f"  risk {percent(contact.risk)}" if contact.risk is not None else ""
    score = "" if contact.score is None else f"score {contact.score:g} {contact.level or ''}".rstrip() + "  "
    rule = "" if contact.rule == f"{trace.profile}@{trace.profile_version}" else f"  {contact.rule}"
    return Text.assemble(
        (contact.person, "bold"),
        f"  {contact.minutes:.0f} min  {score}",
        (contact.grade + by, _GRADES[contact.grade]),
        risk,
        (rule, "dim"),
    )


def _way(contact: Contact, direction: Direction, zone: ZoneInfo) -> list[Text]:
    """Of a later hop: by way of whom, and when they may have been infected."""
    if not contact.exposed_by:
        return []
    lines = [Text(f"hop {contact.hop} by way of {', '.join(contact.exposed_by)}")]
    if contact.earliest_ms is not None:
        when = "earliest" if direction == "forward" else "latest"
        lines.append(Text(f"infected {local(contact.earliest_ms, zone)} at the {when}"))
    return lines


def _evidence(stay: SharedStay, zone: ZoneInfo) -> Text:
    mark = "~" if end_assumed(stay) else ""
    told = f"  told to {stay.told_by}" if stay.told_by else "  self-reported" if self_reported(stay) else ""
    return Text(
        f"{stay.venue or 'no venue'}  {local(stay.start_ms, zone)} to {mark}{local(stay.end_ms, zone)[11:]}"
        f"  {stay.minutes:.0f} min{told}"
    )


def end_assumed(stay: SharedStay) -> bool:
    """Whether one of the two may have left earlier than the shared part ends: they never checked out."""
    return stay.case_stay.end_assumed or stay.contact_stay.end_assumed


def self_reported(stay: SharedStay) -> bool:
    """Whether it rests on a stay that one of the two has only told of: no door saw all of it."""
    return stay.case_stay.self_reported or stay.contact_stay.self_reported


def utc(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(at_ms: int, zone: ZoneInfo) -> str:
    """A time as people of the zone write it, to the minute."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M")

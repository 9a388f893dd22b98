"""A trace as graph, table and tree: every person and every shared stay, read back by what others read them with."""

from __future__ import annotations

import csv
import io
from zoneinfo import ZoneInfo

import msgspec
import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from contacts.graph import trace_graph
from officer.exports import CSV_COLUMNS, to_csv, to_gexf, to_graphml, to_json, to_tree, utc
from schemas.messages import Contact, Direction, SharedStay, StayEvidence, Trace

MINUTE, HOUR = 60_000, 3_600_000
BEGIN = 1_634_749_200_000
"""21 October 2021, midnight in Jakarta."""
JAKARTA = ZoneInfo("Asia/Jakarta")


def stay(venue: str, start: int, end: int, *, category: str = "", late: int = 0, assumed: int = 0) -> SharedStay:
    """Shared time of minutes `start` to `end`; the contact stayed `late` minutes longer. `assumed`: 1 or 2."""
    at = [BEGIN + minute * MINUTE for minute in (start, end, end + late)]
    return SharedStay(
        venue=venue, start_ms=at[0], end_ms=at[1], minutes=float(end - start), category=category,
        case_stay=StayEvidence(start_ms=at[0] - MINUTE, end_ms=at[1], end_assumed=bool(assumed & 1)),
        contact_stay=StayEvidence(start_ms=at[0], end_ms=at[2], end_assumed=bool(assumed & 2)),
    )  # fmt: skip


def contact(person: str, *stays: SharedStay, **known: object) -> Contact:
    """A contact with its evidence."""
    minutes = sum(each.minutes for each in stays)
    return Contact(person=person, minutes=minutes, rule="who@2020-03-20", evidence=stays, **known)  # type: ignore[arg-type]


def trace(*contacts: Contact, direction: Direction = "forward", **more: object) -> Trace:
    """A report of `ill` with these contacts."""
    known = {"hops": max([1, *(each.hop for each in contacts)]), **more}
    return Trace(
        trace_id="t1", case_id="c1", person="ill", direction=direction, profile="who", profile_version="2020-03-20",
        officer="dr", purpose="why", state="complete", revision=3, position=(3, 5), requested_at_ms=BEGIN,
        window_start_ms=BEGIN - 48 * HOUR, window_end_ms=BEGIN + 240 * HOUR, contacts=contacts, **known,  # type: ignore[arg-type]
    )  # fmt: skip


def three_hops(direction: Direction = "forward") -> Trace:
    """`ill` met `near` twice and `told` (an interview); `near` met `far`, `far` met `last`."""
    told = msgspec.structs.replace(stay("", 300, 360), told_by="nurse")
    return trace(
        contact("near", stay("office", 0, 480, category="office", assumed=2), stay("mall", 600, 660, late=30),
                risk=0.25, earliest_ms=BEGIN, grade="confirmed", decided_by="dr"),
        contact("told", told, grade="confirmed", decided_by="nurse"),
        contact("far", stay("home", 5000, 5600, category="home", assumed=1), hop=2, risk=0.03,
                earliest_ms=BEGIN + 5000 * MINUTE, exposed_by=("near",)),
        contact("last", stay("shop", 9700, 9760), hop=3, risk=0.00002, earliest_ms=BEGIN + 9700 * MINUTE,
                exposed_by=("near", "far"), score=12.5, level="high", grade="dismissed"),
        direction=direction, cut_by=("hops",), least_risk=0.02,
    )  # fmt: skip


WAYS = [("ill", "near"), ("ill", "near"), ("ill", "told"), ("near", "far"), ("far", "last")]

names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Reports of up to three hops, every later contact exposed by one of the hop before, with any names."""
    people = draw(st.lists(names.filter(lambda name: name != "ill"), unique=True, max_size=8))
    found: list[Contact] = []
    for number, person in enumerate(people):
        before = found[draw(st.integers(0, number - 1))] if number and draw(st.booleans()) else None
        starts = draw(st.lists(st.integers(0, 9000), min_size=1, max_size=3))
        stays = [stay(draw(names), at, at + draw(st.integers(1, 900)), category=draw(st.sampled_from(["", "mall"])))
                 for at in sorted(starts)]  # fmt: skip
        known: dict[str, object] = {
            "grade": draw(st.sampled_from(["possible", "confirmed", "dismissed"])),
            "risk": draw(st.none() | st.floats(0, 1)),
            "earliest_ms": draw(st.sampled_from([None, BEGIN])),
        }
        if before is not None:
            known |= {"hop": before.hop + 1, "exposed_by": (*before.exposed_by, before.person)}
        found.append(contact(person, *stays, **known))
    return trace(*found, direction=draw(st.sampled_from(["forward", "backward"])))


def read_back(written: Trace) -> dict[str, nx.MultiDiGraph]:
    """The graph as each format gives it again."""
    return {
        "graphml": nx.parse_graphml(to_graphml(written), force_multigraph=True),
        "gexf": nx.read_gexf(io.BytesIO(to_gexf(written).encode())),
    }


def shared(graph: nx.MultiDiGraph) -> list[tuple[object, ...]]:
    """The edges with all that was said of them, but for what a format adds of its own."""
    own = ("id", "start", "end", "networkx_key")
    return sorted(
        (one, other, sorted((name, value) for name, value in said.items() if name not in own))
        for one, other, said in graph.edges(data=True)
    )


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_an_edge_goes_from_who_may_have_infected_whom(direction: Direction) -> None:
    """At a later hop from who exposed the contact; backward the other way round."""
    graph = trace_graph(three_hops(direction))
    ways = WAYS if direction == "forward" else [(other, one) for one, other in WAYS]
    assert sorted((one, other) for one, other, _ in graph.edges) == sorted(ways)


def test_nodes_and_edges_say_what_the_report_says() -> None:
    """What is not known is left out rather than made up."""
    graph = trace_graph(three_hops())
    assert dict(graph.nodes(data=True)) == {
        "ill": {"role": "case", "hop": 0},
        "near": {"role": "contact", "hop": 1, "grade": "confirmed", "minutes": 540.0, "decided_by": "dr", "risk": 0.25,
                 "earliest_ms": BEGIN},
        "told": {"role": "contact", "hop": 1, "grade": "confirmed", "minutes": 60.0, "decided_by": "nurse"},
        "far": {"role": "contact", "hop": 2, "grade": "possible", "minutes": 600.0, "risk": 0.03,
                "earliest_ms": BEGIN + 5000 * MINUTE},
        "last": {"role": "contact", "hop": 3, "grade": "dismissed", "minutes": 60.0, "risk": 0.00002,
                 "earliest_ms": BEGIN + 9700 * MINUTE, "score": 12.5, "level": "high"},
    }  # fmt: skip
    assert graph["near"]["far"][0] == {
        "venue": "home", "category": "home", "start_ms": BEGIN + 5000 * MINUTE, "end_ms": BEGIN + 5600 * MINUTE,
        "minutes": 600.0, "case_start_ms": BEGIN + 4999 * MINUTE, "case_end_ms": BEGIN + 5600 * MINUTE,
        "case_end_assumed": True, "contact_start_ms": BEGIN + 5000 * MINUTE, "contact_end_ms": BEGIN + 5600 * MINUTE,
        "contact_end_assumed": False, "case_self_reported": False, "contact_self_reported": False,
            "rule": "who@2020-03-20",
    }  # fmt: skip
    assert graph["ill"]["told"][0]["told_by"] == "nurse"
    assert (graph.graph["direction"], graph.graph["cut_by"]) == ("forward", "hops")


@given(traces())
def test_graphs_read_back_are_the_graph(report: Trace) -> None:
    """GraphML and GEXF keep every person, every shared stay and all that is said of them, whatever the names."""
    graph = trace_graph(report)
    for form, found in read_back(report).items():
        labelled = {name: {k: v for k, v in said.items() if k != "label"} for name, said in found.nodes(data=True)}
        assert (form, labelled) == (form, dict(graph.nodes(data=True)))
        assert (form, shared(found)) == (form, shared(graph))


def test_gexf_has_times_for_a_timeline() -> None:
    graph = read_back(three_hops())["gexf"]
    assert graph.graph["mode"] == "dynamic"
    (home,) = (said for _, other, said in graph.edges(data=True) if other == "far")
    assert (home["start"], home["end"]) == (utc(BEGIN + 5000 * MINUTE), utc(BEGIN + 5600 * MINUTE))


def test_a_report_without_contacts_is_the_case_alone() -> None:
    for found in (trace_graph(trace()), *read_back(trace()).values()):
        assert (list(found.nodes), list(found.edges)) == (["ill"], [])
    assert to_csv(trace()) == ",".join(CSV_COLUMNS) + "\n"


@given(traces())
def test_json_is_the_report_and_csv_its_stays(report: Trace) -> None:
    assert msgspec.json.decode(to_json(report), type=Trace) == report
    rows = list(csv.DictReader(io.StringIO(to_csv(report), newline="")))
    said = [(row["contact"], row["venue"], row["start"], row["exposed_by"], row["hop"]) for row in rows]
    assert said == [
        (each.person, part.venue, utc(part.start_ms), " ".join(each.exposed_by), str(each.hop))
        for each in report.contacts
        for part in each.evidence
    ]


def tree(report: Trace) -> list[str]:
    """The lines of the tree in a terminal of 80 columns."""
    console = Console(file=io.StringIO(), width=80)
    console.print(to_tree(report, JAKARTA))
    return [line.strip("│├└─ ") for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_tree_tells_each_hop_in_lines_of_its_own() -> None:
    lines = tree(three_hops())
    assert "Cut by the number of hops: there are more." in " ".join(lines)
    at = lines.index("far  600 min  possible  risk 3 %")
    assert lines[at + 1 : at + 4] == [
        "hop 2 by way of near",
        "infected 2021-10-24 11:20 at the earliest",
        "home  2021-10-24 11:20 to ~21:20  600 min",
    ]
    assert "infected 2021-10-24 11:20 at the latest" in tree(three_hops("backward"))


def test_names_of_32_digits_do_not_break_a_contact_s_line() -> None:
    """A rule is named only where it is not the trace's own."""
    person = "p1:" + "0123456789abcdef" * 2
    known = {"grade": "confirmed", "risk": 0.0212}
    lines = tree(trace(contact(person, stay("mall", 0, 1500), **known)))
    assert f"{person}  1500 min  confirmed  risk 2.1 %" in lines
    told = msgspec.structs.replace(contact("told", stay("", 0, 15)), rule="who@2020-03-20+interview")
    assert "told  15 min  possible  who@2020-03-20+interview" in tree(trace(told))

"""`lacak sources`, `lacak trace --hops` and `lacak show` on a running pipeline: what officers see, and the audit."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import psycopg
import pytest
from click.testing import CliRunner, Result

from lacak.main import cli
from lacak.officer_commands import send
from lacak.settings import environment_of
from officer.store import Store
from schemas.messages import Scan, TestResult, Venue
from tests.pipeline import Broker, Pipeline, pipeline

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOON = 1_634_792_400_000
"""21 October 2021, 12:00 in Jakarta."""
CASES = ("c1", "c2", "c3", "c4")
ASKING = ("--officer", "dr", "--purpose", "outbreak 12")


def stay(person: str, venue: str, start_ms: int, minutes: int) -> list[Scan]:
    """A check-in and a check-out."""
    return [
        Scan(person=person, venue=venue, kind="in", at_ms=start_ms, arrived_at_ms=start_ms),
        Scan(
            person=person, venue=venue, kind="out", at_ms=start_ms + minutes * MINUTE,
            arrived_at_ms=start_ms + minutes * MINUTE,
        ),
    ]  # fmt: skip


def town() -> list[Scan]:
    """Sixty people in a mall's shop every noon and in clubs at night; all four cases were in the shop once, and three
    dined where `carrier` did."""
    scans = []
    for day in range(6):
        for number in range(60):
            scans += stay(f"shopper{number}", "shop", NOON + day * DAY + number * MINUTE, 90)
            scans += stay(f"shopper{number}", f"club{number % 4}", NOON + day * DAY + 7 * HOUR, 120)
    for number, case in enumerate(CASES):
        scans += stay(case, "shop", NOON + number * DAY + 20 * MINUTE, 60)
    for case in CASES[:3]:
        scans += stay(case, "diner", NOON + 7 * HOUR, 60)
    scans += stay("carrier", "diner", NOON + 7 * HOUR, 90)
    scans += stay("c1", "home", NOON + 9 * DAY, 300) + stay("spouse", "home", NOON + 9 * DAY, 300)
    return scans + stay("spouse", "desk", NOON + 13 * DAY, 240) + stay("colleague", "desk", NOON + 13 * DAY, 240)


@pytest.fixture(scope="module")
def running(broker: Broker, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The town, and four positive tests with onsets a week after the dinner."""
    with pipeline(broker, database, tmp_path_factory.mktemp("origins")) as made:
        made.register(
            [
                Venue(venue="mall", category="mall", name="Mal Kota"),
                Venue(venue="shop", category="shop", within="mall"),
                Venue(venue="diner", category="restaurant", name="Warung Ibu"),
                Venue(venue="home", category="home"),
                Venue(venue="desk", category="office"),
            ]
        )
        made.publish(sorted(town(), key=lambda scan: scan.at_ms))
        made.end()
        for case in CASES:
            result = TestResult(person=case, outcome="positive", specimen_ms=NOON + 9 * DAY, onset_ms=NOON + 8 * DAY)
            send(made.settings, "test-results", case, result)
            with Store.opened(made.settings.database) as store:
                assert len(store.await_traces(case, 0, 2, 30.0)) == 2
        yield made


def lacak(running: Pipeline, *words: str) -> Result:
    """A command on the running pipeline."""
    result = CliRunner().invoke(cli, [*words], env={**environment_of(running.settings), "COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_diner_of_three_cases_comes_before_the_mall_of_four(running: Pipeline) -> None:
    result = lacak(running, "sources", *CASES, *ASKING, "--json")
    rows = json.loads(result.stdout)
    places = [row for row in rows if row["what"] == "place"]
    assert places[0]["name"] == "diner"
    assert {row["name"] for row in places} == {"diner", "shop", "mall"}
    diner, mall = places[0], next(row for row in places if row["name"] == "mall")
    assert (diner["cases"], diner["observed"]) == (["c1", "c2", "c3"], 3)
    assert (mall["observed"], mall["cases"]) == (4, list(CASES))
    assert diner["ratio"] > mall["ratio"]
    best = rows[rows.index(diner) + 1]
    assert (best["what"], best["start"], best["end"]) == (
        "time",
        "2021-10-21T12:00:00.000Z",
        "2021-10-21T13:00:00.000Z",
    )
    people = [row for row in rows if row["what"] == "person"]
    carrier = next(row for row in people if row["name"] == "carrier")
    assert carrier["cases"] == ["c1", "c2", "c3"]
    assert carrier["risk"] == max(row["risk"] for row in people)


def test_sources_are_audited_and_read_as_a_table_and_as_csv(running: Pipeline) -> None:
    result = lacak(running, "sources", "c1", "c2", "c3", *ASKING)
    assert re.search(r"diner  Warung Ibu\n  ▒*█+  3 of 3 cases", result.stdout), result.stdout
    assert "2021-10-21 19:00 to 20:00: 3 cases" in result.stdout
    listed = list(csv.DictReader(io.StringIO(lacak(running, "sources", "c1", "c2", *ASKING, "--csv").stdout)))
    assert [row["cases"] for row in listed if row["name"] == "diner"] == ["c1 c2", "c1 c2"]
    before = lacak(running, "sources", "c1", "c2", *ASKING, "--until", "2021-10-21T18:00:00+07:00", "--csv")
    assert "diner" not in before.stdout
    with psycopg.connect(running.settings.database) as connection:
        audited = connection.execute(
            "select person, officer, purpose from lacak.audit where action = 'sources' and person = 'c3'"
        ).fetchall()
    assert ("c3", "dr", "outbreak 12") in audited


def test_sources_of_who_has_no_case_is_a_sentence(running: Pipeline) -> None:
    result = lacak(running, "sources", "spouse", *ASKING)
    assert result.exit_code == 1
    assert "spouse has no case here: report the positive test" in result.output
    result = lacak(running, "sources", "c1", "--since", "2021-10-22", "--until", "2021-10-21", *ASKING)
    assert result.exit_code == 2
    assert "--until must be after --since" in result.output


def test_a_trace_over_two_hops_shows_risk_and_the_way(running: Pipeline, tmp_path: Path) -> None:
    """The colleague is reached by way of the spouse, three days after the evening at home."""
    result = lacak(
        running, "trace", "c1", "--hops", "2", "--least-risk", "2%", "--people", "500", "--wait", *ASKING
    )  # fmt: skip
    assert re.search(r"spouse  300 min  possible  risk 5\.\d %", result.stdout), result.stdout
    assert re.search(r"colleague  240 min  possible  risk 0\.\d+ %\n.* hop 2 by way of spouse\n", result.stdout)
    assert "2 hops, followed from a risk of 2 % on" in result.stdout
    trace = re.search(r"forward trace (\S+) of c1", result.stdout)
    assert trace
    shown = list(csv.DictReader(io.StringIO(lacak(running, "show", trace[1], "--csv", *ASKING).stdout)))
    colleague = next(row for row in shown if row["contact"] == "colleague")
    assert (colleague["hop"], colleague["exposed_by"], colleague["venue"]) == ("2", "spouse", "desk")
    assert colleague["earliest"] == "2021-11-03T05:00:00.000Z"
    assert "exposed_by" in lacak(running, "show", trace[1], "--json", *ASKING).stdout
    lacak(running, "show", trace[1], "--svg", str(tmp_path / "trace.svg"), *ASKING)
    assert "hop 2 by way of spouse</title>" in (tmp_path / "trace.svg").read_text("utf-8")
    assert 'target="colleague"' in lacak(running, "show", trace[1], "--graphml", *ASKING).stdout
    lacak(running, "show", trace[1], "--gexf", str(tmp_path / "trace.gexf"), *ASKING)
    graph = nx.read_gexf(tmp_path / "trace.gexf")
    assert [(one, said["start"]) for one, _, said in graph.in_edges("colleague", data=True)] == [
        ("spouse", "2021-11-03T05:00:00.000Z")
    ]


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--hops", "11", "11 is not in the range 1<=x<=10"),
        ("--least-risk", "200%", "'200%' is no share such as 2% or 0.02"),
        ("--least-risk", "nan", "'nan' is no share"),
        ("--people", "0", "0 is not in the range 1<=x<=20000"),
    ],
)
def test_what_a_trace_cannot_be_asked_for_is_a_sentence(option: str, value: str, sentence: str) -> None:
    result = CliRunner().invoke(cli, ["trace", "c1", option, value, *ASKING])
    assert result.exit_code == 2
    assert sentence in result.output

"""Grafana's dashboards: the JSON is what the code makes, every query is PromQL over metrics that there are, and the
rules of Grafana's dashboard linter hold (github.com/grafana/dashboard-linter, docs/rules)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units

from deploy.grafana.__main__ import FOLDER, stale
from tests.fix_prometheus import needs_prometheus
from tests.pipeline import new_database
from tests.promql import counters, grouped, known, selectors

FILES = sorted(FOLDER.glob("*.json"))
PROMETHEUS = [path for path in FILES if path.stem != "venue"]
UNITS = {value for value in vars(units).values() if isinstance(value, str)}
NOT_OF_A_PROCESS = {"ALERTS"}
"""What Prometheus tells of its own rules: no job and instance choose it."""


def read(path: Path) -> dict[str, Any]:
    """A dashboard."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard, without its rows."""
    return [panel for panel in read(path)["panels"] if panel["type"] != "row"]


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """(title, PromQL) of every target."""
    for panel in panels(path):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def lost(tree: Any, again: Any, where: str = "$") -> list[str]:
    """Where `again` lacks or changes something of `tree`; what it adds, such as empty defaults, is no loss."""
    if isinstance(tree, dict) and isinstance(again, dict):
        return [at for key, value in tree.items() for at in lost(value, again.get(key), f"{where}.{key}")]
    if isinstance(tree, list) and isinstance(again, list) and len(tree) == len(again):
        return [
            at
            for i, (one, other) in enumerate(zip(tree, again, strict=True))
            for at in lost(one, other, f"{where}[{i}]")
        ]
    return [] if tree == again else [where]


def named(path: Path) -> str:
    """How a parametrised test is called."""
    return path.stem


each = pytest.mark.parametrize("path", FILES, ids=named)
each_of_prometheus = pytest.mark.parametrize("path", PROMETHEUS, ids=named)


def test_the_json_is_what_the_code_makes() -> None:
    """Nobody has changed a dashboard by hand, or the code without writing the JSON."""
    assert len(FILES) == 3
    assert stale() == [], "python -m deploy.grafana"


@each
def test_the_models_of_grafana_read_it_and_write_it_again(path: Path) -> None:
    """The types of Grafana's own SDK know every field, as none is lost between reading and writing."""
    register_default_plugins()
    tree = read(path)
    again = json.loads(json.dumps(model.Dashboard.from_json(tree), cls=JSONEncoder))
    assert lost(tree, again) == []


@each
def test_nobody_changes_it_in_grafana(path: Path) -> None:
    """Rule uneditable-dashboard: what is provisioned is changed in the code."""
    assert read(path)["editable"] is False


@each
def test_ids_and_titles_are_its_own(path: Path) -> None:
    """Each panel has its own number and title, the dashboard a stable uid, and no panel lies on another."""
    everything = read(path)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    assert read(path)["uid"] == f"lacak-{path.stem}"
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


@each
def test_every_panel_says_what_it_is(path: Path) -> None:
    """Rules panel-title-description and panel-units: a title, a sentence, and a unit that Grafana knows."""
    for panel in panels(path):
        assert panel["title"], panel
        assert re.fullmatch(r"[A-Z`].{20,}[.`]", panel["description"]), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        unit = defaults.get("unit") or panel["options"]["yAxis"]["unit"]
        assert unit in UNITS, (panel["title"], unit)


@each
def test_the_data_source_is_chosen_in_the_dashboard(path: Path) -> None:
    """Rules template-datasource and panel-datasource: a variable names it, every panel and target uses that."""
    variables = read(path)["templating"]["list"]
    (source,) = [variable for variable in variables if variable["type"] == "datasource"]
    for panel in panels(path):
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": source["query"], "uid": f"${{{source['name']}}}"}, panel["title"]
    for variable in variables:
        if variable["type"] == "query":
            assert variable["datasource"]["uid"] == f"${{{source['name']}}}"
            assert variable["refresh"] == 2, "rule template-on-time-change-reload"


@each_of_prometheus
def test_job_and_instance_can_be_chosen(path: Path) -> None:
    """Rules template-job and template-instance: both are there, several at once or all."""
    variables = {variable["name"]: variable for variable in read(path)["templating"]["list"]}
    for name in ("job", "instance"):
        assert variables[name]["multi"] and variables[name]["includeAll"] and variables[name]["allValue"] == ".+"
        (asked,) = selectors(variables[name]["query"])
        assert asked.name in known() and asked.labels <= known()[asked.name]


@each_of_prometheus
def test_every_query_is_of_the_jobs_and_instances_chosen(path: Path) -> None:
    """Rules target-job and target-instance."""
    for title, query in queries(path):
        for asked in selectors(query):
            if asked.name not in NOT_OF_A_PROCESS:
                assert {"job", "instance"} <= asked.labels, (title, asked)


@each_of_prometheus
def test_no_query_is_hidden(path: Path) -> None:
    """What is asked is shown; no target is left over."""
    for panel in panels(path):
        assert panel["targets"], panel["title"]
        assert not any(target.get("hide") for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@each_of_prometheus
def test_counters_are_rated_over_the_right_span(path: Path) -> None:
    """Rule target-rate-interval, and that what only rises is shown as what it rises by. A number for the whole time
    shown rises over that ($__range)."""
    rising = counters()
    seen = 0
    for title, query in queries(path):
        for asked in selectors(query):
            if asked.name in rising:
                seen += 1
                assert asked.function in ("rate", "increase"), (title, asked)
                assert asked.range in ("$__rate_interval", "$__range"), (title, asked)
                assert asked.range == "$__rate_interval" or asked.function == "increase", (title, asked)
            else:
                assert asked.range == "", (title, asked)
    assert seen > 10


@each_of_prometheus
def test_every_metric_is_of_the_catalogue(path: Path) -> None:
    """Every metric named is told by somebody, with the labels it is matched and grouped by."""
    there = known()
    for title, query in queries(path):
        labels: set[str] = set()
        for asked in selectors(query):
            assert asked.name in there, (title, asked.name)
            assert asked.labels <= there[asked.name], (title, asked)
            labels |= there[asked.name]
        assert grouped(query) <= labels, (title, grouped(query) - labels)


def test_every_metric_of_the_catalogue_is_shown() -> None:
    """What is measured can be seen: of each metric of ours at least one series is in a dashboard or a rule."""
    shown = {asked.name for path in PROMETHEUS for _, query in queries(path) for asked in selectors(query)}
    rules = "".join(path.read_text("utf-8") for path in (FOLDER.parents[1] / "prometheus/rules").glob("*.yaml"))
    shown |= {asked.name for asked in selectors(rules)}
    base = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    wanted = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known() if name.startswith("lacak_")}
    assert wanted - base == NOT_SHOWN


NOT_SHOWN = {
    "lacak_answer_seconds",  # part of lacak_report_seconds, for whoever looks into a slow report
    "lacak_database_connects_total",  # beside lacak_database_failures_total it says little more
    "lacak_gateway_copy_refused_messages",  # who writes there without right is said in the gateway's log
    "lacak_gateway_copy_records_total",  # the age of a copy says whether it is followed
    "lacak_gateway_sent_total",  # what the gateway sends is what the visits role takes
    "lacak_gateway_spool_bytes",  # told beside the messages
    "lacak_gateway_streams",  # screens of counts
    "lacak_heartbeat_seconds",  # the age is what promises speak of
    "lacak_index_bytes", "lacak_index_people",  # for the sizing guide
    "lacak_log_time_seconds",  # shown as how far it is behind
    "lacak_records_out_total",  # beside lacak_events_out_total, and for records in a batch see those taken
    "lacak_recovery_seconds", "lacak_snapshot_age_seconds", "lacak_snapshot_bytes", "lacak_snapshot_seconds",
}  # fmt: skip
"""What is left to whoever asks for it."""


@needs_prometheus
@each_of_prometheus
def test_every_query_is_promql(path: Path, tmp_path: Path) -> None:
    """Rule target-promql: Prometheus's own parser takes each, with the variables filled in as Grafana does."""
    from deploy.prometheus.live import filled_in
    from deploy.prometheus.server import promtool

    rules = [{"record": f"panel:query{i}", "expr": filled_in(query)} for i, (_, query) in enumerate(queries(path))]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": path.stem, "rules": rules}]}), "utf-8")
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", file)


def test_the_venues_role_reads_counts_and_nothing_else(database: str) -> None:
    """The role of Grafana's user can read the views of `dashboards`; people's tables are closed to it, it changes
    nothing, and no view has a column of a person, a case or a device."""
    with psycopg.connect(new_database(database, "dashboards"), autocommit=True) as connection:
        views = [row[0] for row in connection.execute("select viewname from pg_views where schemaname = 'dashboards'")]
        tables = [row[0] for row in connection.execute("select tablename from pg_tables where schemaname = 'lacak'")]
        assert len(views) == 5 and len(tables) > 12
        connection.execute("set role lacak_dashboards")
        for view in views:
            found = connection.execute(f"select * from dashboards.{view}")
            columns = {column.name for column in found.description or ()}
            assert not columns & {"person", "person_id", "case_ids", "device", "officer", "event_id", "detail"}, view
        for statement in (
            *(f"select * from lacak.{table}" for table in tables),
            "delete from lacak.clusters",
            "create table dashboards.x ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_what_is_provisioned_is_there() -> None:
    """Grafana is told of data sources of the kinds that the dashboards choose from, and of one folder of files."""
    folder = FOLDER.parent / "provisioning"
    sources = yaml.safe_load((folder / "datasources/lacak.yaml").read_text("utf-8"))["datasources"]
    wanted = {
        variable["query"]
        for path in FILES
        for variable in read(path)["templating"]["list"]
        if variable["type"] == "datasource"
    }
    assert {source["type"] for source in sources} == wanted
    assert not any(source["editable"] for source in sources)
    (provider,) = yaml.safe_load((folder / "dashboards/lacak.yaml").read_text("utf-8"))["providers"]
    assert provider["allowUiUpdates"] is False

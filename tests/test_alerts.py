"""Prometheus's rules: valid, over metrics that there are; each alert with what it needs, cases, and a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from deploy.prometheus.server import CASES, CONFIGURATION, RULES, promtool
from deploy.prometheus.shorten import duration_ms, shorten_expression, younger
from lacak.main import cli
from tests.fix_prometheus import needs_prometheus
from tests.promql import grouped, known, selectors

ROOT = Path(__file__).parents[1]
BOOKS = ROOT / "docs/runbooks"
HEADINGS = ["What it means", "What people notice", "What to look at first", "What to do", "Whom to wake"]
FILES = sorted(RULES.glob("*.yaml"))


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    trees = [yaml.safe_load(path.read_text("utf-8")) for path in FILES]
    return [rule for tree in trees for group in tree["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
NAMES = sorted({rule["alert"] for rule in ALERTS})
PAGES = sorted(path for path in BOOKS.glob("*.md") if path.name != "README.md")


def fenced(page: Path, language: str) -> list[str]:
    """The lines of the blocks of a language in a page."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


@needs_prometheus
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    """promtool reads them all."""
    assert "SUCCESS" in promtool("check", "config", CONFIGURATION)
    told = promtool("check", "rules", *FILES)
    assert told.count("SUCCESS") == len(FILES)


@needs_prometheus
@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_cases_hold(file: Path) -> None:
    """promtool runs each case: the alert fires, with these words; it recovers; what is less does not raise it."""
    assert "SUCCESS" in promtool("test", "rules", file)


def test_every_alert_has_its_cases() -> None:
    """At least one case in which it is quiet, then up, then quiet again, and one in which it is never up."""
    cases = [case for path in CASES.glob("*.yaml") for case in yaml.safe_load(path.read_text("utf-8"))["tests"]]
    for name in NAMES:
        courses = [
            [bool(check["exp_alerts"]) for check in case["alert_rule_test"] if check["alertname"] == name]
            for case in cases
        ]
        assert [False, True, False] in courses, name
        assert any(course and not any(course) for course in courses), name


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert", rule.get("record")))
def test_every_rule_is_over_metrics_that_there_are(rule: dict[str, Any]) -> None:
    """What it names is told by somebody or recorded by another rule, with the labels it is matched and grouped by."""
    there = known()
    labels: set[str] = set()
    for asked in selectors(rule["expr"]):
        if asked.name.startswith("lacak:"):
            assert asked.name in RECORDED, asked.name
        else:
            assert asked.name in there, asked.name
            assert asked.labels <= there[asked.name], asked
            labels |= there[asked.name]
    assert grouped(rule["expr"]) <= labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_needed(rule: dict[str, Any]) -> None:
    """A severity, a line, a sentence that uses only labels the alert has, and a runbook that is there and names it."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    texts = rule["annotations"]
    assert texts.keys() == {"summary", "description", "runbook_url"}
    assert texts["summary"].startswith("Lacak: ") and len(texts["summary"]) < 90
    assert texts["description"].endswith(".")
    page = ROOT / texts["runbook_url"]
    assert page in PAGES and f"`{rule['alert']}`" in page.read_text("utf-8").splitlines()[2]
    used = set(re.findall(r"\$labels\.(\w+)", texts["summary"] + texts["description"]))
    has = grouped(rule["expr"]) | {"job", "instance", "role"}
    assert used <= has, used - has


def test_every_page_belongs_to_an_alert_and_is_listed() -> None:
    """No page is left over, and the list of pages has each alert with its severity."""
    assert {ROOT / rule["annotations"]["runbook_url"] for rule in ALERTS} == set(PAGES)
    listed = (BOOKS / "README.md").read_text("utf-8")
    for rule in ALERTS:
        row = f"| `{rule['alert']}` | {rule['labels']['severity']} | ["
        assert row in listed, row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_to_do(page: Path) -> None:
    """The five headings, each with something under it; queries over what there is; commands that there are."""
    text = page.read_text("utf-8")
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    assert parts[1::2] == HEADINGS
    assert all(part.strip() for part in parts[2::2])
    there = known()
    for query in fenced(page, "promql"):
        for asked in selectors(query):
            assert asked.name in RECORDED or asked.labels <= there[asked.name], (query, asked)
    assert fenced(page, "promql")
    for command in [line for line in fenced(page, "sh") if line.startswith("lacak ")] + re.findall(
        r"`(lacak [a-z].*?)`", text
    ):
        words = [word for word in command.split()[1:] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("--")]
        done = CliRunner().invoke(cli, [*words, "--help"] if words[0] != "worker" else ["worker", "--help"])
        assert done.exit_code == 0, (command, done.output)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (BOOKS / target).exists(), target


@needs_prometheus
def test_the_queries_of_the_pages_are_promql(tmp_path: Path) -> None:
    """Prometheus's own parser takes each."""
    queries = [query for page in PAGES for query in fenced(page, "promql")]
    made = [{"record": f"page:query{i}", "expr": query} for i, query in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": made}]}), "utf-8")
    assert f"SUCCESS: {len(made)} rules found" in promtool("check", "rules", file)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("rate(x[5m]) > 14.4 * 0.01", "rate(x[5000ms]) > 14.4 * 0.01"),
        ("avg_over_time(x[3d:5m]) and x offset 10m", "avg_over_time(x[4320000ms:5000ms]) and x offset 10000ms"),
        ("rate(x[30s])", "rate(x[3000ms])"),
    ],
)
def test_rules_can_be_shortened(long: str, short: str) -> None:
    """Ranges, subqueries and offsets become a sixtieth, and no shorter than 3 s; numbers stay."""
    assert shorten_expression(long, 60, 3000) == short


def test_ages_can_be_made_younger() -> None:
    """What a metric of seconds is compared with is divided; shares and counts are not."""
    assert younger("max by (a) (x_seconds) > 120 and y > 120", 10, 5) == "max by (a) (x_seconds) > 12 and y > 120"
    assert younger('max(x_seconds{stage="r"}) > bool 15', 10, 5) == 'max(x_seconds{stage="r"}) > bool 5'
    assert duration_ms("1h30m") == 5_400_000

"""Clusters against their oracle, and what holds of them whatever the visits."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contacts.clusterrules import (
    ClusterRule,
    ClusterRules,
    ClusterRulesError,
    Count,
    load_cluster_rules,
    read_cluster_rules,
)
from contacts.clusters import CaseVisit, clusters_at
from schemas.messages import Cluster
from tests import oracle_clusters as oracle

MINUTE = 60_000
NOON = 1_634_774_400_000
"""Noon UTC of 21 October 2021: a slot's beginning."""

_PATTERNS = ("*", "bar", "*/food", "shop", "shop/*", "shop/food", "*/*/stall")
_CATEGORIES = ("bar", "bar/food", "shop/food", "shop/food/stall", "shop", "school")
_KINDS = ("backward", "forward", "either")

counts = st.builds(
    Count,
    visits=st.sampled_from(_KINDS),
    cases=st.integers(1, 4),
    within_slots=st.integers(1, 4),
    gap_slots=st.integers(0, 3),
    risk=st.sampled_from((1.0, 2.0, 3.0)),
)
rule_sets = st.builds(
    lambda minutes, rules: ClusterRules("made", "made", date(2021, 10, 21), minutes, rules, "made"),
    st.sampled_from((10, 30, 45)),
    st.lists(
        st.builds(
            ClusterRule,
            category=st.sampled_from(_PATTERNS),
            counts=st.lists(counts, min_size=1, max_size=3, unique_by=lambda count: count.visits).map(tuple),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda rule: rule.category,
    ).map(tuple),
)
case_visits = st.builds(
    lambda case, direction, category, start, length: CaseVisit(
        case, direction, category, NOON + start * 5 * MINUTE, NOON + start * 5 * MINUTE + length
    ),
    st.sampled_from("ABCDEF"),
    st.sampled_from(("backward", "forward")),
    st.sampled_from(_CATEGORIES),
    st.integers(-20, 60),
    st.sampled_from((0, 1, 5 * MINUTE, 30 * MINUTE, 31 * MINUTE, 100 * MINUTE)),
)
many = st.lists(case_visits, max_size=25)


def as_found(clusters: list[Cluster]) -> list[oracle.Found]:
    """Our clusters as the oracle writes them."""
    found = []
    for each in clusters:
        version, pattern, visits = each.rule.split()
        assert version == "made@2021-10-21"
        assert each.cases == len(each.case_ids)
        found.append(
            oracle.Found(
                pattern, visits, each.start_ms, each.end_ms, each.case_ids, each.risk, each.category, each.slot_cases
            )
        )
    return sorted(found, key=lambda each: (each.start, each.pattern, each.visits))


@given(many, rule_sets)
def test_clusters_are_those_of_the_oracle(visits: list[CaseVisit], rules: ClusterRules) -> None:
    thresholds = [
        oracle.Threshold(rule.category, c.visits, c.cases, c.within_slots, c.gap_slots, c.risk)
        for rule in rules.rules
        for c in rule.counts
    ]
    wanted = oracle.clusters([oracle.Seen(*visit) for visit in visits], thresholds, rules.slot_minutes)
    assert as_found(clusters_at("v", visits, rules)) == wanted


@given(many, rule_sets, st.randoms())
def test_order_and_copies_change_nothing(visits: list[CaseVisit], rules: ClusterRules, chance: random.Random) -> None:
    again = visits + chance.sample(visits, len(visits) // 2)
    chance.shuffle(again)
    assert clusters_at("v", again, rules) == clusters_at("v", visits, rules)


@given(many, rule_sets)
def test_ids_are_of_one_cluster_each(visits: list[CaseVisit], rules: ClusterRules) -> None:
    ids = [each.cluster_id for venue in ("v", "w") for each in clusters_at(venue, visits, rules)]
    assert len(set(ids)) == len(ids)


@given(many, case_visits)
def test_more_visits_take_no_cluster_away(visits: list[CaseVisit], another: CaseVisit) -> None:
    """Each cluster of fewer visits lies whole, with its cases, in one of more visits."""
    rules = load_cluster_rules("tac-signal")
    more = clusters_at("v", [*visits, another], rules)
    for each in clusters_at("v", visits, rules):
        around = [m for m in more if m.rule == each.rule and m.start_ms <= each.start_ms and each.end_ms <= m.end_ms]
        assert len(around) == 1
        assert set(each.case_ids) <= set(around[0].case_ids)


def visit(case: str, start: float, end: float, direction: str = "backward", category: str = "bar") -> CaseVisit:
    """A visit with times in minutes after noon."""
    return CaseVisit(case, direction, category, NOON + round(start * MINUTE), NOON + round(end * MINUTE))  # type: ignore[arg-type]


def spans(visits: list[CaseVisit], rules: str = "default") -> list[tuple[int, int, str]]:
    """Clusters as (first minute, last minute, cases)."""
    return [
        ((each.start_ms - NOON) // MINUTE, (each.end_ms - NOON) // MINUTE, "".join(each.case_ids))
        for each in clusters_at("v", visits, load_cluster_rules(rules))
    ]


def test_the_third_case_raises_a_cluster_and_its_going_takes_it_away() -> None:
    two = [visit("A", 0, 20), visit("B", 10, 25)]
    assert spans(two) == []
    assert spans([*two, visit("C", 29, 50)]) == [(0, 60, "ABC")]
    assert spans([*two, visit("C", 29, 29)]) == []


def test_a_case_counts_once_however_often_it_came() -> None:
    assert spans([visit("A", 0, 5), visit("A", 6, 9), visit("A", 12, 20), visit("B", 0, 20)]) == []


def test_touching_a_slots_border_is_not_being_in_it() -> None:
    assert spans([visit(case, 0, 30) for case in "ABC"]) == [(0, 30, "ABC")]
    assert spans([visit(case, 0, 30 + 1 / 60_000) for case in "ABC"]) == [(0, 60, "ABC")]


def test_nearby_slots_are_one_cluster_and_far_ones_two() -> None:
    first, near, far = ([visit(case, start, start + 10) for case in "ABC"] for start in (0, 60, 90))
    assert spans(first + near) == [(0, 90, "ABC")]
    assert spans(first + far) == [(0, 30, "ABC"), (90, 120, "ABC")]


def test_cases_further_apart_than_nearby_are_none() -> None:
    assert spans([visit("A", 0, 10), visit("B", 30, 40), visit("C", 60, 70)]) == []


def test_a_merged_cluster_keeps_the_id_of_the_first_and_a_split_one_too() -> None:
    rules = load_cluster_rules("default")
    ends = [visit(case, start, start + 10) for case in "ABC" for start in (0, 120)]
    first, second = clusters_at("v", ends, rules)
    (whole,) = clusters_at("v", [*ends, *(visit(case, 60, 70) for case in "DEF")], rules)
    assert whole.cluster_id == first.cluster_id != second.cluster_id
    assert whole.case_ids == tuple("ABCDEF")


def test_tousanticovid_counts_where_infected_and_where_infecting_apart() -> None:
    visits = [visit(case, 0, 20) for case in "AB"] + [visit("C", 0, 20, "forward")]
    found = clusters_at("v", visits, load_cluster_rules("tac-signal"))
    assert [(each.rule, each.risk, each.case_ids) for each in found] == [
        ("tac-signal@2021-06-09 * forward", 2.0, ("C",))
    ]
    found = clusters_at("v", [*visits, visit("D", 0, 20)], load_cluster_rules("tac-signal"))
    assert [(each.risk, each.case_ids) for each in found] == [(3.0, ("A", "B", "D")), (2.0, ("C",))]


_COUNT = '{visits = "either", cases = 3, within_slots = 2, gap_slots = 1, risk = 3.0}'
_OWN = """
name = "Ours"
source = "us"
valid_from = 2022-01-01
slot_minutes = 30
[[rules]]
category = "*"
counts = [{visits = "either", cases = 3, within_slots = 2, gap_slots = 1, risk = 3.0}]
[[rules]]
category = "school"
counts = [{visits = "either", cases = 2, within_slots = 2, gap_slots = 1, risk = 4.0}]
[[rules]]
category = "home"
counts = []
"""


def test_the_most_specific_rule_of_a_category_wins(tmp_path: Path) -> None:
    (tmp_path / "clusters").mkdir()
    (tmp_path / "clusters" / "ours.toml").write_text(_OWN)
    rules = load_cluster_rules("ours", tmp_path)
    found = {
        (category, cases): [each.risk for each in clusters_at("v", visits, rules)]
        for category in ("school", "bar", "home")
        for cases in ("AB", "ABC")
        for visits in ([visit(case, 0, 10, category=category) for case in cases],)
    }
    assert found == {
        ("school", "AB"): [4.0], ("school", "ABC"): [4.0],
        ("bar", "AB"): [], ("bar", "ABC"): [3.0],
        ("home", "AB"): [], ("home", "ABC"): [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("cases = 2", "cases = 0"), "`$.rules[1].counts[0].cases`"),
        (("cases = 2", "people = 2"), "people"),
        (("slot_minutes = 30", "slot_minutes = 0"), "slot_minutes"),
        (("slot_minutes = 30", "slot_minutes ="), "line 5"),
        (('category = "home"', 'category = "School"'), "the category 'School' stands there twice"),
        (("counts = []", f"counts = [{_COUNT}, {_COUNT}]"), "the category 'home' has two counts of the same visits"),
    ],
)
def test_rules_that_cannot_be_used_are_named_with_what_is_wrong(change: tuple[str, str], says: str) -> None:
    with pytest.raises(ClusterRulesError) as raised:
        read_cluster_rules("ours", _OWN.replace(*change), "ours.toml")
    assert "ours.toml" in str(raised.value)
    assert says in str(raised.value)


def test_unknown_rules_are_answered_with_those_there_are() -> None:
    with pytest.raises(ClusterRulesError, match="default, tac-signal"):
        load_cluster_rules("nobody's")

"""Clusters: where and when several cases were at one venue together. The definition is docs/clusters.md's.

The clusters of a venue are a function of the set of its case visits and of the rules: what is corrected or withdrawn
is not in the set, and so its clusters are not in the result.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from contacts.clusterrules import ClusterRule, ClusterRules, Count
from schemas.messages import Cluster, Direction

Slots = Mapping[int, set[str]]
"""The cases of each slot that has any, by the slot's number since the epoch."""


class CaseVisit(NamedTuple):
    """A part of a case's visit to a venue that lies in a window of the case, `[start_ms, end_ms)`.

    `direction` says of which window: `forward`, where the case may have infected, or `backward`, where it may have been
    infected. `category` is the venue's when the visit began.
    """

    case_id: str
    direction: Direction
    category: str
    start_ms: int
    end_ms: int


def clusters_at(venue: str, visits: Iterable[CaseVisit], rules: ClusterRules) -> list[Cluster]:
    """The clusters of a venue, in order of start and rule."""
    counted: dict[tuple[ClusterRule, Count], list[CaseVisit]] = defaultdict(list)
    rule_of: dict[str, ClusterRule | None] = {}
    for visit in visits:
        if visit.category not in rule_of:
            rule_of[visit.category] = rules.of(visit.category)
        rule = rule_of[visit.category]
        if rule is not None and visit.start_ms < visit.end_ms:
            for count in rule.counts:
                if count.visits in ("either", visit.direction):
                    counted[rule, count].append(visit)
    found = []
    for (rule, count), own in counted.items():
        slots = _slots(own, rules.slot_ms)
        for first, last in _spans(slots, count):
            start_ms, end_ms = first * rules.slot_ms, (last + 1) * rules.slot_ms
            label = rules.label(rule, count)
            each = [slots.get(slot, set()) for slot in range(first, last + 1)]
            cases = sorted(set().union(*each))
            cluster = Cluster(
                cluster_id=cluster_id(venue, label, start_ms),
                category=min((v.start_ms, v.category) for v in own if v.start_ms < end_ms and v.end_ms > start_ms)[1],
                start_ms=start_ms,
                end_ms=end_ms,
                cases=len(cases),
                case_ids=tuple(cases),
                risk=count.risk,
                rule=label,
                slot_cases=tuple(len(here) for here in each),
            )
            found.append(cluster)
    return sorted(found, key=lambda cluster: (cluster.start_ms, cluster.rule))


def _slots(visits: Iterable[CaseVisit], slot_ms: int) -> Slots:
    slots: dict[int, set[str]] = defaultdict(set)
    for visit in visits:
        for slot in range(visit.start_ms // slot_ms, (visit.end_ms - 1) // slot_ms + 1):
            slots[slot].add(visit.case_id)
    return slots


def _spans(slots: Slots, count: Count) -> list[tuple[int, int]]:
    """The clusters' first and last slots. Windows that begin in an empty slot add nothing to those that do not."""
    busy = sorted(slots)
    spans: list[tuple[int, int]] = []
    for place, first in enumerate(busy):
        cases: set[str] = set()
        last = first
        for slot in busy[place : place + count.within_slots]:
            if slot < first + count.within_slots:
                cases |= slots[slot]
                last = slot
        if len(cases) < count.cases:
            continue
        if spans and first - spans[-1][1] - 1 <= count.gap_slots:
            spans[-1] = spans[-1][0], max(spans[-1][1], last)
        else:
            spans.append((first, last))
    return spans


def cluster_id(venue: str, rule: str, start_ms: int) -> str:
    """A cluster's id: a function of the venue, of what raised it, and of where its first slot begins."""
    text = f"{venue}\x1f{rule}\x1f{start_ms}"
    return "cluster-" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

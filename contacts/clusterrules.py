"""The rules for clusters: dated, versioned files of thresholds by category, each with its source.

What each number means stands in docs/clusters.md. Shipped in contacts/data/clusters; a deployment's own lie in the
folder `clusters` of its rules folder and overrule those of the same name.
"""

from __future__ import annotations

import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contacts.categories import rule_for, same_pattern

_MINUTE_MS = 60_000
_FOLDER = "clusters"

Least1 = Annotated[int, msgspec.Meta(ge=1)]
Least0 = Annotated[int, msgspec.Meta(ge=0)]
Slot = Annotated[int, msgspec.Meta(ge=1, le=1440)]
Visits = Literal["backward", "forward", "either"]


class ClusterRulesError(ValueError):
    """Rules that cannot be used, or are not there; the message names the file, or those there are."""


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many cases within how many slots make a cluster, counting visits of one kind; and the risk it then has."""

    visits: Visits
    cases: Least1
    within_slots: Least1
    gap_slots: Least0
    risk: float


class ClusterRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for the categories that match the pattern `category` (contacts.categories)."""

    category: str
    counts: tuple[Count, ...]


class ClusterRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of rules. `valid_from` is also its version."""

    name: str
    source: str
    valid_from: date
    slot_minutes: Slot
    rules: tuple[ClusterRule, ...]
    id: str = ""

    @property
    def slot_ms(self) -> int:
        """The length of a slot."""
        return self.slot_minutes * _MINUTE_MS

    @property
    def reach_slots(self) -> int:
        """Over how many slots, at most, one slot decides with another whether they are of one cluster."""
        return max((c.within_slots + c.gap_slots for rule in self.rules for c in rule.counts), default=0)

    @property
    def version(self) -> str:
        """The rules' name with the date from which they hold."""
        return f"{self.id}@{self.valid_from.isoformat()}"

    def of(self, category: str) -> ClusterRule | None:
        """The rule for a category: the most specific that matches; None: no cluster is ever there."""
        return rule_for({rule.category: rule for rule in self.rules}, category)

    def label(self, rule: ClusterRule, count: Count) -> str:
        """The name in messages of what raised a cluster: `default@2021-10-21 * either`."""
        return f"{self.version} {rule.category} {count.visits}"


def load_cluster_rules(rules_id: str, folder: Path | None = None) -> ClusterRules:
    """The rules of this name, from `folder`/clusters if they are there, else Lacak's own. Raises ClusterRulesError."""
    own = {path.stem: path for path in (folder / _FOLDER).glob("*.toml")} if folder is not None else {}
    shipped = {
        path.name.removesuffix(".toml"): path
        for path in files("contacts.data").joinpath(_FOLDER).iterdir()
        if path.name.endswith(".toml")
    }
    if rules_id in own:
        return read_cluster_rules(rules_id, own[rules_id].read_text("utf-8"), str(own[rules_id]))
    if rules_id in shipped:
        return read_cluster_rules(rules_id, shipped[rules_id].read_text("utf-8"), f"{rules_id}.toml")
    there = ", ".join(sorted({*own, *shipped}))
    raise ClusterRulesError(f"There are no cluster rules {rules_id!r}; there are {there}.")


def read_cluster_rules(rules_id: str, text: str, where: str) -> ClusterRules:
    """The rules that a TOML text holds; `where` names it in errors. Raises ClusterRulesError."""
    try:
        rules = msgspec.convert(tomllib.loads(text), ClusterRules)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ClusterRulesError(f"The cluster rules {where} cannot be used: {error}.") from error
    fault = _fault(rules)
    if fault is not None:
        raise ClusterRulesError(f"The cluster rules {where} cannot be used: {fault}.")
    return msgspec.structs.replace(rules, id=rules_id)


def _fault(rules: ClusterRules) -> str | None:
    """What two parts of a file contradict each other in."""
    twice = same_pattern([rule.category for rule in rules.rules])
    if twice is not None:
        return f"the category {twice!r} stands there twice"
    for rule in rules.rules:
        if len({count.visits for count in rule.counts}) < len(rule.counts):
            return f"the category {rule.category!r} has two counts of the same visits"
    return None

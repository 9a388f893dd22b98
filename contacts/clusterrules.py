"""The rules for clusters: dated, versioned files of thresholds by category, each with its source.

What each number means stands in docs/clusters.md. Shipped in contacts/data/clusters; a deployment's own lie in the
folder `clusters` of its rules folder and overrule those of the same name.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contacts.registry import category_key

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
    """What holds for the categories that match the pattern `category`."""

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
        ranked = [(rank, rule) for rule in self.rules if (rank := _rank(rule.category, category)) is not None]
        return max(ranked, key=lambda each: each[0])[1] if ranked else None

    def label(self, rule: ClusterRule, count: Count) -> str:
        """The name in messages of what raised a cluster: `default@2021-10-21 * either`."""
        return f"{self.version} {rule.category} {count.visits}"


def _rank(pattern: str, category: str) -> tuple[int, ...] | None:
    """For each part of the pattern 2 where it names the category's, 1 for `*`; None where it does not match."""
    wanted, names = (tuple(category_key(part) for part in text.split("/")) for text in (pattern, category))
    if any(part not in ("*", *names[place : place + 1]) for place, part in enumerate(wanted)):
        return None
    return tuple(1 if part == "*" else 2 for part in wanted)


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
    _once(where, "the category", [category_key(rule.category) for rule in rules.rules])
    for rule in rules.rules:
        _once(where, f"under the category {rule.category!r}, counts of the visits", [c.visits for c in rule.counts])
    return msgspec.structs.replace(rules, id=rules_id)


def _once(where: str, what: str, names: Iterable[str]) -> None:
    again = sorted(name for name, times in Counter(names).items() if times > 1)
    if again:
        raise ClusterRulesError(f"The cluster rules {where} cannot be used: {what} {again[0]!r} stands there twice.")

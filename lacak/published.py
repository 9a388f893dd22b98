"""The topic `rules`: what is in force in a deployment, and publishing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contacts.doorrules import DoorRules, load_door_rules, read_door_rules, rules_text
from lacak.left_out import LeftOut
from schemas.bounds import UNDECODABLE
from schemas.door import RuleSet
from schemas.keys import rules_key
from streams.clients import producer
from streams.reader import read_topic
from streams.settings import Settings


def published_rules(settings: Settings) -> DoorRules:
    """The door rules in force in a deployment; a record that is none is told of on stderr. Raises KafkaError,
    DoorRulesError."""
    texts: dict[str, str] = {}
    left_out = LeftOut("rules")
    for record in read_topic(settings, "rules"):
        if record.value is None:
            continue
        try:
            published = msgspec.json.decode(record.value, type=RuleSet)
        except UNDECODABLE as error:
            left_out.add(record, error)
            continue
        if published.kind == "door":
            texts[published.rules_id] = published.text
    left_out.tell()
    return DoorRules(read_door_rules(name, text, f"{name} (published)") for name, text in texts.items())


def rule_set(rules_id: str, text: str, officer: str, purpose: str, now_ms: int) -> RuleSet:
    """A file of door rules as a message."""
    return RuleSet(kind="door", rules_id=rules_id, text=text, officer=officer, purpose=purpose, published_at_ms=now_ms)


def publish_first(settings: Settings, now_ms: int) -> list[str]:
    """Where no door rules were ever published, publish those of the deployment's files: Lacak's, and its own over them.

    So gateways, which fall back on their files, and counts, which do not, go by the same. Returns the ids. Raises
    KafkaError, DoorRulesError.
    """
    if published_rules(settings).files:
        return []
    ids = [each.id for each in load_door_rules(settings.rules_folder).files]
    texts = [rules_text(rules_id, settings.rules_folder)[1] for rules_id in ids]
    who, why = "lacak", "the rules that a new deployment begins with"
    publish([rule_set(rules_id, text, who, why, now_ms) for rules_id, text in zip(ids, texts, strict=True)], settings)
    return ids


def publish(sets: Sequence[RuleSet], settings: Settings) -> None:
    """Put files of rules into the topic `rules`. Raises KafkaError."""
    with producer(settings) as client:
        sent: list[Any] = [
            client.send(
                settings.topic("rules"),
                msgspec.json.encode(each),
                rules_key(each.kind, each.rules_id),
                partition=0,
            )
            for each in sets
        ]
        for each in sent:
            each.get(timeout=30)

"""The topic `rules`: what is in force in a deployment, and publishing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contacts.doorrules import DoorRules, read_door_rules
from schemas.door import RuleSet
from streams.clients import producer
from streams.reader import read_topic
from streams.settings import Settings


def published_rules(settings: Settings) -> DoorRules:
    """The door rules in force in a deployment. Raises KafkaError, DoorRulesError."""
    texts: dict[str, str] = {}
    for record in read_topic(settings, "rules"):
        if record.value is not None:
            published = msgspec.json.decode(record.value, type=RuleSet)
            if published.kind == "door":
                texts[published.rules_id] = published.text
    return DoorRules(read_door_rules(name, text, f"{name} (published)") for name, text in texts.items())


def rule_set(rules_id: str, text: str, officer: str, purpose: str, now_ms: int) -> RuleSet:
    """A file of door rules as a message."""
    return RuleSet(kind="door", rules_id=rules_id, text=text, officer=officer, purpose=purpose, published_at_ms=now_ms)


def publish(sets: Sequence[RuleSet], settings: Settings) -> None:
    """Put files of rules into the topic `rules`. Raises KafkaError."""
    with producer(settings) as client:
        sent: list[Any] = [
            client.send(
                settings.topic("rules"),
                msgspec.json.encode(each),
                f"{each.kind}/{each.rules_id}".encode(),
                partition=0,
            )
            for each in sets
        ]
        for each in sent:
            each.get(timeout=30)

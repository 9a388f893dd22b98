"""Who may do what on the brokers: the one table, made from the catalogue of topics.

The catalogue says who sends a topic and who reads it; here each of those names is a role, and what roles need besides
is said with its reason. Everything else is refused. `lacak secure apply` makes ACLs of it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Literal, NamedTuple

from schemas.channels import CHANNELS
from security.settings import ROLES, WORKERS
from streams.settings import Settings
from streams.topics import TABLES, app_id, changelog

Operation = Literal["READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS"]
Resource = Literal["TOPIC", "GROUP"]

ACTORS: Final = {
    "gateways": ("gateway",),
    "lacak publish": ("publisher",),
    "laboratories": ("laboratory",),
    "registry agent": ("registry",),
    "visits agent": ("visits",),
    "occupancy agent": ("places",),
    "contacts agent": ("places",),
    "tracing agent": ("tracing",),
    "status agent": ("status",),
    "recorder agent": ("recorder",),
    "every agent": WORKERS,
    "officers": ("officer",),
    "lacak test-result": ("officer",),
    "lacak health import": ("officer",),
    "lacak contacts add": ("officer",),
    "lacak rules publish": ("officer",),
    "lacak venues import": ("operator",),
    "lacak dead-letters": ("inspector",),
    "lacak occupancy": (),  # reads PostgreSQL, where the recorder has put it
}
"""The roles behind the names of senders and readers in the catalogue."""

_BESIDES: Final[tuple[tuple[str, str, Operation, str], ...]] = (
    ("operator", "venues", "READ", "the registry as it stands, before more is put into it"),
    ("operator", "scans", "READ", "waiting until new venues are in the order of scans"),
    ("officer", "rules", "READ", "which rules explain a colour or a door's answer"),
    ("officer", "venues", "READ", "where a declared stay was, and which rules a venue has"),
)
"""(role, topic, operation, why) beyond the catalogue."""

_NOT_OFFICERS: Final = ("traces",)
"""Topics that the catalogue lets officers read and that they read in PostgreSQL, where each look is in the audit."""


class Grant(NamedTuple):
    """One role may do some things with one topic or group, by its name on the brokers. READ and WRITE hold DESCRIBE."""

    role: str
    resource: Resource
    name: str
    operations: tuple[Operation, ...]


def grants(settings: Settings) -> list[Grant]:
    """All that is granted, ordered by role and name; `admin` is a super user of the brokers and has none."""
    held: dict[tuple[str, Resource, str], set[Operation]] = defaultdict(set)

    def grant(role: str, topic: str, operation: Operation) -> None:
        held[role, "TOPIC", settings.topic(topic)].add(operation)

    for channel in CHANNELS:
        for sender in channel.senders:
            for role in ACTORS[sender]:
                grant(role, channel.topic, "WRITE")
        for reader in channel.readers:
            for role in ACTORS[reader]:
                if role != "officer" or channel.topic not in _NOT_OFFICERS:
                    grant(role, channel.topic, "READ")
        grant("operator", channel.topic, "DESCRIBE")  # `lacak topics`
        grant("operator", channel.topic, "DESCRIBE_CONFIGS")
        grant("inspector", channel.topic, "READ")  # `lacak tail`
        if any(WORKERS_OF[reader] for reader in channel.readers):
            grant("inspector", channel.topic, "WRITE")  # `lacak dead-letters replay`
    for role, topic, operation, _ in _BESIDES:
        grant(role, topic, operation)
    for role, tables in TABLES.items():
        for table in tables:
            name = settings.topic_prefix + changelog(settings, role, table)
            held[role, "TOPIC", name] |= {"READ", "WRITE"}
            held["operator", "TOPIC", name] |= {"DESCRIBE", "DESCRIBE_CONFIGS"}
    for (role, resource, _), operations in held.items():
        if role in WORKERS and resource == "TOPIC":
            operations.add("DESCRIBE_CONFIGS")  # a worker refuses topics that are not as its settings say
    for role in WORKERS:
        held[role, "GROUP", app_id(settings, role)].add("READ")
    found = [Grant(*key, tuple(sorted(operations))) for key, operations in held.items()]
    return sorted(found, key=lambda each: (list(ROLES).index(each.role), each.resource, each.name))


WORKERS_OF: Final = {name: tuple(role for role in roles if role in WORKERS) for name, roles in ACTORS.items()}
"""The workers behind each name."""


def topics_of(role: str, settings: Settings) -> list[str]:
    """The topics that a role has to do with, by their names on the brokers."""
    return [each.name for each in grants(settings) if each.role == role and each.resource == "TOPIC"]


def user_of(role: str, settings: Settings) -> str:
    """A role's user on the brokers."""
    return settings.security.user.replace("{role}", role)

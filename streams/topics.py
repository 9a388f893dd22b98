"""The topics of a deployment on its brokers: what there should be, what there is, and the making of what is missing.

What a topic carries and how long it is kept stands in `schemas.channels`; here that becomes partitions and configs.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.channels import CHANNELS, Channel, retention_ms
from streams.clients import BrokerFault, admin
from streams.outbox import LETTER_BYTES_MAX, MESSAGE_BYTES_MAX
from streams.settings import Settings

TABLES: Final[Mapping[str, tuple[str, ...]]] = {"tracing": ("people", "reports")}
"""The Faust tables of each role; each has a changelog with as many partitions as `test-results`."""

_READY_SECONDS: Final = 20.0
_REQUEST_MS: Final = 20_000
_STAMPED: Final = ("health-records",)
"""Compacted topics whose records' times are log time: what a sender's clock says must move nothing."""

_CHECKED: Final = ("cleanup.policy", "retention.ms", "message.timestamp.type")


class TopicError(RuntimeError):
    """A topic that is not as the settings say; the message says what to do."""


class TopicSpec(msgspec.Struct, frozen=True):
    """One topic as it should be. `name` is without the deployment's prefix; `about` says what it carries."""

    name: str
    partitions: int
    config: dict[str, str]
    about: str

    @property
    def cleanup(self) -> str:
        """`delete`, `compact`, or both."""
        return self.config["cleanup.policy"]

    @property
    def retention_ms(self) -> int:
        """How long records are kept; -1: always."""
        return int(self.config.get("retention.ms", "-1"))


class TopicFound(msgspec.Struct, frozen=True):
    """One topic as it is. `faults` are sentences; `unknown` names configs that the broker does not report; `readable`
    says whether it lets us read the records, and holds where it does not say."""

    spec: TopicSpec
    partitions: int
    config: dict[str, str]
    faults: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    readable: bool = True


def app_id(settings: Settings, role: str) -> str:
    """The consumer group of a role: also the beginning of its changelogs' names."""
    return f"{settings.topic_prefix}{settings.deployment}-{role}"


def changelog(settings: Settings, role: str, table: str) -> str:
    """The changelog of a Faust table, without the prefix, as Faust names it."""
    return f"{settings.deployment}-{role}-{table}-changelog"


def topic_specs(settings: Settings) -> tuple[TopicSpec, ...]:
    """Every topic of the deployment."""
    counts = partition_counts(settings)
    specs = [TopicSpec(each.topic, counts[each.topic], _config(each, settings), each.about) for each in CHANNELS]
    specs += [
        TopicSpec(
            changelog(settings, role, table),
            settings.partitions.cases,
            # a `compact,delete` changelog can stall the recovery of a table
            {"cleanup.policy": "compact", "max.message.bytes": str(MESSAGE_BYTES_MAX)},
            f"What the table {table} of the {role} agent is made of.",
        )
        for role, tables in TABLES.items()
        for table in tables
    ]
    return tuple(specs)


def partition_counts(settings: Settings) -> dict[str, int]:
    """How many partitions each topic has, by name without prefix."""
    counts = {
        "scans": settings.partitions.scans,
        "visits": settings.partitions.visits,
        "cases": settings.partitions.cases,
        "one": 1,
    }
    return {each.topic: counts[each.group] for each in CHANNELS}


def _config(channel: Channel, settings: Settings) -> dict[str, str]:
    largest = LETTER_BYTES_MAX if channel.keep == "letters" else MESSAGE_BYTES_MAX
    config = {"cleanup.policy": channel.cleanup, "max.message.bytes": str(largest)}
    kept = retention_ms(channel.keep, horizon_ms=settings.horizon_ms, retention_ms=settings.retention_ms)
    if "delete" in channel.cleanup:
        config["retention.ms"] = str(kept)
    if channel.cleanup == "delete" or channel.topic in _STAMPED:
        # Retention counts from when a record came, whatever time a gateway writes on it.
        config["message.timestamp.type"] = "LogAppendTime"
    return config


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    try:
        with admin(settings, client_id=f"{settings.deployment}-topics", request_timeout_ms=_REQUEST_MS) as client:
            yield client
    except BrokerFault as error:
        raise TopicError(str(error)) from error


def cluster_id(settings: Settings) -> str:
    """The id of the broker cluster: snapshots belong to one. Raises TopicError.

    It comes with the metadata that a client is told when it connects. kafka-python's `describe_cluster` would also ask
    what we may do with the cluster, for which one has to be granted its description, and that every group stands in.
    """
    with _admin(settings) as client:
        found = client._manager.cluster.cluster_id
    if not found:
        raise TopicError(f"The brokers at {settings.brokers} do not say which cluster they are.")
    return str(found)


def ensure_topics(settings: Settings) -> list[str]:
    """Make the topics that are missing and check the others. Returns what was made, and raises TopicError."""
    specs = topic_specs(settings)
    with _admin(settings) as client:
        there = set(client.list_topics())
        missing = [spec for spec in specs if settings.topic(spec.name) not in there]
        if missing:
            _make(client, settings, missing)
        faults = [fault for found in _look(client, settings, specs) for fault in found.faults]
    if faults:
        raise TopicError(" ".join(faults))
    return [spec.name for spec in missing]


def check_topics(settings: Settings, names: Collection[str]) -> None:
    """Raises TopicError where one of these topics (names on the brokers) is missing or not as the settings say.

    For those who may not make topics, and may not see others than their own.
    """
    specs = [spec for spec in topic_specs(settings) if settings.topic(spec.name) in names]
    with _admin(settings) as client:
        faults = [fault for found in _look(client, settings, specs) for fault in found.faults]
    if faults:
        raise TopicError(" ".join(faults))


def look_at_topics(settings: Settings) -> list[TopicFound]:
    """Every topic of the deployment as it is. Raises TopicError when the brokers do not answer."""
    with _admin(settings) as client:
        return _look(client, settings, topic_specs(settings))


def _make(client: Any, settings: Settings, missing: Sequence[TopicSpec]) -> None:
    try:
        client.create_topics(
            [
                NewTopic(
                    name=settings.topic(spec.name),
                    num_partitions=spec.partitions,
                    replication_factor=settings.transport.replication,
                    topic_configs=spec.config,
                )
                for spec in missing
            ],
            timeout_ms=_REQUEST_MS,
        )
    except TopicAlreadyExistsError:
        pass  # another worker was quicker; the check that follows says whether it made them as we would
    wanted = {settings.topic(spec.name) for spec in missing}
    deadline = time.monotonic() + _READY_SECONDS
    while not wanted <= set(client.list_topics()):
        if time.monotonic() > deadline:
            raise TopicError(f"The topics {', '.join(sorted(wanted))} were made, but the brokers do not list them.")
        time.sleep(0.1)


def _look(client: Any, settings: Settings, specs: Sequence[TopicSpec]) -> list[TopicFound]:
    names = [settings.topic(spec.name) for spec in specs]
    described = {each["name"]: each for each in client.describe_topics(names) if not each.get("error_code")}
    counts = {name: len(each["partitions"]) for name, each in described.items()}
    configs = _configs(client, [name for name in names if name in counts])
    found = []
    for spec, name in zip(specs, names, strict=True):
        if name not in counts:
            fault = f"The topic {name} is missing: it is made at the next start of `lacak up` or a worker."
            found.append(TopicFound(spec, 0, {}, (fault,)))
            continue
        config = configs.get(name, {})
        found.append(
            TopicFound(
                spec,
                counts[name],
                config,
                tuple(_faults(spec, name, counts[name], config)),
                tuple(key for key in spec.config if key not in config),
                "READ" in (described[name].get("authorized_operations") or ("READ",)),
            )
        )
    return found


def _configs(client: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the brokers report of the topics' configs; nothing where they do not."""
    if not names:
        return {}
    try:
        answer = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    except KafkaError:
        return {}
    return _by_topic(answer)


def _by_topic(answer: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for kinds in answer if isinstance(answer, list) else [answer]:
        for resources in kinds.values():
            for name, entries in resources.items():
                found[name] = {key: str(_value(entry)) for key, entry in entries.items() if _value(entry) is not None}
    return found


def _value(entry: Any) -> Any:
    return entry.get("value") if isinstance(entry, dict) else entry


def _faults(spec: TopicSpec, name: str, partitions: int, config: Mapping[str, str]) -> Iterator[str]:
    if partitions != spec.partitions:
        yield (
            f"The topic {name} has {partitions} partitions and the settings say {spec.partitions}: counts are fixed "
            "for a deployment. Set LACAK_PARTITIONS_... as they were, or start anew under another LACAK_TOPIC_PREFIX."
        )
    for key in _CHECKED:
        wanted, is_now = spec.config.get(key), config.get(key)
        if wanted is not None and is_now is not None and set(is_now.split(",")) != set(wanted.split(",")):
            change = f"{key}=[{wanted}]" if "," in wanted else f"{key}={wanted}"
            yield (
                f"The topic {name} has {key}={is_now} and should have {wanted}: set it with "
                f"`kafka-configs.sh --alter --topic {name} --add-config {change}`."
            )

"""The gateway's settings: one frozen tree, with the unit in each name, read once from `LACAK_GATEWAY_...` variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from gateway.codes import CodeSettings
from gateway.environment import SettingsError, check_zone, decode, read_tree
from gateway.environment import variables as variables_of
from gateway.limits import Limits, Serving
from security.brokers import PREFIX as SHARED
from security.brokers import BrokerAccess
from security.settings import BrokerSecurity

__all__ = ["GatewaySettings", "SettingsError", "printed", "read_settings", "variables"]

PREFIX: Final = "LACAK_GATEWAY_"
ROLE: Final = "gateway"
"""Whom a gateway connects as."""


class SpoolLimits(msgspec.Struct, frozen=True):
    """How much may wait for the broker. At 100 bytes a scan the default holds some 40 million of them."""

    bytes_most: int = 4 << 30
    free_bytes_least: int = 256 << 20
    group_scans_most: int = 20_000
    gather_ms: float = 2.0
    held_most: int = 100_000


class SendLimits(msgspec.Struct, frozen=True):
    """How the spool is emptied: so many scans at once, one round in so many ms, and how long to wait before a broker is
    tried again. A round costs a millisecond or two, whether it sends one scan or a thousand. A clean stop waits
    `stop_seconds` at most for what is in the spool to leave; what is left leaves at the next start."""

    scans_most: int = 20_000
    every_ms: float = 50.0
    batch_bytes: int = 1 << 20
    timeout_seconds: float = 10.0
    retry_seconds: float = 0.1
    retry_seconds_most: float = 5.0
    stop_seconds: float = 10.0


class CopyLimits(msgspec.Struct, frozen=True):
    """When a copy is too old to decide by, and how often the copies are kept for the next start.

    `keep_hours_most` is below the day that Kafka keeps tombstones: a copy from further back is read anew, as somebody
    may have been forgotten whose tombstone is gone.
    """

    statuses_stale_seconds: float = 3600.0
    counts_stale_seconds: float = 300.0
    keep_every_seconds: float = 600.0
    keep_hours_most: float = 20.0
    batch_records: int = 1000
    inflated_max_bytes: int = 32 << 20
    own_scans_seconds: float = 30.0


class DoorLimits(msgspec.Struct, frozen=True):
    """How long a guard has to answer, and how many may come in on one decision."""

    answer_seconds: float = 300.0
    party_most: int = 10


class GatewaySettings(msgspec.Struct, frozen=True):
    """Everything a gateway needs to know. `name` stands in every scan it sends.

    `identity_folder` has the identity register, where it is on this machine; `key_file` the key that makes pseudonyms
    of the ids that staff type (docs/identity.md).
    """

    name: str = "gateway"
    brokers: str = ""
    topic_prefix: str = ""
    data_dir: Path = Path(".lacak/gateway")
    zone: str = "Asia/Jakarta"
    rules_folder: Path | None = None
    identity_folder: Path | None = None
    key_file: Path | None = None
    spool: SpoolLimits = SpoolLimits()
    send: SendLimits = SendLimits()
    copies: CopyLimits = CopyLimits()
    door: DoorLimits = DoorLimits()
    limits: Limits = Limits()
    http: Serving = Serving()
    codes: CodeSettings = CodeSettings()
    security: BrokerSecurity = BrokerSecurity()

    @property
    def broker_access(self) -> BrokerAccess:
        """How to connect to the brokers."""
        return BrokerAccess(self.brokers, self.security, ROLE)

    @property
    def zone_info(self) -> ZoneInfo:
        """The zone whose midnights divide days."""
        return ZoneInfo(self.zone)

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return self.topic_prefix + name


def variables() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every variable that is read: (`LACAK_GATEWAY_DOOR_ANSWER_SECONDS`, ("door", "answer_seconds"), type)."""
    return variables_of(GatewaySettings, PREFIX)


def read_settings(environment: Mapping[str, str]) -> GatewaySettings:
    """The settings an environment asks for; brokers, prefix, zone and security are also those of LACAK_... variables.

    Raises SettingsError.
    """
    shared = ((name, environment.get(f"LACAK_{name.upper()}")) for name in ("brokers", "topic_prefix", "zone"))
    tree = {name: text for name, text in shared if text} | read_tree(GatewaySettings, PREFIX, environment)
    tree["security"] = read_tree(BrokerSecurity, SHARED, environment) | tree.get("security", {})
    settings = msgspec.convert(tree, GatewaySettings, dec_hook=decode)
    check_zone(f"{PREFIX}ZONE", settings.zone)
    return settings


def masked(text: str) -> str:
    """A text without the passwords of the addresses in it."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)


def printed(settings: GatewaySettings) -> list[tuple[str, str]]:
    """(variable, value with secrets masked) of every setting that is not the default, for the log at start."""
    tree, usual = (msgspec.to_builtins(each, enc_hook=str) for each in (settings, GatewaySettings()))
    found = []
    for name, path, _ in variables():
        value, default = tree, usual
        for part in path:
            value, default = value[part], default[part]
        if value != default:
            found.append((name, "" if value is None else masked(str(value))))
    return found

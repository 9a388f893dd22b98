"""The settings tree: one frozen structure, with the unit in each name; `lacak.settings` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from security.brokers import BrokerAccess
from security.database import DatabaseAccess
from security.settings import BrokerSecurity, DatabaseNetwork, DatabaseSecurity

DAY_MS = 86_400_000


class Partitions(msgspec.Struct, frozen=True):
    """Partition counts, fixed for a deployment: changing one means new topics and a replay."""

    scans: int = 4
    visits: int = 4
    cases: int = 2


class Times(msgspec.Struct, frozen=True):
    """How late is late, and how long things are kept."""

    horizon_days: float = 3.0
    retention_days: float = 28.0
    clock_tolerance_seconds: int = 300
    window_minutes: int = 10


class Transport(msgspec.Struct, frozen=True):
    """How records are fetched and sent.

    `leave_on_stop`: at a clean stop the partitions go to others at once; without, they wait for this worker's return
    until the session times out (docs/adr/0019-leaving-the-group.md). `delivery_seconds`: how long what was sent may
    wait for brokers that are away before the worker ends. A batch that inflates to more than `inflated_max_bytes`
    is a dead letter.
    """

    fetch_max_records: int = 4000
    fetch_partition_kib: int = 2048
    queued_batches: int = 8
    linger_ms: int = 5
    compression: Literal["lz4", "none"] = "lz4"
    session_timeout_seconds: int = 30
    leave_on_stop: bool = True
    delivery_seconds: float = 240.0
    replication: int = 1
    outstanding_max: int = 2000
    outstanding_mib: int = 64
    inflated_max_bytes: int = 32 << 20


class Snapshots(msgspec.Struct, frozen=True):
    """When state is made durable (and offsets are committed up to it): after so long, or so many records, whichever is
    first; a state that has not all yet that was in the log a fourth as often."""

    every_seconds: float = 30.0
    every_records: int = 500_000


class DeadLetterLimits(msgspec.Struct, frozen=True):
    """When bad records say that a deploy is broken: the share of the last `sample` records, or a run of them.

    A share of 1 and a run length of 0 let a worker go on whatever comes.
    """

    share: float = 0.5
    sample: int = 1000
    run_length: int = 500


class HealthLimits(msgspec.Struct, frozen=True):
    """When a worker no longer counts as alive, when not as ready, and how long it may take to stop.

    `live_seconds` without a turn of the loop; `commit_seconds` with something uncommitted or a batch in hand;
    `behind_seconds` that records wait before they are taken; `broker_seconds` without an answer of any broker.
    """

    live_seconds: float = 60.0
    commit_seconds: float = 60.0
    behind_seconds: float = 120.0
    broker_seconds: float = 20.0
    stop_seconds: float = 25.0


class Settings(msgspec.Struct, frozen=True):
    """Everything a worker or a command needs to know. Printed by `lacak config` with secrets masked.

    `hops` is how far the forward trace of a case goes by itself.

    `role` is whom the process connects as: empty for the role of each command (docs/security.md).
    """

    deployment: str = "lacak"
    brokers: str = ""
    database: str = ""
    data_dir: Path = Path(".lacak")
    topic_prefix: str = ""
    clock: Literal["live", "file"] = "live"
    zone: str = "Asia/Jakarta"
    profile: str = ""
    hops: int = 1
    rules_folder: Path | None = None
    cluster_rules: str = "default"
    colour_rules: str = "indonesia"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    heartbeat_seconds: float = 5.0
    worker_index: int = 0
    log_level: str = "WARNING"
    role: str = ""
    partitions: Partitions = Partitions()
    times: Times = Times()
    transport: Transport = Transport()
    snapshots: Snapshots = Snapshots()
    dead_letters: DeadLetterLimits = DeadLetterLimits()
    health: HealthLimits = HealthLimits()
    security: BrokerSecurity = BrokerSecurity()
    database_security: DatabaseSecurity = DatabaseSecurity()
    database_network: DatabaseNetwork = DatabaseNetwork()

    @property
    def broker_access(self) -> BrokerAccess:
        """How to connect to the brokers."""
        return BrokerAccess(self.brokers, self.security, self.role)

    @property
    def database_access(self) -> DatabaseAccess:
        """How to connect to PostgreSQL."""
        return DatabaseAccess(self.database, self.database_security, self.role, self.database_network)

    @property
    def zone_info(self) -> ZoneInfo:
        """The zone whose midnights divide days."""
        return ZoneInfo(self.zone)

    @property
    def horizon_ms(self) -> int:
        """How late a scan may be and still be derived as if it had come in time."""
        return int(self.times.horizon_days * DAY_MS)

    @property
    def retention_ms(self) -> int:
        """How long visits are kept, and how old a scan may be at most."""
        return int(self.times.retention_days * DAY_MS)

    @property
    def window_ms(self) -> int:
        """The length of an occupancy window."""
        return self.times.window_minutes * 60_000

    def topic(self, name: str) -> str:
        """The topic's name on the broker."""
        return self.topic_prefix + name

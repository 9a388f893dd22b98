"""The part of the settings that says how to connect: one structure for brokers, one for the database.

Every text may hold `{role}`, which stands for the role of the process: one environment then serves them all, and each
reads its own secret. Files are named, never what is in them, so that settings can be printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

ROLE: Final = "{role}"

WORKERS: Final = ("registry", "visits", "places", "tracing", "status", "recorder")
"""The roles of workers."""

ROLES: Final = {
    **dict.fromkeys(WORKERS, "a worker"),
    "gateway": "the door's service",
    "publisher": "`lacak publish`: scans from files and other systems",
    "laboratory": "whoever reports tests into the topic `test-results`",
    "officer": "what officers run: tests, health records, traces, contacts, rules",
    "operator": "what operators run: the registry of venues, the list of topics",
    "inspector": "`lacak tail` and `lacak dead-letters`: reads every topic, and stands in the audit",
    "admin": "`lacak up`, `lacak secure apply`: makes topics, tables, users",
}
"""Everybody who connects, and what that is."""


class SecurityError(ValueError):
    """A file of secrets, a certificate or a pair of settings that cannot be used; the message says which and why."""


class BrokerSecurity(msgspec.Struct, frozen=True):
    """How to connect to brokers. Without `ca_file` in the clear; with it by TLS, and the broker's certificate has to be
    signed by one of its authorities and to name the host that was connected to.

    `certificate_file` and `key_file` are our own certificate, for brokers that ask for one. A `password_file` says to
    log in as `user` by `mechanism`.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256"] = "SCRAM-SHA-512"
    user: str = "lacak-{role}"
    password_file: Path | None = None


class DatabaseSecurity(msgspec.Struct, frozen=True):
    """How to connect to PostgreSQL. With `ca_file` as `verify-full`: nothing less is asked for or accepted.

    A `password_file` says to log in as `user` by SCRAM-SHA-256, and not to answer a server that asks for less.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    user: str = "lacak_{role}"
    password_file: Path | None = None


class DatabaseNetwork(msgspec.Struct, frozen=True):
    """When a connection to PostgreSQL is given up because nobody is there any more: seconds, by whole ones.

    A network that has gone silent tells nobody. `connect_seconds` for each address of a new connection. What was sent
    and is not acknowledged within `unacknowledged_seconds` ends the connection; while an answer is waited for, the
    other side is asked after `idle_seconds`, `probes` times, every `probe_seconds`. So within some 25 s the worker
    knows, connects anew, and stays ready (LACAK_HEALTH_COMMIT_SECONDS); the kernel by itself would wait for two hours,
    and 15 minutes for what was sent. Nothing of it limits how long a statement may take; Unix sockets do without.
    """

    connect_seconds: int = 10
    idle_seconds: int = 10
    probe_seconds: int = 5
    probes: int = 3
    unacknowledged_seconds: int = 25


def text_of(text: str, role: str) -> str:
    """A text with the role in its place. Raises SecurityError where it has a place for one and no role is known."""
    if ROLE in text and not role:
        raise SecurityError(f"{text!r} has a place for a role, and this command has none: set LACAK_ROLE.")
    return text.replace(ROLE, role)


def path_of(path: Path | None, role: str) -> Path | None:
    """A file's name with the role in its place. Raises SecurityError."""
    return None if path is None else Path(text_of(str(path), role))

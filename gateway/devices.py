"""The register of devices: who may call the gateway. Keys are random, shown once, and kept only as hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, Self, get_args

import msgspec

from gateway.private_file import open_private

Scope = Literal["scan", "staff", "venue", "declare", "admin"]
SCOPES: Final[dict[Scope, str]] = {
    "scan": "ask at a door for people who are known by token, and check them out",
    "staff": "answer a check, read cards, type an id, recount, say that everyone is out",
    "venue": "register venues and make their posters and screens",
    "declare": "tell where a person says that they were",
    "admin": "all of these",
}
"""What a key may allow, for people."""

LOOK_SECONDS: Final = 0.02
_PREFIX: Final = "lk_"
_KEY: Final = re.compile(rb"lk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCHEMA: Final = """
create table if not exists devices (
    device text primary key,
    key_id text not null unique,
    key_hash blob not null,
    scopes text not null,
    venues text not null,
    per_second real,
    burst integer,
    made_ms integer not null,
    revoked_ms integer
) strict;
"""


class DeviceError(ValueError):
    """A device that cannot be added, found or read; the message is for people."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the register has it. No `venues`: all of them. `per_second` and `burst` are in scans (None: the
    gateway's own)."""

    device: str
    key_id: str
    scopes: frozenset[Scope]
    venues: frozenset[str]
    made_ms: int
    revoked_ms: int | None = None
    per_second: float | None = None
    burst: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether its key has the scope."""
        return scope in self.scopes or "admin" in self.scopes

    def serves(self, venue: str) -> bool:
        """Whether it is for this venue."""
        return not self.venues or venue in self.venues


class Devices:
    """The register, a SQLite file of the gateway. Several processes may hold it: what one writes, the others follow.

    `find` answers from memory, and asks SQLite whether the file has changed when it last did so more than 20 ms ago: a
    revocation by another process holds from then on. Asking on each call would cost more than the rest of a decision,
    as SQLite lets go of the interpreter while others want it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.touch(mode=0o600)
            self._file = open_private(path, _SCHEMA, 10.0)
        except (OSError, sqlite3.Error) as error:
            raise DeviceError(f"The register of devices {path} cannot be used: {error}.") from error
        self._look = self._file.cursor()
        self._version, self._looked = -1, 0.0
        self._known: dict[bytes, tuple[bytes, Device]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(
        self,
        device: str,
        scopes: Iterable[Scope],
        now_ms: int,
        *,
        venues: Iterable[str] = (),
        per_second: float | None = None,
        burst: int | None = None,
    ) -> str:
        """Register a device. Returns its key, which is nowhere kept. Raises DeviceError."""
        if not _NAME.fullmatch(device):
            raise DeviceError(f"The device name {device!r} is not usable: 1 to 64 of letters, digits, . _ and -.")
        asked = frozenset(scopes)
        if not asked or not asked <= set(get_args(Scope)):
            raise DeviceError(f"A device has one or more scopes of {', '.join(SCOPES)}.")
        if (per_second is not None and per_second <= 0) or (burst is not None and burst < 1):
            raise DeviceError("A rate is above 0 scans a second, a burst at least 1 scan.")
        key_id, key, digest = _make_key()
        row = (device, key_id, digest, " ".join(sorted(asked)), "\n".join(sorted(venues)), per_second, burst, now_ms)
        try:
            self._file.execute("insert into devices values (?, ?, ?, ?, ?, ?, ?, ?, null)", row)
        except sqlite3.IntegrityError:
            raise DeviceError(
                f"There is a device {device!r} already: give it a new key with `lacak devices rotate {device}`."
            ) from None
        self._version = -1
        return key

    def rotate(self, device: str, now_ms: int) -> str:
        """A new key for a device; the old one ends at once, and a revocation with it. Raises DeviceError."""
        key_id, key, digest = _make_key()
        changed = self._file.execute(
            "update devices set key_id = ?, key_hash = ?, made_ms = ?, revoked_ms = null where device = ?",
            (key_id, digest, now_ms, device),
        )
        self._must(changed, device)
        return key

    def revoke(self, device: str, now_ms: int) -> None:
        """End a device's key at once. A second time changes nothing. Raises DeviceError."""
        changed = self._file.execute(
            "update devices set revoked_ms = coalesce(revoked_ms, ?) where device = ?", (now_ms, device)
        )
        self._must(changed, device)

    def _must(self, changed: sqlite3.Cursor, device: str) -> None:
        self._version = -1
        if not changed.rowcount:
            raise DeviceError(f"There is no device {device!r}: `lacak devices list` names them.")

    def all(self) -> list[Device]:
        """Every device, by name."""
        return sorted((device for _, device in self._read().values()), key=lambda device: device.device)

    def find(self, key: bytes) -> Device | None:
        """The device of a key, revoked or not; None: no such key."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        entry = self._read().get(found[1])
        if entry is None or not hmac.compare_digest(entry[0], _digest(found[2])):
            return None
        return entry[1]

    def stands(self, device: Device) -> bool:
        """Whether a device that `find` gave is still there with that key, not revoked."""
        entry = self._read().get(device.key_id.encode())
        return entry is not None and entry[1].revoked_ms is None

    def _read(self) -> dict[bytes, tuple[bytes, Device]]:
        """The register by key id, as it is in the file now."""
        now = time.monotonic()
        if self._version >= 0 and now - self._looked < LOOK_SECONDS:
            return self._known
        self._looked = now
        version: int = self._look.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            rows = self._file.execute(
                "select device, key_id, key_hash, scopes, venues, per_second, burst, made_ms, revoked_ms from devices"
            )
            self._known = {
                key_id.encode(): (
                    digest,
                    Device(
                        device=name,
                        key_id=key_id,
                        scopes=frozenset(scopes.split()),
                        venues=frozenset(venues.split("\n")) if venues else frozenset(),
                        made_ms=made_ms,
                        revoked_ms=revoked_ms,
                        per_second=per_second,
                        burst=burst,
                    ),
                )
                for name, key_id, digest, scopes, venues, per_second, burst, made_ms, revoked_ms in rows
            }
            self._version = version
        return self._known


def _make_key() -> tuple[str, str, bytes]:
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return key_id, f"{_PREFIX}{key_id}_{secret}", _digest(secret.encode())


def _digest(secret: bytes) -> bytes:
    """SHA-256 is enough for 256 random bits: there is no list of likely ones to try."""
    return hashlib.sha256(secret).digest()

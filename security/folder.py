"""The folder that `lacak secure init` makes: an authority, servers' certificates, and a folder for each role.

ca.pem                       whom to trust; no secret
authority/ca.key             signs certificates: keep it away from every machine of the deployment
kafka/server.pem, ca.pem     a broker's key and certificate
postgres/server.key, server.crt, ca.pem
ROLE/ca.pem, kafka.password, postgres.password
admin/certificate.pem, key.pem   the administrator's, who makes the users
lacak.env                    the variables for all of it
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from security.certificates import Pair, issue, make_authority
from security.settings import ROLES, SecurityError

DATABASE_ROLES: Final = ("recorder", "officer", "inspector", "grafana", "admin")
"""Who connects to PostgreSQL; `grafana` is no role of ours and has only a password there."""

_SECRET_BYTES: Final = 32
_VARIABLES: Final = {
    "LACAK_SECURITY_CA_FILE": "{role}/ca.pem",
    "LACAK_SECURITY_PASSWORD_FILE": "{role}/kafka.password",
    "LACAK_DATABASE_SECURITY_CA_FILE": "{role}/ca.pem",
    "LACAK_DATABASE_SECURITY_PASSWORD_FILE": "{role}/postgres.password",
}


def make_folder(
    folder: Path,
    now: datetime,
    *,
    kafka: Sequence[str],
    postgres: Sequence[str],
    seen_as: str = "",
    owners: Mapping[str, int] | None = None,
) -> None:
    """Make the folder for servers that are reached under these names. Raises SecurityError where there is one already.

    `seen_as`: where processes will find the folder, if elsewhere. `owners`: the user id that a server or role runs as,
    who then owns its folder; only root can give that.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SecurityError(f"{folder} is not empty: secrets are never written over. Name a new folder.")
        authority = make_authority("Lacak deployment", now)
        _write(folder / "authority" / "ca.key", authority.key)
        _write(folder / "ca.pem", authority.certificate, 0o444)
        _servers(folder, authority, now, kafka, postgres)
        for role in (*ROLES, "grafana"):
            _role(folder / role, role, authority)
        admin = issue(authority, "lacak-admin", now)
        _write(folder / "admin" / "certificate.pem", admin.certificate)
        _write(folder / "admin" / "key.pem", admin.key)
        place = seen_as or str(folder.absolute())
        lines = [f"{name}={place}/{path}\n" for name, path in _VARIABLES.items()]
        _write(folder / "lacak.env", "".join(lines).encode(), 0o444)
        for name, owner in (owners or {}).items():
            for path in [folder / name, *(folder / name).iterdir()]:
                os.chown(path, owner, -1)
        folder.chmod(0o711)
    except OSError as error:
        raise SecurityError(f"{error.filename or folder}: {error.strerror}.") from error


def _servers(folder: Path, authority: Pair, now: datetime, kafka: Sequence[str], postgres: Sequence[str]) -> None:
    broker = issue(authority, "lacak-broker", now, kafka)
    _write(folder / "kafka" / "server.pem", broker.key + broker.certificate)
    _write(folder / "kafka" / "ca.pem", authority.certificate, 0o444)
    database = issue(authority, "lacak-postgres", now, postgres)
    _write(folder / "postgres" / "server.key", database.key)
    _write(folder / "postgres" / "server.crt", database.certificate)
    _write(folder / "postgres" / "ca.pem", authority.certificate, 0o444)


def _role(folder: Path, role: str, authority: Pair) -> None:
    _write(folder / "ca.pem", authority.certificate, 0o444)
    if role in ROLES:
        _write(folder / "kafka.password", _password())
    if role in DATABASE_ROLES:
        _write(folder / "postgres.password", _password())


def _password() -> bytes:
    return secrets.token_urlsafe(_SECRET_BYTES).encode() + b"\n"


def _write(path: Path, data: bytes, mode: int = 0o400) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)

"""How a process connects to PostgreSQL: the one place that knows what psycopg is to be told."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import psycopg

from security.files import check_files, read_password
from security.settings import DatabaseNetwork, DatabaseSecurity, SecurityError, path_of, text_of

PREFIX: Final = "LACAK_DATABASE_SECURITY_"


class DatabaseAccess(msgspec.Struct, frozen=True):
    """A database, and how a role connects to it. Each method reads the files anew and raises SecurityError."""

    url: str
    security: DatabaseSecurity = DatabaseSecurity()
    role: str = ""
    network: DatabaseNetwork = DatabaseNetwork()

    def arguments(self) -> dict[str, Any]:
        """What libpq is told beside the address; it wins over what stands there."""
        security, role = self.security, self.role
        ca, certificate, key = (
            path_of(path, role) for path in (security.ca_file, security.certificate_file, security.key_file)
        )
        given = _patience(self.network)
        if ca is not None:
            check_files(ca, certificate, key, PREFIX)
            given |= {"sslmode": "verify-full", "sslrootcert": str(ca), "ssl_min_protocol_version": "TLSv1.2"}
            if certificate is not None and key is not None:
                given |= {"sslcert": str(certificate), "sslkey": str(key)}
        elif certificate is not None or key is not None:
            raise SecurityError(f"{PREFIX}CERTIFICATE_FILE needs {PREFIX}CA_FILE, the server's authority.")
        if (password_file := path_of(security.password_file, role)) is not None:
            given["user"] = text_of(security.user, role)
            given["password"] = read_password(password_file, f"{PREFIX}PASSWORD_FILE")
            given["require_auth"] = "scram-sha-256"
        return given

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        """A connection; `more` wins over all. Raises psycopg.OperationalError too."""
        return psycopg.connect(self.url, **self.arguments() | more)

    async def connect_async(self, **more: Any) -> psycopg.AsyncConnection[Any]:
        """The same in an event loop."""
        return await psycopg.AsyncConnection.connect(self.url, **self.arguments() | more)


def _patience(network: DatabaseNetwork) -> dict[str, Any]:
    return {
        "connect_timeout": network.connect_seconds,
        "keepalives": 1,
        "keepalives_idle": network.idle_seconds,
        "keepalives_interval": network.probe_seconds,
        "keepalives_count": network.probes,
        "tcp_user_timeout": network.unacknowledged_seconds * 1000,
    }


def access_of(database: DatabaseAccess | str) -> DatabaseAccess:
    """An address alone says all there is: no TLS of ours, and whoever it names."""
    return DatabaseAccess(database) if isinstance(database, str) else database


def sentence(error: Exception) -> str:
    """What libpq says, in one line: it gives one for each address that it tried."""
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)).rstrip(".;")

"""Who may do what in PostgreSQL: the one table, and the statements that make it so.

Roles are users of the server; what they may do is said for one database. What a statement does may be done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import psycopg
from psycopg import sql

from security.database import DatabaseAccess, sentence
from security.settings import SecurityError, text_of

Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]

_READS: Final[tuple[Privilege, ...]] = ("SELECT",)
_WRITES: Final[tuple[Privilege, ...]] = ("SELECT", "INSERT", "UPDATE")
_FORGETS: Final[tuple[Privilege, ...]] = (*_WRITES, "DELETE")

PRIVILEGES: Final[Mapping[str, Mapping[str, tuple[Privilege, ...]]]] = {
    "recorder": {
        "applied_positions": _WRITES,
        "venues": _WRITES,
        "occupancy": _WRITES,
        "all_windows": _WRITES,
        "clusters": _WRITES,
        "told_clusters": _WRITES,
        "cases": _FORGETS,
        "traces": _FORGETS,
        "trace_contacts": _FORGETS,
        "trace_history": _WRITES,
        "former_contacts": _FORGETS,
        "erasures": _WRITES,
        "statuses": _FORGETS,
        "health_records": _FORGETS,
        "declarations": _FORGETS,
        "door_events": _WRITES,
    },
    "officer": {
        "audit": ("INSERT",),
        **dict.fromkeys(
            ("venues", "occupancy", "windows", "clusters", "cases", "traces", "trace_history", "statuses"), _READS
        ),
        "health_records": _READS,
    },
    "inspector": {"audit": ("INSERT",)},
    "grafana": {f"dashboards.{view}": _READS for view in ("venues", "occupancy", "windows", "clusters", "deeds")},
}
"""Role -> table or view -> privileges. A name without a schema is of `lacak`.

Grafana reads what its dashboards ask, in the schema that was made for them, and nothing of `lacak`.

The owner (`admin`) has all but changing the audit, which a trigger refuses to everybody. Nobody else may take away from
the audit, and no officer may read what others looked at.
"""

SCHEMAS: Final = ("lacak", "dashboards")
"""Where tables and views are that somebody may be given."""

_TEMPORARY: Final = ("recorder",)
"""Who makes temporary tables: windows come by COPY into one."""


def place_of(name: str) -> tuple[str, str]:
    """Schema and table of a name in PRIVILEGES."""
    schema, _, table = name.rpartition(".")
    return schema or "lacak", table


def user_of(access: DatabaseAccess, role: str) -> str:
    """A role's user in PostgreSQL."""
    return text_of(access.security.user, role)


def apply_roles(access: DatabaseAccess, passwords: Mapping[str, str]) -> list[str]:
    """Make the users that are missing, give each its password, and grant exactly what PRIVILEGES says.

    `passwords` by role; a role without one is left out. `access` is the owner's, who may make users. Returns the users'
    names. Raises SecurityError.
    """
    users = {role: user_of(access, role) for role in PRIVILEGES if role in passwords}
    try:
        with access.connect() as connection:  # one transaction
            row = connection.execute("select current_database()").fetchone()
            assert row is not None
            database = sql.Identifier(row[0])
            connection.execute(sql.SQL("revoke all on database {} from public").format(database))
            for role, user in users.items():
                _user(connection, user, passwords[role])
                for statement in _grants(role, sql.Identifier(user), database):
                    connection.execute(statement)
    except psycopg.Error as error:
        raise SecurityError(f"The users of PostgreSQL could not be made: {sentence(error)}.") from error
    return list(users.values())


def _user(connection: psycopg.Connection[Any], user: str, password: str) -> None:
    name = sql.Identifier(user)
    if connection.execute("select from pg_roles where rolname = %s", (user,)).fetchone() is None:
        connection.execute(sql.SQL("create role {}").format(name))
    # A verifier: the password itself would stand in the server's log of statements.
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("alter role {} login noinherit password {}").format(name, sql.Literal(verifier)))


def _grants(role: str, user: sql.Identifier, database: sql.Identifier) -> Iterator[sql.Composed]:
    yield sql.SQL("grant connect on database {} to {}").format(database, user)
    if role in _TEMPORARY:
        yield sql.SQL("grant temporary on database {} to {}").format(database, user)
    for schema in map(sql.Identifier, SCHEMAS):
        yield sql.SQL("revoke all on schema {} from {}").format(schema, user)
        yield sql.SQL("revoke all on all tables in schema {} from {}").format(schema, user)
    for name in dict.fromkeys(place_of(each)[0] for each in PRIVILEGES[role]):
        yield sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(name), user)
    for name, privileges in PRIVILEGES[role].items():
        yield sql.SQL("grant {} on {} to {}").format(
            sql.SQL(", ").join(sql.SQL(privilege) for privilege in privileges), sql.Identifier(*place_of(name)), user
        )

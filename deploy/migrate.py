"""Bring a database up to date: each file of deploy/migrations once, in order."""

from __future__ import annotations

from importlib.resources import files

import psycopg

from security.database import DatabaseAccess, access_of, sentence
from security.settings import SecurityError

_LOCK = 0x6C61_6361_6B  # "lacak"


class MigrationError(RuntimeError):
    """The database cannot be brought up to date; the message says why."""


def migrate(database: DatabaseAccess | str) -> list[str]:
    """Apply what is missing, one process at a time; the names of the steps applied. Raises MigrationError."""
    steps = sorted(
        (path.name, path.read_text("utf-8"))
        for path in files("deploy.migrations").iterdir()
        if path.name.endswith(".sql")
    )
    applied = []
    try:
        with access_of(database).connect(autocommit=True) as connection:
            connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
            connection.execute("create schema if not exists lacak")
            connection.execute(
                "create table if not exists lacak.migrations (name text primary key, at timestamptz default now())"
            )
            done = {name for (name,) in connection.execute("select name from lacak.migrations")}
            for name, sql in steps:
                if name not in done:
                    with connection.transaction():
                        connection.execute(sql.encode())
                        connection.execute("insert into lacak.migrations (name) values (%s)", (name,))
                    applied.append(name)
    except SecurityError as error:
        raise MigrationError(str(error)) from error
    except psycopg.OperationalError as error:
        raise MigrationError(
            f"PostgreSQL cannot be used: is it running, and is LACAK_DATABASE right? ({sentence(error)})"
        ) from error
    except psycopg.Error as error:
        raise MigrationError(f"The database could not be brought up to date: {sentence(error)}.") from error
    return applied

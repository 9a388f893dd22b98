"""PostgreSQL in the open: verified in full, each role with what it needs, and an audit that nobody takes from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import psycopg
import pytest

from deploy.database_roles import PRIVILEGES
from officer.store import Store
from tests.secured import AS_OFFICER, Secured, run

pytestmark = pytest.mark.kafka  # it comes with the secured brokers


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"LACAK_DATABASE_SECURITY_CA_FILE": "{folder}/other.pem"}, "certificate verify failed"),
        ({"LACAK_DATABASE": "postgresql://127.0.0.1:{port}/lacak"}, 'does not match host name "127.0.0.1"'),
        ({"LACAK_DATABASE_SECURITY_CA_FILE": ""}, "no encryption"),
        ({"LACAK_DATABASE_SECURITY_PASSWORD_FILE": "{folder}/nowhere"}, "nowhere cannot be read"),
        ({"LACAK_DATABASE_SECURITY_PASSWORD_FILE": "{folder}/wrong"}, "password authentication failed"),
    ],
)
def test_postgresql_is_verified_in_full(secured: Secured, tmp_path: Path, changes: dict[str, str], words: str) -> None:
    """Another authority's certificate, another name, no TLS, no password: refused, in a line."""
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    (tmp_path / "wrong").write_text("not it\n")
    port = secured.environment["LACAK_DATABASE"].rpartition(":")[2].partition("/")[0]
    env = secured.environment | AS_OFFICER
    env |= {name: value.format(folder=tmp_path, port=port) for name, value in changes.items()}
    if "LACAK_DATABASE_SECURITY_CA_FILE" in changes and not changes["LACAK_DATABASE_SECURITY_CA_FILE"]:
        env["LACAK_DATABASE"] += "?sslmode=disable"
    found = run("traces", env)
    assert found.exit_code == 1
    assert words in found.output
    assert found.output.count("\n") == 1
    assert "Traceback" not in found.output


def test_the_database_lets_a_role_do_what_the_table_says_and_nothing_else(secured: Secured) -> None:
    """Every table and view, every privilege: as PostgreSQL itself has them."""
    with secured.settings("admin").database_access.connect() as database:
        tables = [
            name
            for (name,) in database.execute(
                "select relname from pg_class where relnamespace = 'lacak'::regnamespace and relkind in ('r', 'v')"
            )
        ]
        for role, held in PRIVILEGES.items():
            assert set(held) <= set(tables)
            for table in tables:
                found = {
                    privilege
                    for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
                    for (may,) in database.execute(
                        "select has_table_privilege(%s, %s, %s)", (f"lacak_{role}", f"lacak.{table}", privilege)
                    )
                    if may
                }
                assert found == set(held.get(table, ())), (role, table)
            row = database.execute(
                "select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls from pg_roles where rolname = %s",
                (f"lacak_{role}",),
            ).fetchone()
            assert row == (False,)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("officer", "delete from lacak.audit"),
        ("officer", "select * from lacak.audit"),
        ("officer", "update lacak.traces set contacts = 0"),
        ("officer", "delete from lacak.statuses"),
        ("recorder", "insert into lacak.audit (officer, purpose, action) values ('x', 'x', 'x')"),
        ("recorder", "delete from lacak.audit"),
        ("inspector", "select * from lacak.traces"),
        ("recorder", "create table lacak.more (it int)"),
        ("officer", "create temporary table more (it int)"),
    ],
)
def test_what_is_not_granted_in_the_database_is_refused(secured: Secured, role: str, statement: str) -> None:
    """By real statements."""
    access = secured.settings(role).database_access
    with access.connect() as database, pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.execute(statement.encode())


def test_dashboards_see_numbers_and_nobody(secured: Secured) -> None:
    """Grafana's user reads the aggregates, and no table or view in which a person stands."""
    access = secured.settings("admin").database_access
    access = msgspec.structs.replace(
        access,
        security=msgspec.structs.replace(
            access.security, user="lacak_grafana", password_file=secured.secrets / "grafana" / "postgres.password"
        ),
    )
    with access.connect(autocommit=True) as database:
        for view in PRIVILEGES["grafana"]:
            columns = database.execute(f"select * from lacak.{view} limit 1".encode()).description or ()
            assert not {"person", "people", "case_ids", "case_id", "report"} & {column.name for column in columns}
        for table in ("traces", "cases", "statuses", "health_records", "audit", "trace_contacts"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(f"select * from lacak.{table}".encode())


def test_not_even_the_owner_takes_from_the_audit(secured: Secured) -> None:
    """What officers did stands in it, and stays."""
    with Store.opened(secured.settings("officer").database_access) as store:
        store.audit("dr.sari", "test", "look")
    with secured.settings("admin").database_access.connect(autocommit=True) as database:
        row = database.execute("select count(*) from lacak.audit").fetchone()
        assert row is not None
        assert row[0] > 0
        for statement in ("delete from lacak.audit", "update lacak.audit set officer = 'x'", "truncate lacak.audit"):
            with pytest.raises(psycopg.errors.RaiseException):
                database.execute(statement.encode())

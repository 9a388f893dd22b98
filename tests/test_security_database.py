"""PostgreSQL in the open: verified in full, each role with what it needs, and an audit that nobody takes from."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import psycopg
import pytest

from deploy.database_roles import PRIVILEGES, SCHEMAS, place_of
from deploy.grafana.__main__ import FOLDER
from deploy.prometheus.live import filled_in_sql
from officer.store import Store
from security.database import DatabaseAccess
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
    """Every schema, table and view, every privilege: as PostgreSQL itself has them."""
    with secured.settings("admin").database_access.connect() as database:
        tables = [
            (schema, name)
            for schema, name in database.execute(
                "select relnamespace::regnamespace::text, relname from pg_class"
                " where relnamespace::regnamespace::text = any(%s) and relkind in ('r', 'v')",
                (list(SCHEMAS),),
            )
        ]
        for role, held in PRIVILEGES.items():
            wanted = {place_of(name): set(privileges) for name, privileges in held.items()}
            assert set(wanted) <= set(tables)
            for schema, table in tables:
                found = {
                    privilege
                    for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
                    for (may,) in database.execute(
                        "select has_table_privilege(%s, %s, %s)", (f"lacak_{role}", f"{schema}.{table}", privilege)
                    )
                    if may
                }
                assert found == wanted.get((schema, table), set()), (role, schema, table)
            for schema in SCHEMAS:
                row = database.execute(
                    "select has_schema_privilege(%s, %s, 'usage'), has_schema_privilege(%s, %s, 'create')",
                    (f"lacak_{role}", schema) * 2,
                ).fetchone()
                assert row == (schema in {of for of, _ in wanted}, False), (role, schema)
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


PEOPLE = {
    "person", "person_id", "case_id", "case_ids", "contact", "device", "device_id", "officer", "event_id", "detail",
    "report", "record", "trace_id", "slot_cases",
}  # fmt: skip
"""What columns are called that name somebody, or lead to them."""


def _grafana(secured: Secured) -> DatabaseAccess:
    """How Grafana's user connects: no role of ours, so that its settings have no place for one."""
    access = secured.settings("admin").database_access
    password = secured.secrets / "grafana" / "postgres.password"
    return msgspec.structs.replace(
        access, security=msgspec.structs.replace(access.security, user="lacak_grafana", password_file=password)
    )


def _queries() -> list[tuple[str, str]]:
    """(panel or variable, SQL) of every dashboard that asks PostgreSQL, the variables filled in."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        board = msgspec.json.decode(path.read_bytes())
        asked = [
            (panel["title"], target["rawSql"])
            for panel in board["panels"]
            for target in panel.get("targets") or ()
            if "rawSql" in target
        ]
        asked += [
            (variable["name"], variable["query"])
            for variable in board["templating"]["list"]
            if "postgres" in (variable.get("datasource") or {}).get("type", "")
        ]
        found += [(f"{path.stem}: {title}", filled_in_sql(query, "mall'-1")) for title, query in asked]
    return found


def test_grafanas_user_is_answered_every_query_of_the_dashboards(secured: Secured) -> None:
    """As PostgreSQL lets it, by TLS and its own password; and what it may read is what they ask, no view more."""
    queries = _queries()
    assert len(queries) > 14
    with _grafana(secured).connect(autocommit=True) as database:
        for title, query in queries:
            assert database.execute(query.encode()).description, title
    asked = {view for _, query in queries for view in re.findall(r"\bdashboards\.\w+", query)}
    assert asked == set(PRIVILEGES["grafana"])


def test_dashboards_see_numbers_and_nobody(secured: Secured) -> None:
    """Grafana's user reads no column that names a person, and nothing but its views: each other table and view of the
    database, its own and those of the server that tell who is connected with what, is refused or empty of others."""
    with _grafana(secured).connect(autocommit=True) as database:
        for view in PRIVILEGES["grafana"]:
            columns = database.execute(f"select * from {view} limit 1".encode()).description or ()
            assert not PEOPLE & {column.name for column in columns}, view
        others = database.execute(
            "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace"
            " where relkind in ('r', 'v', 'm', 'p', 'f')"
            " and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
        ).fetchall()
        closed = {name for (name,) in others} - set(PRIVILEGES["grafana"])
        assert {"lacak.traces", "lacak.audit", "lacak.statuses", "lacak.cases", "lacak.trace_contacts"} <= closed
        for name in closed:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(f"select * from {name}".encode())
        for statement in (
            "delete from lacak.occupancy",
            "create table dashboards.more (it int)",
            "create temporary table more (it int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(statement.encode())
        said = "select query from pg_stat_activity where usename <> current_user and query is not null"
        assert {query for (query,) in database.execute(said.encode())} <= {"<insufficient privilege>"}


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

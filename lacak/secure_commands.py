"""`lacak secure`: certificates, passwords, users and grants, for a deployment whose servers know who comes."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import psycopg
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from deploy.database_roles import PRIVILEGES, apply_roles
from deploy.migrate import MigrationError, migrate
from lacak.settings import load_settings
from security.database import DatabaseAccess, sentence
from security.files import read_password
from security.folder import DATABASE_ROLES, make_folder
from security.refusal import ANSWERS, why_refused
from security.settings import ROLES, BrokerSecurity, SecurityError
from streams.grants import grants as granted
from streams.postgres import adopt
from streams.settings import Settings
from streams.topics import TopicError, cluster_id, ensure_topics
from streams.users import apply_acls, apply_users

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def secure() -> None:
    """Run in the open: TLS and logins to Kafka and PostgreSQL, and for each role what it may do and no more.

    \b
        lacak secure init secure --kafka kafka.example.go.id --postgres db.example.go.id
        lacak secure apply secure --inside kafka.example.go.id:9093    once, and after every upgrade
        lacak secure check                                             does each role get in?

    docs/security.md goes through it step by step.
    """


@secure.command(short_help="Make certificates and a password for each role.")
@_FOLDER
@click.option("--kafka", multiple=True, required=True, metavar="HOST", help="A name or address brokers are reached by.")
@click.option("--postgres", multiple=True, required=True, metavar="HOST", help="The same of PostgreSQL.")
@click.option("--seen-as", metavar="PATH", default="", help="Where processes find the folder. Default: where it is.")
@click.option("--owner", "owners", multiple=True, metavar="NAME=UID", help="Who owns a folder in it (only as root).")
def init(
    folder: Path, kafka: tuple[str, ...], postgres: tuple[str, ...], seen_as: str, owners: tuple[str, ...]
) -> None:
    """Make FOLDER: an authority, certificates of the servers and the administrator, and a password for each role.

    Nothing is printed of them. Bring each machine only the folder of its own role; keep `authority` away from all of
    them. Who has an authority already uses its certificates instead, and only the passwords of this folder.
    """
    try:
        make_folder(folder, datetime.now(UTC), kafka=kafka, postgres=postgres, seen_as=seen_as, owners=_owners(owners))
    except SecurityError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Made {folder}: {folder / 'lacak.env'} has the variables. Nobody but its owner can read the secrets.")


def _owners(given: tuple[str, ...]) -> dict[str, int]:
    owners = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in (*ROLES, "grafana", "kafka", "postgres") or not number.isdigit():
            raise click.UsageError(f"--owner {text!r}: give NAME=UID, of a role, grafana, kafka or postgres.")
        owners[name] = int(number)
    return owners


@secure.command(short_help="Make topics, tables, users and grants, as the administrator.")
@_FOLDER
@click.option("--inside", metavar="HOST:PORT", help="Brokers' listener for certificates. Default: LACAK_BROKERS.")
@click.option("--without-database", is_flag=True, help="Only the brokers.")
def apply(folder: Path, inside: str | None, without_database: bool) -> None:
    """Make what FOLDER's users need: topics, users with their passwords, ACLs; tables and users of PostgreSQL.

    The administrator comes to the brokers' listener for certificates with FOLDER's, and to LACAK_DATABASE as the role
    admin of LACAK_DATABASE_SECURITY_... Doing it again changes nothing; grants that no longer hold are taken back.
    """
    settings = load_settings("admin", need_servers=inside is None)
    own = BrokerSecurity(
        ca_file=folder / "ca.pem",
        certificate_file=folder / "admin" / "certificate.pem",
        key_file=folder / "admin" / "key.pem",
        user=settings.security.user,
    )
    settings = msgspec.structs.replace(settings, brokers=inside or settings.brokers, security=own)
    try:
        topics = ensure_topics(settings)
        users = apply_users(settings, _passwords(folder, "kafka", tuple(ROLES)))
        made, withdrawn = apply_acls(settings)
        click.echo(f"Brokers: {len(topics)} topics made, {users} users, {len(made)} ACLs made.")
        for line in withdrawn:
            click.echo(f"Taken back: {line}")
        if not without_database:
            steps = migrate(settings.database_access)
            adopt(settings.database_access, cluster_id(settings))
            known = apply_roles(settings.database_access, _passwords(folder, "postgres", tuple(PRIVILEGES)))
            click.echo(f"PostgreSQL: {len(steps)} migrations, users {', '.join(known)}.")
    except (KafkaError, SecurityError, TopicError, MigrationError) as error:
        raise click.ClickException(str(error)) from error


def _passwords(folder: Path, server: str, roles: tuple[str, ...]) -> dict[str, str]:
    return {role: read_password(folder / role / f"{server}.password", "apply") for role in roles}


@secure.command("grants", short_help="Show who may do what.")
@click.option("--role", type=click.Choice([*ROLES, "grafana"]), help="Only this role.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def show_grants(role: str | None, as_json: bool) -> None:
    """Show what each role may do on the brokers and in PostgreSQL, as `lacak secure apply` makes it.

    The administrator may do everything and has no row. Descriptions of a topic go with reading and writing it.
    """
    settings = load_settings(need_servers=False)
    topics = [grant for grant in granted(settings) if role in (None, grant.role)]
    tables = {name: held for name, held in PRIVILEGES.items() if role in (None, name)}
    if as_json:
        found = {"brokers": [grant._asdict() for grant in topics], "database": tables}
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    on_brokers = Table("role", "writes", "reads", title="Topics", box=None, header_style="bold", title_justify="left")
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for grant in topics:
        for operation in grant.operations if grant.resource == "TOPIC" else ():
            names[grant.role, operation].append(grant.name)
    for each in dict.fromkeys(grant.role for grant in topics):
        on_brokers.add_row(each, *(", ".join(names[each, operation]) or "-" for operation in ("WRITE", "READ")))
    in_database = Table("role", "may", "on", title="PostgreSQL", box=None, header_style="bold", title_justify="left")
    for each, held in tables.items():
        by_privileges: dict[str, list[str]] = defaultdict(list)
        for table, privileges in held.items():
            by_privileges[", ".join(privileges).lower()].append(table)
        for may, those in by_privileges.items():
            in_database.add_row(each, may, ", ".join(those))
    console = Console()
    for shown in (on_brokers, in_database):
        if shown.row_count:
            console.print(shown)


@secure.command(short_help="Try whether each role gets in.")
@click.argument("roles", nargs=-1, type=click.Choice(list(ROLES)))
def check(roles: tuple[str, ...]) -> None:
    """Connect to the brokers and to PostgreSQL as each of ROLES (default: all), and say what is wrong, a line each.

    Exit code 1 says that something is.
    """
    settings = load_settings()
    faults = 0
    for role in roles or tuple(ROLES):
        for server, fault in _tried(msgspec.structs.replace(settings, role=role)):
            faults += fault is not None
            click.secho(f"{role} at {server}: {fault or 'gets in'}", fg="red" if fault else None)
    if faults:
        raise click.exceptions.Exit(1)


def _tried(settings: Settings) -> list[tuple[str, str | None]]:
    brokers = why_refused(settings.broker_access)
    found: list[tuple[str, str | None]] = [("the brokers", None if brokers == ANSWERS else brokers)]
    if settings.role in DATABASE_ROLES:
        found.append(("PostgreSQL", _refused_by_database(settings.database_access)))
    return found


def _refused_by_database(access: DatabaseAccess) -> str | None:
    try:
        access.connect().close()
    except SecurityError as error:
        return str(error).rstrip(".")
    except psycopg.OperationalError as error:
        return sentence(error)
    return None

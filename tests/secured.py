"""Servers that know who comes: Apache Kafka with logins and ACLs, PostgreSQL by TLS, made by `lacak secure` itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result

from deploy.embedded import Postgres, ServerError
from deploy.kafka import Kafka
from deploy.ports import free_port
from lacak.main import cli
from lacak.settings import read_settings
from security.files import read_password
from streams.settings import Settings

AS_OFFICER = {"LACAK_OFFICER": "dr.sari", "LACAK_PURPOSE": "test"}
PASSWORDS = ("kafka.password", "postgres.password")
_DECISION = re.compile(
    r"Principal = User:(\S+) is (Allowed|Denied) operation = (\w+) from host = \S+ on resource = "
    r"(Topic|Group|Cluster|TransactionalId):LITERAL:(\S+) for request = (\w+)"
)


class Decision(NamedTuple):
    """What the brokers decided of a request."""

    user: str
    allowed: bool
    operation: str
    resource: str
    name: str
    request: str


def run(command: str, env: Mapping[str, str | None] | None = None) -> Result:
    """Run a `lacak` command as a user would."""
    return CliRunner().invoke(cli, command.split(), env=dict(env or {}))


def postgres_with_tls() -> Path:
    """The folder of the programs of a PostgreSQL that is built with TLS: Debian's. Skips the test where there is none,
    unless LACAK_TEST_POSTGRES_TLS=required."""
    for config in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"), reverse=True):
        built = subprocess.run([config, "--configure"], capture_output=True, text=True, check=True).stdout
        if "openssl" in built and (config.parent / "initdb").exists():
            return config.parent
    if os.environ.get("LACAK_TEST_POSTGRES_TLS") == "required":
        pytest.fail("no PostgreSQL with TLS is here: apt install postgresql")
    pytest.skip("no PostgreSQL with TLS is here: apt install postgresql")


class Secured:
    """The servers, the folder of secrets, and the environment that a user would have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = folder / "secure"
        self.kafka: Kafka
        self.environment: dict[str, str] = {}
        self.lived: list[Decision] = []

    def settings(self, role: str, **changes: object) -> Settings:
        """The settings of one who connects as `role`."""
        return msgspec.structs.replace(read_settings(self.environment), role=role, **changes)

    def decisions(self, since: int = 0) -> list[Decision]:
        """What the brokers' authorizer has decided of roles' requests, from a position of its log on."""
        with (self.folder / "kafka" / "kafka.log").open() as log:
            log.seek(since)
            found = (_DECISION.search(line) for line in log if "kafka.authorizer.logger" in line)
            return [
                Decision(match[1], match[2] == "Allowed", match[3], match[4].upper(), match[5], match[6])
                for match in found
                if match is not None
            ]

    def log_end(self) -> int:
        """The end of that log now."""
        return (self.folder / "kafka" / "kafka.log").stat().st_size

    def all_passwords(self) -> set[str]:
        """Every password of the folder."""
        return {read_password(path, "") for name in PASSWORDS for path in self.secrets.glob(f"*/{name}")}


def used(decisions: list[Decision]) -> dict[tuple[str, str, str], set[str]]:
    """(user, resource, name) -> the operations that were allowed."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for each in decisions:
        if each.allowed:
            found[each.user, each.resource, each.name].add(each.operation)
    return found


@contextmanager
def secured_servers() -> Iterator[Secured]:
    """Both servers, with everything that `lacak secure init` and `apply` make."""
    programs = postgres_with_tls()
    folder = Path(tempfile.mkdtemp(prefix="lacak-secured-"))
    folder.chmod(0o711)
    with ExitStack() as stack:
        if not os.environ.get("LACAK_KEEP"):
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        found = Secured(folder)
        owner = "--owner postgres=65534" if os.geteuid() == 0 else ""  # the server then runs as nobody
        hosts = "--kafka 127.0.0.1 --kafka localhost --postgres localhost"
        made = run(f"secure init {found.secrets} {hosts} {owner}")
        assert made.exit_code == 0, made.output

        loggers = {"kafka.authorizer.logger": "debug", "org.apache.kafka": "warn", "kafka": "warn"}
        found.kafka = Kafka(folder / "kafka", secured=found.secrets, heap="512m", loggers=loggers)
        stack.callback(found.kafka.stop)
        try:
            found.kafka.start()
        except ServerError as error:  # of some ten starts of Kafka 4.1.0 one ended so, by a race of its own
            if "newPublisher" not in str(error) and "MetadataLoader" not in str(error):
                raise
            found.kafka.start()

        port = free_port()
        rules = folder / "pg_hba.conf"
        rules.write_text("local all all trust\nhostssl all all samehost scram-sha-256\n")
        rules.chmod(0o644)
        place = found.secrets / "postgres"
        settings = ["ssl=on", f"ssl_cert_file={place}/server.crt", f"ssl_key_file={place}/server.key"]
        settings += [f"hba_file={rules}", "listen_addresses=localhost", "log_statement=all", "log_connections=on"]
        postgres = Postgres(folder / "postgres", settings, programs=programs, port=port)
        stack.callback(postgres.stop)
        postgres.start()
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            password = read_password(found.secrets / "admin" / "postgres.password", "")
            made_of = connection.pgconn.encrypt_password(password.encode(), b"lacak_admin", b"scram-sha-256").decode()
            connection.execute(f"create role lacak_admin login createrole password '{made_of}'".encode())
            connection.execute("create database lacak owner lacak_admin")

        found.environment = dict(
            line.split("=", 1) for line in (found.secrets / "lacak.env").read_text().splitlines()
        ) | {
            "LACAK_BROKERS": found.kafka.bootstrap,
            "LACAK_DATABASE": f"postgresql://localhost:{port}/lacak",
            "LACAK_DATA_DIR": str(folder / "lacak"),
            "LACAK_CLOCK": "file",
            "LACAK_TIMES_RETENTION_DAYS": "400",
        }
        done = run(f"secure apply {found.secrets} --inside {found.kafka.inside}", found.environment)
        assert done.exit_code == 0, done.output
        yield found

"""Certificates, secrets and settings of a deployment in the open, without servers of Kafka or PostgreSQL."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import yaml
from cryptography import x509

from deploy.database_roles import PRIVILEGES
from deploy.kafka_security import SECURED
from gateway.settings import read_settings as gateway_settings
from lacak.settings import environment_of, read_settings
from schemas.channels import CHANNELS
from security.brokers import BrokerAccess
from security.certificates import Pair, issue, make_authority
from security.database import DatabaseAccess
from security.folder import DATABASE_ROLES, make_folder
from security.refusal import why_refused
from security.settings import ROLES, WORKERS, BrokerSecurity, DatabaseNetwork, DatabaseSecurity, SecurityError
from streams.grants import ACTORS, grants
from streams.settings import Settings
from tests.secured import run

ROOT = Path(__file__).parents[1]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lacak secure init` makes."""
    place = tmp_path_factory.mktemp("secure") / "own"
    found = run(f"secure init {place} --kafka localhost --kafka 127.0.0.1 --postgres db.example")
    assert found.exit_code == 0, found.output
    return place


def test_secrets_are_their_owners_alone(folder: Path) -> None:
    """Nobody else can read a key or a password, or look into a role's folder; each password is its own."""
    secrets = [*folder.glob("*/*.password"), *folder.glob("*/*key*"), folder / "kafka" / "server.pem"]
    assert len(secrets) > len(ROLES)
    for path in secrets:
        assert path.stat().st_mode & 0o777 == 0o400, path
        assert path.parent.stat().st_mode & 0o777 == 0o700, path
    passwords = [path.read_text().strip() for path in folder.glob("*/*.password")]
    assert len(set(passwords)) == len(passwords) == len(ROLES) + len(DATABASE_ROLES)
    assert all(len(password) >= 43 for password in passwords)  # 256 bits


def test_a_folder_is_never_written_over(folder: Path) -> None:
    """Nor is anything of a secret printed."""
    before = (folder / "gateway" / "kafka.password").read_bytes()
    found = run(f"secure init {folder} --kafka localhost --postgres localhost")
    assert found.exit_code == 1
    assert "never written over" in found.output
    assert (folder / "gateway" / "kafka.password").read_bytes() == before


def test_certificates_are_what_browsers_and_brokers_take(folder: Path) -> None:
    """By another library's rules: Python's strict verification of the chain, the names, and the uses."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with _server(folder / "kafka" / "server.pem") as port:
        for host in ("localhost", "127.0.0.1"):
            with socket.create_connection(("127.0.0.1", port)) as plain:
                context.wrap_socket(plain, server_hostname=host).close()
    admin = x509.load_pem_x509_certificate((folder / "admin" / "certificate.pem").read_bytes())
    assert admin.subject.rfc4514_string() == "CN=lacak-admin"
    uses = admin.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.oid.ExtendedKeyUsageOID.SERVER_AUTH not in uses


@contextmanager
def _server(pair: Path, answer: Callable[[ssl.SSLSocket], object] = lambda _: None) -> Iterator[int]:
    """A TLS server that takes connections until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    plain, _ = listening.accept()
                    with context.wrap_socket(plain, server_side=True) as taken:
                        answer(taken)
                except OSError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            ended.set()
            thread.join()


def _pair(tmp_path: Path, authority: trustme.CA, *hosts: str, **more: Any) -> Path:
    made = authority.issue_cert(*hosts, **more)
    path = tmp_path / "server.pem"
    made.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize(
    ("hosts", "days", "words"),
    [
        (("127.0.0.1",), -1, "the certificate has expired"),
        (("127.0.0.2",), 10, "the certificate does not name this address"),
        (("kafka.example",), 10, "the certificate does not name this"),
    ],
)
def test_a_brokers_certificate_that_is_no_good_is_named(
    tmp_path: Path, hosts: tuple[str, ...], days: int, words: str
) -> None:
    """Expired, or another host's: by certificates of another library."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    more = {"not_before": NOW - timedelta(days=9), "not_after": NOW + timedelta(days=days)}
    with _server(_pair(tmp_path, authority, *hosts, **more)) as port:
        said = why_refused(BrokerAccess(f"127.0.0.1:{port}", BrokerSecurity(ca_file=tmp_path / "ca.pem")))
    assert said.startswith(f"127.0.0.1:{port}: {words}")


def test_another_authoritys_certificate_is_named(folder: Path, tmp_path: Path) -> None:
    """Whoever answers in a broker's place without its certificate is not spoken to."""
    heard: list[bytes] = []
    with _server(_pair(tmp_path, trustme.CA(), "127.0.0.1"), lambda taken: heard.append(taken.recv(1))) as port:
        said = why_refused(BrokerAccess(f"127.0.0.1:{port}", BrokerSecurity(ca_file=folder / "ca.pem")))
    assert "not signed by an authority in LACAK_SECURITY_CA_FILE" in said
    assert heard == []


def test_our_own_expired_certificate_is_refused(folder: Path) -> None:
    """The authority's own certificates end too."""
    authority = Pair((folder / "ca.pem").read_bytes(), (folder / "authority" / "ca.key").read_bytes())
    old = issue(authority, "x", NOW - timedelta(days=30), ["127.0.0.1"], days=20)
    (folder / "old.pem").write_bytes(old.key + old.certificate)
    with _server(folder / "old.pem") as port:
        said = why_refused(BrokerAccess(f"127.0.0.1:{port}", BrokerSecurity(ca_file=folder / "ca.pem")))
    assert "has expired" in said


def test_a_server_without_tls_is_named(folder: Path) -> None:
    """A broker's port for the clear, asked by TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            taken, _ = listening.accept()
            with taken:
                taken.recv(100)
                taken.sendall(b"this is no TLS record at all, and long enough")

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        said = why_refused(BrokerAccess(address, BrokerSecurity(ca_file=folder / "ca.pem")))
        thread.join()
    assert "does not speak TLS there" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca_file": "nowhere"}, "CA_FILE: {0}/nowhere cannot be read"),
        ({"ca_file": "empty"}, "CA_FILE: {0}/empty holds no certificates in PEM"),
        ({"certificate_file": "c.pem"}, "CERTIFICATE_FILE and LACAK_SECURITY_KEY_FILE go together"),
        ({"certificate_file": "c.pem", "key_file": "other.key"}, "the key is not the certificate's"),
        ({"certificate_file": "c.pem", "key_file": "empty"}, "they are not a pair in PEM"),
        ({"password_file": "nowhere"}, "PASSWORD_FILE: {0}/nowhere cannot be read"),
        ({"password_file": "empty"}, "PASSWORD_FILE: {0}/empty is empty"),
        ({"password_file": "two"}, "should hold one line"),
        ({"password_file": "binary"}, "is no text"),
        ({"password_file": "good", "ca_file": None}, "PASSWORD_FILE needs LACAK_SECURITY_CA_FILE"),
        ({"password_file": "{role}"}, "has a place for a role"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, changes: dict[str, str | None], words: str) -> None:
    """Each file that is missing, unreadable, or not what it should be; the secret itself is never in the message."""
    authority, other = make_authority("a", NOW), make_authority("b", NOW)
    made = issue(authority, "x", NOW)
    for name, data in {
        "ca.pem": authority.certificate, "c.pem": made.certificate, "other.key": issue(other, "x", NOW).key,
        "empty": b"", "two": b"hunter2\nhunter3\n", "binary": b"\xff\xfehunter2", "good": b"hunter2\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    given = {"ca_file": "ca.pem"} | changes
    files = {name: None if path is None else tmp_path / path for name, path in given.items()}
    with pytest.raises(SecurityError, match=re.escape(words.format(tmp_path))) as raised:
        BrokerAccess("127.0.0.1:1", BrokerSecurity(**files, user="x")).arguments()  # type: ignore[arg-type]
    assert "hunter" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_encrypted_key_is_told_and_not_asked_for(folder: Path, tmp_path: Path) -> None:
    """Nobody sits at a worker's terminal."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key((folder / "admin" / "key.pem").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    (tmp_path / "key.pem").write_bytes(locked)
    security = BrokerSecurity(
        ca_file=folder / "ca.pem", certificate_file=folder / "admin/certificate.pem", key_file=tmp_path / "key.pem"
    )
    with pytest.raises(SecurityError, match="not a pair in PEM"):
        BrokerAccess("127.0.0.1:1", security).arguments()


def test_one_environment_serves_every_role(folder: Path) -> None:
    """Each reads its own password; the settings that are printed and passed on name files alone."""
    env = dict(line.split("=", 1) for line in (folder / "lacak.env").read_text().splitlines())
    settings = read_settings({**env, "LACAK_BROKERS": "b:1", "LACAK_DATABASE": "postgresql://db.example/x"})
    for role in ROLES:
        own = msgspec.structs.replace(settings, role=role)
        given = own.broker_access.arguments()
        password = (folder / role / "kafka.password").read_text().strip()
        assert (given["sasl_plain_username"], given["sasl_plain_password"]) == (f"lacak-{role}", password)
        assert given["security_protocol"] == "SASL_SSL"
        assert given["sasl_mechanism"] == "SCRAM-SHA-512"
        assert given["ssl_context"].check_hostname
        assert given["ssl_context"].verify_mode is ssl.CERT_REQUIRED
        assert password not in str(environment_of(own)) + repr(own)
        assert read_settings(environment_of(own)) == own
        if role in DATABASE_ROLES:
            libpq = own.database_access.arguments()
            assert (libpq["sslmode"], libpq["require_auth"]) == ("verify-full", "scram-sha-256")
            assert libpq["user"] == f"lacak_{role}"
    credentials = msgspec.structs.replace(settings, role="visits").broker_access.faust()
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    password = (folder / "visits" / "kafka.password").read_text().strip()
    assert password not in repr(credentials)


def test_the_gateway_takes_the_shared_settings_and_its_own_first(folder: Path) -> None:
    """A gateway on another machine may have an authority of its own."""
    env = dict(line.split("=", 1) for line in (folder / "lacak.env").read_text().splitlines())
    assert gateway_settings(env).broker_access.user == "lacak-gateway"
    own = gateway_settings({**env, "LACAK_GATEWAY_SECURITY_USER": "door-7"})
    assert own.broker_access.user == "door-7"
    assert own.security.ca_file == gateway_settings(env).security.ca_file


def test_without_settings_nothing_changes() -> None:
    """Brokers and PostgreSQL in the clear, as on one machine."""
    assert BrokerAccess("a:1, b:2").arguments() == {"bootstrap_servers": ["a:1", "b:2"]}
    assert BrokerAccess("a:1").faust() is None
    assert not {"sslmode", "user", "password", "require_auth"} & set(DatabaseAccess("postgresql://x").arguments())
    with pytest.raises(SecurityError, match="needs LACAK_DATABASE_SECURITY_CA_FILE"):
        DatabaseAccess("x", DatabaseSecurity(certificate_file=Path("c"))).arguments()


def test_every_connection_goes_through_one_place() -> None:
    """No client is built with addresses of its own, so none is left in the clear."""
    allowed = {
        "bootstrap_servers": {"security/brokers.py"},
        r"(psycopg|AsyncConnection)\.connect\(": {"security/database.py", "deploy/embedded.py"},
    }
    packages = ("agents", "contacts", "deploy", "gateway", "lacak", "officer", "schemas", "security", "streams")
    for pattern, places in allowed.items():
        found = {
            str(path.relative_to(ROOT))
            for package in packages
            for path in (ROOT / package).rglob("*.py")
            if re.search(pattern, path.read_text("utf-8"))
        }
        assert found == places


def test_every_sender_and_reader_is_somebody() -> None:
    """The grants are made from the catalogue: a new topic or name in it needs a role."""
    names = {name for channel in CHANNELS for name in (*channel.senders, *channel.readers)}
    assert names == set(ACTORS)
    assert {role for roles in ACTORS.values() for role in roles} <= set(ROLES)
    granted = {each.role for each in grants(Settings())}
    assert granted == set(ROLES) - {"admin"}
    assert set(PRIVILEGES) - {"grafana"} <= set(ROLES)


def test_grants_are_of_one_deployment() -> None:
    """With a prefix, nothing without it is granted; nothing is granted by pattern."""
    for each in grants(Settings(topic_prefix="p.")):
        assert each.name.startswith("p.")
    for each in grants(Settings()):
        assert "*" not in each.name
        if each.resource == "GROUP":
            assert each.role in WORKERS


def test_nobody_but_who_should_writes_what_doors_believe() -> None:
    """Colours come from the status agent, results from laboratories and officers; the inspector sends letters again."""
    writers: dict[str, set[str]] = {}
    for each in grants(Settings()):
        if "WRITE" in each.operations:
            writers.setdefault(each.name, set()).add(each.role)
    assert writers["statuses"] == {"status", "inspector"}
    assert writers["test-results"] == {"laboratory", "officer", "inspector"}
    assert writers["rules"] == {"officer", "inspector"}
    assert writers["traces"] == {"tracing", "inspector"}


class _Compose(yaml.SafeLoader):
    """Knows the tag by which compose takes away what another file says."""


_Compose.add_constructor("!reset", lambda _loader, _node: None)


def _compose(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "deploy" / name).read_text("utf-8"), _Compose)
    return loaded


def test_compose_sets_brokers_as_deploy_kafka_does() -> None:
    """The image's variables say the same as the file that the tests run under."""
    environment = _compose("compose.secure.yaml")["services"]["kafka"]["environment"]
    for name, value in SECURED.items():
        variable = "KAFKA_" + name.upper().replace("-", "___").replace(".", "_")
        given = environment[variable].replace("$$", "$")
        if name == "listener.security.protocol.map":
            given = given.removesuffix(",HOST:SASL_SSL")  # compose has one more listener for clients
            assert set(given.split(",")) == set(value.split(","))
        else:
            assert given == value


def test_compose_gives_each_service_its_own_secrets_only() -> None:
    """Every worker of compose.yaml has its role's folder, and no other."""
    plain, secure = (_compose(name)["services"] for name in ("compose.yaml", "compose.secure.yaml"))
    for service, given in plain.items():
        command = given.get("command") or []
        if command[:1] != ["lacak"] or "command" in secure[service]:  # what makes the users has all the secrets
            continue
        role = command[2] if command[1] == "worker" else command[1]
        assert secure[service]["volumes"] == [f"./secrets/lacak/{role}:/run/lacak:ro"]
        owned = {each for each in secure["secrets"]["command"] if each.startswith(f"--owner={role}=")}
        assert len(owned) == 1


def test_owners_are_checked(tmp_path: Path) -> None:
    """A name that is nobody's folder is a mistake, told before anything is made."""
    found = run(f"secure init {tmp_path / 'x'} --kafka a --postgres b --owner nobody=1")
    assert found.exit_code == 2
    assert "--owner 'nobody=1'" in found.output
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").touch()
    with pytest.raises(SecurityError, match="file: File exists"):
        make_folder(tmp_path / "file", NOW, kafka=["a"], postgres=["b"])


def test_the_documents_name_every_role_and_variable() -> None:
    """docs/security.md is complete; of a silent network docs/database.md speaks."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    for role in ROLES:
        assert f"`{role}`" in text
    for kind, prefix, page in (
        (BrokerSecurity, "LACAK_SECURITY_", text),
        (DatabaseSecurity, "LACAK_DATABASE_SECURITY_", text),
        (DatabaseNetwork, "LACAK_DATABASE_NETWORK_", (ROOT / "docs" / "database.md").read_text("utf-8")),
    ):
        for field in msgspec.structs.fields(kind):
            assert f"{prefix}{field.name.upper()}" in page


def test_the_threats_name_what_is_there() -> None:
    """Every file, and every test, that docs/threats.md gives as an answer exists."""
    text = (ROOT / "docs" / "threats.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:[a-z_]+/)+[A-Za-z0-9_.-]+\.[a-z]+)`", text))
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    tests = re.findall(r"`(tests/[a-z_]+\.py)::(test_[a-z_0-9]+)`", text)
    assert len(tests) > 15
    for path, name in tests:
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), (path, name)

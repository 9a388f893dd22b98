"""The whole pipeline in the open: each role its own user, exactly what it needs granted, and nothing secret told."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError

from gateway.door import open_door
from gateway.settings import read_settings as gateway_settings
from lacak.deployment import Deployment
from lacak.officer_commands import send
from lacak.settings import environment_of
from schemas.health import Declaration
from security.brokers import BrokerAccess
from security.settings import ROLES, WORKERS, BrokerSecurity
from streams.grants import grants, user_of
from streams.settings import DAY_MS, Partitions, Settings, Snapshots, Transport
from streams.users import apply_acls, wanted_acls
from tests import oracle
from tests.pipeline import FAR_DAYS, Pipeline, Windows
from tests.secured import AS_OFFICER, Decision, Secured, run, used
from tests.worlds import world

pytestmark = [
    pytest.mark.kafka,
    # kafka-python leaves a socket open for each connection that was refused; the process of a command ends then.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def lived(secured: Secured) -> Secured:
    """The servers after a town has lived two days in the pipeline, with every role at its work."""
    town = world(7, people=40, venues=10, days=2, scans=800)
    settings = secured.settings(
        "admin",
        partitions=Partitions(scans=4, visits=4, cases=2),
        transport=Transport(session_timeout_seconds=6),
        snapshots=Snapshots(every_seconds=1.0, every_records=500),
    )
    scans = town.shuffled(3)
    rules = oracle.Rules(horizon=3 * DAY_MS, retention=int(FAR_DAYS * DAY_MS), tolerance=300_000)
    wanted = oracle.visits(town.scans, town.venues, rules, town.erasures)
    since = secured.log_end()
    with Deployment(settings) as lacak:
        running = Pipeline(lacak)
        running.register(town.registry())
        running.erase(town.erasure_messages())
        running.publish(scans)
        running.end(seconds=240.0)
        assert running.visits() == wanted
        assert running.windows() == {key: Windows(*row) for key, row in oracle.windows(wanted).items()}
        _every_role_at_work(secured, running, wanted)
        deadline = time.monotonic() + 120
        while any(unused(secured, secured.decisions(since)).values()) and time.monotonic() < deadline:
            lacak.watch()
            time.sleep(1.0)
    secured.lived = secured.decisions(since)
    return secured


def unused(secured: Secured, decisions: list[Decision]) -> dict[str, set[tuple[str, str, str]]]:
    """What each worker is granted and has not used: (resource, name, operation)."""
    settings, asked = secured.settings("admin"), used(decisions)
    found: dict[str, set[tuple[str, str, str]]] = {role: set() for role in WORKERS}
    for grant in grants(settings):
        if grant.role in WORKERS:
            done = asked.get((user_of(grant.role, settings), grant.resource, grant.name), set())
            found[grant.role] |= {(grant.resource, grant.name, each) for each in grant.operations if each not in done}
    return found


def _every_role_at_work(secured: Secured, running: Pipeline, wanted: list[oracle.Visit]) -> None:
    """What brings each topic a message: a gateway, a laboratory, officers, and bad records for every agent."""
    env = {**secured.environment, **AS_OFFICER}
    together = _together(wanted)  # as many as make a cluster
    person, at = together[0].person, "2021-10-22"
    for command in (
        "rules publish indonesia",
        *(f"test-result {each.person} --positive --specimen {at}" for each in together),
        f"health record {person} --vaccination 2 --at {at}",
        "topics",
        "tail scans -n 1",
        "dead-letters list",
    ):
        done = run(command, env)
        assert done.exit_code == 0, f"{command}: {done.output}"
    asyncio.run(_at_the_door(secured, person))
    stay = Declaration(
        person=person, declaration_id="d", venue=together[0].venue, start_ms=together[0].start - 3_600_000,
        end_ms=together[0].start, told_at_ms=together[0].start,
    )  # fmt: skip
    send(secured.settings("officer"), "declarations", person, stay)
    laboratory = secured.settings("laboratory")
    with KafkaProducerOf(laboratory) as producer:
        producer.send("test-results", b"no test", b"x", partition=0).get(30)
    for topic in ("recounts", "scans", "test-results", "health-records", "trace-queries", "windows"):
        running.send_raw(topic, [(0, b"k", b"no message")])


def _together(wanted: list[oracle.Visit]) -> list[oracle.Visit]:
    """Visits of three people who came to one venue within half an hour, and stayed for one at least."""
    for first in wanted:
        came = {
            each.person: each
            for each in wanted
            if each.venue == first.venue and 0 <= each.start - first.start < 1_800_000 <= each.end - each.start
        }
        if len(came) >= 3:
            return list(came.values())[:3]
    raise AssertionError("no three people met")


class KafkaProducerOf:
    """A producer as a role, for a `with` block."""

    def __init__(self, settings: Settings) -> None:
        self._producer = KafkaProducer(**settings.broker_access.arguments(), acks="all")

    def __enter__(self) -> KafkaProducer:
        return self._producer

    def __exit__(self, *_: object) -> None:
        self._producer.close()


async def _at_the_door(secured: Secured, person: str) -> None:
    """A gateway reads its copies, and sends a scan."""
    settings = gateway_settings({**secured.environment, "LACAK_GATEWAY_DATA_DIR": str(secured.folder / "gateway")})
    async with open_door(settings, lambda: time.time_ns() // 1_000_000) as door:
        deadline = time.monotonic() + 60
        while not door.copies.level:
            assert time.monotonic() < deadline, "the gateway's copies are not level"
            await asyncio.sleep(0.1)
        await door.event("evacuated", "venue", "guard")
        assert await door.sender.drain(30)


def test_each_role_uses_what_it_is_granted_and_is_refused_nothing(lived: Secured) -> None:
    """What the brokers' authorizer allowed workers, from their logins to their commits, is what the table grants: no
    more is asked for, and what was granted was used."""
    decisions = lived.lived
    refused = [each for each in decisions if not each.allowed]
    assert refused == []
    settings = lived.settings("admin")
    asked = used(decisions)
    for role in WORKERS:
        user = user_of(role, settings)
        granted = {(each.resource, each.name): set(each.operations) for each in grants(settings) if each.role == role}
        theirs = {(resource, name): found for (who, resource, name), found in asked.items() if who == user}
        for place, operations in theirs.items():
            beyond = operations - granted.get(place, set())
            assert beyond <= {"DESCRIBE"}, (role, place, beyond)  # which reading and writing hold
    assert unused(lived, decisions) == {role: set() for role in WORKERS}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_the_brokers_let_a_role_do_what_the_table_says_and_nothing_else(secured: Secured, role: str) -> None:
    """Asked for every topic, as each role: what the brokers themselves say that it may do there."""
    settings = secured.settings(role)
    on_topics = [each for each in grants(settings) if each.resource == "TOPIC"]
    wanted = {each.name: set(each.operations) for each in on_topics if each.role == role}
    topics = {each.name for each in on_topics}
    client = KafkaAdminClient(**settings.broker_access.arguments())
    found = {each["name"]: each for each in client.describe_topics(sorted(topics))}
    client.close()
    for topic in sorted(topics):
        allowed = set(found[topic]["authorized_operations"] or ()) if not found[topic]["error_code"] else set()
        assert allowed - {"DESCRIBE"} == wanted.get(topic, set()) - {"DESCRIBE"}, topic
        assert ("DESCRIBE" in allowed) == (topic in wanted), topic


def _read(settings: Settings, topic: str) -> int:
    """Fetch from a topic's partition 0: how many records came. Raises TopicAuthorizationFailedError."""
    client = KafkaConsumer(**settings.broker_access.arguments(), enable_auto_commit=False)
    try:
        client.assign([TopicPartition(topic, 0)])
        client.seek(TopicPartition(topic, 0), 0)
        return sum(len(records) for records in client.poll(timeout_ms=2000).values())
    finally:
        client.close()


@pytest.mark.parametrize(
    ("role", "topic"),
    [
        ("gateway", "test-results"),
        ("gateway", "scans"),
        ("gateway", "health-records"),
        ("visits", "test-results"),
        ("recorder", "scans"),
        ("publisher", "scans"),
        ("laboratory", "test-results"),
        ("officer", "scans"),
        ("officer", "visits"),
        ("operator", "visits"),
    ],
)
def test_who_may_not_read_reads_nothing(secured: Secured, role: str, topic: str) -> None:
    """A real fetch is refused, by an error where one may know that the topic is there, else as if it were not: a stolen
    gateway key reads no test results."""
    settings = secured.settings(role)
    with KafkaProducerOf(secured.settings("admin")) as producer:
        producer.send(topic, b"x", b"x", partition=0).get(30)
    assert _read(secured.settings("inspector"), topic) > 0
    since = secured.log_end()
    with suppress(TopicAuthorizationFailedError):
        assert _read(settings, topic) == 0
    refused = {each.name for each in secured.decisions(since) if not each.allowed and each.user == f"lacak-{role}"}
    assert refused == {topic}


@pytest.mark.parametrize(
    ("role", "topic"),
    [
        ("gateway", "statuses"),
        ("gateway", "test-results"),
        ("gateway", "rules"),
        ("visits", "occupancy"),
        ("places", "traces"),
        ("tracing", "statuses"),
        ("status", "traces"),
        ("recorder", "scans"),
        ("registry", "venues"),
        ("laboratory", "health-records"),
        ("publisher", "venues"),
        ("officer", "statuses"),
        ("officer", "scans"),
    ],
)
def test_who_may_not_write_writes_nothing(secured: Secured, role: str, topic: str) -> None:
    """A real record is refused: an agent cannot write what is another's, a gateway cannot make anybody green."""
    settings = secured.settings(role)
    client = KafkaProducer(**settings.broker_access.arguments(), enable_idempotence=False, max_block_ms=8000)
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            client.send(topic, b"x", b"x", partition=0).get(10)
    finally:
        client.close(timeout=0)


def test_a_role_cannot_join_anothers_group(secured: Secured) -> None:
    """The recorder cannot take the partitions of the visits workers away, nor move what they have committed."""
    settings = secured.settings("recorder")
    client = KafkaConsumer(**settings.broker_access.arguments(), group_id="lacak-visits", enable_auto_commit=False)
    try:
        client.subscribe(["occupancy"])
        with pytest.raises(GroupAuthorizationFailedError):
            client.poll(timeout_ms=8000)
    finally:
        client.close()


def test_a_grant_that_no_longer_holds_is_taken_back(secured: Secured) -> None:
    """Another's ACLs stay; one of ours that the table has not goes, one that is missing comes."""
    from kafka.admin import (
        ACL,
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ResourcePattern,
        ResourceType,
    )  # fmt: skip

    settings = _as_certified(secured)

    def acl(user: str) -> ACL:
        place = ResourcePattern(ResourceType.TOPIC, "statuses", ACLResourcePatternType.LITERAL)
        return ACL(f"User:{user}", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, place)

    missing = next(iter(wanted_acls(settings)))
    client = KafkaAdminClient(**settings.broker_access.arguments())
    try:
        client.create_acls([acl("lacak-gateway"), acl("somebody")])
        client.delete_acls([missing])
        deadline = time.monotonic() + 10
        made: list[str] = []
        withdrawn: list[str] = []
        while (len(made), len(withdrawn)) < (1, 1) and time.monotonic() < deadline:
            more = apply_acls(settings)
            made += more[0]
            withdrawn += more[1]
        assert withdrawn == ["lacak-gateway WRITE topic statuses"]
        assert len(made) == 1
        kept, _ = client.describe_acls(
            ACLFilter("User:somebody", None, ACLOperation.ANY, ACLPermissionType.ANY, acl("x").resource_pattern)
        )
        assert [each.principal for each in kept] == ["User:somebody"]
        client.delete_acls([acl("somebody")])
    finally:
        client.close()


def _as_certified(secured: Secured) -> Settings:
    """The administrator, by certificate."""
    place = secured.secrets
    own = BrokerSecurity(
        ca_file=place / "ca.pem", certificate_file=place / "admin/certificate.pem", key_file=place / "admin/key.pem"
    )
    return secured.settings("admin", brokers=secured.kafka.inside, security=own)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"LACAK_SECURITY_PASSWORD_FILE": "{folder}/wrong"}, "does not know the user lacak-operator, or not with the"),
        ({"LACAK_SECURITY_PASSWORD_FILE": "{folder}/nowhere"}, "PASSWORD_FILE: {folder}/nowhere cannot be read"),
        ({"LACAK_SECURITY_CA_FILE": "{folder}/other.pem"}, "not signed by an authority in LACAK_SECURITY_CA_FILE"),
        ({"LACAK_BROKERS": "ip6-localhost:{port}"}, "the certificate does not name this host"),
        ({"LACAK_SECURITY_MECHANISM": "SCRAM-SHA-256"}, "does not take SCRAM-SHA-256"),
        ({"LACAK_SECURITY_PASSWORD_FILE": ""}, "it ends the connection"),
        ({"LACAK_SECURITY_PASSWORD_FILE": "", "LACAK_SECURITY_CA_FILE": ""}, "does it want TLS"),
        ({"LACAK_BROKERS": "127.0.0.1:1"}, "nothing listens there"),
        ({"LACAK_BROKERS": "{inside}"}, "wants a certificate that it trusts"),
    ],
)
def test_what_keeps_a_command_out_is_said_in_a_line(
    secured: Secured, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    """Wrong secrets, certificates, names and listeners: a sentence that names the cause, no traceback."""
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    (tmp_path / "wrong").write_text("not it\n")
    port = secured.kafka.bootstrap.rpartition(":")[2]
    given = {"folder": tmp_path, "port": port, "inside": secured.kafka.inside}
    if "ip6-localhost" in str(changes):
        import socket

        try:
            socket.getaddrinfo("ip6-localhost", None)
        except OSError:
            changes = {"LACAK_BROKERS": f"{socket.gethostname()}:{{port}}"}
    env = secured.environment | {name: value.format(**given) for name, value in changes.items()}
    found = run("topics", env)
    assert found.exit_code == 1
    assert words.format(**given) in found.output
    assert "Traceback" not in found.output
    assert found.output.count("\n") == 1


def test_what_is_not_granted_is_said_in_a_line(secured: Secured, tmp_path: Path) -> None:
    """Who runs a command as a role that may not is told which user was refused."""
    found = run("tail scans -n 1", secured.environment | AS_OFFICER | {"LACAK_ROLE": "officer"})
    assert found.exit_code == 1
    assert "lacak-officer sees no topic 'scans'" in found.output
    (tmp_path / "venues.csv").write_text("venue\nmall\n")
    found = run(f"venues import {tmp_path / 'venues.csv'}", secured.environment | {"LACAK_ROLE": "officer"})
    assert found.exit_code == 1
    assert "do not let lacak-officer do this" in found.output
    assert found.output.count("\n") == 1


def test_check_tells_who_gets_in(secured: Secured, tmp_path: Path) -> None:
    """All roles do; one with a wrong password does not, and exit code 1 says so."""
    found = run("secure check", secured.environment)
    assert found.exit_code == 0, found.output
    assert found.output.count("gets in") == len(ROLES) + 4  # recorder, officer, inspector, admin: PostgreSQL too
    (tmp_path / "wrong").write_text("not it\n")
    found = run(
        "secure check officer", secured.environment | {"LACAK_DATABASE_SECURITY_PASSWORD_FILE": str(tmp_path / "wrong")}
    )
    assert found.exit_code == 1
    assert "officer at PostgreSQL: " in found.output
    assert "password authentication failed" in found.output


def test_nothing_secret_is_told(lived: Secured) -> None:
    """No password or private key stands in logs (of workers, brokers, and PostgreSQL, which logs every statement), in
    `lacak config`, or in what workers are started with."""
    passwords = lived.all_passwords()
    assert len(passwords) == len(ROLES) + 5
    logs = [
        path
        for path in lived.folder.rglob("*")
        if path.is_file() and lived.secrets not in path.parents and path.suffix in (".log", ".json", ".properties", "")
    ]
    assert any(path.name == "visits-0.log" for path in logs)
    told = {str(path): path.read_bytes() for path in logs}
    told["config"] = run("config --json", lived.environment).output.encode()
    told["environment"] = repr(environment_of(lived.settings("admin"))).encode()
    told["settings"] = repr(lived.settings("visits")).encode()
    for place, text in told.items():
        for password in passwords:
            assert password.encode() not in text, place
        assert b"PRIVATE KEY" not in text, place


def test_the_listener_for_certificates_takes_no_others(secured: Secured, tmp_path: Path) -> None:
    """Without a certificate, or with one of another authority, nobody gets in; the authority's own do."""
    import trustme

    from security.refusal import ANSWERS, why_refused

    settings = _as_certified(secured)
    assert why_refused(settings.broker_access) == ANSWERS
    other = trustme.CA().issue_cert("lacak-admin")
    other.cert_chain_pems[0].write_to_path(str(tmp_path / "c.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "k.pem"))
    changed = msgspec.structs.replace(
        settings.security, certificate_file=tmp_path / "c.pem", key_file=tmp_path / "k.pem"
    )
    said = why_refused(BrokerAccess(secured.kafka.inside, changed))
    assert "does not trust the certificate in LACAK_SECURITY_CERTIFICATE_FILE" in said

"""Serving a gateway: TLS, the command, the register's command, limits as properties."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices import DeviceError, Devices
from gateway.limits import Answer, Answers, Bucket, Buckets, Serving
from gateway.problems import Problem
from gateway.serve import ServeError, check_serving
from lacak.gateway_commands import devices as devices_command
from tests.gateway_http import Running, running_gateway

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway under test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


def test_a_gateway_speaks_tls(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """With a certificate, who trusts it is served over TLS; who does not, and who speaks plain HTTP, is not."""
    serving = Serving(tls_certificate=certificate[0], tls_key=certificate[1])
    with running_gateway(tmp_path, serving=serving) as gateway:
        assert gateway.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        body = {"person": "p1:aa", "venue": "mall-1", "kind": "out"}
        with gateway.client(gateway.add("scan"), verify=trusting) as client:
            assert client.post("/v1/scans", json=body, headers=gateway.stamped()).json()["outcome"] == "out"
        with gateway.client(None) as stranger, pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            stranger.get("/healthz")
        with httpx.Client() as plain, pytest.raises(httpx.TransportError):
            plain.get(gateway.url.replace("https", "http") + "/healthz")


def test_keys_do_not_travel_in_the_clear(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """On any address but loopback a certificate is needed, or the word that TLS ends in front."""
    for host in ("127.0.0.1", "::1", "localhost"):
        check_serving(Serving(host=host))
    for host in ("0.0.0.0", "::", "10.0.0.7", "gate.example.go.id"):
        with pytest.raises(ServeError, match="in the clear"):
            check_serving(Serving(host=host))
        check_serving(Serving(host=host, behind_proxy=True))
        check_serving(Serving(host=host, tls_certificate=certificate[0], tls_key=certificate[1]))
    with pytest.raises(ServeError, match="both"):
        check_serving(Serving(tls_certificate=certificate[0]))
    with pytest.raises(ServeError, match="cannot be used"):
        check_serving(Serving(tls_certificate=certificate[0], tls_key=tmp_path / "none.pem"))


def test_the_commands_of_devices(tmp_path: Path) -> None:
    """add prints the key alone on standard output; list shows no key; revoke and rotate do; faults are sentences."""
    run = CliRunner()

    def lacak(*words: str) -> tuple[int, str, str]:
        done = run.invoke(devices_command, [*words, "--data", str(tmp_path)])
        return done.exit_code, done.stdout, done.stderr

    code, key, said = lacak("add", "door-1", "--scope", "scan", "--venue", "mall-1", "--rate", "5")
    assert (code, "shown once" in said) == (0, True)
    assert re.fullmatch(r"lk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\n", key)
    with Devices(tmp_path / "devices.sqlite") as register:
        device = register.find(key.strip().encode())
        assert device is not None
        assert (device.device, device.scopes, device.venues, device.per_second) == ("door-1", {"scan"}, {"mall-1"}, 5.0)
    _, listed, _ = lacak("list", "--json")
    assert key.strip().split("_", 2)[2] not in listed
    assert json.loads(listed)[0]["scopes"] == ["scan"]
    code, _, said = lacak("add", "door-1", "--scope", "scan")
    assert (code, "lacak devices rotate door-1" in said) == (1, True)
    assert lacak("revoke", "door-1")[0] == 0
    with Devices(tmp_path / "devices.sqlite") as register:
        found = register.find(key.strip().encode())
        assert found is not None
        assert found.revoked_ms is not None
    code, fresh, _ = lacak("rotate", "door-1")
    with Devices(tmp_path / "devices.sqlite") as register:
        assert register.find(key.strip().encode()) is None
        found = register.find(fresh.strip().encode())
        assert found is not None
        assert found.revoked_ms is None
    for words in (("revoke", "nobody"), ("rotate", "nobody")):
        code, _, said = lacak(*words)
        assert (code, "There is no device 'nobody'" in said) == (1, True)
    code, _, said = lacak("add", "a/b", "--scope", "scan")
    assert (code, "not usable" in said) == (1, True)


def test_the_register_refuses_what_is_no_device(tmp_path: Path) -> None:
    """No scope, a rate of nothing: refused, and nothing is written."""
    with Devices(tmp_path / "devices.sqlite") as register:
        for more in ({"scopes": []}, {"scopes": ["root"]}, {"scopes": ["scan"], "per_second": 0.0}):
            with pytest.raises(DeviceError):
                register.add("x", now_ms=0, **more)  # type: ignore[arg-type]
        assert register.all() == []


def test_the_command_runs_a_gateway_without_a_broker(tmp_path: Path) -> None:
    """It says so and how it is set, listens, answers, takes a scan, ends on SIGTERM; the scan is in the spool of the
    next start."""
    with Devices(tmp_path / "devices.sqlite") as register:
        key = register.add("door-1", ["scan"], 0)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LACAK_")}
    environment["LACAK_DATA_DIR"] = str(tmp_path / "none")
    command = [sys.executable, "-m", "lacak", "gateway", "--port", "0", "--data", str(tmp_path), "--name", "g1"]
    for waiting in (0, 1):
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "scans stay in the spool" in process.stderr.readline()
            settings = dict[str, str]()
            while (said := process.stderr.readline()).startswith("LACAK_GATEWAY_"):
                name, _, value = said.strip().partition("=")
                settings[name] = value
            assert settings["LACAK_GATEWAY_NAME"] == "g1"
            assert settings["LACAK_GATEWAY_HTTP_PORT"] == "0"
            assert "LACAK_GATEWAY_ZONE" not in settings  # it is the default
            url = said.rpartition(" ")[2].strip()
            assert said == f"The gateway g1 listens on {url}\n"
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
                assert client.get("/readyz").json().get("spool_messages", 0) == waiting
                body = {"person": "p1:aa", "venue": "mall-1", "kind": "out"}
                shifted = {"X-Lacak-Time": "0", "Idempotency-Key": "one-two-three"}
                told = client.post("/v1/scans", json=body, headers=shifted).json()["server_time_ms"]
                answer = client.post("/v1/scans", json=body, headers={**shifted, "X-Lacak-Time": str(told)})
                assert answer.json()["outcome"] == "out"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    """A clear-text address, a port in use, a setting that is none: one sentence, no traceback."""
    environment = {**os.environ, "LACAK_DATA_DIR": str(tmp_path)}
    for words, more, expected in (
        (["--host", "0.0.0.0"], {}, "in the clear"),
        ([], {"LACAK_GATEWAY_LIMITS_SCANS_BURST": "many"}, "LACAK_GATEWAY_LIMITS_SCANS_BURST='many'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lacak", "gateway", *words],
            cwd=ROOT,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


@given(
    st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.tuples(st.integers(1, 150), st.floats(0, 10)), max_size=50)
)
def test_a_bucket_never_gives_more_than_its_rate(rate: float, burst: int, asks: list[tuple[int, float]]) -> None:
    """Over any time, what is given is at most the burst, the rate times that time, and one request that was larger than
    the burst; and who waits as long as told is served."""
    bucket, now, given_, largest = Bucket(rate, burst, 0.0), 0.0, 0.0, 0
    for count, pause in asks:
        now += pause
        wait = bucket.take(count, now)
        if wait > 0:
            assert bucket.take(count, now) == pytest.approx(wait)
            now += wait + 1e-6
            assert bucket.take(count, now) == 0.0
        given_ += count
        largest = max(largest, count)
        assert given_ <= burst + rate * now + max(0, largest - burst) + 1e-3


def test_buckets_have_bounded_memory() -> None:
    """However many names ask, at most `names_max` are held, and one that goes on asking keeps its bucket."""
    buckets = Buckets(1.0, 2, names_max=100)
    assert buckets.take("busy", 2, 0.0) == 0.0
    for number in range(1000):
        buckets.take(f"n{number}", 1, 0.0)
        assert buckets.take("busy", 1, 0.0) > 0
    assert len(buckets._young) + len(buckets._old) <= 101


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2), st.floats(0, 400)), max_size=60))
def test_answers_are_remembered_as_long_as_a_request_is_good(asks: list[tuple[int, int, float]]) -> None:
    """For 600 s after it was given an answer is given again, whatever else is asked; another request under its key is
    refused. (Memory is large enough here.)"""
    answers, now = Answers(1 << 20, 600.0), 0.0
    given_: dict[bytes, tuple[int, float]] = {}
    for number, request, pause in asks:
        now += pause
        key = b"%d" % number
        fresh = key in given_ and now - given_[key][1] <= 600.0
        try:
            found = answers.begin("d", key, request, now)
        except Problem:
            assert given_[key][0] != request
            continue
        if fresh:
            assert given_[key][0] == request
            assert found is not None
        if found is None:
            answers.end("d", key, request, Answer(200, (), b"x"), now)
            given_[key] = (request, now)
        else:
            assert found.body == b"x"


def test_memory_of_answers_is_bounded_and_a_running_request_is_known() -> None:
    """Whatever comes, at most so many bytes are held; the same request again meanwhile is told to wait."""
    answers = Answers(100_000, 600.0)
    assert answers.begin("d", b"running!", 1, 0.0) is None
    with pytest.raises(Problem, match="in-progress"):
        answers.begin("d", b"running!", 1, 0.0)
    for number in range(5000):
        key = b"%08d" % number
        assert answers.begin("d", key, 1, 0.0) is None
        answers.end("d", key, 1, Answer(200, (), b"x" * 100), 0.0)
        assert len(answers) * 500 <= 101_000
    answers.forget("d", b"00004999")
    assert answers.begin("d", b"00004999", 2, 0.0) is None


def _request(gateway: Running, key: str, path: str = "/v1/scans", version: str = "1.1", more: str = "") -> bytes:
    body = '{"person":"p1:aa","venue":"mall-1","kind":"out"}'
    headers = "".join(f"{name}: {value}\r\n" for name, value in gateway.stamped().items())
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{headers}{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _answers(gateway: Running, pieces: list[bytes], count: int) -> tuple[list[tuple[int, bytes]], bool]:
    """Send pieces on one connection. Returns so many answers (status, body), and whether the gateway hung up then."""
    host, port = gateway.url.removeprefix("http://").split(":")
    found: list[tuple[int, bytes]] = []
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            caller.sendall(piece)
            time.sleep(0.01)
        stream = caller.makefile("rb")
        while len(found) < count:
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if status != 100:
                found.append((status, stream.read(length)))
        caller.settimeout(0.3)
        try:
            closed = caller.recv(1) == b""
        except TimeoutError:
            closed = False
    return found, closed


def test_the_short_way_speaks_http(tmp_path: Path) -> None:
    """However a request is cut into pieces, several in one, with `Expect`, of HTTP/1.0 or the last of its connection:
    each is answered once, in order, and the connection goes on where it should."""
    with running_gateway(tmp_path) as gateway:
        key = gateway.add("admin", per_second=1e6, burst=100_000)

        def one(**more: str) -> bytes:
            return _request(gateway, key, **more)

        health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        whole = one()
        cases = [
            ([one()], 1, False),
            ([whole[at : at + 7] for at in range(0, len(whole), 7)], 1, False),
            ([one() + one() + health + one()], 4, False),
            ([health + one() + one(path="/v1/scans?x=1") + health], 4, False),
            ([one(), one(), one()], 3, False),
            ([one(more="Expect: 100-continue\r\n")], 1, False),
            ([one(more="Connection: close\r\n")], 1, True),
            ([one(version="1.0")], 1, True),
            ([one() + one(more="Connection: close\r\n")], 2, True),
        ]
        for pieces, count, hangs_up in cases:
            before = len(gateway.waiting())
            found, closed = _answers(gateway, pieces, count)
            assert [status for status, _ in found] == [200] * count, found
            assert closed == hangs_up
            scans = sum(b'"outcome":"out"' in body for _, body in found)
            assert scans + sum(body == b'{"state":"alive"}' for _, body in found) == count
            assert len(gateway.waiting()) == before + scans
        # A refusal leaves the connection good for the next request, its body passed over.
        found, closed = _answers(gateway, [_request(gateway, "wrong") + one(), one()], 3)
        assert [status for status, _ in found] == [401, 200, 200]
        assert not closed


def test_who_hangs_up_does_no_harm(tmp_path: Path) -> None:
    """A caller who leaves after the request is still written down; the gateway goes on."""
    with running_gateway(tmp_path) as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        key = gateway.add("scan")
        for _ in range(20):
            with socket.create_connection((host, int(port)), timeout=10) as caller:
                caller.sendall(_request(gateway, key))
        deadline = time.monotonic() + 10
        while len(gateway.waiting()) < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(gateway.waiting()) == 20
        with gateway.client(None) as client:
            assert client.get("/healthz").status_code == 200

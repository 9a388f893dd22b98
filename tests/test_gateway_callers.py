"""Who may call a gateway, how much, when, and once: over HTTP against a real server."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.devices import LOOK_SECONDS, SCOPES, Devices
from gateway.limits import Limits
from tests.gateway_http import Running, running_gateway

PERSON = "p1:00000000000000000000000000000001"
SCAN = {"person": PERSON, "venue": "mall-1"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for tests that do not mind each other's scans."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def problem(answer: object, status: int, kind: str) -> dict[str, object]:
    """The problem details of an answer, which must be of that kind."""
    assert answer.status_code == status, answer.text  # type: ignore[attr-defined]
    assert answer.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    found: dict[str, object] = answer.json()  # type: ignore[attr-defined]
    assert found["type"] == f"/problems/{kind}"
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic dXNlcjpwYXNz",
        "Bearer lk_0123456789abcdef_" + "A" * 43,
        "Bearer lk_0123456789abcdef_" + "A" * 42 + "\xe9",
    ],
)
def test_nobody_without_a_key_comes_in(gateway: Running, header: str | None) -> None:
    """Without a key that the register knows the answer is 401, which says how to authenticate."""
    headers = gateway.stamped() if header is None else {**gateway.stamped(), "Authorization": header}
    with gateway.client(None) as client:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.post("/v1/scans", json=SCAN, headers=raw)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_with_another_secret_is_no_key(gateway: Running) -> None:
    """The id of a key opens nothing: the whole secret is compared."""
    key = gateway.add("scan")
    other = key[:-1] + ("A" if key[-1] != "A" else "B")
    with gateway.client(other) as client:
        problem(client.get("/v1/venues"), 401, "unauthorized")


ROUTES = {
    "/v1/scans": ("scan", SCAN),
    "/v1/answers": ("staff", {"ticket": "none", "admitted": True}),
    "/v1/recounts": ("staff", {"venue": "mall-1", "inside": 3}),
    "/v1/cards": ("staff", {"venue": "mall-1", "typed_id": PERSON}),
    "/v1/venues": ("venue", {"venue": "mall-2", "name": "Mal Dua"}),
    "/v1/venues/import": ("venue", "venue\nmall-3\n"),
    "/v1/declarations": ("declare", {"person": PERSON, "start_ms": 1000, "end_ms": 2000, "place": "x"}),
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("path", ROUTES)
def test_a_scope_opens_its_own_routes_only(gateway: Running, path: str, scope: str) -> None:
    """A key without the route's scope gets 403, which names the scope that is needed; `admin` opens all."""
    needed, body = ROUTES[path]
    content = body if isinstance(body, str) else json.dumps(body)
    with gateway.client(gateway.add(scope)) as client:  # type: ignore[arg-type]
        answer = client.post(path, content=content, headers=gateway.stamped(Content_Type="application/json"))
    if scope in (needed, "admin"):
        assert answer.status_code in (200, 404), answer.text
    else:
        assert f"'{needed}'" in str(problem(answer, 403, "scope")["detail"])


def test_every_route_that_changes_something_is_in_the_table_above(gateway: Running) -> None:
    """No POST below /v1/ is left out of the test of scopes."""
    with gateway.client(None) as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert {path for path, methods in paths.items() if path.startswith("/v1/") and "post" in methods} == set(ROUTES)


def test_a_revoked_key_is_refused_at_once(gateway: Running) -> None:
    """Revoked through another hold on the register, as by a command: on an open connection, the next request after
    20 ms is refused, and so is the old key after a rotation."""
    key = gateway.add("scan")
    name = next(d.device for d in gateway.parts.devices.all() if d.key_id == key.split("_")[1])
    with (
        gateway.client(key) as client,
        Devices(gateway.parts.settings.data_dir / "devices.sqlite") as other,
    ):
        assert client.post("/v1/scans", json=SCAN, headers=gateway.stamped()).status_code == 200
        other.revoke(name, gateway.clock.now_ms())
        time.sleep(2 * LOOK_SECONDS)
        problem(client.post("/v1/scans", json=SCAN, headers=gateway.stamped()), 401, "revoked")
        problem(client.get("/v1/venues"), 401, "revoked")
        fresh = other.rotate(name, gateway.clock.now_ms())
        time.sleep(2 * LOOK_SECONDS)
        problem(client.get("/v1/venues"), 401, "unauthorized")
        assert client.get("/v1/venues", headers={"Authorization": f"Bearer {fresh}"}).status_code == 200


def test_the_register_holds_no_key(gateway: Running) -> None:
    """Neither a key nor its secret stands in the files of the register."""
    key = gateway.add("scan")
    secret = key.split("_", 2)[2].encode()
    files = list(gateway.parts.settings.data_dir.glob("devices.sqlite*"))
    assert files
    assert all(secret not in file.read_bytes() for file in files)
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_device_for_one_venue_serves_no_other(gateway: Running) -> None:
    """A key may be bound to venues: scans, lists of scans, recounts, cards and counts elsewhere are refused."""
    key = gateway.add("scan", "staff", "venue", venues=["mall-1"])
    elsewhere = {"person": PERSON, "venue": "mall-9"}
    past = {**elsewhere, "kind": "in", "at_ms": 1}
    with gateway.client(key) as client:
        assert client.post("/v1/scans", json=SCAN, headers=gateway.stamped()).status_code == 200
        for path, body in (
            ("/v1/scans", elsewhere),
            ("/v1/scans", [{**past, "venue": "mall-1"}, past]),
            ("/v1/recounts", {"venue": "mall-9", "inside": 1}),
            ("/v1/cards", {"venue": "mall-9", "typed_id": PERSON}),
            ("/v1/venues", {"venue": "mall-9"}),
        ):
            problem(client.post(path, json=body, headers=gateway.stamped()), 403, "other-venue")
        for path in ("/occupancy", "/occupancy/stream", "/poster.svg"):
            problem(client.get(f"/v1/venues/mall-9{path}"), 403, "other-venue")
        with gateway.client(gateway.add("scan")) as anywhere:
            waits = anywhere.post("/v1/scans", json=elsewhere, headers=gateway.stamped()).json()
        assert waits["outcome"] == "check"
        answer = {"ticket": waits["ticket"], "admitted": True}
        problem(client.post("/v1/answers", json=answer, headers=gateway.stamped()), 403, "other-venue")


def test_a_device_has_its_rate(gateway: Running) -> None:
    """Beyond the burst: 429, and when to come again; then it is served again. Another device is not touched."""
    key, other = gateway.add("scan", per_second=2.0, burst=5), gateway.add("scan")
    with gateway.client(key) as client:
        answers = [client.post("/v1/scans", json=SCAN, headers=gateway.stamped()) for _ in range(6)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        problem(answers[5], 429, "too-many")
        assert answers[5].headers["retry-after"] == "1"
        with gateway.client(other) as second:
            assert second.get("/v1/venues").status_code == 200
        gateway.clock.at_ms += 1000
        assert client.get("/v1/venues").status_code == 200


def test_scans_in_bulk_are_counted_each(gateway: Running) -> None:
    """A list takes as much of the rate as it has scans; one larger than the burst passes when the bucket is full, and
    leaves it in debt."""
    key = gateway.add("scan", per_second=10.0, burst=100)
    many = [{"person": PERSON, "venue": "mall-1", "kind": "in", "at_ms": 1000 + n} for n in range(150)]
    with gateway.client(key) as client:
        problem(client.post("/v1/scans", json=many[:150], headers=gateway.stamped()), 429, "too-many")
        gateway.clock.at_ms += 1000
        assert client.post("/v1/scans", json=many[:90], headers=gateway.stamped()).json()["accepted"] == 90
        answer = client.post("/v1/scans", json=many[:90], headers=gateway.stamped())
        problem(answer, 429, "too-many")


def test_a_body_has_a_most(gateway: Running) -> None:
    """A body longer than allowed is refused, announced or in chunks; a list of scans may be longer than others."""
    limits = gateway.parts.limits
    long = b" " * (limits.body_max_bytes + 1)

    def chunks() -> Iterator[bytes]:
        for _ in range(0, len(long), 1000):
            yield b" " * 1000

    with gateway.client(gateway.add("admin")) as client:
        problem(client.post("/v1/recounts", content=long, headers=gateway.stamped()), 413, "too-large")
        problem(client.post("/v1/recounts", content=chunks(), headers=gateway.stamped()), 413, "too-large")
        problem(client.post("/healthz", content=long), 413, "too-large")
        problem(client.post("/v1/scans", content=long, headers=gateway.stamped()), 400, "malformed")
        larger = b" " * (limits.bulk_max_bytes + 1)
        problem(client.post("/v1/scans", content=larger, headers=gateway.stamped()), 413, "too-large")
        many = [{"person": PERSON, "venue": "mall-1", "kind": "in", "at_ms": 1}] * (limits.bulk_max_scans + 1)
        problem(client.post("/v1/scans", json=many, headers=gateway.stamped()), 413, "too-large")


@pytest.mark.parametrize("head", [b"X: " + b"a" * 20_000 + b"\r\n\r\n", b"X: " + b"a" * 200_000, b"X: a\r\n" * 20_000])
def test_a_head_has_a_most(gateway: Running, head: bytes) -> None:
    """A head that is too long, or never ends, is refused (431) and the connection closed."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        said = b""
        try:
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head)
            while piece := caller.recv(65536):
                said += piece
        except ConnectionError:
            pass
    assert said.startswith(b"HTTP/1.1 431 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["type"] == "/problems/headers-too-large"


def test_what_is_no_http_is_a_problem_too(gateway: Running) -> None:
    """A request that is none is answered with problem details."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(b"HELLO\r\n\r\n")
        said = caller.recv(65536)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["type"] == "/problems/malformed"


@pytest.mark.parametrize("shift_ms", [0, 300_000, -300_000])
def test_a_clock_may_be_300_s_off(gateway: Running, shift_ms: int) -> None:
    """Exactly 300 s either way are taken."""
    headers = {**gateway.stamped(), "X-Lacak-Time": str(gateway.clock.now_ms() + shift_ms)}
    with gateway.client(gateway.add("scan")) as client:
        assert client.post("/v1/scans", json=SCAN, headers=headers).status_code == 200


@pytest.mark.parametrize("shift_ms", [300_001, -300_001, 86_400_000, -(10**12)])
def test_a_shifted_clock_is_refused_and_told_the_time(gateway: Running, shift_ms: int) -> None:
    """A request from further off is refused, nothing of it is written down, and the answer says the gateway's time."""
    before = len(gateway.waiting())
    headers = {**gateway.stamped(), "X-Lacak-Time": str(gateway.clock.now_ms() + shift_ms)}
    with gateway.client(gateway.add("scan")) as client:
        found = problem(client.post("/v1/scans", json=SCAN, headers=headers), 400, "clock-shifted")
    assert found["server_time_ms"] == gateway.clock.now_ms()
    assert len(gateway.waiting()) == before


@pytest.mark.parametrize("value", ["", "now", "1.5", "-1", "9" * 40, "2021-10-21T08:00:00Z"])
def test_a_time_is_a_number_of_milliseconds(gateway: Running, value: str) -> None:
    """Anything else is refused, with the right time."""
    headers = {**gateway.stamped(), "X-Lacak-Time": value}
    with gateway.client(gateway.add("scan")) as client:
        found = problem(client.post("/v1/scans", json=SCAN, headers=headers), 400, "time-missing")
    assert found["server_time_ms"] == gateway.clock.now_ms()


@pytest.mark.parametrize("value", [None, "", "short", "x" * 129, "with blank", "umlaut-\xe4\xe4\xe4"])
def test_a_request_has_an_idempotency_key(gateway: Running, value: str | None) -> None:
    """8 to 128 visible ASCII characters, or the request is refused."""
    headers = {name: text.encode("latin-1") for name, text in gateway.stamped().items()}
    if value is None:
        del headers["Idempotency-Key"]
    else:
        headers["Idempotency-Key"] = value.encode("latin-1")
    with gateway.client(gateway.add("scan")) as client:
        problem(client.post("/v1/scans", json=SCAN, headers=headers), 400, "nonce-missing")


def test_a_repeated_request_is_answered_the_same_and_done_once(gateway: Running) -> None:
    """The same key with the same body gives the same bytes; only one scan is made of it."""
    before = len(gateway.waiting())
    with gateway.client(gateway.add("scan", "staff")) as client:
        headers = gateway.stamped()
        body = {**SCAN, "kind": "out"}
        first = client.post("/v1/scans", json=body, headers=headers)
        again = client.post("/v1/scans", json=body, headers=headers)
        assert again.content == first.content
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"
        assert len(gateway.waiting()) == before + 1
        headers = gateway.stamped()
        counts = [client.post("/v1/recounts", json={"venue": "mall-1", "inside": 7}, headers=headers) for _ in range(2)]
        assert counts[0].json() == counts[1].json()  # a framework route too: the recount's id is random


def test_a_key_of_another_request_is_refused(gateway: Running) -> None:
    """The same key with another body, or on another route, is 422 and nothing is done; another device may use it."""
    key, other = gateway.add("scan", "staff"), gateway.add("scan")
    headers = gateway.stamped()
    with gateway.client(key) as client, gateway.client(other) as second:
        assert client.post("/v1/scans", json=SCAN, headers=headers).status_code == 200
        before = len(gateway.waiting())
        problem(client.post("/v1/scans", json={**SCAN, "kind": "out"}, headers=headers), 422, "nonce-reused")
        problem(client.post("/v1/cards", json=SCAN, headers=headers), 422, "nonce-reused")
        assert len(gateway.waiting()) == before
        assert second.post("/v1/scans", json=SCAN, headers=headers).status_code == 200


def test_a_request_that_was_not_done_may_be_sent_again_with_its_key(gateway: Running) -> None:
    """A refusal is not remembered: what was refused for a passing reason is done the next time."""
    key = gateway.add("scan", per_second=1.0, burst=1)
    with gateway.client(key) as client:
        assert client.get("/v1/venues").status_code == 200
        headers = gateway.stamped()
        problem(client.post("/v1/scans", json=SCAN, headers=headers), 429, "too-many")
        gateway.clock.at_ms += 2000
        assert client.post("/v1/scans", json=SCAN, headers=headers).status_code == 200


def test_a_replay_beyond_memory_is_still_one_scan(tmp_path: Path) -> None:
    """When memory is too small to remember an answer, the repetition makes a scan of the same id: one in effect."""
    with running_gateway(tmp_path, limits=Limits(answers_max_bytes=10_000)) as gateway:
        key = gateway.add("scan")
        with gateway.client(key) as client:
            headers = gateway.stamped()
            body = {**SCAN, "kind": "out"}
            assert client.post("/v1/scans", json=body, headers=headers).status_code == 200
            for _ in range(50):
                client.post("/v1/scans", json=body, headers=gateway.stamped())
            again = client.post("/v1/scans", json=body, headers=headers)
            assert "idempotency-replayed" not in again.headers
        ids = [scan.scan_id for scan in gateway.waiting()]
        assert len(ids) == 52
        assert len(set(ids)) == 51


def test_ids_of_scans_do_not_say_the_key(gateway: Running) -> None:
    """A scan's id is a hash of device and Idempotency-Key: neither is in it."""
    headers = gateway.stamped(Idempotency_Key="visible-" + secrets.token_hex(4))
    with gateway.client(gateway.add("scan")) as client:
        found = client.post("/v1/scans", json=SCAN, headers=headers).json()
    assert "visible" not in json.dumps(found)

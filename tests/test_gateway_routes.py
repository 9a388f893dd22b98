"""The routes of a gateway over HTTP: what they do, what they say, and what they keep to themselves."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest

from contacts.admission import Reason
from gateway import wire
from gateway.codes import sign_card, sign_rotating, sign_static
from gateway.devices import LOOK_SECONDS
from gateway.identity import Withdrawal
from gateway.keyring import Keyring
from gateway.problems import KINDS
from gateway.register import Register
from gateway.spool import Parcel
from schemas.door import DoorEvent, Recount
from schemas.health import COLOURS, Declaration
from schemas.messages import Venue
from tests.gateway_http import MALL, Running, running_gateway
from tests.test_gateway_callers import problem

SHOP = Venue(venue="shop-1", name="Toko", category="shop", region="ID-LA", capacity=2, within="mall-1")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway with a key ring and two venues."""
    folder = tmp_path_factory.mktemp("gateway")
    Keyring.make(folder / "keys", 1_600_000_000_000)
    with running_gateway(folder, venues=(MALL, SHOP)) as running:
        running.level()
        yield running


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[httpx.Client]:
    """A caller who may do everything."""
    with gateway.client(gateway.add("admin", per_second=1e6, burst=1_000_000)) as client:
        yield client


def person(number: int) -> str:
    """A pseudonym."""
    return f"p1:{number:032x}"


def post(gateway: Running, client: httpx.Client, path: str, body: Any) -> Any:
    """The answer to a request that is in order."""
    answer = client.post(path, json=body, headers=gateway.stamped())
    assert answer.status_code == 200, answer.text
    return answer.json()


def parcels(gateway: Running, topic: str) -> list[Parcel]:
    """What waits for a topic other than scans."""
    rows = gateway.parts.spool.read("others", 0, 100_000)
    return [item for row in rows for item in row.items if isinstance(item, Parcel) and item.topic == topic]


def test_a_green_person_is_admitted_and_the_scan_is_durable(gateway: Running, client: httpx.Client) -> None:
    """`admit`: what the guard does in two languages, and an `in` under the id that the answer names."""
    gateway.status(person(1), "green", doses=2, full=True, age_band="18-59")
    found = post(gateway, client, "/v1/scans", {"person": person(1), "venue": "mall-1"})
    assert found["outcome"] == "admit"
    assert set(found["todo"]) == {"id", "en"}
    assert found["inside"] >= 1
    assert found["allowed"] is not None
    scan = next(scan for scan in gateway.waiting() if scan.scan_id == found["scan_ids"][0])
    assert (scan.person, scan.venue, scan.kind, scan.at_ms) == (person(1), "mall-1", "in", gateway.clock.now_ms())
    assert scan.gateway == "gateway"
    out = post(gateway, client, "/v1/scans", {"person": person(1), "venue": "mall-1", "kind": "out"})
    assert out["outcome"] == "out"
    assert gateway.waiting()[-1].kind == "out"


def test_a_black_person_is_refused_and_the_refusal_is_published(gateway: Running, client: httpx.Client) -> None:
    """`refuse` makes a `refused` scan, and no `in`."""
    gateway.status(person(2), "black", age_band="18-59")
    found = post(gateway, client, "/v1/scans", {"person": person(2), "venue": "mall-1"})
    assert found["outcome"] == "refuse"
    assert [scan.kind for scan in gateway.waiting() if scan.person == person(2)] == ["refused"]


def test_a_check_waits_for_the_guard(gateway: Running, client: httpx.Client) -> None:
    """Of somebody unknown nothing is published until the guard has answered; the answer counts once."""
    found = post(gateway, client, "/v1/scans", {"person": person(3), "venue": "mall-1"})
    assert found["outcome"] == "check"
    assert found["answer_by_ms"] > gateway.clock.now_ms()
    assert not [scan for scan in gateway.waiting() if scan.person == person(3)]
    answer = {"ticket": found["ticket"], "admitted": True}
    assert post(gateway, client, "/v1/answers", answer) == answer
    assert post(gateway, client, "/v1/answers", answer) == answer
    assert [scan.kind for scan in gateway.waiting() if scan.person == person(3)] == ["in"]
    other = client.post("/v1/answers", json={**answer, "admitted": False}, headers=gateway.stamped())
    problem(other, 409, "conflict")
    missing = client.post("/v1/answers", json={"ticket": "0" * 24, "admitted": True}, headers=gateway.stamped())
    problem(missing, 404, "unknown-ticket")
    deeds = [msgspec.json.decode(each.value, type=DoorEvent) for each in parcels(gateway, "door-events")]
    assert [each.deed for each in deeds if each.person == person(3)] == ["staff_admitted"]


def test_a_group_comes_in_together(gateway: Running, client: httpx.Client) -> None:
    """One decision, a scan each; and none where one of them may not."""
    for number in (10, 11):
        gateway.status(person(number), "green", doses=2, full=True, age_band="18-59" if number == 10 else "6-11")
    group = {"person": person(10), "venue": "mall-1", "children": [{"person": person(11), "age_band": "6-11"}]}
    found = post(gateway, client, "/v1/scans", group)
    scans = [scan for scan in gateway.waiting() if scan.person in (person(10), person(11))]
    assert len({scan.kind for scan in scans}) <= 1
    if found["outcome"] != "check":
        assert len(found["scan_ids"]) == 2
        assert [scan.scan_id for scan in scans] == found["scan_ids"]
    gateway.status(person(11), "black", age_band="6-11")
    assert post(gateway, client, "/v1/scans", group)["outcome"] == "refuse"


def test_a_list_is_written_down_and_not_decided(gateway: Running, client: httpx.Client) -> None:
    """Scans in bulk are durable in their order, also those of somebody who would be refused; a name that is none
    is told with its place."""
    gateway.status(person(20), "black")
    rows = [
        {"person": person(20), "venue": "mall-1", "kind": "in", "at_ms": 1_634_780_000_000},
        {"person": "bad\nname", "venue": "mall-1", "kind": "in", "at_ms": 1_634_780_000_001},
        {"person": person(20), "venue": "mall-1", "kind": "out", "at_ms": 1_634_780_000_002, "scan_id": "mine"},
    ]
    answer = client.post("/v1/scans", json=rows, headers=gateway.stamped())
    found = problem(answer, 422, "invalid")
    assert found["errors"][0]["path"] == "$[1].person"  # type: ignore[index]
    rows[1]["person"] = "trailing\n"  # the pattern's end lets a last newline pass; the door does not
    found = post(gateway, client, "/v1/scans", rows)
    assert (found["accepted"], found["rejected"]) == (2, 1)
    assert found["errors"][0]["path"] == "$[1]"
    scans = [scan for scan in gateway.waiting() if scan.person == person(20)]
    assert [scan.kind for scan in scans] == ["in", "out"]
    assert scans[1].scan_id == "mine"
    assert scans[0].scan_id
    assert post(gateway, client, "/v1/scans", [])["accepted"] == 0


def test_a_full_place_is_full(gateway: Running, client: httpx.Client) -> None:
    """The place fills by the gateway's own scans, before any count has come back, and a recount makes room."""
    outcomes = []
    for number in range(30, 36):
        gateway.status(person(number), "green", doses=2, full=True, age_band="18-59")
        outcomes.append(post(gateway, client, "/v1/scans", {"person": person(number), "venue": "shop-1"})["outcome"])
    assert outcomes[0] == "admit"
    assert outcomes[-1] == "full"
    told = post(gateway, client, "/v1/recounts", {"venue": "shop-1", "everyone_out": True})
    assert told["inside"] == 0
    assert client.get("/v1/venues/shop-1/occupancy").json()["inside"] == 0
    assert post(gateway, client, "/v1/scans", {"person": person(35), "venue": "shop-1"})["outcome"] == "admit"
    recounts = [msgspec.json.decode(each.value, type=Recount) for each in parcels(gateway, "recounts")]
    assert [each.recount_id for each in recounts if each.venue == "shop-1"] == [told["recount_id"]]
    for body in ({"venue": "mall-1"}, {"venue": "mall-1", "inside": 1, "everyone_out": True}):
        answer = client.post("/v1/recounts", json=body, headers=gateway.stamped())
        problem(answer, 422, "invalid")


def test_a_code_stands_for_its_venue(gateway: Running, client: httpx.Client) -> None:
    """The static and the rotating code of a venue name it; an old, a forged and a strange one are refused with why."""
    ring = Keyring.load(gateway.parts.settings.data_dir / "keys")
    gateway.status(person(40), "green", doses=2, full=True, age_band="18-59")
    now_ms = gateway.clock.now_ms()
    for code in (
        sign_static(ring, "mall-1"),
        sign_rotating(ring, "mall-1", now_ms),
        f"https://x.example/v/{sign_static(ring, 'mall-1')}",
    ):
        assert post(gateway, client, "/v1/scans", {"person": person(40), "code": code})["outcome"] == "admit"
    for bad in ("x", sign_static(ring, "mall-1")[:-4] + "AAAA", sign_rotating(ring, "mall-1", now_ms - 3_600_000)):
        answer = client.post("/v1/scans", json={"person": person(40), "code": bad}, headers=gateway.stamped())
        assert problem(answer, 422, "bad-code")["errors"] == [{"path": "$.code", "detail": answer.json()["detail"]}]
    both = {"person": person(40), "code": sign_static(ring, "mall-1"), "venue": "mall-1"}
    problem(client.post("/v1/scans", json=both, headers=gateway.stamped()), 422, "invalid")


def test_a_card_and_a_typed_id(gateway: Running, client: httpx.Client) -> None:
    """A card's code checks in its holder; a withdrawn one does not. A typed id is audited, and few a minute."""
    ring = Keyring.load(gateway.parts.settings.data_dir / "keys")
    gateway.status(person(50), "green", doses=2, full=True, age_band="18-59")
    card = sign_card(ring, person(50), "serial-1", gateway.clock.now_ms())
    assert post(gateway, client, "/v1/cards", {"venue": "mall-1", "token": f"LACAK:{card}"})["outcome"] == "admit"
    withdrawn = Withdrawal(number=1, at_ms=gateway.clock.now_ms(), person=person(50), serial="serial-1")
    with Register(gateway.parts.settings.data_dir / "identity") as office:
        office.withdrawn = lambda after: (withdrawn,) if after < 1 else ()  # type: ignore[method-assign]
        gateway.parts.bindings.follow(office)
    answer = client.post("/v1/cards", json={"venue": "mall-1", "token": card}, headers=gateway.stamped())
    problem(answer, 422, "bad-code")
    before = len(parcels(gateway, "door-events"))
    answers = [
        client.post("/v1/cards", json={"venue": "mall-1", "typed_id": person(50)}, headers=gateway.stamped())
        for _ in range(gateway.parts.limits.typed_ids_burst + 1)
    ]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    problem(answers[-1], 429, "too-many")
    events = [msgspec.json.decode(each.value, type=DoorEvent) for each in parcels(gateway, "door-events")[before:]]
    assert [each.deed for each in events] == ["typed_id"] * gateway.parts.limits.typed_ids_burst
    assert {each.person for each in events} == {person(50)}


def test_a_declaration_is_published_and_audited(gateway: Running, client: httpx.Client) -> None:
    """What a person declares goes to `declarations` under their key; one that cannot be is refused with the path."""
    stay = {"person": person(60), "start_ms": 1_634_700_000_000, "end_ms": 1_634_703_600_000}
    found = post(gateway, client, "/v1/declarations", {**stay, "place": "Singapore", "country": "SG"})
    told = [msgspec.json.decode(each.value, type=Declaration) for each in parcels(gateway, "declarations")]
    assert told[-1].declaration_id == found["declaration_id"]
    assert (told[-1].person, told[-1].country, told[-1].reporter) == (person(60), "SG", "self")
    assert parcels(gateway, "declarations")[-1].key == person(60).encode()
    deeds = [msgspec.json.decode(each.value, type=DoorEvent) for each in parcels(gateway, "door-events")]
    assert [each.deed for each in deeds if each.person == person(60)] == ["declared"]
    for wrong, path in (
        ({**stay, "end_ms": stay["start_ms"], "place": "x"}, "$.end_ms"),
        ({**stay, "end_ms": gateway.clock.now_ms() + 400_000, "place": "x"}, "$.end_ms"),
        (stay, "$"),
        ({**stay, "venue": "mall-1", "place": "x"}, "$"),
        ({**stay, "place": "x", "country": "Singapore"}, "$.country"),
    ):
        answer = client.post("/v1/declarations", json=wrong, headers=gateway.stamped())
        assert problem(answer, 422, "invalid")["errors"][0]["path"] == path  # type: ignore[index]


def test_venues_are_registered_and_listed(gateway: Running, client: httpx.Client) -> None:
    """A record is published as the CLI would; what the registry would refuse is refused; the list goes page by page."""
    post(gateway, client, "/v1/venues", {"venue": "office-1", "category": "office", "capacity": 20, "area_m2": 80.5})
    sent = [msgspec.json.decode(each.value, type=Venue) for each in parcels(gateway, "venues")]
    assert sent[-1] == Venue(venue="office-1", category="office", capacity=20, area_m2=80.5)
    assert parcels(gateway, "venues")[-1].key == b"office-1\x1f0"
    moved = client.post("/v1/venues", json={"venue": "shop-1", "within": "other"}, headers=gateway.stamped())
    assert "within" in str(problem(moved, 409, "conflict")["detail"])
    listed = client.get("/v1/venues", params={"limit": 1}).json()
    assert [each["venue"] for each in listed["venues"]] == ["mall-1"]
    rest = client.get("/v1/venues", params={"after": listed["next_after"]}).json()
    assert [each["venue"] for each in rest["venues"]] == ["shop-1"]
    assert "next_after" not in rest
    assert client.get("/v1/venues/shop-1").json()["within"] == "mall-1"
    problem(client.get("/v1/venues/nowhere"), 404, "unknown-venue")


def test_a_file_of_venues(gateway: Running, client: httpx.Client) -> None:
    """Good lines are published in their order; bad ones told with their number; what stands already changes nothing."""
    text = (
        "venue,name,category,capacity,within,area_m2,fallback\n"
        "hotel-1,Hotel,hotel,100,,900,refuse\nbar-1,Bar,bar,30,hotel-1,,\nx,X,shop,many,,,\nshop-1,,,,hotel-1,,\n"
        "bar-1,Bar,bar,30,hotel-1,,\nloop,,,,loop,,\ny,Y,shop,1,,,maybe\n"
    )
    answer = client.post("/v1/venues/import", content=text, headers=gateway.stamped(Content_Type="text/csv"))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["taken"], found["known"], found["rejected"]) == (2, 1, 4)
    assert [fault["line"] for fault in found["faults"]] == [4, 5, 7, 8]
    sent = [msgspec.json.decode(each.value, type=Venue) for each in parcels(gateway, "venues")]
    assert [each.venue for each in sent[-2:]] == ["hotel-1", "bar-1"]
    assert sent[-2].fallback == "refuse"
    for body in (b"", b"name\nx\n", b"\x1f\x8b\x08"):
        answer = client.post("/v1/venues/import", content=body, headers=gateway.stamped())
        problem(answer, 422, "invalid")


def test_posters(gateway: Running, client: httpx.Client) -> None:
    """SVG and PDF of a known venue, with the gateway's address; 404 of an unknown one."""
    svg = client.get("/v1/venues/mall-1/poster.svg")
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert "<svg" in svg.text
    assert "Mal Kota" in svg.text
    pdf = client.get("/v1/venues/mall-1/poster.pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")
    problem(client.get("/v1/venues/nowhere/poster.svg"), 404, "unknown-venue")


def test_the_key_set_is_public(gateway: Running) -> None:
    """Anybody may have the public halves, and nothing of the private ones; a rotation is seen without a restart."""
    ring = Keyring.load(gateway.parts.settings.data_dir / "keys")
    with gateway.client(None) as anybody:
        assert anybody.get("/.well-known/jwks.json").json() == ring.jwks()
        rotated = ring.rotate(gateway.clock.now_ms())
        gateway.clock.at_ms += 2000
        found = anybody.get("/.well-known/jwks.json")
    assert found.json() == rotated.jwks()
    assert '"d"' not in found.text


def events(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    """The next so many `count` events of a stream."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("data:"):
            found.append(json.loads(line[5:]))
            if len(found) == count:
                break
    return found


def test_a_stream_tells_every_change_and_ends_with_the_key(gateway: Running, client: httpx.Client) -> None:
    """The count at once, again when somebody comes in, and the end when the device's key is revoked."""
    key = gateway.add("scan")
    name = next(d.device for d in gateway.parts.devices.all() if d.key_id == key.split("_")[1])
    gateway.status(person(70), "green", doses=2, full=True, age_band="18-59")
    with gateway.client(key) as watcher, watcher.stream("GET", "/v1/venues/mall-1/occupancy/stream") as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        (first,) = events(lines, 1)
        post(gateway, client, "/v1/scans", {"person": person(70), "venue": "mall-1"})
        (second,) = events(lines, 1)
        assert second["inside"] == first["inside"] + 1
        gateway.parts.devices.revoke(name, gateway.clock.now_ms())
        began = time.monotonic()
        assert events(lines, 1) == []
        assert time.monotonic() - began < 3 + LOOK_SECONDS
    assert gateway.parts.streams_open == 0


HEALTH_WORDS = re.compile("colour|reason|rule|dose|booster|negative|vaccin|" + "|".join(COLOURS[1:]))


def test_what_devices_are_sent_has_no_place_for_health() -> None:
    """No reply type has a field for a colour, a health reason or a rule, however deep."""
    replies = [
        kind
        for kind in vars(wire).values()
        if isinstance(kind, type) and issubclass(kind, wire.Reply) and kind is not wire.Readiness
    ]
    assert wire.GuardAnswer in replies
    _, components = msgspec.json.schema_components(replies)
    names = {name for schema in components.values() for name in schema.get("properties", {})}
    assert "outcome" in names
    assert not [name for name in names if HEALTH_WORDS.search(name)]


def test_two_people_with_one_outcome_look_the_same_to_a_device(gateway: Running, client: httpx.Client) -> None:
    """Whatever the colour and the health reason behind it, the answers of one outcome differ in ids and counts only;
    no colour stands anywhere in them."""
    seen: dict[str, set[str]] = {}
    number = 80
    for colour in COLOURS:
        for more in ({}, {"doses": 1}, {"doses": 2, "full": True}, {"doses": 3, "full": True, "booster": True}):
            number += 1
            gateway.status(person(number), colour, age_band="18-59", **more)
            found = post(gateway, client, "/v1/scans", {"person": person(number), "venue": "mall-1"})
            for name in ("ticket", "scan_ids", "inside", "allowed", "answer_by_ms"):
                found.pop(name, None)
            text = json.dumps(found, sort_keys=True)
            assert not HEALTH_WORDS.search(text.replace("admit with", ""))
            seen.setdefault(found["outcome"], set()).add(text)
    assert {"admit", "refuse", "check"} <= set(seen)
    assert {outcome: len(texts) for outcome, texts in seen.items()} == dict.fromkeys(seen, 1)


def test_reasons_that_guards_may_read_are_not_of_health() -> None:
    """The sentence for the guard depends on the reason only where that is age, escort or hours."""
    from gateway.scans import _todo

    plain = _todo("refuse", "colour")
    differing = {reason for reason in get_args(Reason) if _todo("refuse", reason) != plain}
    assert differing <= {"age", "escort_missing", "closed"}


FAULTS = {
    b"": ("malformed", None),
    b"{": ("malformed", None),
    b"\xff\xfe": ("malformed", None),
    b"{}": ("invalid", "$"),
    b'{"person": 1, "venue": "v"}': ("invalid", "$.person"),
    b'{"person": "", "venue": "v"}': ("invalid", "$.person"),
    b'{"person": "p", "venue": "v", "kind": "up"}': ("invalid", "$.kind"),
    b'{"person": "p", "venue": "v", "at_ms": -1}': ("invalid", "$.at_ms"),
    b'{"person": "p", "venue": "v", "vneue": 1}': ("invalid", "$"),
    b'{"person": "p", "venue": "v", "children": [{"person": "c"}, {"person": 7}]}': ("invalid", "$.children[1].person"),
    b'{"person": "p"}': ("invalid", "$"),
    b'[{"person": "p", "venue": "v", "kind": "in", "at_ms": 1}, {"person": "p"}]': ("invalid", "$[1]"),
    b'[{"person": "p", "venue": "v", "kind": "in", "at_ms": "1"}]': ("invalid", "$[0].at_ms"),
    b'"x"': ("invalid", "$"),
}


@pytest.mark.parametrize("body", FAULTS, ids=lambda body: body.decode("latin-1")[:40])
def test_a_fault_is_named_with_its_path(gateway: Running, client: httpx.Client, body: bytes) -> None:
    """Each fault of a body has the JSON path of what is wrong, and nothing is done."""
    kind, path = FAULTS[body]
    before = len(gateway.waiting())
    answer = client.post("/v1/scans", content=body, headers=gateway.stamped())
    found = problem(answer, KINDS[kind].status, kind)
    if path is not None:
        assert [fault["path"] for fault in found["errors"]] == [path]  # type: ignore[attr-defined]
    assert len(gateway.waiting()) == before


def test_the_hot_route_answers_as_the_framework_would(gateway: Running, tmp_path: Path) -> None:
    """Without the short cut, every fault and every decision is answered the same, byte for byte but for ids."""
    bodies = [*FAULTS, json.dumps({"person": person(1), "venue": "mall-1", "kind": "out"}).encode()]
    with running_gateway(tmp_path, venues=(MALL, SHOP), hot=False) as plain:
        plain.level()
        plain.clock.at_ms = gateway.clock.at_ms
        keys = [each.add("scan", per_second=1e6, burst=10_000) for each in (gateway, plain)]
        with gateway.client(keys[0]) as first, plain.client(keys[1]) as second:
            for body in bodies:
                headers = gateway.stamped()
                one, two = (each.post("/v1/scans", content=body, headers=headers) for each in (first, second))
                assert one.status_code == two.status_code, body
                assert one.headers["content-type"] == two.headers["content-type"]
                assert _plain(one.json()) == _plain(two.json()), body


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in ("ticket", "scan_ids")}


def test_other_faults_are_problems_too(gateway: Running, client: httpx.Client) -> None:
    """Unknown paths, methods, parameters: each as problem details."""
    with gateway.client(None) as anybody:
        problem(anybody.get("/nowhere"), 404, "not-found")
        answer = anybody.post("/healthz")
        assert "GET" in answer.headers["allow"]
        problem(answer, 405, "method")
    problem(client.get("/v1/nowhere"), 404, "not-found")
    problem(client.get("/v1/scans"), 405, "method")
    problem(client.delete("/v1/scans", headers=gateway.stamped()), 405, "method")
    found = problem(client.get("/v1/venues", params={"limit": "many"}), 422, "invalid")
    assert found["errors"][0]["path"] == "limit"  # type: ignore[index]
    problem(client.get("/v1/venues", params={"limit": 0}), 422, "invalid")


def test_every_problem_has_its_page(gateway: Running) -> None:
    """The `type` of a problem is an address that explains it; docs/gateway.md names every kind."""
    text = (Path(__file__).parents[1] / "docs" / "gateway.md").read_text("utf-8")
    with gateway.client(None) as anybody:
        for kind, (status, title, remedy) in KINDS.items():
            found = anybody.get(f"/problems/{kind}").json()
            assert found == {"kind": kind, "status": status, "title": title, "remedy": remedy}
            assert f"`{kind}`" in text
        problem(anybody.get("/problems/none"), 404, "not-found")


def test_health_readiness_and_metrics(gateway: Running, client: httpx.Client) -> None:
    """Alive is alive; ready says what is amiss; metrics name no person, venue or device."""
    with gateway.client(None) as anybody:
        assert anybody.get("/healthz").json() == {"state": "alive"}
        ready = anybody.get("/readyz").json()
        assert ready["state"] == "ready", ready
        assert ready["spool_messages"] > 0  # there is no broker here
        gateway.clock.at_ms += int(gateway.parts.settings.copies.counts_stale_seconds * 1000) + 1
        degraded = anybody.get("/readyz")
        assert (degraded.status_code, degraded.json()["state"]) == (200, "degraded")
        assert "counts" in degraded.json()["reasons"][0]
        gateway.level()
        text = anybody.get("/metrics").text
    assert 'lacak_gateway_requests_total{route="/v1/scans",stage="gateway",status="200"}' in text
    assert 'route="/v1/venues/{venue}/occupancy"' in text
    lines = [line for line in text.splitlines() if line.startswith("lacak_gateway")]
    assert not [line for line in lines if re.search("mall-1|p1:|d-[0-9a-f]{8}", line)]


def test_a_gateway_without_copies_is_starting(tmp_path: Path) -> None:
    """Nothing was ever loaded: not ready, but it takes scans all the same; unknown people are checked."""
    with running_gateway(tmp_path, venues=()) as gateway, gateway.client(gateway.add("scan")) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["state"]) == (503, "starting")
        found = post(gateway, client, "/v1/scans", {"person": person(1), "venue": "somewhere"})
        assert found["outcome"] == "check"
        assert "statuses_age_ms" not in found

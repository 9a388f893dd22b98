"""The end of the demo: the case of the trace, and the contact an officer confirmed, ask to come into the mall."""

from __future__ import annotations

import http.cookiejar
import re
import secrets
import time
import urllib.parse
import urllib.request
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from gateway.codes import BadCode, sign_static, venue_text
from gateway.identity import Withdrawal
from gateway.keyring import Keyring
from gateway.limits import Serving
from gateway.poster import poster
from gateway.running import KEYS_FOLDER
from gateway.settings import GatewaySettings
from gateway.threaded import Threaded, threaded_gateway
from officer.exports import local
from schemas.messages import Venue
from streams.settings import Settings

_STATUS_SECONDS = 20.0
_HEADING = re.compile(r'<p class="word">(.*?)</p>.*?<p class="why">(.*?)</p>', re.DOTALL)


class _Clock:
    """The time of the demo's city, which goes on as ours does."""

    def __init__(self, began_ms: int) -> None:
        self._began_ms, self._began = began_ms, time.monotonic()

    def now_ms(self) -> int:
        return self._began_ms + round(self.monotonic() * 1000)

    def monotonic(self) -> float:
        return time.monotonic() - self._began


class _HealthOffice:
    """The identity service of a city whose people have no papers: whom each code is for."""

    def __init__(self) -> None:
        self.codes: dict[str, str] = {}

    def redeem(self, code: str, browser: str, source: str, now_ms: int) -> str:  # noqa: ARG002
        return self.codes[code]

    def card(self, token: str, now_ms: int) -> str:  # noqa: ARG002
        raise BadCode("not_ours")

    def withdrawn(self, after: int) -> tuple[Withdrawal, ...]:  # noqa: ARG002
        return ()


def show_door(
    settings: Settings, console: Console, folder: Path, mall: Venue, now_ms: int, case: str, contact: str, other: str
) -> None:
    """Run a gateway at the mall's door and let three people ask to come in; write the mall's poster into `folder`."""
    data = settings.data_dir / "gateway"
    ring = Keyring.make(data / KEYS_FOLDER, now_ms)
    own = GatewaySettings(
        name="demo-door",
        brokers=settings.brokers,
        security=settings.security,
        topic_prefix=settings.topic_prefix,
        zone=settings.zone,
        data_dir=data,
        http=Serving(port=0),
    )
    console.print(
        f"\n[bold]The door[/bold] of {mall.name}, {local(now_ms, settings.zone_info)}. Its gateway "
        "has statuses, counts and rules of its own, and asks nobody.",
        highlight=False,
    )
    with threaded_gateway(own, _Clock(now_ms)) as gateway:
        office = _HealthOffice()
        gateway.parts.identity = office
        device = gateway.parts.devices.add("door-1", ("scan",), now_ms)
        _await_colour(gateway, case, "black")
        if contact:
            _await_colour(gateway, contact, "black")
        who = {
            "The case": case,
            "The contact whom the officer confirmed": contact,
            "Somebody of whom nothing is known": other,
        }
        for name, person in who.items():
            if person:
                asked = _ask(gateway, device, mall.venue, person)
                console.print(
                    f"  {name}: [bold]{asked['outcome']}[/bold]. The guard reads: {asked['todo']['en']}",
                    highlight=False,
                )
        word, why = _own_screen(gateway, office, sign_static(ring, mall.venue), case)
        console.print(f"  Only the case's own phone says why: [bold]{word}[/bold]. {why}", highlight=False)
    address = "https://masuk.example"
    path = folder / "poster.pdf"
    path.write_bytes(poster(mall, sign_static(ring, mall.venue), address).pdf())
    console.print(f"  The mall's poster, with its signed code: {path}", highlight=False)


def _await_colour(gateway: Threaded, person: str, colour: str) -> None:
    deadline = time.monotonic() + _STATUS_SECONDS
    while time.monotonic() < deadline:
        standing = gateway.parts.copies.standing(person)
        if standing is not None and standing.colour == colour:
            return
        time.sleep(0.05)
    raise TimeoutError(f"No status {colour} has come to the door within {_STATUS_SECONDS:.0f} s.")


def _ask(gateway: Threaded, device: str, venue: str, person: str) -> dict[str, Any]:
    """What the door's API answers a device."""
    body = msgspec.json.encode({"venue": venue, "person": person, "kind": "in"})
    headers = {
        "Authorization": f"Bearer {device}",
        "Content-Type": "application/json",
        "X-Lacak-Time": str(gateway.parts.clock.now_ms()),
        "Idempotency-Key": secrets.token_hex(16),
    }
    request = urllib.request.Request(f"{gateway.url}/v1/scans", body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, Any] = msgspec.json.decode(answer.read())
    return found


def _own_screen(gateway: Threaded, office: _HealthOffice, token: str, person: str) -> tuple[str, str]:
    """What a person's own phone shows: they link it to their identity, scan the poster, and ask."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.addheaders = [("Accept-Language", "en")]
    office.codes["DEMO0-DEMO0"] = person
    page = venue_text(gateway.url, token)
    browser.open(page, timeout=10).read()
    browser.open(f"{gateway.url}/bind", urllib.parse.urlencode({"code": "DEMO0-DEMO0"}).encode(), timeout=10).read()
    shown = browser.open(f"{page}/in", b"children=0", timeout=10).read().decode()
    found = _HEADING.search(shown)
    if found is None:
        raise ValueError("the ticket has another form")
    return unescape(found[1]), unescape(found[2])

"""Bad requests to every endpoint of a gateway: each must get problem details with a 4xx, and the gateway go on."""

from __future__ import annotations

import gzip
import random
import re
import secrets
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from gateway.problems import KINDS, MEDIA_TYPE
from tests.doorway import Doorway
from tests.flood.spoiling import Spoiler

_BODIES: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "/v1/scans": ({"person": "p1:1", "venue": "v0", "kind": "in", "at_ms": 1}, "person", "kind"),
    "/v1/answers": ({"ticket": "t", "admitted": True}, "ticket", "admitted"),
    "/v1/recounts": ({"venue": "v0", "inside": 1}, "venue", "inside"),
    "/v1/cards": ({"venue": "v0", "kind": "in", "typed_id": "t"}, "venue", "kind"),
    "/v1/declarations": ({"person": "p1:1", "start_ms": 1, "end_ms": 2, "place": "x"}, "person", "start_ms"),
    "/v1/venues": ({"venue": "v0", "valid_from_ms": 1}, "venue", "valid_from_ms"),
}
_PATHS: Final = (
    "/",
    "/v2/scans",
    "/v1/scans/%00",
    "/v1/venues/%FF",
    "/..%2f..%2fetc",
    "/v1/" + "a" * 3000,
    "/%E2%82",
    "/problems/%00",
)


_HEADERS: Final = (
    *(
        ("Authorization", value)
        for value in ("", "Bearer", "Bearer x", "Basic eA==", "\xe9\xff", "Bearer " + "a" * 3000)
    ),
    *(("X-Lacak-Time", value) for value in ("", "1e400", "-1", "9" * 30, "NaN", "0", "\xb2", "12.5")),
    *(("Idempotency-Key", value) for value in ("", "short", "a" * 129, "a key of words", "\xe9" * 20)),
)
_BOMB: Final = gzip.compress(bytes(10_000_000))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Refusal(NamedTuple):
    """What a request was answered with: the route, the fault in it, the problem's kind."""

    route: str
    fault: str
    kind: str


class Caller:
    """Sends bad requests over a kept connection and counts what is answered; `wrong` are answers that must not be."""

    def __init__(self, url: str, key: str, seed: int, now_ms: Callable[[], int] = _wall_ms) -> None:
        self._address = urlsplit(url)
        self._key, self._now_ms = key, now_ms
        self._dice = random.Random(f"requests {seed}")
        self._spoilers = {
            path: Spoiler([body], text, number, listed=path != "/v1/scans", lax=True)
            for path, (body, text, number) in _BODIES.items()
        }
        self.counts: Counter[Refusal] = Counter()
        self.wrong: list[str] = []
        self._connection: HTTPConnection | None = None

    def send(self, count: int) -> None:
        """Send so many."""
        for _ in range(count):
            method, path, headers, body, fault = self._request()
            self._ask(method, path, headers, body, fault)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self) -> tuple[str, str, dict[str, str], bytes | None, str]:
        dice = self._dice
        path = dice.choice([*_BODIES, "/v1/scans", "/v1/venues/import"])
        headers = _headers(self._key, self._now_ms())
        match dice.randrange(12):
            case 0:
                headers.pop(dice.choice(("Authorization", "X-Lacak-Time", "Idempotency-Key")))
                return "POST", path, headers, b"{}", "a header missing"
            case 1:
                name, value = dice.choice(_HEADERS)
                headers[name] = value
                return "POST", path, headers, b"{}", "a header that cannot be"
            case 2:
                return (
                    dice.choice(("PUT", "DELETE", "PATCH", "GET")),
                    dice.choice(list(_BODIES)[:5]),
                    headers,
                    None,
                    "wrong method",
                )
            case 3:
                return dice.choice(("GET", "POST")), dice.choice(_PATHS), headers, None, "no such path"
            case 4:
                body = b"[" + b'{"person":"p"},' * dice.choice((5_000, 10_000, 700_000)) + b"0]"
                return "POST", path if path != "/v1/venues/import" else "/v1/venues", headers, body, "huge"
            case 5:
                headers["Content-Encoding"] = dice.choice(("gzip", "br", "zstd", "deflate"))
                return (
                    "POST",
                    dice.choice(list(_BODIES)),
                    headers,
                    _BOMB,
                    "compressed body that inflates",
                )
            case 6:
                headers["Content-Type"] = dice.choice(
                    ("text/plain", "application/xml", "multipart/form-data; boundary=x", "\x80")
                )
                return "POST", dice.choice(list(_BODIES)), headers, dice.randbytes(50), "another content type"
            case 7:
                return (
                    "POST",
                    "/v1/venues/import",
                    headers,
                    dice.choice((b"\xff\xfe", b"nonsense\n1,2,3", b"", b"\x00" * 100)),
                    "no CSV",
                )
        path = dice.choice(list(_BODIES))
        kind, body = self._spoilers[path].spoil(dice)
        return "POST", path, headers, body, kind

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None, fault: str) -> None:
        route = path if path in _BODIES or path == "/v1/venues/import" else "others"
        try:
            try:
                status, media, answer = self._answer(method, path, headers, body)
            except ConnectionError:
                if fault == "huge":
                    raise
                self.close()  # it was closed behind a request that was too large: once more
                status, media, answer = self._answer(method, path, headers, body)
        except (HTTPException, OSError, UnicodeError) as error:
            self.close()
            if isinstance(error, UnicodeError | ValueError):
                self.counts[Refusal(route, fault, "not sent")] += 1
            elif fault == "huge" and isinstance(error, ConnectionError):
                self.counts[Refusal(route, fault, "connection closed")] += 1
            else:
                self.wrong.append(f"{method} {path[:60]}, {fault}: {type(error).__name__} {error}")
            return
        if not 400 <= status < 500 or media != MEDIA_TYPE:
            self.wrong.append(
                f"{method} {path[:60]}, {fault}: {status} {media} {answer[:200]!r} to {(body or b'')[:200]!r}"
            )
            return
        kind = str(msgspec.json.decode(answer)["type"]).rpartition("/")[2]
        if KINDS[kind].status != status:
            self.wrong.append(f"{method} {path[:60]}, {fault}: {kind} with {status}")
        self.counts[Refusal(route, fault, kind)] += 1

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, str, bytes]:
        if self._connection is None:
            self._connection = HTTPConnection(self._address.hostname or "", self._address.port or 0, timeout=30)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.getheader("Connection", "").lower() == "close":
            self.close()
        return response.status, (response.getheader("Content-Type") or "").partition(";")[0], answer


def device_for(door: Doorway) -> str:
    """The key of a device that may do everything, as often as it likes."""
    scopes = [part for scope in ("scan", "staff", "declare", "venue") for part in ("--scope", scope)]
    many = str(1_000_000)
    return door.run("devices", "add", "flood", *scopes, "--rate", many, "--burst", many, "--data", str(door.folder))


def check_in(url: str, key: str, person: str, venue: str) -> None:
    """A good request, which must be answered well. Raises AssertionError."""
    headers = _headers(key, _wall_ms())
    body = msgspec.json.encode({"person": person, "venue": venue, "kind": "in"})
    request = urllib.request.Request(f"{url}/v1/scans", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def copies_refused(url: str) -> Counter[str]:
    """How many messages each of a gateway's copies left out, as its metrics say."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(
        r'^lacak_gateway_copy_refused_messages\{[^}]*copy="([^"]+)"[^}]*\} ([\d.e+]+)', text, re.MULTILINE
    )
    return Counter({name: int(float(count)) for name, count in found})


def _headers(key: str, now_ms: int) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {key}",
        "X-Lacak-Time": str(now_ms),
        "Idempotency-Key": secrets.token_hex(16),
        "Content-Type": "application/json",
    }

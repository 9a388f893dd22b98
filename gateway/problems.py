"""What is answered when a request is not done: problem details of RFC 9457, one catalogue of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

MEDIA_TYPE: Final = "application/problem+json"
EMPTY: Final = "The body is empty."


class Kind(NamedTuple):
    """One kind of problem: its HTTP status, its title, and what the caller can do about it."""

    status: int
    title: str
    remedy: str


KINDS: Final[dict[str, Kind]] = {
    "malformed": Kind(400, "The body is not JSON", "Send one JSON value in UTF-8."),
    "time-missing": Kind(
        400, "The request does not say when it was made", "Send X-Lacak-Time: milliseconds since the epoch, now."
    ),
    "clock-shifted": Kind(
        400,
        "The request's time is too far from the gateway's",
        "Set the device's clock (NTP) and send the request anew, with its new time.",
    ),
    "nonce-missing": Kind(
        400,
        "The request has no Idempotency-Key",
        "Send one of 8 to 128 visible ASCII characters, new for each request and kept for its repetitions.",
    ),
    "unauthorized": Kind(
        401, "No usable device key", "Send Authorization: Bearer KEY with a key of `lacak devices add`."
    ),
    "revoked": Kind(401, "The device's key was revoked", "Ask the programme for a new key."),
    "scope": Kind(
        403, "The device may not do this", "Ask the programme for a key with the scope that the detail names."
    ),
    "other-venue": Kind(403, "The device is for other venues", "Use a device of this venue."),
    "forbidden": Kind(403, "This is not allowed", "The detail says why."),
    "other-site": Kind(403, "This form came from another site", "Open the page itself and send its form."),
    "not-found": Kind(404, "There is nothing here", "GET /openapi.json lists what there is."),
    "unknown-venue": Kind(404, "No such venue is registered", "Register it: POST /v1/venues or `lacak venues import`."),
    "unknown-ticket": Kind(404, "No such ticket waits for an answer", "It was answered, or is too old: ask anew."),
    "method": Kind(405, "This path does not take that method", "The Allow header lists those it takes."),
    "in-progress": Kind(
        409, "The same request is being answered", "Wait as long as Retry-After says and send it anew."
    ),
    "conflict": Kind(409, "It contradicts what is there", "The detail says what."),
    "too-large": Kind(413, "The request is too large", "Send it in several parts; the detail names the most."),
    "media-type": Kind(415, "The body's Content-Type is not taken here", "The detail names those that are."),
    "invalid": Kind(422, "The request cannot be accepted", "`errors` names each fault and where it is."),
    "bad-code": Kind(
        422, "The code is not usable", "Scan the code at the door once more; the detail says what is wrong."
    ),
    "nonce-reused": Kind(
        422, "This Idempotency-Key came with another request", "Use a new Idempotency-Key for each request."
    ),
    "too-many": Kind(429, "Too many requests", "Wait as long as Retry-After says."),
    "headers-too-large": Kind(431, "The request's head is too large", "Send fewer or shorter headers."),
    "internal": Kind(500, "The gateway failed", "Send the request anew; tell the operator if it happens again."),
    "unavailable": Kind(503, "The gateway cannot do this now", "Wait as long as Retry-After says; /readyz says why."),
}
"""Every problem there is, by the last part of its type. docs/gateway.md is held to it by a test."""


class Fault(msgspec.Struct, frozen=True):
    """One fault of a request: `path` is the JSON path of the value, or the name of the header or parameter."""

    path: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A problem as it is sent (RFC 9457). `type` is a path of this gateway that explains it."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str = ""
    errors: tuple[Fault, ...] = ()
    server_time_ms: int | None = None


class Problem(Exception):
    """A request is not done, and this is what is answered. Raised anywhere below the HTTP edge."""

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        errors: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
        server_time_ms: int | None = None,
    ) -> None:
        self.kind, self.errors, self.headers = kind, errors, dict(headers or {})
        self.status, self.title, self.remedy = KINDS[kind]
        self.detail = detail or self.title + "."
        self.server_time_ms = server_time_ms
        super().__init__(f"{self.status} {kind}: {self.detail}")

    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(
            ProblemDetails(
                type=f"/problems/{self.kind}",
                title=self.title,
                status=self.status,
                detail=self.detail,
                remedy=self.remedy,
                errors=self.errors,
                server_time_ms=self.server_time_ms,
            )
        )


def fault_of(error: BaseException) -> Problem:
    """The problem of a body that msgspec does not take: `malformed`, or `invalid` with the JSON path of the fault."""
    if isinstance(error, RecursionError):
        return Problem("malformed", "The body is nested deeper than any request.")
    if not isinstance(error, msgspec.ValidationError):
        return Problem("malformed", f"The body is not JSON: {_sentence(str(error))}")
    said, path = split_path(str(error))
    return Problem("invalid", f"{path}: {said}", errors=(Fault(path, said),))


def split_path(message: str) -> tuple[str, str]:
    """The sentence and the JSON path (`$` where none is named) of a message of msgspec's."""
    found = _AT.search(message)
    return (_sentence(message[: found.start()]), found[1]) if found else (_sentence(message), "$")


_AT: Final = re.compile(r" - at `(?:key in )?([^`]+)`$")


def _sentence(text: str) -> str:
    return text.rstrip(".") + "."


def kind_of(status: int) -> str:
    """The catalogue's entry for an HTTP status that the framework answers by itself."""
    for name in _FRAMEWORK:
        if KINDS[name].status == status:
            return name
    return "internal" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid"


_FRAMEWORK: Final = ("malformed", "unauthorized", "forbidden", "not-found", "method", "conflict", "too-large",
                     "media-type", "invalid", "too-many", "unavailable")  # fmt: skip

"""The browser that asks: its cookies, its language, and whom it stands for."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from gateway.bindings import Bindings
from gateway.devices import Device, Scope
from gateway.pages.texts import Language, language_of
from gateway.parts import Asked, parts_of
from gateway.problems import Problem

BROWSER: Final = "lacak_browser"
TICKET: Final = "lacak_ticket"
DEVICE: Final = "lacak_device"
LANGUAGE: Final = "lacak_language"
_YEAR_SECONDS: Final = 365 * 86_400


class Browser(NamedTuple):
    """One browser: its token, under which person its scans are published, and whether that is a verified identity's.

    `is_new`: it was just given its token, and must get the cookie with the answer.
    """

    token: str
    person: str
    bound: bool
    is_new: bool


def language_asked(request: Asked) -> Language:
    """The language chosen before, else the one the browser asks for."""
    return language_of(request.cookies.get(LANGUAGE), request.headers.get("accept-language", ""))


def browser_of(request: Asked) -> Browser:
    """Who asks; one without a token, or with what is none, gets a new one."""
    bindings = parts_of(request).bindings
    token = request.cookies.get(BROWSER, "")
    try:
        return Browser(token, *bindings.visitor(token), False)
    except ValueError:
        token = Bindings.new_token()
        return Browser(token, *bindings.visitor(token), True)


def cookie(request: Asked, name: str, value: str, *, same_site: Literal["lax", "strict"] = "lax") -> Cookie:
    """A cookie that no script reads, and that travels over TLS alone where the page did; no value: take it away."""
    return Cookie(
        key=name,
        value=value,
        max_age=_YEAR_SECONDS if value else 0,
        httponly=True,
        samesite=same_site,
        secure=request.url.scheme == "https",
        path="/",
    )


def check_origin(request: Asked) -> None:
    """Raises Problem when the page of another site sends this form: browsers tell (RFC 6454, Fetch Metadata)."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.headers.get("host", "")):
        raise Problem("other-site")


def device_of(request: Asked, scope: Scope, venue: str) -> Device | None:
    """The device that signed in with its key, if it still may do this at this venue."""
    device = parts_of(request).devices.find(request.cookies.get(DEVICE, "").encode())
    if device is None or device.revoked_ms is not None or not device.may(scope) or not device.serves(venue):
        return None
    return device

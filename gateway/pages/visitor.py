"""A visitor's pages: check-in at a scanned code, the ticket, linking the browser to an identity, one's own status."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from contacts.admission import Decision
from contacts.doortexts import for_person
from gateway.codes import BadCode
from gateway.identity import BadBinding
from gateway.pages.browsers import BROWSER, LANGUAGE, TICKET, Browser, browser_of, check_origin, cookie, language_asked
from gateway.pages.forms import form_of, read_travel
from gateway.pages.shown import go_to, message, own_path, page
from gateway.pages.texts import Language, language_of, texts
from gateway.pages.tickets import Held, held_of, seal, ticket_view, unseal
from gateway.pages.views import SIGNS, load_of, offset_minutes, time_words, venue_of
from gateway.parts import Asked, Parts, parts_of
from gateway.problems import Problem
from gateway.spool import Parcel
from gateway.tickets import Ask, Companion

_CHILDREN_MOST: Final = 5
_ENCODE: Final = msgspec.json.encode


@get("/v/{token:str}", include_in_schema=False, sync_to_thread=False)
def venue_page(request: Asked, token: FromPath[str]) -> Response[str]:
    """What a poster's code opens: the place, how full it is, and the button."""
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    venue = _venue(parts, language, token, f"/v/{token}")
    if isinstance(venue, Response):
        return venue
    held = _held(request, parts, browser)
    answer = page(
        "venue.html",
        language,
        f"/v/{token}",
        venue=venue_of(parts, venue),
        load=load_of(parts, venue, language),
        token=token,
        once=secrets.token_hex(12),
        inside=held is not None and held.inside and held.venue == venue,
        bound=browser.bound,
        children_most=_CHILDREN_MOST,
    )
    return _kept(request, answer, browser)


@post("/v/{token:str}/in", include_in_schema=False)
async def check_in(request: Asked, token: FromPath[str]) -> Response[Any]:
    """The button: the door decides, and the ticket says what."""
    check_origin(request)
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    venue = _venue(parts, language, token, f"/v/{token}")
    if isinstance(venue, Response):
        return venue
    form = await form_of(request)
    children = min(_CHILDREN_MOST, int(form["children"])) if form.get("children", "").isdigit() else 0
    once = form.get("once", "")
    ticket = await parts.door.ask(
        Ask(
            venue=venue,
            person=browser.person,
            party=tuple(Companion(child, "6-11", False) for child in children_of(browser.person, children)),
            scan_id=f"web-{once}" if once.isalnum() and len(once) <= 40 else None,
            verified=browser.bound,
        )
    )
    held = held_of(ticket, browser.bound)
    return _kept(request, go_to("/ticket"), browser, held)


@get("/ticket", include_in_schema=False, sync_to_thread=False)
def ticket_page(request: Asked) -> Response[str]:
    """The ticket as it now is."""
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    held = _held(request, parts, browser)
    if held is None:
        return message(language, "/ticket", texts(language)["ticket"], fault=texts(language)["no_ticket"], status=404)
    zone = parts.settings.zone_info
    now_ms = parts.clock.now_ms()
    answer = page(
        "ticket.html",
        language,
        "/ticket",
        venue=venue_of(parts, held.venue),
        ticket=ticket_view(held, texts(language), language, time_words(now_ms, zone)),
        load=load_of(parts, held.venue, language),
        now_ms=now_ms,
        offset_minutes=offset_minutes(now_ms, zone),
        bound=browser.bound,
    )
    return _kept(request, answer, browser, held)


@post("/ticket/out", include_in_schema=False)
async def check_out(request: Asked) -> Response[Any]:
    """The visitor leaves, and those who came with them."""
    check_origin(request)
    parts, browser = parts_of(request), browser_of(request)
    held = _held(request, parts, browser)
    if held is None or not held.inside:
        return go_to("/ticket")
    await parts.door.ask(
        Ask(
            venue=held.venue,
            person=held.person,
            kind="out",
            party=tuple(Companion(person, verified=False) for person in held.party),
            scan_id=f"{held.id}-out",
            verified=browser.bound,
        )
    )
    left = msgspec.structs.replace(held, out=True)
    return _kept(request, go_to("/ticket"), browser, left)


@get("/bind", include_in_schema=False, sync_to_thread=False)
def bind_page(request: Asked, back: FromQuery[str] = "/me") -> Response[str]:
    """Where the officer's one-time code is typed."""
    browser = browser_of(request)
    return _kept(request, page("bind.html", language_asked(request), "/bind", to=own_path(back), fault=""), browser)


@post("/bind", include_in_schema=False)
async def bind(request: Asked) -> Response[Any]:
    """Bind this browser to the identity of a one-time code."""
    check_origin(request)
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    form = await form_of(request)
    to, source = own_path(form.get("back", "/me")), request.client.host if request.client else ""
    now_ms = parts.clock.now_ms()
    try:
        if browser.is_new or parts.identity is None:
            raise BadBinding("wrong")  # a browser must have its token before a code is used up
        person = parts.bindings.redeem(parts.identity, form.get("code", ""), browser.token, source, now_ms)
    except BadBinding as refused:
        fault = refused.sentence(language)
        return _kept(request, page("bind.html", language, "/bind", 422, to=to, fault=fault), browser)
    await parts.door.event("bound", "", "", person=person)
    return go_to(to)


@get("/me", include_in_schema=False, sync_to_thread=False)
def me_page(request: Asked) -> Response[str]:
    """One's own status, with its reason: for a bound browser alone."""
    return _me(request)


@post("/me/unbind", include_in_schema=False)
async def unbind(request: Asked) -> Response[Any]:
    """Unlink this browser; its token is spent, and it gets a new one."""
    check_origin(request)
    parts, browser = parts_of(request), browser_of(request)
    person = parts.bindings.unbind(browser.token, parts.clock.now_ms())
    if person is not None:
        await parts.door.event("unbound", "", "", person=person)
    answer = go_to("/me")
    answer.cookies.extend([cookie(request, BROWSER, parts.bindings.new_token()), cookie(request, TICKET, "")])
    return answer


@post("/me/travel", include_in_schema=False)
async def travel(request: Asked) -> Response[Any]:
    """A stay that was not scanned, told by the person themselves."""
    check_origin(request)
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    told = read_travel(await form_of(request), browser.person, parts.clock.now_ms(), parts.settings.zone_info)
    if told is None:
        return _me(request, fault=texts(language)["declare_fault"])
    await parts.door.publish([Parcel("declarations", told.person.encode(), _ENCODE(told))])
    return _me(request, said=texts(language)["declared"])


@post("/language", include_in_schema=False)
async def choose_language(request: Asked) -> Response[Any]:
    """The other language, from now on."""
    check_origin(request)
    form = await form_of(request)
    answer = go_to(form.get("back", "/me"))
    answer.cookies.append(cookie(request, LANGUAGE, language_of(form.get("lang"), "")))
    return answer


def children_of(person: str, count: int) -> list[str]:
    """Names for the children whom somebody brings, who have none of their own here: the same at every door."""
    key, _, name = person.rpartition(":")
    made = [sha256(f"{name} child {number}".encode()).hexdigest()[:32] for number in range(1, count + 1)]
    return [f"{key}-child:{each}" for each in made]


def _me(request: Asked, said: str = "", fault: str = "") -> Response[str]:
    parts, language, browser = parts_of(request), language_asked(request), browser_of(request)
    text, zone = texts(language), parts.settings.zone_info
    shown: dict[str, Any] = {}
    if browser.bound:
        standing = parts.copies.standing(browser.person)
        colour = standing.colour if standing is not None else "unknown"
        admitted = colour in ("green", "yellow")
        decision = Decision(
            "admit" if admitted else "refuse", "colour" if colour != "unknown" else "unknown", 0, colour
        )
        shown = {
            "colour": colour,
            "word": text[colour],
            "sign": SIGNS["admit" if admitted else "check"],
            "reason": "" if admitted else for_person(decision, language).sentence,
            "since": time_words(standing.since_ms, zone) if standing else "",
            "until": time_words(standing.until_ms, zone) if standing and standing.until_ms is not None else "",
            "rule": standing.rule if standing else "",
        }
    answer = page(
        "me.html", language, "/me", 422 if fault else 200, bound=browser.bound, standing=shown, said=said, fault=fault
    )
    return _kept(request, answer, browser)


def _venue(parts: Parts, language: Language, token: str, back: str) -> str | Response[str]:
    """The venue of a code, or the page that says what is wrong with it."""
    text = texts(language)
    try:
        code = parts.signing.venue(token, "code", parts.clock.monotonic(), parts.clock.now_ms())
    except Problem as problem:
        cause = problem.__cause__
        fault = cause.sentence(language) if isinstance(cause, BadCode) else problem.detail
        return message(language, back, text["welcome"], fault=fault, status=problem.status)
    return code.venue


def _held(request: Asked, parts: Parts, browser: Browser) -> Held | None:
    """The browser's ticket, with the guard's answer if it has come."""
    secret = parts.ticket_secret
    held = unseal(request.cookies.get(TICKET, ""), secret, browser.person, parts.clock.now_ms())
    if held is not None and held.waiting:
        ticket = parts.door.ticket(held.id)
        if ticket is not None and ticket.admitted is not None:
            return held_of(ticket, browser.bound)
    return held


def _kept(
    request: Asked,
    answer: Response[Any] | Redirect,
    browser: Browser,
    held: Held | None = None,
) -> Response[Any]:
    """An answer with the cookies that the browser is to keep."""
    cookies: list[Cookie] = []
    if browser.is_new:
        cookies.append(cookie(request, BROWSER, browser.token))
    if held is not None:
        cookies.append(cookie(request, TICKET, seal(held, parts_of(request).ticket_secret)))
    answer.cookies.extend(cookies)
    return answer


HANDLERS: Final = (
    venue_page, check_in, ticket_page, check_out, bind_page, bind, me_page, unbind, travel, choose_language,
)  # fmt: skip

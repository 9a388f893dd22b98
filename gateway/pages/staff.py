"""The staff's page: cards before the camera, typed ids, who waits for a check, counts by hand.

Staff are shown the decision and what to do. No answer of this module has a place for a colour or a health reason.
"""

from __future__ import annotations

import asyncio
import secrets
from io import BytesIO
from typing import Any, Final, TypeVar

import msgspec
import zxingcpp
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from PIL import Image, UnidentifiedImageError

from contacts.admission import Decision
from contacts.doortexts import Language, for_guard
from gateway.devices import Device, Scope
from gateway.pages.browsers import DEVICE, check_origin, cookie, device_of, language_asked
from gateway.pages.forms import form_of
from gateway.pages.shown import go_to, own_path, page
from gateway.pages.texts import texts
from gateway.pages.views import load_of, short_number, venue_of
from gateway.parts import Asked, Parts, parts_of
from gateway.problems import Fault, Problem
from gateway.tickets import Ask, Ticket
from schemas.bounds import UNDECODABLE

_PIXELS_MOST: Final = 2_000_000
_FORMATS: Final = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_COUNTED_MOST: Final = 10_000_000

T = TypeVar("T", bound=msgspec.Struct)


class Shown(msgspec.Struct, frozen=True):
    """What the guard sees of a ticket."""

    outcome: str
    word: str
    todo: str
    ticket: str | None = None


class CardBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code that the camera saw."""

    code: str
    kind: str = "in"


class TypedBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An id that was typed."""

    identity: str
    kind: str = "in"


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the guard found."""

    ticket: str
    admitted: bool


class CountBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many the guard counted; 0: everyone is out."""

    inside: int


@get("/staff/sign-in", include_in_schema=False, sync_to_thread=False)
def sign_in_page(request: Asked, back: FromQuery[str] = "/me") -> Response[Any]:
    """Where a device's key is typed, once."""
    return page("sign_in.html", language_asked(request), "/staff/sign-in", to=own_path(back), fault="")


@post("/staff/sign-in", include_in_schema=False)
async def sign_in(request: Asked) -> Response[Any]:
    """Keep the device's key in a cookie that no script reads. Wrong keys are few a minute from one address."""
    check_origin(request)
    parts, language = parts_of(request), language_asked(request)
    source = request.client.host if request.client else ""
    form = await form_of(request)
    to, key = own_path(form.get("back", "/me")), form.get("key", "").strip()
    device = parts.devices.find(key.encode())
    if device is None or device.revoked_ms is not None:
        parts.spend_typed(f"sign-in {source}")
        fault = texts(language)["device_bad"]
        return page("sign_in.html", language, "/staff/sign-in", 401, to=to, fault=fault)
    answer = go_to(to)
    answer.cookies.append(cookie(request, DEVICE, key, same_site="strict"))
    return answer


@get("/staff/{venue:str}", include_in_schema=False, sync_to_thread=False)
def staff_page(request: Asked, venue: FromPath[str]) -> Response[Any]:
    """The scanner."""
    parts, language = parts_of(request), language_asked(request)
    if device_of(request, "staff", venue) is None:
        return go_to(f"/staff/sign-in?back=/staff/{venue}")
    text = texts(language)
    return page(
        "staff.html",
        language,
        f"/staff/{venue}",
        venue=venue_of(parts, venue),
        load=load_of(parts, venue, language),
        words={name: text[name] for name in ("admit", "refuse", "recounted", "everyone_out_sure")},
    )


@get("/staff/{venue:str}/waiting", include_in_schema=False, sync_to_thread=False)
def waiting(request: Asked, venue: FromPath[str]) -> dict[str, Any]:
    """Who waits for a check, and how full the place is."""
    parts, language = parts_of(request), language_asked(request)
    _device(request, "staff", venue)
    return {
        "waiting": [
            {"ticket": ticket.ticket_id, "number": short_number(ticket.ticket_id)}
            for ticket in parts.door.waiting(venue)
        ],
        "load": load_of(parts, venue, language),
    }


@post("/staff/{venue:str}/frame", include_in_schema=False, status_code=200)
async def frame(request: Asked, venue: FromPath[str]) -> Response[bytes]:
    """A picture of the camera: the code in it, or nothing (204)."""
    check_origin(request)
    _device(request, "staff", venue)
    code = await asyncio.to_thread(read_code, await request.body())
    if code is None:
        return Response(b"", status_code=204)
    return Response(msgspec.json.encode({"code": code}), media_type="application/json")


@post("/staff/{venue:str}/card", include_in_schema=False, status_code=200)
async def card(request: Asked, venue: FromPath[str]) -> Shown:
    """Somebody with a card."""
    check_origin(request)
    parts, device = parts_of(request), _device(request, "staff", venue)
    body = _body(await request.body(), CardBody)
    return await _ask(request, parts, venue, device, parts.card_holder(body.code, "$.code"), body.kind, typed=False)


@post("/staff/{venue:str}/typed", include_in_schema=False, status_code=200)
async def typed(request: Asked, venue: FromPath[str]) -> Shown:
    """Somebody whose id was typed: few a minute, each audited."""
    check_origin(request)
    parts, device = parts_of(request), _device(request, "staff", venue)
    body = _body(await request.body(), TypedBody)
    person = parts.typed_holder(body.identity, "$.identity", device.device)
    return await _ask(request, parts, venue, device, person, body.kind, typed=True)


@post("/staff/{venue:str}/answer", include_in_schema=False, status_code=200)
async def answer(request: Asked, venue: FromPath[str]) -> Shown:
    """What the guard found at a check."""
    check_origin(request)
    parts, device = parts_of(request), _device(request, "staff", venue)
    body = _body(await request.body(), AnswerBody)
    asked = parts.door.ticket(body.ticket)
    if asked is not None and asked.venue != venue:
        raise Problem("other-venue")
    ticket = await parts.door.answer(body.ticket, body.admitted, device.device)
    return _shown(ticket, language_asked(request))


@post("/staff/{venue:str}/recount", include_in_schema=False, status_code=200)
async def recount(request: Asked, venue: FromPath[str]) -> dict[str, int]:
    """A count by hand."""
    check_origin(request)
    parts, device = parts_of(request), _device(request, "staff", venue)
    body = _body(await request.body(), CountBody)
    if not 0 <= body.inside <= _COUNTED_MOST:
        raise Problem("invalid", errors=(Fault("$.inside", "This is no count of people."),))
    await parts.door.recount(venue, body.inside, device.device)
    return {"inside": body.inside}


def read_code(picture: bytes) -> str | None:
    """The text of a QR code in a picture; None where there is none, or it is no picture."""
    try:
        with Image.open(BytesIO(picture), formats=("JPEG", "PNG")) as opened:
            if opened.width * opened.height > _PIXELS_MOST:
                return None
            found = zxingcpp.read_barcode(opened.convert("L"), formats=_FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return found.text if found is not None else None


def _device(request: Asked, scope: Scope, venue: str) -> Device:
    device = device_of(request, scope, venue)
    if device is None:
        raise Problem("unauthorized")
    return device


def _body(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNDECODABLE as error:
        raise Problem("invalid", str(error)) from error


async def _ask(
    request: Asked, parts: Parts, venue: str, device: Device, person: str, kind: str, *, typed: bool
) -> Shown:
    ticket = await parts.door.ask(
        Ask(
            venue=venue,
            person=person,
            kind="out" if kind == "out" else "in",
            scan_id=f"staff-{secrets.token_hex(12)}",
            typed=typed,
            device=device.device,
        )
    )
    return _shown(ticket, language_asked(request))


def _shown(ticket: Ticket, language: Language) -> Shown:
    decision = ticket.decision
    if decision is None:
        return Shown("admit", texts(language)["checked_out"], "")
    if ticket.admitted is not None:
        decision = Decision("admit", "welcome") if ticket.admitted else Decision("refuse", "staff")
    said = for_guard(decision, language)
    waits = decision.outcome == "check"
    return Shown(decision.outcome, said.title, said.sentence, ticket.ticket_id if waits else None)


HANDLERS: Final = (sign_in_page, sign_in, staff_page, waiting, frame, card, typed, answer, recount)

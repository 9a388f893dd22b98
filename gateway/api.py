"""The API of doors: scans, answers of guards, recounts, cards, and what people declare."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import MediaType, Response, post
from litestar.params import JSONBody

from contacts.registry import is_name
from gateway.edge import Hot
from gateway.parts import Asked, caller_of, needs, parts_of
from gateway.problems import Fault, Problem
from gateway.scans import guard_answer, made_id, scans_answer
from gateway.spool import Parcel
from gateway.tickets import Ask
from gateway.wire import (
    AnswerReply,
    AnswerRequest,
    BulkReply,
    CardRequest,
    DeclarationReply,
    DeclarationRequest,
    GuardAnswer,
    PastScan,
    RecountReply,
    RecountRequest,
    ScanRequest,
)
from schemas.health import Declaration

_OUTSIDE: Final = "Give one of `{}` and `{}`."


@post(
    "/v1/scans",
    status_code=200,
    guards=[needs("scan")],
    tags=["door"],
    summary="Check in, check out, or send many scans",
)
async def scans(
    request: Asked,
    data: JSONBody[ScanRequest | tuple[PastScan, ...]],  # noqa: ARG001 # described here, decoded below
) -> Response[GuardAnswer | BulkReply]:
    """An object is a person at a door, alone or with children: it is decided, and what comes of it is written down
    before the answer is given. An `in` is published only of those who go in.

    A list is scans that happened: they are written down and not decided.
    """
    answer: Hot = scans_answer(parts_of(request))
    body: Any = await answer(caller_of(request), await request.body())
    return Response(body, media_type=MediaType.JSON)


@post("/v1/answers", status_code=200, guards=[needs("staff")], tags=["door"], summary="Answer a check")
async def answers(request: Asked, data: JSONBody[AnswerRequest]) -> AnswerReply:
    """Staff looked at somebody whose ticket says `check`, and let them in or not. The same answer again is the same."""
    parts, device = parts_of(request), caller_of(request).device
    asked = parts.door.ticket(data.ticket)
    if asked is not None and not device.serves(asked.venue):
        raise Problem("other-venue")
    ticket = await parts.door.answer(data.ticket, data.admitted, device.device)
    return AnswerReply(ticket=ticket.ticket_id, admitted=data.admitted)


@post("/v1/recounts", status_code=200, guards=[needs("staff")], tags=["door"], summary="Tell how many are inside")
async def recounts(request: Asked, data: JSONBody[RecountRequest]) -> RecountReply:
    """A guard has counted, or everyone is out. It changes the count from now on, and no visit; it is audited."""
    if (data.inside is None) != data.everyone_out:
        raise Problem("invalid", errors=(Fault("$", _OUTSIDE.format("inside", "everyone_out")),))
    parts, device = parts_of(request), caller_of(request).device
    if not device.serves(data.venue):
        raise Problem("other-venue")
    inside, now_ms = data.inside or 0, parts.clock.now_ms()
    recount_id = await parts.door.recount(data.venue, inside, device.device, at_ms=now_ms)
    return RecountReply(recount_id=recount_id, venue=data.venue, inside=inside, at_ms=now_ms)


@post("/v1/cards", status_code=200, guards=[needs("staff")], tags=["door"], summary="Check in somebody without a phone")
async def cards(request: Asked, data: JSONBody[CardRequest]) -> GuardAnswer:
    """A card's code, or an id typed by staff: a pseudonym, or where this gateway has the key that makes them, an
    identity number. Typed ids are few a minute, and each is audited."""
    parts, caller = parts_of(request), caller_of(request)
    if (data.token is None) == (data.typed_id is None):
        raise Problem("invalid", errors=(Fault("$", _OUTSIDE.format("token", "typed_id")),))
    if not caller.device.serves(data.venue):
        raise Problem("other-venue")
    if data.token is not None:
        person = parts.card_holder(data.token, "$.token")
    else:
        assert data.typed_id is not None
        person = parts.typed_holder(data.typed_id, "$.typed_id", caller.device.device)
    ticket = await parts.door.ask(
        Ask(
            venue=data.venue,
            person=person,
            kind=data.kind,
            scan_id=made_id(caller),
            typed=data.typed_id is not None,
            device=caller.device.device,
        )
    )
    return guard_answer(ticket)


@post(
    "/v1/declarations",
    status_code=200,
    guards=[needs("declare")],
    tags=["door"],
    summary="Tell where a person says that they were",
)
async def declarations(request: Asked, data: JSONBody[DeclarationRequest]) -> DeclarationReply:
    """At a registered venue it becomes a visit with the reason `self_reported`; elsewhere it is kept for the officer,
    and counts in the rules (arrived from abroad). The same `declaration_id` again takes its place."""
    parts, caller = parts_of(request), caller_of(request)
    now_ms = parts.clock.now_ms()
    for fault in _faults(data, now_ms + parts.limits.clock_tolerance_seconds * 1000):
        raise Problem("invalid", f"{fault.path}: {fault.detail}", errors=(fault,))
    told = Declaration(
        person=data.person,
        declaration_id=data.declaration_id or made_id(caller),
        start_ms=data.start_ms,
        end_ms=data.end_ms,
        told_at_ms=now_ms,
        venue=data.venue or "",
        place=data.place,
        country=data.country,
        withdrawn=data.withdrawn,
    )
    await parts.door.publish([Parcel("declarations", told.person.encode(), msgspec.json.encode(told))])
    await parts.door.event("declared", told.venue, caller.device.device, person=told.person)
    return DeclarationReply(declaration_id=told.declaration_id)


def _faults(data: DeclarationRequest, latest_ms: int) -> list[Fault]:
    faults = []
    if not is_name(data.person):
        faults.append(Fault("$.person", "Not a name: a control character."))
    if data.venue is not None and not is_name(data.venue):
        faults.append(Fault("$.venue", "Not a name: a control character."))
    if data.end_ms <= data.start_ms:
        faults.append(Fault("$.end_ms", "A stay ends after it begins."))
    if data.end_ms > latest_ms:
        faults.append(Fault("$.end_ms", "A stay that is declared is over."))
    if (data.venue is None) == (not data.place):
        faults.append(Fault("$", _OUTSIDE.format("venue", "place")))
    return faults


HANDLERS = (scans, answers, recounts, cards, declarations)

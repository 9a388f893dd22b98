"""POST /v1/scans, the hot route: a body to its answer, without a framework in between."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Final

import msgspec

from contacts.admission import Decision, Outcome, Reason
from contacts.doortexts import LANGUAGES, Language, for_guard
from gateway.edge import Caller, Hot
from gateway.parts import Parts
from gateway.problems import EMPTY, Fault, Problem, fault_of
from gateway.spool import SpoolError
from gateway.tickets import Ask, Companion, DoorError, Ticket
from gateway.wire import BulkReply, Child, GuardAnswer, PastScan, ScanRequest
from schemas.bounds import UNDECODABLE
from schemas.messages import Scan

_DECODE: Final = msgspec.json.Decoder(ScanRequest | tuple[PastScan, ...]).decode
_ENCODE: Final = msgspec.json.Encoder().encode
_ID_BYTES: Final = 12
_FAULTS_MOST: Final = 100


@cache
def _todo(outcome: Outcome, reason: Reason) -> dict[Language, str]:
    """What the guard does about a decision, by language: of the reason only what anybody may know of anybody."""
    decision = Decision(outcome, reason)
    return {language: for_guard(decision, language).sentence for language in LANGUAGES}


def guard_answer(ticket: Ticket) -> GuardAnswer:
    """What a device is shown of a ticket: no colour, no health reason, no rule."""
    decision = ticket.decision
    return GuardAnswer(
        ticket=ticket.ticket_id,
        outcome="out" if decision is None else decision.outcome,
        todo={} if decision is None else _todo(decision.outcome, decision.reason),
        scan_ids=ticket.scan_ids if ticket.until_ms is None else (),
        answer_by_ms=ticket.until_ms,
        inside=ticket.inside,
        allowed=ticket.allowed,
        statuses_age_ms=ticket.statuses_age_ms,
        counts_age_ms=ticket.counts_age_ms,
    )


def made_id(caller: Caller) -> str:
    """An id of what a request makes: the same for its repetitions, so that a repetition is no second scan."""
    return blake2b(caller.device.device.encode() + b"\0" + caller.key, digest_size=_ID_BYTES).hexdigest()


def core_problem(error: DoorError | SpoolError) -> Problem:
    """What the door or the spool refuses, as a problem. Where nothing can be made durable, nothing was taken."""
    if isinstance(error, SpoolError):
        return Problem("unavailable", str(error), headers={"Retry-After": "5"})
    match error.code:
        case "no_ticket":
            return Problem("unknown-ticket", str(error))
        case "answered" | "expired":
            return Problem("conflict", str(error))
    return Problem("invalid", str(error), errors=(Fault("$", str(error)),))


def scans_answer(parts: Parts) -> Hot:
    """The function that answers POST /v1/scans."""

    async def answer(caller: Caller, body: bytes) -> bytes:
        if not body:
            raise Problem("malformed", EMPTY)
        try:
            asked = _DECODE(body)
        except UNDECODABLE as error:
            raise fault_of(error) from error
        try:
            if isinstance(asked, ScanRequest):
                return _ENCODE(await ask(parts, caller, asked))
            return _ENCODE(await _take(parts, caller, asked))
        except (DoorError, SpoolError) as error:
            raise core_problem(error) from error

    return answer


async def ask(parts: Parts, caller: Caller, asked: ScanRequest) -> GuardAnswer:
    """One person, or one with children, at a door."""
    venue = venue_asked(parts, asked.venue, asked.code)
    if not caller.device.serves(venue):
        raise Problem("other-venue")
    ticket = await parts.door.ask(
        Ask(
            venue=venue,
            person=asked.person,
            kind=asked.kind,
            party=tuple(map(_companion, asked.children)) if asked.children else (),
            age_band=asked.age_band,
            at_ms=asked.at_ms,
            scan_id=asked.scan_id or made_id(caller),
            device=caller.device.device,
        )
    )
    return guard_answer(ticket)


def _companion(child: Child) -> Companion:
    return Companion(child.person, child.age_band)


def venue_asked(parts: Parts, venue: str | None, code: str | None) -> str:
    """The venue named, or that of the code scanned. Raises Problem unless there is exactly one of them."""
    if (venue is None) == (code is None):
        raise Problem("invalid", errors=(Fault("$", "Give one of `venue` and `code`."),))
    if code is not None:
        return parts.signing.venue(code, "$.code", parts.clock.monotonic(), parts.clock.now_ms()).venue
    assert venue is not None
    return venue


async def _take(parts: Parts, caller: Caller, asked: tuple[PastScan, ...]) -> BulkReply:
    """Many scans that happened: written down, not decided."""
    most = parts.limits.bulk_max_scans
    if len(asked) > most:
        raise Problem("too-large", f"At most {most} scans are taken at once.")
    if len(asked) > 1:
        caller.spend(len(asked) - 1)
    device = caller.device
    if device.venues:
        for number, scan in enumerate(asked):
            if not device.serves(scan.venue):
                raise Problem("other-venue", errors=(Fault(f"$[{number}].venue", "Not a venue of this device."),))
    made = made_id(caller)
    scans = [
        Scan(
            person=scan.person,
            venue=scan.venue,
            kind=scan.kind,
            at_ms=scan.at_ms,
            scan_id=scan.scan_id or f"{made}.{number}",
            gateway=parts.settings.name,
        )
        for number, scan in enumerate(asked)
    ]
    done = await parts.door.bulk(scans)
    faults = tuple(Fault(f"$[{number}]", why) for number, why in done.rejected[:_FAULTS_MOST])
    return BulkReply(accepted=done.accepted, rejected=len(done.rejected), errors=faults)

"""The API of venues: the registry, posters, and how full they are, once or as a stream."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody, Parameter
from litestar.response import ServerSentEvent

from contacts.registry import RegistryError, is_name
from gateway.codes import sign_static
from gateway.files import FileError
from gateway.live import counts
from gateway.parts import Asked, Parts, caller_of, needs, parts_of
from gateway.poster import LetteringError, Poster, poster
from gateway.problems import Fault, Problem
from gateway.spool import Parcel
from gateway.venue_files import read_venue_body
from gateway.wire import ImportFault, ImportReply, OccupancyReply, VenueList, VenueRequest, occupancy_reply
from schemas.keys import venue_key
from schemas.messages import Venue

_VenueId = Annotated[str, Parameter(description="The venue's id.", max_length=200)]


@get("/v1/venues", tags=["venues"], sync_to_thread=False, summary="List the venues")
def list_venues(
    request: Asked,
    after: Annotated[str, Parameter(description="List those behind this id.", max_length=200)] = "",
    limit: Annotated[int, Parameter(description="How many at most.", ge=1, le=1000)] = 100,
) -> VenueList:
    """The venues as they are now, by id."""
    parts = parts_of(request)
    names = parts.listing.names(parts.clock.monotonic())
    first = bisect_right(names, after)
    listed = names[first : first + limit]
    found = tuple(venue for name in listed if (venue := parts.copies.venue(name)) is not None)
    return VenueList(venues=found, next_after=listed[-1] if first + limit < len(names) else None)


@get("/v1/venues/{venue:str}", tags=["venues"], sync_to_thread=False, summary="Show a venue")
def show_venue(request: Asked, venue: _VenueId) -> Venue:
    """The venue as it is now."""
    return _known(parts_of(request), venue)


@post("/v1/venues", status_code=200, guards=[needs("venue")], tags=["venues"], summary="Register a venue")
async def register(request: Asked, data: JSONBody[VenueRequest]) -> Venue:
    """A record of a venue from `valid_from_ms` on. It is in force when it has been through the brokers."""
    parts, device = parts_of(request), caller_of(request).device
    record = Venue(**msgspec.structs.asdict(data))
    if not device.serves(record.venue):
        raise Problem("other-venue")
    for path, name in (("$.venue", record.venue), ("$.within", record.within)):
        if name is not None and not is_name(name):
            raise Problem("invalid", errors=(Fault(path, "Not a name: a control character."),))
    try:
        parts.copies.registry.check(record)
    except RegistryError as error:
        raise Problem("conflict", f"{error}.") from error
    await _publish(parts, [record])
    return record


@post("/v1/venues/import", status_code=200, guards=[needs("venue")], tags=["venues"], summary="Import venues as CSV")
async def import_venues(request: Asked) -> ImportReply:
    """A CSV file in UTF-8 as the body (columns as in docs/publishing.md; only `venue` is required). Lines that cannot
    be taken are told, the others are registered."""
    parts, device = parts_of(request), caller_of(request).device
    body = await request.body()
    try:
        file = await asyncio.to_thread(read_venue_body, body, parts.copies.registry, device.serves)
    except FileError as error:
        raise Problem("invalid", str(error), errors=(Fault("$", str(error)),)) from error
    if file.taken:
        await _publish(parts, file.taken)
    faults = tuple(ImportFault(line=bad.number, detail=bad.reason) for bad in file.bad)
    return ImportReply(taken=len(file.taken), known=file.known, rejected=file.rejected, faults=faults)


async def _publish(parts: Parts, records: list[Venue]) -> None:
    await parts.door.publish(
        [
            Parcel("venues", venue_key(record.venue, record.valid_from_ms), msgspec.json.encode(record))
            for record in records
        ]
    )


@get(
    "/v1/venues/{venue:str}/poster.svg",
    guards=[needs("venue")],
    tags=["venues"],
    media_type="image/svg+xml",
    sync_to_thread=False,
    summary="The poster as SVG",
)
def poster_svg(request: Asked, venue: _VenueId) -> Response[bytes]:
    """A4, in Indonesian and English, with the venue's static code."""
    return Response(_poster(request, venue).svg().encode(), media_type="image/svg+xml")


@get(
    "/v1/venues/{venue:str}/poster.pdf",
    guards=[needs("venue")],
    tags=["venues"],
    media_type="application/pdf",
    sync_to_thread=True,
    summary="The poster as PDF",
)
def poster_pdf(request: Asked, venue: _VenueId) -> Response[bytes]:
    """The same as PDF."""
    try:
        return Response(_poster(request, venue).pdf(), media_type="application/pdf")
    except LetteringError as error:
        raise Problem("conflict", f"{error} Take the SVG.") from error


def _poster(request: Asked, venue: str) -> Poster:
    parts = parts_of(request)
    if not caller_of(request).device.serves(venue):
        raise Problem("other-venue")
    record = _known(parts, venue)
    token = sign_static(parts.signing.ring(parts.clock.monotonic()), venue)
    return poster(record, token, parts.settings.http.address)


def _known(parts: Parts, venue: str) -> Venue:
    record = parts.copies.venue(venue)
    if record is None:
        raise Problem("unknown-venue")
    return record


@get("/v1/venues/{venue:str}/occupancy", tags=["venues"], sync_to_thread=False, summary="How full is it?")
def occupancy(request: Asked, venue: _VenueId) -> OccupancyReply:
    """The last count, with this gateway's own scans since."""
    parts = parts_of(request)
    if not caller_of(request).device.serves(venue):
        raise Problem("other-venue")
    return occupancy_reply(parts.copies.count(venue))


@get(
    "/v1/venues/{venue:str}/occupancy/stream",
    tags=["venues"],
    media_type="text/event-stream",
    summary="How full is it, live",
)
async def occupancy_stream(request: Asked, venue: _VenueId) -> ServerSentEvent:
    """Server-sent events: `count` with the body of /occupancy, at once and whenever it changes; a comment at least
    every 10 s, so that both ends know that the other is there. It ends when the device's key does."""
    parts, caller = parts_of(request), caller_of(request)
    if not caller.device.serves(venue):
        raise Problem("other-venue")
    return ServerSentEvent(
        counts(parts, venue, lambda: parts.devices.stands(caller.device)),
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


HANDLERS = (
    list_venues,
    show_venue,
    register,
    import_venues,
    poster_svg,
    poster_pdf,
    occupancy,
    occupancy_stream,
)

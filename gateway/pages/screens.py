"""The door screen: how full the place is, to be read from metres, and the code of the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import segno
from litestar import Response, get
from litestar.params import FromPath
from litestar.response import ServerSentEvent, ServerSentEventMessage

from gateway.codes import next_step_ms, sign_rotating, venue_text
from gateway.live import counts
from gateway.pages.browsers import device_of, language_asked
from gateway.pages.shown import go_to, page
from gateway.pages.texts import Language, texts
from gateway.pages.views import load_of, venue_of
from gateway.parts import Asked, Parts, parts_of
from gateway.problems import Problem

_QUIET_MODULES: Final = 2


def code_svg(parts: Parts, venue: str) -> str:
    """The rotating code of a venue, as SVG."""
    ring = parts.signing.ring(parts.clock.monotonic())
    token = sign_rotating(ring, venue, parts.clock.now_ms(), parts.settings.codes.step_seconds)
    made = segno.make(venue_text(parts.address, token), error="m", micro=False)
    return made.svg_inline(border=_QUIET_MODULES, omitsize=True)


@get("/screen/{venue:str}", include_in_schema=False, sync_to_thread=False)
def screen_page(request: Asked, venue: FromPath[str]) -> Response[Any]:
    """The screen, for a device that signed in with the scope `venue`."""
    parts, language = parts_of(request), language_asked(request)
    if device_of(request, "venue", venue) is None:
        return go_to(f"/staff/sign-in?back=/screen/{venue}")
    return page(
        "screen.html",
        language,
        f"/screen/{venue}",
        venue=venue_of(parts, venue),
        load=load_of(parts, venue, language),
        words={"old": texts(language)["old"]},
        code=code_svg(parts, venue),
    )


@get("/screen/{venue:str}/events", include_in_schema=False)
async def screen_events(request: Asked, venue: FromPath[str]) -> ServerSentEvent:
    """The count whenever it changes, and the code whenever it does."""
    parts, language = parts_of(request), language_asked(request)
    if device_of(request, "venue", venue) is None:
        raise Problem("unauthorized")
    return ServerSentEvent(_events(request, parts, venue, language))


async def _events(
    request: Asked, parts: Parts, venue: str, language: Language
) -> AsyncIterator[ServerSentEventMessage]:
    def stands() -> bool:
        return device_of(request, "venue", venue) is not None

    renewed_ms = 0
    async for event in counts(parts, venue, stands):
        if parts.clock.now_ms() >= renewed_ms:
            renewed_ms = next_step_ms(parts.clock.now_ms(), parts.settings.codes.step_seconds)
            body = msgspec.json.encode({"svg": code_svg(parts, venue)}).decode()
            yield ServerSentEventMessage(data=body, event="code")
        if event.event == "count":
            body = msgspec.json.encode(load_of(parts, venue, language)).decode()
            yield ServerSentEventMessage(data=body, event="load")
        else:
            yield event


HANDLERS: Final = (screen_page, screen_events)

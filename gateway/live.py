"""Live counts for screens: a stream of server-sent events a venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from litestar.response import ServerSentEventMessage

from gateway.metrics import STREAMS
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.wire import occupancy_reply

_LOOK_SECONDS: Final = 1.0
_BEAT_LOOKS: Final = 10


def counts(
    parts: Parts, venue: str, stands: Callable[[], bool] = lambda: True
) -> AsyncIterator[ServerSentEventMessage]:
    """The venue's count now and at every change, and a comment at least every 10 s, while `stands` says so.

    Raises Problem, before anything is sent, when there are too many streams.
    """
    if parts.streams_open >= parts.limits.streams_max:
        raise Problem("unavailable", "Too many streams are open.", headers={"Retry-After": "10"})
    return _counts(parts, venue, stands)


async def _counts(parts: Parts, venue: str, stands: Callable[[], bool]) -> AsyncIterator[ServerSentEventMessage]:
    changed = asyncio.Event()

    def told(changed_venue: str) -> None:
        if changed_venue == venue:
            changed.set()

    parts.streams_open += 1
    STREAMS.inc()
    end = parts.copies.on_count(told)
    try:
        sent, quiet = b"", 0
        while stands() and not parts.closing.is_set():
            changed.clear()
            # The age moves by itself: only what it is about makes an event.
            reply = occupancy_reply(parts.copies.count(venue))
            body = msgspec.json.encode(msgspec.structs.replace(reply, age_ms=None))
            if body != sent:
                sent, quiet = body, 0
                yield ServerSentEventMessage(data=msgspec.json.encode(reply).decode(), event="count")
            elif quiet >= _BEAT_LOOKS:
                quiet = 0
                yield ServerSentEventMessage(comment="still here")
            quiet += 1
            try:
                await asyncio.wait_for(changed.wait(), _LOOK_SECONDS)
            except TimeoutError:
                pass
    finally:
        end()
        STREAMS.dec()
        parts.streams_open -= 1

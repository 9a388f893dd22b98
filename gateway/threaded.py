"""A gateway on a thread of its own, for who wants one for the length of a `with` block: the demo, and tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import uvloop

from gateway.app import make_app
from gateway.edge import Clock
from gateway.parts import Parts
from gateway.running import running_parts
from gateway.serve import Server, make_server
from gateway.settings import GatewaySettings

T = TypeVar("T")
_START_SECONDS = 30
_CALL_SECONDS = 20


class Threaded:
    """A gateway that answers at `url`."""

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop, server: Server, url: str) -> None:
        self.parts, self.loop, self.url = parts, loop, url
        self._server = server

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the gateway's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_CALL_SECONDS)

    def end(self) -> None:
        """Let it answer what has begun, and end."""
        self._server.should_exit = True


@contextmanager
def threaded_gateway(settings: GatewaySettings, clock: Clock, *, hot: bool = True) -> Iterator[Threaded]:
    """A running gateway. Raises as gateway.running.run_gateway."""
    ready = threading.Event()
    made: list[Threaded] = []
    failed: list[BaseException] = []

    async def live() -> None:
        async with running_parts(settings, clock) as parts:

            def started(sockets: Sequence[socket.socket]) -> None:
                host, port = sockets[0].getsockname()[:2]
                scheme = "https" if settings.http.tls_certificate else "http"
                made.append(Threaded(parts, asyncio.get_running_loop(), server, f"{scheme}://{host}:{port}"))
                ready.set()

            limits = settings.limits
            app = make_app(parts, hot=hot)
            server = make_server(app, settings.http, limits.head_max_bytes, started=started, closing=parts.closing.set)
            await server.serve()

    def work() -> None:
        try:
            uvloop.run(live())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="gateway", daemon=True)
    thread.start()
    if not ready.wait(_START_SECONDS) or not made:
        raise failed[0] if failed else TimeoutError("the gateway does not start")
    try:
        yield made[0]
    finally:
        made[0].end()
        thread.join(_START_SECONDS)

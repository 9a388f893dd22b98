"""A TCP (or Unix socket) proxy between clients and one server, which can be slow, narrow, stalled, half-open or cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.chaos.schedule import Way

_PIECE: Final = 64 * 1024
_LAST_SECONDS: Final = 0.01  # the loop closes sockets a round after they were aborted

Address = tuple[str, int] | Path
"""Where to listen or connect: host and port, or the path of a Unix socket."""


class _Link:
    """One client's connection and, once it is there, ours to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.dead = False  # what is sent vanishes
        self.serving: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Hang up without a word."""
        for writer in self.writers:
            with contextlib.suppress(OSError):
                one = writer.get_extra_info("socket")
                if one is not None and one.family != socket.AF_UNIX:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()


class Proxy:
    """One server behind a proxy. Used from the loop of `Network`."""

    def __init__(self, listen: Address, server: Address) -> None:
        self._listen, self._server = listen, server
        self._way: Way = ""
        self._amount = 0.0
        self._links: set[_Link] = set()
        self._listening: asyncio.Server | None = None
        self._closed = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def open(self) -> None:
        """Listen."""
        if isinstance(self._listen, Path):
            self._listen.unlink(missing_ok=True)
            self._listening = await asyncio.start_unix_server(self._accept, self._listen)
        else:
            self._listening = await asyncio.start_server(self._accept, *self._listen)

    async def behave(self, way: Way, amount: float) -> None:
        """Be slow, narrow, stalled, half-open or cut from now on; an empty way: pass everything."""
        if self._way == "half_open":
            for link in [link for link in self._links if link.dead]:
                link.reset()
        self._way, self._amount = way, amount
        (self._flowing.clear if way == "stalled" else self._flowing.set)()
        if way == "cut":
            for link in list(self._links):
                link.reset()
        if way == "half_open":
            for link in self._links:
                link.dead = True

    async def close(self) -> None:
        """Hang up on everybody."""
        self._closed = True
        if self._listening is not None:
            self._listening.close()
        for link in list(self._links):
            link.reset()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Know the connection before a task serves it: one that is cancelled before it begins closes nothing."""
        if self._closed:  # it was accepted before
            writer.transport.abort()
            return
        link = _Link(writer)
        self._links.add(link)
        link.serving = asyncio.get_running_loop().create_task(self._serve(link, reader, writer))

    async def _serve(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._way == "cut":
                return
            if isinstance(self._server, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._server)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self._server)
            link.writers.append(far_writer)
            link.dead = self._way == "half_open"
            await asyncio.gather(self._pass(link, reader, far_writer), self._pass(link, far_reader, writer))
        except OSError:  # the server is away: as if it had refused
            pass
        finally:
            self._links.discard(link)
            link.reset()

    async def _pass(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction; an end at one side is an end of both."""
        try:
            while piece := await reader.read(_PIECE):
                await self._flowing.wait()
                if link.dead:
                    continue
                if self._way == "slow":
                    await asyncio.sleep(self._amount / 1000)
                elif self._way == "narrow":
                    await asyncio.sleep(len(piece) / self._amount)
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        if not link.dead:
            link.reset()


class Network:
    """The proxies of all servers, on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._proxies: dict[str, list[Proxy]] = {}
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    def add(self, name: str, listen: Address, server: Address) -> None:
        """Put a server behind a proxy; several may have one name."""
        proxy = Proxy(listen, server)
        self._do(proxy.open)
        self._proxies.setdefault(name, []).append(proxy)

    def behave(self, name: str, way: Way = "", amount: float = 0.0) -> None:
        """How the connections to `name` behave from now on."""
        for proxy in self._proxies[name]:
            self._do(partial(proxy.behave, way, amount))

    def heal(self) -> None:
        """Pass everything."""
        for name in self._proxies:
            self.behave(name)

    def close(self) -> None:
        """End all of it."""
        for proxies in self._proxies.values():
            for proxy in proxies:
                self._do(proxy.close)
        self._do(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    async def _end(self) -> None:
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(_LAST_SECONDS)

    def _do(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(make(), self._loop).result(10.0)

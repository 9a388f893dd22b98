"""HTTP/1.1 as uvicorn speaks it, with a bound on a request's head, and a short way for hot requests.

httptools itself takes a head of any length. And of the 80 us that uvicorn spends on a small request, 55 go into what
ASGI asks for: a scope, a cycle with its event, a message for each step. A hot request (`Edge.hot_paths`) needs none of
that: its head goes to the edge, its body to one function, its answer to the socket in one piece. Whatever is unusual
about a request (another version, a query, `Expect`, a request before it unanswered) takes uvicorn's own way.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edge import Caller, Edge
from gateway.limits import Answer
from gateway.problems import MEDIA_TYPE, Problem

_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}


class HeadTooLong(Exception):
    """More came before the end of a request's head than is taken."""


class _HotCycle:
    """A hot request, where uvicorn has its cycle: it asks these of it when the connection is lost or shut down, and
    queues what is pipelined behind it."""

    __slots__ = ("began", "body", "caller", "disconnected", "keep_alive", "path", "response_complete", "size")

    def __init__(self, path: str, began: float) -> None:
        self.path, self.began = path, began
        self.caller: Caller | None = None
        self.body: list[bytes] = []
        self.size = 0
        self.disconnected = False
        self.response_complete = False
        self.keep_alive = True

    @property
    def message_event(self) -> _HotCycle:
        return self

    def set(self) -> None:
        """Nobody waits for a message."""


def bounded_protocol(head_max_bytes: int, edge: Edge) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which refuses a head longer than so many bytes (431), says what is no HTTP as a problem, and
    answers hot requests by the short way.

    A head that came whole is measured by its names and values; of one that has not ended, what was received counts.
    """
    hot_paths = edge.hot_paths

    class Bounded(HttpToolsProtocol):
        _measured = 0
        _received = 0
        _in_head = True
        _ended_one = False
        _too_long = False

        def data_received(self, data: bytes) -> None:
            self._ended_one = False
            super().data_received(data)
            if self._in_head and not self._ended_one:  # all of it belongs to a head that goes on
                self._received += len(data)
                if self._received > 2 * head_max_bytes and not self.transport.is_closing():
                    self._too_long = True
                    self.send_400_response("")

        def on_message_begin(self) -> None:
            self._in_head, self._measured = True, 0
            self.url = b""
            self.headers = []
            self.expect_100_continue = False

        def on_url(self, url: bytes) -> None:
            self._measure(len(url))
            self.url += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self._measure(len(name) + len(value))
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

        def on_headers_complete(self) -> None:
            self._in_head, self._received, self._ended_one = False, 0, True
            if self.url in hot_paths and self._is_plain():
                self._begin_hot(self.url.decode())
                return
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()  # makes the scope, which a hot request does without
            self.url, self.expect_100_continue = url, expects
            self.headers.extend(headers)
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            cycle: Any = self.cycle
            if type(cycle) is not _HotCycle:
                super().on_body(body)
            elif not cycle.response_complete:
                cycle.body.append(body)
                cycle.size += len(body)
                if cycle.size > edge.largest(cycle.path):
                    cycle.keep_alive = False
                    self._finish(cycle, edge.refused(edge.too_large(cycle.path), cycle.path, cycle.began))

        def on_message_complete(self) -> None:
            cycle: Any = self.cycle
            if type(cycle) is not _HotCycle:
                super().on_message_complete()
            elif not cycle.response_complete:
                task = self.loop.create_task(self._answer(cycle))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
            self._in_head, self._ended_one = True, True

        def send_400_response(self, msg: str) -> None:
            problem = (
                Problem("headers-too-large", f"A head has at most {head_max_bytes} bytes.")
                if self._too_long
                else Problem("malformed", f"This is not HTTP/1.1: {msg}")
            )
            self.transport.write(_closing(problem))
            self.transport.close()

        def _measure(self, size: int) -> None:
            self._measured += size
            if self._measured > head_max_bytes:
                self._too_long = True
                raise HeadTooLong  # httptools ends the parsing, and the caller above sends the refusal

        def _is_plain(self) -> bool:
            """Whether nothing about the request asks for more than the short way has."""
            parser = self.parser
            return (
                (self.cycle is None or self.cycle.response_complete)
                and not self.pipeline
                and not self.expect_100_continue
                and parser.get_method() == b"POST"
                and parser.get_http_version() == "1.1"
                and parser.should_keep_alive()
                and not parser.should_upgrade()
                and (self.limit_concurrency is None or len(self.connections) < self.limit_concurrency)
            )

        def _begin_hot(self, path: str) -> None:
            cycle = _HotCycle(path, edge.now())
            self.cycle = cycle  # type: ignore[assignment]
            try:
                cycle.caller = edge.enter(path, self.headers)
            except Problem as problem:
                cycle.keep_alive = "Connection" not in problem.headers
                self._finish(cycle, edge.refused(problem, path, cycle.began))

        async def _answer(self, cycle: _HotCycle) -> None:
            body = cycle.body[0] if len(cycle.body) == 1 else b"".join(cycle.body)
            assert cycle.caller is not None
            answer = await edge.answer(cycle.caller, cycle.path, body, cycle.began)
            if self.flow.write_paused:
                await self.flow.drain()
            self._finish(cycle, answer)

        def _finish(self, cycle: _HotCycle, answer: Answer) -> None:
            cycle.response_complete = True
            if cycle.disconnected or self.transport.is_closing():
                return
            self.transport.write(_whole(answer, self.server_state.default_headers, cycle.keep_alive))
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()

    return Bounded


def _whole(answer: Answer, more: list[tuple[bytes, bytes]], keep_alive: bool) -> bytes:
    """An answer as it goes over the wire."""
    lines = [_LINES[answer.status]]
    for name, value in (*more, *answer.headers):
        if name != b"connection":
            lines += (name, b": ", value, b"\r\n")
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    lines += (b"content-length: %d\r\n\r\n" % len(answer.body), answer.body)
    return b"".join(lines)


def _closing(problem: Problem) -> bytes:
    body = problem.body()
    answer = Answer(problem.status, ((b"content-type", MEDIA_TYPE.encode()),), body)
    return _whole(answer, [], keep_alive=False)

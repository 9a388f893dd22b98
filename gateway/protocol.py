"""The HTTP/1.1 parser of uvicorn with a bound on a request's head, which httptools does not have by itself."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.problems import MEDIA_TYPE, Problem


class HeadTooLong(Exception):
    """More came before the end of a request's head than is taken."""


def bounded_protocol(head_max_bytes: int) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which refuses a head longer than so many bytes (431), and says what is no HTTP as a problem.

    A head that came whole is measured by its names and values; of one that has not ended, what was received counts.
    """

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
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._measure(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._measure(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._in_head, self._received, self._ended_one = False, 0, True
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
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

    return Bounded


def _closing(problem: Problem) -> bytes:
    body = problem.body()
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body

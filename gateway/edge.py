"""Who may call, how much, when, and once: raw ASGI in front of Litestar.

Every request below /v1/ passes here in this order: the device's key, its rate, and where it changes something its
clock, its Idempotency-Key, the size of its body, and the answers given before. What is left goes to a hot function
(`POST /v1/scans`, which would spend half of its time in the framework) or to Litestar, where the route's guard asks for
the scope. Everything else is public and goes to Litestar with a bound on its size.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple, Protocol

from gateway.devices import Device, Devices
from gateway.devices import Scope as DeviceScope
from gateway.limits import Answer, Answers, Bucket, Limits, check_key, check_time
from gateway.metrics import Metrics
from gateway.problems import MEDIA_TYPE, Problem

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

_LOG: Final = logging.getLogger("lacak.gateway")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_PROBLEM: Final = ((b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store"))
_REFUSED: Final = 400
_REPLAYED: Final = (b"idempotency-replayed", b"true")


class Clock(Protocol):
    """Where the gateway's time comes from."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class Caller:
    """An authenticated request: its device, its Idempotency-Key (empty where it changes nothing), and `spend`, which
    takes more of the device's rate."""

    __slots__ = ("_edge", "device", "key")

    def __init__(self, edge: Edge, device: Device, key: bytes) -> None:
        self._edge, self.device, self.key = edge, device, key

    def spend(self, count: int) -> None:
        """Take so many scans of the device's rate. Raises Problem when it has no more."""
        self._edge.spend(self.device, count)


Hot = Callable[[Caller, bytes], Awaitable[bytes]]
"""A function that answers a POST: its body to JSON. It raises Problem."""


class ClientGone(Exception):
    """The client left before its request was whole."""


class _Head(NamedTuple):
    authorization: bytes | None
    time: bytes | None
    key: bytes | None
    length: bytes | None


class Edge:
    """The gateway as an ASGI callable, around the framework's.

    `hot` are functions that answer without the framework, by path, and the scope that each needs; gateway.protocol
    calls them without ASGI too. `large`: paths that take a longer body.
    """

    def __init__(
        self,
        inner: App,
        devices: Devices,
        limits: Limits,
        clock: Clock,
        metrics: Metrics,
        *,
        hot: Mapping[str, tuple[DeviceScope, Hot]],
        large: frozenset[str],
    ) -> None:
        self._inner, self._devices, self._limits, self._clock, self._metrics = inner, devices, limits, clock, metrics
        self._hot, self._large = hot, large
        self._buckets: dict[str, Bucket] = {}
        self._answers = Answers(limits.answers_max_bytes, 2.0 * limits.clock_tolerance_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began = self._clock.monotonic()
        status = 0
        path: str = scope["path"]
        try:
            if path.startswith("/v1/"):
                status = await self._call(path, scope, receive, send)
            else:
                most = self._most(path)
                _check_length(_read_head(scope["headers"]), most)
                status = await _watched(self._inner, scope, _bounded(receive, most), send)
        except Problem as problem:
            status = problem.status
            await _send(send, self._refusal(problem))
        except ClientGone:
            status = 499
        except Exception:
            _LOG.exception("a request failed")
            status = 500
            await _send(send, self._refusal(Problem("internal")))
        finally:
            route = path if path in self._hot else scope.get("path_template", "other")
            self._metrics.request(route, status, self._clock.monotonic() - began)

    async def _call(self, path: str, scope: Scope, receive: Receive, send: Send) -> int:
        head = _read_head(scope["headers"])
        state = scope.setdefault("state", {})
        method: str = scope["method"]
        if method in _SAFE:
            device = self._authenticate(head.authorization)
            self.spend(device, 1)
            state["caller"] = Caller(self, device, b"")
            return await _watched(self._inner, scope, _bounded(receive, self._limits.body_max_bytes), send)
        most = self._most(path)
        caller = self._enter(head, most)
        body = await _read(receive, most)
        hot = self._hot.get(path) if method == "POST" else None
        if hot is not None:
            work = _hot_work(caller, body, hot)
        else:
            state["caller"], state["empty"] = caller, not body
            work = _captured(self._inner, scope, body)
        answer = await self._once(caller, hash((method, path, scope["query_string"], body)), work)
        await _send(send, answer)
        return answer.status

    def enter(self, path: str, headers: list[tuple[bytes, bytes]]) -> Caller:
        """A hot request whose head has come: who calls, may they, is it now. Raises Problem."""
        return self._enter(_read_head(headers), self._most(path))

    async def answer(self, caller: Caller, path: str, body: bytes, began: float) -> Answer:
        """A hot request that has come whole, to its answer; it raises nothing."""
        try:
            asked = hash(("POST", path, b"", body))
            answer = await self._once(caller, asked, _hot_work(caller, body, self._hot[path]))
        except Problem as problem:
            return self.refused(problem, path, began)
        except Exception:
            _LOG.exception("a request failed")
            return self.refused(Problem("internal"), path, began)
        self._metrics.request(path, answer.status, self._clock.monotonic() - began)
        return answer

    def refused(self, problem: Problem, path: str, began: float) -> Answer:
        """A hot request that is refused, as its answer."""
        self._metrics.request(path, problem.status, self._clock.monotonic() - began)
        return self._refusal(problem)

    @property
    def hot_paths(self) -> frozenset[bytes]:
        """The paths that are answered without the framework."""
        return frozenset(path.encode() for path in self._hot)

    def now(self) -> float:
        """The clock by which answers are timed."""
        return self._clock.monotonic()

    def largest(self, path: str) -> int:
        """How long a body may be."""
        return self._most(path)

    def too_large(self, path: str) -> Problem:
        """The problem of a body that is longer."""
        return _too_large(self._most(path))

    def _refusal(self, problem: Problem) -> Answer:
        self._metrics.problem(problem.kind)
        return refusal(problem)

    def _enter(self, head: _Head, most: int) -> Caller:
        """Who calls, may they now, and is the request of now."""
        device = self._authenticate(head.authorization)
        self.spend(device, 1)
        check_time(head.time, self._clock.now_ms(), self._limits.clock_tolerance_seconds)
        key = check_key(head.key)
        _check_length(head, most)
        return Caller(self, device, key)

    async def _once(self, caller: Caller, asked: int, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer given before, or that of `work`; remembered unless it is a refusal."""
        device, key = caller.device.device, caller.key
        done: Answer | None = None
        try:
            before = self._answers.begin(device, key, asked, self._clock.monotonic())
        except Problem:
            work.close()
            raise
        if before is not None:
            work.close()
            return Answer(before.status, (*before.headers, _REPLAYED), before.body)
        try:
            done = await work
        finally:
            if done is not None and done.status < _REFUSED:
                self._answers.end(device, key, asked, done, self._clock.monotonic())
            else:
                self._answers.forget(device, key)
        return done

    def _authenticate(self, header: bytes | None) -> Device:
        if header is None or header[:7].lower() != b"bearer ":
            raise Problem("unauthorized", headers={"WWW-Authenticate": "Bearer"})
        device = self._devices.find(header[7:].strip())
        if device is None:
            raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if device.revoked_ms is not None:
            raise Problem("revoked", headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return device

    def spend(self, device: Device, count: int) -> None:
        """Take from the device's rate. Raises Problem when it has no more."""
        now = self._clock.monotonic()
        bucket = self._buckets.get(device.device)
        rate, burst = device.per_second or self._limits.scans_per_second, device.burst or self._limits.scans_burst
        if bucket is None or bucket.rate != rate or bucket.burst != burst:
            bucket = self._buckets[device.device] = Bucket(rate, burst, now)
        wait = bucket.take(count, now)
        if wait > 0.0:
            raise too_many(wait)

    def _most(self, path: str) -> int:
        return self._limits.bulk_max_bytes if path in self._large else self._limits.body_max_bytes


async def _hot_work(caller: Caller, body: bytes, hot: tuple[DeviceScope, Hot]) -> Answer:
    scope, answer = hot
    if not caller.device.may(scope):
        raise lacking(scope)
    return Answer(200, _JSON, await answer(caller, body))


def too_many(wait_seconds: float) -> Problem:
    """The problem of a caller who must wait."""
    return Problem("too-many", headers={"Retry-After": str(max(1, int(wait_seconds) + 1))})


def lacking(scope: str) -> Problem:
    """The problem of a device without a scope."""
    return Problem("scope", f"This needs the scope {scope!r}.")


def refusal(problem: Problem) -> Answer:
    """A problem as an answer."""
    more = tuple((name.lower().encode(), value.encode()) for name, value in problem.headers.items())
    return Answer(problem.status, (*_PROBLEM, *more), problem.body())


def _read_head(headers: list[tuple[bytes, bytes]]) -> _Head:
    authorization = time = key = length = None
    for name, value in headers:
        if name == b"authorization":
            authorization = value
        elif name == b"x-lacak-time":
            time = value
        elif name == b"idempotency-key":
            key = value
        elif name == b"content-length":
            length = value
    return _Head(authorization, time, key, length)


def _check_length(head: _Head, most: int) -> None:
    """Raises Problem where the head announces too much, before any of it is read. A chunked body announces nothing."""
    if head.length is not None and int(head.length) > most:  # the parser has refused what is no number
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    # The rest of the body is not read: the connection is of no more use.
    return Problem("too-large", f"At most {most} bytes are taken here.", headers={"Connection": "close"})


async def _read(receive: Receive, most: int) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message["body"]
    if not message.get("more_body"):
        if len(body) > most:
            raise _too_large(most)
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message["body"])
        size += len(message["body"])
        if size > most:
            raise _too_large(most)
    return b"".join(parts)


def _bounded(receive: Receive, most: int) -> Receive:
    """A `receive` that raises Problem when more comes than is taken."""
    size = 0

    async def bounded() -> dict[str, Any]:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > most:
                raise _too_large(most)
        return message

    return bounded


async def _watched(inner: App, scope: Scope, receive: Receive, send: Send) -> int:
    """Run the framework. Returns the status it sent."""
    status = 0

    async def watch(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    await inner(scope, receive, watch)
    return status


async def _captured(inner: App, scope: Scope, body: bytes) -> Answer:
    """Run the framework on a body that was read. Returns its answer, unsent."""
    given = False
    status = 500
    headers: tuple[tuple[bytes, bytes], ...] = ()
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        nonlocal given
        if given:
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = tuple((name, value) for name, value in message["headers"] if name.lower() != b"content-length")
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await inner(scope, receive, send)
    return Answer(status, headers, b"".join(parts))


async def _send(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})

"""Callers of a gateway: `python -m bench.door_load`, a process beside `bench.door`, orders on standard input.

Raw sockets with keep-alive and without pipelining: what a request costs here is small beside what it costs there. A
rate is kept by a schedule, and a request's time counts from when it was due, sent or not: a gateway that stalls is not
asked less (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import msgspec
import numpy as np
import uvloop

from bench.workload import Shape, Workload
from gateway.slices import shorten_slice

_OUT_SHARE: Final = 0.2
_TICK_SECONDS: Final = 0.001  # less is none to uvloop, whose timers count ms: the callers would never sleep
_DRAIN_SECONDS: Final = 10.0
_POOL: Final = 200_000


class Orders(msgspec.Struct):
    """What to do: `rate` requests a second, None: as many as `connections` callers can who wait for each answer.

    `bulk` scans a request; 1: single ones, decided.
    """

    port: int
    key: str
    core: int
    people: int
    venues: int
    seed: int
    connections: int
    seconds: float
    run: str
    rate: float | None = None
    bulk: int = 1


class Outcome(msgspec.Struct):
    """What came of it. Times in ms; `scans` is how many the gateway said that it has, `statuses` counts answers.

    `late_p99_ms`: of 100 requests due while a connection was free 99 were sent no later than this. That is the callers'
    own share of the times: an answer waits for them as long.
    """

    requests: int
    seconds: float
    scans: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    late_p99_ms: float
    statuses: dict[str, int]
    outcomes: dict[str, int]
    unanswered: int
    unanswered_scans: int


class Callers:
    """Many connections to one gateway."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        workload = Workload(Shape(0, orders.people, orders.venues, orders.seed))
        random = np.random.default_rng([orders.seed, orders.connections, time.time_ns()])
        people = random.integers(0, orders.people, _POOL).tolist()
        venues = random.choice(orders.venues, _POOL, p=workload.popularity).tolist()
        out = (random.random(_POOL) < _OUT_SHARE).tolist()
        self._pairs = [
            (workload.people[who], workload.venues[where].venue, "out" if leaves else "in")
            for who, where, leaves in zip(people, venues, out, strict=True)
        ]
        self._head = (
            f"POST /v1/scans HTTP/1.1\r\nHost: 127.0.0.1:{orders.port}\r\nAuthorization: Bearer {orders.key}\r\n"
            "Content-Type: application/json\r\n"
        )
        self.sent = 0
        self.times: list[float] = []
        self.late: list[float] = []
        self.scans = 0
        self.statuses: dict[str, int] = {}
        self.outcomes: dict[str, int] = {}
        self.free: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.ended = False

    def request(self) -> bytes:
        """The next request, never the same twice."""
        number = self.sent
        self.sent += 1
        now_ms = time.time_ns() // 1_000_000
        if self._orders.bulk == 1:
            person, venue, kind = self._pairs[number % _POOL]
            body = f'{{"person":"{person}","venue":"{venue}","kind":"{kind}"}}'
        else:
            first = number * self._orders.bulk
            rows = (self._pairs[(first + row) % _POOL] for row in range(self._orders.bulk))
            body = ",".join(f'{{"person":"{p}","venue":"{v}","kind":"{k}","at_ms":{now_ms}}}' for p, v, k in rows)
            body = f"[{body}]"
        return (
            f"{self._head}X-Lacak-Time: {now_ms}\r\nIdempotency-Key: {self._orders.run}-{number}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def answered(self, status: str, body: bytes, seconds: float) -> None:
        """An answer has come."""
        self.times.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status != "200":
            return
        if self._orders.bulk == 1:
            outcome = body[_after(body, b'"outcome":"') :].partition(b'"')[0].decode()
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            self.scans += b'"scan_ids":["' in body
        else:
            self.scans += int(body[_after(body, b'"accepted":') :].partition(b",")[0].rstrip(b"}"))


def _after(body: bytes, mark: bytes) -> int:
    return body.index(mark) + len(mark)


class Connection(asyncio.Protocol):
    """One caller: one request at a time."""

    def __init__(self, callers: Callers, answered: Callable[[Connection], None]) -> None:
        self._callers, self._answered = callers, answered
        self._buffer = b""
        self._since = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def ask(self, since: float) -> None:
        """Send the next request, which was due at `since`."""
        self._since = since
        self._transport.write(self._callers.request())

    def data_received(self, data: bytes) -> None:
        """Some of an answer."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._callers.answered(head[9:12].decode(), body, time.perf_counter() - self._since)
        self._answered(self)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def run(orders: Orders) -> Outcome:
    """Call for so long, and wait for the last answers."""
    callers = Callers(orders)
    loop = asyncio.get_running_loop()

    def again(connection: Connection) -> None:
        now = time.perf_counter()
        if callers.due:
            connection.ask(callers.due.popleft())
        elif orders.rate is None and not callers.ended:
            connection.ask(now)
        else:
            callers.free.append(connection)
            if callers.ended and len(callers.free) == orders.connections:
                rest.set()

    rest = asyncio.Event()
    connections: list[Connection] = []
    for _ in range(orders.connections):
        _, made = await loop.create_connection(lambda: Connection(callers, again), "127.0.0.1", orders.port)
        connections.append(made)
    began = time.perf_counter()
    if orders.rate is None:
        for connection in connections:
            connection.ask(time.perf_counter())
        await asyncio.sleep(orders.seconds)
    else:
        callers.free.extend(connections)
        await _keep_rate(orders.rate, orders.seconds, callers)
    callers.ended = True
    within = len(callers.times)
    passed = time.perf_counter() - began
    if len(callers.free) < len(connections):
        with suppress(TimeoutError):
            await asyncio.wait_for(rest.wait(), _DRAIN_SECONDS)
    for connection in connections:
        connection.close()
    times = np.array(callers.times) * 1000
    return Outcome(
        requests=within,
        seconds=passed,
        scans=callers.scans,
        p50_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
        most_ms=float(times.max()),
        late_p99_ms=float(np.percentile(callers.late, 99)) * 1000 if callers.late else 0.0,
        statuses=callers.statuses,
        outcomes=callers.outcomes,
        unanswered=callers.sent - len(callers.times) + len(callers.due),
        unanswered_scans=(callers.sent - len(callers.times)) * orders.bulk,
    )


async def _keep_rate(rate: float, seconds: float, callers: Callers) -> None:
    began, planned = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        while planned < passed * rate:
            due = began + planned / rate
            planned += 1
            if callers.free:
                callers.late.append(time.perf_counter() - due)
                callers.free.popleft().ask(due)
            else:
                callers.due.append(due)
        await asyncio.sleep(_TICK_SECONDS)


def main() -> int:
    """Read orders, a line each; say what came of each, a line each.

    The callers share their core with the broker, as real ones do not: they do not wait for its slices.
    """
    shorten_slice()
    for line in sys.stdin.buffer:
        orders = msgspec.json.decode(line, type=Orders)
        os.sched_setaffinity(0, {orders.core})
        sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(orders))) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A real gateway over HTTP for tests: its own event loop in a thread, a free port, copies fed by hand, no broker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from gateway.devices import Scope
from gateway.limits import Limits, Serving
from gateway.parts import Parts
from gateway.settings import GatewaySettings
from gateway.threaded import threaded_gateway
from schemas.health import Colour, Status
from schemas.messages import Scan, Venue

T = TypeVar("T")
MALL = Venue(venue="mall-1", name="Mal Kota", category="mall", region="ID-LA", capacity=100)


class TestClock:
    """A clock that is moved by hand, and goes on by itself only where the server waits."""

    __test__ = False

    def __init__(self, now_ms: int = 1_634_788_800_000) -> None:  # 2021-10-21 11:00 in Jakarta
        self.at_ms = now_ms

    def now_ms(self) -> int:
        """The wall clock."""
        return self.at_ms

    def monotonic(self) -> float:
        """The same in seconds: it never goes back in a test."""
        return self.at_ms / 1000


class Running:
    """A gateway that answers at `url`. `run` runs something in its event loop."""

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop, url: str, clock: TestClock) -> None:
        self.parts, self.loop, self.url, self.clock = parts, loop, url, clock

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the gateway's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def add(self, *scopes: Scope, **more: Any) -> str:
        """A new device's key."""
        return self.parts.devices.add(f"d-{secrets.token_hex(4)}", scopes, self.clock.now_ms(), **more)

    def client(self, key: str | None, **more: Any) -> httpx.Client:
        """A client with a device's key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=10.0, **more)

    def stamped(self, **more: str) -> dict[str, str]:
        """The headers of a request that is made now."""
        headers = {"X-Lacak-Time": str(self.clock.now_ms()), "Idempotency-Key": secrets.token_hex(16)}
        return {**headers, **{name.replace("_", "-"): value for name, value in more.items()}}

    def level(self) -> None:
        """Tell the gateway that its copies are level with the brokers now."""

        async def tell() -> None:
            for reader in self.parts.copies.readers.values():
                reader.level_at_ms, reader.whole = self.clock.now_ms(), True

        self.run(tell())

    def status(self, person: str, colour: Colour, **more: Any) -> None:
        """Tell the gateway's copy a person's status."""

        async def tell() -> None:
            self._number += 1
            status = Status(
                person=person,
                colour=colour,
                since_ms=0,
                rule="indonesia@2021-08-30 black.case",
                reason="case",
                log_time_ms=self.clock.now_ms(),
                position=(0, self._number),
                **more,
            )
            self.parts.copies.statuses.take([(person.encode(), msgspec.json.encode(status))])

        self.run(tell())

    _number = 0

    def waiting(self) -> list[Scan]:
        """The scans in the spool, in order."""
        rows = self.parts.spool.read("scans", 0, 100_000)
        return [scan for row in rows for scan in row.items if isinstance(scan, Scan)]


@contextmanager
def running_gateway(
    folder: Path,
    *,
    limits: Limits | None = None,
    serving: Serving | None = None,
    hot: bool = True,
    venues: Sequence[Venue] = (MALL,),
) -> Iterator[Running]:
    """A gateway over a folder, without brokers."""
    clock = TestClock()
    free = msgspec.structs.replace(serving or Serving(), port=0)
    settings = GatewaySettings(data_dir=folder, limits=limits or Limits(), http=free)
    with threaded_gateway(settings, clock, hot=hot) as gateway:
        for venue in venues:
            gateway.parts.copies.registry.add(venue)
        yield Running(gateway.parts, gateway.loop, gateway.url, clock)

"""A gateway from its settings to its end: spool, copies, sender, door and HTTP server, on one event loop."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gateway.app import make_app
from gateway.copies import Copies
from gateway.devices import Devices
from gateway.door import Door
from gateway.edge import Clock
from gateway.parts import Parts
from gateway.sender import Sender
from gateway.serve import check_serving, make_server
from gateway.settings import GatewaySettings
from gateway.signing import Signing
from gateway.spool import Spool

_LOG: Final = logging.getLogger("lacak.gateway")
DEVICES_FILE: Final = "devices.sqlite"
KEYS_FOLDER: Final = "keys"


@asynccontextmanager
async def running_parts(settings: GatewaySettings, clock: Clock) -> AsyncIterator[Parts]:
    """The parts of a gateway, at work. Raises SpoolError or DeviceError where a file cannot be used.

    The spool is closed last: what the others put in is durable before the process ends. Without brokers named in the
    settings nothing is sent, and the copies stay as they were kept.
    """
    folder = settings.data_dir
    with Devices(folder / DEVICES_FILE) as devices:
        spool = Spool(folder / "spool", settings.spool)
        spool.open()
        try:
            copies = Copies(settings, clock.now_ms)
            await copies.open()
            door = Door(settings, copies, spool)
            sender = Sender(settings, spool, clock.now_ms)
            parts = Parts(settings, clock, devices, spool, copies, door, Signing(folder / KEYS_FOLDER))
            if settings.brokers:
                copies.start()
                sender.start()
            try:
                yield parts
            finally:
                parts.closing.set()
                if settings.brokers:
                    await sender.stop()
                await copies.stop()
        finally:
            await spool.close()


async def run_gateway(
    settings: GatewaySettings, clock: Clock, started: Callable[[Sequence[socket.socket]], None]
) -> None:
    """Run a gateway until SIGINT or SIGTERM; `started` is told where it listens.

    Raises ServeError, and as running_parts.
    """
    check_serving(settings.http)
    async with running_parts(settings, clock) as parts:
        server = make_server(
            make_app(parts), settings.http, settings.limits.head_max_bytes, started=started, closing=parts.closing.set
        )
        await server.serve()

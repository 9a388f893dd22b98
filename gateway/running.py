"""A gateway from its settings to its end: spool, copies, sender, door and HTTP server, on one event loop."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gateway.app import make_app
from gateway.bindings import Bindings
from gateway.devices import Devices
from gateway.door import open_door
from gateway.edge import Clock
from gateway.parts import Parts
from gateway.serve import check_serving, make_server
from gateway.settings import GatewaySettings
from gateway.signing import Signing

DEVICES_FILE: Final = "devices.sqlite"
KEYS_FOLDER: Final = "keys"
BINDINGS_FILE: Final = "bindings.sqlite"


@asynccontextmanager
async def running_parts(settings: GatewaySettings, clock: Clock) -> AsyncIterator[Parts]:
    """The parts of a gateway, at work. Raises SpoolError, DeviceError or BindingsError where a file cannot be
    used."""
    folder = settings.data_dir
    with Devices(folder / DEVICES_FILE) as devices, Bindings(folder / BINDINGS_FILE) as bindings:
        async with open_door(settings, clock.now_ms) as door:
            signing = Signing(folder / KEYS_FOLDER)
            parts = Parts(settings, clock, devices, door, signing, bindings, card_revoked=bindings.revoked)
            try:
                yield parts
            finally:
                parts.closing.set()


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
        # uvicorn raises the signal that ended it once more, which would end the process before the spool is closed.
        held = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            await server.serve()
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)

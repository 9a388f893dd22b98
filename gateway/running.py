"""A gateway from its settings to its end: spool, copies, sender, door and HTTP server, on one event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.app import make_app
from gateway.bindings import Bindings
from gateway.devices import Devices
from gateway.door import open_door
from gateway.edge import Clock
from gateway.parts import Parts
from gateway.pseudonyms import Key
from gateway.register import Register
from gateway.serve import check_serving, make_server
from gateway.settings import GatewaySettings
from gateway.signing import Signing

DEVICES_FILE: Final = "devices.sqlite"
KEYS_FOLDER: Final = "keys"
BINDINGS_FILE: Final = "bindings.sqlite"
TICKET_FILE: Final = "ticket.key"
_GC_THRESHOLDS: Final = (5_000, 100, 100)
"""A request leaves no cycles behind, so that they need not be looked for as often as Python does; each look goes over
what was made since the last, and holds up everybody: a millisecond, where 50 000 took 12 to 25."""

_FOLLOW_SECONDS: Final = 1.0
_SECRET_BYTES: Final = 32
_LOG: Final = logging.getLogger("lacak.gateway")


@asynccontextmanager
async def running_parts(settings: GatewaySettings, clock: Clock) -> AsyncIterator[Parts]:
    """The parts of a gateway, at work. Raises SpoolError, DeviceError or BindingsError where a file cannot be
    used."""
    folder = settings.data_dir
    signing = Signing(folder / KEYS_FOLDER, settings.codes.grace_seconds)
    with ExitStack() as files:
        devices = files.enter_context(Devices(folder / DEVICES_FILE))
        bindings = files.enter_context(Bindings(folder / BINDINGS_FILE))
        identity = None
        if settings.identity_folder is not None:
            identity = files.enter_context(Register(settings.identity_folder))
        key = Key.load(settings.key_file) if settings.key_file is not None else None
        async with open_door(settings, clock.now_ms) as door:
            parts = Parts(settings, clock, devices, door, signing, bindings, identity, key, secret_of(folder))
            following = asyncio.create_task(_follow(parts))
            try:
                yield parts
            finally:
                parts.closing.set()
                await following


async def _follow(parts: Parts) -> None:
    """Take in what officers withdraw: cards, and the browsers of a person."""
    while parts.identity is not None and not parts.closing.is_set():
        try:
            await asyncio.to_thread(parts.bindings.follow, parts.identity)
        except ValueError as error:
            _LOG.warning("what was withdrawn is not known: %s", error)
        with suppress(TimeoutError):
            await asyncio.wait_for(parts.closing.wait(), _FOLLOW_SECONDS)


def secret_of(folder: Path) -> bytes:
    """The secret that signs the tickets of browsers, made at the first start."""
    path = folder / TICKET_FILE
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
    return path.read_bytes()


async def run_gateway(
    settings: GatewaySettings, clock: Clock, started: Callable[[Sequence[socket.socket]], None]
) -> None:
    """Run a gateway until SIGINT or SIGTERM; `started` is told where it listens.

    Raises ServeError, and as running_parts.
    """
    check_serving(settings.http)
    gc.set_threshold(*_GC_THRESHOLDS)
    async with running_parts(settings, clock) as parts:
        gc.freeze()  # modules, routes and the copies of the last run are never looked at again
        server = make_server(
            make_app(parts), settings.http, settings.limits.head_max_bytes, started=started, closing=parts.closing.set
        )
        # uvicorn raises the signal that ended it once more, which would end the process before the spool is closed.
        held = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            await server.serve()
            if settings.brokers and parts.door.sender.away_since_ms is None:
                await parts.door.sender.drain(settings.send.stop_seconds)
        finally:
            gc.unfreeze()  # at its end the interpreter takes everything apart
            for number, handler in held.items():
                signal.signal(number, handler)

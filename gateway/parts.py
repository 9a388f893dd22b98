"""What a running gateway is made of, as its routes find it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from contacts.registry import Registry
from gateway.bindings import Bindings
from gateway.copies import Copies
from gateway.devices import Devices, Scope
from gateway.door import Door
from gateway.edge import Caller, Clock, lacking
from gateway.limits import Buckets, Limits
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.signing import Signing
from gateway.spool import Spool

Asked = Request[Any, Any, Any]
_LISTING_SECONDS: Final = 10.0


class Listing:
    """The ids of all venues, sorted: made anew at most every 10 s, as a nation has millions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: list[str] = []
        self._made = float("-inf")

    def names(self, now: float) -> list[str]:
        """The ids, as of less than 10 s ago."""
        if now - self._made >= _LISTING_SECONDS:
            self._names, self._made = self._registry.names(), now
        return self._names


@dataclass(slots=True)
class Parts:
    """The parts of one gateway: `parts_of(request)` in a route.

    `bindings`: whom browsers stand for; `card_revoked`: whether the card of a serial number was withdrawn.
    """

    settings: GatewaySettings
    clock: Clock
    devices: Devices
    door: Door
    signing: Signing
    bindings: Bindings
    card_revoked: Callable[[str], bool]
    metrics: Metrics = field(default_factory=Metrics)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams_open: int = 0
    typed: Buckets = field(init=False)
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.typed = Buckets(limits.typed_ids_per_minute / 60.0, limits.typed_ids_burst)
        self.listing = Listing(self.copies.registry)

    @property
    def copies(self) -> Copies:
        """What the door decides by."""
        return self.door.copies

    @property
    def spool(self) -> Spool:
        """What waits for the brokers."""
        return self.door.spool

    @property
    def limits(self) -> Limits:
        """What the edge allows."""
        return self.settings.limits


def parts_of(request: Asked) -> Parts:
    """The gateway's parts."""
    parts: Parts = request.app.state.parts
    return parts


def caller_of(request: Asked) -> Caller:
    """Whose authenticated request this is: only below /v1/."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


def needs(scope: Scope) -> Guard:
    """A guard for a route below /v1/: the device's key must have this scope."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        caller: Caller = connection.scope["state"]["caller"]
        if not caller.device.may(scope):
            raise lacking(scope)

    return guard

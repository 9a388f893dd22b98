"""What a running gateway is made of, as its routes find it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from contacts.registry import Registry, is_name
from gateway.bindings import Bindings
from gateway.codes import BadCode
from gateway.copies import Copies
from gateway.devices import Devices, Scope
from gateway.door import Door
from gateway.edge import Caller, Clock, lacking, too_many
from gateway.identity import Identity
from gateway.limits import Buckets, Limits
from gateway.metrics import Metrics
from gateway.problems import Fault, Problem
from gateway.pseudonyms import Key
from gateway.settings import GatewaySettings
from gateway.signing import Signing, bad_code
from gateway.spool import Spool
from schemas.exposition import Exposition

Asked = Request[Any, Any, Any]
_LISTING_SECONDS: Final = 10.0
_PSEUDONYM: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,15}:[0-9a-f]{32}")


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

    `identity` is the programme's service, asked only where a one-time code is typed; None: this gateway has none.
    `key` makes pseudonyms of ids that staff type; None: they type pseudonyms. `ticket_secret` signs the tickets that
    browsers keep.
    """

    settings: GatewaySettings
    clock: Clock
    devices: Devices
    door: Door
    signing: Signing
    bindings: Bindings
    identity: Identity | None
    key: Key | None
    ticket_secret: bytes
    metrics: Metrics = field(default_factory=Metrics)
    exposition: Exposition = field(init=False)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams_open: int = 0
    typed: Buckets = field(init=False)
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        limits = self.settings.limits
        self.exposition = Exposition("gateway", self.settings.data_dir)
        self.typed = Buckets(limits.typed_ids_per_minute / 60.0, limits.typed_ids_burst)
        self.listing = Listing(self.copies.registry)

    @property
    def address(self) -> str:
        """How phones reach this gateway."""
        return self.settings.http.address

    def card_holder(self, text: str, path: str) -> str:
        """The person of a scanned card. Raises Problem that names `path` when it is none, or no longer good."""
        card = self.signing.card(text, path, self.clock.monotonic(), self.clock.now_ms())
        if self.bindings.revoked(card.serial):
            raise bad_code(BadCode("revoked"), path)
        return card.person

    def spend_typed(self, name: str) -> None:
        """Something was typed under this name: few a minute. Raises Problem when it is one too many."""
        wait = self.typed.take(name, 1, self.clock.monotonic())
        if wait > 0.0:
            raise too_many(wait)

    def typed_holder(self, text: str, path: str, device: str) -> str:
        """The person of an id that staff typed at a device: a pseudonym, or what the key makes one of. Raises Problem
        that names `path` when it is none, and when the device has typed too many.
        """
        text = text.strip()
        try:
            person = self._pseudonym_of(text)
        except ValueError as error:
            raise Problem("invalid", str(error), errors=(Fault(path, str(error)),)) from error
        self.spend_typed(device)
        return person

    def _pseudonym_of(self, text: str) -> str:
        if self.key is not None and _PSEUDONYM.fullmatch(text) is None:
            return self.key.pseudonym(text)
        if not is_name(text):
            raise ValueError("an id is 1 to 200 characters, none of them a control character")
        return text

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

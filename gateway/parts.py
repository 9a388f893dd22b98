"""What a running gateway is made of, as its routes find it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from gateway.devices import Devices, Scope
from gateway.edge import Caller, Clock, lacking
from gateway.limits import Limits
from gateway.metrics import Metrics

Asked = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one gateway: `parts_of(request)` in a route."""

    devices: Devices
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)


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

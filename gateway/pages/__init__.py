"""Pages for people: what a phone, a door's screen and a staff scanner show. `HANDLERS` is what the application serves.

A page is public at the HTTP edge (no device key); what it asks of the caller is its own business.
"""

from __future__ import annotations

from litestar.types import ControllerRouterHandler

from gateway.pages import screens, shown, staff, visitor

HANDLERS: tuple[ControllerRouterHandler, ...] = (shown.static, *visitor.HANDLERS, *screens.HANDLERS, *staff.HANDLERS)

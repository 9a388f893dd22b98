"""The gateway's HTTP application: the edge, the routes behind it, and problems for whatever goes wrong."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec
from litestar import Litestar, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ControllerRouterHandler

from gateway import api, pages, public_routes, venue_routes
from gateway.devices import Scope
from gateway.edge import Edge, Hot, refusal
from gateway.openapi import describe
from gateway.parts import Asked, Parts
from gateway.problems import EMPTY, Fault, Problem, fault_of, kind_of, split_path
from gateway.scans import core_problem, scans_answer
from gateway.spool import SpoolError
from gateway.tickets import DoorError
from schemas.bounds import UNDECODABLE

_LOG: Final = logging.getLogger("lacak.gateway")
_LARGE: Final = frozenset({"/v1/scans", "/v1/venues/import"})


def handlers() -> tuple[ControllerRouterHandler, ...]:
    """Every route: add a page in gateway.pages, a route of the API in the module of its subject."""
    return (*public_routes.HANDLERS, *api.HANDLERS, *venue_routes.HANDLERS, *pages.HANDLERS)


def make_app(parts: Parts, *, hot: bool = True) -> Edge:
    """The application over a gateway's parts, which are running: their start and end is the caller's business.

    Without `hot`, scans go through the framework as everything else does; the answers are the same.
    """
    routes = handlers()
    framework = Litestar(
        routes,
        state=State({"parts": parts, "contract": describe(routes)}),
        exception_handlers={Problem: _answer, HTTPException: _answer, Exception: _answer},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # the edge has its own bounds
    )
    quick: dict[str, tuple[Scope, Hot]] = {"/v1/scans": ("scan", scans_answer(parts))} if hot else {}
    return Edge(framework, parts.devices, parts.limits, parts.clock, parts.metrics, hot=quick, large=_LARGE)


def _answer(request: Asked, error: Exception) -> Response[bytes]:
    problem = _problem_of(error, empty=request.scope.get("state", {}).get("empty", False))
    if problem.kind == "internal":
        _LOG.error("a request failed", exc_info=error)
    request.app.state.parts.metrics.problem(problem.kind)
    answer = refusal(problem)
    headers = {name.decode(): value.decode() for name, value in answer.headers if name != b"content-type"}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=_media_type(answer.headers))


def _media_type(headers: tuple[tuple[bytes, bytes], ...]) -> str:
    return dict(headers)[b"content-type"].decode()


def _problem_of(error: Exception, *, empty: bool) -> Problem:
    match error:
        case Problem():
            return error
        case DoorError() | SpoolError():
            return core_problem(error)
        case ValidationException():
            return Problem("malformed", EMPTY) if empty else _invalid(error)
        case HTTPException():
            headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
            cause = error.__cause__
            while cause is not None and not isinstance(cause, UNDECODABLE):
                cause = cause.__cause__
            if isinstance(cause, UNDECODABLE):
                return fault_of(cause)
            return Problem(kind_of(error.status_code), headers=headers)
        case RecursionError() | UnicodeDecodeError():
            return fault_of(error)
    return Problem("internal")


def _invalid(error: ValidationException) -> Problem:
    """A body, parameter or header that Litestar did not take. Its `$.data` is our `$`."""
    listed: Any = error.extra if isinstance(error.extra, list) else []
    faults: list[Fault] = []
    if isinstance(error.__cause__, msgspec.ValidationError):
        said, path = split_path(str(error.__cause__))
        body = path.removeprefix("$.data")
        faults.append(Fault("$" + body if body != path else path.removeprefix("$."), said))
    else:
        faults += [Fault(str(each.get("key", "$")), str(each.get("message", ""))) for each in listed]
    detail = f"{faults[0].path}: {faults[0].detail}" if faults else error.detail
    return Problem("invalid", detail, errors=tuple(faults))

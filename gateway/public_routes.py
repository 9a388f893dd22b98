"""What anybody may ask of a gateway: whether it lives, its contract, its metrics, and what its problems mean."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import MediaType, Response, get
from litestar.params import Parameter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.parts import Asked, parts_of
from gateway.problems import KINDS, Problem
from gateway.readiness import measure, readiness
from gateway.wire import Alive, ProblemKind, Readiness

_KEYS_SECONDS: Final = 300


@get("/healthz", tags=["gateway"], sync_to_thread=False, summary="Is the process alive?")
def healthz() -> Alive:
    """Answers while the process can answer at all. Whether it decides by fresh copies, /readyz says."""
    return Alive()


@get("/problems/{kind:str}", tags=["gateway"], sync_to_thread=False, summary="What does a problem mean?")
def problem_kind(kind: Annotated[str, Parameter(description="The last part of a problem's type.")]) -> ProblemKind:
    """The page that a problem's `type` names."""
    found = KINDS.get(kind)
    if found is None:
        raise Problem("not-found", f"There is no problem {kind[:60]!r}.")
    return ProblemKind(kind=kind, status=found.status, title=found.title, remedy=found.remedy)


@get("/readyz", tags=["gateway"], sync_to_thread=False, summary="Does it decide by what is so?")
def readyz(request: Asked) -> Response[Readiness]:
    """503 while no copy was ever loaded. `degraded` (200) still decides and takes scans; `reasons` say why."""
    found = readiness(parts_of(request))
    return Response(found, status_code=503 if found.state == "starting" else 200)


@get("/.well-known/jwks.json", tags=["gateway"], sync_to_thread=False, summary="The keys that verify codes")
def jwks(request: Asked) -> Response[dict[str, Any]]:
    """A JSON Web Key Set (RFC 7517): with it every code is verified offline (docs/qr.md)."""
    parts = parts_of(request)
    headers = {"cache-control": f"public, max-age={_KEYS_SECONDS}"}
    return Response(parts.signing.jwks(parts.clock.monotonic()), headers=headers)


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def metrics(request: Asked) -> Response[bytes]:
    """The metrics of gateway.metrics, for Prometheus."""
    parts = parts_of(request)
    measure(parts)
    return Response(generate_latest(parts.exposition), media_type=CONTENT_TYPE_LATEST)


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Asked) -> Response[bytes]:
    """The contract."""
    return Response(request.app.state.contract, media_type=MediaType.JSON)


HANDLERS = (healthz, readyz, jwks, problem_kind, metrics, openapi)

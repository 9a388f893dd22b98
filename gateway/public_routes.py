"""What anybody may ask of a gateway: whether it lives, its contract, its metrics, and what its problems mean."""

from __future__ import annotations

from typing import Annotated

from litestar import MediaType, Response, get
from litestar.params import Parameter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.parts import Asked
from gateway.problems import KINDS, Problem
from gateway.wire import Alive, ProblemKind


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


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def metrics() -> Response[bytes]:
    """The metrics of gateway.metrics, for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: Asked) -> Response[bytes]:
    """The contract."""
    return Response(request.app.state.contract, media_type=MediaType.JSON)


HANDLERS = (healthz, problem_kind, metrics, openapi)

"""The contract of the HTTP edge: OpenAPI 3.1, made from the routes and their types, with the problems there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.types import ControllerRouterHandler

from gateway.contract_examples import EXAMPLES
from gateway.devices import SCOPES
from gateway.problems import KINDS, MEDIA_TYPE, ProblemDetails

_DESCRIPTION: Final = """The door of Lacak: scans are decided and written down, counts are told.

A request below `/v1/` carries a device's key (`Authorization: Bearer lk_...`). One that changes something also says
when it was made (`X-Lacak-Time`, milliseconds since the epoch, at most 300 s from the gateway's clock) and carries an
`Idempotency-Key`: the same key with the same request gives the same answer, and is done once.

Whatever is not done is answered with problem details (RFC 9457); `errors` names each fault with its JSON path."""

_IMPORT: Final = "/v1/venues/import"  # its body is not described by a type
_READING: Final = ("unauthorized", "scope", "not-found", "invalid", "too-many", "internal", "unavailable")
_WRITING: Final = (*_READING, "malformed", "in-progress", "too-large", "media-type")


def _config() -> OpenAPIConfig:
    scopes = "; ".join(f"`{scope}`: {text}" for scope, text in SCOPES.items())
    return OpenAPIConfig(
        title="Lacak gateway",
        version="1",
        description=_DESCRIPTION,
        use_handler_docstrings=True,
        tags=[Tag("door", "Scans and what guards do."), Tag("venues", "The registry."), Tag("gateway", "Itself.")],
        components=Components(
            security_schemes={
                "device": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description=f"A device's key of `lacak devices add`. Scopes: {scopes}.",
                )
            }
        ),
    )


def describe(handlers: Sequence[ControllerRouterHandler]) -> bytes:
    """The contract of some routes as JSON: as Litestar describes them, with the headers, the security and the problems
    of the edge in front of them."""
    made: dict[str, Any] = Litestar(handlers, openapi_config=_config(), logging_config=None).openapi_schema.to_schema()
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/"):
                writes = method not in ("get", "head")
                operation["security"] = [{"device": []}]
                _refusals(operation["responses"], _WRITING if writes else _READING)
                if path == _IMPORT:
                    operation["requestBody"] = {
                        "required": True,
                        "content": {"text/csv": {"schema": {"type": "string"}}},
                    }
                if writes and path in EXAMPLES:
                    for content in operation["requestBody"]["content"].values():
                        content["examples"] = {name: {"value": value} for name, value in EXAMPLES[path].items()}
                if writes:
                    operation["parameters"] = [*operation.get("parameters", []), *_HEADERS]
            else:
                operation["security"] = []
                _refusals(operation["responses"], ("not-found", "invalid", "internal"))
    schemas = made["components"].setdefault("schemas", {})
    (_, components) = msgspec.json.schema_components([ProblemDetails], ref_template="#/components/schemas/{name}")
    schemas.update(components)
    return msgspec.json.format(msgspec.json.encode(made), indent=1)


_HEADERS: Final = (
    {
        "name": "X-Lacak-Time",
        "in": "header",
        "required": True,
        "description": "When the request was made: milliseconds since the epoch, within 300 s of the gateway's clock.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1634781600000,
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "New for each request, the same for its repetitions.",
        "schema": {"type": "string", "minLength": 8, "maxLength": 128, "pattern": "^[\\x21-\\x7e]+$"},
        "example": "0d2f6a3e-7b1c-4f6e-9a55-6f0d7c1b2a10",
    },
)


def _refusals(responses: dict[str, Any], names: tuple[str, ...]) -> None:
    by_status: dict[int, list[str]] = {}
    for name in names:
        by_status.setdefault(KINDS[name].status, []).append(name)
    if 400 not in by_status:
        responses.pop("400", None)  # the framework's own; our 422 says what is wrong
    for status in sorted(by_status):
        # Every kind of that status, not only those every route has: which ones a caller can meet changes often.
        kinds = {name: kind for name, kind in KINDS.items() if kind.status == status}
        examples = {
            name: {
                "summary": kind.title,
                "value": {
                    "type": f"/problems/{name}",
                    "title": kind.title,
                    "status": status,
                    "detail": f"{kind.title}.",
                    "remedy": kind.remedy,
                },
            }
            for name, kind in kinds.items()
        }
        responses[str(status)] = {
            "description": "; ".join(kind.title for kind in kinds.values()) + ".",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "examples": examples}},
        }

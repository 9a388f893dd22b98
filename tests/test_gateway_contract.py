"""The contract of a gateway is what it does: schemathesis holds a running one to its own OpenAPI document."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from gateway.keyring import Keyring
from gateway.limits import Limits
from gateway.problems import KINDS
from tests.gateway_http import Running, running_gateway

_EXAMPLES: Final = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with a key ring, and no rates in the way."""
    folder = tmp_path_factory.mktemp("gateway")
    Keyring.make(folder / "keys", 1_600_000_000_000)
    with running_gateway(folder, limits=Limits(typed_ids_per_minute=1e9, typed_ids_burst=10**9)) as running:
        running.level()
        yield running


@pytest.fixture(scope="module")
def contract(gateway: Running) -> dict[str, Any]:
    """The document that the gateway serves."""
    with gateway.client(None) as client:
        answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_the_contract_says_who_may_call_and_what_is_refused(contract: dict[str, Any]) -> None:
    """OpenAPI 3.1; below /v1/ a key is needed, and each route lists its refusals as problem details with examples."""
    assert contract["openapi"].startswith("3.1")
    scheme = contract["components"]["securitySchemes"]["device"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    routes = [(path, method, route) for path, all_ in contract["paths"].items() for method, route in all_.items()]
    assert len(routes) > 15
    for path, method, route in routes:
        assert route["summary"], path
        assert route["description"], path
        refusals = {status: each for status, each in route["responses"].items() if int(status) >= 400}
        assert refusals, path
        for status, refusal in refusals.items():
            if path == "/readyz" and status == "503":
                continue
            content = refusal["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
            assert {KINDS[name].status for name in content["examples"]} == {int(status)}
        names = {each["name"] for each in route.get("parameters", []) if each["in"] == "header"}
        if path.startswith("/v1/"):
            assert route["security"] == [{"device": []}]
            assert {"401", "403", "429", "503"} <= set(refusals)
            if method == "post":
                assert names == {"X-Lacak-Time", "Idempotency-Key"}
                assert "requestBody" in route
        else:
            assert route["security"] == []
            assert not names


def test_examples_are_taken(gateway: Running, contract: dict[str, Any]) -> None:
    """The examples of request bodies in the contract are good requests."""
    tried = 0
    with gateway.client(gateway.add("admin", per_second=1e9, burst=10**9)) as client:
        for path, methods in contract["paths"].items():
            body = methods.get("post", {}).get("requestBody")
            for media_type, content in (body or {}).get("content", {}).items():
                examples = [each["value"] for each in content.get("examples", {}).values()]
                for example in [*examples, *([content["example"]] if "example" in content else [])]:
                    text = example if isinstance(example, str) else json.dumps(example)
                    answer = client.post(path, content=text, headers=gateway.stamped(Content_Type=media_type))
                    assert answer.status_code in (200, 404), (path, answer.text)
                    tried += 1
    assert tried >= 8


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_schemathesis_finds_nothing(
    gateway: Running, contract: dict[str, Any], mode: schemathesis.GenerationMode
) -> None:
    """Whatever is made from the contract, good and bad: no 5xx, only answers that the contract has, of its media types
    and shapes; what is bad by the contract is refused; without a key nothing is done.

    Left out: the stream, which has no end (tests/test_gateway_routes.py listens to it), and the check that whatever
    fits the contract is accepted, as a schema cannot say that a ticket exists or a code is signed.
    """
    schema: OpenApiSchema = schemathesis.openapi.from_dict(contract)
    schema.config.base_url = gateway.url
    key = gateway.add("admin", per_second=1e9, burst=10**9)
    tried: dict[str, int] = {}

    for result in schema.exclude(path_regex="/stream$").get_all_operations():
        operation = result.ok()

        @given(operation.as_strategy(mode))
        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: schemathesis.Case) -> None:
            tried[case.operation.label] = tried.get(case.operation.label, 0) + 1
            headers = {} if _is_of_bad_headers(case) else {"Authorization": f"Bearer {key}"}
            if mode.is_positive:  # made now, and a new one: the contract can say neither
                headers |= {"X-Lacak-Time": str(gateway.clock.now_ms()), "Idempotency-Key": secrets.token_hex(16)}
            case.call_and_validate(headers=headers, timeout=10, excluded_checks=[positive_data_acceptance])

        if mode.is_positive or operation.body or operation.query:
            check()  # else nothing could be bad: any text is a name in a path
    assert len(tried) >= (15 if mode.is_positive else 8)
    assert all(count > 1 for label, count in tried.items() if "POST" in label)


def _is_of_bad_headers(case: schemathesis.Case) -> bool:
    """Whether a request without a body has bad headers. The key is all there is: with a good one it would be good."""
    header = case.meta.components.get(ParameterLocation.HEADER) if case.meta is not None else None
    return case.method == "GET" and header is not None and header.mode.is_negative

"""Serving the application: uvicorn on one event loop, TLS where a certificate is given."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from gateway.edge import Edge
from gateway.protocol import bounded_protocol

_GRACE_SECONDS: Final = 5
_BACKLOG: Final = 2048


class ServeError(ValueError):
    """What was asked cannot be served; the message says what to do."""


class Serving(msgspec.Struct, frozen=True):
    """Where the gateway listens. `base_url` is what stands in posters: how phones reach it."""

    host: str = "127.0.0.1"
    port: int = 8600
    base_url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    connections_max: int = 10_000

    @property
    def address(self) -> str:
        """How the gateway is reached: `base_url`, or what follows from the rest."""
        if self.base_url:
            return self.base_url.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def check_serving(serving: Serving) -> None:
    """Raises ServeError where keys would travel in the clear, or the certificate cannot be used."""
    if (serving.tls_certificate is None) != (serving.tls_key is None):
        raise ServeError("TLS needs both a certificate and its key: --tls-certificate FILE --tls-key FILE.")
    if serving.tls_certificate is not None and serving.tls_key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(serving.tls_certificate, serving.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise ServeError(
                f"The certificate {serving.tls_certificate} and the key {serving.tls_key} cannot be used: {error}."
            ) from error
    elif not serving.behind_proxy and not _is_loopback(serving.host):
        raise ServeError(
            f"On {serving.host} device keys would travel in the clear. Give --tls-certificate and --tls-key, "
            "or --behind-proxy where something in front ends TLS."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_server(app: Edge, serving: Serving, head_max_bytes: int) -> uvicorn.Server:
    """The server, not yet started. Raises ServeError."""
    check_serving(serving)
    tls: dict[str, Any] = {}
    if serving.tls_certificate is not None and serving.tls_key is not None:
        tls = {"ssl_certfile": str(serving.tls_certificate), "ssl_keyfile": str(serving.tls_key)}
    config = uvicorn.Config(
        app,
        host=serving.host,
        port=serving.port,
        loop="uvloop",
        http=bounded_protocol(head_max_bytes),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses of venues stand in paths
        server_header=False,
        proxy_headers=serving.behind_proxy,
        limit_concurrency=serving.connections_max,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        **tls,
    )
    return uvicorn.Server(config)

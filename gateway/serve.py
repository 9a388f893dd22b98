"""Serving the application: uvicorn on one event loop, TLS where a certificate is given."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

import uvicorn

from gateway.edge import Edge
from gateway.limits import Serving
from gateway.protocol import bounded_protocol

_GRACE_SECONDS: Final = 5
_BACKLOG: Final = 2048


class ServeError(ValueError):
    """What was asked cannot be served; the message says what to do."""


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


class Server(uvicorn.Server):
    """uvicorn's server, which tells where it listens, and that it is about to close.

    Streams of counts have no end of their own: `closing` ends them, or the server would wait for them.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        started: Callable[[Sequence[socket.socket]], None],
        closing: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._told_started, self._told_closing = started, closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started:
            self._told_started([each for server in self.servers for each in server.sockets])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has begun, and end."""
        self._told_closing()
        await super().shutdown(sockets)


def make_server(
    app: Edge,
    serving: Serving,
    head_max_bytes: int,
    *,
    started: Callable[[Sequence[socket.socket]], None] = lambda _: None,
    closing: Callable[[], None] = lambda: None,
) -> Server:
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
        http=bounded_protocol(head_max_bytes, app),
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
    return Server(config, started, closing)

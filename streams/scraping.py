"""What a worker answers over HTTP, from a thread of its own: /metrics for Prometheus, /live and /ready to others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import make_wsgi_app

from schemas.exposition import Exposition
from streams.health import Health
from streams.metrics import WORKER
from streams.settings import Settings

_CALLER_SECONDS: Final = 10
_WORDS: Final = {200: "200 OK", 503: "503 Service Unavailable"}


class PortTaken(RuntimeError):
    """Another process listens where the metrics should be; the message says what to do."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _CALLER_SECONDS  # who asks and says nothing does not keep a thread

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Probes come every few seconds: nothing is logged of them."""


def serve(settings: Settings, role: str, health: Health | None = None) -> None:
    """Answer at the settings' address and port until the process ends. Raises PortTaken."""
    host, port = settings.metrics_host, settings.metrics_port
    WORKER.info({"role": role, "index": str(settings.worker_index)})
    application = _application(Exposition(role, settings.data_dir), health)
    try:
        server = make_server(host, port, application, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on {host}:{port} ({error.strerror}): set LACAK_METRICS_PORT to another port, "
            "or LACAK_METRICS_HOST to an address of this machine."
        ) from error
    threading.Thread(target=server.serve_forever, name="scraping", daemon=True).start()


def _application(registry: Any, health: Health | None) -> Callable[..., Iterable[bytes]]:
    metrics = make_wsgi_app(registry)
    asked = {} if health is None else {"/live": health.live, "/ready": health.ready}

    def application(environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        answer = asked.get(environ["PATH_INFO"])
        if answer is None:
            found: Iterable[bytes] = metrics(environ, respond)
            return found
        status, probe = answer()
        body = msgspec.json.encode(probe) + b"\n"
        respond(_WORDS[status], [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return application

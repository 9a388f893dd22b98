"""Answering Prometheus."""

from __future__ import annotations

from prometheus_client import start_http_server

from schemas.exposition import Exposition
from streams.metrics import WORKER
from streams.settings import Settings


class PortTaken(RuntimeError):
    """Another process listens where the metrics should be; the message says what to do."""


def serve(settings: Settings, role: str) -> None:
    """Answer Prometheus on 127.0.0.1, at the settings' port. Raises PortTaken."""
    port = settings.metrics_port
    WORKER.info({"role": role, "index": str(settings.worker_index)})
    try:
        start_http_server(port, addr="127.0.0.1", registry=Exposition(role, settings.data_dir))
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on 127.0.0.1:{port} ({error.strerror}): set LACAK_METRICS_PORT to another port."
        ) from error

"""Answering Prometheus."""

from __future__ import annotations

from prometheus_client import start_http_server

from schemas.exposition import Exposition
from streams.metrics import WORKER
from streams.settings import Settings
from streams.stagemetrics import STAGES


class PortTaken(RuntimeError):
    """Another process listens where the metrics should be; the message says what to do."""


def serve(settings: Settings, role: str) -> None:
    """Answer Prometheus on 127.0.0.1, at the settings' port. Raises PortTaken."""
    port = settings.metrics_port
    WORKER.info({"role": role, "index": str(settings.worker_index)})
    try:
        start_http_server(port, addr="127.0.0.1", registry=Exposition(role, settings.data_dir, left_out=_others(role)))
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on 127.0.0.1:{port} ({error.strerror}): set LACAK_METRICS_PORT to another port."
        ) from error


def _others(role: str) -> frozenset[str]:
    """The metrics that only other roles tell, by name: here they would say 0."""
    own = {metric._name for metric in STAGES.get(role, ())}
    return frozenset(metric._name for metrics in STAGES.values() for metric in metrics) - own

"""Every metric of the gateway, in one place. Base units; labels are routes, outcomes and copies, never people,
venues or devices."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0)

REQUESTS: Final = Counter("lacak_gateway_requests_total", "Requests answered.", ["route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "lacak_gateway_request_seconds", "Time from a request's head to its answer.", ["route"], buckets=_SECONDS
)
PROBLEMS: Final = Counter("lacak_gateway_problems_total", "Requests refused, by the kind of problem.", ["problem"])
DECISIONS: Final = Counter("lacak_gateway_decisions_total", "Decisions at doors.", ["outcome"])
STREAMS: Final = Gauge("lacak_gateway_streams", "Open streams of live counts.")
SPOOL: Final = Gauge("lacak_gateway_spool_messages", "Messages that wait for the broker.")
COPY_AGE: Final = Gauge("lacak_gateway_copy_age_seconds", "Age of a local copy; -1: never loaded.", ["copy"])
COPY_REFUSED: Final = Gauge(
    "lacak_gateway_copy_refused_messages",
    "Messages that a local copy left out since the start.",
    ["copy"],
)

CATALOGUE: Final = (REQUESTS, REQUEST_SECONDS, PROBLEMS, DECISIONS, STREAMS, SPOOL, COPY_AGE, COPY_REFUSED)


class Metrics:
    """The metrics of requests, bound once a label: a look-up by labels costs four times the increment."""

    def __init__(self) -> None:
        self._routes: dict[str, tuple[Histogram, dict[int, Counter]]] = {}
        self._decisions: dict[str, Counter] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = self._routes.get(route)
        if known is None:
            known = self._routes[route] = (REQUEST_SECONDS.labels(route), {})
        known[0].observe(seconds)
        counter = known[1].get(status)
        if counter is None:
            counter = known[1][status] = REQUESTS.labels(route, status)
        counter.inc()

    def decision(self, outcome: str) -> None:
        """A door has decided."""
        counter = self._decisions.get(outcome)
        if counter is None:
            counter = self._decisions[outcome] = DECISIONS.labels(outcome)
        counter.inc()

    def problem(self, kind: str) -> None:
        """A request was refused."""
        PROBLEMS.labels(kind).inc()

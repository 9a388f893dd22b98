"""Every metric of the gateway, in one place (docs/metrics.md). Base units; labels are routes, outcomes and copies,
never people, venues or devices. To every sample the gateway adds the label `stage`, which is `gateway`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0)

REQUESTS: Final = Counter("lacak_gateway_requests_total", "Requests answered.", ["route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "lacak_gateway_request_seconds", "Time from a request's head to its answer.", ["route"], buckets=_SECONDS
)
PROBLEMS: Final = Counter("lacak_gateway_problems_total", "Requests refused, by the kind of problem.", ["problem"])
DECISIONS: Final = Counter("lacak_gateway_decisions_total", "Decisions at doors.", ["outcome"])
COLOURS: Final = Counter("lacak_gateway_colours_total", "Colours of the people decided about at doors.", ["colour"])
STREAMS: Final = Gauge("lacak_gateway_streams", "Open streams of live counts.")
SPOOL: Final = Gauge("lacak_gateway_spool_messages", "Messages that wait for the broker.")
SPOOL_BYTES: Final = Gauge("lacak_gateway_spool_bytes", "Bytes of the messages that wait for the broker.")
SENT: Final = Counter("lacak_gateway_sent_total", "Scans and other messages that the brokers acknowledged.")
SEND_FAILURES: Final = Counter(
    "lacak_gateway_send_failures_total", "Rounds of sending that failed and were tried again."
)
AWAY: Final = Gauge("lacak_gateway_brokers_away_seconds", "For how long the brokers have taken nothing; 0: they do.")
COPY_AGE: Final = Gauge("lacak_gateway_copy_age_seconds", "Age of a local copy; -1: never loaded.", ["copy"])
COPY_RECORDS: Final = Counter("lacak_gateway_copy_records_total", "Records read into a local copy.", ["copy"])
COPY_REFUSED: Final = Gauge(
    "lacak_gateway_copy_refused_messages", "Messages that a local copy left out since the start.", ["copy"]
)
CATALOGUE: Final = (
    REQUESTS, REQUEST_SECONDS, PROBLEMS, DECISIONS, COLOURS, STREAMS, SPOOL, SPOOL_BYTES, SENT, SEND_FAILURES, AWAY,
    COPY_AGE, COPY_RECORDS, COPY_REFUSED,
)  # fmt: skip
"""What a gateway tells."""


class Metrics:
    """The metrics of requests, bound once a label: a look-up by labels costs four times the increment."""

    def __init__(self) -> None:
        self._routes: dict[str, tuple[Histogram, dict[int, Counter]]] = {}

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

    def problem(self, kind: str) -> None:
        """A request was refused."""
        PROBLEMS.labels(kind).inc()


def decided(outcome: str, colours: Iterable[str | None]) -> None:
    """A door has decided about people of these colours; None: nothing is known of somebody."""
    _decisions(outcome).inc()
    for colour in colours:
        _colours(colour or "unknown").inc()


@cache
def _decisions(outcome: str) -> Counter:
    return DECISIONS.labels(outcome)


@cache
def _colours(colour: str) -> Counter:
    return COLOURS.labels(colour)

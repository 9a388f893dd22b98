"""Heartbeats as whoever reads them sees them: the metrics of a way through the pipeline (docs/heartbeat.md)."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge, Histogram

HEARTBEAT_AGE: Final = Gauge(
    "lacak_heartbeat_age_seconds",
    "Age of the newest heartbeat that has come this way from every source.",
    ["topic", "partition"],
)
HEARTBEAT_SECONDS: Final = Histogram(
    "lacak_heartbeat_seconds",
    "Time a heartbeat took from its birth to here.",
    ["topic"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)

HEARTBEATS: Final = (HEARTBEAT_AGE, HEARTBEAT_SECONDS)
"""What roles tell that read heartbeats: visits, places, tracing, status, recorder, and gateways."""

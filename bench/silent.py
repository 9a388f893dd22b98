"""`python -m bench.silent worker ROLE`: a worker of Lacak that measures nothing, to see what measuring costs.

Every instrument does nothing, nothing is looked at each second, and nobody can ask. Heartbeats are the deployment's
setting.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from agents.placemeters import Figured, PlaceMeters
from agents.tracemeters import TraceMeters
from lacak.main import main
from streams import meters, scraping
from streams.meters import StateMeters, TopicMeters
from streams.scanmeters import ScanMeters
from streams.watching import Watching


def _nothing(*_: Any, **__: Any) -> None:
    """In place of whatever measures."""


def silence() -> None:
    """Let nothing be measured in this process. Where partitions are held is still noted: others ask for it."""
    for owner, names in (
        (Counter, ("inc",)),
        (Gauge, ("set", "inc", "dec", "set_function")),
        (Histogram, ("observe",)),
        (TopicMeters, ("took", "did")),
        (StateMeters, ("snapshot",)),
        (ScanMeters, ("took", "late", "registered")),
        (PlaceMeters, ("took", "told")),
        (TraceMeters, ("saved", "told", "begun")),
        (Figured, ("look",)),
        (Watching, ("look",)),
        (meters, ("log_time", "observe_many")),
        (scraping, ("serve",)),
    ):
        for name in names:
            setattr(owner, name, _nothing)
    Histogram.time = lambda _: nullcontext()  # type: ignore[assignment,method-assign,return-value]


if __name__ == "__main__":
    silence()
    main()

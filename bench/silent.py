"""Instruments that do nothing, to see what measuring costs: nothing is looked at each second, and nobody can ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from agents.placemeters import Figured, PlaceMeters
from agents.tracemeters import TraceMeters
from streams import meters, scraping
from streams.meters import StateMeters, TopicMeters
from streams.scanmeters import ScanMeters
from streams.watching import Watching


def _nothing(*_: Any, **__: Any) -> None:
    """In place of whatever measures."""


class _Untimed(ContextDecorator):
    """In place of a timer, around a block or a function."""

    def __enter__(self) -> None:
        """Nothing begins."""

    def __exit__(self, *_: object) -> None:
        """Nothing ends."""


_SILENT: Final = (
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
)


@contextmanager
def silenced(silent: bool = True) -> Iterator[None]:
    """Let nothing be measured in this process meanwhile. Where partitions are held is noted all the same."""
    before = [(owner, name, getattr(owner, name)) for owner, names in _SILENT for name in names]
    if silent:
        for owner, name, _ in before:
            setattr(owner, name, _nothing)
        before.append((Histogram, "time", Histogram.time))
        Histogram.time = lambda _: _Untimed()  # type: ignore[assignment,method-assign,return-value]
    try:
        yield
    finally:
        for owner, name, was in before:
            setattr(owner, name, was)

"""How far a state is that goes through its log: a line every few seconds, for whoever waits for it."""

from __future__ import annotations

import logging
from typing import Final

_EVERY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # said whatever else is: a rebuild that says nothing looks like one that hangs


class Progress:
    """The way of one partition's state through the log, from offset `first` on. `now` is in seconds, as `tell`'s."""

    def __init__(self, topic: str, partition: int, first: int, now: float) -> None:
        self._what = f"{topic}, partition {partition}"
        self._first, self._began = first, now
        self._said, self._visits, self._at = now, 0, first

    def tell(self, position: int, end: int, visits: int, now: float) -> None:
        """The state stands at a position of a log that ended at `end` when reading began, and holds so many visits."""
        if now - self._said < _EVERY_SECONDS or position >= end:
            return
        passed = now - self._said
        rate, records = (visits - self._visits) / passed, (position - self._at) / passed
        self._said, self._visits, self._at = now, visits, position
        share = (position - self._first) / (end - self._first)
        left = f"about {(end - position) / records:,.0f} s to go" if records > 0 else "no end in sight"
        log.info(
            "The state of %s: %.0f %% of the log read, %.0f visits a second, %s.", self._what, 100 * share, rate, left
        )

    def done(self, position: int, visits: int, now: float) -> None:
        """The state has what there was when reading began. Said where it took long enough to have been waited for."""
        seconds = now - self._began
        if seconds >= _EVERY_SECONDS:
            log.info(
                "The state of %s is level after %.1f s: %d records, %d visits, %.0f visits a second.",
                self._what, seconds, position - self._first, visits, visits / seconds,
            )  # fmt: skip

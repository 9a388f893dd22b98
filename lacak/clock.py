"""The machine's clock, read in one place."""

from __future__ import annotations

import time


class SystemClock:
    """A `streams.clock.Clock` over the operating system's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

"""The clock that is injected: agents never read the machine's own."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Where processing time comes from."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch: what ticks and deadlines are stamped with."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back: how long ago something was done."""
        ...

"""Faust tells a sensor what it does; ours counts it, and takes a refused send for what it is: the end of the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faust

from streams.metrics import REBALANCES, SEND_ERRORS


class Sensor(faust.Sensor):  # type: ignore[misc]
    """Counts rebalances. `on_failure` is told when a changelog's write is refused."""

    def __init__(self, on_failure: Callable[[BaseException], None], **kwargs: Any) -> None:
        self._on_failure = on_failure
        super().__init__(**kwargs)

    def on_rebalance_start(self, *_: Any) -> dict[str, Any]:
        """A rebalance begins."""
        REBALANCES.inc()
        return {}

    def on_send_error(self, _producer: Any, exc: BaseException, _state: Any) -> None:
        """Faust would only log it, and commit past what the table has lost."""
        SEND_ERRORS.inc()
        self._on_failure(exc)

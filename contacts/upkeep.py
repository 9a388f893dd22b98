"""What is done to an index now and then: days long over are settled, erased visits wiped out, files checked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import cache, partial
from importlib.resources import files
from zoneinfo import ZoneInfo

from contacts.columns import ints
from contacts.days import midnight_ms, midnights
from contacts.index import VisitIndex


@cache
def settle_after_ms() -> int:
    """How long after its end a day is settled (contacts/data/index.toml)."""
    table = tomllib.loads(files("contacts.data").joinpath("index.toml").read_text("utf-8"))
    return int(table["settle_after_hours"] * 3_600_000)


class Upkeep:
    """Does one thing at a call, so that the stream never waits long. Days are those of `zone`."""

    def __init__(self, index: VisitIndex, zone: ZoneInfo) -> None:
        self._index, self._zone = index, zone
        self._settled_ms = -(1 << 62)
        self._going_on: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether another thread has something in hand."""
        return self._going_on is not None

    def go_on(self, now_ms: int, worker: Executor | None) -> None:
        """Settle the days long over at a time; else write a file anew that holds erased visits; else check another.

        A worker does what takes long; the first call after it is ready takes it up. Raises OSError or Damaged.
        """
        if self._going_on is None:
            self._index.tidy()
            task = self._next(now_ms)
            if task is None:
                return
            if worker is not None:
                self._going_on = worker.submit(task)
                return
            task()
        elif self._going_on.done():
            done, self._going_on = self._going_on, None
            done.result()
        else:
            return
        self._index.settled()

    def _next(self, now_ms: int) -> Callable[[], None] | None:
        midnight, archive = midnight_ms(now_ms - settle_after_ms(), self._zone), self._index.archive
        if midnight > self._settled_ms:
            first_ms, self._settled_ms = self._index.first_ms, midnight
            if first_ms is not None and first_ms < midnight:
                return self._index.settling(midnights(first_ms, midnight, self._zone)).build
        if (erased := archive.erased) is not None:
            return self._index.settling(ints([erased.midnight_ms, erased.midnight_ms + 1]), living=False).build
        if (unchecked := archive.unchecked) is not None:
            return partial(archive.check, unchecked)
        return None

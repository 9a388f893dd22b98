"""What is done to an index now and then: days long over are settled, erased visits wiped out, files checked."""

from __future__ import annotations

import tomllib
from concurrent.futures import Executor, Future
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from contacts.columns import ints
from contacts.days import midnight_ms, midnights
from contacts.index import VisitIndex
from contacts.settling import Settling


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
        self._building: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether files are being written by another thread."""
        return self._building is not None

    def go_on(self, now_ms: int, worker: Executor | None) -> None:
        """Settle the days long over at a time; else write a file anew that holds erased visits, and check another.

        With a worker files are written there, and taken up by the first call after that. Raises OSError or Damaged.
        """
        if self._building is not None:
            if self._building.done():
                building, self._building = self._building, None
                building.result()
                self._index.settled()
            return
        self._index.tidy()
        settling = self._next(now_ms)
        if settling is None:
            self._index.archive.check_one()
        elif worker is not None:
            self._building = worker.submit(settling.build)
        else:
            settling.build()
            self._index.settled()

    def _next(self, now_ms: int) -> Settling | None:
        midnight = midnight_ms(now_ms - settle_after_ms(), self._zone)
        if midnight > self._settled_ms:
            first_ms, self._settled_ms = self._index.first_ms, midnight
            if first_ms is not None and first_ms < midnight:
                return self._index.settling(midnights(first_ms, midnight, self._zone))
        erased = self._index.archive.erased()
        if erased is not None:
            return self._index.settling(ints([erased.midnight_ms, erased.midnight_ms + 1]), living=False)
        return None

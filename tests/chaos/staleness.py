"""How stale the answers are: the age of the oldest acknowledged probe that PostgreSQL does not show yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg

from tests.chaos.load import Probe

_LOOK_SECONDS: Final = 0.2


class Sample(NamedTuple):
    """At a moment (monotonic seconds): how old the oldest probe is that was acknowledged and does not show; and up to
    which moment everything that was acknowledged shows, in every partition."""

    at: float
    stale: float
    upto: float


class Staleness:
    """Looks at PostgreSQL, past the network, five times a second. While PostgreSQL is away nothing new shows."""

    def __init__(self, database: str, probes: Sequence[Probe]) -> None:
        self._database, self._probes = database, probes
        self._shown: dict[str, int] = {}
        self._ended = threading.Event()
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._look, name="staleness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def end(self) -> None:
        """Look no more, if one ever did."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(10.0)

    def all_shown(self) -> bool:
        """Whether every probe shows."""
        return bool(self.samples) and all(self._shown.get(probe.venue, 0) >= probe.number for probe in self._probes)

    def greatest(self) -> float:
        """The greatest staleness of all, s."""
        return max((sample.stale for sample in self.samples), default=0.0)

    def recovery(self, end: float) -> float | None:
        """How long after `end` answers were level: in every partition a probe showed that was acknowledged after `end`,
        and so did all before it. None: not yet."""
        return next((sample.at - end for sample in self.samples if sample.at >= end and sample.upto >= end), None)

    def _look(self) -> None:
        database: psycopg.Connection | None = None
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                if database is None:
                    database = psycopg.connect(self._database, autocommit=True, connect_timeout=2)
                    database.execute("set statement_timeout = '2s'")
                rows = database.execute("select venue, inside from lacak.occupancy where venue like 'probe-%'")
                self._shown = {**self._shown, **{venue: int(inside) for venue, inside in rows}}
            except psycopg.Error:
                if database is not None:
                    database.close()
                database = None
            now = time.monotonic()
            probes = list(self._probes)
            waiting = [probe.at for probe in probes if self._shown.get(probe.venue, 0) < probe.number]
            newest: dict[str, float] = {}
            for probe in probes:
                if self._shown.get(probe.venue, 0) >= probe.number:
                    newest[probe.venue] = max(probe.at, newest.get(probe.venue, 0.0))
            upto = min((newest.get(probe.venue, 0.0) for probe in probes), default=0.0)
            self.samples.append(Sample(now, now - min(waiting, default=now), upto))

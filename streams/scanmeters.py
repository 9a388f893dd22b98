"""What is counted of scans, a batch at a time: kinds, categories and regions, how late they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from contacts.columns import Ints
from contacts.deriver import Deriver, Scans
from schemas.blocks import KINDS
from streams import metrics
from streams.stagemetrics import CHECK_INS, LATE_SCANS, SCAN_LATENESS, SCANS

_SORTS_MOST: Final = 500
"""So many pairs of category and region are told apart; the rest are `other`."""

_NONE: Final = -1
_IN: Final = KINDS.index("in")
_EVENTS: Final = "scans"


class ScanMeters:
    """Counts the scans of all partitions of a worker."""

    def __init__(self) -> None:
        self._events = metrics.EVENTS_IN.labels(_EVENTS)
        self._kinds = [SCANS.labels(kind) for kind in KINDS]
        self._sorts: dict[tuple[str, str], int] = {}
        self._check_ins: list[Any] = []
        self._sort_of: WeakKeyDictionary[Deriver, Ints] = WeakKeyDictionary()
        lateness: Any = SCAN_LATENESS
        self._bounds_ms: Ints = (np.array(lateness._upper_bounds[:-1]) * 1000).astype(np.int64)
        self._buckets: Sequence[Any] = lateness._buckets
        self._sum: Any = lateness._sum

    def took(self, deriver: Deriver, scans: Scans) -> None:
        """Scans that could be read, before the deriver takes them."""
        count = len(scans.at)
        if not count:
            return
        self._events.inc(count)
        for kind, many in enumerate(np.bincount(scans.kind, minlength=len(KINDS)).tolist()):
            if many:
                self._kinds[kind].inc(many)
        late = scans.arrived - scans.at
        self._sum.inc(int(late.sum()) / 1000)
        places = np.searchsorted(self._bounds_ms, late)  # a bucket holds what is not above its bound
        for place, many in enumerate(np.bincount(places, minlength=1).tolist()):
            if many:
                self._buckets[place].inc(many)
        venues = scans.venue[(scans.kind == _IN) & (scans.venue != _NONE)]
        for sort, many in enumerate(np.bincount(self._sorts_of(deriver, venues, scans)).tolist()):
            if many:
                self._check_ins[sort].inc(many)

    def late(self, many: int) -> None:
        """So many came too late to change their neighbours."""
        LATE_SCANS.inc(many)

    def registered(self, deriver: Deriver) -> None:
        """A deriver's registry has changed: categories and regions are looked up anew."""
        self._sort_of.pop(deriver, None)

    def _sorts_of(self, deriver: Deriver, venues: Ints, scans: Scans) -> Ints:
        """The number of each venue's category and region."""
        known = self._sort_of.get(deriver)
        if known is None or len(known) < len(deriver.venues):
            grown = np.full(2 * len(deriver.venues) + 64, _NONE)
            if known is not None:
                grown[: len(known)] = known
            known = self._sort_of[deriver] = grown
        sorts: Ints = known[venues]
        if len(sorts) and sorts.min() == _NONE:
            at_ms = int(scans.at[-1])
            for venue in np.unique(venues[sorts == _NONE]).tolist():
                known[venue] = self._sort(deriver, venue, at_ms)
            sorts = known[venues]
        return sorts

    def _sort(self, deriver: Deriver, venue: int, at_ms: int) -> int:
        name = deriver.venues.text(venue)
        record = deriver.registry.record(name, at_ms)
        pair = deriver.registry.category(name, at_ms), record.region if record is not None else ""
        if pair not in self._sorts and len(self._sorts) >= _SORTS_MOST:
            pair = "other", "other"
        if pair not in self._sorts:
            self._sorts[pair] = len(self._check_ins)
            self._check_ins.append(CHECK_INS.labels(*pair))
        return self._sorts[pair]

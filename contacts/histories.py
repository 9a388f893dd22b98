"""What is held of each person's scans, as columns: each scan points to the one before it in the person's order.

40 bytes a scan and 9 a person, and nothing for Python's collector to look over (docs/adr/0008).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Bools, Ints, distinct
from contacts.compiled import compiled
from contacts.texts import Ints32, Texts, grown

NONE: Final = -1
"""No scan."""

AT, END, OFFSET = 0, 1, 2
"""The columns of `wide`, int64: time of the scan, end of the visit it began, its record's offset."""

NUMBER, SPOT, BEFORE, MARK = 0, 1, 2, 3
"""The columns of `narrow`, int32: its number in the record, its place, the scan before it, and its marks."""

IS_IN, IS_CLOSED, REASON_SHIFT = 1, 2, 2
"""The bits of a mark: a check-in; a later scan has closed its visit; above them the reason of the visit's end."""

UNKNOWN, AT_HOME, AWAY = 0, 1, 2
"""Whether a person belongs to this partition."""


class Histories:
    """People by number, and their scans in order of (time, outs first, venue). `last[person]` is the latest one."""

    def __init__(self) -> None:
        self.people = Texts()
        self.last: Ints32 = np.empty(0, np.int32)
        self.held: Ints32 = np.empty(0, np.int32)
        self.home: NDArray[np.int8] = np.empty(0, np.int8)
        self.wide: Ints = np.empty((0, 3), np.int64)
        self.narrow: Ints32 = np.empty((0, 4), np.int32)
        self.count = 0

    def make_room(self, scans: int) -> None:
        """Room for so many more scans, and for everybody who has a number."""
        if len(self.people) > len(self.last):
            self.last = grown(self.last, len(self.people), NONE)
            self.held = grown(self.held, len(self.people), 0)
            self.home = grown(self.home, len(self.people), UNKNOWN)
        if self.count + scans > len(self.wide):
            self.wide = grown(self.wide, self.count + scans)
            self.narrow = grown(self.narrow, self.count + scans)

    def newcomers(self, people: Ints) -> Ints:
        """Those of whom it is not known yet whether they belong here, each once."""
        self.make_room(0)
        return distinct(people[self.home[people] == UNKNOWN])

    def place(self, people: Ints, away: Bools) -> None:
        """These people belong here, or they are `away`."""
        self.home[people] = np.where(away, AWAY, AT_HOME)

    def are_away(self, people: Ints) -> Bools:
        """Who of them belongs to another partition."""
        away: Bools = self.home[people] == AWAY
        return away

    def cut(self, person: int, before_ms: int) -> None:
        """Forget a person's scans from before a time. What is left of them in memory goes with the next dump."""
        self.make_room(0)
        _cut(np.array([person]), before_ms, self.last, self.held, self.wide, self.narrow)

    def prune(self, limit_ms: int, needed: Ints) -> Ints:
        """Forget all scans from before a time, and everybody who has none left and is not needed.

        Returns the new number of each person, NONE for those who are gone.
        """
        self.make_room(0)
        everybody = np.arange(len(self.people))
        _cut(everybody, limit_ms, self.last, self.held, self.wide, self.narrow)
        stay: Bools = self.held[: len(everybody)] > 0
        stay[needed] = True
        if stay.all():
            if int(self.held[everybody].sum()) < self.count:
                self._close_up(everybody)
            return everybody
        kept = np.flatnonzero(stay)
        self._close_up(kept)
        self.people.keep(kept)
        renumbered = np.full(len(everybody), NONE)
        renumbered[kept] = np.arange(len(kept))
        return renumbered

    def _close_up(self, people: Ints) -> None:
        """Let go of the scans that no one holds; the person `people[n]` becomes n."""
        held = self.held[people]
        count = int(held.sum())
        wide, narrow = np.empty((count, 3), np.int64), np.empty((count, 4), np.int32)
        last = np.full(len(people), NONE, np.int32)
        _gather(people, self.last, held, self.wide, self.narrow, last, wide, narrow)
        self.last, self.held, self.home = last, held, self.home[people]
        self.wide, self.narrow, self.count = wide, narrow, count

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts: each person's scans together, so that nothing need point to anything."""
        self.make_room(0)
        self._close_up(np.arange(len(self.people)))
        texts, lengths = self.people.dump()
        wide, narrow = self.wide, self.narrow
        return {
            "people": texts,
            "people.lengths": lengths,
            "people.held": self.held.astype("<i4").tobytes(),
            "people.home": self.home.tobytes(),
            "scans.at": wide[:, AT].astype("<i8").tobytes(),
            "scans.stay": (wide[:, END] - wide[:, AT]).astype("<i4").tobytes(),
            "scans.offset": wide[:, OFFSET].astype("<i8").tobytes(),
            "scans.number": narrow[:, NUMBER].astype("<i4").tobytes(),
            "scans.spot": narrow[:, SPOT].astype("<i4").tobytes(),
            "scans.mark": narrow[:, MARK].astype("i1").tobytes(),
        }

    @classmethod
    def load(cls, parts: Mapping[str, bytes]) -> Histories:
        """What `dump` gave."""
        loaded = cls()
        loaded.people = Texts.load((parts["people"], parts["people.lengths"]))
        held = loaded.held = np.frombuffer(parts["people.held"], "<i4").astype(np.int32)
        loaded.home = np.frombuffer(parts["people.home"], np.int8).copy()
        ends = np.cumsum(held)
        loaded.last = np.where(held > 0, ends - 1, NONE).astype(np.int32)
        at = np.frombuffer(parts["scans.at"], "<i8")
        loaded.count = len(at)
        loaded.wide = np.column_stack(
            (at, at + np.frombuffer(parts["scans.stay"], "<i4"), np.frombuffer(parts["scans.offset"], "<i8"))
        )
        before = np.arange(-1, len(at) - 1)
        before[(ends - held)[held > 0]] = NONE
        number, spot = np.frombuffer(parts["scans.number"], "<i4"), np.frombuffer(parts["scans.spot"], "<i4")
        mark = np.frombuffer(parts["scans.mark"], np.int8)
        loaded.narrow = np.column_stack((number, spot, before, mark)).astype(np.int32)
        return loaded


@compiled
def _cut(people: Ints, before_ms: int, last: Ints32, held: Ints32, wide: Ints, narrow: Ints32) -> None:
    """Forget these people's scans from before a time."""
    for person in people:
        scan, after, count = last[person], NONE, 0
        while scan != NONE and wide[scan, AT] >= before_ms:
            after = scan
            count += 1
            scan = narrow[scan, BEFORE]
        held[person] = count
        if after == NONE:
            last[person] = NONE
        else:
            narrow[after, BEFORE] = NONE


@compiled
def _gather(
    people: Ints, last: Ints32, held: Ints32, wide: Ints, narrow: Ints32,
    new_last: Ints32, new_wide: Ints, new_narrow: Ints32,
) -> None:  # fmt: skip
    """Copy these people's scans, each person's together and in their order."""
    first = 0
    for place in range(len(people)):
        scan, new = last[people[place]], first + held[place] - 1
        if scan != NONE:
            new_last[place] = new
        while scan != NONE:
            for column in range(3):
                new_wide[new, column] = wide[scan, column]
            for column in range(4):
                new_narrow[new, column] = narrow[scan, column]
            new_narrow[new, BEFORE] = new - 1 if new > first else NONE
            scan = narrow[scan, BEFORE]
            new -= 1
        first += held[place]

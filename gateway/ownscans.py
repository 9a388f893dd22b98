"""The gateway's own scans that no count has in it yet: what they add to the people inside, and take away.

A scan counts from the moment of the decision. Once the brokers have it, it carries the time A of its record, and stays
in the sum until the venue's count has come to a log time of A or later; where that count did not change, until any
count of the same partition is two seconds past A; and at most `longest_ms` after A: a scan that changed nothing (of
somebody who was inside already) brings no message. So between being sent and being counted a scan is counted once,
and where in doubt for a moment twice rather than not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from contacts.registry import Place
from schemas.messages import Scan

_PEOPLE_MOST: Final = 200_000
_AHEAD_MS: Final = 60_000
_TOLD_LATE_MS: Final = 2000
"""A count is told at most once a second (agents.occupancy), and on the way for less than another."""

Mark = dict[str, int]
"""What some scans add to each venue."""


_Stays = tuple[tuple[str, int, tuple[str, ...]], ...]
"""Where a person is: venue, until when a stay is assumed to last, what it lies within."""


class _Sum:
    __slots__ = ("acknowledged", "total")

    def __init__(self) -> None:
        self.total = 0
        self.acknowledged: deque[tuple[int, int]] = deque()


class OwnScans:
    """Sums by venue. `place` finds a venue and what it lies within; `log_time` how far the counts of its partition are.

    Who is where is remembered of the last people scanned, as long as a stay is assumed to last: somebody who goes from
    a mall into its shop, or is scanned twice, is one more only once.
    """

    def __init__(
        self, place: Callable[[str, int], Place], log_time: Callable[[str], int], longest_ms: int = 30_000
    ) -> None:
        self._place, self._log_time, self._longest_ms = place, log_time, longest_ms
        self._sums: dict[str, _Sum] = {}
        self._stays: dict[str, _Stays] = {}

    def inside_already(self, persons: Sequence[str], venue: str, now_ms: int) -> int:
        """How many of these persons, by what this gateway has seen, are at a venue or within it."""
        count = 0
        for person in persons:
            if (stays := self._stays.get(person)) is not None:
                count += venue in _present(stays, now_ms)
        return count

    def add(self, scans: Sequence[Scan], now_ms: int) -> Mark:
        """Count scans, in their order. Returns what they add; a scan that is over, or of the future, adds nothing."""
        mark: Mark = {}
        for scan in scans:
            if scan.kind != "refused":
                self._add(scan, now_ms, mark)
        self.adjust(mark)
        return mark

    def _add(self, scan: Scan, now_ms: int, mark: Mark) -> None:
        venue, at_ms, person = scan.venue, scan.at_ms, scan.person
        _, assumed_ms, _, ancestors = self._place(venue, at_ms)
        if at_ms + assumed_ms <= now_ms or at_ms > now_ms + _AHEAD_MS:
            return
        stays = self._stays.get(person)
        if scan.kind == "in":
            stay = (venue, at_ms + assumed_ms, ancestors)
            if stays is None:  # nearly always
                self._stays[person] = (stay,)
                if len(self._stays) > _PEOPLE_MOST:
                    del self._stays[next(iter(self._stays))]
                for each in (venue, *ancestors):
                    mark[each] = mark.get(each, 0) + 1
                return
            if len(stays) == 1 and stays[0][0] == venue and stays[0][1] > now_ms:
                self._stays[person] = (stay,)
                return
            kept: _Stays = (*(each for each in stays if each[0] in ancestors), stay)
            del self._stays[person]  # to the end: the last to be forgotten
        elif stays is None:  # who came in before this gateway remembers, or by another
            mark[venue] = mark.get(venue, 0) - 1
            return
        else:
            kept = tuple(each for each in stays if each[0] != venue and venue not in each[2])
        self._stays[person] = kept
        before, after = _present(stays, now_ms), _present(kept, now_ms)
        if before != after:
            for each in after - before:
                mark[each] = mark.get(each, 0) + 1
            for each in before - after:
                mark[each] = mark.get(each, 0) - 1

    def adjust(self, mark: Mark) -> None:
        """Count these too."""
        for venue, more in mark.items():
            self._sum(venue).total += more

    def undo(self, mark: Mark) -> None:
        """These scans were not taken after all."""
        for venue, more in mark.items():
            self._sum(venue).total -= more

    def acknowledged(self, mark: Mark, at_ms: int) -> None:
        """The brokers have these scans since `at_ms`, by the time of their records."""
        for venue, more in mark.items():
            if more:
                self._sum(venue).acknowledged.append((at_ms, more))

    def counted(self, venue: str, log_time_ms: int) -> None:
        """A count of the venue has come, as of a log time."""
        if (found := self._sums.get(venue)) is not None:
            self._drop(found, log_time_ms + 1)

    def more(self, venue: str, now_ms: int) -> int:
        """What to add to the venue's last count; may be negative."""
        found = self._sums.get(venue)
        if found is None:
            return 0
        if found.acknowledged:
            self._drop(found, max(self._log_time(venue) - _TOLD_LATE_MS, now_ms - self._longest_ms))
            if not found.total and not found.acknowledged:
                del self._sums[venue]
        return found.total

    def _drop(self, found: _Sum, before_ms: int) -> None:
        waiting = found.acknowledged
        while waiting and waiting[0][0] < before_ms:
            found.total -= waiting.popleft()[1]

    def _sum(self, venue: str) -> _Sum:
        found = self._sums.get(venue)
        if found is None:
            found = self._sums[venue] = _Sum()
        return found


def _present(stays: _Stays, now_ms: int) -> set[str]:
    """Where somebody is: the venues of their stays that are not over, and what those lie within."""
    found: set[str] = set()
    for venue, until_ms, ancestors in stays:
        if until_ms > now_ms:
            found.add(venue)
            found.update(ancestors)
    return found

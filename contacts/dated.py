"""Dated contacts: who met whom, and when, as interviews and other systems tell it (docs/reach.md)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from contacts.columns import Ints, distinct, ints


class DatedContacts(NamedTuple):
    """Contacts from a source to a target at a time, as columns of one length, none of a person with themselves.

    `people`: all ids, sorted, each once, those without a contact too. `source`, `target`: indexes into it.
    """

    people: list[str]
    source: Ints
    target: Ints
    at_ms: Ints

    @classmethod
    def of(
        cls, source: Sequence[str], target: Sequence[str], at_ms: Sequence[int], both_ways: bool = False
    ) -> DatedContacts:
        """From rows in any order; `both_ways` takes each of them from target to source too."""
        people = sorted({*source, *target})
        number = {person: index for index, person in enumerate(people)}
        givers, takers = (np.fromiter(map(number.__getitem__, ids), np.int64, len(ids)) for ids in (source, target))
        met = givers != takers
        found = cls(people, givers[met], takers[met], ints(at_ms)[met])
        if not both_ways:
            return found
        columns = ((found.source, found.target), (found.target, found.source), (found.at_ms, found.at_ms))
        return cls(people, *map(np.concatenate, columns))

    def place(self, person: str) -> int | None:
        """Where a person stands in `people`."""
        place = bisect_left(self.people, person)
        return place if self.people[place : place + 1] == [person] else None

    def within(self, begin_ms: int | None, end_ms: int | None) -> DatedContacts:
        """Those of `[begin_ms, end_ms)`, among the same people; None is no border."""
        chosen = np.ones(len(self.at_ms), np.bool_)
        if begin_ms is not None:
            chosen &= self.at_ms >= begin_ms
        if end_ms is not None:
            chosen &= self.at_ms < end_ms
        return self._replace(source=self.source[chosen], target=self.target[chosen], at_ms=self.at_ms[chosen])

    def backward(self) -> DatedContacts:
        """The same seen backward: from target to source, on negated time."""
        return self._replace(source=self.target, target=self.source, at_ms=-self.at_ms)

    def degrees(self) -> tuple[Ints, Ints]:
        """For each of `people`: how many others have a contact to them, and to how many they have one."""
        count = len(self.people)
        pairs = distinct(self.source * count + self.target)
        giver, taker = np.divmod(pairs, max(count, 1))
        return np.bincount(taker, minlength=count), np.bincount(giver, minlength=count)

"""Names and persons by number, for a search that knows of them only what the answers of the partitions say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, begins, ints
from contacts.pseudonyms import People, Pseudonyms, people_of, texts_of, together

_Halves = NDArray[np.uint64]


class Numbering:
    """Names by number, in the order in which they came."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def of(self, names: Sequence[str]) -> Ints:
        """The numbers of names, new ones for those not known."""
        known = self._numbers
        new = list(dict.fromkeys(name for name in names if name not in known))
        known.update(zip(new, count(len(self.names)), strict=False))
        self.names += new
        return np.fromiter(map(known.__getitem__, names), np.int64, len(names))

    def of_parts(self, parts: Sequence[Sequence[str]]) -> list[Ints]:
        """The same for several parts at once: their new names are numbered in order, however they were divided."""
        self.of(sorted(set().union(*parts)))
        return [self.of(part) for part in parts]


class Persons:
    """Persons by number. Those that come together are numbered in the order of their names, however they were divided.

    As long as all are pseudonyms of one key they are kept as numbers: most of those that a search over several hops
    meets, hundreds of thousands, are in no report, and nobody asks for their names.
    """

    def __init__(self) -> None:
        self._known: Pseudonyms | None = Pseudonyms("", np.empty((0, 2), np.uint64))
        self._texts = Numbering()

    def of_parts(self, parts: Sequence[People]) -> list[Ints]:
        """The numbers of persons, new ones for those not known."""
        halves = self._alike(parts)
        if halves is None:
            return self._texts.of_parts([texts_of(part) for part in parts])
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return np.split(self._numbered(halves), ends)[:-1]

    def names(self, numbers: Ints) -> list[str]:
        """The names of persons."""
        if self._known is None:
            return [self._texts.names[number] for number in numbers.tolist()]
        return Pseudonyms(self._known.key_id, self._known.halves[numbers]).texts()

    def _alike(self, parts: Sequence[People]) -> _Halves | None:
        """The halves of all of them; None when they, or those known, are not pseudonyms of one key."""
        if self._known is None:
            return None
        some = [people_of(part) if isinstance(part, list) else part for part in parts if len(part)]
        if not some:
            return self._known.halves[:0]
        found = together(some)
        if isinstance(found, Pseudonyms) and self._known.key_id in ("", found.key_id):
            self._known = Pseudonyms(found.key_id, self._known.halves)
            return found.halves
        self._texts.of(self._known.texts())
        self._known = None
        return None

    def _numbered(self, halves: _Halves) -> Ints:
        """The numbers of those with these halves: sorted once, together with those known."""
        assert self._known is not None
        known = len(self._known)
        every = np.concatenate((self._known.halves, halves))
        order = _by_halves(every)
        along = every[order]
        first = begins(along[:, 0]) | begins(along[:, 1])
        at = np.flatnonzero(first)
        earliest = np.minimum.reduceat(order, at) if len(at) else ints([])
        new = earliest >= known
        number = np.where(new, known + np.cumsum(new) - 1, earliest)
        self._known = Pseudonyms(self._known.key_id, np.concatenate((self._known.halves, every[earliest[new]])))
        numbers = np.empty(len(every), np.int64)
        numbers[order] = number[np.cumsum(first) - 1]
        return numbers[known:]


def _by_halves(halves: _Halves) -> Ints:
    """The order of pseudonyms of one key. The first half nearly always tells two of them apart, and is sorted alone."""
    order = np.argsort(halves[:, 0])
    along = halves[order]
    if (~begins(along[:, 0]) & begins(along[:, 1])).any():
        return np.lexsort((halves[:, 1], halves[:, 0]))
    return order

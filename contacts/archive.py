"""The settled days of a partition: segments, and what is taken back out of them.

A visit is settled when its day has been over for long enough; what changes it later is rare, and takes it back into the
living part of the index, from where it is settled again with the next day.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, distinct, ints
from contacts.segments import Sealed, Segment
from schemas.blocks import LATE, SELF_REPORTED

Arrays = Mapping[str, NDArray[Any]]
Begun = tuple[int, int, int, bool]
"""A person, a venue, a time in ms, and whether it is a declared stay's: what makes a visit."""


def begun(person: Ints, venue: Ints, start: Ints, reason: Ints) -> list[Begun | None]:
    """What makes each visit; None for late ones, which nothing changes."""
    columns = (column.tolist() for column in (person, venue, start, reason == SELF_REPORTED))
    made = zip(*columns, strict=True)
    return [None if late else each for each, late in zip(made, (reason == LATE).tolist(), strict=True)]


class Damaged(RuntimeError):
    """A file that is not what was written: nothing may be answered from it, what it held is to be rebuilt."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The file {name} of a snapshot cannot be used: {why}. What it held is rebuilt from the topic."
        )


class Shelf(Protocol):
    """Where segments are kept: files that are written once and mapped, or the memory."""

    @property
    def last(self) -> int:
        """The number of the newest arrays put: their names end with their numbers."""
        ...

    def put(self, arrays: Arrays) -> tuple[str, Arrays]:
        """Keep arrays for good; the name they have now, and the arrays to read from. May be called in a thread."""
        ...

    def get(self, name: str) -> Arrays:
        """The arrays of a name."""
        ...

    def check(self, name: str) -> None:
        """Called before the first look at arrays that `get` gave. Raises Damaged when they are not what was put."""
        ...

    def drop(self, name: str) -> None:
        """Let go of arrays: they may vanish once no snapshot names them."""
        ...


class MemoryShelf:
    """Keeps arrays as they are: for work on files, and tests."""

    def __init__(self) -> None:
        self._kept: dict[str, Arrays] = {}
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest arrays."""
        return self._last

    def put(self, arrays: Arrays) -> tuple[str, Arrays]:
        """Keep arrays."""
        self._last += 1
        name = f"segment-{self._last}"
        self._kept[name] = arrays
        return name, arrays

    def get(self, name: str) -> Arrays:
        """The arrays of a name."""
        return self._kept[name]

    def check(self, name: str) -> None:
        """Memory is believed."""

    def drop(self, name: str) -> None:
        """Let go of arrays."""
        del self._kept[name]


class _Listed(msgspec.Struct, array_like=True):
    """A segment in a snapshot."""

    name: str
    midnight_ms: int
    until_ms: int
    erased: bool


class Archive:
    """The segments of a partition, by day; a day may have several."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.segments: list[Segment] = []

    def __len__(self) -> int:
        return sum(len(segment) - segment.gone_count for segment in self.segments)

    @property
    def bytes_held(self) -> int:
        """The memory of all segments, exact times left out."""
        return sum(segment.bytes_held for segment in self.segments)

    def between(self, since_ms: int, until_ms: int) -> list[Segment]:
        """The segments that may hold visits which touch `[since_ms, until_ms]`. Raises Damaged."""
        found = [each for each in self.segments if each.midnight_ms <= until_ms and each.until_ms >= since_ms]
        for segment in found:
            self.check(segment)
        return found

    def all(self) -> list[Segment]:
        """All segments. Raises Damaged."""
        return self.between(-(1 << 62), 1 << 62)

    @property
    def unchecked(self) -> Segment | None:
        """A segment that nobody has looked at yet, if there is one."""
        return next((each for each in self.segments if not each.checked), None)

    @property
    def erased(self) -> Segment | None:
        """A segment that still holds erased visits, if there is one."""
        return next((each for each in self.segments if each.erased), None)

    def check(self, segment: Segment) -> None:
        """See that a segment is what was written; any thread may. Raises Damaged."""
        if not segment.checked:
            self.shelf.check(segment.file)
            segment.checked = True

    def replace(self, older: Sequence[Segment], newer: Segment | None) -> None:
        """Keep a segment in place of others."""
        for segment in older:
            self.segments.remove(segment)
            self.shelf.drop(segment.file)
        if newer is not None:
            self.segments.append(newer)
            self.segments.sort(key=lambda each: each.midnight_ms)

    def take_touching(self, persons: Ints, low: Ints, high: Ints) -> Sealed | None:
        """Take out the visits of persons (sorted) that touch their `[low, high]` (ms), one span for each."""
        taken = []
        for segment in self.between(int(low.min()), int(high.max())) if len(persons) else ():
            row, places = segment.of_persons(persons)
            if len(places):
                visits = segment.visits(places)
                touches = (visits.start <= high[row]) & (visits.end >= low[row])
                if touches.any():
                    segment.take_out(places[touches])
                    taken.append(visits.of(touches))
        return _together(taken)

    def take_begun(self, wanted: Collection[Begun], venue_of: NDArray[np.int32]) -> Sealed | None:
        """Take out the visits that check-ins or declared stays made, no late ones; `venue_of` gives a lineage's venue.

        What one segment has of a visit answers for it: no other is asked.
        """
        left, taken = set(wanted), []
        starts = [start_ms for _, _, start_ms, _ in left]
        for segment in self.between(min(starts), max(starts)) if left else ():
            here = [each for each in left if segment.midnight_ms <= each[2] <= segment.until_ms]
            row, places = segment.of_persons(persons := distinct(ints([person for person, _, _, _ in here])))
            visits = segment.visits(places)
            made = begun(persons[row], venue_of[visits.lineage], visits.start, visits.reason)
            chosen = ints([place for place, each in enumerate(made) if each in left])
            if len(chosen):
                segment.take_out(places[chosen])
                taken.append(visits.of(chosen))
                left.difference_update(made)
        return _together(taken)

    def holds(self, person: int) -> bool:
        """Whether there is a visit of a person."""
        return any(len(segment.of_persons(np.array([person]))[1]) for segment in self.all())

    def erase(self, person: int, before_ms: int) -> Sealed | None:
        """Take out all visits of a person that began before a time; their files are to be written anew without them."""
        taken = []
        for segment in self.all():
            _, places = segment.of_persons(np.array([person]))
            visits = segment.visits(places)
            early = visits.start < before_ms
            if early.any():
                segment.take_out(places[early])
                segment.erased = True
                taken.append(visits.of(early))
        return _together(taken)

    def expire(self, before_ms: int) -> None:
        """Let go of the visits that ended before a time."""
        old = [segment for segment in self.segments if segment.until_ms < before_ms]
        self.replace(old, None)
        for segment in self.between(before_ms, before_ms):
            if segment.midnight_ms < before_ms:
                ended = segment.midnight_ms + (segment.exact >> 32) + ((segment.exact >> 4) & 0xFFF_FFFF) < before_ms
                segment.take_out(np.flatnonzero(ended))

    def dump(self, last: int) -> dict[str, bytes | None]:
        """What is needed, as named parts: None stands for a file on the shelf.

        Of the files up to number `last` no others will be asked for again.
        """
        listed = [_Listed(each.file, each.midnight_ms, each.until_ms, each.erased) for each in self.segments]
        parts: dict[str, bytes | None] = {each.file: None for each in self.segments}
        parts |= {f"gone.{each.file}": each.gone.tobytes() for each in self.segments if each.gone_count}
        return {"segments": msgspec.msgpack.encode(listed), "shelf": str(last).encode(), **parts}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave; the arrays come from the shelf. Raises Damaged."""
        for each in msgspec.msgpack.decode(parts["segments"], type=list[_Listed]):
            arrays = self.shelf.get(each.name)
            gone = np.zeros((len(arrays["words"]) + 7) // 8, np.uint8)
            if bits := parts.get(f"gone.{each.name}"):
                gone[:] = np.frombuffer(bits, np.uint8)
            segment = Segment.of_arrays(each.midnight_ms, each.until_ms, arrays, gone)
            segment.file, segment.erased = each.name, each.erased
            self.segments.append(segment)


def _together(taken: Sequence[Sealed]) -> Sealed | None:
    return Sealed._make(np.concatenate(column) for column in zip(*taken, strict=True)) if taken else None

"""The settled days of a partition: segments, and what is taken back out of them.

A visit is settled when its day has been over for long enough; what changes it later is rare, and takes it back into the
living part of the index, from where it is settled again with the next day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, among
from contacts.segments import Sealed, Segment

Arrays = Mapping[str, NDArray[Any]]


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

    def between(self, since_ms: int, until_ms: int) -> Iterator[Segment]:
        """The segments that may hold visits which touch `[since_ms, until_ms]`. Raises Damaged."""
        for segment in self.segments:
            if segment.midnight_ms <= until_ms and segment.until_ms >= since_ms:
                self.check(segment)
                yield segment

    def all(self) -> Iterator[Segment]:
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
        return Sealed._make(np.concatenate(column) for column in zip(*taken, strict=True)) if taken else None

    def take_begun(self, person: int, lineages: Ints, start_ms: int, first: int, last: int) -> Sealed | None:
        """Take out the visit of a person that began at a time at one of the lineages, its reason `first` to `last`."""
        for segment in self.between(start_ms, start_ms):
            _, places = segment.of_persons(np.array([person]))
            visits = segment.visits(places)
            same = (visits.start == start_ms) & (visits.reason >= first) & (visits.reason <= last)
            same &= among(visits.lineage, lineages)
            if same.any():
                segment.take_out(places[same])
                return visits.of(same)
        return None

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
        return Sealed._make(np.concatenate(column) for column in zip(*taken, strict=True)) if taken else None

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

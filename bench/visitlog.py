"""One partition of `visits` as two weeks leave it: the blocks of a population's changes, made and written quickly.

Each visit is born with an assumed end; of a share of them a check-out says later when they ended, which is another row,
as scans do. Rows come in order of time from each partition of `scans`, in blocks of a length that is given: a busy
deployment's have about a thousand rows, a quiet one's a few. Names are packed by numpy: nothing here loops over rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.population import Population, Visits
from schemas.blocks import ASSUMED, CHECKED_OUT, VISIT_COLUMNS, VISITS_MAGIC, Lineage, frame_of
from streams.settings import DAY_MS

SHARES: Final = 4
"""Partitions of `scans`, and of `visits`: the log is that of one of them."""

_OUT_SHARE: Final = 0.25  # of the visits, as in bench.workload
_PREFIX: Final = b"b1:"
_NAME: Final = len(_PREFIX) + 32
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "V2")
Ints = NDArray[np.int64]


class _Packed(msgspec.Struct, array_like=True):
    """A `VisitBlock` whose persons are packed already."""

    source_partition: int
    first_offset: int
    next_offset: int
    log_time_ms: int
    lineages: list[Lineage]
    persons: msgspec.Raw
    rows: bytes
    controls: tuple[()] = ()


class _Events(NamedTuple):
    """Births and check-outs: `born` is the offset of the birth, -1 for a birth itself."""

    at: Ints
    person: Ints
    venue: Ints
    start: Ints
    end: Ints
    born: Ints

    def of(self, rows: NDArray[np.bool_] | Ints) -> _Events:
        return _Events(*(column[rows] for column in self))


_NO_EVENTS: Final = _Events(*(np.empty(0, np.int64) for _ in range(6)))


class Piece(NamedTuple):
    """A day's blocks as record values, in order; how many visits are born in them, and how many rows they have."""

    values: list[bytes]
    visits: int
    rows: int


class VisitLog:
    """The log of partition 0 of `SHARES`, of `visits` visits there (the population makes `SHARES` times as many).

    `block_rows` is the length of a block; `seed` that of the population.
    """

    def __init__(self, visits: int, block_rows: int = 1000, seed: int = 1, out_share: float = _OUT_SHARE) -> None:
        self.population = Population(visits * SHARES, seed)
        self._block_rows, self._out_share = block_rows, out_share
        self._random = np.random.default_rng([seed, 9])
        self._next = [0] * SHARES
        self._waiting = [_NO_EVENTS] * SHARES

    @property
    def end_ms(self) -> int:
        """A log time past everything."""
        return self.population.end_ms + DAY_MS

    def pieces(self) -> Iterator[Piece]:
        """The blocks of each day in turn; then the check-outs that are left, and an empty block from each source."""
        for number, visits in enumerate(self.population.days()):
            here = visits.of(visits.venue % SHARES == 0)
            del visits
            yield self._piece(here, self.population.start_ms + (number + 1) * DAY_MS)
        none = Visits(np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int64))
        last = self._piece(none, self.end_ms)
        yield last._replace(values=last.values + [self.beat(source, self.end_ms) for source in range(SHARES)])

    def beat(self, source: int, at_ms: int) -> bytes:
        """An empty block that says how far a source has come."""
        offset = self._next[source]
        return frame_of(
            VISITS_MAGIC,
            msgspec.msgpack.encode(_Packed(source, offset, offset, at_ms, [], msgspec.Raw(b"\x90"), b"")),
        )

    def _piece(self, visits: Visits, until_ms: int) -> Piece:
        person, venue = visits.person.astype(np.int64), (visits.venue // SHARES).astype(np.int64)
        leaves = self._random.random(len(person)) < self._out_share
        end = np.where(leaves, (visits.start_ms + visits.end_ms) // 2, visits.end_ms)  # too short an end is assumed
        blocks: list[tuple[int, bytes]] = []
        rows = 0
        for source in range(SHARES):
            mine = _mixed(person, 3) % SHARES == source
            births = _Events(
                visits.start_ms[mine], person[mine], venue[mine], visits.start_ms[mine], end[mine],
                np.full(int(mine.sum()), -1),
            )  # fmt: skip
            births = births.of(np.argsort(births.at, kind="stable"))
            outs = _Events(
                visits.end_ms[mine & leaves], person[mine & leaves], venue[mine & leaves],
                visits.start_ms[mine & leaves], visits.end_ms[mine & leaves], np.empty(int((mine & leaves).sum()), int),
            )  # fmt: skip
            waiting = self._waiting[source]
            at = np.concatenate((births.at, outs.at, waiting.at))
            order = np.argsort(at, kind="stable")
            order = order[at[order] < until_ms]
            place = np.full(len(at), -1)
            place[order] = self._next[source] + np.arange(len(order))
            outs = outs._replace(born=self._births_of(outs, births, place[: len(births.at)]))
            both = _Events(*(np.concatenate(columns) for columns in zip(births, outs, waiting, strict=True)))
            self._waiting[source] = both.of(np.flatnonzero(place < 0))
            now = both.of(order)
            blocks += self._blocks(source, now, self._next[source])
            self._next[source] += len(order)
            rows += len(order)
        blocks.sort(key=lambda each: each[0])
        return Piece([value for _, value in blocks], len(person), rows)

    @staticmethod
    def _births_of(outs: _Events, births: _Events, place: Ints) -> Ints:
        """The offsets of the births of check-outs: a person begins one visit at a time."""
        key, wanted = (each.start << 25 | each.person for each in (births, outs))
        order = np.argsort(key)
        return place[order[np.searchsorted(key[order], wanted)]]

    def _blocks(self, source: int, events: _Events, first: int) -> Iterator[tuple[int, bytes]]:
        """The events from offset `first` on as blocks, each with its log time."""
        count = len(events.at)
        rows = np.zeros((count, len(VISIT_COLUMNS)), np.int64)
        column = {name: rows[:, number] for number, name in enumerate(VISIT_COLUMNS)}
        born = events.born < 0
        column["offset"][:] = first + np.arange(count)
        column["born_offset"][:] = np.where(born, column["offset"], events.born)
        column["start_ms"][:], column["end_ms"][:] = events.start, events.end
        column["old_end_ms"][:] = np.where(born, events.start, (events.start + events.end) // 2)
        column["reason"][:] = np.where(born, ASSUMED, CHECKED_OUT)
        names = packed_names(events.person)
        for low in range(0, count, self._block_rows):
            high = min(low + self._block_rows, count)
            venues, column["lineage"][low:high] = np.unique(events.venue[low:high], return_inverse=True)
            at_ms = int(events.at[high - 1])
            persons = b"\xdd" + (high - low).to_bytes(4, "big") + names[low:high].tobytes()
            lineages = [Lineage(f"v{venue}") for venue in venues.tolist()]
            block = _Packed(
                source, first + low, first + high, at_ms, lineages, msgspec.Raw(persons), rows[low:high].tobytes()
            )
            yield at_ms, frame_of(VISITS_MAGIC, msgspec.msgpack.encode(block))


def packed_names(person: Ints) -> NDArray[np.uint8]:
    """The pseudonyms of persons as MessagePack strings, one a row."""
    packed = np.empty((len(person), 2 + _NAME), np.uint8)
    packed[:, 0], packed[:, 1] = 0xD9, _NAME
    packed[:, 2 : 2 + len(_PREFIX)] = np.frombuffer(_PREFIX, np.uint8)
    halves = np.stack((_mixed(person, 1), _mixed(person, 2)), axis=1).astype("<u8").view(np.uint8)
    packed[:, 2 + len(_PREFIX) :] = _HEX[halves].view(np.uint8).reshape(len(person), 32)
    return packed


def _mixed(number: Ints, salt: int) -> NDArray[np.uint64]:
    """64 bits that all depend on a number and a salt (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        value = (number.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt << 40)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))

"""The directory of persons of one worker, as files: names are appended as they come, and wiped when forgotten.

    FOLDER/NAME.keys    17 bytes a person: two halves and a tag
    FOLDER/NAME.head    XXH3 of the rest | how many persons there are, what is rare, the XXH3 of each piece of keys

Snapshots of partitions name the directory that their numbers are of. A directory that is damaged, or another's, is not
used: a new one with a new id begins, and the states that need the old one are rebuilt.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from contacts.columns import ints
from contacts.people import KEY, Directory
from streams.durable import make_durable, replace_durably

_PIECE: Final = 1 << 16
_DIGEST: Final = 8

log = logging.getLogger(__name__)


class _Head(msgspec.Struct):
    cluster: str
    count: int
    small: bytes
    digests: list[bytes]
    missed: dict[int, int]
    """By partition: the last epoch of the directory that began while the partition was elsewhere."""
    wiped: list[int]
    """Keys that are to be wiped, or are so already: the digests are of what they are then."""


class _Write(NamedTuple):
    """The keys from `first` on as they are to be written, and what to wipe."""

    number: int
    first: int
    keys: NDArray[Any]
    head: _Head


class PeopleFile:
    """The files of one directory. `people` is the directory: only the main loop changes it."""

    def __init__(self, folder: Path, name: str, cluster: str) -> None:
        self._keys, self._head = folder / f"{name}.keys", folder / f"{name}.head"
        self._lock = threading.Lock()
        self._writes: deque[_Write] = deque()
        self._number = 0
        self._wiped: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self.people = Directory()
        self._state = self._read(cluster) or _Head(cluster, -1, b"", [], {}, [])
        if self._state.count < 0:
            self._head.unlink(missing_ok=True)
            self._keys.write_bytes(b"")
        self._changed = self._state.count < 0
        self._captured = max(self._state.count, 0)

    def _read(self, cluster: str) -> _Head | None:
        try:
            packed = self._head.read_bytes()
            if xxhash.xxh3_64_digest(packed[_DIGEST:]) != packed[:_DIGEST]:
                raise ValueError("its head is damaged")
            head = msgspec.msgpack.decode(packed[_DIGEST:], type=_Head)
            if head.cluster != cluster:
                return None
            with self._keys.open("r+b") as file:
                self._wipe(file, head)
                self.people.restore(head.count, _checked(file, head), head.small)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("The directory of persons cannot be used: %s. States that need it are rebuilt.", error)
            return None
        return head

    def check(self, partition: int, stamp: bytes) -> None:
        """Raises ValueError when a partition's snapshot does not go with this directory."""
        if self.people.epoch_of(stamp) < self._state.missed.get(partition, 0):
            raise ValueError("persons were forgotten while the partition was elsewhere")

    def forget(self, numbers: Collection[int], away: Collection[int]) -> None:
        """Wipe out persons of whom no partition held has a visit; older snapshots of those that are away do not fit."""
        if numbers:
            self.people.forget(numbers)
            self._wiped.update(numbers)
            self._state.missed |= dict.fromkeys(away, self.people.epoch)

    def sync(self) -> Callable[[], None]:
        """What makes the directory durable as it is now; to be run in a thread, in any order with others."""
        first, count = self._captured, len(self.people)
        if count > first or self._wiped or self._changed:
            wiped, self._wiped, self._changed, self._captured = sorted(self._wiped), set(), False, count
            self._number += 1
            head = _Head(self._state.cluster, count, self.people.small(), [], dict(self._state.missed), wiped)
            self._writes.append(_Write(self._number, first, self.people.keys(first, count), head))
        return partial(self._write_up_to, self._number)

    def _write_up_to(self, number: int) -> None:
        with self._lock:
            while self._writes and self._writes[0].number <= number:
                self._write(self._writes[0])
                self._writes.popleft()

    def _write(self, what: _Write) -> None:
        """New keys; then the head, which says what to wipe; then that is done. A crash in between leaves all of it."""
        head, digests = what.head, dict(enumerate(self._state.digests))
        with self._keys.open("r+b") as file:
            file.seek(what.first * KEY.itemsize)
            file.write(what.keys.tobytes())
            make_durable(file)
            pieces = set(range(what.first // _PIECE, -(-head.count // _PIECE)))
            for piece in pieces | {number // _PIECE for number in head.wiped}:
                digests[piece] = xxhash.xxh3_64_digest(_piece(file, piece, head))
            head.digests = self._state.digests = [digests[piece] for piece in sorted(digests)]
            packed = msgspec.msgpack.encode(head)
            replace_durably(self._head, xxhash.xxh3_64_digest(packed) + packed)
            self._wipe(file, head)

    @staticmethod
    def _wipe(file: BinaryIO, head: _Head) -> None:
        for piece in sorted({number // _PIECE for number in head.wiped}):
            keys = _piece(file, piece, head)
            file.seek(piece * _PIECE * KEY.itemsize)
            file.write(keys)
        if head.wiped:
            make_durable(file)


def _piece(file: BinaryIO, piece: int, head: _Head) -> bytes:
    """A piece of the keys, with those wiped that are to be."""
    first = piece * _PIECE
    file.seek(first * KEY.itemsize)
    keys = np.frombuffer(file.read((min(first + _PIECE, head.count) - first) * KEY.itemsize), KEY).copy()
    wiped = ints(head.wiped) - first
    keys[wiped[(wiped >= 0) & (wiped < len(keys))]] = np.frombuffer(Directory.WIPED, KEY)
    return keys.tobytes()


def _checked(file: BinaryIO, head: _Head) -> Iterator[NDArray[np.void]]:
    """The keys, a piece at a time. Raises ValueError when one is not what was written."""
    size = os.fstat(file.fileno()).st_size
    if size < head.count * KEY.itemsize or len(head.digests) != -(-head.count // _PIECE):
        raise ValueError("its keys are cut short")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if head.count else b""
    for number, digest in enumerate(head.digests):
        first = number * _PIECE
        keys = np.frombuffer(mapped, KEY, min(_PIECE, head.count - first), first * KEY.itemsize)
        if xxhash.xxh3_64_digest(keys.data.cast("B")) != digest:
            raise ValueError("its keys are damaged")
        yield keys

"""The directory of persons of one worker, as files: names are appended as they come, and wiped when forgotten.

    FOLDER/NAME.keys    17 bytes a person: two halves and a tag
    FOLDER/NAME.head    how many persons there are, what is rare, and the XXH3 of each piece of keys

Snapshots of partitions name the directory that their numbers are of. A directory that is damaged, or another's, is not
used: a new one with a new id begins, and the states that need the old one are rebuilt.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from contacts.people import KEY, Directory

_PIECE: Final = 1 << 16

log = logging.getLogger(__name__)


class _Head(msgspec.Struct):
    cluster: str
    count: int
    small: bytes
    digests: list[bytes]
    missed: dict[int, int]
    """By partition: the last epoch of the directory that began while the partition was elsewhere."""


class PeopleFile:
    """The files of one directory. `people` is the directory: only the main loop changes it."""

    def __init__(self, folder: Path, name: str, cluster: str) -> None:
        self._keys, self._head = folder / f"{name}.keys", folder / f"{name}.head"
        self._lock = threading.Lock()
        self._durable = 0
        self._wiped: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self.people = Directory()
        self._state = _Head(cluster, 0, b"", [], {})
        found = self._read(cluster)
        if found is not None:
            self._state, self._durable = found, found.count
        else:
            self._head.unlink(missing_ok=True)
            self._keys.write_bytes(b"")

    def _read(self, cluster: str) -> _Head | None:
        try:
            head = msgspec.msgpack.decode(self._head.read_bytes(), type=_Head)
            keys = np.fromfile(self._keys, KEY, head.count)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("The directory of persons cannot be read (%s): states that need it are rebuilt.", error)
            return None
        if head.cluster != cluster:
            return None
        if _digests(keys, range(len(head.digests))) != dict(enumerate(head.digests)) or len(keys) != head.count:
            log.warning("The directory of persons is damaged: states that need it are rebuilt.")
            return None
        self.people.restore(keys, head.small)
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
        """What makes the directory durable as it is now; to be run in a thread."""
        count = len(self.people)
        wiped, self._wiped = self._wiped, set()
        keys = self.people.keys(self._durable, count)
        head = _Head(self._state.cluster, count, self.people.small(), [], dict(self._state.missed))
        first = self._durable
        return lambda: self._write(first, keys, wiped, head)

    def _write(self, first: int, keys: NDArray[Any], wiped: set[int], head: _Head) -> None:
        with self._lock:
            if head.count < self._durable:  # a later call was quicker
                self._wiped |= wiped
                return
            if head.count == first and not wiped and self._head.exists():
                return
            pieces = set(range(first // _PIECE, -(-head.count // _PIECE))) | {number // _PIECE for number in wiped}
            with self._keys.open("r+b") as file:
                file.seek(first * KEY.itemsize)
                file.write(keys.tobytes())
                for number in wiped:
                    file.seek(number * KEY.itemsize)
                    file.write(Directory.WIPED)
                file.flush()
                os.fsync(file.fileno())
            digests = dict(enumerate(self._state.digests)) | _digests(
                np.memmap(self._keys, KEY, "r", shape=(head.count,)) if head.count else np.empty(0, KEY), pieces
            )
            head.digests = self._state.digests = [digests[piece] for piece in sorted(digests)]
            new = self._head.with_suffix(".new")
            with new.open("wb") as out:
                out.write(msgspec.msgpack.encode(head))
                out.flush()
                os.fsync(out.fileno())
            new.rename(self._head)
            self._durable = head.count


def _digests(keys: NDArray[Any], pieces: Collection[int]) -> dict[int, bytes]:
    return {
        piece: xxhash.xxh3_64_digest(np.ascontiguousarray(keys[piece * _PIECE : (piece + 1) * _PIECE]).tobytes())
        for piece in pieces
    }

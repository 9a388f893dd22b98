"""Arrays that are written once and then mapped: the segments of a partition, as files in its snapshot's folder.

A file is `LKSEG1` and padding (8 bytes) | length of the head (4) | head (MessagePack) | XXH3 of the head (8) | arrays,
each at a multiple of 4096. The head lists the arrays and the XXH3 of each. Opening a file reads its head alone; `check`
reads it through, before anything is answered from it for the first time.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from contacts.archive import Damaged

PREFIX: Final = "segment-"
"""What the files are called, before their number."""

NEWEST: Final = "shelf"
"""The part of a snapshot that says which file was the newest when it was made."""

_MAGIC: Final = b"LKSEG1\0\0"
_NUMBERED: Final = re.compile(PREFIX + r"(\d+)")
_PAGE: Final = 4096


class _Array(msgspec.Struct, array_like=True):
    """Where an array is, and what it is."""

    name: str
    dtype: str
    count: int
    offset: int
    digest: bytes


class _Head(msgspec.Struct, array_like=True):
    arrays: list[_Array]
    size: int


def is_newer(name: str, newest: bytes) -> bool:
    """Whether a file was written after the one of number `newest`: the next snapshot may have it."""
    found = _NUMBERED.fullmatch(name)
    return found is not None and int(found[1]) > int(newest)


class FileShelf:
    """The files of one partition. `folder` is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = (_NUMBERED.fullmatch(path.name) for path in folder.glob(PREFIX + "*"))
        self._last = max((int(each[1]) for each in found if each), default=0)
        self._unchecked: dict[str, tuple[_Head, mmap.mmap]] = {}

    @property
    def last(self) -> int:
        """The number of the newest file."""
        return self._last

    def put(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[str, Mapping[str, NDArray[Any]]]:
        """Write arrays; the name they have now, and the same arrays mapped. Durable once a snapshot names them."""
        self._folder.mkdir(parents=True, exist_ok=True)
        offset = _padded(_PAGE + 128 * len(arrays))
        listed = []
        for key, array in arrays.items():
            whole = np.ascontiguousarray(array)
            listed.append(_Array(key, whole.dtype.str, len(whole), offset, xxhash.xxh3_64_digest(whole.data)))
            offset = _padded(offset + whole.nbytes)
        head = msgspec.msgpack.encode(_Head(listed, offset))
        name, file = self._new()
        with file:
            file.write(_MAGIC + len(head).to_bytes(4, "big") + head + xxhash.xxh3_64_digest(head))
            for each, array in zip(listed, arrays.values(), strict=True):
                file.seek(each.offset)
                file.write(np.ascontiguousarray(array).data)
            file.truncate(offset)
        mapped = self.get(name)
        self._unchecked.pop(name, None)  # what was just written from memory needs no look
        return name, mapped

    def _new(self) -> tuple[str, BinaryIO]:
        """A file that nobody has: another worker may have gone on in the folder while this one was busy."""
        while True:
            self._last += 1
            name = f"{PREFIX}{self._last}"
            try:
                return name, (self._folder / name).open("xb")
            except FileExistsError:
                continue

    def get(self, name: str) -> Mapping[str, NDArray[Any]]:
        """The arrays of a file, mapped. Raises Damaged when its head or its length is not what was written."""
        try:
            with (self._folder / name).open("rb") as file:
                start = file.read(12)
                length = int.from_bytes(start[8:], "big")
                data, digest = file.read(length), file.read(8)
                if start[:8] != _MAGIC or len(data) != length or xxhash.xxh3_64_digest(data) != digest:
                    raise Damaged(name, "its head is damaged")
                head = msgspec.msgpack.decode(data, type=_Head)
                if file.seek(0, 2) != head.size:
                    raise Damaged(name, "it is cut short")
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Damaged(name, f"it cannot be read ({error.strerror})") from error
        self._unchecked[name] = head, mapping
        return {each.name: np.frombuffer(mapping, each.dtype, each.count, each.offset) for each in head.arrays}

    def check(self, name: str) -> None:
        """Read a file through, once. Raises Damaged when it is not what was written: then the next start rebuilds."""
        head, mapping = self._unchecked.get(name, (None, None))
        if head is not None and mapping is not None:
            for each in head.arrays:
                size = np.dtype(each.dtype).itemsize * each.count
                if xxhash.xxh3_64_digest(memoryview(mapping)[each.offset : each.offset + size]) != each.digest:
                    (self._folder / name).unlink(missing_ok=True)
                    raise Damaged(name, f"its {each.name} are damaged")
            self._unchecked.pop(name, None)

    def drop(self, name: str) -> None:
        """Nothing: the file goes when a snapshot no longer names it."""
        self._unchecked.pop(name, None)


def _padded(size: int) -> int:
    return -(-size // _PAGE) * _PAGE

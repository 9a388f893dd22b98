"""Copies kept on disk for the next start: frames of `length (8) | CRC-32 (4) | bytes`, in place whole or not at all.

The statuses of millions are written while messages go on coming in. Rows are copied piece by piece, and the offsets
kept are those from before the first piece: whoever takes the file up reads on from there, meets the messages again that
came meanwhile, and by their positions ends where the copy stood.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from contacts.people import KEY
from gateway.statuses import ABSENT, TYPES, Sort, StatusCopy
from schemas.messages import Message

_MAGIC: Final = b"LKK2"
_ROWS: Final = 32_768
_ROW: Final = sum(np.dtype(kind).itemsize for kind in TYPES.values())


class Damaged(ValueError):
    """A kept file that is cut short, altered, or of another version; the message says which."""


class Standpoint(msgspec.Struct, frozen=True):
    """How far a copy had come: in which cluster's topic, to which offsets, when it was level, and when it was kept.

    `whole`: the topic had been read to its end at least once.
    """

    cluster: str = ""
    offsets: dict[int, int] = {}
    level_at_ms: int | None = None
    kept_at_ms: int = 0
    whole: bool = False


class _Head(msgspec.Struct, frozen=True):
    standpoint: Standpoint
    rows: int
    round: int
    people: bytes


class _Tail(msgspec.Struct, frozen=True):
    sorts: list[Sort]


class Plain(msgspec.Struct, frozen=True):
    """A copy of few messages, whole: those of one topic as they came."""

    standpoint: Standpoint
    messages: list[msgspec.Raw]


async def keep_statuses(path: Path, copy: StatusCopy, standpoint: Standpoint) -> None:
    """Write a copy of statuses. In the loop each piece costs a millisecond; the disk's work is done in a thread."""
    rows = copy.columns.length
    head = _Head(standpoint, rows, copy.round, copy.people.small())
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        await asyncio.to_thread(_write, file, _MAGIC, msgspec.msgpack.encode(head))
        for first in range(0, rows, _ROWS):
            piece = _piece(copy, first, min(first + _ROWS, rows))
            await asyncio.to_thread(_write, file, piece)
        await asyncio.to_thread(_write, file, msgspec.msgpack.encode(_Tail(copy.sorts)))
        await asyncio.to_thread(_finish, file, new, path)


def _piece(copy: StatusCopy, first: int, last: int) -> bytes:
    """Some rows: their keys, their columns, and the times of their negative tests."""
    columns = copy.columns
    rows = columns["tests"][first:last]
    tests = rows[rows > 0]
    parts = [copy.people.keys(first, last).tobytes()]
    parts += [columns[name][first:last].tobytes() for name in TYPES]
    parts += [copy.tests[kind][tests].tobytes() for kind in copy.test_kinds]
    return b"".join(parts)


def load_statuses(path: Path) -> tuple[StatusCopy, Standpoint]:
    """Take a kept copy up. Raises Damaged, and OSError where there is none."""
    copy = StatusCopy()
    try:
        with path.open("rb") as file:
            frames = _frames(file)
            head = msgspec.msgpack.decode(next(frames), type=_Head)
            keys = np.empty(head.rows, KEY)
            for first in range(0, head.rows, _ROWS):
                _take_up(copy, keys[first : first + _ROWS], next(frames))
            copy.restore_sorts(msgspec.msgpack.decode(next(frames), type=_Tail).sorts)
    except (StopIteration, msgspec.MsgspecError) as error:
        raise Damaged(f"{path.name} is cut short or altered") from error
    copy.people.restore(len(keys), [keys], head.people)
    copy.people.ready()
    copy.round = head.round
    copy.count = int((copy.columns["position"] != ABSENT).sum())
    if head.rows and int(copy.columns["sort"].max()) >= max(len(copy.sorts), 1):
        raise Damaged(f"{path.name} contradicts itself")
    return copy, head.standpoint


def _take_up(copy: StatusCopy, keys: np.ndarray[Any, Any], piece: bytes) -> None:
    count = len(keys)
    view = memoryview(piece)
    place = count * KEY.itemsize
    if len(piece) < place + count * _ROW:
        raise Damaged("a piece is too short")
    keys[:] = np.frombuffer(view[:place], KEY)
    values: dict[str, Any] = {}
    for name, kind in TYPES.items():
        size = count * np.dtype(kind).itemsize
        values[name] = np.frombuffer(view[place : place + size], kind)
        place += size
    with_tests = np.flatnonzero(values["tests"])
    found = len(with_tests)
    if len(piece) != place + 8 * found * len(copy.test_kinds):
        raise Damaged("a piece is too short")
    times = {
        kind: np.frombuffer(view[place + 8 * found * number :][: 8 * found], "i8")
        for number, kind in enumerate(copy.test_kinds)
    }
    rows = np.zeros(count, np.uint32)
    rows[with_tests] = np.arange(copy.tests.length, copy.tests.length + found)
    copy.tests.grow(found, **times)
    copy.columns.grow(count, **{**values, "tests": rows})


def keep_plain(path: Path, messages: Sequence[tuple[bytes, Message]], standpoint: Standpoint) -> None:
    """Write a copy of few messages, each with its key."""
    plain = Plain(standpoint, [msgspec.Raw(msgspec.msgpack.encode(message)) for message in messages])
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        _write(file, _MAGIC, msgspec.msgpack.encode(plain))
        _finish(file, new, path)


def load_plain(path: Path) -> Plain:
    """Take up what `keep_plain` wrote. Raises Damaged, and OSError where there is none."""
    with path.open("rb") as file:
        try:
            return msgspec.msgpack.decode(next(_frames(file)), type=Plain)
        except (StopIteration, msgspec.MsgspecError) as error:
            raise Damaged(f"{path.name} is cut short or altered") from error


def _write(file: BinaryIO, *parts: bytes) -> None:
    """The last part as a frame, what is before it as it is."""
    *before, body = parts
    file.write(b"".join(before) + len(body).to_bytes(8, "big") + zlib.crc32(body).to_bytes(4, "big"))
    file.write(body)


def _finish(file: BinaryIO, new: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _frames(file: BinaryIO) -> Iterator[bytes]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise Damaged(f"{Path(file.name).name} is no kept copy of this version")
    while head := file.read(12):
        size, crc = int.from_bytes(head[:8], "big"), int.from_bytes(head[8:], "big")
        body = file.read(size) if len(head) == 12 and size <= os.fstat(file.fileno()).st_size else b""
        if len(body) != size or zlib.crc32(body) != crc or len(head) != 12:
            raise Damaged(f"{Path(file.name).name} is cut short or altered: a checksum does not hold")
        yield body

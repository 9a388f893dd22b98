"""Snapshots on disk: what makes the state of a partition durable, together with the offset it stands at.

    FOLDER/TOPIC-PARTITION/lock        held while a worker keeps the partition
    FOLDER/TOPIC-PARTITION/manifest    digest | whose it is, where it stands, its parts; renamed into place last
    FOLDER/TOPIC-PARTITION/NAME.N      a part, raw; parts that did not change are kept from one snapshot to the next
    FOLDER/TOPIC-PARTITION/segment-N   what a state wrote there itself and maps (streams/shelf.py)

A snapshot of another cluster or topic is set aside and kept; a damaged one is thrown away and the state rebuilt.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import xxhash

from streams.durable import replace_durably, write_durably
from streams.shelf import NEWEST, is_newer

_FORMAT: Final = 5
_MANIFEST: Final = "manifest"
_LOCK: Final = "lock"
_DIGEST: Final = 16
_LOCK_LOOK_SECONDS: Final = 0.2
_PART_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

log = logging.getLogger(__name__)


class SnapshotError(RuntimeError):
    """A snapshot folder that cannot be used; the message says what to do."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One file of a snapshot; without a digest it is one that a state wrote itself, and checks itself."""

    file: str
    size: int
    digest: bytes


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is: its owner, the offset its state stands at, its parts by name."""

    cluster: str
    topic: str
    partition: int
    next_offset: int
    parts: dict[str, Part]
    number: int = 0
    format: int = _FORMAT


_MANIFESTS: Final = msgspec.msgpack.Decoder(Manifest)


class SnapshotStore:
    """The snapshots below one folder. `cluster_id` names the broker cluster they belong to.

    Workers may share a folder: each partition is locked by the one that keeps it. The methods block and are meant for
    a thread, except `manifest`, which reads one small file.
    """

    def __init__(self, folder: Path, cluster_id: str, prefix: str = "") -> None:
        self._folder = folder
        self.cluster = cluster_id
        self._prefix = prefix
        self._locks: dict[tuple[str, int], int] = {}

    def lock(self, topic: str, partition: int, wait_seconds: float = 15.0) -> None:
        """Make the partition's folder this process's. Raises SnapshotError when another one keeps it."""
        if (topic, partition) in self._locks:
            return
        folder = self.home(topic, partition)
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(handle)
                    raise SnapshotError(
                        f"Another worker keeps {topic}, partition {partition}, in {self._folder}. "
                        "Stop it, or give this one a folder of its own (LACAK_DATA_DIR)."
                    ) from None
                time.sleep(_LOCK_LOOK_SECONDS)
        self._locks[topic, partition] = handle

    def unlock(self, topic: str, partition: int) -> None:
        """Let another worker keep the partition."""
        handle = self._locks.pop((topic, partition), None)
        if handle is not None:
            os.close(handle)

    def manifest(self, topic: str, partition: int) -> Manifest | None:
        """What snapshot there is, if it is ours; another's is set aside, an unreadable one thrown away."""
        folder = self.home(topic, partition)
        try:
            packed = (folder / _MANIFEST).read_bytes()
            if _digest(packed[_DIGEST:]) != packed[:_DIGEST]:
                raise msgspec.DecodeError("it is damaged, or of another version")
            found = _MANIFESTS.decode(packed[_DIGEST:])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            self.discard(topic, partition, f"its manifest cannot be read ({error})")
            return None
        if found.format != _FORMAT:
            self.discard(topic, partition, f"it is of format {found.format}, and this version writes {_FORMAT}")
            return None
        if (found.cluster, found.topic, found.partition) != (self.cluster, self._prefix + topic, partition):
            self._set_aside(folder, found)
            return None
        return found

    def read(self, topic: str, partition: int, manifest: Manifest) -> dict[str, bytes] | None:
        """The parts of a snapshot; None when one is damaged: the snapshot is then thrown away."""
        folder = self.home(topic, partition)
        parts: dict[str, bytes] = {}
        self._sweep(folder, {part.file for part in manifest.parts.values()})
        for name, part in manifest.parts.items():
            if not part.digest:
                continue
            try:
                content = (folder / part.file).read_bytes()
            except OSError as error:
                self.discard(topic, partition, f"a part cannot be read ({error.strerror})")
                return None
            if len(content) != part.size or _digest(content) != part.digest:
                self.discard(topic, partition, f"its part {name} is damaged")
                return None
            parts[name] = content
        return parts

    def home(self, topic: str, partition: int) -> Path:
        """The folder of a partition."""
        return self._folder / f"{self._prefix}{topic}-{partition}"

    def write(
        self, topic: str, partition: int, next_offset: int, parts: Mapping[str, bytes | memoryview | None]
    ) -> Manifest:
        """Make a snapshot durable; the one before stands until this one is whole. Raises OSError.

        None in place of a part's bytes says that the state has written a file of that name itself.
        """
        folder = self.home(topic, partition)
        folder.mkdir(parents=True, exist_ok=True)
        before = self.manifest(topic, partition)
        number = before.number + 1 if before else 1
        kept: dict[str, Part] = {}
        newest = parts.get(NEWEST)
        for name, content in parts.items():
            if not _PART_NAME.fullmatch(name) or name in (_MANIFEST, _LOCK):
                raise ValueError(f"{name!r} cannot name a part of a snapshot")
            if content is None:
                kept[name] = (before.parts.get(name) if before else None) or _made_durable(folder / name)
                continue
            digest = _digest(content)
            old = before.parts.get(name) if before else None
            if old and old.size == len(content) and old.digest == digest:
                kept[name] = old
                continue
            kept[name] = Part(f"{name}.{number}", len(content), digest)
            write_durably(folder / kept[name].file, content)
        manifest = Manifest(self.cluster, self._prefix + topic, partition, next_offset, kept, number)
        packed = msgspec.msgpack.encode(manifest)
        replace_durably(folder / _MANIFEST, _digest(packed) + packed)
        self._sweep(folder, {part.file for part in kept.values()}, newest)
        return manifest

    def discard(self, topic: str, partition: int, why: str) -> None:
        """Throw a snapshot away, and say why."""
        log.warning("The snapshot of %s, partition %d, is thrown away, its state rebuilt: %s.", topic, partition, why)
        folder = self.home(topic, partition)
        (folder / _MANIFEST).unlink(missing_ok=True)
        self._sweep(folder, set())

    def close(self) -> None:
        """Unlock everything."""
        for topic, partition in list(self._locks):
            self.unlock(topic, partition)

    def _set_aside(self, folder: Path, found: Manifest) -> None:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.set-aside-{number}")).exists():
            number += 1
        aside.mkdir()
        for path in folder.iterdir():
            if path.name != _LOCK:
                shutil.move(path, aside / path.name)
        log.warning(
            "A snapshot of %s, partition %d, is of another broker's run: it is set aside as %s, the state rebuilt.",
            found.topic,
            found.partition,
            aside.name,
        )

    @staticmethod
    def _sweep(folder: Path, keep: set[str], newest: bytes | memoryview | None = None) -> None:
        """Remove the files of older snapshots and of writes that were cut short; not those after the `newest`."""
        for path in folder.iterdir():
            newer = newest is not None and is_newer(
                path.name, bytes(newest)
            )  # judged now: one may be written meanwhile
            if path.name not in keep and path.name not in (_MANIFEST, _LOCK) and not newer:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()


def _digest(content: bytes | memoryview) -> bytes:
    return xxhash.xxh3_128_digest(content)


def _made_durable(path: Path) -> Part:
    """The part that a file is, which a state wrote itself."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return Part(path.name, os.fstat(file.fileno()).st_size, b"")

"""SQLite files that only their owner may read, durable at commit: of devices, bindings and identities."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock


def open_private(path: Path, schema: str, timeout_seconds: float = 30.0) -> sqlite3.Connection:
    """A file that is there, and its owner's alone, with its tables; others may hold it too, and are waited for.

    Raises sqlite3.Error.
    """
    file = sqlite3.connect(path, isolation_level=None, timeout=timeout_seconds, check_same_thread=False)
    file.execute("pragma journal_mode=wal")
    file.execute("pragma synchronous=full")
    file.executescript(schema)
    return file


@contextmanager
def transaction(file: sqlite3.Connection, lock: Lock) -> Iterator[sqlite3.Connection]:
    """All of it or nothing, for one thread at a time."""
    with lock:
        file.execute("begin immediate")
        try:
            yield file
        except BaseException:
            file.execute("rollback")
            raise
        file.execute("commit")

"""Files that outlive a crash: written through to the disk, and put in place whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def make_durable(file: BinaryIO) -> None:
    """Have on the disk what was written to an open file."""
    file.flush()
    os.fsync(file.fileno())


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """A file with this content, on the disk."""
    with path.open("wb") as file:
        file.write(content)
        make_durable(file)


def replace_durably(path: Path, content: bytes) -> None:
    """The file with this content in place of the one there was: after a crash one of the two is there."""
    new = path.with_name(f"{path.name}.new")
    write_durably(new, content)
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have on the disk which files a folder has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A tiny role for tests of `streams`: counts the records of each scans partition, and says so on `visits`.

Run as a process: `python -m tests.counting_role FOLDER` with the settings as JSON on standard input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from streams.app import WorkerApp, attach, make_app, run_worker
from streams.batches import Batch
from streams.outbox import Outbox
from streams.partitions import Owner
from streams.settings import Settings
from streams.snapshots import SnapshotStore
from streams.topics import cluster_id


class Count:
    """How many records a partition has had, and the sum of its offsets: a gap or a repetition shows."""

    def __init__(self, records: int = 0, offsets: int = 0) -> None:
        self.records = records
        self.offsets = offsets

    def dump(self) -> dict[str, bytes]:
        return {"count": msgspec.json.encode((self.records, self.offsets))}


def load(partition: int, parts: Mapping[str, bytes]) -> Count:
    return Count(*msgspec.json.decode(parts["count"]))


def counting_app(settings: Settings, folder: Path) -> WorkerApp:
    """The app of a counting worker."""
    outbox = Outbox(settings)
    store = SnapshotStore(settings.data_dir / "snapshots", cluster_id(settings), settings.topic_prefix)
    owner = Owner("scans", lambda partition: Count(), load, store, outbox, settings, time.monotonic)
    app = make_app(settings, "counting", {"scans": owner}, datadir=folder, outbox=outbox)

    async def run(batches: AsyncIterator[Batch]) -> None:
        async for batch in batches:
            held = await owner.take(batch)
            if held is not None:
                state, fresh = held
                if any(value == b"poison" for value in fresh.values):
                    raise ValueError("poison")
                state.records += len(fresh)
                state.offsets += sum(fresh.offsets)
                said = (fresh.partition, fresh.next_offset, state.records, state.offsets)
                outbox.send("visits", fresh.partition, msgspec.json.encode(said))
                await outbox.room()
                await owner.done(fresh)

    attach(app, "scans", run)
    return app


if __name__ == "__main__":
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings, dec_hook=lambda kind, value: kind(value))
    sys.exit(run_worker(counting_app(settings, Path(sys.argv[1]))))

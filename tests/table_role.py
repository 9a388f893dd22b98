"""A tiny role for tests of `streams`: keeps in a Faust table how many results each person has, and says so.

Run as a process: `python -m tests.table_role FOLDER` with the settings as JSON on standard input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from streams.app import WorkerApp, attach, make_app, run_worker
from streams.batches import Batch
from streams.outbox import Outbox
from streams.partitions import DurableEachBatch
from streams.settings import Settings
from streams.topics import TABLES

TABLE = TABLES["tracing"][0]


def table_app(settings: Settings, folder: Path) -> WorkerApp:
    """The app of a worker with a table: an entry is `[results, offset of the last one]`, repetitions do nothing."""
    outbox = Outbox(settings)
    owner = DurableEachBatch("test-results", time.monotonic)
    app = make_app(settings, "tracing", {"test-results": owner}, datadir=folder, outbox=outbox)
    table: Any = app.Table(TABLE, default=lambda: [0, -1], partitions=settings.partitions.cases)

    async def run(batches: AsyncIterator[Batch]) -> None:
        async for batch in batches:
            fresh = await owner.take(batch)
            if fresh is not None:
                for offset, key in zip(fresh.offsets, fresh.keys, strict=True):
                    person = (key or b"").decode()
                    count, last = table[person]
                    if offset > last:
                        table[person] = [count + 1, offset]
                    said = (person, table[person][0])
                    outbox.send("trace-answers", fresh.partition, msgspec.json.encode(said))
                await outbox.flush()
                await owner.done(fresh)

    attach(app, "test-results", run)
    return app


if __name__ == "__main__":
    settings = msgspec.json.decode(sys.stdin.buffer.read(), type=Settings, dec_hook=lambda kind, value: kind(value))
    sys.exit(run_worker(table_app(settings, Path(sys.argv[1]))))

"""Have the compiled loops ready before the first scan or question: `python -m lacak.warm` compiles them.

A small crowd goes the whole way from a batch of the log to a settled day in mapped files, which nothing can be written
to (to the compiler that is another type than what is in memory), and a restart over them. That takes ten seconds and
more after an installation, and a second from the cache of machine code. A worker does it before it takes partitions, so
that neither scans nor questions wait for a compiler.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import msgspec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from agents.intake import Intake
from contacts.deriver import Deriver, Scans
from contacts.places import Places
from contacts.visits import DAY_MS, Acceptance
from schemas.blocks import VISIT_BLOCKS, VisitBlock
from schemas.messages import Scan
from streams.batches import Batch
from streams.records import joined, unpack
from streams.shelf import FileShelf

_HOUR_MS = 3_600_000
_PEOPLE = 1500  # enough for tables to grow and rows to be let go of
_DAY = ((9, "in"), (10, "out"), (12, "in"), (11, "in"))
_UTC = ZoneInfo("UTC")


def warm() -> None:
    """Run every compiled loop."""
    batch = _batch()
    deriver = Deriver(0, 1, Acceptance(DAY_MS, 28 * DAY_MS), lambda _: 0)
    for part in Intake(deriver, 1, lambda *_: None, file_clock=True, tolerance_ms=0).read(batch):
        if isinstance(part, Scans):
            deriver.take(part, lambda *_: None)
    with TemporaryDirectory(prefix="lacak-warm-") as folder:
        _index([made.body for made in deriver.packed(batch.offsets[0], batch.next_offset)], batch, Path(folder))
    deriver.dump()


def _index(blocks: list[bytes], batch: Batch, folder: Path) -> None:
    """Take blocks into an index, settle them, ask, and ask again what was restored."""
    times = 600_000, DAY_MS, 28 * DAY_MS, _UTC
    places = Places(1, *times, shelf=FileShelf(folder))
    for block in blocks:
        places.apply(VISIT_BLOCKS.decode(block))
    name = _name(0)
    places.shared_stays(name, 0, DAY_MS, None)
    places.apply(VisitBlock(0, batch.next_offset, batch.next_offset, 3 * DAY_MS))
    places.counts()
    places.windows()
    for _ in range(2):
        places.settle()
    places.shared_stays(name, 0, DAY_MS, None)
    parts = {part: bytes(data) for part, data in places.dump().items() if data is not None}
    Places.load(parts, 1, *times, shelf=FileShelf(folder)).shared_stays(name, 0, DAY_MS, None)


def _batch() -> Batch:
    """The crowd's scans as they lie in the log."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 24)
    for number in range(_PEOPLE):
        for step, (hour, kind) in enumerate(_DAY):
            scan = Scan(person=_name(number), venue=f"venue {number % 9}", kind=kind, at_ms=hour * _HOUR_MS)  # type: ignore[arg-type]
            builder.append(number * len(_DAY) + step, 0, scan.person.encode(), msgspec.json.encode(scan), [])
    data = bytes(builder.build())
    records = joined([unpack(data, 0, len(data), check=True)], 0)
    assert records is not None
    return Batch("scans", 0, *records, highwater=_PEOPLE * len(_DAY), next_offset=_PEOPLE * len(_DAY))


def _name(number: int) -> str:
    return f"w1:{number:032x}"


if __name__ == "__main__":
    warm()

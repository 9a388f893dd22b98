"""What an agent is handed: the records of one partition that came together, as columns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from streams.spans import Views


class Batch:
    """Consecutive records of one partition; `offsets`, `timestamps_ms`, `keys`, `values` have one entry a record.

    `topic` is the name without the deployment's prefix. `begins` is where reading stood before it: the first record's
    offset, or less where the log has gaps; `next_offset` is where it goes on: one above the last record, or more.
    `highwater` is the end of the partition when it was fetched, and `epoch`
    the reading it belongs to: after a rebalance or a seek, what was fetched before is no longer wanted.
    """

    __slots__ = (
        "begins",
        "epoch",
        "highwater",
        "keys",
        "next_offset",
        "offsets",
        "partition",
        "timestamps_ms",
        "topic",
        "values",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        highwater: int,
        epoch: int = 0,
        begins: int | None = None,
        next_offset: int | None = None,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offsets = offsets
        self.timestamps_ms = timestamps_ms
        self.keys = keys
        self.values = values
        self.highwater = highwater
        self.epoch = epoch
        self.begins = offsets[0] if begins is None else begins
        self.next_offset = offsets[-1] + 1 if next_offset is None else next_offset

    def __len__(self) -> int:
        return len(self.offsets)

    def __repr__(self) -> str:
        where = f"{self.topic}/{self.partition} [{self.offsets[0]}, {self.next_offset})"
        return f"<Batch {where} of {self.highwater}, epoch {self.epoch}>"

    @property
    def behind(self) -> int:
        """How many offsets the partition had beyond this batch when it was fetched."""
        return max(self.highwater - self.next_offset, 0)

    def views(self) -> list[memoryview | None]:
        """The values, not copied where they are many bytes."""
        return Views.of(self.values).views

    def after(self, offset: int) -> Batch | None:
        """The part from `offset` on: the whole batch when nothing lies below, None when nothing is left."""
        if self.offsets[0] >= offset:
            return self
        cut = bisect_left(self.offsets, offset)
        if cut == len(self.offsets):
            return None
        return Batch(
            self.topic,
            self.partition,
            self.offsets[cut:],
            self.timestamps_ms[cut:],
            self.keys[cut:],
            self.values[cut:],
            highwater=self.highwater,
            epoch=self.epoch,
            begins=offset,
            next_offset=self.next_offset,
        )

"""Batches of the log that cannot be read, or hold too much: they come as one record, which goes to the dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple, Protocol

from schemas.inflating import TooLarge, check_count
from streams.batches import Batch
from streams.deadletters import DeadLetters


class Refused(bytes):
    """The bytes of a batch of the log, still compressed, in place of its records; with the reason and what is wrong."""

    reason: str
    detail: str

    @classmethod
    def of(cls, data: bytes, error: ValueError) -> Refused:
        """Those of a batch whose checksum holds and which raised this."""
        made = cls(data)
        made.reason = "too-large" if isinstance(error, TooLarge) else "undecodable"
        made.detail = f"a batch of the log, as it was compressed: {error}"
        return made


class _StandIn(NamedTuple):
    """The one record that a refused batch comes as, with what aiokafka asks of one."""

    offset: int
    timestamp: int
    value: Refused
    timestamp_type: int = 0
    key: bytes | None = None
    checksum: None = None
    headers: tuple[()] = ()


class BoundedBatch:
    """A batch as aiokafka's own reader gives it, but that it comes as one record where it cannot be read."""

    def __init__(self, batch: Any, data: bytes) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            if self._data[16:17] == b"\x02":
                check_count(self._data, 0)
            yield from list(self._batch)
        except ValueError as error:
            stamp = max(getattr(self._batch, "first_timestamp", 0) or 0, 0)
            yield _StandIn(self._batch.base_offset, stamp, Refused.of(self._data, error))


class Keeper(Protocol):
    """Who keeps a topic's partitions (streams.partitions)."""

    async def take(self, batch: Batch) -> Any:
        """The part of a batch that is new, or a state and that part; None: nothing."""
        ...

    async def done(self, batch: Batch) -> None:
        """It has been dealt with."""
        ...


async def without_refused(
    batches: AsyncIterator[Batch], keeper: Keeper, letters: DeadLetters, now_ms: Callable[[], int]
) -> AsyncIterator[Batch]:
    """The batches that can be read; the others go to the dead letters."""
    async for batch in batches:
        refused = batch.values[0] if len(batch) == 1 else None
        if not isinstance(refused, Refused):
            yield batch
            continue
        held = await keeper.take(batch)
        if held is not None:
            fresh: Batch = held[1] if isinstance(held, tuple) else held
            letters.letter(fresh, 0, 0, refused.reason, refused.detail, now_ms())
            letters.judge(1, 1)
            await letters.flush()
            await keeper.done(fresh)

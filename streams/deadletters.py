"""What could not be accepted goes on with its reason and its bytes; when there is too much of it, the worker stops."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import msgspec

from schemas.messages import DeadLetter
from streams.batches import Batch
from streams.metrics import DEAD_LETTERS
from streams.outbox import MESSAGE_BYTES_MAX
from streams.settings import DeadLetterLimits

TOPIC: Final = "dead-letters"
_WHOLE_MOST: Final = MESSAGE_BYTES_MAX
_VALUE_MOST: Final = 1 << 20
_KEY_MOST: Final = 1 << 16


class TooManyDeadLetters(RuntimeError):
    """So much is bad that a deploy is broken, here or at a gateway: the worker stops instead of draining the topic."""


class Sends(Protocol):
    """Where letters go."""

    def send(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, timestamp_ms: int | None = None
    ) -> None:
        """Send one record, without waiting."""
        ...

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged."""
        ...


def letter_id(topic: str, partition: int, offset: int, row: int) -> str:
    """A letter's origin is its id: the same bad row makes the same letter after a crash."""
    return f"{topic}/{partition}/{offset}/{row}"


class DeadLetters:
    """Writes letters, and judges whether there are too many."""

    def __init__(self, outbox: Sends, limits: DeadLetterLimits) -> None:
        self._outbox = outbox
        self._limits = limits
        self._recent: deque[tuple[int, int]] = deque()
        self._total = 0
        self._bad = 0
        self._run = 0
        self._last = ""

    def letter(
        self, batch: Batch, index: int, row: int, reason: str, detail: str, at_ms: int, value: bytes | None = None
    ) -> None:
        """Set aside row `row` of the batch's record at `index` (row 0: the whole record), with its key and bytes.

        `value` is the row by itself, where the record has many: else each row would take all of them along.
        """
        offset, key = batch.offsets[index], batch.keys[index]
        if value is None:
            value = batch.values[index] or b""
        name = letter_id(batch.topic, batch.partition, offset, row)
        message = DeadLetter(
            letter_id=name,
            reason=reason,
            detail=detail[:500],
            topic=batch.topic,
            partition=batch.partition,
            offset=offset,
            row=row,
            at_ms=at_ms,
            key=key if key is None else key[:_KEY_MOST],
            value=value[:_VALUE_MOST] if len(value) > _WHOLE_MOST else bytes(value),
            size=len(value) if len(value) > _WHOLE_MOST else None,
        )
        self._last = f"{reason}: {detail}"[:200]
        DEAD_LETTERS.labels(batch.topic, reason).inc()
        self._outbox.send(TOPIC, 0, msgspec.json.encode(message), key=name.encode())

    def judge(self, total: int, bad: int) -> None:
        """Of the last `total` rows, `bad` were set aside. Raises TooManyDeadLetters over a limit."""
        limits = self._limits
        self._run = self._run + bad if bad and bad == total else 0  # where in a batch the bad ones are is not known
        self._recent.append((total, bad))
        self._total += total
        self._bad += bad
        while self._recent and self._total - self._recent[0][0] >= limits.sample:
            old_total, old_bad = self._recent.popleft()
            self._total -= old_total
            self._bad -= old_bad
        if self._total >= limits.sample and self._bad > limits.share * self._total:
            raise TooManyDeadLetters(self._sentence(f"{self._bad} of the last {self._total} rows were"))
        if 0 < limits.run_length <= self._run:
            raise TooManyDeadLetters(self._sentence(f"{self._run} rows one after the other were"))

    async def flush(self) -> None:
        """Wait until every letter is acknowledged. Raises OutboxError."""
        await self._outbox.flush()

    def _sentence(self, what: str) -> str:
        return (
            f"The worker stopped because {what} set aside as dead letters (the last: {self._last}). "
            "Look at `lacak dead-letters list`, put right what sends them, and start again; "
            "the limits are LACAK_DEAD_LETTERS_SHARE and LACAK_DEAD_LETTERS_RUN_LENGTH."
        )

"""The ledger: every bad record that was sent, by its place in the log, and the dead letters that account for it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import msgspec

from schemas.messages import DeadLetter
from tests.flood.bad import Bad

Place = tuple[str, int, int]


class Row(NamedTuple):
    """A row of the table: how many of a kind were sent to a topic, and were set aside for a reason."""

    topic: str
    kind: str
    reason: str
    count: int


class Ledger:
    """What was sent and has no letter yet is `open`; `wrong` are letters with another reason than is right."""

    def __init__(self) -> None:
        self.open: dict[Place, Bad] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.sent = 0
        self.letters = 0
        self.wrong: list[str] = []
        self.unasked: Counter[tuple[str, str]] = Counter()
        self._early: dict[Place, DeadLetter] = {}
        self._closed: set[Place] = set()

    def enter(self, bad: Bad, offset: int) -> None:
        """A bad record stands in the log."""
        place = bad.topic, bad.partition, offset
        self.sent += 1
        self.open[place] = bad._replace(key=None, value=None)
        if (letter := self._early.pop(place, None)) is not None:
            self._settle(place, letter)

    def read(self, value: bytes) -> None:
        """A record of `dead-letters`."""
        letter = msgspec.json.decode(value, type=DeadLetter)
        self.letters += 1
        place = letter.topic, letter.partition, letter.offset
        if place in self.open:
            self._settle(place, letter)
        elif place not in self._closed:
            self._early[place] = letter

    def _settle(self, place: Place, letter: DeadLetter) -> None:
        bad = self.open.pop(place)
        self._closed.add(place)
        self.counts[bad.topic, bad.kind, letter.reason] += 1
        if letter.reason not in bad.reasons:
            right = ", ".join(sorted(bad.reasons))
            self.wrong.append(f"{letter.letter_id}, {bad.kind}: {letter.reason} ({letter.detail}), not {right}")

    def strangers(self) -> list[DeadLetter]:
        """Letters about what was not sent as bad: a good record that was refused."""
        return list(self._early.values())

    def rows(self) -> list[Row]:
        """The table, by topic, kind and reason."""
        return [Row(*key, count) for key, count in sorted(self.counts.items())]

"""Whose turn it is: so many traces are asked at once and the others wait, new ones before those asked again, of
which only a few go at once.

A backward trace waits for the forward one of its person, and until that one's report can have been written: whom a case
may have infected is what is urgent, and of a case that met thousands either is work for a second.

Without turns a coordinator that is short of time would ask again for what has not been answered yet, and the questions
of traces that nobody waits for any more would stand before those of new ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final, NamedTuple

from schemas.messages import Direction

_WRITTEN_SECONDS: Final = 5e-5
"""About as long a contact of a report takes from here into PostgreSQL (bench.trace, 10,000 of them)."""


class Turn(NamedTuple):
    """A trace that waits to be asked, as the question is to be."""

    partition: int
    person: str
    trace_id: str
    query_id: str
    direction: Direction


class Turns:
    """The traces that wait."""

    def __init__(self) -> None:
        self._new: deque[Turn] = deque()
        self._again: deque[Turn] = deque()
        self._written: dict[str, float] = {}

    def written(self, person: str, contacts: int, now: float) -> None:
        """A person's forward report, with so many contacts, was sent at a time (s, monotonic) and is being written."""
        self._written[person] = now + contacts * _WRITTEN_SECONDS

    def wait(self, turn: Turn, *, again: bool) -> None:
        """Let a trace wait, at the end of the new ones or of those asked again."""
        (self._again if again else self._new).append(turn)

    def take(self, ahead: Collection[str], now: float, *, again: bool) -> Turn | None:
        """Whose turn it is at a time; None: nobody's.

        `ahead` are the persons whose forward traces are under way; `again` says whether one that has been asked before
        may have a turn.
        """
        self._written = {person: until for person, until in self._written.items() if until > now}
        for waiting in (self._new, self._again) if again else (self._new,):
            for place, turn in enumerate(waiting):
                if turn.direction == "forward" or not (turn.person in ahead or turn.person in self._written):
                    del waiting[place]
                    return turn
        return None

    def questions(self) -> set[str]:
        """The ids of the questions that wait."""
        return {turn.query_id for waiting in (self._new, self._again) for turn in waiting}

"""What really happened in the city: who was where, and who infected whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lacak.city.city import City


class TrueStay(NamedTuple):
    """One person really was at one venue in `[start_ms, end_ms)`, scanned or not. A night is cut at midnight."""

    person: str
    venue: str
    start_ms: int
    end_ms: int


class Infection(NamedTuple):
    """`infector` infected `infected` at `venue`, at `at_ms`, while both were there."""

    infector: str
    infected: str
    venue: str
    at_ms: int


class Truth(NamedTuple):
    """The truth of one run. `first` were infected before it began; `infections` are in order of time."""

    city: City
    first: tuple[str, ...]
    infections: tuple[Infection, ...]

    def stays(self, person: str | None = None) -> Iterator[TrueStay]:
        """The true stays of everybody, or of one person, day by day, in order of (person, start) within a day.

        They are made anew each time: a large city has more of them than memory.
        """
        yield from self.city.true_stays(person)

"""What is asked of every peer: to load the same visits, and to name the contacts of a case.

The question: all other persons who shared at least the minimum (15 minutes) in one stay at the same venue with one of
the case's stays, cut to the window (docs/visits.md, "Contacts of a case"); for each the most that they shared in one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.population import Visits
from contacts.compiled import compiled
from contacts.profiles import find_profile, load_profiles
from contacts.sorting import sort_words

PROFILE = "kmk-413"
_MINUTE_MS = 60_000


class PeerMissing(RuntimeError):
    """A package that a peer needs is not installed; the message says how to get it."""


class Contacts(NamedTuple):
    """An answer: persons, each once, in any order, and the most ms that each shared in one stay."""

    person: NDArray[np.int64]
    shared_ms: NDArray[np.int64]

    def minutes(self) -> dict[int, float]:
        """Minutes by person."""
        return dict(zip(self.person.tolist(), (self.shared_ms / _MINUTE_MS).tolist(), strict=True))

    def ordered(self) -> Contacts:
        """The same in order of the persons."""
        order = np.argsort(self.person)
        return Contacts(self.person[order], self.shared_ms[order])


class Peer(ABC):
    """One way of answering. `window` is the case's, in ms; `folder` is where files may be kept."""

    name: ClassVar[str]
    form: ClassVar[str]
    """In which form the visits are held, in a few words."""

    def __init__(self, window: tuple[int, int], folder: Path, threads: int = 1) -> None:
        self.window, self.folder, self.threads = window, folder, threads
        self.minimum_ms = minimum_ms()

    @abstractmethod
    def load(self, days: Iterable[Visits]) -> None:
        """Take the visits in, day by day, and make ready for questions. Raises PeerMissing."""

    @abstractmethod
    def ask(self, person: int) -> Contacts:
        """The contacts of a person, as soon as they are in this process's memory."""

    def disk_bytes(self) -> int:
        """What stands on disk."""
        return 0

    def venues(self) -> NDArray[np.uint32] | None:
        """The venues whose visits are held, in order, where not all fit; None: all of them."""
        return None

    def notes(self) -> dict[str, Any]:
        """What else is worth reporting."""
        return {}

    def close(self) -> None:  # noqa: B027 (few have anything to do)
        """Let go of everything."""


def minimum_ms() -> int:
    """The profile's minimum in one stay."""
    return round(find_profile(load_profiles(), PROFILE).contact.minimum_minutes * _MINUTE_MS)


def gathered(days: Iterable[Visits]) -> Visits:
    """The visits of all days in one."""
    return Visits(*(np.concatenate(columns) for columns in zip(*days, strict=True)))


def most_shared(person: NDArray[Any], shared_ms: NDArray[np.int64]) -> Contacts:
    """Contacts from pairs of stays: each person once, with the most."""
    if not len(person):
        return Contacts(np.empty(0, np.int64), np.empty(0, np.int64))
    words = sort_words((person.astype(np.int64) << 32) | shared_ms, 32)
    who, most = np.empty_like(words), np.empty_like(words)
    count = _most_of_each(words, who, most)
    return Contacts(who[:count], most[:count])


@compiled
def _most_of_each(words: NDArray[np.int64], who: NDArray[np.int64], most: NDArray[np.int64]) -> int:
    """Fill in persons and the most of each from words in order of persons; how many persons there are."""
    count = -1
    for row in range(len(words)):
        person, shared = words[row] >> 32, words[row] & 0xFFFFFFFF
        if count < 0 or who[count] != person:
            count += 1
            who[count], most[count] = person, shared
        elif most[count] < shared:
            most[count] = shared
    return count + 1

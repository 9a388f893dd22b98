"""People inside now: a count for each venue at one moment, moved along as log time goes and as visits change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from contacts.columns import Bools, Columns, Ints, distinct, ints
from contacts.names import Names
from contacts.passing import Passing
from contacts.steps import Steps, Store, Words, count_steps

UNKNOWN: Final = -1
"""Stands for how many are allowed where that is not known."""

_NEVER: Final = -(1 << 62)
_MANY_PIECES: Final = 64


class Count(NamedTuple):
    """How many are inside a venue, how many of them with an end only assumed, and how many may be (None: unknown)."""

    venue: str
    inside: int
    assumed_inside: int
    allowed: int | None


class Inside:
    """Who is inside at `at_ms`, as counts, and the steps still to come."""

    def __init__(self, words: Words) -> None:
        self.at_ms = _NEVER
        self._words = words
        self._counts = Columns(inside="i8", assumed="i8")
        self._future = Store(words)
        self._touched: list[Ints] = []

    @property
    def inside(self) -> Ints:
        """How many are inside each venue."""
        return self._counts["inside"]

    @property
    def assumed(self) -> Ints:
        """How many of them have an end that is only assumed."""
        return self._counts["assumed"]

    def make_room(self, venues: int) -> None:
        """See that there is a count for each of so many venues."""
        if venues > self._counts.length:
            self._counts.grow(venues - self._counts.length)

    def take_over(self, passed: Passing) -> None:
        """Begin where a log has been passed over; the steps `ahead` of that are to be added."""
        self.at_ms = passed.closed_until_ms - 1 if passed.frontier is not None else _NEVER
        self._counts.grow(len(passed.inside), inside=passed.inside, assumed=passed.assumed)

    def add(self, steps: Steps) -> None:
        """Take steps in, those of the past at once."""
        now = self.at_ms // self._words.window_ms
        past, present = (int(place) for place in np.searchsorted(steps.slot, np.array([now, now + 1])))
        self._count(steps.part(0, past))
        self._count_due(steps.part(past, present), now)
        self._future.add(steps.part(present, len(steps.slot)))

    def _count_due(self, steps: Steps, now: int) -> None:
        """Count what is due of steps of the present slot."""
        due = self._words.ms(steps.word) <= self.at_ms - now * self._words.window_ms
        self._count(steps.of(due))
        self._future.add(steps.of(~due))

    def _count(self, steps: Steps) -> None:
        if not len(steps.slot):
            return
        self._touched.append(self._words.venue(steps.word))
        if len(self._touched) > _MANY_PIECES:
            self._touched = [distinct(np.concatenate(self._touched))]
        count_steps(steps.word, steps.weight, self._words.venue_shift, self.inside, self.assumed)

    def touched(self) -> list[Ints]:
        """The venues whose counts may have changed since the last call."""
        touched, self._touched = self._touched, []
        return touched

    def advance(self, at_ms: int) -> None:
        """Let time pass until `at_ms`: people come and leave as their visits say."""
        if at_ms <= self.at_ms:
            return
        self.at_ms = at_ms
        now = at_ms // self._words.window_ms
        steps = self._future.take(now + 1)
        past = int(np.searchsorted(steps.slot, now))
        self._count(steps.part(0, past))
        self._count_due(steps.part(past, len(steps.slot)), now)

    def dump(self) -> dict[str, bytes]:
        """The whole state but `at_ms`, as named parts."""
        return self._counts.dump("inside.") | self._future.dump("future.")

    def load(self, parts: Mapping[str, bytes], at_ms: int) -> None:
        """Take up a dumped state that stood at `at_ms`."""
        self.at_ms = at_ms
        self._counts.load("inside.", parts)
        self._future.load("future.", parts)


class Numbers(NamedTuple):
    """What is so of some venues, by their numbers, each once and in order; `allowed`: UNKNOWN where it is not known."""

    venues: Ints
    inside: Ints
    assumed: Ints
    allowed: Ints


class Told:
    """What was told last of each venue, by its number."""

    def __init__(self) -> None:
        self._columns = Columns(inside="i8", assumed="i8", allowed="i8")
        self._untold = [ints([])]

    def make_room(self, venues: int, inside: int) -> None:
        """See that there is room for so many venues; `inside` stands for new ones, and with -1 they will be told of."""
        known = self._columns.length
        self._columns.grow(venues - known, inside=inside, allowed=UNKNOWN)
        if inside and venues > known:
            self._untold.append(np.arange(known, venues))

    @property
    def inside_and_allowed(self) -> tuple[Ints, Ints]:
        """What was told last of each venue, by its number: how many are inside (-1: nothing yet), how many may be."""
        return self._columns["inside"], self._columns["allowed"]

    def doubt(self, venues: Ints) -> None:
        """Of these venues it is not known what was told: they will be told of."""
        self._columns["inside"][venues] = -1
        self._untold.append(venues)

    def all_told(self, now: Numbers) -> None:
        """All venues (`now` has each) have been told of as they are, by whoever had them before."""
        self.make_room(len(now.venues), 0)
        for name, column in zip(("inside", "assumed", "allowed"), now[1:], strict=True):
            self._columns[name][:] = column
        self._untold = [ints([])]

    def look_again(self, now: Numbers) -> None:
        """Have those venues told of that are not as told."""
        self._untold.append(now.venues[self._differs(now)])

    def _differs(self, now: Numbers) -> Bools:
        before = (self._columns[name][now.venues] for name in ("inside", "assumed", "allowed"))
        differs: Bools = np.any([new != old for new, old in zip(now[1:], before, strict=True)], axis=0)
        return differs

    def dump(self) -> dict[str, bytes]:
        """What was told, as named parts."""
        return self._columns.dump("told.")

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave, if there is any."""
        if "told.inside" in parts:
            self._columns.load("told.", parts)

    def untold(self) -> Ints:
        """The venues of which nothing was told since room was made for them; asked for once."""
        untold, self._untold = np.concatenate(self._untold), [ints([])]
        return untold

    def news(self, names: Names, now: Numbers) -> list[Count]:
        """Those whose numbers differ from those told; they are now told."""
        differs = self._differs(now)
        venues, *columns = (column[differs] for column in now)
        for new, name in zip(columns, ("inside", "assumed", "allowed"), strict=True):
            self._columns[name][venues] = new
        told = zip(names.of(venues), *(column.tolist() for column in columns), strict=True)
        return [Count(venue, people, unsure, None if most == UNKNOWN else most) for venue, people, unsure, most in told]

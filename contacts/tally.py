"""The counts and windows of a partition's venues, both made of the same steps.

Steps are worked on as they come; or, while a log is passed over that nobody needs to hear of again, only put by
(contacts/passing.py), and counts and windows taken over from there when that part ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from contacts.columns import Ints
from contacts.incoming import NEVER
from contacts.occupancy import Inside
from contacts.passing import Passing
from contacts.steps import Raw, Words
from contacts.windows import Part, Windows


class Tally:
    """Counts and windows. `inside` and `windows` are not to be asked while a log is passed over.

    The log time is NEVER while a source has not been heard.
    """

    def __init__(self, window_ms: int) -> None:
        self._words = Words(window_ms)
        self.inside, self.windows = Inside(self._words), Windows(self._words)
        self._passing: Passing | None = None

    @property
    def passes_over(self) -> bool:
        """Whether steps are only put by."""
        return self._passing is not None

    @property
    def closed_until_ms(self) -> int:
        """When the first window that is still open begins; a very small number before any was closed."""
        return (self._passing or self.windows).closed_until_ms

    def add(self, parts: Sequence[Raw], venues: int) -> None:
        """Take steps in; `venues` is how many there are."""
        if self._passing is not None:
            self._passing.make_room(venues)
            self._passing.add(parts)
            return
        steps = self._words.net(parts)
        self.inside.make_room(venues)
        self.windows.make_room(venues)
        self.inside.add(steps)
        self.windows.add(steps)

    def begin_passing(self) -> None:
        """Only put steps by from here on; there have been none yet."""
        self._passing = Passing(self._words)

    def pass_until(self, log_time_ms: int) -> None:
        """Let log time pass with nobody told of what that changes."""
        if self._passing is not None:
            self._passing.advance(log_time_ms)
        else:
            _let_pass(self.inside, self.windows, log_time_ms)

    def end_passing(self, log_time_ms: int) -> None:
        """Work on steps as they come from here on."""
        self.inside, self.windows = self._as_passed(log_time_ms)
        self._passing = None

    def _as_passed(self, log_time_ms: int) -> tuple[Inside, Windows]:
        """The counts and windows, made of what has been put by while a log is passed over."""
        if self._passing is None:
            return self.inside, self.windows
        inside, windows = Inside(self._words), Windows(self._words)
        ahead = self._passing.ahead()
        inside.take_over(self._passing)
        inside.add(ahead)
        windows.take_over(self._passing)
        windows.add(ahead)
        _let_pass(inside, windows, log_time_ms)
        return inside, windows

    def forget(self, before_ms: int) -> None:
        """Let go of closed windows that begin before a time."""
        (self._passing or self.windows).forget(before_ms)

    def dump(self, log_time_ms: int, venues: int) -> tuple[int, list[Ints], dict[str, Part]]:
        """When the counts are of, the venues whose counts may have changed since they were asked for, all as parts."""
        inside, windows = self._as_passed(log_time_ms)
        touched = [np.arange(venues)] if self.passes_over else inside.touched()
        return inside.at_ms, touched, {**inside.dump(), **windows.dump()}

    def load(self, parts: Mapping[str, bytes], at_ms: int) -> None:
        """Take up what `dump` gave."""
        self.inside.load(parts, at_ms)
        self.windows.load(parts)


def _let_pass(inside: Inside, windows: Windows, log_time_ms: int) -> None:
    if log_time_ms != NEVER:
        windows.close(log_time_ms, told=False)
        inside.advance(log_time_ms)

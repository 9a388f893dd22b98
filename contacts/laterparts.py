"""Parts of a snapshot that are packed when they are written, in the thread that writes them: a big state then holds
nothing up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping


class LaterParts(Mapping[str, bytes]):
    """Parts that are there, and others that are made when they are asked for, of what must not change meanwhile."""

    def __init__(self, now: Mapping[str, bytes], later: Mapping[str, Callable[[], bytes]]) -> None:
        self._now = now
        self._later = later

    def __getitem__(self, name: str) -> bytes:
        return self._now[name] if name in self._now else self._later[name]()

    def __iter__(self) -> Iterator[str]:
        yield from self._now
        yield from self._later

    def __len__(self) -> int:
        return len(self._now) + len(self._later)

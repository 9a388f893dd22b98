"""Loops that numpy cannot say: compiled by numba where it is installed, the very same Python where it is not.

numba itself is imported when the first of them is called: it takes a second and 100 MB, and most processes call none.
LACAK_WITHOUT_NUMBA=1 does without it where it is installed: for tests, and where compiling fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import update_wrapper
from importlib.util import find_spec
from typing import Any, Final, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

COMPILED: Final = not os.environ.get("LACAK_WITHOUT_NUMBA") and find_spec("numba") is not None
"""Whether `compiled` compiles. Without it (a platform without wheels) everything is slower, and the same."""


class Later:
    """A function that is compiled when it is first called, and those it calls with it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._made: Callable[..., Any] | None = None
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        return self.made()(*args)

    def made(self) -> Callable[..., Any]:
        """The compiled function. It takes this one's place in every module of those it is called from."""
        if self._made is None:
            self._made = self.compile()
            there = self.function.__globals__
            for name, value in list(there.items()):
                if isinstance(value, Later):
                    there[name] = value.made()
        return self._made

    def compile(self) -> Callable[..., Any]:
        """Have numba make it."""
        import numba

        try:
            made = numba.njit(cache=True, nogil=True)(self.function)
        except RuntimeError:  # nowhere to keep machine code: name a folder in NUMBA_CACHE_DIR
            made = numba.njit(nogil=True)(self.function)
        return cast(Callable[..., Any], made)


def compiled(function: F) -> F:
    """Compile a function over numpy arrays and numbers, at its first call; the machine code is cached beside it.

    It runs without the interpreter's lock and must raise nothing. Plain Python must give the same: keep to int64,
    shifts and comparisons where unsigned numbers would overflow.
    """
    return cast(F, Later(function)) if COMPILED else function

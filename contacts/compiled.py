"""Loops that numpy cannot say: compiled by numba where it is installed, the very same Python where it is not.

LACAK_WITHOUT_NUMBA=1 does without it where it is installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar

try:
    if os.environ.get("LACAK_WITHOUT_NUMBA"):
        raise ImportError("to be done without")
    import numba
except ImportError:  # a platform without wheels: slower, and the same answers
    numba = None

F = TypeVar("F", bound=Callable[..., Any])

COMPILED: Final = numba is not None
"""Whether `compiled` compiles."""


def compiled(function: F) -> F:
    """Compile a function over numpy arrays and numbers, at its first call; the machine code is cached beside it.

    It runs without the interpreter's lock and must raise nothing. Plain Python must give the same: keep to int64,
    shifts and comparisons where unsigned numbers would overflow.
    """
    if numba is None:
        return function
    wrapped: F = numba.njit(cache=True, nogil=True)(function)
    return wrapped

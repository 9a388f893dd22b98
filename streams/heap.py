"""Freed memory is given back to the system.

Under bad input of all sizes a worker grew by some 40 MB for every 100,000 records. Two causes: what waits for the
collector waits long where objects are few and large, as it counts objects and not bytes; and glibc keeps what is free
for whoever asks next, scattered in its heaps, or at the end of those of threads, where it lets it grow to twice the
largest value it was ever asked for.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Final

EVERY_SECONDS: Final = 20.0

_LIBRARY: Final = ctypes.CDLL(None)
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 32 << 20
"""Larger than the arrays of the hot path, which would be slower for it."""


def keep_little() -> None:
    """Have values of 32 MiB and more, and as much at the end of each heap, given back as soon as they are freed."""
    mallopt = getattr(_LIBRARY, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give back every free page between what is held, where the C library has such a call (it is glibc's)."""
    trim = getattr(_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)


async def give_back_now_and_then(seconds: float = EVERY_SECONDS) -> None:
    """Let go of young cycles, and give back what is free beside the loop, every so many seconds until cancelled."""
    while True:
        gc.collect(1)
        await asyncio.to_thread(give_back)
        await asyncio.sleep(seconds)

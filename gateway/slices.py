"""Short slices of the processor, for threads that have little to do and are waited for.

When what a thread waits for is there, it still waits for its turn while another of its core is at work: for up to that
one's slice, some milliseconds. Since 6.12 Linux takes a thread with a shorter slice of its own at once; its share of
the processor stays what it was. Source: sched_setattr(2), and sched-eevdf in the kernel's documentation.
"""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Final

_SET_ATTRIBUTES: Final = {"x86_64": 314, "aarch64": 274}
"""The number of the call, by machine: the C library has no name for it."""
_SHORTEST_NS: Final = 100_000


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def shorten_slice() -> bool:
    """Give the calling thread the shortest slice there is, 0.1 ms; whether the system has taken it. Harmless where not.

    A thread under another policy than the usual one keeps what it has.
    """
    call = _SET_ATTRIBUTES.get(platform.machine()) if platform.system() == "Linux" else None
    if call is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    asked = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_OTHER,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime_ns=_SHORTEST_NS,
    )
    done: int = ctypes.CDLL(None).syscall(call, 0, ctypes.byref(asked), 0)
    return done == 0

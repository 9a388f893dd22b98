"""Ports of loopback for servers of ours: outside of those that a system gives to outgoing connections.

Seconds pass between the moment a port is found free and the moment its server listens. Meanwhile Linux gives 32768 to
60999 to whoever connects (macOS and Windows 49152 and up): one of these may be gone by then, or a client that asks for
the server too early is given that very port, and speaks with itself.
"""

from __future__ import annotations

import secrets
import socket
from collections import deque
from typing import Final

PORTS: Final = range(20_000, 30_000)
_TRIES: Final = 1000

_given: Final[deque[int]] = deque(maxlen=1000)


def free_ports(count: int) -> range:
    """So many in a row that nobody listens on, and that this process was not given lately. Raises OSError."""
    for _ in range(_TRIES):
        first = PORTS.start + secrets.randbelow(len(PORTS) - count)
        found = range(first, first + count)
        if not any(port in _given for port in found) and all(is_free(port) for port in found):
            _given.extend(found)
            return found
    raise OSError(f"Hardly a port of 127.0.0.1 from {PORTS.start} to {PORTS.stop - 1} is free.")


def free_port() -> int:
    """One that nobody listens on. Raises OSError."""
    return free_ports(1)[0]


def is_free(port: int) -> bool:
    """Whether nobody listens on a port; connections of the last who did may linger."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

"""A PostgreSQL reached by TCP in a network of its own, which goes silent.

`unshare --net python -m tests.silent_network_driver WHEN FOLDER NETWORK`. WHEN is `waiting` (a statement has been sent,
its answer is not there) or `sending` (a statement is sent into the silence).
Prints what is connected with, and how long after the silence began psycopg says that the connection is lost: JSON.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import msgspec
import psycopg

from deploy.embedded import Postgres
from deploy.ports import free_port
from security.database import DatabaseAccess
from security.settings import DatabaseNetwork

_SET_FLAGS, _UP = 0x8914, 1  # SIOCSIFFLAGS, IFF_UP: linux/sockios.h, linux/if.h


def loopback(flags: int) -> None:
    """Let the loopback of this network carry something (1), or nothing (0) without a word to anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", flags))


def main(when: str, folder: Path, network: DatabaseNetwork) -> None:
    """Connect, fall silent, and wait."""
    loopback(_UP)
    port = free_port()
    postgres = Postgres(folder, ["listen_addresses=127.0.0.1"], port=port)
    postgres.start()
    try:
        access = DatabaseAccess(f"postgresql://postgres@127.0.0.1:{port}/postgres", network=network)
        connection = access.connect(autocommit=True)
        with socket.socket(fileno=connection.pgconn.socket) as held:
            names = ("SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            levels = (socket.SOL_SOCKET, *(socket.IPPROTO_TCP for _ in names[1:]))
            told = {
                name: held.getsockopt(level, getattr(socket, name)) for name, level in zip(names, levels, strict=True)
            }
            held.detach()
        if when == "waiting":
            silence = threading.Timer(0.5, loopback, (0,))
            silence.start()
            began, statement = time.monotonic() + 0.5, "select pg_sleep(600)"
        else:
            loopback(0)
            began, statement = time.monotonic(), "select 1"
        try:
            connection.execute(statement.encode())
        except psycopg.OperationalError:
            told["seconds"] = time.monotonic() - began
        print(msgspec.json.encode(told).decode())
    finally:
        postgres.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=DatabaseNetwork))

"""Ports for servers: free, each given once, and of those that no connection is given."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deploy.ports import PORTS, free_port, free_ports, is_free

GIVEN_TO_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_no_connection_is_given_one_of_them() -> None:
    """What the system says that it gives to whoever connects."""
    if not GIVEN_TO_CONNECTIONS.exists():
        pytest.skip("only Linux says it in a file")
    first, last = map(int, GIVEN_TO_CONNECTIONS.read_text().split())
    assert PORTS.stop <= first or PORTS.start > last


def test_each_is_given_once_and_those_in_use_never() -> None:
    """In rows or one at a time; who asked first may not listen yet."""
    rows = [free_ports(12) for _ in range(20)]
    given = [port for row in rows for port in row] + [free_port() for _ in range(100)]
    assert len(set(given)) == len(given) == 340
    assert set(given) <= set(PORTS)
    with socket.create_server(("127.0.0.1", given[0])):
        assert not is_free(given[0])
    assert is_free(given[0])


def test_where_none_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does not look for ever."""
    monkeypatch.setattr("deploy.ports.is_free", lambda _: False)
    with pytest.raises(OSError, match="Hardly a port"):
        free_port()

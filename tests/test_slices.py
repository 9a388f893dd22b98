"""Short slices: taken where the kernel knows them, harmless elsewhere."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import pytest

from gateway.slices import shorten_slice


def in_a_thread() -> tuple[bool, str, int]:
    """Whether a thread was given one, what the kernel says of the thread, and its niceness."""
    found: list[tuple[bool, str, int]] = []

    def work() -> None:
        done = shorten_slice()
        about = Path(f"/proc/self/task/{threading.get_native_id()}/sched")
        said = about.read_text("utf-8") if about.exists() else ""
        found.append((done, said, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux has them")
def test_a_thread_is_given_a_short_slice() -> None:
    """The kernel tells of it; how nice the thread is stays."""
    done, said, nice = in_a_thread()
    lines = dict(line.split(":", 1) for line in said.splitlines() if line.count(":") == 1)
    slices = {name.strip(): float(value) for name, value in lines.items() if name.strip() == "se.slice"}
    if not done or not slices:
        pytest.skip("this kernel does not take one, or does not tell")
    assert (slices, nice) == ({"se.slice": 100_000.0}, os.getpriority(os.PRIO_PROCESS, 0))


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another system, a machine whose call is not known, another policy."""
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    assert not shorten_slice()
    monkeypatch.undo()
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert not shorten_slice()

"""The spool keeps what it said it has: through kill -9, a full disk, and damage; in order, and to the brokers once."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings import SpoolLimits
from gateway.spool import Parcel, Row, Spool, SpoolError, SpoolFull, TicketRow
from schemas.messages import Scan

ROOT = Path(__file__).parents[1]


def scan(number: int) -> Scan:
    """A scan that is like no other."""
    return Scan(person=f"p1:{number:032x}", venue="mall", kind="in", at_ms=number, scan_id=f"s{number}", gateway="g")


def numbers(rows: list[Row]) -> list[int]:
    """The scans of rows, by their numbers."""
    return [item.at_ms for row in rows for item in row.items if isinstance(item, Scan)]


def with_spool(folder: Path, use: Callable[[Spool], Awaitable[None]], limits: SpoolLimits | None = None) -> None:
    """Use a spool in a loop of its own."""

    async def run() -> None:
        spool = Spool(folder, limits)
        spool.open()
        try:
            await use(spool)
        finally:
            await spool.close()

    asyncio.run(run())


def everything(folder: Path) -> list[int]:
    """The numbers of all scans that wait, as another process finds them."""
    found: list[int] = []

    async def look(spool: Spool) -> None:
        found.extend(numbers(spool.read("scans", 0, 1 << 30)))
        assert spool.waiting() == len(found)

    with_spool(folder, look)
    return found


WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.spool import Spool
from tests.test_spool import scan
from gateway.settings import SpoolLimits

async def main(folder, first):
    spool = Spool(Path(folder), SpoolLimits(gather_ms=float(sys.argv[3])))
    spool.open()
    async def caller(start):
        number = start
        while True:
            await spool.put([scan(number)])
            sys.stdout.write(f"{number}\\n")  # the answer: nobody has it before it is written
            sys.stdout.flush()
            number += 1
    await asyncio.gather(*(caller(first + 1_000_000 * each) for each in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("gather_ms", [0.0, 2.0])
def test_what_was_answered_before_kill_9_is_in_the_spool(tmp_path: Path, gather_ms: float) -> None:
    """At any moment, several times over the same folder: every answered scan is there, each caller's in order."""
    chance = random.Random(gather_ms)
    answered: list[int] = []
    for turn in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 10_000_000), str(gather_ms)],
            stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.stdout.close()
        child.wait()
        lines = (first + rest).split(b"\n")
        answered += [int(line) for line in lines[:-1]]  # the last may be cut short
    found = everything(tmp_path)
    assert len(answered) > 100
    assert set(answered) <= set(found)
    assert len(set(found)) == len(found)
    for caller in {number // 1_000_000 for number in found}:
        theirs = [number for number in found if number // 1_000_000 == caller]
        assert theirs == list(range(caller * 1_000_000, caller * 1_000_000 + len(theirs)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 5)),
        st.tuples(st.just("parcel"), st.integers(1, 3)),
        st.tuples(st.just("send"), st.integers(1, 6)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(0, 6))
def test_a_spool_is_a_queue_that_outlives_its_process(steps: list[tuple[str, int]], held: int) -> None:
    """Whatever is put in, sent and reopened, from the memory or from the disk: a lane is first in, first out."""
    limits = SpoolLimits(gather_ms=0.0, held_most=held)
    lanes: dict[str, list[int]] = {"scans": [], "others": []}

    async def run(folder: Path) -> None:
        number = after = 0
        spool = Spool(folder, limits)
        spool.open()
        for step, amount in steps:
            if step == "put":
                await spool.put([scan(each) for each in range(number, number + amount)])
                lanes["scans"] += range(number, number + amount)
                number += amount
            elif step == "parcel":
                await spool.put((), [Parcel("recounts", b"v", str(each).encode()) for each in range(amount)])
                lanes["others"] += range(amount)
            elif step == "send":
                rows = (spool.next("scans", amount) or spool.read("scans", after, amount)) if spool.waiting() else []
                sent = numbers(rows)
                assert sent == lanes["scans"][: len(sent)]
                assert sent or not lanes["scans"]
                del lanes["scans"][: len(sent)]
                spool.sent("scans", [row.seq for row in rows])
                after = rows[-1].seq if rows else after
            else:
                await spool.close()
                spool, after = Spool(folder, limits), 0
                spool.open()
            assert (spool.waiting("scans"), spool.waiting("others")) == (len(lanes["scans"]), len(lanes["others"]))
        await spool.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
        assert everything(Path(folder)) == lanes["scans"]


def test_one_put_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Scans, parcels and tickets of one `put` are one transaction; a ticket without a body is gone."""

    async def use(spool: Spool) -> None:
        await spool.put([scan(1)], [Parcel("door-events", b"v", b"{}")], [TicketRow("t", 5, b"body")])
        await spool.put([scan(2)], tickets=[TicketRow("u", 6, b"other"), TicketRow("t", 0, None)])

    async def look(spool: Spool) -> None:
        assert numbers(spool.read("scans", 0, 10)) == [1, 2]
        assert spool.waiting("others") == 1
        assert spool.tickets() == [TicketRow("u", 6, b"other")]

    with_spool(tmp_path, use)
    with_spool(tmp_path, look)


def test_a_full_spool_refuses_and_says_so(tmp_path: Path) -> None:
    """At its limit of bytes nothing is taken any more, until something has been sent."""

    async def use(spool: Spool) -> None:
        number = 0
        while spool.waiting_bytes < 5000:
            await spool.put([scan(number)])
            number += 1
        with pytest.raises(SpoolFull, match="wait for the brokers"):
            spool.put([scan(number)])
        rows = spool.read("scans", 0, 1 << 30)
        assert numbers(rows) == list(range(number))
        spool.sent("scans", [row.seq for row in rows])
        await spool.put([scan(number)])

    with_spool(tmp_path, use, SpoolLimits(bytes_most=5000, gather_ms=0.0))


def test_a_disk_that_is_nearly_full_is_not_filled_up(tmp_path: Path) -> None:
    async def use(spool: Spool) -> None:
        with pytest.raises(SpoolFull, match="are to stay free"):
            spool.put([scan(1)])

    with_spool(tmp_path, use, SpoolLimits(free_bytes_least=1 << 60))
    assert everything(tmp_path) == []


FILLER = """
import asyncio, resource, signal, sys
from pathlib import Path
from gateway.settings import SpoolLimits
from gateway.spool import Spool, SpoolError
from tests.test_spool import scan

async def main(folder):
    spool = Spool(Path(folder), SpoolLimits(gather_ms=0.0))
    spool.open()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    await spool.put([scan(0)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    taken, refused = 1, 0
    for _ in range(400):
        group = [scan(number) for number in range(taken, taken + 20)]
        try:
            await spool.put(group)
            taken += 20
        except SpoolError as error:
            assert "Nothing was taken" in str(error), error
            refused += 1
            if refused == 5:
                break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await spool.put([scan(number) for number in range(taken, taken + 20)])  # there is room again
    print(refused, taken + 20)
    await spool.close()

asyncio.run(main(sys.argv[1]))
"""


def test_writing_that_fails_is_a_refusal_and_no_loss(tmp_path: Path) -> None:
    """The system takes no more bytes: puts fail and say so, what was taken is there, and with room it goes on."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, taken = map(int, done.stdout.split())
    assert refused == 5
    assert everything(tmp_path) == list(range(taken))


def test_a_damaged_group_is_set_aside_and_stops_nothing(tmp_path: Path) -> None:
    """It is counted and kept for people to look at; those around it are sent."""

    async def fill(spool: Spool) -> None:
        for number in range(3):
            await spool.put([scan(number)])

    async def look(spool: Spool) -> None:
        rows = spool.read("scans", 0, 10)
        assert numbers(rows) == [0, 2]
        await spool.put((), [Parcel("door-events", b"v", b"{}")])  # the same transaction or a later one
        assert spool.damaged == 1
        assert spool.waiting() == 2
        spool.sent("scans", [row.seq for row in rows])
        assert spool.waiting() == 0

    with_spool(tmp_path, fill, SpoolLimits(gather_ms=0.0))
    connection = sqlite3.connect(tmp_path / "spool.db")
    connection.execute(
        "UPDATE waiting SET body = CAST(substr(body, 1, length(body) - 2) || x'0000' AS BLOB) WHERE seq = 2"
    )
    connection.commit()
    connection.close()
    with_spool(tmp_path, look)
    connection = sqlite3.connect(tmp_path / "spool.db")
    assert [seq for (seq,) in connection.execute("SELECT seq FROM damaged")] == [2]
    connection.close()


def test_two_gateways_cannot_share_a_folder(tmp_path: Path) -> None:
    async def use(spool: Spool) -> None:
        with pytest.raises(SpoolError, match="Another gateway"):
            Spool(tmp_path).open()

    with_spool(tmp_path, use)


def test_marks_come_back_with_what_was_sent(tmp_path: Path) -> None:
    async def use(spool: Spool) -> None:
        await spool.put([scan(1)], mark="one")
        await spool.put((), [Parcel("recounts", b"v", b"{}")], mark="two")
        await spool.put([scan(2)], [Parcel("recounts", b"v", b"{}")], mark="three")
        scans, others = spool.next("scans", 10), spool.next("others", 10)
        assert scans is not None and others is not None
        assert spool.sent("scans", [row.seq for row in scans]) == ["one", "three"]
        assert spool.sent("others", [row.seq for row in others]) == ["two"]

    with_spool(tmp_path, use)

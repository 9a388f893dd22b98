"""The spool: what must reach the brokers, on this machine's disk before anybody has an answer.

SQLite with a write-ahead log and `synchronous=FULL`, written by one thread with group commit: what comes in while a
transaction is under way, or within `gather_ms` of the one before, is the next one, one row a lane. The loop gathers it
and wakes the thread once. Whoever puts something in is answered when that transaction is on the disk. Rows leave, some
times a second, when the brokers have acknowledged everything in them; a removal that comes too late or that a crash
undoes is a second sending, which changes nothing (a person's scans are a set).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import shutil
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.groups import (
    LANES,
    TABLES,
    Items,
    Lane,
    Parcel,
    Row,
    TicketRow,
    Write,
    connect,
    items_of,
    marks_of,
    packed,
    statements_of,
    unpacked,
)
from gateway.settings import SpoolLimits
from gateway.slices import shorten_slice
from schemas.messages import Scan

__all__ = ["LANES", "Lane", "Parcel", "Row", "Spool", "SpoolError", "SpoolFull", "TicketRow"]

_IDLE_SECONDS: Final = 0.05
_FREE_LOOK_SECONDS: Final = 1.0
_GIVE_BACK_PAGES: Final = 2000
_REMOVE_SECONDS: Final = 0.1


class SpoolError(RuntimeError):
    """The spool cannot take anything, and nothing of what was given is kept; the message says why."""


class SpoolFull(SpoolError):
    """There is no room: so much waits for the brokers, or the disk is full."""


class _Kept(NamedTuple):
    """A group on the disk: its row, its lane, how much it is, the marks put in with it, and, of the latest, what it
    holds: what is sent soon need not be read."""

    seq: int
    lane: Lane
    many: int
    size: int
    marks: list[Any]
    items: Items | None = None


class Spool:
    """A spool over a folder, for one process and one event loop: `open` it there, `close` it at the end.

    Raises SpoolError when the folder cannot be used, or another process works over it.
    """

    def __init__(self, folder: Path, limits: SpoolLimits | None = None) -> None:
        self._folder, self._limits = folder, limits or SpoolLimits()
        self._queue: queue.SimpleQueue[list[Write] | None] = queue.SimpleQueue()
        self._gathered: list[Write] = []
        self._writing = False  # the thread has a group, or will be given one
        self._given = 0.0
        self._gone: dict[Lane, int] = {}
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh = {lane: asyncio.Event() for lane in LANES}
        self._waiting = {lane: [0, 0] for lane in LANES}  # items and bytes
        self._kept: dict[Lane, dict[int, _Kept]] = {lane: {} for lane in LANES}
        self._held = 0
        self._free_looked = 0.0
        self._low: str | None = None
        self._broken = False
        self._settled = 0
        self.damaged = 0
        self.groups = 0

    def open(self) -> None:
        """Take the folder up, what waits in it too. Call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._folder / "spool.lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolError(f"Another gateway works over {self._folder}: give each a folder of its own.") from None
        except OSError as error:
            raise SpoolError(f"The spool's folder {self._folder} cannot be used: {error.strerror}.") from error
        try:
            self._write = connect(self._folder / "spool.db")
            self._write.executescript(TABLES)
            self._read = connect(self._folder / "spool.db")
            for seq, lane, count, size in self._read.execute("SELECT seq, lane, items, length(body) FROM waiting"):
                self._count(_Kept(seq, LANES[lane], count, size, []))
            (self.damaged,) = self._read.execute("SELECT count(*) FROM damaged").fetchone()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise SpoolError(f"The spool in {self._folder} cannot be read: {error}.") from error
        self._look_at_disk()
        self._thread.start()

    async def close(self) -> None:
        """Make durable what was put in, and let go of the folder."""
        self._remove()
        while self._gathered:
            self._give()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._read.close()
        os.close(self._lock)

    def waiting(self, lane: Lane = "scans") -> int:
        """How many scans, or other messages, wait to be acknowledged by the brokers."""
        return self._waiting[lane][0]

    @property
    def waiting_bytes(self) -> int:
        """How much that is on the disk."""
        return sum(size for _, size in self._waiting.values())

    @property
    def refuses(self) -> str | None:
        """Why nothing can be put in just now; None when it can."""
        if self.waiting_bytes >= self._limits.bytes_most:
            return f"{self.waiting_bytes} bytes wait for the brokers, and the spool may hold {self._limits.bytes_most}"
        return self._low

    def put(
        self,
        scans: Sequence[Scan] = (),
        parcels: Sequence[Parcel] = (),
        tickets: Sequence[TicketRow] = (),
        mark: Any = None,
    ) -> asyncio.Future[None]:
        """Put all of it in, or nothing: the future is done when it is on the disk. Raises SpoolFull, now or then.

        `mark` is given back by `sent`, unless this process ends before.
        """
        assert self._loop is not None, "the spool is not open"
        if (why := self.refuses) is not None and (scans or parcels):
            raise SpoolFull(f"The spool is full: {why}. Nothing was taken.")
        done = self._loop.create_future()
        self._gather(Write(scans, parcels, tickets, done, mark))
        return done

    def mark(self, seq: int, mark: Any) -> None:
        """Put a mark to a group of scans that waits."""
        if (kept := self._kept["scans"].get(seq)) is not None:
            kept.marks.append(mark)

    async def fresh(self, lane: Lane) -> None:
        """Wait until something waits in the lane."""
        while not self._waiting[lane][0]:
            self._fresh[lane].clear()
            await self._fresh[lane].wait()

    def next(self, lane: Lane, items_most: int) -> list[Row] | None:
        """The groups that came first, as far as they are in the memory; None where they must be read."""
        rows: list[Row] = []
        count = 0
        for kept in self._kept[lane].values():
            if kept.items is None:
                break
            rows.append(Row(kept.seq, kept.items))
            count += kept.many
            if count >= items_most:
                break
        return rows or None

    def read(self, lane: Lane, after: int, items_most: int) -> list[Row]:
        """The groups behind `after`, first come first: at least one if there is one. For a thread other than the loop.

        A group that is damaged is set aside, in the table `damaged`, and counted.
        """
        rows: list[Row] = []
        flaws: list[int] = []
        count = 0
        number = LANES.index(lane)
        for seq, items, body in self._read.execute(
            "SELECT seq, items, body FROM waiting WHERE lane = ? AND seq > ? AND seq <= ? ORDER BY seq",
            (number, after, self._settled),  # what the loop does not know of yet is for the next time
        ):
            try:
                rows.append(Row(seq, unpacked(lane, body)))
                count += items
            except ValueError:
                flaws.append(seq)
            if count >= items_most:
                break
        if flaws:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._gather, Write((), (), (), None, flaws=flaws))
        return rows

    def sent(self, lane: Lane, seqs: Sequence[int]) -> list[Any]:
        """The brokers have these groups, the first of the lane: they leave soon. Returns their marks."""
        marks = self._discount(lane, seqs)
        if seqs:
            assert self._loop is not None
            if not self._gone:
                self._loop.call_later(_REMOVE_SECONDS, self._remove)
            self._gone[lane] = seqs[-1]
        return marks

    def tickets(self) -> list[TicketRow]:
        """The tickets that wait, as at `open`."""
        return [TicketRow(*row) for row in self._read.execute("SELECT ticket_id, until_ms, body FROM tickets")]

    def _remove(self) -> None:
        """Have the thread take away what was sent."""
        if self._gone:
            gone, self._gone = self._gone, {}
            self._gather(Write((), (), (), None, sent=gone))

    def _gather(self, write: Write) -> None:
        """Put into the next group."""
        self._gathered.append(write)
        if not self._writing:
            self._give_soon()

    def _give_soon(self) -> None:
        """A commit costs the same for one and for a hundred: while they come quickly, let some gather."""
        assert self._loop is not None
        self._writing = True
        wait = self._given + self._limits.gather_ms / 1000 - self._loop.time()
        if wait > 0:
            self._loop.call_later(wait, self._give)
        else:
            self._loop.call_soon(self._give)

    def _give(self) -> None:
        """Give the thread what has gathered, as far as one group may hold it."""
        assert self._loop is not None
        count = many = 0
        for write in self._gathered:
            many += 1
            count += len(write.scans)
            if count >= self._limits.group_scans_most:
                break
        if many:
            group, self._gathered = self._gathered[:many], self._gathered[many:]
            self._given = self._loop.time()
            self._queue.put(group)

    def _work(self) -> None:
        """The thread that writes. Everybody waits for it, and it for the disk: when that is done it goes on at once."""
        shorten_slice()
        while True:
            try:
                group = self._queue.get(timeout=_IDLE_SECONDS if self._low is None else _FREE_LOOK_SECONDS)
            except queue.Empty:
                self._rest()
                continue
            if group is None:
                break
            self._commit(group)
        self._write.close()

    def _commit(self, group: list[Write]) -> None:
        rows: list[_Kept] = []
        problem: SpoolError | None = None
        try:
            if self._broken:
                self._write = connect(self._folder / "spool.db")
                self._broken = False
            self._change(group, rows)
        except sqlite3.Error as error:
            rows = []
            problem = self._failed(error)
        assert self._loop is not None
        waiters = [write.done for write in group if write.done is not None]
        try:
            flaws = [seq for write in group for seq in write.flaws] if problem is None else []
            self._loop.call_soon_threadsafe(self._settle, waiters, rows, flaws, problem)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    def _change(self, group: list[Write], rows: list[_Kept]) -> None:
        """One transaction of all that a group asks for. Each call of SQLite's gives the interpreter away and waits to
        have it again: one statement needs no others around it."""
        execute = self._write.execute
        others = list(statements_of(group))
        given = items_of(group)
        alone = len(given) + len(others) == 1
        if not alone:
            execute("BEGIN IMMEDIATE")
        for lane, items in given:
            body = packed(items)
            done = execute(
                "INSERT INTO waiting(lane, items, body) VALUES (?, ?, ?)", (LANES.index(lane), len(items), body)
            )
            rows.append(_Kept(done.lastrowid or 0, lane, len(items), len(body), marks_of(group, lane), items))
        for statement, values in others:
            execute(statement, values)
        if not alone:
            execute("COMMIT")

    def _failed(self, error: sqlite3.Error) -> SpoolError:
        """Undo, and go on with a new connection: what this one has in its memory is not to be relied on."""
        self._broken = True
        try:
            self._write.close()
        except sqlite3.Error:
            pass
        self._look_at_disk()
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            return SpoolFull("The disk of the spool is full. Nothing was taken.")
        return SpoolError(f"The spool cannot be written: {error}. Nothing was taken.")

    def _settle(
        self,
        waiters: list[asyncio.Future[None]],
        rows: list[_Kept],
        flaws: list[int],
        problem: SpoolError | None,
    ) -> None:
        """In the loop: the group is on the disk, or it is not."""
        for kept in rows:
            self._count(kept)
            self._fresh[kept.lane].set()
        for lane in LANES:
            self._discount(lane, flaws)
        self.damaged += len(flaws)
        self.groups += 1
        for done in waiters:
            if not done.done():
                if problem is None:
                    done.set_result(None)
                else:
                    done.set_exception(problem)
        if self._gathered:
            self._give_soon()
        else:
            self._writing = False

    def _count(self, kept: _Kept) -> None:
        if kept.items is not None:
            if self._held + kept.many > self._limits.held_most:
                kept = kept._replace(items=None)
            else:
                self._held += kept.many
        self._kept[kept.lane][kept.seq] = kept
        self._settled = max(self._settled, kept.seq)
        self._waiting[kept.lane][0] += kept.many
        self._waiting[kept.lane][1] += kept.size

    def _discount(self, lane: Lane, seqs: Sequence[int]) -> list[Any]:
        marks: list[Any] = []
        for seq in seqs:
            if (kept := self._kept[lane].pop(seq, None)) is not None:
                self._waiting[lane][0] -= kept.many
                self._waiting[lane][1] -= kept.size
                self._held -= kept.many if kept.items is not None else 0
                marks += kept.marks
        return marks

    def _rest(self) -> None:
        """When there is nothing to write: look at the disk, and give back what an outage took of it."""
        if time.monotonic() - self._free_looked > _FREE_LOOK_SECONDS:
            self._look_at_disk()
            if self._broken:
                return
            try:
                (free,) = self._write.execute("PRAGMA freelist_count").fetchone()
                if not any(self._kept.values()) and free > _GIVE_BACK_PAGES:
                    self._write.execute(f"PRAGMA incremental_vacuum({_GIVE_BACK_PAGES})").fetchall()
            except sqlite3.Error:
                pass  # nobody waits for this, and the next transaction says what is wrong

    def _look_at_disk(self) -> None:
        self._free_looked = time.monotonic()
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            self._low = f"its folder cannot be looked at ({error.strerror})"
            return
        least = self._limits.free_bytes_least
        self._low = None if free >= least else f"{free} bytes are free on its disk, and {least} are to stay free"

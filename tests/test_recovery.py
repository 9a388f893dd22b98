"""A places worker that goes through the log again: what it says, what it does not, and what a record holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from agents import occupancy
from agents.occupancy import OccupancyKeeper
from bench.endurance import judge, limits_of
from bench.visitlog import VisitLog
from bench.vitals import Vitals
from contacts.clusterrules import load_cluster_rules
from contacts.windows import WindowRows
from lacak.clock import SystemClock
from schemas.blocks import VISIT_BLOCKS, VISITS_MAGIC, WINDOW_BLOCKS, WINDOWS_MAGIC, WindowBlock, unframe
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.outbox import MESSAGE_BYTES_MAX
from streams.partitions import Owner
from streams.people_file import PeopleFile
from streams.progress import Progress
from streams.settings import Partitions, Settings, Snapshots
from streams.snapshots import SnapshotStore


class Sent:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.windows: list[bytes] = []
        self.counts: list[bytes] = []

    def send(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None) -> None:
        """One record."""
        assert topic == "windows"
        self.windows.append(value or b"")

    def send_many(self, topic: str, messages: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Many."""
        assert topic == "occupancy"
        self.counts += [key for _, key, _ in messages]


class Answers:
    """What stands for the contacts agent."""

    def begins(self, *_: object) -> None:
        """Nothing is known of barriers."""

    def answer_ready(self, *_: object) -> None:
        """Nobody asks."""

    def tell(self, *_: object) -> None:
        """Nobody watches."""


class Holder:
    """What the keeper asks of its owner."""

    def __init__(self, committed: int) -> None:
        self.committed = {0: committed}
        self.ends = {0: 1 << 40}
        self.partitions = frozenset({0})
        self.at = 0

    def position(self, partition: int) -> int:
        """Where the state stands."""
        return self.at

    def durable(self, partition: int) -> int:
        """Where the snapshot stands."""
        return 0


class Steps(SystemClock):
    """A clock on which every look is a second later."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """A second later."""
        self.now += 1.0
        return self.now


def keeper_of(folder: Path, holder: Holder, sent: Sent) -> OccupancyKeeper:
    """A keeper of one partition."""
    settings = Settings(partitions=Partitions(scans=4, visits=1, cases=1))
    keeper = OccupancyKeeper(
        settings, Steps(), sent, DeadLetters(sent, settings.dead_letters), Answers(),  # type: ignore[arg-type]
        PeopleFile(folder, "people-0", "cluster"), lambda _: folder, lambda: None, load_cluster_rules("default"),
    )  # fmt: skip
    keeper.owner = holder  # type: ignore[assignment]
    return keeper


def blocks_of(visits: int) -> list[bytes]:
    """A small log."""
    return [value for piece in VisitLog(visits, 50, seed=3).pieces() for value in piece.values]


def run(keeper: OccupancyKeeper, holder: Holder, values: list[bytes], level_at: int) -> None:
    """Take the log in as the agent's loop does."""
    places = keeper.make(0)
    for first in range(0, len(values), 7):
        some = values[first : first + 7]
        holder.at = first + len(some)
        keeper._passes(0, places, holder.at)
        offsets = range(first, holder.at)
        none = [None] * len(some)
        keeper.apply(places, Batch("visits", 0, offsets, [0] * len(some), none, some, highwater=len(values)))
        keeper.look(0, places, holder.at, holder.at >= level_at)
    keeper.telling(0, places, holder.at)


def windows_in(records: list[bytes]) -> dict[tuple[str, int], tuple[int, ...]]:
    """The windows that exist, as their readers keep them."""
    held: dict[tuple[str, int], tuple[int, ...]] = {}
    for block in (unframe(WINDOWS_MAGIC, record, WINDOW_BLOCKS) for record in records):
        for venue, start, *numbers in np.frombuffer(block.rows, "<i8").reshape(-1, 7).tolist():
            held[block.venues[venue], start] = tuple(numbers)
    return {key: numbers for key, numbers in held.items() if any(numbers)}


def test_a_rebuild_says_nothing_again_of_what_was_committed(tmp_path: Path) -> None:
    """Up to what was committed windows and counts are silent; what is told behind it makes the same windows in all."""
    values = blocks_of(2000)
    whole, first, second = Sent(), Sent(), Sent()
    run(keeper_of(tmp_path / "whole", holder := Holder(0), whole), holder, values, 0)
    cut = len(values) // 2
    run(keeper_of(tmp_path / "first", holder := Holder(0), first), holder, values[:cut], 0)
    run(keeper_of(tmp_path / "second", holder := Holder(cut), second), holder, values, len(values))
    positions = [unframe(WINDOWS_MAGIC, each, WINDOW_BLOCKS).position[0] for each in second.windows]
    assert min(positions) > cut
    assert sum(map(len, second.windows)) < 0.7 * sum(map(len, whole.windows))
    assert windows_in(first.windows + second.windows) == windows_in(whole.windows)
    assert len(second.counts) < len(whole.counts) / 2


def test_windows_are_told_in_records_that_brokers_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many windows there are at once, no record is too large, nothing is lost, and only the last of them says
    the new log time: a reader that has it has all."""
    sent = Sent()
    keeper = keeper_of(tmp_path, Holder(0), sent)
    run(keeper, Holder(0), blocks_of(200), 0)
    count = 3 * occupancy._WINDOWS_A_RECORD + 17
    venues = [f"{number:0200d}" for number in range(count)]
    rows = np.arange(count * 7).reshape(count, 7)
    rows[:, 0] = np.arange(count)
    places, sent.windows = keeper.make(0), []
    told = keeper._told[0]
    keeper._tell_windows(0, places, told, 5, WindowRows(venues, rows))
    blocks: list[WindowBlock] = [unframe(WINDOWS_MAGIC, each, WINDOW_BLOCKS) for each in sent.windows]
    assert max(map(len, sent.windows)) < MESSAGE_BYTES_MAX
    assert len(blocks) == 4
    found = [
        (block.venues[row[0]], *row[1:])
        for block in blocks
        for row in np.frombuffer(block.rows, "<i8").reshape(-1, 7).tolist()
    ]
    assert found == [(venues[row[0]], *row[1:]) for row in rows.tolist()]
    assert {block.log_time_ms for block in blocks[:-1]} == {0}
    assert blocks[-1].log_time_ms == places.log_time_ms


def test_the_made_log_is_sound() -> None:
    """bench.visitlog: rows of each source in order, each change of a visit born before it, every visit once."""
    last = [(-1, -1)] * 4
    born: set[tuple[int, int]] = set()
    count = 0
    log = VisitLog(2000, 50, seed=3)
    for piece in log.pieces():
        for value in piece.values:
            block = unframe(VISITS_MAGIC, value, VISIT_BLOCKS)
            for offset, scan, _, born_offset, _, _, start, end, *_ in np.frombuffer(block.rows, "<i8").reshape(-1, 12).tolist():  # fmt: skip  # noqa: E501
                assert (offset, scan) > last[block.source_partition]
                assert end >= start
                last[block.source_partition] = offset, scan
                if born_offset == offset:
                    born.add((block.source_partition, offset))
                    count += 1
                else:
                    assert (block.source_partition, born_offset) in born
    assert count == sum(piece.visits for piece in VisitLog(2000, 50, seed=3).pieces())


def test_progress_says_how_far_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    """A line every five seconds with the share, the speed, and what is left; one at the end."""
    with caplog.at_level(logging.INFO):
        progress = Progress("visits", 2, 100, 10.0)
        progress.tell(150, 300, 1000, 12.0)
        progress.tell(150, 300, 5000, 20.0)
        progress.tell(200, 300, 6000, 25.0)
        progress.done(300, 9000, 30.0)
    assert [record.getMessage() for record in caplog.records] == [
        "The state of visits, partition 2: 25 % of the log read, 500 visits a second, about 30 s to go.",
        "The state of visits, partition 2: 50 % of the log read, 200 visits a second, about 10 s to go.",
        "The state of visits, partition 2 is level after 20.0 s: 200 records, 9000 visits, 450 visits a second.",
    ]


def looks_with(leak_mib: float, handles: int) -> list[Vitals]:
    """An hour of looks in which a process grows, and opens files."""
    return [
        Vitals(
            60.0 * minute, "steady", 1000 * minute, {"tracing": 100 + leak_mib * minute / 60},
            {"tracing": 30 + handles * minute // 60}, {"tracing": 1.0}, {"scans": 0}, 0.5, 0.5,
        )
        for minute in range(60)
    ]  # fmt: skip


@pytest.mark.parametrize(("leak_mib", "handles", "faults"), [(20, 0, 0), (400, 0, 1), (0, 100, 1), (400, 100, 2)])
def test_what_grows_is_found(leak_mib: float, handles: int, faults: int) -> None:
    """A process that takes more by the hour than bench/limits.toml says, or opens files, is named."""
    assert len(judge(looks_with(leak_mib, handles), limits_of())) == faults


class Order:
    """A state and an outbox that note what is asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def dump(self) -> dict[str, bytes]:
        """The state is read."""
        self.asked.append("dump")
        return {"all": b"it"}

    async def flush(self) -> None:
        """Everything sent is acknowledged."""
        self.asked.append("flush")

    def told(self, partition: int, state: Order, offset: int) -> None:
        """What is due is told."""
        assert (partition, state, offset) == (0, self, 3)
        self.asked.append("told")


def test_all_is_told_before_a_snapshot_and_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    """So nothing below a committed offset is untold: what a rebuild passes over in silence rests on it."""

    async def live() -> None:
        order = Order()
        store = SnapshotStore(tmp_path, "cluster")
        settings = Settings(snapshots=Snapshots(every_records=1))
        owner = Owner(
            "visits", lambda _: order, lambda *_: order, store, order, settings, lambda: 0.0, telling=order.told
        )  # fmt: skip
        await owner.assigned(frozenset({0}))
        owner.ends[0] = 3
        owner.begins(0, 0)
        held = await owner.take(Batch("visits", 0, [0, 1, 2], [0] * 3, [None] * 3, [b""] * 3, highwater=3))
        assert held is not None
        assert owner.durable(0) is None
        await owner.done(held[1])
        writing = owner._slots[0].writing
        assert writing is not None
        await writing
        assert owner.durable(0) == 3
        assert order.asked == ["told", "dump", "flush"]
        owner.unlock()

    asyncio.run(live())

"""Lives of a places worker without a broker: killed at random moments and at named points, begun again from its files.

`python -m tests.index_crash_driver FOLDER SEED KILLS` makes a log of blocks from a world and has children read it with
the very keeper and owner that a worker has. Each child is killed with SIGKILL, until there were so many kills; the last
one ends. FOLDER then holds what all lives told (`told`), what they said (`said`), and the answers (`answers`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from agents.contacts import Contacts
from agents.occupancy import OccupancyKeeper
from contacts.archive import Archive
from contacts.clusterrules import load_cluster_rules
from contacts.deriver import Deriver
from contacts.index import VisitIndex
from contacts.places import Places
from contacts.segments import Segment
from contacts.visits import Acceptance
from schemas.blocks import VISITS_MAGIC, ErasureOrder, RegistryChange, Tick, frame
from schemas.partitions import partition_of
from streams import people_file, snapshots
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.partitions import Owner
from streams.people_file import PeopleFile
from streams.settings import Partitions, Settings, Snapshots, Times
from streams.shelf import FileShelf
from tests import oracle
from tests.worlds import BEGIN, DAY, HOUR, MINUTE, World, world

PARTITIONS: Final = 2
RULES: Final = oracle.Rules(horizon=DAY, retention=3 * DAY, tolerance=300_000)
FINAL: Final = BEGIN + 5 * DAY + 14 * HOUR
"""When the log ends: people are inside, days are settled, others have expired."""

ERASED_BY: Final = BEGIN + int(2.5 * DAY)
POINTS: Final[list[tuple[Any, str]]] = [
    (FileShelf, "put"),
    (FileShelf, "check"),
    (Segment, "build"),
    (VisitIndex, "settled"),
    (VisitIndex, "_settled"),
    (VisitIndex, "tidy"),
    (VisitIndex, "revive_touching"),
    (VisitIndex, "expire"),
    (Archive, "replace"),
    (Archive, "expire"),
    (Archive, "erase"),
    (Places, "dump"),
    (Places, "erase"),
    (PeopleFile, "forget"),
    (PeopleFile, "_write"),
    (PeopleFile, "_wipe"),
    (people_file, "make_durable"),
    (people_file, "replace_durably"),
    (snapshots, "write_durably"),
    (snapshots, "replace_durably"),
    (snapshots.SnapshotStore, "_sweep"),
    (snapshots.SnapshotStore, "read"),
]


class Case(NamedTuple):
    """A world, and when its erasures are ordered."""

    town: World
    orders: list[int]


def case(seed: int) -> Case:
    """The world of a seed, six days long."""
    town = world(seed, people=14, venues=8, days=6, scans=420, erasures=3, late=0.06)
    chance = random.Random(f"orders {seed}")
    return Case(town, [BEGIN + chance.randrange(ERASED_BY - BEGIN) for _ in town.erasures])


def make_log(given: Case) -> list[list[bytes]]:
    """What the visits agent would write into each partition of `visits`, until the end."""
    acceptance = Acceptance(RULES.horizon, RULES.retention, RULES.tolerance)
    derivers = [
        Deriver(number, PARTITIONS, acceptance, lambda venue: partition_of(venue, PARTITIONS))
        for number in range(PARTITIONS)
    ]
    offsets = [0] * PARTITIONS
    log: list[list[bytes]] = [[] for _ in range(PARTITIONS)]

    def send(number: int, first: int) -> None:
        for target, block in derivers[number].blocks(first, offsets[number], empty=True):
            log[target].append(frame(VISITS_MAGIC, block))

    def control(make: Callable[[], Any]) -> None:
        for number, deriver in enumerate(derivers):
            offsets[number] += 1
            deriver.control(offsets[number] - 1, make())
            send(number, offsets[number] - 1)

    for number, venue in enumerate(given.town.registry()):
        control(lambda venue=venue, number=number: RegistryChange((0, number), venue, 0))
    scans = [scan for scan in given.town.messages() if (scan.arrived_at_ms or 0) <= FINAL]
    orders = sorted(enumerate(given.orders), key=lambda each: each[1])
    for start in range(0, len(scans), 6):
        batch = scans[start : start + 6]
        arrived_ms = max(scan.arrived_at_ms or 0 for scan in batch)
        while orders and orders[0][1] < arrived_ms:
            number, erasure = orders[0][0], given.town.erasures[orders.pop(0)[0]]
            control(lambda each=erasure, number=number: ErasureOrder((1, number), each.person, each.before))
        for number, deriver in enumerate(derivers):
            mine = [scan for scan in batch if partition_of(scan.person, PARTITIONS) == number]
            first = offsets[number]
            offsets[number] += len(mine)
            rows = [
                (first + row, 0, scan.person, scan.venue, scan.kind, scan.at_ms, scan.arrived_at_ms or 0)
                for row, scan in enumerate(mine)
            ]
            deriver.derive(rows, lambda *_: None)
            if mine:
                send(number, first)
        control(lambda at=arrived_ms: Tick(at))
    control(lambda: Tick(FINAL))
    return log


def settings(folder: Path) -> Settings:
    """Of a worker that makes snapshots often."""
    return Settings(
        data_dir=folder,
        clock="file",
        partitions=Partitions(scans=PARTITIONS, visits=PARTITIONS, cases=1),
        times=Times(horizon_days=RULES.horizon / DAY, retention_days=RULES.retention / DAY),
        snapshots=Snapshots(every_seconds=1.25, every_records=6),  # four times as seldom while it is behind
    )


class Clock:
    """Half a second passes whenever somebody looks."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        self._now += 0.5
        return self._now

    def now_ms(self) -> int:
        """No time of day."""
        return 0


class Told:
    """Takes what is sent into a file, as a broker would: what was sent stays sent, whatever becomes of the sender."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def send(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, **_: object) -> None:
        """One message, whole."""
        packed = msgspec.msgpack.encode((topic, partition, value))
        os.write(self._file, len(packed).to_bytes(4, "big") + packed)

    def send_many(self, topic: str, messages: Iterable[tuple[int, bytes | None, bytes | None]]) -> None:
        """Several."""
        for partition, _, value in messages:
            self.send(topic, partition, value)

    async def room(self) -> None:
        """There is always room."""

    async def flush(self) -> None:
        """Acknowledged when sent."""


def told(path: Path) -> list[tuple[str, int, bytes]]:
    """All that was sent, in order."""
    found, content = [], path.read_bytes()
    while content:
        size = int.from_bytes(content[:4], "big")
        found.append(msgspec.msgpack.decode(content[4 : 4 + size], type=tuple[str, int, bytes]))
        content = content[4 + size :]
    return found


async def live(folder: Path, log: list[list[bytes]], pause: float) -> None:
    """One life, from the files to the end of the log."""
    own, clock, outbox = settings(folder), Clock(), Told(folder / "told")
    store = snapshots.SnapshotStore(folder / "state", "cluster")
    people = PeopleFile(folder / "state", "people-0", "cluster")
    owner: Owner[Places]
    letters = DeadLetters(outbox, own.dead_letters)
    contacts = Contacts(own, clock, outbox, letters, lambda partition: owner.state(partition))  # type: ignore[arg-type]
    keeper = OccupancyKeeper(
        own,
        clock,
        outbox,  # type: ignore[arg-type]
        letters,
        contacts,
        people,
        lambda partition: store.home("visits", partition),
        lambda: owner.states(),
        load_cluster_rules("default"),
    )
    owner = Owner(
        "visits",
        keeper.make,
        keeper.load,
        store,
        outbox,
        own,
        clock.monotonic,
        keeper.returned,
        people.sync,
        keeper.telling,
    )
    keeper.owner = owner

    def at(partition: int) -> int:
        position = owner.position(partition)
        return position if isinstance(position, int) else 0

    await owner.assigned(frozenset(range(PARTITIONS)))
    owner.ends.update(enumerate(map(len, log)))
    for number in range(PARTITIONS):
        owner.begins(number, at(number))
    await owner.warm()

    async def batches() -> AsyncIterator[Batch]:
        chance = random.Random(os.getpid())
        while waiting := [number for number in range(PARTITIONS) if at(number) < len(log[number])]:
            number = chance.choice(waiting)
            first = at(number)
            last = min(first + chance.randrange(1, 6), len(log[number]))
            offsets = list(range(first, last))
            values = log[number][first:last]
            yield Batch("visits", number, offsets, [0] * len(values), [None] * len(values), values, highwater=last)
            await asyncio.sleep(pause)

    await keeper.run(batches(), owner)
    for _ in range(40):
        for number in range(PARTITIONS):
            state = owner.state(number)
            assert state is not None
            keeper.look(number, state, len(log[number]), owner.level(number))
        owner.housekeep()
        await asyncio.sleep(0.01)
    await owner.close()
    states = [owner.state(number) for number in range(PARTITIONS)]
    (folder / "answers").write_text(json.dumps(answers([state for state in states if state is not None])))


def questions() -> list[tuple[str, int, int, int | None, int, str]]:
    """What is asked in the end: persons, windows, as-of, linger and direction."""
    chance = random.Random("questions")
    asked = []
    for number in range(14):
        for direction in ("forward", "backward"):
            start = BEGIN + chance.randrange(-DAY, 5 * DAY)
            as_of = chance.choice((None, BEGIN + chance.randrange(2 * DAY, 6 * DAY)))
            linger = chance.choice((0, 20 * MINUTE))
            asked.append((f"p{number}", start, start + chance.randrange(HOUR, 7 * DAY), as_of, linger, direction))
    return asked


def answers(states: list[Places]) -> dict[str, Any]:
    """The shared stays of every question, and how the state is kept."""
    rows = [
        sorted(
            (other, stay.venue, stay.start_ms, stay.end_ms)
            for state in states
            for other, stay in state.shared_stays(*asked)  # type: ignore[arg-type]
        )
        for asked in questions()
    ]
    return {
        "shared": rows,
        "settled": sum(len(state._index.archive) for state in states),
        "erased": sum(segment.erased for state in states for segment in state._index.archive.segments),
    }


def die(*_: object) -> NoReturn:
    """As with kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError("alive")


def die_at(owner: Any, name: str, count: int, after: bool) -> None:
    """Have this process die at the `count`-th call of something, before it or after."""
    inner, calls = getattr(owner, name), [count]
    plain = inner.__func__ if isinstance(inner, type(Segment.build)) else inner

    def outer(*given: Any, **named: Any) -> Any:
        calls[0] -= 1
        if calls[0] == 0 and not after:
            die()
        result = plain(*given, **named)
        if calls[0] == 0:
            die()
        return result

    static = isinstance(owner.__dict__.get(name), staticmethod)
    wrapped: Any = staticmethod(outer) if static else classmethod(outer) if plain is not inner else outer
    setattr(owner, name, wrapped)


def child(folder: Path, log: list[list[bytes]], chance: random.Random, mortal: bool) -> NoReturn:
    """A life in a process of its own."""
    said = os.open(folder / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(said, 2)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("streams.progress").setLevel(logging.WARNING)  # only what went wrong is to be said
    if mortal and chance.random() < 0.6:
        point, name = chance.choice(POINTS)
        die_at(point, name, chance.choice((1, 1, 2, 3, 5, 9)), chance.random() < 0.5)
    if mortal:
        threading.Timer(chance.choice((0.05, 0.2, 0.6)) * chance.random() + 0.001, die).start()
    try:
        asyncio.run(live(folder, log, 0.0005 if mortal else 0.0))
    except BaseException:
        logging.exception("a life ended badly")
        os._exit(1)
    os._exit(0)


def main(folder: Path, seed: int, kills: int) -> None:
    """So many kills, then a life to the end."""
    log = make_log(case(seed))
    with tempfile.TemporaryDirectory() as other:  # what is compiled here is there when a child begins
        asyncio.run(live(Path(other), log, 0.0))
    chance = random.Random(f"kills {seed}")
    killed, begins = 0, True
    while True:
        mortal = killed < kills and not begins
        cut = chance.randrange(max(map(len, log))) if begins and kills else None  # where the killing begins
        life = random.Random(chance.random())
        pid = os.fork()
        if not pid:
            child(folder, [part[:cut] for part in log], life, mortal)
        _, status = os.waitpid(pid, 0)
        begins = False
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            killed += 1
        elif status or (cut is None and killed >= kills):
            sys.exit(status != 0)
        elif cut is None:  # it came to the end alive
            begins = True
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

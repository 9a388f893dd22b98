"""The index on disk under kill -9 at any moment: what is told and answered in the end is what the oracle says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import msgspec
import pytest

from agents.contacts import Contacts
from agents.occupancy import OccupancyKeeper
from contacts.clusterrules import load_cluster_rules
from contacts.days import midnight_ms
from contacts.places import Places
from schemas.blocks import WINDOWS_MAGIC, VisitBlock, WindowBlock, unframe
from schemas.messages import Occupancy
from streams.deadletters import DeadLetters
from streams.people_file import PeopleFile
from tests import oracle
from tests.index_crash_driver import FINAL, RULES, Clock, Told, case, questions, settings, told
from tests.worlds import BEGIN

WINDOW = 600_000
KILLS = 30


def told_windows(folder: Path) -> dict[tuple[str, int], tuple[int, ...]]:
    """The windows as the recorder keeps them: a row gives way to one told at a later position."""
    kept: dict[tuple[str, int], tuple[tuple[int, int], tuple[int, ...]]] = {}
    decoder = msgspec.msgpack.Decoder(WindowBlock)
    for topic, _, value in told(folder / "told"):
        if topic == "windows":
            block = unframe(WINDOWS_MAGIC, value, decoder)
            width = len(block.rows) // 8
            numbers = memoryview(block.rows).cast("q").tolist()
            for row in range(0, width, 7):
                venue, start, *rest = numbers[row : row + 7]
                key = block.venues[venue], start
                if key not in kept or kept[key][0] < tuple(block.position):
                    kept[key] = tuple(block.position), tuple(rest)
    return {key: numbers for key, (_, numbers) in kept.items() if any(numbers)}


def told_inside(folder: Path) -> dict[str, int]:
    """How many are inside, as told last."""
    kept: dict[str, Occupancy] = {}
    for topic, _, value in told(folder / "told"):
        if topic == "occupancy":
            message = msgspec.json.decode(value, type=Occupancy)
            if message.venue not in kept or kept[message.venue].position < message.position:
                kept[message.venue] = message
    return {venue: message.inside for venue, message in kept.items() if message.inside}


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_it_answers_as_the_oracle(tmp_path: Path, seed: int) -> None:
    """Windows, counts and shared stays; no person is kept whom nobody has a visit of; no state had to be rebuilt."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.index_crash_driver", str(tmp_path), str(seed), str(KILLS)],
        cwd=Path(__file__).parents[1],
    )
    said = (tmp_path / "said").read_text()
    assert done.returncode == 0, said
    assert said == ""
    town = case(seed).town
    scans = [scan for scan in town.scans if scan.arrived <= FINAL]
    wanted = oracle.visits(scans, town.venues, RULES, town.erasures)
    closed = {key: row for key, row in oracle.windows(wanted).items() if key[1] + WINDOW <= FINAL}
    assert told_windows(tmp_path) == closed
    venues = {name for visit in wanted for name in (visit.venue, *visit.ancestors)}
    inside = {venue: oracle.inside(wanted, venue, FINAL) for venue in venues}
    assert told_inside(tmp_path) == {venue: count for venue, count in inside.items() if count}
    floor = midnight_ms(FINAL - RULES.retention, ZoneInfo("Asia/Jakarta"))
    kept = [visit for visit in wanted if visit.end >= floor]
    answers = json.loads((tmp_path / "answers").read_text())
    for asked, found in zip(questions(), answers["shared"], strict=True):
        person, start, end, as_of, linger, direction = asked
        rows = oracle.shared_stays(kept, person, (start, end), as_of, linger, direction)
        assert [tuple(row) for row in found] == [tuple(row) for row in rows]
    assert answers["settled"] > 20
    assert answers["erased"] == 0
    assert list(tmp_path.rglob("segment-*"))


def test_a_name_goes_when_no_snapshot_needs_it(tmp_path: Path) -> None:
    """Who expired is forgotten with the next snapshot: from the one before, a restart still finds whose visits it has.

    Without a name they would be erased, and windows that were told would be taken back.
    """
    own, outbox = settings(tmp_path), Told(tmp_path / "told")
    people = PeopleFile(tmp_path, "people-0", "cluster")
    states: dict[int, Places] = {}

    class Holder:
        """What the keeper asks of its owner."""

        durable_at = 10
        behind: Sequence[int] = ()
        committed: ClassVar[dict[int, int]] = {}

        def position(self, partition: int) -> int:
            """Where the state stands."""
            return 12

        def durable(self, partition: int) -> int:
            """Where the snapshot stands."""
            return self.durable_at

        def rebuilding(self) -> list[int]:
            """Which partitions are not there yet."""
            return list(self.behind)

    letters = DeadLetters(outbox, own.dead_letters)
    contacts = Contacts(own, Clock(), outbox, letters, states.get)  # type: ignore[arg-type]
    keeper = OccupancyKeeper(
        own, Clock(), outbox, letters, contacts, people, lambda _: tmp_path, lambda: states,  # type: ignore[arg-type]
        load_cluster_rules("default"),
    )  # fmt: skip
    holder = Holder()
    keeper.owner = holder  # type: ignore[assignment]
    states[0] = keeper.make(0)
    states[0].apply(VisitBlock(0, 0, 1, BEGIN, [], [], b"", []))
    assert people.people.take(["a", "b"]).tolist() == [0, 1]
    keeper._unused = True
    none = list[int]()
    for durable, behind, names in (
        (10, [0], ["a", "b"]), (13, [0], ["a", "b"]),  # not while it is rebuilt
        (12, none, ["a", "b"]), (12, none, ["a", "b"]), (13, none, ["", ""]),
    ):  # fmt: skip
        holder.durable_at, holder.behind = durable, behind
        keeper._forget()
        assert [people.people.name(number) for number in (0, 1)] == names

"""The peers of the benchmark: all answer as the oracle does, and the command says when one does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bench import peers_memory
from bench.machine import bench_folder
from bench.peer import Contacts, Peer, PeerMissing, most_shared
from bench.peers import PEERS, Measured, Task, differing, digest, in_a_child, table
from bench.population import Population, Visits
from tests import oracle

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
NEEDS = {"duckdb": "duckdb", "duckdb-index": "duckdb", "polars": "polars", "polars-search": "polars"}
NAMES = [name if name not in NEEDS else pytest.param(name, marks=pytest.mark.skipif(
    find_spec(NEEDS[name]) is None, reason=f"{NEEDS[name]} is not installed")) for name in PEERS]  # fmt: skip


@pytest.fixture(scope="module")
def population() -> Population:
    """A village with a busy market."""
    return Population(6000, seed=3)


@pytest.fixture(scope="module")
def edges(population: Population) -> list[Visits]:
    """The days, and with them stays at the limits: just enough, just too little, a touch, the end of the window, two
    shared stays of one pair, ids beyond 2^31 for nobody to trip over."""
    begin, end = population.start_ms, population.end_ms
    market, shop = population.venues + 1, population.venues + 2
    made = [
        (900_001, market, begin + DAY, begin + DAY + 60 * MINUTE),
        (900_002, market, begin + DAY - 10 * MINUTE, begin + DAY + 15 * MINUTE),
        (900_003, market, begin + DAY + 45 * MINUTE + 1, begin + DAY + 90 * MINUTE),
        (900_004, market, begin + DAY + 60 * MINUTE, begin + DAY + 90 * MINUTE),
        (900_001, shop, end - 20 * MINUTE, end + 40 * MINUTE),
        (900_002, shop, end - 14 * MINUTE, end + 40 * MINUTE),
        (900_005, shop, end - 15 * MINUTE, end + 40 * MINUTE),
        (900_002, shop, begin + 2 * DAY, begin + 2 * DAY + 50 * MINUTE),
        (900_001, shop, begin + 2 * DAY + 10 * MINUTE, begin + 2 * DAY + 40 * MINUTE),
        (900_001, market, begin + 3 * DAY, begin + 3 * DAY + 10 * MINUTE),
        (900_002, market, begin + 3 * DAY, begin + 3 * DAY + 23 * 60 * MINUTE),
    ]
    columns = zip(*made, strict=True)
    types = (np.uint32, np.uint32, np.int64, np.int64)
    last = Visits(*(np.array(column, dtype) for column, dtype in zip(columns, types, strict=True)))
    return [*population.days(), last]


@pytest.fixture(scope="module")
def persons(population: Population) -> list[int]:
    """Whom to ask about: those drawn, those at the limits, and one who is not there."""
    return [*(question.person for question in population.questions(25)), *range(900_001, 900_006), 999_999]


@pytest.fixture(scope="module")
def wanted(
    population: Population, edges: list[Visits], persons: list[int]
) -> Callable[[set[int] | None], list[dict[int, int]]]:
    """What the oracle answers: the most ms shared in one stay, by person; of some venues, or all."""
    stays = [
        oracle.Visit(str(person), str(venue), start, end, "")
        for visits in edges
        for person, venue, start, end in zip(*(column.tolist() for column in visits), strict=True)
    ]

    def answers(venues: set[int] | None) -> list[dict[int, int]]:
        held = [stay for stay in stays if venues is None or int(stay.venue) in venues]
        window = (population.start_ms, population.end_ms)
        found = []
        for person in persons:
            here = {stay.venue for stay in held if stay.person == str(person)}
            near = [stay for stay in held if stay.venue in here]  # the oracle is slow
            rows = oracle.contacts(near, str(person), window, minimum_minutes=15, strict=False, per="stay")
            found.append({int(who): max(row.end - row.start for row in rows) for who, (_, rows) in rows.items()})
        return found

    return answers


@pytest.mark.parametrize("name", NAMES)
def test_every_peer_answers_as_the_oracle(
    name: str, population: Population, edges: list[Visits], persons: list[int],
    wanted: Callable[[set[int] | None], list[dict[int, int]]],
) -> None:  # fmt: skip
    with bench_folder() as folder:
        peer = PEERS[name]((population.start_ms, population.end_ms), folder)
        try:
            peer.load(edges)
            answers = [dict(zip(*(column.tolist() for column in peer.ask(person)), strict=True)) for person in persons]
            held = peer.venues()
        finally:
            peer.close()
    expected = wanted(None if held is None else set(held.tolist()))
    assert answers == expected
    assert sum(map(len, expected)) > 100
    assert answers[persons.index(900_001)] == {900_002: 30 * MINUTE, 900_005: 15 * MINUTE}


def test_a_graph_that_does_not_fit_holds_some_venues_whole(
    population: Population, edges: list[Visits], persons: list[int], monkeypatch: pytest.MonkeyPatch,
    wanted: Callable[[set[int] | None], list[dict[int, int]]],
) -> None:  # fmt: skip
    monkeypatch.setattr(peers_memory, "_GRAPH_PAIRS", 300)
    monkeypatch.setattr(peers_memory, "_PAIRS_AT_A_TIME", 50)
    peer = peers_memory.Networkx((population.start_ms, population.end_ms), Path())
    peer.load(edges)
    notes = peer.notes()
    assert 0 < notes["pairs_held"] <= 300 < notes["pairs_of_all_visits"]
    assert notes["visits_held"] < notes["visits"] == sum(len(day.person) for day in edges)
    answers = [dict(zip(*(column.tolist() for column in peer.ask(person)), strict=True)) for person in persons]
    assert answers == wanted(set(peer.venues().tolist()))


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in NEEDS.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(PeerMissing, match=f"{package} is not installed: pip install {package}"):
            PEERS[name]((0, 1), Path()).load([])


def test_minutes_and_the_most_of_several_stays() -> None:
    found = most_shared(np.array([7, 3, 7], np.uint32), np.array([20 * MINUTE, 15 * MINUTE, 90_000 * 11]))
    assert found.minutes() == {3: 15.0, 7: 20.0}
    shuffled = Contacts(found.person[::-1], found.shared_ms[::-1])
    assert digest(shuffled) == digest(found)
    assert digest(Contacts(found.person, found.shared_ms + 1)) != digest(found)


def test_answers_that_differ_are_told() -> None:
    def measured(name: str, answers: list[str], wanted: list[str] | None = None) -> Measured:
        return Measured(name, "", answers=answers, wanted=wanted)

    numpy = measured("numpy", ["a", "b"])
    absent = Measured("absent", "", missing="absent is not installed")
    part = measured("part", ["x", "b"], ["x", "b"])
    assert differing([measured("right", ["a", "b"]), numpy, absent, part]) == []
    assert differing([absent, part]) == []
    said = ["wrong answers 1 of 2 questions otherwise than numpy."]
    assert differing([measured("wrong", ["a", "c"]), numpy]) == said
    assert differing([numpy, measured("wrong", ["x", "c"], ["x", "b"])]) == said


def test_a_peer_is_measured_in_a_process_of_its_own() -> None:
    """Figures of a peer that holds all, and of one that says what it lacks; and a table of both."""
    found = in_a_child(Task("numpy", 3000, 10, 1, 1, 1.0))
    assert found.missing == ""
    assert len(found.answers) == 10
    assert found.contacts["all"] > 0
    assert 0 < found.ms["p50"] <= found.ms["p95"] <= found.ms["max"]
    assert 1 <= found.rounds <= 5
    shown = table([found, Measured("absent", "", missing="absent is not installed: pip install absent")])
    assert shown.row_count == 2


def test_each_peer_says_its_form() -> None:
    assert len({kind.name for kind in PEERS.values()}) == len(PEERS)
    for kind in PEERS.values():
        assert issubclass(kind, Peer)
        assert len(kind.form) > 20

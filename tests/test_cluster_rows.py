"""Clusters in PostgreSQL and at the terminal: what comes again or late changes nothing; cases are for officers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence

import numpy as np
import psycopg
import pytest
from click.testing import CliRunner, Result

from lacak.cluster_commands import bar
from lacak.main import cli
from schemas.blocks import WindowBlock
from schemas.messages import Cluster, VenueClusters
from streams.postgres import Records
from tests.pipeline import new_database

T = 1_634_790_600_000
HOUR = 3_600_000


@pytest.fixture
def own(database: str) -> str:
    """A database of this test's own."""
    return new_database(database, f"t{uuid.uuid4().hex[:10]}")


def told(
    venue: str, position: int, starts: Sequence[int], cases: Sequence[str] = "abc", since: int | None = None
) -> VenueClusters:
    """A message about a venue's clusters that begin at these hours."""
    clusters = tuple(
        Cluster(
            cluster_id=f"cluster-{venue}-{start}", category="bar", start_ms=T + start * HOUR,
            end_ms=T + start * HOUR + HOUR, cases=len(cases), case_ids=tuple(cases), risk=2.5,
            rule="default@2021-10-21 * either", slot_cases=(1, len(cases)),
        )
        for start in starts
    )  # fmt: skip
    since_ms = None if since is None else T + since * HOUR
    return VenueClusters(venue=venue, log_time_ms=T, position=(position, 0), clusters=clusters, since_ms=since_ms)


def write(database: str, *batches: Sequence[VenueClusters]) -> None:
    """Record batches of messages."""

    async def record() -> None:
        records = Records(database)
        for offset, batch in enumerate(batches):
            await records.apply("clusters", 0, offset + 1, clusters=batch)
        await records.close()

    asyncio.run(record())


def test_what_an_officer_waits_for_is_recorded_while_windows_are_being_written(own: str) -> None:
    """Somebody holds the table of windows: its writer waits, clusters come through, and then the windows too."""

    async def record() -> tuple[bool, bool]:
        records = Records(own)
        numbers = np.array([[0, T, 1, 0, 0, 1, 60_000]], "<i8").tobytes()
        block = WindowBlock(0, (1, 0), 300_000, T, ["v"], numbers)
        async with await psycopg.AsyncConnection.connect(own) as holder:
            await holder.execute("lock table lacak.all_windows")
            writing = asyncio.create_task(records.apply("windows", 0, 1, windows=[block]))
            await asyncio.sleep(0.2)
            await asyncio.wait_for(records.apply("clusters", 0, 1, clusters=[told("v", 1, [0])]), 30)
            waited = not writing.done()
        await writing
        await records.close()
        return waited, writing.done()

    assert asyncio.run(record()) == (True, True)
    assert rows(own) == {"cluster-v-0": (False, 3)}
    with psycopg.connect(own) as connection:
        assert connection.execute("select entries, presence_ms from lacak.all_windows").fetchall() == [(1, 60_000)]


def rows(database: str) -> dict[str, tuple[bool, int]]:
    """By cluster: whether it is withdrawn, and how many cases it names."""
    with psycopg.connect(database) as connection:
        found = connection.execute("select cluster_id, withdrawn, cardinality(case_ids) from lacak.clusters").fetchall()
    return {row[0]: (row[1], row[2]) for row in found}


def test_what_a_message_does_not_name_is_withdrawn(own: str) -> None:
    """Of its venue alone, and nothing that begins before the time it speaks of; it can stand again."""
    write(own, [told("v", 1, [0, 5]), told("w", 1, [0])], [told("v", 2, [5, 9], "abcd")])
    assert rows(own) == {
        "cluster-v-0": (True, 0), "cluster-v-5": (False, 4), "cluster-v-9": (False, 4), "cluster-w-0": (False, 3),
    }  # fmt: skip
    write(own, [told("v", 3, [], since=9)])
    assert rows(own)["cluster-v-5"] == (False, 4)
    assert rows(own)["cluster-v-9"] == (True, 0)
    write(own, [told("v", 4, [9], since=9)])
    assert rows(own)["cluster-v-9"] == (False, 3)


def test_what_comes_again_or_late_changes_nothing(own: str) -> None:
    """An older message is ignored, also one about a venue that has no clusters; an equal place is taken again."""
    write(own, [told("v", 7, [5])], [told("w", 7, [])])
    before = rows(own)
    write(own, [told("v", 6, [0, 5], "abcd"), told("w", 6, [1])], [told("v", 7, [5])])
    assert rows(own) == before
    write(own, [told("v", 7, [6])])
    assert rows(own) == {"cluster-v-5": (True, 0), "cluster-v-6": (False, 3)}


def test_a_case_that_is_erased_is_named_nowhere(own: str) -> None:
    """Also in clusters that no message speaks of any more."""
    write(own, [told("v", 1, [0, 5]), told("w", 1, [0], "cd")])

    async def forget() -> None:
        records = Records(own)
        await records.apply("cases", 0, 1, cases=["c"])
        await records.close()

    asyncio.run(forget())
    assert rows(own) == {"cluster-v-0": (False, 2), "cluster-v-5": (False, 2), "cluster-w-0": (False, 1)}


@pytest.fixture
def run(own: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`lacak` over a database with two clusters, one withdrawn."""
    write(
        own, [told("v", 1, [0, 5], ["case-1", "case-2", "case-3"])], [told("v", 2, [5], ["case-1", "case-2", "case-3"])]
    )
    with psycopg.connect(own) as connection:
        connection.execute("insert into lacak.venues values ('v', 'epoch', 'Warung Bu Sri', 'bar', '', null, null)")
    monkeypatch.setenv("LACAK_DATABASE", own)
    monkeypatch.setenv("LACAK_BROKERS", "127.0.0.1:1")
    for name in ("LACAK_OFFICER", "LACAK_PURPOSE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *words: CliRunner().invoke(cli, ["clusters", *words])


def audited(database: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(database) as connection:
        return connection.execute("select officer, purpose, action from lacak.audit").fetchall()


def test_the_list_names_no_case_but_to_an_officer(own: str, run: Callable[..., Result]) -> None:
    """Who looks at the cases of clusters says who and why, and stands in the audit."""
    for words in ((), ("v",), ("--all",), ("--json",), ("v", "--json", "--all")):
        seen = run(*words)
        assert seen.exit_code == 0
        assert "case-" not in seen.output
    assert audited(own) == []
    refused = run("--cases")
    assert refused.exit_code == 2
    assert "case-" not in refused.output
    assert audited(own) == []
    named = json.loads(run("--cases", "--json", "--officer", "sari", "--purpose", "outbreak").output)
    assert [each["case_ids"] for each in named] == [["case-1", "case-2", "case-3"]]
    assert audited(own) == [("sari", "outbreak", "clusters")]


def test_those_that_stand_are_listed_and_others_when_asked_for(run: Callable[..., Result]) -> None:
    """A venue, the withdrawn ones, none at all."""
    assert [each["withdrawn"] for each in json.loads(run("--json").output)] == [False]
    assert [each["withdrawn"] for each in json.loads(run("--all", "--json").output)] == [False, True]
    assert json.loads(run("w", "--json").output) == []
    assert run("w").output == "No cluster stands at w.\n"
    assert "10-21 16:30 to 17:30" in run().output


@pytest.mark.parametrize(
    ("slots", "drawn"),
    [
        ((3,), "█"),
        ((1, 4, 8), "▂▅█"),
        ((0, 2), "▁█"),
        ((1,) * 11 + (2,), "▅" * 11 + "█"),
        ((1,) * 23 + (2,), "▅" * 11 + "█"),
    ],
)
def test_a_cluster_is_drawn_as_a_bar_of_its_slots(slots: Sequence[int], drawn: str) -> None:
    """Higher where more cases were; a long one is squeezed."""
    assert bar(slots) == drawn


def test_config_says_which_cluster_rules_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is none is a sentence with those there are."""
    monkeypatch.setenv("LACAK_CLUSTER_RULES", "nobody's")
    told = CliRunner().invoke(cli, ["config"])
    assert told.exit_code == 1
    assert "LACAK_CLUSTER_RULES" in told.output
    assert "default, tac-signal" in told.output
    monkeypatch.setenv("LACAK_CLUSTER_RULES", "tac-signal")
    assert CliRunner().invoke(cli, ["config"]).exit_code == 0

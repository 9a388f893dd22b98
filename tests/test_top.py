"""`lacak top`: the picture is worked out rightly, says what is wrong, and fits a narrow terminal."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from rich.console import Console

from lacak.main import cli
from lacak.picture import STAGES, Latency, Picture, Process, Stage, picture
from lacak.scrapes import Round, Scrape, parsed
from lacak.top import Outside
from lacak.topview import view
from officer.store import Inside
from streams.settings import Settings

QUIET = Outside((), (), "")


def scrape(name: str, at: float, text: str) -> Scrape:
    """What a process told."""
    return Scrape(name, at, parsed(text))


def stage(name: str, events: int, at: float = 0.0, index: int = 0, more: str = "") -> Scrape:
    """A worker that has taken so many events."""
    topic = {"visits": "scans", "places": "visits"}[name]
    text = (
        f'lacak_build_info{{stage="{name}",version="1"}} 1\n'
        f'lacak_events_in_total{{stage="{name}",topic="{topic}"}} {events}\n'
        f'lacak_lag_records{{stage="{name}",topic="{topic}",partition="{index}"}} 7\n'
        f'lacak_lag_seconds{{stage="{name}",topic="{topic}",partition="{index}"}} 1.5\n'
    )
    return scrape(f"{name}-{index}", at, text + more)


def rounds(*each: list[Scrape]) -> list[Round]:
    """Scrapes by name."""
    return [{one.name: one for one in scrapes} for scrapes in each]


def found(name: str, made: Picture) -> Stage:
    """A stage of a picture."""
    return next(each for each in made.stages if each.name == name)


def test_rates_are_of_all_workers_of_a_stage() -> None:
    """Two workers, ten seconds: their events together; lag too, and of ages the greatest."""
    first = [stage("visits", 1000), stage("visits", 500, index=1), stage("places", 70)]
    second = [stage("visits", 1600, 10.0), stage("visits", 900, 10.0, 1), stage("places", 70, 10.0)]
    made = picture(rounds(first, second), 0.0)
    assert found("visits", made)[:4] == ("visits", 2, 0, 100.0)
    assert found("visits", made).lag == 14 and found("visits", made).lag_seconds == 1.5
    assert found("places", made).in_rate == 0.0


def test_a_restarted_worker_does_not_count_backwards() -> None:
    """A counter that fell began anew: what it says now has come since."""
    made = picture(rounds([stage("visits", 5000)], [stage("visits", 40, 10.0)]), 0.0)
    assert found("visits", made).in_rate == 4.0


def test_a_process_that_is_not_heard_is_missing_where_it_was() -> None:
    """By what it told before, else by its name; the first round knows nothing of rates."""
    gone = Scrape("visits-0", 10.0, {}, "gone")
    made = picture(rounds([stage("visits", 10)], [gone, stage("places", 1, 10.0)]), 0.0)
    assert found("visits", made)[1:4] == (0, 1, None)
    assert made.processes[0][:3] == ("visits-0", "visits", "gone")
    unknown = picture(rounds([Scrape("status-3", 0.0, {}, "silent")]), 0.0)
    assert found("status", unknown)[1:4] == (0, 1, None)


@pytest.mark.parametrize("seed", range(5))
def test_latencies_are_those_measured_lately(seed: int) -> None:
    """Half and 99 of 100, as near as the buckets are to what was observed between the rounds and not before."""
    chance = random.Random(seed)
    registry = CollectorRegistry()
    bounds = [0.1 * number for number in range(1, 101)]
    seconds = Histogram("lacak_occupancy_seconds", "", registry=registry, buckets=bounds)
    for _ in range(500):
        seconds.observe(9.0 + chance.random())
    first = scrape("places-0", 0.0, generate_latest(registry).decode())
    values = [chance.expovariate(1.0) for _ in range(400)]
    for value in values:
        seconds.observe(value)
    second = scrape("places-0", 10.0, generate_latest(registry).decode())
    lately = picture(rounds([first], [second]), 0.0).to_count
    assert lately is not None and lately.of == 400 and lately.lately
    assert lately.half == pytest.approx(float(np.quantile(values, 0.5)), abs=0.11)
    assert lately.most == pytest.approx(float(np.quantile(values, 0.99)), abs=0.8)
    ever = picture(rounds([second], [second]), 0.0).to_count
    assert ever is not None and ever.of == 900 and not ever.lately


def _picture(**more: object) -> Picture:
    stages = [Stage(name, 1, 0, 123_456.0, 98_765.4, 1_234_567.0, 321.0, 12.5, 3.0) for name in STAGES]
    held = (("scans", (0, 1, 2, 5)),)
    workers = [Process(f"{each.name}-0", each.name, "", held, 0.97, 5e9, 9000.0, None) for each in stages]
    latency = Latency(0.4, 1.9, 1_000_000, True)
    letters = (("health-records", "wrong_partition", 123_456),) * 3
    made = Picture(tuple(stages), tuple(workers), latency, latency, None, letters, (("complete", 9),), 7, True)
    return made._replace(**more)  # type: ignore[arg-type]


def _text(made: Picture, outside: Outside = QUIET, width: int = 80) -> str:
    console = Console(width=width, record=True, file=StringIO(), force_terminal=False)
    console.print(view(made, outside, Settings(brokers="127.0.0.1:9092"), width, None))
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits(width: int) -> None:
    """With great numbers and long names nothing is wider than the terminal, and no figure is cut."""
    places = tuple(
        Inside(f"venue-{number:030}", "A long name of a place" * 3, 123_456, 100_000, 0.5, datetime.now(UTC))
        for number in range(3)
    )
    text = _text(_picture(), Outside((), places, ""), width)
    assert max(map(len, text.splitlines())) <= width
    for figure in ("123,456", "98,765", "1.2 M", "321.0", "12.5 s", "97%", "4,768 MiB", "0-2,5"):
        assert figure in text, figure


def _old(*names: str) -> Picture:
    made = _picture()
    return made._replace(
        stages=tuple(each._replace(heartbeat_seconds=60.0 if each.name in names else 2.0) for each in made.stages)
    )


def _with(name: str, **more: object) -> Picture:
    made = _picture()
    return made._replace(
        processes=tuple(each._replace(**more) if each.name == name else each for each in made.processes)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("made", "outside", "wanted"),
    [
        (_picture(), QUIET, "● alive: the oldest heartbeat anywhere is 3 s"),
        (_old("tracing", "status", "recorder", "gateway"), QUIET, "▲ tracing stands still: its heartbeat is 60 s old"),
        (_old("gateway"), QUIET, "▲ gateway stands still"),
        (
            _old(*STAGES),
            QUIET,
            "▲ everything stands",
        ),
        (_with("places-0", fault="gone"), QUIET, "▲ places-0 is gone"),
        (_with("places-0", fault="silent"), QUIET, "▲ places-0 is silent"),
        (_with("places-0", recovery=0.42), QUIET, "catching up: 42%"),
        (_with("places-0", partitions=(), up_seconds=3.0), QUIET, "places-0 has no partitions yet"),
        (_picture(), Outside(("127.0.0.1:9092",), (), ""), "▲ no broker listens at 127.0.0.1:9092"),
        (_picture(), Outside((), (), "away"), "▲ PostgreSQL does not answer"),
        (_picture(database_connected=False), QUIET, "▲ the recorder has no connection to PostgreSQL"),
    ],
)
def test_it_says_what_is_wrong(made: Picture, outside: Outside, wanted: str) -> None:
    """One sentence on top, the first thing to look at; where all is well it says so."""
    text = _text(made, outside)
    assert wanted in text
    assert ("● alive:" in text) == wanted.startswith("● alive:")


def test_without_heartbeats_none_is_old() -> None:
    """A deployment that sends none is not told that everything stands still."""
    made = _old("visits")
    console = Console(width=80, record=True, file=StringIO())
    console.print(view(made, QUIET, Settings(heartbeat_seconds=0.0), 80, None))
    assert "stands still" not in console.export_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--targets", "visits-0"], "give HOST:PORT"),
        (["--targets", "a:1", "--prometheus", "http://b"], "Give one of"),
        (["--prometheus", "http://127.0.0.1:1"], "Prometheus cannot be asked at http://127.0.0.1:1"),
        ([], "No Lacak is running over this folder"),
    ],
)
def test_bad_input_is_a_sentence(options: list[str], said: str, tmp_path: Path) -> None:
    """No traceback, whatever is asked."""
    environment: Mapping[str, str] = {"LACAK_DATA_DIR": str(tmp_path)}
    result = CliRunner().invoke(cli, ["top", "--once", *options], env=environment)
    assert result.exit_code != 0 and said in result.output

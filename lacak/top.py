"""`lacak top`: how the pipeline runs, live in a terminal."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import click
from rich.console import Console, Group
from rich.live import Live

from lacak.picture import Picture, picture
from lacak.scrapes import Round, ScrapeError, Target, ask_all, ask_prometheus
from lacak.settings import load_settings, running
from lacak.topview import view
from officer.store import Inside, Store, StoreError
from streams.settings import Settings

_EVERY_SECONDS: Final = 2.0
_ONCE_SECONDS: Final = 1.5
_WINDOW_SECONDS: Final = 60.0
_BROKER_SECONDS: Final = 1.0


class Outside(NamedTuple):
    """What is looked at besides the metrics: brokers that nothing listens at, the fullest places, and what is wrong
    with the database (empty: nothing)."""

    silent_brokers: tuple[str, ...]
    places: tuple[Inside, ...]
    database_fault: str


@click.command()
@click.option("--once", is_flag=True, help="Print one picture and end: for logs, and for a look by the way.")
@click.option("--every", default=_EVERY_SECONDS, show_default=True, metavar="SECONDS", help="How often to look.")
@click.option(
    "--targets",
    envvar="LACAK_TOP_TARGETS",
    metavar="[NAME=]HOST:PORT,...",
    help="Where workers and gateways tell their metrics; NAME such as visits-0. Default: those of `lacak up` here.",
)
@click.option(
    "--prometheus",
    envvar="LACAK_TOP_PROMETHEUS",
    metavar="URL",
    help="Ask this Prometheus instead of each process; rates are then of its last minute.",
)
def top(once: bool, every: float, targets: str | None, prometheus: str | None) -> None:
    """Show how the pipeline runs: rates, lag, latency, heartbeats, who is there, the fullest places.

    \b
    in/s, out/s  events (scans, visits, messages) a second that a stage takes and sends
    lag          records that wait in front of it, and how old the oldest may be
    batch        99 of 100 batches take no longer
    beat         age of the oldest heartbeat there; the first stage where it is old is where to look

    A process that is gone is red, whatever waits is yellow. Names of venues are shown, of people none.
    """
    if targets and prometheus:
        raise click.UsageError("Give one of --targets and --prometheus.")
    settings = load_settings(need_servers=False)
    look = _looker(settings, targets, prometheus)
    console = Console()
    rounds: deque[Round] = deque(maxlen=max(int(_WINDOW_SECONDS / max(every, 0.5)), 2))
    try:
        if once:
            rounds.extend(look())
            if prometheus is None:
                time.sleep(_ONCE_SECONDS)
                rounds.extend(look())
            console.print(_show(rounds, settings, console))
            return
        with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                began = time.monotonic()
                rounds.extend(look())
                live.update(_show(rounds, settings, console), refresh=True)
                time.sleep(max(every - (time.monotonic() - began), 0.2))
    except ScrapeError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return


def _looker(settings: Settings, targets: str | None, prometheus: str | None) -> Callable[[], Sequence[Round]]:
    """Whom to ask, and how. Raises click.ClickException when nobody is known."""
    if prometheus:
        return lambda: ask_prometheus(prometheus, time.monotonic())
    listed = _listed(targets) if targets else None

    def ask() -> list[Round]:
        run = running(settings.data_dir)  # looked up anew: it may have been stopped, or started, meanwhile
        known = listed if listed is not None else [Target(*each) for each in (run.metrics if run else {}).items()]
        if not known:
            raise ScrapeError(
                "No Lacak is running over this folder. Start one with `lacak up` in another terminal, or say whom to "
                "ask: --targets visits-0=HOST:PORT,... or --prometheus URL."
            )
        return [ask_all(known)]

    return ask


def _listed(text: str) -> list[Target]:
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, equals, address = each.rpartition("=")
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdigit()):
            raise click.UsageError(
                f"--targets {each!r}: give HOST:PORT, or NAME=HOST:PORT such as visits-0=10.0.0.5:9100."
            )
        found.append(Target(name if equals else address, f"http://{address}/metrics"))
    return found


def _show(rounds: Sequence[Round], settings: Settings, console: Console) -> Group:
    found: Picture = picture(tuple(rounds), time.time())
    return view(found, _outside(settings), settings, console.width, console.height if console.is_terminal else None)


def _outside(settings: Settings) -> Outside:
    silent = tuple(address for address in filter(None, settings.brokers.split(",")) if not _listens(address))
    if not settings.database:
        return Outside(silent, (), "")
    try:
        with Store.opened(settings.database) as store:
            return Outside(silent, tuple(store.occupancy(limit=30)), "")
    except StoreError as error:
        return Outside(silent, (), str(error))


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_BROKER_SECONDS):
            return True
    except (OSError, ValueError):
        return False

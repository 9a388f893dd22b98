"""`lacak demo`: a small city, or a file of yours, through the whole pipeline on this machine."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console

from gateway.files import BadLine, read_scans, read_venues
from lacak.deployment import FAULTS, Deployment
from lacak.level import NotLevel
from lacak.settings import read_settings
from lacak.showing import show_city, show_file
from schemas.messages import Scan, Venue
from streams.settings import DAY_MS, Settings


@click.command()
@click.option(
    "--scans", "scans_file", type=click.Path(dir_okay=False), help="Run this file of scans instead of a made-up city."
)
@click.option("--venues", "venues_file", type=click.Path(dir_okay=False), help="The registry that goes with --scans.")
@click.option(
    "--people", default=2000, show_default=True, type=click.IntRange(100, 100_000), help="How many people the city has."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, another city.")
@click.option(
    "--seconds", default=30.0, show_default=True, type=click.FloatRange(0.0), help="How long the city's day takes here."
)
@click.option("--person", help="With --scans: trace this person. Default: one who was in the fullest place.")
@click.option("--zone", help="Whose days are counted, such as Europe/Dublin. Default: LACAK_ZONE, or Asia/Jakarta.")
@click.option(
    "-o",
    "--output",
    "folder",
    default="demo-report",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Where the report goes.",
)
def demo(
    scans_file: str | None,
    venues_file: str | None,
    people: int,
    seed: int,
    seconds: float,
    person: str | None,
    zone: str | None,
    folder: str,
) -> None:
    """Run a small city through the whole pipeline, and look at what comes out.

    Starts a broker, PostgreSQL and every worker, registers the venues, publishes the scans as if a day took half a
    minute, shows how full the places are, lets one person test positive, and shows the contacts with their evidence.
    Everything goes through Kafka topics and Faust agents; everything is stopped at the end.

    With --scans it runs your file (CSV or NDJSON, gzip or not; person,venue,kind,at) as fast as it goes, under the
    clock `file`: a scan arrives when it happened.
    """
    if scans_file is None and (venues_file or person):
        raise click.UsageError("--venues and --person go with --scans: the made-up city has its own.")
    console = Console()
    report = Path(folder)
    show: Callable[[Deployment], None]
    if scans_file is None:
        show = partial(show_city, console=console, folder=report, people=people, seed=seed, seconds=seconds)
        span_days = 3.0
    else:
        scans, venues = _read(scans_file, venues_file, console)
        span_days = (max(s.at_ms for s in scans) - min(s.at_ms for s in scans)) / DAY_MS + 2
        show = partial(show_file, console=console, folder=report, scans=scans, venues=venues, person=person)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="lacak-demo-") as data_dir:
            Path(data_dir).chmod(0o711)  # run by root, PostgreSQL is another user, and its data lie in there
            with Deployment(
                _settings(Path(data_dir), span_days, zone),
                say=lambda text: console.print(f"[dim]· {text}[/dim]", highlight=False),
            ) as lacak:
                lacak.publish_first_rules()
                show(lacak)
            console.print("[dim]· all workers and servers are stopped[/dim]")
    except KeyboardInterrupt:
        console.print("Stopped.")
        raise click.exceptions.Exit(130) from None
    except (NotLevel, *FAULTS) as error:
        raise click.ClickException(str(error)) from error
    console.print(
        f"\nThat took {time.monotonic() - began:.0f} s. To run your own: `lacak up` in one terminal, `lacak top` in "
        "another for the operators' picture, then see the README. With Docker, deploy/compose.yaml brings Grafana too.",
        highlight=False,
    )


def _settings(data_dir: Path, span_days: float, zone: str | None) -> Settings:
    """The demo's own: embedded servers, the clock `file`, retention past the span; the rest as the environment says."""
    own = {name: value for name, value in os.environ.items() if name not in ("LACAK_BROKERS", "LACAK_DATABASE")}
    settings = read_settings({**own, "LACAK_ZONE": zone} if zone else own)
    times = msgspec.structs.replace(settings.times, retention_days=max(settings.times.retention_days, span_days))
    return msgspec.structs.replace(settings, data_dir=data_dir, clock="file", times=times)


def _read(scans_file: str, venues_file: str | None, console: Console) -> tuple[list[Scan], list[Venue]]:
    bad: list[BadLine] = []
    try:
        scans = sorted(read_scans(scans_file, bad.append), key=lambda scan: scan.at_ms)
        venues = list(_venues(venues_file, bad.append))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for line in bad[:5]:
        console.print(f"line {line.number} is left out: {line.reason}", style="yellow", highlight=False)
    if len(bad) > 5:
        console.print(f"... and {len(bad) - 5} more", style="yellow")
    if not scans:
        raise click.ClickException(f"{scans_file} holds no scans.")
    return scans, venues


def _venues(path: str | None, on_bad: Callable[[BadLine], None]) -> Iterable[Venue]:
    return read_venues(path, on_bad) if path else ()

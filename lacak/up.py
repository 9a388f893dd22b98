"""`lacak up` and `lacak down`."""

from __future__ import annotations

import os
import signal
import time

import click
from rich.console import Console

from lacak.deployment import FAULTS, ROLES, Deployment
from lacak.settings import as_role, read_settings, running

_DOWN_SECONDS = 30.0


@click.command()
@click.option(
    "--workers",
    metavar="ROLE=N",
    multiple=True,
    help="How many workers of a role, such as visits=2. Default: one of each.",
)
@click.option("--gateway", is_flag=True, help="Run a gateway beside the workers: decisions at doors, over HTTP.")
@click.option(
    "--gateway-port", type=click.IntRange(1, 65535), default=8600, show_default=True, help="Where the gateway listens."
)
def up(workers: tuple[str, ...], gateway: bool, gateway_port: int) -> None:
    """Run everything here, in the foreground, until Ctrl-C.

    Starts a broker and PostgreSQL from their Python packages unless LACAK_BROKERS and LACAK_DATABASE name yours, makes
    the topics and tables, and runs each role as a process of its own: registry, visits, places, tracing, status,
    recorder.
    Other terminals in this folder find it by themselves.

    The embedded broker keeps its topics in memory: they are gone when it stops. PostgreSQL keeps its tables.
    """
    settings = as_role(read_settings(os.environ), "admin")
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Deployment(
            settings,
            workers=_counts(workers),
            gateway_port=gateway_port if gateway else None,
            say=lambda text: console.print(f"· {text}", highlight=False),
        ) as lacak:
            lacak.publish_first_rules()
            console.print("[bold]Lacak is up.[/bold] In another terminal in this folder:", highlight=False)
            for line in (
                "lacak venues import VENUES.csv",
                "lacak publish SCANS.csv",
                "lacak top",
                "lacak occupancy --watch",
                "lacak test-result PERSON --positive --specimen 2021-10-22",
                "lacak traces",
            ):
                console.print(f"    {line}", highlight=False)
            if gateway:
                console.print(
                    f"The gateway is at http://127.0.0.1:{gateway_port} (/readyz, /openapi.json). "
                    "Callers need a key: lacak devices add NAME --scope scan",
                    highlight=False,
                )
            console.print(
                f"Logs are in {lacak.settings.data_dir / 'logs'}. Ctrl-C, or `lacak down`, stops it.", highlight=False
            )
            while True:
                time.sleep(0.5)
                lacak.watch()
    except KeyboardInterrupt:
        console.print("Stopped.")
    except FAULTS as error:
        raise click.ClickException(str(error)) from error


def _counts(workers: tuple[str, ...]) -> dict[str, int]:
    counts = {}
    for text in workers:
        role, _, number = text.partition("=")
        if role not in ROLES or not number.isdigit() or int(number) < 1:
            raise click.UsageError(
                f"--workers {text!r}: give ROLE=N with a role of {', '.join(ROLES)} and N of at least 1."
            )
        counts[role] = int(number)
    return counts


@click.command()
def down() -> None:
    """Stop the `lacak up` of this folder, its workers and its servers, and wait until they have ended."""
    settings = read_settings(os.environ)
    run = running(settings.data_dir)
    if run is None:
        click.echo("No Lacak is running over this folder.")
        return
    os.kill(run.pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while running(settings.data_dir) is not None:
        if time.monotonic() > deadline:
            raise click.ClickException(f"It has not ended within {_DOWN_SECONDS:.0f} s; its process is {run.pid}.")
        time.sleep(0.1)
    click.echo("Stopped.")

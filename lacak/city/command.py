"""`lacak city`: write a made-up regency as files to play with."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lacak.city.city import City
from lacak.city.files import write_scans, write_stays, write_tests, write_truth, write_venues

_SHARE = click.FloatRange(0.0, 1.0)


@click.command("city")
@click.option(
    "--people", type=click.IntRange(min=20), default=2_000, show_default=True, help="How many people live there."
)
@click.option("--days", type=click.IntRange(min=1), default=2, show_default=True, help="For how many days.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed gives the same files, byte for byte."
)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2021-10-21",
    show_default=True,
    metavar="DATE",
    help="The first day.",
)
@click.option("--doors", type=click.IntRange(min=40), help="Public places; default: one for 120 people, at least 48.")
@click.option(
    "--checkout-share", type=_SHARE, default=0.3, show_default=True, help="Share of the stays checked out of."
)
@click.option(
    "--offline-share",
    type=_SHARE,
    default=0.02,
    show_default=True,
    help="Share of the doors offline for hours, each day.",
)
@click.option(
    "--duplicate-share", type=_SHARE, default=0.02, show_default=True, help="Share of the scans that are sent twice."
)
@click.option("--gzip", "packed", is_flag=True, help="Write scans.csv.gz instead of scans.csv.")
@click.option("--stays", is_flag=True, help="Write stays.csv too: where everybody really was, scanned or not.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder to write to; made if it is not there.",
)
def city(
    people: int,
    days: int,
    seed: int,
    start: datetime,
    doors: int | None,
    checkout_share: float,
    offline_share: float,
    duplicate_share: float,
    packed: bool,
    stays: bool,
    folder: Path,
) -> None:
    """Make up a regency in Lampung and write what its doors saw.

    Nobody in it is real. People work, learn, pray, shop, eat out and cross by ferry; most never check out; some doors
    are offline for hours and send their scans later; and an infection spreads among those who really meet.

    \b
    Written into DIR:
      scans.csv    person,venue,kind,at,arrived_at in order of arrival
      venues.csv   the places: name, category, region, capacity, what lies within what
      tests.csv    positive tests: person, specimen, onset, isolated
      truth.csv    who infected whom, where and when: what a trace should find

    \b
    Try, without any broker:
      lacak city --people 2000 --days 2 -o city
      lacak visits city/scans.csv --venues city/venues.csv -o visits.csv
    then take a person and an onset from city/tests.csv:
      lacak contacts visits.csv --person P --profile who --onset DATE -o contacts.csv
    """
    try:
        made = City(
            people=people,
            days=days,
            seed=seed,
            start=start.date(),
            doors=doors,
            checkout_share=checkout_share,
            offline_share=offline_share,
            duplicate_share=duplicate_share,
        )
        written = _write_all(made, folder, packed=packed, stays=stays)
    except ValueError as error:
        raise click.ClickException(f"{error}. See `lacak city --help`.") from error
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}. Give another folder with -o.") from error
    for name, rows in written.items():
        click.echo(f"{folder / name}: {rows:,} rows")


def _write_all(made: City, folder: Path, *, packed: bool, stays: bool) -> dict[str, int]:
    """Write every file; returns the rows of each by name."""
    folder.mkdir(parents=True, exist_ok=True)
    scans = "scans.csv.gz" if packed else "scans.csv"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # The number of scans is known only when they are all made, so the bar's end is a guess until then.
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scans", total=round(made.people * made.days * 3.4))
        rows = write_scans(made, folder / scans, lambda count: progress.advance(task, count))
        progress.update(task, total=rows)
        written = {scans: rows, "venues.csv": write_venues(made, folder / "venues.csv")}
        written["tests.csv"] = write_tests(made, folder / "tests.csv")
        written["truth.csv"] = write_truth(made, folder / "truth.csv")
        if stays:
            progress.add_task("true stays", total=None)
            written["stays.csv"] = write_stays(made, folder / "stays.csv")
    return written

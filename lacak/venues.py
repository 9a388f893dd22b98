"""`lacak venues`: the registry of venues, and the posters for their doors."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from contacts.registry import Registry, RegistryError
from gateway.files import FileError, read_venues
from gateway.keyring import Keyring, KeyringError
from lacak.clock import SystemClock
from lacak.dates import Date
from lacak.key_commands import in_keyring
from lacak.left_out import LeftOut
from lacak.level import NotLevel, wait_registry
from lacak.progress import Rejected, reading
from lacak.publish import SOME_REJECTED
from lacak.settings import load_settings
from schemas.bounds import UNDECODABLE
from schemas.keys import venue_key
from schemas.messages import Venue
from streams.clients import producer
from streams.reader import read_topic
from streams.settings import Settings


@click.group()
def venues() -> None:
    """The registry of venues: register one or a file of them, list them, and make the posters for their doors."""


@venues.command("import", short_help="Import a file of venues.")
@click.argument("file")
def import_venues(file: str) -> None:
    """Import a FILE of venues (CSV or NDJSON, gzip or not, - for standard input), and wait until it is in force.

    Only `venue` is required. Others: name, category, region, capacity, area_m2, assumed_stay_minutes,
    longest_stay_minutes, within (the venue it lies in), route, fallback (admit, check or refuse), valid_from. Import a
    venue before those within it. What it lies within can never change; everything else may, from a valid_from on.
    """
    settings = load_settings("operator")
    rejected = Rejected(file)
    try:
        registry = standing_registry(settings)
        good: list[Venue] = []

        def take(venue: Venue) -> None:
            if registry.add(venue):
                good.append(venue)

        with reading(file, "reading") as progress:
            for _ in read_venues(file, rejected, progress, take):
                pass
        bring_in_force(settings, good)
    except (FileError, OSError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    fresh = f"{len(good)} record is" if len(good) == 1 else f"{len(good)} records are"
    click.echo(f"{fresh} in force; {sum(1 for _ in registry.venues())} in all.")
    if rejected.set_aside():
        sys.exit(SOME_REJECTED)


@venues.command("list")
def list_venues() -> None:
    """List the registry as it stands."""
    table = Table("venue", "name", "category", "capacity", "within", box=None, header_style="bold")
    for venue in _standing().venues():
        table.add_row(
            venue.venue,
            venue.name,
            venue.category,
            "" if venue.capacity is None else str(venue.capacity),
            venue.within or "",
        )
    Console().print(table)


@venues.command("register", short_help="Register one venue, or change it.")
@click.argument("venue")
@click.option("--name", help="What it is called, as on its poster.")
@click.option("--category", help="mall, restaurant, office, ferry_terminal, ...: its stays and rules go by it.")
@click.option("--region", help="Where it lies, for rules that hold there.")
@click.option("--capacity", type=click.IntRange(min=0), help="How many people it holds.")
@click.option("--area", "area_m2", type=click.FloatRange(min=0), metavar="M2", help="Its floor, in square metres.")
@click.option("--assumed-stay", "assumed_stay_minutes", type=click.FloatRange(min=0), metavar="MINUTES",
              help="How long people stay when nobody says. Default: its category's.")  # fmt: skip
@click.option("--longest-stay", "longest_stay_minutes", type=click.FloatRange(min=0), metavar="MINUTES",
              help="A later check-out is not believed. Default: its category's.")  # fmt: skip
@click.option("--within", help="The venue it lies in, for good.")
@click.option("--route", help="Of a place from which one travels: the regions between, `ID-LA > ID-BT`.")
@click.option("--fallback", type=click.Choice(["admit", "check", "refuse"]),
              help="What its doors do when they know too little. Default: check.")  # fmt: skip
@click.option(
    "--from", "valid_from_ms", type=Date(), default=0, metavar="DATE", help="Since when this holds. Default: ever."
)
def register(venue: str, valid_from_ms: int, **given: Any) -> None:
    """Register VENUE (its id), and wait until it is in force. What is not given stays as it is registered already.

    What a venue lies within can never change; everything else may, with --from from a date on.
    """
    settings = load_settings("operator")
    try:
        registry = standing_registry(settings)
        before = registry.record(venue, valid_from_ms) or Venue(venue=venue)
        told = {name: value for name, value in given.items() if value is not None}
        record = msgspec.structs.replace(before, valid_from_ms=valid_from_ms, **told)
        if not registry.add(record):
            click.echo(f"{venue} is registered so already.")
            return
        bring_in_force(settings, [record])
    except (RegistryError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{venue} is in force. `lacak venues poster {venue} -o {venue}.pdf` makes its poster.")


@venues.command("poster", short_help="Make the poster for a venue's door, PDF or SVG.")
@click.argument("venue")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write: FILE.pdf or FILE.svg.")
@click.option("--venues", "venues_file", metavar="FILE", help="Look the venue up in a file instead of the registry.")
@click.option("--font", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A font file for a name in other than Western European letters.")  # fmt: skip
@in_keyring
@click.option("--base-url", envvar="LACAK_GATEWAY_BASE_URL", show_envvar=True, required=True, metavar="URL",
              help="Where visitors' pages are: what the code leads to is URL/v/...")  # fmt: skip
def make_poster(venue: str, output: str, venues_file: str | None, font: Path | None, keys: Path, base_url: str) -> None:
    """Make the poster for the door of VENUE: A4, in Indonesian and English, its signed QR code in the middle.

    The code is good until the key that signed it is retired (`lacak keys list`).
    """
    from gateway.codes import sign_static
    from gateway.poster import LetteringError, poster

    if not base_url.startswith(("https://", "http://")):
        raise click.UsageError(f"--base-url {base_url!r} is no address such as https://lacak.example.id.")
    target = Path(output)
    if target.suffix not in (".pdf", ".svg"):
        raise click.UsageError(f"{output}: a poster is written as .pdf or .svg.")
    registry = _registry_of(venues_file) if venues_file else _standing()
    record = registry.record(venue, SystemClock().now_ms())
    if record is None:
        where = venues_file or "the registry: `lacak venues list` shows what is"
        raise click.ClickException(f"The venue {venue!r} is not in {where}.")
    try:
        made = poster(record, sign_static(Keyring.load(keys), venue), base_url)
        target.write_bytes(made.svg().encode() if target.suffix == ".svg" else made.pdf(font))
    except (KeyringError, LetteringError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}.") from error
    click.echo(f"Written: {output} (QR version {made.version}, {made.content.split('/v/')[0]}/v/...)")


def _standing() -> Registry:
    """The registry of the running deployment."""
    try:
        return standing_registry(load_settings("operator"))
    except KafkaError as error:
        raise click.ClickException(str(error)) from error


def _registry_of(file: str) -> Registry:
    """The registry that a file of venues makes."""
    rejected, registry = Rejected(file), Registry()
    try:
        for _ in read_venues(file, rejected, check=registry.add):
            pass
    except FileError as error:
        raise click.ClickException(str(error)) from error
    return registry


def bring_in_force(settings: Settings, records: list[Venue]) -> None:
    """Publish records, and wait until the pipeline has them. Raises KafkaError, or click.ClickException when late."""
    if not records:
        return
    began_ms = SystemClock().now_ms() - 10_000
    publish_venues(settings, records)
    try:
        wait_registry(settings, began_ms)
    except NotLevel as error:
        raise click.ClickException(f"The venues are published, but {error}. Is the registry worker running?") from error


def standing_registry(settings: Settings) -> Registry:
    """The registry as the topic `venues` has it.

    A record that nobody can take, and that the agents have set aside, is left out here too, and told of on stderr.
    Raises KafkaError.
    """
    registry, left_out = Registry(), LeftOut("venues")
    for record in read_topic(settings, "venues"):
        if record.value is None:
            continue
        try:
            venue = msgspec.json.decode(record.value, type=Venue)
            if record.key != venue_key(venue.venue, venue.valid_from_ms):
                raise RegistryError("its key is not its venue's and date's")
            registry.add(venue)
        except (*UNDECODABLE, RegistryError) as error:
            left_out.add(record, error)
    left_out.tell()
    return registry


def publish_venues(settings: Settings, records: Iterable[Venue]) -> None:
    """Put records into the topic `venues`, keyed by venue and date. Raises KafkaError."""
    with producer(settings, linger_ms=5) as client:
        futures = [
            client.send(
                settings.topic("venues"),
                value=msgspec.json.encode(venue),
                key=venue_key(venue.venue, venue.valid_from_ms),
                partition=0,
            )
            for venue in records
        ]
        for future in futures:
            future.get(timeout=30)

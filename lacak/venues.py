"""`lacak venues import`: a file of venues into the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click
import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from contacts.registry import Registry
from gateway.files import FileError, read_venues
from lacak.clock import SystemClock
from lacak.level import NotLevel, wait_registry
from lacak.progress import Rejected, reading
from lacak.publish import SOME_REJECTED
from lacak.settings import load_settings
from schemas.messages import Venue
from streams.reader import read_topic
from streams.settings import Settings


@click.group()
def venues() -> None:
    """The registry of venues: import a file into it, or list it."""


@venues.command("import", short_help="Import a file of venues.")
@click.argument("file")
def import_venues(file: str) -> None:
    """Import a FILE of venues (CSV or NDJSON, gzip or not, - for standard input), and wait until it is in force.

    Only `venue` is required. Others: name, category, region, capacity, assumed_stay_minutes, longest_stay_minutes,
    within (the venue it lies in), valid_from. Import a venue before those within it. What it lies within can never
    change; everything else may, from a valid_from on.
    """
    settings = load_settings()
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
        if good:
            began_ms = SystemClock().now_ms() - 10_000
            publish_venues(settings, good)
            wait_registry(settings, began_ms)
    except (FileError, OSError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    except NotLevel as error:
        raise click.ClickException(f"The venues are published, but {error}. Is the registry worker running?") from error
    fresh = f"{len(good)} record is" if len(good) == 1 else f"{len(good)} records are"
    click.echo(f"{fresh} in force; {sum(1 for _ in registry.venues())} in all.")
    if rejected.set_aside():
        sys.exit(SOME_REJECTED)


@venues.command("list")
def list_venues() -> None:
    """List the registry as it stands."""
    table = Table("venue", "name", "category", "capacity", "within", box=None, header_style="bold")
    for venue in standing_registry(load_settings()).venues():
        table.add_row(
            venue.venue,
            venue.name,
            venue.category,
            "" if venue.capacity is None else str(venue.capacity),
            venue.within or "",
        )
    Console().print(table)


def standing_registry(settings: Settings) -> Registry:
    """The registry as the topic `venues` has it."""
    registry = Registry()
    for record in read_topic(settings, "venues"):
        if record.value is not None:
            registry.add(msgspec.json.decode(record.value, type=Venue))
    return registry


def publish_venues(settings: Settings, records: Iterable[Venue]) -> None:
    """Put records into the topic `venues`, keyed by venue and date. Raises KafkaError."""
    producer = KafkaProducer(bootstrap_servers=settings.brokers, acks="all", linger_ms=5)
    try:
        futures = [
            producer.send(
                settings.topic("venues"),
                value=msgspec.json.encode(venue),
                key=f"{venue.venue}\x1f{venue.valid_from_ms}".encode(),
                partition=0,
            )
            for venue in records
        ]
        for future in futures:
            future.get(timeout=30)
    finally:
        producer.close()

"""`lacak rules explain`: which row is in force at a venue, why it won, and what it says to a visitor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

import click
import msgspec
from kafka.errors import KafkaError

from contacts.admission import Limits, Load, Visitor, decide
from contacts.doorexplain import AnyRow, asks, level_in_words, standings, when, where
from contacts.doorrules import DoorRules, DoorRulesError, PlaceFacts, Ranked, Requirements, allowed, load_door_rules
from contacts.doortexts import for_guard, for_person
from contacts.registry import Registry, RegistryError
from gateway.files import FileError, read_venues
from lacak.dates import Date
from lacak.progress import Rejected
from lacak.published import published_rules
from lacak.settings import load_settings
from lacak.venues import standing_registry
from schemas.health import AgeBand, Colour, NegativeTest
from schemas.messages import TestKind, Venue

_HOUR_MS = 3_600_000
_NEVER_STALE = Limits(1 << 62, 1 << 62)


class Negative(click.ParamType):
    """A negative test as KIND:HOURS, how long ago the specimen was taken: `pcr:30`."""

    name = "test"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[TestKind, float]:
        kind, _, hours = str(value).partition(":")
        try:
            return msgspec.convert(kind, TestKind), float(hours)
        except (msgspec.ValidationError, ValueError):
            self.fail(f"{value!r} is no test such as pcr:30, taken 30 hours before.", param, ctx)


@click.command("explain", short_help="Explain which row is in force at a venue, and why.")
@click.option("--venue", required=True, help="The venue's id.")
@click.option("--at", "at_ms", required=True, type=Date(), metavar="TIME", help="A date, or a time with an offset.")
@click.option(
    "--venues", metavar="FILE", help="Take the venue from this file and the rules from files: needs nothing running."
)
@click.option("--colour", type=click.Choice(get_args(Colour)), help="Also say what a visitor of this colour hears.")
@click.option("--doses", default=0, type=click.IntRange(0), help="The visitor's doses.")
@click.option("--full", is_flag=True, help="Their course is complete.")
@click.option("--booster", is_flag=True, help="They have a booster.")
@click.option("--negative", "negatives", multiple=True, type=Negative(), metavar="KIND:HOURS", help="A negative test.")
@click.option("--age", type=click.Choice(get_args(AgeBand)), help="Their age.")
@click.option("--with", "escorts", multiple=True, type=click.Choice(get_args(Colour)), help="An adult with them.")
@click.option("--inside", type=click.IntRange(0), help="How many are inside already.")
def explain(
    venue: str, at_ms: int, venues: str | None, colour: Colour | None, doses: int, full: bool, booster: bool,
    negatives: tuple[tuple[TestKind, float], ...], age: AgeBand | None, escorts: tuple[Colour, ...],
    inside: int | None,
) -> None:  # fmt: skip
    """Explain which row is in force at a venue at a time, why it won, what it asks, and how many are allowed.

    \b
    lacak rules explain --venue mal-0001 --at 2021-10-21T12:00:00+07:00 \\
        --colour green --doses 2 --inside 49

    Without --venues the registry and the published rules of the running deployment are read.
    """
    settings = load_settings("officer", need_servers=venues is None)
    zone = settings.zone_info
    try:
        if venues is not None:
            registry, found = _read(venues), load_door_rules(settings.rules_folder)
        else:
            registry, found = standing_registry(settings), published_rules(settings)
    except (FileError, DoorRulesError, OSError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    record = registry.record(venue, at_ms)
    if record is None:
        raise click.ClickException(f"There is no venue {venue!r} in {venues or 'the registry'}.")
    if not found.files:
        click.echo("No rules are published: publish some with `lacak rules publish FILE`.", err=True)
    place = PlaceFacts.of(record)
    requirements = found.in_force(place, at_ms, zone)
    day = datetime.fromtimestamp(at_ms / 1000, zone)
    route = f", route {place.route}" if place.route else ""
    click.secho(f"{record.venue} {record.name}".rstrip(), bold=True)
    click.echo(
        f"{record.category}, {place.region or 'no region'}{route}, {level_in_words(found, place, at_ms, zone)}, "
        f"on {day:%d %B %Y} at {day:%H:%M}"
    )
    _tell(found, "Who may come in", found.entry_rows(place, day.date()))
    _tell(found, "How many", found.room_rows(place, day.date()))
    click.echo()
    loads = []
    for each in (venue, *registry.ancestors(venue)):
        most = _allowed(registry, found, each, at_ms, zone)
        loads.append(Load(each, (inside or 0) if each == venue else 0, most))
        click.echo(f"Allowed in {each}: {'no limit is known' if most is None else most}.")
    if not requirements.is_open(at_ms):
        click.echo("It is closed at this time.")
    if colour is not None:
        visitor = Visitor(
            colour,
            colour != "unknown",
            doses,
            full,
            booster,
            tuple(NegativeTest(test=kind, specimen_ms=at_ms - round(hours * _HOUR_MS)) for kind, hours in negatives),
            age,
            escorted_by=escorts,
        )
        _answer(visitor, requirements, loads, record, at_ms)


def _tell(rules: DoorRules, title: str, ranked: Sequence[Ranked[AnyRow]]) -> None:
    click.secho(f"\n{title}", bold=True)
    found = standings(rules, ranked)
    if not found:
        click.echo("  No row is in force.")
    for number, (name, row, why) in enumerate(found, 1):
        mark = f" [{row.mark}]" if row.mark else ""
        click.echo(f"  {number}. {name} ({where(row)}; {when(row)}){mark}")
        click.echo(f"     {' '.join(asks(row))}")
        click.echo(f"     Source: {row.source}")
        if why:
            click.echo(f"     Before the next because {why}.")


def _answer(visitor: Visitor, requirements: Requirements, loads: list[Load], venue: Venue, at_ms: int) -> None:
    decision = decide(visitor, requirements, loads, venue.fallback, at_ms, _NEVER_STALE)
    row = f", row {decision.row}" if decision.row else ""
    full = f", {decision.venue} is full" if decision.outcome == "full" else ""
    click.secho(f"\n{decision.outcome}", bold=True, nl=False)
    click.echo(f" (reason {decision.reason}{row}{full})")
    click.echo(f"  The guard reads:  {for_guard(decision, 'en').sentence}")
    click.echo(f"  The person reads: {for_person(decision, 'en').sentence}")


def _allowed(registry: Registry, rules: DoorRules, venue: str, at_ms: int, zone: ZoneInfo) -> int | None:
    record = registry.record(venue, at_ms)
    if record is None:
        return None
    return allowed(record.capacity, rules.in_force(PlaceFacts.of(record), at_ms, zone), record.area_m2)


def _read(path: str) -> Registry:
    """The venues of a file; lines that cannot be used are told."""
    registry = Registry()
    rejected = Rejected(path)

    def take(venue: Venue) -> None:
        try:
            registry.add(venue)
        except RegistryError as error:
            raise ValueError(str(error)) from error

    for _ in read_venues(path, rejected, None, take):
        pass
    return registry

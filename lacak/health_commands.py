"""`lacak health`: health facts that officers tell, and the group with `lacak health import`."""

from __future__ import annotations

import uuid
from typing import get_args

import click
from kafka.errors import KafkaError

from contacts.registry import is_name
from gateway.health_rows import COUNTRY
from lacak.clock import SystemClock
from lacak.dates import Date
from lacak.health_import import import_files, publish_told
from lacak.officer_commands import send
from lacak.people import about_person, accountable, named
from lacak.settings import load_settings
from lacak.venues import standing_registry
from officer.store import Store, StoreError
from schemas.health import (
    AgeBand,
    AnyFact,
    Declaration,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TravelFact,
    VaccinationFact,
)
from streams.settings import Settings

_TOLERANCE_MS = 300_000


@click.group()
def health() -> None:
    """Tests, vaccinations, recoveries, age bands and travel: from FHIR R4 files or lists, or told by you.

    \b
    lacak health import BUNDLE.json --key KEYFILE --identifier-system URI --dry-run
    lacak health record PERSON --vaccination CoronaVac --at 2021-08-30 --dose 2
    lacak health declare PERSON --venue mall-7 --from 2021-10-20T10:00+07:00 --to 2021-10-20T12:00+07:00
    """


health.add_command(import_files)


@health.command("record", short_help="Tell of a vaccination, recovery, age band or travel.")
@about_person
@click.option("--vaccination", "product", metavar="PRODUCT", help="A dose of this vaccine, with --at and --dose.")
@click.option("--at", "at_ms", type=Date(), metavar="DATE", help="The day of the dose.")
@click.option("--dose", type=click.IntRange(1, 20), help="Which dose it was.")
@click.option("--recovered", "recovered_ms", type=Date(), metavar="DATE", help="They have recovered, since then.")
@click.option("--age-band", type=click.Choice(get_args(AgeBand)), help="How old they are.")
@click.option("--travel", "place", metavar="PLACE", help="They were there, with --country, --from and --to.")
@click.option("--country", metavar="CC", help="Two capital letters (ISO 3166-1).")
@click.option("--from", "from_ms", type=Date(), metavar="TIME", help="Since when.")
@click.option("--to", "to_ms", type=Date(whole_day=True), metavar="TIME", help="Until when; abroad: the arrival.")
@click.option("--withdraw", is_flag=True, help="It was wrong: take back what you told with the same words.")
@accountable
def record(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, product: str | None,
    at_ms: int | None, dose: int | None, recovered_ms: int | None, age_band: str | None, place: str | None,
    country: str | None, from_ms: int | None, to_ms: int | None, withdraw: bool, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Tell one health fact of PERSON: a vaccination, a recovery, their age band, or travel.

    To tell the same again changes nothing; with other numbers (--dose) it takes the place of what was told. A test is
    told with `lacak test-result`, a stay at a registered venue with `lacak health declare`.
    """
    settings = load_settings("officer")
    if sum(each is not None for each in (product, recovered_ms, age_band, place)) != 1:
        raise click.UsageError("tell one: --vaccination, --recovered, --age-band, or --travel.")
    now_ms = SystemClock().now_ms()
    fact: AnyFact
    if product is not None:
        if at_ms is None or not is_name(product):
            raise click.UsageError("a vaccination needs a PRODUCT and --at.")
        fact, name = VaccinationFact(product=product, at_ms=at_ms, dose=dose), f"vaccination/{at_ms}/{product}"
    elif recovered_ms is not None:
        fact, name = RecoveryFact(recovered_ms=recovered_ms), f"recovery/{recovered_ms}"
    elif age_band is not None:
        fact, name = PersonFact(age_band=age_band), "age-band"  # type: ignore[arg-type]
    else:
        start_ms, end_ms = _span(from_ms, to_ms)
        fact = TravelFact(place=place or "", country=_country(country, place), start_ms=start_ms, end_ms=end_ms)
        name = f"travel/{start_ms}/{fact.country}"
    if max(at_ms or 0, recovered_ms or 0) > now_ms:
        raise click.UsageError("the date is in the future.")
    who = named(person, identity, identity_file, key_file)
    told = HealthRecord(
        person=who, record_id=name if name == "age-band" else f"officer/{name}", fact=fact, told_at_ms=now_ms,
        withdrawn=withdraw, source="officer", officer=officer, purpose=purpose,
    )  # fmt: skip
    _audited(settings, officer, purpose, f"health record {name.partition('/')[0]}{' withdrawn' * withdraw}", who)
    publish_told(settings, [told])
    click.echo("Taken back." if withdraw else "Told.")


@health.command("declare", short_help="Tell where a person was.")
@about_person
@click.option("--venue", metavar="V", help="At this registered venue: it becomes a visit, and traces see it.")
@click.option("--place", metavar="P", help="Elsewhere, in words; with --country.")
@click.option("--country", metavar="CC", help="Two capital letters (ISO 3166-1).")
@click.option("--from", "from_ms", type=Date(), metavar="TIME", help="Since when.")
@click.option("--to", "to_ms", type=Date(whole_day=True), metavar="TIME", help="Until when; abroad: the arrival.")
@click.option("--id", "declaration_id", metavar="ID", help="Of a declaration made before: this one takes its place.")
@click.option("--withdraw", is_flag=True, help="Take back the declaration --id.")
@accountable
def declare(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, venue: str | None,
    place: str | None, country: str | None, from_ms: int | None, to_ms: int | None, declaration_id: str | None,
    withdraw: bool, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Tell where PERSON says that they were, at a venue or elsewhere.

    A stay at a venue becomes a visit with the reason self_reported, up to the retention ago, no longer than people stay
    there: a longer one is told in parts. Say the same --id to correct a declaration or to --withdraw it.
    """
    settings = load_settings("officer")
    now_ms = SystemClock().now_ms()
    if withdraw:
        if declaration_id is None or venue or place or from_ms is not None or to_ms is not None:
            raise click.UsageError("--withdraw goes with --id and nothing else.")
        start_ms, end_ms = now_ms, now_ms
    else:
        if (venue is None) == (place is None):
            raise click.UsageError("say --venue or --place.")
        start_ms, end_ms = _span(from_ms, to_ms)
        if end_ms > now_ms + _TOLERANCE_MS:
            raise click.UsageError("the stay ends in the future.")
        if venue is not None:
            _check_stay(settings, venue, start_ms, end_ms, now_ms)
    if declaration_id is not None and not is_name(declaration_id):
        raise click.UsageError("an ID is 1 to 200 characters, none of them a control character.")
    where = "ID" if venue is not None or withdraw else _country(country, place)
    who = named(person, identity, identity_file, key_file)
    told = Declaration(
        person=who, declaration_id=declaration_id or uuid.uuid4().hex, start_ms=start_ms, end_ms=end_ms,
        told_at_ms=now_ms, venue=venue or "", place=place or "", country=where, reporter=officer, purpose=purpose,
        withdrawn=withdraw,
    )  # fmt: skip
    _audited(settings, officer, purpose, "health declare" + " withdrawn" * withdraw, who)
    send(settings, "declarations", who, told)
    click.echo("Taken back." if withdraw else f"Told. Its id is {told.declaration_id}.")


def _span(from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    if from_ms is None or to_ms is None:
        raise click.UsageError("say --from and --to.")
    if to_ms <= from_ms:
        raise click.UsageError("--to must be later than --from.")
    return from_ms, to_ms


def _country(country: str | None, place: str | None) -> str:
    if place and not is_name(place):
        raise click.UsageError("a place is 1 to 200 characters, none of them a control character.")
    if country is None or not COUNTRY.fullmatch(country):
        raise click.UsageError("say --country: two capital letters, such as ID or SG (ISO 3166-1).")
    return country


def _check_stay(settings: Settings, venue: str, start_ms: int, end_ms: int, now_ms: int) -> None:
    """Tell at once what the pipeline would refuse later."""
    try:
        registry = standing_registry(settings)
    except KafkaError as error:
        raise click.ClickException(str(error)) from error
    if not registry.known(venue):
        raise click.UsageError(f"there is no venue {venue!r}: `lacak venues list` has those that there are.")
    longest_ms = registry.place(venue, start_ms).longest_ms
    if end_ms - start_ms > longest_ms:
        raise click.UsageError(f"nobody stays there longer than {longest_ms / 3_600_000:g} h: tell it in parts.")
    if now_ms - start_ms > settings.retention_ms:
        raise click.UsageError("the stay began longer ago than anything is kept.")


def _audited(settings: Settings, officer: str, purpose: str, action: str, person: str) -> None:
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, action, person=person)
    except StoreError as error:
        raise click.ClickException(str(error)) from error

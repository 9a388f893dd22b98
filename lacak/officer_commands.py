"""What officers do from a terminal: report tests, trace, read, decide. Each look or decision is audited first."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from contacts.profiles import ProfileError, find_profile, load_profiles
from contacts.risk import load_risk
from lacak.clock import SystemClock
from lacak.dates import Date, Share
from lacak.people import about_person, accountable, named
from lacak.settings import load_settings
from officer.exports import local, to_csv, to_gexf, to_graphml, to_json, to_tree
from officer.history import steps, to_text
from officer.picture import html, svg
from officer.store import Inside, Store, StoreError
from schemas.messages import ContactDecision, Message, TestResult, Trace, TraceRequest
from schemas.partitions import partition_of
from streams.clients import producer
from streams.settings import Settings

_DAY_MS = 86_400_000
_VENUE, _NAME, _BAR = 12, 25, 12


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    try:
        with Store.opened(settings.database_access) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def send(settings: Settings, topic: str, person: str, *messages: Message) -> None:
    """Publish messages, keyed by their person, and wait until they are acknowledged."""
    try:
        with producer(settings) as client:
            partition = partition_of(person, settings.partitions.cases)
            sent = [
                client.send(settings.topic(topic), msgspec.json.encode(each), person.encode(), partition=partition)
                for each in messages
            ]
            for each in sent:
                each.get(timeout=30)
    except KafkaError as error:
        raise click.ClickException(str(error)) from error


@click.command("test-result")
@about_person
@click.option(
    "--positive",
    "outcome",
    flag_value="positive",
    help="The test was positive: opens or revises a case, and traces it both ways.",
)
@click.option("--negative", "outcome", flag_value="negative", help="The test was negative.")
@click.option("--withdraw", "outcome", flag_value="withdrawn", help="Take back the result with this specimen date.")
@click.option(
    "--specimen", type=Date(), required=True, metavar="DATE", help="When the specimen was taken; it names the result."
)
@click.option("--onset", type=Date(), metavar="DATE", help="When symptoms began.")
@click.option("--isolated", type=Date(), metavar="DATE", help="Since when the person has been isolated.")
@click.option("--laboratory", help="Who tested.")
@click.option("--wait", is_flag=True, help="Wait for the traces and show them.")
@accountable
def test_result(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, outcome: str | None,
    specimen: int, onset: int | None, isolated: int | None, laboratory: str | None, wait: bool, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Report a test of PERSON. A positive one opens a case, or revises it, and starts a forward and a backward trace.

    Report again with the same --specimen to correct --onset or --isolated: the traces are made anew. DATE is
    2021-10-21, midnight of the deployment's zone, or a time with an offset.
    """
    settings = load_settings("officer")
    if outcome is None:
        raise click.UsageError("say --positive, --negative or --withdraw.")
    who = named(person, identity, identity_file, key_file)
    if settings.clock == "live" and specimen > SystemClock().now_ms() + _DAY_MS:
        raise click.UsageError("the specimen's date is in the future.")
    if onset is not None and abs(onset - specimen) > 60 * _DAY_MS:
        raise click.UsageError("the onset is more than 60 days from the specimen: is the year right?")
    with _store(settings) as store:
        store.audit(officer, purpose, f"test-result {outcome}", person=who)
        began_ms = SystemClock().now_ms()
        result = TestResult(
            person=who, outcome=outcome, specimen_ms=specimen, onset_ms=onset, isolated_ms=isolated,  # type: ignore[arg-type]
            laboratory=laboratory, officer=officer, purpose=purpose,
        )  # fmt: skip
        send(settings, "test-results", who, result)
        if wait and outcome != "negative":
            _show_made(settings, store, who, began_ms, 2, 30.0)
        else:
            click.echo(f"Reported. `lacak traces --person {who}` lists what comes of it.")


@click.command()
@about_person
@click.option(
    "--direction",
    type=click.Choice(["forward", "backward"]),
    default="forward",
    show_default=True,
    help="Whom they may have infected, or who them.",
)
@click.option("--profile", "profile_id", help="Which numbers make a contact. Default: those in force.")
@click.option(
    "--onset", type=Date(), metavar="DATE", help="When symptoms began. Without dates, those of the person's case."
)
@click.option("--specimen", type=Date(), metavar="DATE", help="When the specimen was taken.")
@click.option("--isolated", type=Date(), metavar="DATE", help="Since when the person has been isolated.")
@click.option(
    "--hops",
    type=click.IntRange(1, load_risk().limits.hops_most),
    default=1,
    show_default=True,
    help="How many times an infection may have been passed on (docs/risk.md).",
)
@click.option(
    "--least-risk",
    type=Share(),
    metavar="SHARE",
    help="Over several hops follow nobody below this risk, such as 2% (the default); they are still listed.",
)
@click.option(
    "--people",
    type=click.IntRange(1, load_risk().limits.people_most),
    metavar="COUNT",
    help="Over several hops stop at so many people (at most 20000).",
)
@click.option("--seconds", type=click.FloatRange(0), metavar="SECONDS", help="Over several hops stop after this time.")
@click.option("--wait", is_flag=True, help="Wait for the trace and show it.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait.")
@accountable
def trace(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, direction: str,
    profile_id: str | None, onset: int | None, specimen: int | None, isolated: int | None, hops: int,
    least_risk: float | None, people: int | None, seconds: float | None, wait: bool, timeout: float, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Ask for a trace of PERSON, of your own choosing.

    With --hops 2 it goes on to the contacts' contacts, each with their risk, the earliest they may have been infected,
    and by way of whom. A report that a limit cut says so.
    """
    settings = load_settings("officer")
    who = named(person, identity, identity_file, key_file)
    if profile_id is not None:
        try:
            find_profile(load_profiles(settings.rules_folder), profile_id)
        except ProfileError as error:
            raise click.UsageError(str(error)) from error
    with _store(settings) as store:
        if onset is None and specimen is None and not store.has_case(who):
            raise click.ClickException("The person has no case here: give --onset or --specimen.")
        over = f" over {hops} hops" if hops > 1 else ""
        store.audit(officer, purpose, f"trace {direction}{over}", person=who)
        began_ms = SystemClock().now_ms()
        request = TraceRequest(
            request_id=uuid.uuid4().hex, person=who, officer=officer, purpose=purpose, direction=direction,  # type: ignore[arg-type]
            profile=profile_id, onset_ms=onset, specimen_ms=specimen, isolated_ms=isolated, hops=hops,
            least_risk=least_risk, people_most=people, seconds_most=seconds,
        )  # fmt: skip
        send(settings, "trace-requests", who, request)
        if wait:
            _show_made(settings, store, who, began_ms, 1, timeout)
        else:
            click.echo(f"Asked for. `lacak traces --person {who}` lists it.")


def _show_made(settings: Settings, store: Store, person: str, began_ms: int, count: int, seconds: float) -> None:
    made = store.await_traces(person, began_ms, count, seconds)
    for each in made:
        Console().print(to_tree(each, settings.zone_info))
    if len(made) < count:
        raise click.ClickException(
            f"{len(made)} of {count} traces came within {seconds:.0f} s. Are the workers running? "
            "`lacak traces` shows later ones."
        )


@click.command()
@click.option("--person", help="Only those of this person.")
@click.option(
    "--state", type=click.Choice(["complete", "behind", "incomplete", "withdrawn"]), help="Only those in this state."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@accountable
def traces(person: str | None, state: str | None, as_json: bool, officer: str, purpose: str) -> None:
    """List the newest traces."""
    settings = load_settings("officer")
    with _store(settings) as store:
        store.audit(officer, purpose, "traces", person=person)
        listed = store.traces(person, state)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([each._asdict() for each in listed])).decode())
        return
    table = Table(box=None, header_style="bold")
    table.add_column("trace", no_wrap=True, min_width=18)
    table.add_column("person", overflow="fold", min_width=12)
    table.add_column("direction", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("contacts", justify="right", no_wrap=True)
    table.add_column("asked for", no_wrap=True, min_width=11)
    for each in listed:
        when = each.requested.astimezone(settings.zone_info).strftime("%m-%d %H:%M")
        table.add_row(each.trace_id, each.person, each.direction, each.state, str(each.contacts), when)
    Console().print(table if listed else "No traces yet: report a positive test with `lacak test-result`.")


@click.command()
@click.argument("trace_name", metavar="TRACE")
@click.option("--json", "form", flag_value="json", help="The whole report as JSON.")
@click.option("--csv", "form", flag_value="csv", help="One row a shared stay.")
@click.option("--graphml", "form", flag_value="graphml", help="The graph, for yEd or networkx.")
@click.option("--gexf", "gexf_file", metavar="FILE", help="Write the graph with its times, for Gephi.")
@click.option(
    "--svg", "svg_file", metavar="FILE", help="Draw it: time from left to right, a line a person, risk as colour."
)
@click.option("--html", "html_file", metavar="FILE", help="The same picture on a page.")
@click.option(
    "--as-of", "as_of_ms", type=Date(), metavar="TIME", help="As it was known then (under the clock `file`: log time)."
)
@click.option("--history", is_flag=True, help="List what was known when, and what each report changed.")
@accountable
def show(
    trace_name: str, form: str | None, gexf_file: str | None, svg_file: str | None, html_file: str | None,
    as_of_ms: int | None, history: bool, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Show a TRACE (its id or the beginning of it): who, where, how long, which ends are only assumed.

    As a picture, a graph or a table too: docs/traces.md says what stands in each.
    """
    drawn = (gexf_file, svg_file, html_file)
    told = [kind for kind, name in zip(("gexf", "svg", "html"), drawn, strict=True) if name]
    if history and (form not in (None, "json") or any(drawn) or as_of_ms is not None):
        raise click.UsageError("--history is a list: it goes with --json only.")
    settings = load_settings("officer")
    with _store(settings) as store:
        found = store.trace(trace_name)
        action = f"show {'history' if history else ' '.join([*told, *([form] if form else [])]) or 'tree'}"
        store.audit(officer, purpose, action, person=found.person, trace_id=found.trace_id)
        if as_of_ms is not None:
            moment = datetime.fromtimestamp(as_of_ms / 1000, UTC)
            found = store.trace_as_of(found.trace_id, moment, log_time=settings.clock == "file")
        versions = store.history(found.trace_id) if history else []
    if history:
        listed = [step._asdict() for step in steps(versions)]
        if form:
            click.echo(msgspec.json.format(msgspec.json.encode(listed)).decode())
        else:
            click.echo(to_text(versions, settings.zone_info))
        return
    forms: tuple[Callable[[Trace, ZoneInfo], str], ...] = (lambda trace, _: to_gexf(trace), svg, html)
    for name, write in zip(drawn, forms, strict=True):
        if name:
            try:
                Path(name).write_text(write(found, settings.zone_info), encoding="utf-8")
            except OSError as error:
                raise click.ClickException(f"{name} cannot be written: {error.strerror}.") from error
            click.echo(f"Written: {name}", err=bool(form))
    if form:
        click.echo({"json": to_json, "csv": to_csv, "graphml": to_graphml}[form](found), nl=form != "csv")
    elif not any(drawn):
        Console().print(to_tree(found, settings.zone_info))


@click.command()
@click.argument("trace_name", metavar="TRACE")
@click.argument("contact", metavar="PERSON")
@accountable
def confirm(trace_name: str, contact: str, officer: str, purpose: str) -> None:
    """Confirm that PERSON of a TRACE is a contact: by interview, say. Doors act on confirmed contacts only."""
    _decide(trace_name, contact, "confirmed", officer, purpose)


@click.command()
@click.argument("trace_name", metavar="TRACE")
@click.argument("contact", metavar="PERSON")
@accountable
def dismiss(trace_name: str, contact: str, officer: str, purpose: str) -> None:
    """Dismiss PERSON of a TRACE: they were there, but were no contact. They stay in the report, marked so."""
    _decide(trace_name, contact, "dismissed", officer, purpose)


def _decide(trace_name: str, contact: str, grade: str, officer: str, purpose: str) -> None:
    settings = load_settings("officer")
    with _store(settings) as store:
        found = store.trace(trace_name)
        matching = [each.person for each in found.contacts if each.person.startswith(contact)]
        who = contact if contact in matching else matching[0] if len(matching) == 1 else None
        if who is None:
            several = f"{len(matching)} contacts begin so" if matching else "there is no such contact"
            raise click.ClickException(
                f"In trace {found.trace_id} {several}: `lacak show {found.trace_id}` lists them."
            )
        store.audit(officer, purpose, grade, person=who, trace_id=found.trace_id)
        began_ms = SystemClock().now_ms()
        decision = ContactDecision(
            trace_id=found.trace_id, person=found.person, contact=who, grade=grade, officer=officer,  # type: ignore[arg-type]
            purpose=purpose, decided_at_ms=began_ms,
        )  # fmt: skip
        send(settings, "contact-decisions", found.person, decision)
        made = store.await_traces(found.person, began_ms, 1, 10.0)
    click.echo(f"{who} is {grade}." if made else "The decision is published; no worker has taken it up yet.")


@click.command()
@click.argument("venue", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def occupancy(venue: str | None, watch: bool, as_json: bool) -> None:
    """Show how many people are inside: one VENUE, or the fullest."""
    settings = load_settings("officer")
    with _store(settings) as store:
        rows = store.occupancy(venue)
        if venue is not None and not rows:
            raise click.ClickException(f"Nobody has been counted at {venue!r} yet.")
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows])).decode())
        elif watch:
            with Live(refresh_per_second=4) as live:
                while True:
                    shown = max(live.console.height - 4, 1)  # what does not fit is cut off, caption and all
                    live.update(inside_table(settings, rows, shown))
                    time.sleep(0.5)
                    rows = store.occupancy(venue)
        else:
            Console().print(inside_table(settings, rows) if rows else "Nobody has been counted yet: publish scans.")


def inside_table(settings: Settings, rows: list[Inside], limit: int = 30) -> Table:
    """Venues with how full they are."""
    table = Table(box=None, header_style="bold")
    wide = max((len(row.venue) for row in rows[:limit]), default=0)
    wide = min(max(wide, _VENUE), _VENUE + _NAME // 2)  # a longer id takes its room from the names
    table.add_column("venue", overflow="fold", min_width=wide)
    table.add_column("name", no_wrap=True, max_width=_VENUE + _NAME - wide)
    for name, width in (("inside", 6), ("allowed", 7), ("", _BAR), ("assumed", 7)):
        table.add_column(name, no_wrap=True, min_width=width, justify="right" if name else "left")
    if rows:
        newest = max(row.log_time for row in rows)
        table.caption = (
            f"as of {local(round(newest.timestamp() * 1000), settings.zone_info)}; assumed: who never checked out"
        )
    for row in rows[:limit]:
        share = row.inside / row.allowed if row.allowed else 0.0
        colour = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
        bar = f"[{colour}]{'█' * min(_BAR, round(share * _BAR))}[/]" if row.allowed else ""
        allowed = "" if row.allowed is None else str(row.allowed)
        table.add_row(row.venue, row.name, str(row.inside), allowed, bar, f"{row.assumed_end_share:.0%}")
    return table

"""`lacak sources`: where several cases may have been infected together, from their backward traces and attendance."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contacts.registry import is_name
from contacts.risk import RiskError, load_risk
from contacts.sources import slot_ms
from contacts.tracing import trace_id
from lacak.dates import Date
from lacak.people import accountable
from lacak.settings import load_settings
from officer.exports import local, percent
from officer.origins import Origins, origins, to_csv, to_json
from officer.store import CaseFacts, Store, StoreError
from schemas.messages import Trace
from streams.settings import Settings

_LONG_AGO, _FAR = -(1 << 53), 1 << 53
_POLL_SECONDS = 0.2
_BAR, _CHANCE, _ABOVE, _REST = 16, "▒", "█", "·"


@click.command()
@click.argument("cases", nargs=-1, required=True, metavar="CASE...")
@click.option("--since", type=Date(), metavar="TIME", help="Leave out what was before.")
@click.option("--until", type=Date(), metavar="TIME", help="Leave out what was after.")
@click.option(
    "--least-cases",
    type=click.IntRange(1),
    metavar="COUNT",
    help="Leave out places and people of fewer cases. Default: 2, of one case 1.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=10, show_default=True, help="How many places and people to show."
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for the cases' backward traces.")
@click.option("--json", "form", flag_value="json", help="Everything as JSON, for programs.")
@click.option("--csv", "form", flag_value="csv", help="Everything as CSV.")
@accountable
def sources(
    cases: tuple[str, ...], since: int | None, until: int | None, least_cases: int | None, limit: int, timeout: float,
    form: str | None, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Find the common origins of several cases: places, times and people by whom they may have been infected.

    CASE is a person with a positive test. Their backward traces are taken as they stand, and places are ranked by cases
    above those that attendance would bring there by chance, as docs/risk.md explains. Stays count by how likely an
    infection then fits the onset (without symptoms: the specimen's date).
    """
    settings = load_settings("officer")
    people = list(dict.fromkeys(cases))
    if not all(map(is_name, people)):
        raise click.UsageError("a person is 1 to 200 characters, none of them a control character.")
    span = (_LONG_AGO if since is None else since, _FAR if until is None else until)
    if span[0] >= span[1]:
        raise click.UsageError("--until must be after --since.")
    try:
        risk = load_risk(settings.rules_folder)
        with Store.opened(settings.database_access) as store:
            for person in people:
                store.audit(officer, purpose, "sources", person=person)
            facts = [store.case(person) for person in people]
            traces = _backward(store, facts, timeout)
            names = store.venue_facts()
            found = origins(
                facts,
                traces,
                {venue: within for venue, (_, within) in names.items()},
                lambda venues, begin, end: store.presence(venues, slot_ms(), begin, end),
                risk,
                span=span,
                least_cases=least_cases or min(len(people), 2),
            )
    except (StoreError, RiskError) as error:
        raise click.ClickException(str(error)) from error
    for person, trace in traces.items():
        if trace.state != "complete":
            click.echo(f"The trace of {person} is {trace.state}: places and people may be lacking.", err=True)
    if form:
        click.echo({"json": to_json, "csv": to_csv}[form](found), nl=form == "json")
    else:
        _show(found, {venue: name for venue, (name, _) in names.items()}, limit, settings)


def _backward(store: Store, cases: list[CaseFacts], seconds: float) -> dict[str, Trace]:
    """The backward trace of each case by person, complete if they come to be so in time. Raises StoreError."""
    wanted = {trace_id(case.case_id, "backward"): case.person for case in cases}
    deadline = time.monotonic() + seconds
    while True:
        found = store.reports(list(wanted))
        if len(found) == len(wanted) and all(trace.state == "complete" for trace in found.values()):
            break
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    lacking = [person for name, person in wanted.items() if name not in found]
    if lacking:
        raise StoreError(
            f"No backward trace of {', '.join(lacking)} came within {seconds:.0f} s. Are the workers running?"
        )
    return {wanted[name]: trace for name, trace in found.items()}


def bar(cases: int, expected: float, of: int) -> str:
    """A line as long as all cases: those expected by chance, those above, those that were not there."""
    if not of:
        return ""
    here = round(_BAR * cases / of)
    by_chance = min(round(_BAR * expected / of), here)
    return _CHANCE * by_chance + _ABOVE * (here - by_chance) + _REST * (_BAR - here)


def _show(found: Origins, names: dict[str, str], limit: int, settings: Settings) -> None:
    console = Console()
    zone, count = settings.zone_info, len(found.cases)
    for place in found.places[:limit]:
        whole, best = place.whole, place.times[0]
        venue = found.venues[whole.venue]
        console.print(
            Text.assemble(
                (venue, "bold"), f"  {name}" if (name := names.get(venue)) else "", "\n  ",
                bar(len(whole.cases), whole.expected, count), f"  {len(whole.cases)} of {count} cases, ",
                f"{whole.expected:.2g} expected: {whole.ratio:.1f} times, chance {whole.tail:.1g}\n",
                f"  {local(best.start_ms, zone)} to {local(best.end_ms, zone)[11:]}: {len(best.cases)} cases, ",
                f"{best.expected:.2g} expected",
            )
        )  # fmt: skip
    if found.places:
        console.print(Text(f"Each bar: the cases, {_CHANCE} as many as attendance would bring by chance.", "dim"))
    else:
        where = "is no place where the case" if count == 1 else f"is no place in common where the {count} cases"
        console.print(f"There {where} met somebody.")
    table = Table(box=None, header_style="bold", title="People", title_justify="left")
    table.add_column("person", overflow="fold", min_width=12)
    for name in ("cases", "risk"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for each in found.people[:limit]:
        person = found.persons[each.person]
        mark = "a case too" if person in found.cases else ""
        table.add_row(person, f"{len(each.cases)} of {count}", percent(each.risk), mark)
    if found.people:
        console.print(table)
    more = max(len(found.places) - limit, 0) + max(len(found.people) - limit, 0)
    if more:
        console.print(f"{more} more: --limit, --json or --csv show them.")

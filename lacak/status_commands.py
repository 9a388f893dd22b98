"""`lacak status`: the colour of a person, and why."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contacts.colour_words import Explanation, explain, reason_words, when
from contacts.colours import ColourRules, ColourRulesError, Facts, Judgement, load_colour_rules
from contacts.coloursinforce import ColoursInForce
from lacak.clock import SystemClock
from lacak.dates import Date
from lacak.settings import load_settings
from officer.store import Store, StoreError, ToldDoors
from schemas.door import RuleSet
from schemas.health import HealthRecord
from streams.reader import read_topic
from streams.settings import Settings

_STYLES = {
    "green": "bold green",
    "yellow": "bold yellow",
    "red": "bold red",
    "black": "bold reverse",
    "unknown": "bold",
}
_DECODER = msgspec.json.Decoder(HealthRecord)


@click.command()
@click.argument("person")
@click.option("--explain", "explained", is_flag=True, help="Why, until when, by which records, what would change it.")
@click.option("--at", "at_ms", type=Date(), metavar="TIME", help="The colour at a date or time; now where left out.")
@click.option("--facts", "facts_file", metavar="FILE", help="Health records (NDJSON, one a line) to judge by.")
@click.option("--rules", "rules_id", metavar="NAME", help="Which colour rules, of files. Default: those in force.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--officer", envvar="LACAK_OFFICER", show_envvar=True, help="Who you are; written to the audit.")
@click.option("--purpose", envvar="LACAK_PURPOSE", show_envvar=True, help="Why you look; written to the audit.")
def status(
    person: str, explained: bool, at_ms: int | None, facts_file: str | None, rules_id: str | None, as_json: bool,
    officer: str | None, purpose: str | None,
) -> None:  # fmt: skip
    """Show the colour that doors are told of PERSON, a pseudonym.

    It is judged by all that was told of the person, as far as it is recorded: with --at, by what is known today of
    another day. That is a look at somebody's health, so it needs --officer and --purpose, and is audited.

    With --facts it is judged by a FILE of health records, those of other people left aside, without a server: what
    would the colour be, had only these been told? docs/colours.md has the rules, and `lacak colours show` too.
    """
    settings = load_settings("officer", need_servers=facts_file is None)
    try:
        rules = load_colour_rules(settings.rules_folder, rules_id or settings.colour_rules)
        if facts_file is None and rules_id is None:
            rules = _published(settings) or rules
    except (ColourRulesError, OSError) as error:
        raise click.ClickException(str(error)) from error
    now_ms, told = SystemClock().now_ms(), None
    if facts_file is not None:
        facts = read_facts(facts_file, person)
    elif not (officer and purpose):
        raise click.UsageError("say who you are and why you look: --officer, --purpose. Or name --facts FILE.")
    else:
        facts, told = _recorded(settings, person, officer, purpose)
        if settings.clock == "file" and told is not None:
            now_ms = told.log_time_ms
    asked_ms = now_ms if at_ms is None else at_ms
    show_status(person, facts, asked_ms, rules, settings.zone_info, explained=explained, as_json=as_json)
    if facts_file is None and explained and not as_json:
        said = "nothing" if told is None else f"{told.colour}, at {when(told.log_time_ms, settings.zone_info)}"
        click.echo(f"Doors were told last: {said}.")


def _recorded(settings: Settings, person: str, officer: str, purpose: str) -> tuple[Facts, ToldDoors | None]:
    """What is recorded of a person, once the look is in the audit, and what doors were told last."""
    facts = Facts()
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, "status", person=person)
            for record in store.health_records(person):
                facts = facts.take(record) or facts
            return facts, store.told_doors(person)
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _published(settings: Settings) -> ColourRules | None:
    """The rules in force, where they were published and not read from a file."""
    text = None
    try:
        for record in read_topic(settings, "rules"):
            if record.value is not None:
                found = msgspec.json.decode(record.value, type=RuleSet)
                if found.kind == "colours" and found.rules_id == settings.colour_rules:
                    text = found.text
        return None if text is None else ColoursInForce(settings.colour_rules, settings.rules_folder).read(text)[0]
    except (KafkaError, msgspec.MsgspecError) as error:
        raise click.ClickException(f"The rules that were published cannot be read: {error}") from error


def read_facts(file: str, person: str) -> Facts:
    """What the records of a file, one a line, say of a person. Raises click.ClickException that names the line."""
    facts = Facts()
    try:
        with Path(file).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    record = _decode(file, number, line)
                    if record.person == person:
                        facts = facts.take(record) or facts
    except OSError as error:
        raise click.ClickException(str(error)) from error
    return facts


def _decode(file: str, number: int, line: bytes) -> HealthRecord:
    try:
        return _DECODER.decode(line)
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{file}:{number}: this is no health record: {error}.") from error


def show_status(
    person: str, facts: Facts, at_ms: int, rules: ColourRules, zone: ZoneInfo, *, explained: bool, as_json: bool
) -> None:
    """Print the colour at a time that facts and rules give, in words where `explained`."""
    found = explain(facts, at_ms, rules, zone)
    if as_json:
        told = {"person": person, "at_ms": at_ms, **found.judgement._asdict()}
        if explained:
            told |= {"why": found.why, "source": found.source, "disputed": found.disputed}
            told |= {"facts": dict(found.facts), "changes": found.changes}
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
        return
    console = Console(highlight=False)
    console.print(Text.assemble((found.judgement.colour, _STYLES[found.judgement.colour]), f": {found.why}"))
    if explained:
        console.print(_table(found, zone))


def _table(found: Explanation, zone: ZoneInfo) -> Table:
    judgement = found.judgement
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if judgement.reason != "no_rules":
        table.add_row("since", when(judgement.since_ms, zone))
    table.add_row("until", _until(judgement, found.then, zone))
    table.add_row("rule", judgement.rule)
    if found.source:
        table.add_row("source", f"{found.source}{' (disputed)' if found.disputed else ''}")
    for record_id, says in found.facts or [("none", "")]:
        table.add_row("by", Text(f"{record_id}: {says}" if says else record_id))
    for sentence in found.changes:
        table.add_row("change", Text(sentence))
    return table


def _until(judgement: Judgement, then: Judgement | None, zone: ZoneInfo) -> str:
    if judgement.until_ms is None or then is None:
        return "something is told"
    moment = when(judgement.until_ms, zone)
    if (then.colour, then.reason) == (judgement.colour, judgement.reason):
        return f"{moment}, when {then.rule.split(' ')[0]} says the same" if then.rule != judgement.rule else moment
    return f"{moment}, then {then.colour} if nothing is told: {reason_words(then)}"

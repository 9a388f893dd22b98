"""`lacak rules`: what doors ask and how many they let in, shown, checked, published and explained."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from contacts.doorexplain import asks, short, when, where
from contacts.doorrows import read_rules_file
from contacts.doorrules import DoorRules, DoorRulesError, load_door_rules, rules_text
from contacts.tomlfaults import Fault
from lacak.checking import check_files
from lacak.clock import SystemClock
from lacak.explaining import explain
from lacak.people import accountable
from lacak.published import publish, published_rules, rule_set
from lacak.settings import load_settings


@click.group()
def rules() -> None:
    """The rules of doors: who may come in, and how many.

    Lacak brings those of Indonesia in 2021 and 2022; files of your own in `door` under the folder LACAK_RULES_FOLDER
    are added to them, and overrule one of the same name. Doors and workers act on what was published (`lacak rules
    publish`). docs/door.md explains every key of a file, and which row wins.
    """


rules.add_command(explain)

_PUBLISHED = click.option("--published", is_flag=True, help="Those that were published, and are in force.")


def _load(published: bool) -> DoorRules:
    try:
        if published:
            return published_rules(load_settings("officer"))
        return load_door_rules(load_settings(need_servers=False).rules_folder)
    except (DoorRulesError, OSError, KafkaError) as error:
        raise click.ClickException(str(error)) from error


@rules.command("list", short_help="List the rows with where and when they hold, and their sources.")
@_PUBLISHED
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_rules(published: bool, as_json: bool) -> None:
    """List the rows: where and since when each holds, what it asks, and where it was published."""
    found = _load(published)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found.files)).decode())
        return
    for file in found.files:
        click.secho(f"{file.id}: {file.name}", bold=True)
        for title, rows in (("who may come in", file.entry), ("how many", file.room)):
            if not rows:
                continue
            table = Table(box=None, header_style="bold")
            for name in ("row", "where", "from", title):
                table.add_column(name, overflow="fold", no_wrap=name == "from")
            for row in sorted(rows, key=lambda each: (each.categories, each.valid_from)):
                mark = f" ({row.mark})" if row.mark else ""
                table.add_row(row.id, where(row, file.regions), str(row.valid_from), short(row) + mark)
            Console().print(table)
        click.echo("Sources:")
        for each in (*file.entry, *file.room):
            click.echo(f"  {each.id}: {each.source}")
    if not found.files:
        click.echo("No rules are published: every venue may be as full as its capacity, and doors use its fallback.")


@rules.command("show")
@click.argument("rules_id", metavar="ID")
def show_rules(rules_id: str) -> None:
    """Show the rules ID: levels and rows in words, and the file to copy and edit."""
    found = _load(published=False)
    file = next((each for each in found.files if each.id == rules_id), None)
    if file is None:
        there = ", ".join(each.id for each in found.files)
        raise click.ClickException(f"There are no door rules {rules_id!r}; there are {there}.")
    click.secho(f"{file.id}: {file.name}", bold=True)
    click.echo(f"{file.source}\n")
    for level in file.levels:
        mark = f" ({level.mark})" if level.mark else ""
        click.echo(f"  level {level.level} from {level.valid_from}: {', '.join(level.regions)}{mark}")
    for row in (*file.entry, *file.room):
        click.echo(f"\n  {row.id} ({where(row, file.regions)}; {when(row)}){': ' + row.mark if row.mark else ''}")
        for sentence in asks(row):
            click.echo(f"    {sentence}")
    place, text = rules_text(rules_id, load_settings(need_servers=False).rules_folder)
    click.echo(f"\n# {place}\n{text.rstrip()}")


@rules.command("check", short_help="Check files of door rules before they are used.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def check_rules(files: tuple[str, ...]) -> None:
    """Check files of door rules before they are used: each fault with its line and what to do.

    Exit code 1 says that a file cannot be used.
    """

    def read(name: str) -> list[str]:
        path = Path(name)
        file = read_rules_file(path.stem, path.read_text("utf-8"))
        rows = f"{len(file.entry)} rows about who, {len(file.room)} about how many"
        return [f"{name} can be used: {file.id}, {file.name}: {rows}."]

    check_files(files, read)


@rules.command("publish")
@click.argument("file")
@accountable
def publish_rules(file: str, officer: str, purpose: str) -> None:
    """Publish a FILE of door rules, or those of Lacak by their id (`indonesia`), for all doors and all counts.

    A file's name, without .toml, is the rules' id: publishing again under it takes the place of the file before.
    """
    settings = load_settings("officer")
    path = Path(file)
    try:
        if path.suffix or path.exists():
            text = path.read_text("utf-8")
        else:
            _, text = rules_text(file, settings.rules_folder)
        read_rules_file(path.stem, text)
        publish([rule_set(path.stem, text, officer, purpose, SystemClock().now_ms())], settings)
    except Fault as fault:
        raise click.ClickException(f"{file}:{fault.line}: {fault.sentence}") from fault
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} cannot be read as UTF-8: {error}") from error
    except KafkaError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Published: the door rules {path.stem} hold as soon as the registry worker has passed them on.")

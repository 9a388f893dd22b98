"""`lacak colours`: the rules that give people their colours, shown, and an office's own checked."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from contacts.colourfile import ColourFile, ColourRulesError, colours_of, read_colour_file
from contacts.colourrules import colour_rules_text, colour_rules_there
from contacts.tomlfaults import Fault
from lacak.checking import check_files
from lacak.settings import load_settings


@click.group()
def colours() -> None:
    """The colour rules: who is green, yellow, red or black at the door, by date.

    Lacak brings Indonesia's of 2021 and 2022; files of your own in the folder `colours` of LACAK_RULES_FOLDER are added
    to them, and overrule one of the same name. docs/colours.md explains every key.
    """


@colours.command("list")
def list_colours() -> None:
    """List the rules that there are, and their sets by date."""
    folder = load_settings(need_servers=False).rules_folder
    table = Table(box=None, header_style="bold")
    for name in ("id", "since", "colours", "disputed"):
        table.add_column(name, no_wrap=True)
    sources = []
    for rules_id in colour_rules_there(folder):
        for each in _read(rules_id)[1].sets:
            parts = (each, each.case, each.contact)
            disputed = any(part is not None and part.disputed for part in parts)
            table.add_row(rules_id, each.since.isoformat(), ", ".join(colours_of(each)), "yes" if disputed else "")
            sources.append(f"  {rules_id} {each.since}: {each.source}")
    Console().print(table)
    click.echo("\nSources:")
    for source in sources:
        click.echo(source)


@colours.command("show")
@click.argument("rules_id", metavar="ID")
def show_colours(rules_id: str) -> None:
    """Show the rules ID: their file, to copy and edit."""
    where, table, text = _read(rules_id)
    click.secho(f"{rules_id}: {table.name}, version {table.version}", bold=True)
    click.echo(f"{table.source}\n\n# {where}\n{text.rstrip()}")


@colours.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def check_colours(files: tuple[str, ...]) -> None:
    """Check files of colour rules before they are used: a fault with its line and what to do.

    Exit code 1 says that a file cannot be used.
    """

    def read(name: str) -> list[str]:
        table = read_colour_file(Path(name).read_text("utf-8"))
        dates = ", ".join(each.since.isoformat() for each in table.sets)
        return [f"{name} can be used: {table.name}, version {table.version}, rules since {dates}."]

    check_files(files, read)


def _read(rules_id: str) -> tuple[str, ColourFile, str]:
    try:
        where, text = colour_rules_text(rules_id, load_settings(need_servers=False).rules_folder)
        return where, read_colour_file(text), text
    except (ColourRulesError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except Fault as fault:
        raise click.ClickException(f"The colour rules {rules_id} cannot be used: {fault}") from fault

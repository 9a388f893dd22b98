"""`lacak config`: every setting, its variable, and where its value comes from."""

from __future__ import annotations

import os
import re

import click
import msgspec
from rich.console import Console
from rich.table import Table

from contacts.clusterrules import ClusterRulesError, load_cluster_rules
from contacts.colours import ColourRulesError
from contacts.coloursinforce import ColoursInForce
from lacak.settings import load_settings, read_settings, variables
from streams.settings import Settings


def masked(text: str) -> str:
    """A database address without its password."""
    text = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)
    return re.sub(r"(password=)\S+", r"\1***", text)


def rows(settings: Settings) -> list[tuple[str, str, str]]:
    """(variable, value with secrets masked, where it comes from) of every setting."""
    tree, default = (msgspec.to_builtins(each, enc_hook=str) for each in (settings, Settings()))
    found = []
    for name, path, _ in variables():
        value, usual = tree, default
        for part in path:
            value, usual = value[part], usual[part]
        source = "environment" if os.environ.get(name) else ("default" if value == usual else "lacak up")
        found.append((name, "" if value is None else masked(str(value)), source))
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def config(as_json: bool) -> None:
    """Show the settings in force: each with the variable that sets it.

    A setting is the default, or what a running `lacak up` of this folder was started with, or a LACAK_... variable of
    this shell, the last one winning. The cluster and colour rules that they name are read too: a wrong file is said
    here.
    """
    settings = load_settings(need_servers=False)
    read_settings(os.environ)
    try:
        load_cluster_rules(settings.cluster_rules, settings.rules_folder)
        ColoursInForce(settings.colour_rules, settings.rules_folder)
    except ClusterRulesError as error:
        raise click.ClickException(f"LACAK_CLUSTER_RULES={settings.cluster_rules!r}: {error}") from error
    except ColourRulesError as error:
        raise click.ClickException(f"LACAK_COLOUR_RULES={settings.colour_rules!r}: {error}") from error
    if as_json:
        click.echo(
            msgspec.json.format(msgspec.json.encode({name: value for name, value, _ in rows(settings)})).decode()
        )
        return
    table = Table(box=None, header_style="bold")
    for name in ("variable", "value", "from"):
        table.add_column(name, overflow="fold")
    for row in rows(settings):
        table.add_row(*row)
    Console().print(table)

"""`lacak clusters`: where and when several cases were together."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from lacak.settings import load_settings
from officer.exports import local
from officer.store import ListedCluster, Store, StoreError
from streams.settings import Settings

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 12
_SECONDS = 0.5


@click.command()
@click.argument("venue", required=False)
@click.option("--all", "withdrawn", is_flag=True, help="Those withdrawn too.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many of the newest.")
@click.option("--watch", is_flag=True, help="Keep showing them, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--cases", is_flag=True, help="Name the cases: needs --officer and --purpose, and is audited.")
@click.option("--officer", envvar="LACAK_OFFICER", help="With --cases: who you are (or LACAK_OFFICER).")
@click.option("--purpose", envvar="LACAK_PURPOSE", help="With --cases: why you look (or LACAK_PURPOSE).")
def clusters(
    venue: str | None, withdrawn: bool, limit: int, watch: bool, as_json: bool, cases: bool, officer: str | None,
    purpose: str | None,
) -> None:  # fmt: skip
    """Show the newest clusters, or those of one VENUE: from when to when, how many cases, under which rule.

    The bar is a cluster's time from left to right, higher where more cases were together. docs/clusters.md says what a
    cluster is, `lacak config` which rules are in force.
    """
    settings = load_settings("officer")
    if cases and not (officer and purpose):
        raise click.UsageError("--cases needs --officer and --purpose: who looks at cases stands in the audit.")
    try:
        with Store.opened(settings.database_access) as store:
            if cases:
                store.audit(officer or "", purpose or "", f"clusters {venue}" if venue else "clusters")
            rows = store.clusters(venue, withdrawn=withdrawn, limit=limit)
            if as_json:
                click.echo(msgspec.json.format(msgspec.json.encode([_told(row, cases) for row in rows])).decode())
            elif watch:
                with Live(clusters_table(settings, rows, cases), refresh_per_second=4) as live:
                    while True:
                        time.sleep(_SECONDS)
                        rows = store.clusters(venue, withdrawn=withdrawn, limit=limit)
                        live.update(clusters_table(settings, rows, cases))
            else:
                nothing = f"No cluster stands{f' at {venue}' if venue else ''}."
                Console().print(clusters_table(settings, rows, cases) if rows else nothing)
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _told(row: ListedCluster, cases: bool) -> dict[str, object]:
    told = row._asdict()
    if not cases:
        del told["case_ids"]
    return told


def clusters_table(settings: Settings, rows: Sequence[ListedCluster], cases: bool = False) -> Table:
    """Clusters, a line each."""
    some_withdrawn = any(row.withdrawn for row in rows)
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("venue", overflow="fold", min_width=9)
    if not cases:  # category, bar and rule give their room to the names of the cases
        table.add_column("category", overflow="fold", min_width=8)
    table.add_column("from to", overflow="fold", min_width=17 if some_withdrawn else 20)
    if not cases:
        table.add_column("", no_wrap=True)
    table.add_column("cases", no_wrap=True, justify="right")
    table.add_column("risk", no_wrap=True, justify="right")
    if not cases:
        table.add_column("rule", overflow="fold", min_width=8)
    if some_withdrawn:
        table.add_column("state", no_wrap=True, min_width=9)
    if cases:
        table.add_column("who", overflow="fold", min_width=21)
    versions = set()
    for row in rows:
        start, end = (local(round(at.timestamp() * 1000), settings.zone_info) for at in (row.starts, row.ends))
        until = end[11:] if end[:10] == start[:10] else end[5:]
        version, _, counted = row.rule.partition(" ")
        versions.add(version)
        state = ("[dim]withdrawn[/]" if row.withdrawn else "[red]stands[/]",) if some_withdrawn else ()
        when = f"{start[5:]} to {until}"
        count, risk = str(row.cases), f"{row.risk:g}"
        if cases:
            table.add_row(row.venue, when, count, risk, *state, "\n".join(row.case_ids))
        else:
            table.add_row(row.venue, row.category, when, bar(row.slot_cases), count, risk, counted, *state)
    table.caption = f"rules: {', '.join(sorted(versions))}"
    return table


def bar(slot_cases: Sequence[int], width: int = _WIDTH) -> str:
    """Cases by slot as a line of bars; of a long cluster each bar is the most of several slots."""
    each = -(-len(slot_cases) // width) or 1
    most = [max(slot_cases[place : place + each]) for place in range(0, len(slot_cases), each)]
    top = max(most, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in most)

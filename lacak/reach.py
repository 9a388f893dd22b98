"""`lacak reach`: dated contact lists, from interviews or other systems."""

from __future__ import annotations

import click

from contacts.dated import DatedContacts
from contacts.reach import Direction, reach_of_all
from contacts.reach import reach as reach_of
from gateway.files import ContactRow, FileError, called, format_time, read_contacts
from lacak.dates import Date
from lacak.progress import Rejected, reading
from lacak.settings import load_settings
from lacak.writing import OUTPUT, write


@click.command()
@click.argument("contacts_file", metavar="CONTACTS")
@click.option("--root", metavar="ID", help="Whom to ask about, as named in the file.")
@click.option("--summary", is_flag=True, help="Count for every id at once, instead of listing for one.")
@click.option("--direction", type=click.Choice(["in", "out"]),
              help="With --root: whom it reaches (out, the default), or who reaches it (in).")  # fmt: skip
@click.option("--begin", type=Date(), metavar="TIME", help="Only contacts at this time or date, or later.")
@click.option("--end", type=Date(whole_day=True), metavar="TIME",
              help="Only contacts before this time, or up to the end of this date.")  # fmt: skip
@click.option("--strict", is_flag=True, help="The next contact must be later; without it, later or at the same time.")
@click.option("--undirected", is_flag=True, help="Take each contact both ways.")
@OUTPUT
def reach(
    contacts_file: str, root: str | None, summary: bool, direction: Direction | None, begin: int | None,
    end: int | None, strict: bool, undirected: bool, output: str,
) -> None:  # fmt: skip
    """Follow a list of dated CONTACTS (from, to, at) over any number of steps, each at the time of the last or later.

    An at is a date, a time, or integer milliseconds. Rows are people (person, distance, at): the least number of
    contacts, and when they are first reached; with --direction in, the last time at which they still reach the root.
    With --summary, rows are all ids (id, in_degree, out_degree, in_reach, out_reach).
    """
    if (root is None) != summary:
        raise click.UsageError("give either --root ID, or --summary for every id.")
    if summary and direction:
        raise click.UsageError("--summary counts both directions: leave --direction out.")
    if begin is not None and end is not None and begin >= end:
        raise click.UsageError("nothing lies between --begin and --end: --begin must be before --end.")
    rows = _read(contacts_file)
    contacts = _contacts(rows, undirected)
    chosen = contacts.within(begin, end)
    if root is None:
        columns = ("id", "in_degree", "out_degree", "in_reach", "out_reach")
        counts = (column.tolist() for column in reach_of_all(chosen, strict))
        write(output, columns, zip(chosen.people, *counts, strict=True), "ids")
        return
    place = contacts.place(root)
    if place is None:
        raise click.ClickException(f"{called(contacts_file)} holds no contact of {root!r}.")
    way = direction or "out"
    found = reach_of(chosen, place, way, strict)
    direct, farthest = int((found.distance == 1).sum()), int(found.distance.max(initial=0))
    click.echo(
        f"{way}-degree (direct contacts) {direct}, {way}-reach {len(found.person)}, greatest distance {farthest}.",
        err=True,
    )
    listed = zip(*(column.tolist() for column in (found.distance, found.at_ms, found.person)), strict=True)
    people = ((contacts.people[person], distance, format_time(at_ms)) for distance, at_ms, person in sorted(listed))
    write(output, ("person", "distance", "at"), people, "people")


def _read(path: str) -> list[ContactRow]:
    zone = load_settings(need_servers=False).zone_info
    rejected = Rejected(path)
    try:
        with reading(path, "reading") as progress:
            rows = list(read_contacts(path, zone, rejected, progress))
    except FileError as error:
        raise click.ClickException(str(error)) from error
    rejected.set_aside()
    dates = sum(row.whole_day for row in rows)
    if 0 < dates < len(rows):
        click.echo(f"{dates} of {len(rows)} contacts have a date alone: they count at the start of that day.", err=True)
    return rows


def _contacts(rows: list[ContactRow], undirected: bool) -> DatedContacts:
    source, target, at_ms, _ = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DatedContacts.of(source, target, at_ms, both_ways=undirected)

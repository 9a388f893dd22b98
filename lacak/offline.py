"""The same rules on files, without a broker: `lacak visits`, `lacak windows`, `lacak contacts`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import click
import numpy as np

from contacts.matching import contacts_of, may_count
from contacts.places import Places
from contacts.profiles import ProfileError, find_profile, load_profiles
from contacts.registry import Registry, RegistryError
from contacts.visits import Acceptance, Visit, derive_visits, visit_id
from gateway.files import BadLine, FileError, format_time, read_scans, read_venues, read_visits
from lacak.dates import Date
from lacak.progress import Rejected, reading
from lacak.settings import load_settings
from lacak.writing import OUTPUT, write
from schemas.blocks import REASONS, WINDOW_COLUMNS
from schemas.messages import Contact, Direction, Scan
from streams.settings import Settings

_VENUES = click.option(
    "--venues", "venues_file", metavar="FILE", help="The registry: categories, stays, what lies within what."
)


@click.command()
@click.argument("scans")
@_VENUES
@OUTPUT
def visits(scans: str, venues_file: str | None, output: str) -> None:
    """Derive the visits of a file of SCANS and write them: visit_id, person, venue, start, end, end_reason.

    With a column arrived_at, scans are judged as they would be live: late ones stand alone, too old ones are left out.
    """
    found = _derive(scans, venues_file)
    rows = (
        (
            visit_id(v.person, v.venue, v.start_ms, v.reason),
            v.person,
            v.venue,
            format_time(v.start_ms),
            format_time(v.end_ms),
            REASONS[v.reason],
        )
        for v in found
    )
    write(output, ("visit_id", "person", "venue", "start", "end", "end_reason"), rows, "visits")


@click.command()
@click.argument("scans")
@_VENUES
@OUTPUT
def windows(scans: str, venues_file: str | None, output: str) -> None:
    """Count the 10-minute windows of a file of SCANS: venue, start, entries, exits, assumed_exits, peak, mean."""
    settings = load_settings(need_servers=False)
    found = _places(_derive(scans, venues_file), settings).windows()
    write(
        output,
        ("venue", "start", "entries", "exits", "assumed_exits", "peak", "mean"),
        _window_rows(found, settings.window_ms),
        "windows",
    )


def _window_rows(found: object, window_ms: int) -> Iterator[tuple[object, ...]]:
    if found is None:
        return
    names: list[str] = found.venues  # type: ignore[attr-defined]
    rows: np.ndarray = found.rows  # type: ignore[attr-defined,type-arg]
    listed = sorted(
        ([names[row[0]], *row[1:]] for row in rows.reshape(-1, len(WINDOW_COLUMNS)).tolist()),
        key=lambda row: (row[0], row[1]),
    )
    for venue, start, entries, exits, assumed, peak, presence in listed:
        yield venue, format_time(start), entries, exits, assumed, peak, f"{presence / window_ms:.6f}"


@click.command(short_help="Find a person's contacts in a file of visits.")
@click.argument("visits_file", metavar="VISITS")
@_VENUES
@click.option("--person", required=True, help="The case, as it is named in the file.")
@click.option("--profile", "profile_id", default="kmk-413", show_default=True, help="Which numbers make a contact.")
@click.option("--onset", type=Date(), metavar="DATE", help="When symptoms began.")
@click.option(
    "--specimen", type=Date(), metavar="DATE", help="When the specimen was taken; enough where there are no symptoms."
)
@click.option("--isolated", type=Date(), metavar="DATE", help="Since when the case has been isolated.")
@click.option(
    "--direction", type=click.Choice(["forward", "backward"]), default="forward", show_default=True,
    help="Whom the person may have infected, or who the person.",
)  # fmt: skip
@click.option("--as-of", "as_of_ms", type=Date(), metavar="TIME", help="Cut everything at this time.")
@click.option("--summary", is_flag=True, help="One row a contact instead of one a shared stay.")
@OUTPUT
def contacts(
    visits_file: str, venues_file: str | None, person: str, profile_id: str, onset: int | None, specimen: int | None,
    isolated: int | None, direction: str, as_of_ms: int | None, summary: bool, output: str,
) -> None:  # fmt: skip
    """Find a person's contacts in a file of VISITS, such as `lacak visits` writes.

    Rows are shared stays (person, venue, start, end, minutes, rule), or with --summary people (person, minutes, first,
    last, venues, rule). A profile that scores adds score and level; one that goes by category needs --venues.
    """
    settings = load_settings(need_servers=False)
    if onset is None and specimen is None:
        raise click.UsageError("give --onset or --specimen: the infectious window is counted from it.")
    try:
        profile = find_profile(load_profiles(settings.rules_folder), profile_id)
        registry = _registry(venues_file)
        rejected = Rejected(visits_file)
        with reading(visits_file, "reading") as progress:
            rows = [
                Visit(r.person, r.venue, r.start_ms, r.end_ms, r.reason)
                for r in read_visits(visits_file, rejected, progress)
            ]
    except (FileError, OSError, ProfileError, RegistryError) as error:
        raise click.ClickException(str(error)) from error
    rejected.set_aside()
    if profile.by_category and venues_file is None:
        click.echo(f"{profile.id} goes by category: without --venues no venue has one.", err=True)
    if not any(row.person == person for row in rows):
        raise click.ClickException(f"{visits_file} holds no visit of {person!r}.")
    window = (profile.infectious_window if direction == "forward" else profile.exposure_window)(
        onset, specimen, isolated, settings.zone_info
    )
    way: Direction = "forward" if direction == "forward" else "backward"
    shared = _places(rows, settings).shared_stays(person, *window, as_of_ms, profile.air, way)
    course = profile.course(onset, specimen, settings.zone_info) if way == "forward" else None
    found = contacts_of(may_count(shared, profile, registry.category, way), profile, person, course)
    scores = ("score", "level") if profile.score is not None or profile.slots else ()
    if summary:
        people = ((*_summary(contact), *(contact.score, contact.level)[: len(scores)]) for contact in found)
        write(output, ("person", "minutes", "first", "last", "venues", "rule", *scores), people, "contacts")
    else:
        evidence = (
            (
                c.person, s.venue, format_time(s.start_ms), format_time(s.end_ms), f"{s.minutes:.6f}", c.rule,
                *(s.score, c.level)[: len(scores)],
            )
            for c in found
            for s in c.evidence
        )  # fmt: skip
        write(output, ("person", "venue", "start", "end", "minutes", "rule", *scores), evidence, "shared stays")


def _summary(contact: Contact) -> tuple[object, ...]:
    first = min(stay.start_ms for stay in contact.evidence)
    last = max(stay.end_ms for stay in contact.evidence)
    names = [venue for venue, _ in groupby(sorted(stay.venue for stay in contact.evidence))]
    return (
        contact.person,
        f"{contact.minutes:.6f}",
        format_time(first),
        format_time(last),
        " ".join(names),
        contact.rule,
    )


def _derive(scans: str, venues_file: str | None) -> list[Visit]:
    settings = load_settings(need_servers=False)
    rejected = Rejected(scans)
    try:
        registry = _registry(venues_file)
        with reading(scans, "reading") as progress:
            read: list[Scan] = list(read_scans(scans, rejected, progress))
    except (FileError, OSError, RegistryError) as error:
        raise click.ClickException(str(error)) from error
    rejected.set_aside()
    judged = (
        Acceptance(settings.horizon_ms, settings.retention_ms)
        if any(s.arrived_at_ms is not None for s in read)
        else None
    )
    return derive_visits(read, registry, judged)


def _registry(path: str | None) -> Registry:
    registry = Registry()
    if path is not None:
        rejected = Rejected(path)
        for venue in read_venues(path, rejected):
            try:
                registry.add(venue)
            except RegistryError as error:
                rejected(BadLine(0, venue.venue, str(error)))
        rejected.set_aside()
    return registry


def _places(rows: Iterable[Visit], settings: Settings) -> Places:
    return Places.from_visits(rows, settings.window_ms)

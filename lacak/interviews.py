"""`lacak contacts`: contacts in a file of visits, and contacts from interviews put into a case's traces."""

from __future__ import annotations

from typing import Any

import click

from contacts.registry import is_name
from gateway.files import BadLine, FileError
from gateway.lines import read_lines
from lacak.clock import SystemClock
from lacak.dates import Date
from lacak.officer_commands import send
from lacak.offline import contacts as find
from lacak.people import about_person, accountable, named
from lacak.progress import Rejected
from lacak.settings import load_settings
from officer.store import Store, StoreError
from schemas.messages import InterviewContact

_MINUTE_MS = 60_000


class _Contacts(click.Group):
    """A group whose first word may be left out: `lacak contacts VISITS.csv` is `lacak contacts find VISITS.csv`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["find", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Contacts, commands={"find": find})
def contacts() -> None:
    """Find a person's contacts in a file of visits, or add contacts from an interview to a case.

    \b
    lacak contacts VISITS.csv --person P --onset DATE -o CONTACTS.csv     is short for `lacak contacts find ...`
    lacak contacts add CASE --contact P --at TIME --minutes 30            to the running system
    """


@contacts.command()
@about_person
@click.option("--contact", metavar="PERSON", help="Whom the case was with.")
@click.option("--at", "at_ms", type=Date(), metavar="TIME", help="When they met.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="How long they were together.")
@click.option("--until", "until_ms", type=Date(), metavar="TIME", help="When they parted, instead of --minutes.")
@click.option("--venue", default="", help="Where it was, if it was at a venue.")
@click.option(
    "--file", "path", metavar="FILE", help="Many at once: a list with the columns from, to, at (minutes, venue)."
)
@accountable
def add(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, contact: str | None,
    at_ms: int | None, minutes: float | None, until_ms: int | None, venue: str, path: str | None, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Add to the case PERSON a contact that they told of in an interview.

    It is confirmed, and stands in those of the case's traces in whose window it lies, beside what scans found. With
    --file it is every row of a dated contact list whose `from` is the case, as long as its column minutes says, or
    else --minutes.
    """
    settings = load_settings("officer")
    who = named(person, identity, identity_file, key_file)
    about: dict[str, Any] = {"person": who, "officer": officer, "purpose": purpose, "venue": venue}
    about["told_at_ms"] = SystemClock().now_ms()
    if path is not None:
        if contact or at_ms is not None or until_ms is not None:
            raise click.UsageError("with --file the list says who and when: leave out --contact, --at and --until.")
        told = _listed(path, who, minutes, about)
    else:
        if contact is None or at_ms is None or (minutes is None) == (until_ms is None):
            raise click.UsageError("give --contact, --at, and one of --minutes and --until; or a --file of many.")
        end_ms = until_ms if until_ms is not None else at_ms + round((minutes or 0) * _MINUTE_MS)
        told = [InterviewContact(contact=contact, start_ms=at_ms, end_ms=end_ms, **about)]
        if (wrong := _wrong(told[0])) is not None:
            raise click.UsageError(f"{wrong}.")
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, f"contacts add ({len(told)})", person=who)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    send(settings, "interview-contacts", who, *told)
    click.echo(f"{len(told)} told. `lacak traces --person {who}` lists the traces that may show it.")


def _wrong(told: InterviewContact) -> str | None:
    """Why an interview's contact cannot be one."""
    if not is_name(told.contact) or told.contact == told.person:
        return "a contact is another person: 1 to 200 characters, none of them a control character"
    return None if told.end_ms > told.start_ms else "they must part after they met"


def _listed(path: str, case: str, minutes: float | None, about: dict[str, Any]) -> list[InterviewContact]:
    """The rows of a dated contact list that are about a case."""
    rejected = Rejected(path)
    found = []
    try:
        for number, text, values in read_lines(path, ("from", "to", "at"), ("minutes", "venue"), rejected):
            try:
                found.append(_row(values, case, minutes, about))
            except (ValueError, click.BadParameter) as error:
                reason = error.message if isinstance(error, click.BadParameter) else str(error)
                rejected(BadLine(number, text, reason.rstrip(".")))
    except (FileError, OSError) as error:
        raise click.ClickException(str(error)) from error
    rejected.set_aside()
    if not found:
        raise click.ClickException(f"{path} holds no contact of {case}: the column `from` names the case.")
    return found


def _row(values: tuple[str, ...], case: str, minutes: float | None, about: dict[str, Any]) -> InterviewContact:
    """One row of a dated contact list. Raises ValueError or BadParameter that says what is wrong with it."""
    source, target, at, own_minutes, own_venue = values
    if source != case:
        raise ValueError("`from` is another person than the case")
    if own_minutes:
        minutes = float(own_minutes)
    if minutes is None:
        raise ValueError("it does not say how long they were together: give --minutes")
    start_ms = Date().convert(at, None, None)
    end_ms = start_ms + round(minutes * _MINUTE_MS)
    told = InterviewContact(
        contact=target, start_ms=start_ms, end_ms=end_ms, **{**about, "venue": own_venue or about["venue"]}
    )
    if (wrong := _wrong(told)) is not None:
        raise ValueError(wrong)
    return told

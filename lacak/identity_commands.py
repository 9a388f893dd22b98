"""`lacak identity`: the health office's identity register, for officers. Each command stands in its audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from gateway.keyring import Keyring
from gateway.pseudonyms import Key
from gateway.register import By, Register
from gateway.times import format_time
from lacak.clock import SystemClock
from lacak.key_commands import in_keyring
from lacak.people import about_person, accountable, named, told_identity
from lacak.settings import load_settings


def _in_register(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--register",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="LACAK_IDENTITY",
        show_envvar=True,
        default=lambda: load_settings(need_servers=False).data_dir / "identity",
        show_default="identity in the deployment's folder",
        metavar="FOLDER",
        help="The folder of the register.",
    )(accountable(command))


@contextmanager
def _opened(folder: Path) -> Iterator[Register]:
    try:
        with Register(folder) as register:
            yield register
    except ValueError as error:  # RegisterError, KeyFileError, KeyringError and what is no identity
        raise click.ClickException(str(error)) from error


def _by(officer: str, purpose: str) -> By:
    return By(officer, purpose, SystemClock().now_ms())


@click.group()
def identity() -> None:
    """The identity register: who stands behind which pseudonym, their one-time codes and their cards.

    An officer looks at somebody's papers and registers them; then gives them a one-time code, to type into their
    phone's browser, or a card. docs/identity.md says what is kept, and what ever leaves the register.
    """


@identity.command("register")
@click.option("--key", "key_file", metavar="FILE", required=True, help="The key that makes the pseudonym.")
@click.option("--identity-file", metavar="FILE", help="Read the identity from a file instead of asking for it.")
@_in_register
def register_person(key_file: str, identity_file: str | None, folder: Path, officer: str, purpose: str) -> None:
    """Register somebody whose papers you have seen. Asks for the identity (their national number) without echo."""
    with _opened(folder) as register:
        key = Key.load(key_file)
        person = register.register(told_identity(identity_file), key, _by(officer, purpose))
    click.echo(f"{person} is registered. `lacak identity code {person}` or `card` comes next.")


@identity.command(short_help="Make a one-time code for somebody's browser.")
@about_person
@_in_register
def code(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, folder: Path, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Make a one-time code for PERSON, who types it into their phone's browser. An unused older one is void."""
    who = named(person, identity, identity_file, key_file)
    with _opened(folder) as register:
        issued = register.code(who, _by(officer, purpose))
    click.secho(issued.code, bold=True)
    click.echo(f"Good once, until {_local(issued.until_ms)}. It is nowhere kept: a lost one needs a new one.")


@identity.command(short_help="Make a QR card for somebody without a phone.")
@about_person
@click.option("-o", "--output", required=True, metavar="FILE.pdf", help="Where to write the card, to be printed.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good. Default: 365.")
@in_keyring
@_in_register
def card(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, output: str, days: int | None,
    keys: Path, folder: Path, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Make a card with a QR code for PERSON, who has no phone: staff at doors scan it."""
    from gateway.cards import card as sheet

    who = named(person, identity, identity_file, key_file)
    if Path(output).suffix != ".pdf":
        raise click.UsageError(f"{output}: a card is written as .pdf.")
    with _opened(folder) as register:
        ring, by = Keyring.load(keys), _by(officer, purpose)
        issued = register.issue_card(who, ring, by, days) if days else register.issue_card(who, ring, by)
    try:
        Path(output).write_bytes(sheet(issued.token, issued.serial, issued.until_ms, _zone()).pdf())
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror}. Card {issued.serial} was made: revoke it, or make another."
        ) from error
    click.echo(f"Written: {output}, card {issued.serial}, good until {_local(issued.until_ms)}.")


@identity.command()
@click.argument("serial")
@_in_register
def revoke(serial: str, folder: Path, officer: str, purpose: str) -> None:
    """Revoke the card SERIAL: lost, or no longer that person's."""
    with _opened(folder) as register:
        person = register.revoke_card(serial, _by(officer, purpose))
    click.echo(f"Card {serial} of {person} is revoked; doors know within seconds, those without a network later.")


@identity.command(short_help="Unbind every browser of somebody.")
@about_person
@_in_register
def unbind(
    person: str | None, identity: bool, identity_file: str | None, key_file: str | None, folder: Path, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Unbind every browser of PERSON (a phone lost or sold), and void their codes. Cards stay: see `revoke`."""
    who = named(person, identity, identity_file, key_file)
    with _opened(folder) as register:
        register.unbind(who, _by(officer, purpose))
    click.echo(f"No browser stands for {who} any more; a new one needs a new code.")


@identity.command()
@click.argument("person")
@_in_register
def resolve(person: str, folder: Path, officer: str, purpose: str) -> None:
    """Print the identity behind PERSON: to call or visit a contact. Only the register can say it."""
    with _opened(folder) as register:
        click.echo(register.resolve(person, _by(officer, purpose)))


@identity.command("list")
@_in_register
def list_people(folder: Path, officer: str, purpose: str) -> None:
    """List who is registered, by pseudonym, with the cards that stand."""
    with _opened(folder) as register:
        people = register.people(_by(officer, purpose))
    table = Table(box=None, header_style="bold")
    for name in ("person", "registered", "by", "cards", "code"):
        table.add_column(name, overflow="fold", no_wrap=name == "registered")
    for each in people:
        waits = "waits" if each.code_waits else ""
        table.add_row(each.person, _local(each.registered_ms)[:10], each.officer, " ".join(each.cards), waits)
    Console().print(table if people else "Nobody is registered yet: `lacak identity register`.")


@identity.command()
@click.option("--most", default=100, show_default=True, type=click.IntRange(1), help="How many lines.")
@_in_register
def audit(most: int, folder: Path, officer: str, purpose: str) -> None:
    """Show who did what with the register, newest first."""
    with _opened(folder) as register:
        lines = register.audit(_by(officer, purpose), most)
    table = Table(box=None, header_style="bold")
    for name in ("at", "officer", "action", "person", "purpose"):
        table.add_column(name, overflow="fold", no_wrap=name == "at")
    for line in lines:
        done = f"{line.action} {line.detail}" if line.action in ("card", "revoke card") else line.action
        table.add_row(format_time(line.at_ms)[:16] + "Z", line.officer, done, line.person, line.purpose)
    Console().print(table)


def _zone() -> ZoneInfo:
    return load_settings(need_servers=False).zone_info


def _local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(_zone()).isoformat(" ", "minutes")

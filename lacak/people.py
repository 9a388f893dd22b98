"""How a command is told whom it is about, and by whom it is asked: officer, purpose, person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from contacts.registry import is_name
from gateway.pseudonyms import Key


def accountable(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --officer and --purpose: what shows or decides about a person says who asks, and why."""
    command = click.option(
        "--purpose",
        envvar="LACAK_PURPOSE",
        required=True,
        show_envvar=True,
        help="Why you look; written to the audit.",
    )(command)
    return click.option(
        "--officer",
        envvar="LACAK_OFFICER",
        required=True,
        show_envvar=True,
        help="Who you are; written to the audit.",
    )(command)


def about_person(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds PERSON, or an identity that is asked for or read from a file and made a pseudonym here."""
    command = click.option(
        "--key", "key_file", metavar="FILE", help="With an identity: the key that makes the pseudonym."
    )(command)
    command = click.option(
        "--identity-file", metavar="FILE", help="Read an identity from a file instead of naming PERSON."
    )(command)
    command = click.option(
        "--identity", is_flag=True, help="Ask for an identity, without echo, instead of naming PERSON."
    )(command)
    return click.argument("person", required=False)(command)


def named(person: str | None, identity: bool, identity_file: str | None, key_file: str | None) -> str:
    """The pseudonym or token meant. An identity never stands on a command line, where others can read it."""
    if sum((person is not None, identity, identity_file is not None)) != 1:
        raise click.UsageError("name one: PERSON (a pseudonym), --identity, or --identity-file FILE.")
    if person is not None:
        if not is_name(person):
            raise click.UsageError("a person is 1 to 200 characters, none of them a control character.")
        return person
    if key_file is None:
        raise click.UsageError("an identity needs --key FILE, the key that makes its pseudonym.")
    try:
        return Key.load(key_file).pseudonym(told_identity(identity_file))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def told_identity(identity_file: str | None) -> str:
    """The identity in a file, or asked for without echo."""
    if not identity_file:
        text: str = click.prompt("Identity", hide_input=True)
        return text
    try:
        return Path(identity_file).read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{identity_file} is no text.") from error
    except OSError as error:
        raise click.ClickException(str(error)) from error

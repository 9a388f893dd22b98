"""What the `check` commands have in common: files one after the other, each fault told with its line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from contacts.tomlfaults import Fault


def check_files(files: Iterable[str], read: Callable[[str], Iterable[str]]) -> None:
    """Read files, and print what `read` says of those that can be used. Exits with 1 when one of them cannot.

    `read` takes a file's name, and raises Fault, and OSError or UnicodeDecodeError where it cannot be read.
    """
    bad = False
    for name in files:
        try:
            said = list(read(name))
        except Fault as fault:
            bad = True
            click.echo(f"{name}:{fault.line}: {fault.sentence}", err=True)
        except (OSError, UnicodeDecodeError) as error:
            bad = True
            click.echo(f"{name}: it cannot be read as UTF-8: {error}", err=True)
        else:
            for sentence in said:
                click.echo(sentence)
    if bad:
        sys.exit(1)

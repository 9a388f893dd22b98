"""Where the commands on files write."""

from __future__ import annotations

from collections.abc import Iterable

import click

from gateway.files import FileError, write_rows

OUTPUT = click.option(
    "-o", "--output", required=True, metavar="FILE", help="Where to write; - for standard output, .gz packs."
)


def write(output: str, columns: tuple[str, ...], rows: Iterable[Iterable[object]], what: str) -> None:
    """Write the rows, and say how many of what there are and where."""
    try:
        count = write_rows(output, columns, rows)
    except (FileError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if output != "-":
        click.echo(f"{count} {what} are in {output}.")

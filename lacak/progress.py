"""Progress bars over files, on standard error, only where someone looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.files import BadLine, size_of
from gateway.files import Progress as Told

_SHOWN = 5


@contextmanager
def reading(path: str, what: str) -> Iterator[Told]:
    """A bar that fills as the file is read."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=size_of(path))
        yield lambda read: bar.update(task, completed=read)


class Rejected:
    """Bad lines: the first few are told with their numbers, all are counted and kept to be set aside."""

    def __init__(self, path: str) -> None:
        self.lines: list[BadLine] = []
        self._path = path
        self._console = Console(stderr=True)

    def __call__(self, line: BadLine) -> None:
        self.lines.append(line)
        if len(self.lines) <= _SHOWN:
            where = "standard input" if self._path == "-" else self._path
            self._console.print(
                f"{where}, line {line.number}: {line.reason}",
                style="yellow",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def set_aside(self) -> bool:
        """Write the bad lines, as they were, beside the file, and say so; whether there were any."""
        if not self.lines:
            return False
        if len(self.lines) > _SHOWN:
            self._console.print(f"... and {len(self.lines) - _SHOWN} more", style="yellow")
        name = "standard-input.rejected" if self._path == "-" else f"{self._path}.rejected"
        with open(name, "w", encoding="utf-8") as file:
            file.writelines(f"{line.text}\n" for line in self.lines)
        lines = "1 line was" if len(self.lines) == 1 else f"{len(self.lines)} lines were"
        click.echo(f"{lines} set aside in {name}.", err=True)
        return True

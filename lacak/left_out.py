"""Records of a topic that a command cannot take: left out, counted, and told in a line."""

from __future__ import annotations

import click

from streams.reader import ReadRecord


class LeftOut:
    """The records of one topic that nobody can take: the agents have set them aside as dead letters."""

    def __init__(self, topic: str) -> None:
        self.count = 0
        self._topic = topic
        self._first = ""

    def add(self, record: ReadRecord, error: Exception) -> None:
        """One more, and why."""
        self.count += 1
        self._first = self._first or f"partition {record.partition}, offset {record.offset}: {error}"

    def tell(self) -> None:
        """Say on stderr how many there are, and where and why the first is; nothing where there is none."""
        if self.count:
            some = "1 record is" if self.count == 1 else f"{self.count} records are"
            click.secho(
                f"{some} left out of the topic {self._topic} ({'the first: ' * (self.count > 1)}{self._first}). "
                "`lacak dead-letters list` has what was set aside.",
                fg="yellow",
                err=True,
            )

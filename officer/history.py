"""What was known of a trace when: its versions, and what each changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rich.table import Table

from schemas.messages import Trace


class Version(NamedTuple):
    """A report of a trace as it was told once: when it was made, and the log time at which it was cut."""

    made: datetime
    as_of: datetime | None
    report: Trace


class Step(NamedTuple):
    """A version beside the one before it: who came, who went, and of whom something else is said."""

    made: datetime
    as_of: datetime | None
    state: str
    revision: int
    contacts: int
    came: list[str]
    gone: list[str]
    changed: list[str]


def steps(versions: Sequence[Version]) -> list[Step]:
    """What each version changed."""
    found = []
    before: dict[str, object] = {}
    for made, as_of, report in versions:
        now: dict[str, object] = {contact.person: contact for contact in report.contacts}
        came, gone = sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys())
        changed = sorted(person for person in now.keys() & before.keys() if now[person] != before[person])
        found.append(Step(made, as_of, report.state, report.revision, len(now), came, gone, changed))
        before = now
    return found


def to_table(versions: Sequence[Version], zone: ZoneInfo) -> Table:
    """The versions for the terminal: `+` who came, `-` who went, `~` of whom minutes, evidence or grade changed."""
    table = Table(box=None, header_style="bold")
    for name in ("made", "as of", "state", "revision"):
        table.add_column(name, no_wrap=True)
    table.add_column("contacts", justify="right", no_wrap=True)
    table.add_column("what changed", overflow="fold")
    for step in steps(versions):
        signs = (("+", step.came), ("-", step.gone), ("~", step.changed))
        words = [f"{sign}{person}" for sign, people in signs for person in people]
        table.add_row(
            _local(step.made, zone),
            _local(step.as_of, zone) if step.as_of else "",
            step.state,
            str(step.revision),
            str(step.contacts),
            " ".join(words),
        )
    return table


def _local(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")

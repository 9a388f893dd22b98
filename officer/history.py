"""What was known of a trace when: its versions, and what each changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.messages import Trace

_SHOWN = 10


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


def to_text(versions: Sequence[Version], zone: ZoneInfo) -> str:
    """The versions for the terminal: `+` who came, `-` who went, `~` of whom minutes, evidence or grade changed."""
    lines = []
    for step in steps(versions):
        of = f"as of {_local(step.as_of, zone)}  " if step.as_of else ""
        lines.append(f"{_local(step.made, zone)}  {of}{step.state}, revision {step.revision}, {step.contacts} contacts")
        for sign, people in (("+", step.came), ("-", step.gone), ("~", step.changed)):
            lines += [f"    {sign}{person}" for person in people[:_SHOWN]]
            if len(people) > _SHOWN:
                lines.append(f"    {sign} {len(people) - _SHOWN} more (--json lists all)")
    return "\n".join([*lines, "+ came, - went, ~ minutes, evidence or grade changed"])


def _local(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")

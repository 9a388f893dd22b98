"""The counts of runs, as docs/bad-input.md has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.flood.ledger import Row
from tests.flood.memory import TENTHS, Held
from tests.flood.requests import Refusal
from tests.flood.running import Outcome

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"
_BEGIN, _END = "<!-- counts: begin -->", "<!-- counts: end -->"


class Part(msgspec.Struct):
    """What one run came to, as it is kept."""

    broker: str
    seed: int
    count: int
    sent: int
    letters: int
    seconds: float
    rows: list[Row]
    refusals: list[tuple[Refusal, int]]
    sending_seconds: float
    memory: dict[str, Held]
    faults: list[str]

    @classmethod
    def of(cls, outcome: Outcome, broker: str, seed: int, count: int) -> Part:
        """That of an outcome."""
        ledger = outcome.ledger
        return cls(
            broker, seed, count, ledger.sent + outcome.caller.counts.total(), ledger.letters, outcome.seconds,
            ledger.rows(), sorted(outcome.caller.counts.items()), outcome.sending_seconds, outcome.memory,
            outcome.faults,
        )  # fmt: skip


def by_topic(parts: Sequence[Part]) -> list[tuple[str, int, str]]:
    """Of each topic: how many bad records, and the reasons they were set aside for, most first."""
    topics: dict[str, Counter[str]] = {}
    for part in parts:
        for row in part.rows:
            topics.setdefault(row.topic, Counter())[row.reason] += row.count
    return [(topic, counts.total(), _told(counts)) for topic, counts in sorted(topics.items())]


def by_kind(parts: Sequence[Part]) -> list[tuple[str, int, str]]:
    """The same of each kind of fault, over all topics."""
    kinds: dict[str, Counter[str]] = {}
    for part in parts:
        for row in part.rows:
            kinds.setdefault(row.kind, Counter())[row.reason] += row.count
    return [(kind, counts.total(), _told(counts)) for kind, counts in sorted(kinds.items())]


def by_route(parts: Sequence[Part]) -> list[tuple[str, int, str]]:
    """Of each endpoint: how many bad requests, and the kinds of problem they were answered with."""
    routes: dict[str, Counter[str]] = {}
    for part in parts:
        for refusal, count in part.refusals:
            routes.setdefault(refusal.route, Counter())[refusal.kind] += count
    return [(route, counts.total(), _told(counts)) for route, counts in sorted(routes.items())]


def write(parts: Sequence[Part], page: Path = PAGE) -> None:
    """Put the counts into the page, in place of those before."""
    text = page.read_text("utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    page.write_text(f"{head}{_BEGIN}\n\n{_counts(parts)}\n{_END}{tail}", encoding="utf-8")


def _counts(parts: Sequence[Part]) -> str:
    sent, letters, seconds = (sum(getattr(part, name) for part in parts) for name in ("sent", "letters", "seconds"))
    seeds = ", ".join(str(part.seed) for part in parts)
    pace = sent / max(sum(part.sending_seconds for part in parts), 1.0)
    faults = sum(len(part.faults) for part in parts)
    brokers = " and ".join(sorted({part.broker for part in parts}))
    lines = [
        f"{sent:,} bad inputs on {brokers} (seeds {seeds}), {letters:,} dead letters, {seconds / 60:.0f} minutes, "
        f"{pace:,.0f} a second while they were sent, {faults} faults.",
        "",
        *(f"- seed {part.seed}: {fault}" for part in parts for fault in part.faults),
        "",
        *_table(("topic", "bad records", "reasons"), by_topic(parts)),
        "",
        *_table(("kind", "bad records", "reasons"), by_kind(parts)),
        "",
        *_table(("endpoint", "bad requests", "problems"), by_route(parts)),
        "",
        *memory_table(parts),
    ]
    return "\n".join(lines) + "\n"


def memory_table(parts: Sequence[Part]) -> list[str]:
    """The memory of each process over what was sent: of each tenth the most over the runs."""
    per_run = max((part.sent for part in parts), default=0)
    head = [f"{tenth + 1}0 %" for tenth in range(TENTHS)]
    lines = [
        f"Resident memory of each process in MB, against how much of a run (of {per_run:,} bad inputs at most) had",
        "been sent: the middle within each tenth, the most over the runs. The last column is the slope over the second",
        "half of a run, in MB for each 100,000 further inputs, the least and the most over the runs.",
        "",
        f"| process | start | {' | '.join(head)} | most | slope |",
        f"|---|{'---|' * (TENTHS + 3)}",
    ]
    for name in sorted({name for part in parts for name in part.memory}):
        held = [part.memory[name] for part in parts if name in part.memory]
        tenths = [max(column) for column in zip(*(each.tenths for each in held), strict=True)]
        slopes = sorted(each.slope for each in held)
        numbers = [max(each.start for each in held), *tenths, max(each.most for each in held)]
        told = f"{slopes[0]:+.1f}" if len(slopes) == 1 else f"{slopes[0]:+.1f} to {slopes[-1]:+.1f}"
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} | {told} |")
    return lines


def _table(head: tuple[str, str, str], rows: Sequence[tuple[str, int, str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |", "|---|---|---|", *(f"| {name} | {count:,} | {told} |" for name, count, told in rows)
    ]  # fmt: skip


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"`{reason}` {count:,}" for reason, count in counts.most_common())

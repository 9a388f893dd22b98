"""The picture of `lacak top` as text: tables that fit 80 columns, red for what is gone, yellow for what waits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lacak.picture import Picture, Process, Stage
from officer.store import Inside
from streams.settings import Settings

_OLD_BEATS: Final = 3
"""A heartbeat is old when so many more should have come since."""

_WAITS_SECONDS: Final = 5.0
_YOUNG_SECONDS: Final = 60.0
_WORDS: Final = {"gone": "GONE: nothing listens where it was", "silent": "SILENT: it listens and does not answer"}
_BAR: Final = 10
_PLACES_LEAST: Final = 3
_PLACES_ONCE: Final = 8


class Looked(Protocol):
    """What is known besides the metrics."""

    @property
    def silent_brokers(self) -> tuple[str, ...]:
        """Brokers that nothing listens at."""
        ...

    @property
    def places(self) -> tuple[Inside, ...]:
        """The fullest places."""
        ...

    @property
    def database_fault(self) -> str:
        """What is wrong with the database; empty: nothing."""
        ...


def view(found: Picture, outside: Looked, settings: Settings, width: int, height: int | None) -> Group:
    """The picture for a terminal of so many columns and, where it is live, lines."""
    old = _OLD_BEATS * settings.heartbeat_seconds if settings.heartbeat_seconds > 0 else None
    parts: list[RenderableType] = [_head(settings), *_verdict(found, outside, old), Text()]
    parts += [
        _stages(found.stages, old),
        Text(),
        _latencies(found),
        *_counts(found),
        Text(),
        _processes(found.processes),
    ]
    lines = 10 + len(found.stages) + len(found.processes) + len(found.letters[:3])
    room = _PLACES_ONCE if height is None else max(height - lines - 4, _PLACES_LEAST)
    if outside.places:
        parts += [Text(), _places(outside.places[:room], width)]
    return Group(*parts)


def _head(settings: Settings) -> Text:
    clock = "" if settings.clock == "live" else f" · clock: {settings.clock}"
    brokers = f" · brokers {settings.brokers}" if settings.brokers else ""
    return Text.assemble((f"Lacak {settings.deployment}", "bold"), time.strftime(" · %H:%M:%S"), clock, brokers)


def _verdict(found: Picture, outside: Looked, old: float | None) -> Iterator[Text]:
    """What is wrong, worst first; or that all is well."""
    wrong = list(_faults(found, outside, old))
    if wrong:
        yield from (Text(f"▲ {line}", style="bold red") for line in wrong)
        return
    recovering = [each.name for each in found.processes if each.recovery is not None]
    if recovering:
        yield Text(f"● catching up: {', '.join(recovering)}", style="yellow")
        return
    joining = [each.name for each in found.processes if _joins(each)]
    if joining:
        yield Text(f"● alive, but {', '.join(joining)} has no partitions yet", style="yellow")
        return
    beats = [stage.heartbeat_seconds for stage in found.stages if stage.heartbeat_seconds is not None]
    age = f": the oldest heartbeat anywhere is {_age(max(beats))}" if beats else ""
    yield Text(f"● alive{age}", style="green")


def _joins(process: Process) -> bool:
    """Whether a worker has only just started."""
    young = process.up_seconds is not None and process.up_seconds < _YOUNG_SECONDS
    return not process.fault and process.stage != "gateway" and not process.partitions and young


def _faults(found: Picture, outside: Looked, old: float | None) -> Iterator[str]:
    if outside.silent_brokers:
        yield f"no broker listens at {', '.join(outside.silent_brokers)}: nothing moves until it is back"
    if outside.database_fault:
        yield "PostgreSQL does not answer: nothing is recorded until it is back"
    elif found.database_connected is False:
        yield "the recorder has no connection to PostgreSQL"
    lost = [each for each in found.processes if each.fault]
    for each in lost:
        yield f"{each.name} is {each.fault}: its partitions wait for it or for another worker"
    beating = [each for each in (*found.stages[1:], *found.stages[:1]) if each.heartbeat_seconds is not None]
    late = [each for each in beating if old is not None and (each.heartbeat_seconds or 0.0) > old]
    if late and not lost and not outside.silent_brokers:
        first, age = late[0].name, _age(late[0].heartbeat_seconds)
        if len(late) == len(beating):
            yield f"everything stands still, {age} by now: the brokers do not answer, or no visits worker runs"
        else:
            behind = ", ".join(each.name for each in late[1:])
            yield f"{first} stands still: its heartbeat is {age} old" + (
                f" (and so behind it: {behind})" if behind else ""
            )


def _stages(stages: Sequence[Stage], old: float | None) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("stage", min_width=8)
    for name, width in (("here", 5), ("in/s", 7), ("out/s", 7), ("lag", 7), ("lag s", 6), ("batch", 7), ("beat", 6)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for each in stages:
        style = "red" if each.missing else ""
        waits = "yellow" if each.lag_seconds > _WAITS_SECONDS else ""
        late = old is not None and (each.heartbeat_seconds or 0.0) > old
        table.add_row(
            Text(each.name, style=style),
            Text(f"{each.alive}/{each.alive + each.missing}", style=style),
            _number(each.in_rate),
            _number(each.out_rate),
            Text(_number(each.lag), style=waits),
            Text("-" if each.lag is None else f"{each.lag_seconds:.1f}", style=waits),
            "" if each.batch_seconds is None else _time(each.batch_seconds),
            Text("" if each.heartbeat_seconds is None else _age(each.heartbeat_seconds), style="red" if late else ""),
        )
    return table


def _latencies(found: Picture) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(no_wrap=True)
    for name, took in (
        ("scan to count", found.to_count),
        ("test to report", found.to_report),
        ("test to door", found.to_door),
    ):
        if took is None:
            table.add_row(Text(name, style="bold"), "-", "", Text("nothing measured yet", style="dim"))
        else:
            since = "lately" if took.lately else "since the start"
            row = _time(took.half), f"99 %: {_time(took.most)}", Text(f"of {took.of:,}, {since}", style="dim")
            table.add_row(Text(name, style="bold"), *row)
    return table


def _counts(found: Picture) -> Iterator[Text]:
    states = ", ".join(f"{count} {state}" for state, count in found.traces) or "none"
    line = Text.assemble(("inside ", "bold"), f"{found.inside:,}   ", ("traces ", "bold"), states)
    yield line
    letters = found.letters
    total = sum(count for _, _, count in letters)
    text = Text.assemble(("dead letters ", "bold"), f"{total:,}", style="yellow" if total else "")
    if letters:
        text.append(": " + ", ".join(f"{topic} {reason} {count:,}" for topic, reason, count in letters[:3]))
    yield text


def _processes(processes: Sequence[Process]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("process", no_wrap=True, min_width=11)
    for name, width in (("cpu", 5), ("memory", 8), ("up", 7)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("partitions", overflow="fold")
    for each in processes:
        if each.fault:
            table.add_row(
                Text(each.name, style="bold red"),
                "",
                "",
                "",
                Text(_WORDS.get(each.fault, each.fault), style="bold red"),
            )
            continue
        held = Text(_held(each)) if not _joins(each) else Text("none yet: it joins its group", style="yellow")
        if each.recovery is not None:
            held.append(f" catching up: {each.recovery:.0%}", style="yellow")
        young = each.up_seconds is not None and each.up_seconds < _YOUNG_SECONDS
        table.add_row(
            each.name,
            "" if each.cpu is None else f"{each.cpu:.0%}",
            "" if each.memory is None else f"{each.memory / 2**20:,.0f} MiB",
            Text("" if each.up_seconds is None else _age(each.up_seconds), style="yellow" if young else ""),
            held,
        )
    return table


def _held(process: Process) -> str:
    """The partitions, those of several topics in few words where they are the same."""
    numbers: dict[tuple[int, ...], list[str]] = {}
    for topic, held in process.partitions:
        numbers.setdefault(held, []).append(topic)
    parts = []
    for held, topics in numbers.items():
        name = topics[0] if len(topics) == 1 else f"{len(topics)} topics"
        parts.append(f"{name} {_ranges(held)}")
    return ", ".join(parts)


def _ranges(numbers: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _places(places: Sequence[Inside], width: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("fullest places", no_wrap=True, width=max(width - 2 * 8 - _BAR - 8, 30), overflow="ellipsis")
    for name in ("inside", "allowed"):
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    table.add_column("", no_wrap=True, min_width=_BAR)
    for row in places:
        share = row.inside / row.allowed if row.allowed else 0.0
        colour = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
        name = f"{row.venue} {row.name}" if row.name and row.name != row.venue else row.venue
        allowed = "" if row.allowed is None else f"{row.allowed:,}"
        table.add_row(name, f"{row.inside:,}", allowed, Text("█" * min(_BAR, round(share * _BAR)), style=colour))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

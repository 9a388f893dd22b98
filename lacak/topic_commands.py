"""`lacak topics` and `lacak tail`: what is on the broker."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from lacak.people import accountable
from lacak.settings import load_settings
from officer.store import Store, StoreError
from schemas.blocks import BlockError
from streams.reader import ReadRecord, decode_record, read_topic, true_ends
from streams.topics import TopicError, TopicFound, look_at_topics

_DAY_MS = 86_400_000
_SHOWN_ROWS = 20


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def topics(as_json: bool) -> None:
    """Show every topic: partitions, records, how long it is kept, what it carries; and what is not as it should be.

    Kept `newest`: the newest record of each key stays.

    Exit code 1 says that a topic is missing or differs from the settings.
    """
    settings = load_settings("operator")
    try:
        found = look_at_topics(settings)
        there = [each for each in found if each.partitions]
        readable = {each.spec.name for each in there if each.readable}
        ends = true_ends(settings, [each.spec.name for each in there], readable)
    except (TopicError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        rows = [_plain(each, ends.get(each.spec.name, 0)) for each in found]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)).decode())
    else:
        table = Table(box=None, header_style="bold")
        for name in ("topic", "parts", "records", "kept", "carries"):
            right, width = name in ("parts", "records"), 22 if name == "carries" else None
            table.add_column(
                name, justify="right" if right else "left", no_wrap=right, overflow="fold", min_width=width
            )
        for each in found:
            records = f"{ends.get(each.spec.name, 0):,}"
            table.add_row(each.spec.name, str(each.partitions), records, _kept(each), _briefly(each.spec.about))
        Console().print(table)
    faults = [fault for each in found for fault in each.faults]
    for fault in faults:
        click.secho(fault, fg="red", err=True)
    if faults:
        sys.exit(1)


def _kept(found: TopicFound) -> str:
    spec = found.spec
    if "delete" not in spec.cleanup:
        return "newest"
    days = f"{spec.retention_ms / _DAY_MS:g} days"
    return f"newest, {days}" if "compact" in spec.cleanup else days


def _briefly(about: str) -> str:
    """The beginning of what is said of a topic: docs/messages.md and --json say all of it."""
    return re.split(r"[:,;.]", about)[0]


def _plain(found: TopicFound, records: int) -> dict[str, Any]:
    return {
        "topic": found.spec.name,
        "partitions": found.partitions,
        "records": records,
        "cleanup": found.spec.cleanup,
        "retention_ms": found.spec.retention_ms,
        "carries": found.spec.about,
        "faults": found.faults,
    }


@click.command()
@click.argument("topic")
@click.option("-n", "--number", default=10, show_default=True, type=click.IntRange(0), help="How many of the newest.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--from-start", is_flag=True, help="All there is, not only the newest.")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@accountable
def tail(
    topic: str, number: int, follow: bool, from_start: bool, partition: int | None, as_json: bool, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Print the newest records of a TOPIC, blocks decoded. Topics carry people's data: this is audited.

    Of a block the first rows are printed; with --json all of them.
    """
    settings = load_settings("inspector")
    wanted = None if partition is None else [partition]
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, f"tail {topic}")
        newest: list[ReadRecord] = []
        for record in read_topic(settings, topic, partitions=wanted):
            if from_start:
                _say(record, as_json)
                continue
            newest.append(record)
            if len(newest) > 2 * number + 100:
                newest = sorted(newest, key=_when)[len(newest) - number :]
        for record in sorted(newest, key=_when)[max(len(newest) - number, 0) :]:
            _say(record, as_json)
        if follow:
            for record in read_topic(settings, topic, partitions=wanted, at_end=True):
                _say(record, as_json)
    except (KafkaError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return


def _when(record: ReadRecord) -> tuple[int, int, int]:
    return record.timestamp_ms, record.partition, record.offset


def _say(record: ReadRecord, as_json: bool) -> None:
    try:
        content = decode_record(record.value)
    except BlockError as error:
        content = {"undecodable": str(error), "bytes": repr((record.value or b"")[:200])}
    if as_json:
        line = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "key": (record.key or b"").decode("utf-8", "replace"),
            "value": content,
        }
        click.echo(msgspec.json.encode(line, enc_hook=str).decode())
        return
    at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    rows: list[Any] = []
    if isinstance(content, dict):
        content = dict(content)
        for name in ("rows", "scans", "controls"):
            if isinstance(content.get(name), list):
                listed = content[name]
                content[name] = len(listed)
                rows += [(name, each) for each in listed]
    click.echo(f"{at}  {record.partition}/{record.offset}  {_line(content)}")
    for name, each in rows[:_SHOWN_ROWS]:
        click.echo(f"    {name[:-1]}: {_line(each)}")
    if len(rows) > _SHOWN_ROWS:
        click.echo(f"    ... and {len(rows) - _SHOWN_ROWS:,} more; --json prints all")


def _line(content: Any) -> str:
    return msgspec.json.encode(content, enc_hook=str).decode()

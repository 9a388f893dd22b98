"""`lacak dead-letters`: what could not be accepted, why, and sending it again."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from lacak.people import accountable
from lacak.settings import load_settings
from officer.store import Store, StoreError
from schemas.blocks import SCAN_BLOCKS, SCANS_MAGIC, BlockError, scan_of, unframe
from schemas.bounds import UNDECODABLE
from schemas.catalogue import JSON_TOPICS
from schemas.messages import DeadLetter, Scan
from schemas.partitions import partition_of
from streams.clients import producer
from streams.reader import decode_record, read_topic
from streams.settings import Settings

_SHOWN = 20


class Refused(ValueError):
    """A letter that would come back at once; the message says why."""


class Again(NamedTuple):
    """A record to be sent again."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


@click.group("dead-letters")
def dead_letters() -> None:
    """What could not be accepted: list it with the reasons, look at one, send it again.

    Letters are kept for seven days. They hold people's data: every look is audited.
    """


@dead_letters.command("list")
@click.option("--reason", help="Only those with this reason.")
@click.option("--limit", default=_SHOWN, show_default=True, type=click.IntRange(1), help="How many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@accountable
def list_letters(reason: str | None, limit: int, as_json: bool, officer: str, purpose: str) -> None:
    """List the newest letters, and how many there are of each reason."""
    settings = load_settings("inspector")
    _audit(settings, officer, purpose, "dead-letters list")
    found = [letter for letter in _letters(settings) if reason in (None, letter.reason)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found[:limit])).decode())
        return
    if not found:
        click.echo("There are no dead letters." if reason is None else f"There are none with the reason {reason!r}.")
        return
    for name, count in Counter(letter.reason for letter in found).most_common():
        click.echo(f"{count:>8,}  {name}")
    table = Table(box=None, header_style="bold")
    for name in ("letter", "when", "reason", "detail"):
        table.add_column(name, no_wrap=name == "when", overflow="fold")
    for letter in found[:limit]:
        table.add_row(letter.letter_id, _time(letter.at_ms), letter.reason, letter.detail)
    Console().print(table)


@dead_letters.command(short_help="Show all of a letter, its bytes decoded.")
@click.argument("letter_id", metavar="LETTER")
@accountable
def show(letter_id: str, officer: str, purpose: str) -> None:
    """Show all of a LETTER: where it came from, why it was set aside, and its bytes, decoded where they can be."""
    settings = load_settings("inspector")
    _audit(settings, officer, purpose, f"dead-letters show {letter_id}")
    letter = _one(settings, letter_id)
    click.echo(f"{letter.letter_id}  {_time(letter.at_ms)}\n{letter.reason}: {letter.detail}")
    click.echo(f"key: {(letter.key or b'').decode('utf-8', 'replace')}")
    try:
        content = decode_record(letter.value)
    except BlockError:
        for start in range(0, min(len(letter.value), 4096), 16):
            part = letter.value[start : start + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
            click.echo(f"{start:08x}  {part.hex(' '):<47}  {text}")
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(content, enc_hook=str)).decode())


@dead_letters.command(short_help="Send letters again, to the topic they came from.")
@click.argument("letter_ids", metavar="[LETTER]...", nargs=-1)
@click.option("--reason", help="All with this reason.")
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.option("--force", is_flag=True, help="Also what would come back at once.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@accountable
def replay(
    letter_ids: tuple[str, ...], reason: str | None, everything: bool, force: bool, yes: bool, officer: str,
    purpose: str,
) -> None:  # fmt: skip
    """Send letters again, to the topic they came from; what was put right meanwhile is accepted now.

    A scan goes to the partition of its person, wherever it was found. Of a block only the row that was set aside is
    sent, as a message of its own. A letter may be sent again twice: the same scan counts once.
    """
    settings = load_settings("inspector")
    if not (letter_ids or reason or everything):
        raise click.UsageError("name letters, or give --reason or --all.")
    if letter_ids:
        found = [_one(settings, each) for each in letter_ids]
    else:
        found = [letter for letter in _letters(settings) if reason in (None, letter.reason)]
    if len(found) > 1 and not yes:
        click.confirm(f"Send {len(found)} letters again?", abort=True)
    _audit(settings, officer, purpose, f"dead-letters replay {len(found)}")
    records: list[Again] = []
    left = 0
    for letter in found:
        try:
            again = resent(letter, settings, force=force)
        except Refused as error:
            left += 1
            click.echo(f"{letter.letter_id} is left: {error}", err=True)
        else:
            records.append(again)
            click.echo(f"{letter.letter_id} goes to {again.topic}, partition {again.partition}.")
    _send(settings, records)
    click.echo(f"{len(records)} sent again, {left} left.")
    if left:
        sys.exit(3)


def resent(letter: DeadLetter, settings: Settings, *, force: bool = False) -> Again:
    """The record that sends a letter again. Raises Refused where it would only come back."""
    if letter.size is not None:
        raise Refused(f"the letter holds only the first {len(letter.value)} of its {letter.size} bytes.")
    if letter.topic == "scans":
        scan = _scan(letter)
        if scan is not None:
            home = partition_of(scan.person, settings.partitions.scans)
            return Again("scans", home, scan.person.encode(), msgspec.json.encode(scan))
    elif letter.topic in JSON_TOPICS:
        try:
            msgspec.json.decode(letter.value, type=JSON_TOPICS[letter.topic])
        except UNDECODABLE:
            pass
        else:
            return Again(letter.topic, letter.partition, letter.key, letter.value)
    if not force:
        raise Refused("its bytes are not a message of its topic; --force sends them as they are.")
    return Again(letter.topic, letter.partition, letter.key, letter.value)


def _scan(letter: DeadLetter) -> Scan | None:
    """The scan a letter is about; None where its bytes hold none."""
    try:
        if letter.value[:4] != SCANS_MAGIC:
            return msgspec.json.decode(letter.value, type=Scan)
        return scan_of(unframe(SCANS_MAGIC, letter.value, SCAN_BLOCKS), letter.row)
    except (*UNDECODABLE, BlockError, ValueError, IndexError):
        return None


def _letters(settings: Settings) -> list[DeadLetter]:
    """The letters, newest first, each id once."""
    found: dict[str, DeadLetter] = {}
    unread = 0
    try:
        for record in read_topic(settings, "dead-letters"):
            try:
                letter = msgspec.json.decode(record.value or b"", type=DeadLetter)
            except UNDECODABLE:
                unread += 1
                continue
            found.setdefault(letter.letter_id, letter)
    except KafkaError as error:
        raise click.ClickException(str(error)) from error
    if unread:
        click.echo(f"{unread} records of the topic dead-letters are no letters, and are left out.", err=True)
    return sorted(found.values(), key=lambda letter: -letter.at_ms)


def _one(settings: Settings, letter_id: str) -> DeadLetter:
    for letter in _letters(settings):
        if letter.letter_id == letter_id:
            return letter
    raise click.ClickException(f"There is no letter {letter_id!r}: `lacak dead-letters list` shows those there are.")


def _send(settings: Settings, records: list[Again]) -> None:
    if not records:
        return
    try:
        with producer(settings) as client:
            sent = [
                client.send(settings.topic(each.topic), value=each.value, key=each.key, partition=each.partition)
                for each in records
            ]
            for future in sent:
                future.get(timeout=30)
    except KafkaError as error:
        raise click.ClickException(str(error)) from error


def _audit(settings: Settings, officer: str, purpose: str, action: str) -> None:
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, action)
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _time(at_ms: int) -> Any:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

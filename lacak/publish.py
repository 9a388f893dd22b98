"""`lacak publish`: a file of scans into the topic `scans`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

import click
import msgspec

from gateway.client import Gateway, GatewayError
from gateway.files import FileError, format_time, read_scans
from gateway.pseudonyms import Key, KeyFileError
from lacak.clock import SystemClock
from lacak.progress import Rejected, reading
from lacak.settings import load_settings
from schemas.messages import Scan
from streams.settings import DAY_MS, Settings

_CHUNK = 5_000
_CHUNK_SECONDS = 0.25
SOME_REJECTED = 3
"""Exit code: published, but some lines were set aside."""


class Published(msgspec.Struct):
    """What a run published: how many, and the first and last event time (ms)."""

    scans: int = 0
    first_ms: int = 1 << 62
    last_ms: int = -(1 << 62)


@click.command()
@click.argument("file")
@click.option("--single", is_flag=True, help="One JSON message a scan instead of blocks: what simple gateways send.")
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False),
    help="Persons in the file are identities: make pseudonyms with this key.",
)
@click.option("--rate", type=click.FloatRange(min=0.1), help="At most so many scans a second.")
@click.option(
    "--final/--no-final",
    default=None,
    help="End the run: move log time past the last possible end. Default under the clock `file`.",
)
def publish(file: str, single: bool, key_file: str | None, rate: float | None, final: bool | None) -> None:
    """Publish a FILE of scans: CSV or NDJSON, gzip or not, - for standard input.

    Columns (any order, others are ignored): person, venue, kind (in, out or refused), at (RFC 3339 with an offset, or
    integer milliseconds); and, if you have them, scan_id, gateway, arrived_at.

    A bad line is told with its number and set aside in FILE.rejected; the rest goes on. Exit code 3 says there were
    some.
    """
    settings = load_settings("publisher")
    rejected = Rejected(file)
    began = time.monotonic()
    done = Published()
    try:
        key = Key.load(key_file) if key_file else None
        with (
            Gateway(settings.broker_access, key=key, topic=settings.topic("scans"), blocks=not single) as gateway,
            reading(file, "publishing") as progress,
        ):
            scans = as_arrived(settings, read_scans(file, rejected, progress, gateway.check))
            for chunk in chunks(scans, min(_CHUNK, max(1, int((rate or _CHUNK) * _CHUNK_SECONDS))), _CHUNK_SECONDS):
                note(done, chunk)
                gateway.publish(chunk)
                if rate is not None:
                    time.sleep(max(0.0, done.scans / rate - (time.monotonic() - began)))
            if done.scans and (final if final is not None else settings.clock == "file"):
                gateway.end_run(done.last_ms + 2 * DAY_MS)
    except (FileError, OSError, KeyFileError, GatewayError) as error:
        raise click.ClickException(str(error)) from error
    report = gateway.report
    seconds = time.monotonic() - began
    click.echo(f"{report} in {seconds:.1f} s ({report.acknowledged / max(seconds, 1e-9):,.0f}/s).")
    _say_if_old(settings, done)
    aside = rejected.set_aside()
    if report.failed:
        raise click.ClickException(
            f"{report.failed} scans were not acknowledged. Publish the file again: what is there already does nothing "
            "twice."
        )
    if aside:
        sys.exit(SOME_REJECTED)


def as_arrived(settings: Settings, scans: Iterable[Scan]) -> Iterator[Scan]:
    """Under the clock `file` a scan that says nothing else arrived when it happened."""
    for scan in scans:
        if settings.clock == "file" and scan.arrived_at_ms is None:
            yield msgspec.structs.replace(scan, arrived_at_ms=scan.at_ms)
        else:
            yield scan


def chunks(scans: Iterable[Scan], size: int = _CHUNK, seconds: float = float("inf")) -> Iterator[list[Scan]]:
    """The scans, `size` at a time, or as many as have come within `seconds` when one more comes."""
    chunk: list[Scan] = []
    for scan in scans:
        if not chunk:
            began = time.monotonic()
        chunk.append(scan)
        if len(chunk) >= size or time.monotonic() - began >= seconds:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def note(done: Published, chunk: list[Scan]) -> None:
    """Keep count of what goes out."""
    done.scans += len(chunk)
    done.first_ms = min(done.first_ms, min(scan.at_ms for scan in chunk))
    done.last_ms = max(done.last_ms, max(scan.at_ms for scan in chunk))


def _say_if_old(settings: Settings, done: Published) -> None:
    if not done.scans or settings.clock != "live":
        return
    now_ms = SystemClock().now_ms()
    if now_ms - done.first_ms > settings.retention_ms:
        click.echo(
            f"The oldest scan is of {format_time(done.first_ms)}: what is older than the retention "
            f"({settings.times.retention_days:g} days) becomes dead letters, or is forgotten at once if the file says "
            "when it arrived. To run history as if it were happening: `lacak down`, then `LACAK_CLOCK=file lacak up`.",
            err=True,
        )
    elif now_ms - done.first_ms > settings.horizon_ms:
        click.echo(
            f"The oldest scan is of {format_time(done.first_ms)}: what is more than "
            f"{settings.times.horizon_days:g} days late stands alone, marked `late`. "
            "To run history as if it were happening: `lacak down`, then `LACAK_CLOCK=file lacak up`.",
            err=True,
        )

"""`lacak health import`: FHIR files and lists of facts into the topics `test-results` and `health-records`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

import click
import msgspec
from kafka.errors import KafkaError
from rich.console import Console

from contacts.registry import is_name
from gateway.fhir import About, Reader
from gateway.fhir_codes import CodesError, load_codes
from gateway.fhir_files import Fault, is_json, read_entries
from gateway.files import FileError
from gateway.health_rows import read_facts
from gateway.pseudonyms import Key, KeyFileError
from lacak.clock import SystemClock
from lacak.people import accountable
from lacak.progress import reading
from lacak.publish import SOME_REJECTED
from lacak.settings import load_settings
from officer.store import Store, StoreError
from schemas.health import HealthRecord
from schemas.keys import health_key
from schemas.messages import TestResult
from schemas.partitions import partition_of
from streams.clients import producer
from streams.settings import Settings

_SHOWN = 5
_FLUSH_SECONDS = 120
_CALLED = {
    "patients": "patients",
    "reports": "reports of results",
    "tests": "test results",
    "VaccinationFact": "vaccinations",
    "RecoveryFact": "recoveries",
    "PersonFact": "age bands",
    "TravelFact": "travels",
    "preliminary": "preliminary, left out",
    "no result": "without a result, left out",
    "superseded": "older versions, left out",
    "other": "of other kinds, passed over",
    "refused": "refused",
}

Told = HealthRecord | TestResult


class _Refused:
    """The faults of one file: the first few are told, all are written beside it, without a word of what it holds."""

    def __init__(self, path: str) -> None:
        self.faults: list[str] = []
        self._path = path

    def __call__(self, fault: Fault) -> None:
        line = f"line {fault.line}: " if fault.line else ""
        self.faults.append(f"{line}{fault.path}{': ' if fault.path else ''}{fault.reason}")
        if len(self.faults) <= _SHOWN:
            words = f"{self._path}, {self.faults[-1]}"
            Console(stderr=True).print(words, style="yellow", highlight=False, markup=False, soft_wrap=True)

    def write(self) -> bool:
        """Write them into FILE.refused; whether there were any."""
        if self.faults:
            name = "standard-input.refused" if self._path == "-" else f"{self._path}.refused"
            with open(name, "w", encoding="utf-8") as file:
                file.writelines(f"{fault}\n" for fault in self.faults)
            more = f"... and {len(self.faults) - _SHOWN} more; " if len(self.faults) > _SHOWN else ""
            click.echo(f"{more}all refusals are in {name}.", err=True)
        return bool(self.faults)


@click.command("import", short_help="Import FHIR R4 files, or lists of facts.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@click.option("--key", "key_file", required=True, metavar="KEYFILE", help="The key that makes pseudonyms.")
@click.option(
    "--identifier-system", metavar="URI", help="FHIR: the system of the identifier that names a person, for all files."
)
@click.option("--source", default="", metavar="NAME", help="The laboratory or hospital that the files come from.")
@click.option("--codes", metavar="FILE", help="Codes of your own beside those that Lacak knows (docs/health.md).")
@click.option("--dry-run", is_flag=True, help="Read and check all, and publish nothing.")
@click.option("-o", "--output", metavar="FILE", help="With --dry-run: write what would be published, as NDJSON.")
@accountable
def import_files(
    paths: tuple[str, ...], key_file: str, identifier_system: str | None, source: str, codes: str | None,
    dry_run: bool, output: str | None, officer: str, purpose: str,
) -> None:  # fmt: skip
    """Import FILEs: FHIR R4 (a Bundle, or the NDJSON of a bulk export) or CSV lists of facts, gzip or not.

    Files of one bulk export are named together: they refer to one another. Identities become pseudonyms here, and names
    go nowhere. An entry with a fault is refused, told with its path and written to FILE.refused; the others are
    imported, and the command ends with code 3. To import a file again changes nothing.
    """
    if output is not None and not dry_run:
        raise click.UsageError("-o goes with --dry-run.")
    settings = load_settings("officer", need_servers=not dry_run)
    if source and not is_name(source):
        raise click.UsageError("--source is at most 200 characters, none of them a control character.")
    about = About(source, officer, purpose, SystemClock().now_ms(), settings.zone_info)
    refused = [_Refused(path) for path in paths]
    counts: Counter[str] = Counter()
    try:
        key = Key.load(key_file)
        lists = [path == "-" or not is_json(path) for path in paths]
        found: list[Iterable[Told]] = []
        if not all(lists):
            if not identifier_system:
                raise click.UsageError("FHIR files need --identifier-system: which identifier names a person?")
            reader = Reader(key, identifier_system, load_codes(codes), about, lambda file, fault: refused[file](fault))
            _read_fhir(reader, [(n, p) for n, p in enumerate(paths) if not lists[n]], refused)
            counts = reader.counts
            found.append(reader.messages())
        for number, path in enumerate(paths):
            if lists[number]:
                found.append(_read_list(path, key, about, refused[number], counts))
        if dry_run:
            _write(output, found)
        else:
            _publish(settings, found, officer, purpose, len(paths))
    except (FileError, KeyFileError, CodesError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for name, words in _CALLED.items():
        if counts[name]:
            click.echo(f"{counts[name]:>9,} {words}")
    click.echo("Nothing was published: --dry-run." if dry_run else "Published.")
    written = [each.write() for each in refused]
    if any(written):
        sys.exit(SOME_REJECTED)


def _read_fhir(reader: Reader, files: list[tuple[int, str]], refused: list[_Refused]) -> None:
    """Both readings: first who is who in all files, then the facts."""
    limits = load_codes(None).limits
    for number, path in files:
        with reading(path, "patients") as progress:
            wanted = (b"Patient", b"DiagnosticReport")
            for entry in read_entries(path, limits, lambda _: None, progress, wanted):
                reader.first(number, entry)
    for number, path in files:

        def refuse(fault: Fault, number: int = number) -> None:
            reader.counts["refused"] += 1
            refused[number](fault)

        with reading(path, "facts") as progress:
            for entry in read_entries(path, limits, refuse, progress):
                reader.second(number, entry)


def _read_list(path: str, key: Key, about: About, refused: _Refused, counts: Counter[str]) -> Iterator[Told]:
    def refuse(fault: Fault) -> None:
        counts["refused"] += 1
        refused(fault)

    with reading(path, "facts") as progress:
        for told in read_facts(path, key, about, refuse, progress):
            counts["tests" if isinstance(told, TestResult) else type(told.fact).__name__] += 1
            yield told


def _write(output: str | None, found: list[Iterable[Told]]) -> None:
    """All messages read, and written if somewhere was named."""
    if output is None:
        for each in found:
            for _ in each:
                pass
        return
    with open(output, "wb") as file:
        for each in found:
            file.writelines(msgspec.json.encode(told) + b"\n" for told in each)


def _publish(settings: Settings, found: list[Iterable[Told]], officer: str, purpose: str, files: int) -> None:
    """Publish messages. The import is audited first."""
    try:
        with Store.opened(settings.database_access) as store:
            store.audit(officer, purpose, f"health import ({files} files)")
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    publish_told(settings, chain.from_iterable(found))


def publish_told(settings: Settings, messages: Iterable[Told]) -> None:
    """Publish health records and test results, and wait until all are acknowledged. Raises ClickException."""
    failed: list[Exception] = []
    try:
        with producer(settings, linger_ms=20) as client:
            for told in messages:
                topic, key = "health-records", told.person.encode()
                if isinstance(told, TestResult):
                    topic = "test-results"
                else:
                    key = health_key(told.person, told.record_id)
                home = partition_of(told.person, settings.partitions.cases)
                value = msgspec.json.encode(told)
                client.send(settings.topic(topic), value, key, partition=home).add_errback(failed.append)
            client.flush(_FLUSH_SECONDS)
    except KafkaError as error:
        raise click.ClickException(str(error)) from error
    if failed:
        raise click.ClickException(
            f"{len(failed)} messages were not acknowledged ({failed[0]}): do it again, it does no harm."
        )

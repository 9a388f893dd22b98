"""Resources out of FHIR files: a Bundle, NDJSON of a bulk export, or one resource; gzip or not, told by the content.

NDJSON is read a line at a time. What is wrong with one entry or line is told with its path, and the rest goes on; a
file that is no FHIR at all is one FileError.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

import msgspec

from gateway.fhir_codes import Limits
from gateway.lines import FileError, Progress

_MIB: Final = 1 << 20
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_OBJECTS: Final = msgspec.json.Decoder(dict[str, Any])

Resource = dict[str, Any]


class Entry(NamedTuple):
    """A resource with where it stands: the line of an NDJSON file (0: no such file), its path, and its full URL."""

    line: int
    path: str
    full_url: str
    resource: Resource


class Fault(NamedTuple):
    """An entry that is refused: the line (0: none), the path of the fault, and why. It quotes nothing of the file."""

    line: int
    path: str
    reason: str


OnFault = Callable[[Fault], None]


def is_json(path: str) -> bool:
    """Whether a file begins as JSON does. Raises FileError."""
    with _opened(path, None) as stream:
        return stream.read(4096).lstrip(_BLANK).startswith(b"{")


def read_entries(
    path: str, limits: Limits, on_fault: OnFault, progress: Progress | None = None, wanted: tuple[bytes, ...] = ()
) -> Iterator[Entry]:
    """The resources of a file. With `wanted`, lines of NDJSON that hold none of these bytes may be passed over.

    Raises FileError.
    """
    most = limits.largest_line_mib * _MIB
    with _opened(path, progress) as stream:
        number, line = 0, b"\n"
        while line and not line.strip():
            number, line = number + 1, stream.readline(most)
        if not line:
            raise FileError(f"The file {path} is empty.")
        if not line.lstrip(_BLANK).startswith(b"{"):
            raise FileError(f"The file {path} is no FHIR JSON: it must begin with {{.")
        following = stream.readline(most)
        if not following or _object(line) is None:
            yield from _document(path, _whole(path, stream, line + following, limits), on_fault)
            return
        for place, text in enumerate(chain((line,), _lines(stream, following, most)), number):
            if text.strip() and (not wanted or any(each in text for each in wanted)):
                yield from _line(place, text, limits, on_fault)


def _lines(stream: IO[bytes], line: bytes, most: int) -> Iterator[bytes]:
    """A line and those after it; of one that is too long only its beginning."""
    while line:
        yield line
        while line and not line.endswith(b"\n"):
            line = stream.readline(most)
        line = stream.readline(most)


def _line(number: int, line: bytes, limits: Limits, on_fault: OnFault) -> Iterator[Entry]:
    found = _object(line)
    if len(line) >= limits.largest_line_mib * _MIB and not line.endswith(b"\n"):
        on_fault(Fault(number, "", f"the line is longer than {limits.largest_line_mib} MiB"))
    elif found is None:
        on_fault(Fault(number, "", "the line is no JSON object"))
    elif not isinstance(kind := found.get("resourceType"), str):
        on_fault(Fault(number, "resourceType", "it is missing: the line is no FHIR resource"))
    elif kind != "Bundle":
        yield Entry(number, _name(kind), "", found)
    elif (wrong := _envelope(found)) is not None:
        on_fault(Fault(number, *wrong))
    else:
        yield from _entries(number, found, on_fault)


def _document(path: str, document: Resource, on_fault: OnFault) -> Iterator[Entry]:
    kind = document.get("resourceType")
    if not isinstance(kind, str):
        raise FileError(f"The file {path} is no FHIR: it has no resourceType.")
    if kind != "Bundle":
        yield Entry(0, _name(kind), "", document)
        return
    if (wrong := _envelope(document)) is not None:
        raise FileError(f"The file {path} is refused. {wrong[0]}: {wrong[1]}.")
    yield from _entries(0, document, on_fault)


def _entries(line: int, bundle: Resource, on_fault: OnFault) -> Iterator[Entry]:
    for number, entry in enumerate(bundle.get("entry", [])):
        where = f"Bundle.entry[{number}]"
        if not isinstance(entry, dict):
            on_fault(Fault(line, where, "it is no object"))
            continue
        resource = entry.get("resource")
        if resource is None:  # such as a deletion in a transaction
            continue
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            on_fault(Fault(line, f"{where}.resource.resourceType", "it is missing"))
            continue
        full_url = entry.get("fullUrl")
        yield Entry(line, f"{where}.resource", full_url if isinstance(full_url, str) else "", resource)


def _envelope(document: Resource) -> tuple[str, str] | None:
    """What is wrong with a Bundle around its entries: (path, reason)."""
    from gateway.fhir_models import fault_of, parse

    if not isinstance(document.get("entry", []), list):
        return "Bundle.entry", "it is no list"
    shell = {name: value for name, value in document.items() if name not in ("entry", "link", "signature")}
    found = parse("Bundle", shell)
    return fault_of("Bundle", found) if isinstance(found, Exception) else None


def _name(kind: str) -> str:
    return kind if kind.isalpha() and len(kind) < 60 else "resource"


def _object(line: bytes) -> Resource | None:
    try:
        return _OBJECTS.decode(line.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _whole(path: str, stream: IO[bytes], begun: bytes, limits: Limits) -> Resource:
    """One JSON document, to its end."""
    most = limits.largest_document_mib * _MIB
    text = begun + stream.read(most + 1 - len(begun))
    if len(text) > most:
        raise FileError(
            f"The file {path} is one document of more than {limits.largest_document_mib} MiB: export it as NDJSON."
        )
    try:
        return _OBJECTS.decode(text.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise FileError(f"The file {path} is no FHIR: it is nested too deeply.") from None
    except msgspec.MsgspecError as error:  # it quotes nothing of the file
        raise FileError(f"The file {path} is no JSON: {str(error).rstrip('.')}.") from None
    except UnicodeDecodeError:
        raise FileError(f"The file {path} is no UTF-8.") from None


class _Counted:
    """A file that tells how many of its bytes have been read."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file, self._progress, self._lines = file, progress, 0

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        data = self._file.read(size)
        self._progress(self._file.tell())
        return data

    def readline(self, size: int = -1) -> bytes:
        """A line."""
        self._lines += 1
        if self._lines % 64 == 0:
            self._progress(self._file.tell())
        return self._file.readline(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go elsewhere."""
        return self._file.seek(offset, whence)


@contextmanager
def _opened(path: str, progress: Progress | None) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked. Raises FileError, also for what goes wrong while they are read."""
    if path == "-":
        raise FileError("FHIR is read twice, first its patients, so it cannot come from standard input: name a file.")
    try:
        with Path(path).open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            told: Any = _Counted(raw, progress) if progress is not None else raw
            if packed:
                with gzip.GzipFile(fileobj=told) as stream:
                    yield cast("IO[bytes]", stream)
            else:
                yield told
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"The file {path} is packed with gzip and damaged.") from error
    except OSError as error:
        raise FileError(f"The file {path} cannot be read: {(error.strerror or str(error)).lower()}.") from error

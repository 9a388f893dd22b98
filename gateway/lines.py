"""Lines of a file: CSV or NDJSON, gzip or not, told apart by their content, never by their name.

A line that cannot be read is told with its number and as it was, and the rest goes on; a file that cannot be read at
all is one FileError.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

_BUFFER = 1 << 18
_QUOTED_LINES = 100  # a quote still open after so many lines was never closed
_DELIMITERS = (",", ";", "\t")
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")
_FOREIGN = {
    b"\xff\xfe": "is UTF-16: save it as UTF-8",
    b"\xfe\xff": "is UTF-16: save it as UTF-8",
    b"PK": "is a spreadsheet or a zip file: save the sheet as CSV, or pack it with gzip",
}

Progress = Callable[[int], None]
"""Told how many bytes of the file have been read so far."""

Row = tuple[int, str, tuple[str, ...]]
"""A line: its number in the file, the line as it was, and its columns ("" where it has none)."""


class FileError(ValueError):
    """A file that cannot be read or written at all; the message is a sentence that says why."""


class BadLine(NamedTuple):
    """A line that is left out: its number in the file (1-based), the line as it was, and why."""

    number: int
    text: str
    reason: str


OnBad = Callable[[BadLine], None]


def called(path: str) -> str:
    """What to call a file in a sentence."""
    return "standard input" if path == "-" else path


def size_of(path: str) -> int | None:
    """The file's size in bytes, for a progress bar; None where there is none to tell."""
    try:
        return None if path == "-" else Path(path).stat().st_size or None
    except OSError:
        return None


def read_lines(
    path: str, needed: tuple[str, ...], optional: tuple[str, ...], on_bad: OnBad, progress: Progress | None = None
) -> Iterator[Row]:
    """The lines of a file (`-`: standard input), their columns in the order `needed`, `optional`. Raises FileError."""
    with _opened(path, progress) as stream:
        lines = iter(stream)
        number, first = 1, next(lines, "")
        while first and not first.strip():
            number, first = number + 1, next(lines, "")
        if not first:
            raise FileError(f"The file {called(path)} is empty: it begins with a line that names its columns.")
        if "\0" in first:
            raise FileError(f"The file {called(path)} is no text.")
        if first.lstrip().startswith("["):
            raise FileError(f"The file {called(path)} is one JSON list: write one object a line instead.")
        if first.lstrip().startswith("{"):
            yield from _json(first, number, lines, needed, optional, on_bad)
        else:
            delimiter, pick, width = _header(first, path, needed, optional)
            yield from _csv(lines, number, delimiter, pick, width, on_bad)


_Pick = Callable[[list[str]], tuple[str, ...]]


def _header(line: str, path: str, needed: tuple[str, ...], optional: tuple[str, ...]) -> tuple[str, _Pick, int]:
    """What separates the columns, how to pick those wanted, and how many there are."""
    delimiter = max(_DELIMITERS, key=line.count)
    fields: list[str] = next(csv.reader([line], delimiter=delimiter), [])
    names = [name.strip().lower() for name in fields]
    lacking = [name for name in needed if name not in names]
    if lacking:
        listed = ", ".join(repr(name[:40])[1:-1] for name in names[:20])
        raise FileError(f"The file {called(path)} lacks the column {', '.join(lacking)}. The columns it has: {listed}.")
    twice = [name for name in (*needed, *optional) if names.count(name) > 1]
    if twice:
        raise FileError(f"The file {called(path)} has the column {twice[0]} twice.")
    width = len(names)  # an empty column is put behind them, for what is not there
    return delimiter, itemgetter(*(names.index(n) if n in names else width for n in (*needed, *optional))), width


def _csv(lines: Iterator[str], number: int, delimiter: str, pick: _Pick, width: int, on_bad: OnBad) -> Iterator[Row]:
    held: list[str] = []  # lines looked at in vain for the end of a quote, last first

    def following() -> str:
        return held.pop() if held else next(lines, "")

    while line := held.pop() if held else next(lines, ""):
        number += 1
        first, text = number, line.rstrip("\r\n")
        if '"' in text:
            fields, whole, taken = _quoted(line, following, delimiter)
            if taken and len(fields) != width:  # the quote was not meant to go on: only this line is bad
                held.extend(_behind(line, whole))
                fields = []
            elif taken:
                number, text = number + taken, whole.rstrip("\r\n")
            if not fields:
                on_bad(BadLine(first, text, "it has a quote that does not open or close a field; inside one write two"))
                continue
        else:
            fields = text.split(delimiter)
        if len(fields) != width and (len(fields) < width or any(fields[width:])):
            if text.strip():
                on_bad(BadLine(first, text, f"it has {len(fields)} fields, and the file has {width} columns"))
            continue
        if not text.isascii() and _NOT_UTF8.search(text):
            on_bad(BadLine(first, text, "it is not UTF-8"))
            continue
        del fields[width:]
        fields.append("")
        yield first, text, pick(fields)


def _quoted(line: str, following: Callable[[], str], delimiter: str) -> tuple[list[str], str, int]:
    """The fields of a record (none: its quotes break the rules), the text looked at, how many more lines it took."""
    text = line
    for taken in range(_QUOTED_LINES + 1):
        try:
            return next(csv.reader([text], delimiter=delimiter, strict=True)), text, taken
        except csv.Error as error:
            more = following() if str(error) == "unexpected end of data" and taken < _QUOTED_LINES else ""
            if not more:
                break
            text += more
    return [], text, taken


def _behind(line: str, text: str) -> list[str]:
    """The lines behind the first in what was looked at, last first."""
    return list(io.StringIO(text[len(line) :], newline=""))[::-1]


def _json(
    first: str, number: int, lines: Iterator[str], needed: tuple[str, ...], optional: tuple[str, ...], on_bad: OnBad
) -> Iterator[Row]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    wanted = (*needed, *optional)
    line = first
    while line:
        text = line.rstrip("\r\n")
        try:
            found = decode(text)
            values = tuple([v if type(v) is str else _json_text(v) for v in map(found.get, wanted)])
        except UnicodeError:
            on_bad(BadLine(number, text, "it is not UTF-8"))
        except msgspec.ValidationError:
            on_bad(BadLine(number, text, "it is no JSON object"))
        except msgspec.DecodeError as error:
            if text.strip():
                on_bad(BadLine(number, text, f"it is no JSON: {error}"))
        except TypeError:
            wrong = [name for name in wanted if isinstance(found.get(name), bool | list | dict)]
            on_bad(BadLine(number, text, f"its {wrong[0]} is neither a text nor a number"))
        else:
            yield number, text, values
        number += 1
        line = next(lines, "")


def _json_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError


@contextmanager
def _opened(path: str, progress: Progress | None) -> Iterator[IO[str]]:
    """The file's text, unpacked; bytes that are not UTF-8 are kept as lone surrogates."""
    try:
        raw: Any = sys.stdin.buffer if path == "-" else open(path, "rb", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise FileError(f"The file {path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    try:
        buffered = io.BufferedReader(_Counted(raw, progress), _BUFFER)
        magic = buffered.peek(2)[:2]
        if magic in _FOREIGN:
            raise FileError(f"The file {called(path)} {_FOREIGN[magic]}.")
        stream: Any = gzip.GzipFile(fileobj=buffered) if magic == b"\x1f\x8b" else buffered
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            text.detach()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(f"The file {called(path)} is packed with gzip, but cut short or damaged: {error}") from error
    except OSError as error:
        raise FileError(f"The file {called(path)} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    finally:
        if path != "-":
            raw.close()


class _Counted(io.RawIOBase):
    """A stream that tells how far it has been read."""

    def __init__(self, raw: Any, progress: Progress | None) -> None:
        self._read_some = getattr(raw, "read1", raw.read)
        self._progress = progress
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read_some(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        if self._progress is not None and data:
            self._progress(self._read)
        return len(data)

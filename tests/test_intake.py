"""Scans read where they stand are those that msgspec reads; what is none goes to the dead letters, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.intake import Intake
from agents.lines import (
    ARRIVED,
    AT,
    KIND,
    NOT_GIVEN,
    PERSON,
    PERSON_LENGTH,
    PLAIN,
    VENUE,
    VENUE_LENGTH,
    read_lines,
)
from contacts.deriver import Deriver, Scans
from contacts.registry import is_name
from contacts.visits import Acceptance
from gateway.packing import packed
from schemas.blocks import CONTROL_MAGIC, KINDS, Tick, frame
from schemas.messages import Scan
from schemas.partitions import partition_of
from streams.batches import Batch
from streams.spans import Spans
from tests.worlds import BEGIN, DAY, world

PARTITIONS = 4
TOLERANCE = 300_000

_text = st.text(max_size=12) | st.sampled_from(["p", "in", "at_ms", "x" * 200, "x" * 201, "a b", 'a"b', "a\\b", "\x7f"])
_edges = [0, -0.0, 1.0, 2**43, 2**43 + 1, -(2**43), -(2**43) - 1, 2**53, 10**16, 10**17, "7", None, True]
_time = st.integers(-(2**44), 2**44) | st.sampled_from(_edges)
_fields = {
    "person": _text | st.none(),
    "venue": _text,
    "kind": st.sampled_from([*KINDS, "", "inn", "ou", None]),
    "at_ms": _time,
    "arrived_at_ms": _time,
    "scan_id": _text | st.none(),
    "gateway": _text,
    "else": _text | st.integers() | st.lists(st.integers()),
}


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line that is a scan, or nearly one: fields in any order, some twice or missing, spaces, cuts."""
    names = ["person", "venue", "kind", "at_ms", *draw(st.lists(st.sampled_from(list(_fields)), max_size=3))]
    if draw(st.booleans()):
        names.remove(draw(st.sampled_from(names)))
    pairs = [(name, draw(_fields[name])) for name in draw(st.permutations(names))]
    space = draw(st.sampled_from(["", "", " ", "  ", "\t"]))
    ascii_only = draw(st.booleans())
    coded = [f'"{name}"{space}:{space}{json.dumps(value, ensure_ascii=ascii_only)}' for name, value in pairs]
    line = ("{" + space + f"{space},{space}".join(coded) + space + "}").encode()
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(line) - 1))
        cut = (line[:at], line[at:], line[:at] + b"," + line[at:], line + b"}", line[:at] + b"\xff" + line[at:])
        line = draw(st.sampled_from(cut))
    return line


@settings(deadline=None)  # the first call compiles
@given(st.lists(lines(), max_size=8))
def test_what_is_read_where_it_stands_is_what_msgspec_reads(values: list[bytes]) -> None:
    spans = Spans.of(values)
    found = read_lines(spans.data, spans.begins, spans.lengths)
    for value, row in zip(values, found.tolist(), strict=True):
        if row[PLAIN]:
            scan = msgspec.json.decode(value, type=Scan)
            data = spans.data.tobytes()
            person = data[row[PERSON] : row[PERSON] + row[PERSON_LENGTH]].decode()
            venue = data[row[VENUE] : row[VENUE] + row[VENUE_LENGTH]].decode()
            arrived = None if row[ARRIVED] == NOT_GIVEN else row[ARRIVED]
            read = (person, venue, KINDS[row[KIND]], row[AT], arrived)
            assert read == (scan.person, scan.venue, scan.kind, scan.at_ms, scan.arrived_at_ms)
            assert is_name(person) and is_name(venue)


def test_what_gateways_send_is_read_where_it_stands() -> None:
    """Our own encoding, and that of Python's json with its spaces."""
    scan = Scan(person="b1:" + "0" * 32, venue="pasar 1", kind="out", at_ms=BEGIN, arrived_at_ms=BEGIN, scan_id="1")
    plain = msgspec.json.encode(scan)
    values = [plain, plain.replace(b":", b": ").replace(b",", b", ").replace(b"b1: ", b"b1:")]
    values.append(msgspec.json.encode(msgspec.structs.replace(scan, kind="refused", arrived_at_ms=None, gateway="g")))
    spans = Spans.of(values)
    assert read_lines(spans.data, spans.begins, spans.lengths)[:, PLAIN].tolist() == [1, 1, 1]


Read = tuple[int, int, str, str, str, int, int]


def by_msgspec(batch: Batch, file_clock: bool) -> tuple[list[Read], set[tuple[int, int, str]]]:
    """The batch's scans and letters, each JSON line read alone."""
    scans: list[Read] = []
    letters: set[tuple[int, int, str]] = set()
    for offset, stamp, value in zip(batch.offsets, batch.timestamps_ms, batch.values, strict=True):
        try:
            scan = msgspec.json.decode(value or b"", type=Scan)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            letters.add((offset, 0, "undecodable"))
            continue
        arrived = scan.arrived_at_ms
        if arrived is not None and arrived > stamp + TOLERANCE:
            letters.add((offset, 0, "arrival_ahead"))
        elif not is_name(scan.person):
            letters.add((offset, 0, "bad_person"))
        elif partition_of(scan.person, PARTITIONS) != batch.partition:
            letters.add((offset, 0, "wrong_partition"))
        else:
            arrived = (scan.at_ms if file_clock else stamp) if arrived is None else arrived
            scans.append((offset, 0, scan.person, scan.venue, scan.kind, scan.at_ms, arrived))
    return scans, letters


def by_intake(batch: Batch, file_clock: bool) -> tuple[list[Read], set[tuple[int, int, str]], list[object]]:
    """The same by the code under test, and the controls."""
    deriver = Deriver(batch.partition, 1, Acceptance(3 * DAY, 28 * DAY, TOLERANCE), lambda _: 0)
    letters: set[tuple[int, int, str]] = set()
    intake = Intake(
        deriver,
        PARTITIONS,
        lambda offset, row, reason, _: letters.add((offset, row, reason)),
        file_clock=file_clock,
        tolerance_ms=TOLERANCE,
    )
    scans: list[Read] = []
    controls: list[object] = []
    for part in intake.read(batch):
        if isinstance(part, Scans):
            for offset, number, person, venue, kind, at, arrived in zip(*(c.tolist() for c in part), strict=True):
                named = deriver.venues.text(venue) if venue >= 0 else None
                scans.append((offset, number, deriver.people.text(person), named or "", KINDS[kind], at, arrived))
        else:
            controls.append(part)
    return scans, letters, controls


@pytest.mark.parametrize("file_clock", [True, False])
@settings(deadline=None)  # the first call compiles
@given(values=st.lists(lines() | st.none() | st.binary(max_size=3), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_a_batch_is_read_as_if_line_by_line(file_clock: bool, values: Sequence[bytes | None], seed: int) -> None:
    chance = random.Random(seed)
    arrivals = (None, BEGIN, BEGIN + 2 * TOLERANCE)
    people = [f"p{number}" for number in range(40)]
    more = [
        msgspec.json.encode(
            Scan(person=person, venue="v", kind="in", at_ms=BEGIN, arrived_at_ms=chance.choice(arrivals))
        )
        for person in chance.sample(people, 6)
    ]
    mixed = [*values, *more]
    chance.shuffle(mixed)
    stamps = [BEGIN + chance.randrange(1000) for _ in mixed]
    batch = Batch("scans", 1, range(5, 5 + len(mixed)), stamps, mixed, mixed, highwater=0)
    scans, letters = by_msgspec(batch, file_clock)
    wanted = [(*scan[:3], scan[3] if is_name(scan[3]) else "", *scan[4:]) for scan in scans]
    assert by_intake(batch, file_clock) == (wanted, letters, [])


def test_blocks_and_controls_between_lines() -> None:
    """A run of lines, a block, a tick, a line: in order of the log, and a block that is cut short is one letter."""
    scans = [scan for scan in world(3).messages() if partition_of(scan.person, PARTITIONS) == 1][:15]
    lines_ = [msgspec.json.encode(scan) for scan in scans]
    block = next(record.value for record in packed(scans[2:12]))
    tick = frame(CONTROL_MAGIC, Tick(BEGIN))
    values = [*lines_[:2], block, tick, *lines_[12:], block[:-1]]
    batch = Batch("scans", 1, range(len(values)), [BEGIN + 20 * DAY] * len(values), values, values, highwater=0)
    found, letters, controls = by_intake(batch, file_clock=False)
    wanted = [(s.person, s.venue, s.kind, s.at_ms, s.arrived_at_ms) for s in scans]
    assert [each[2:] for each in found] == wanted
    assert [each[:2] for each in found] == [(0, 0), (1, 0), *((2, row) for row in range(10)), (4, 0), (5, 0), (6, 0)]
    assert controls == [(3, Tick(BEGIN))]
    assert letters == {(7, 0, "undecodable")}


def test_spans_are_their_values() -> None:
    values = [b"", None, b"abc", b"\x00", None]
    spans = Spans.of(values)
    assert list(spans) == values
    assert list(spans[1:4]) == values[1:4]
    assert spans[-1] is None and spans[2] == b"abc"
    assert Spans.of(spans) is spans
    assert np.array_equal(spans.lengths, [0, -1, 3, 1, -1])

"""Bad frames: blocks and control records, altered on their way, and well-framed ones that hold what cannot be."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from contacts.healthstate import NEVER_MS
from schemas.blocks import (
    CONTROL_MAGIC,
    SCANS_MAGIC,
    VISIT_COLUMNS,
    VISITS_MAGIC,
    WINDOWS_MAGIC,
    Barrier,
    ErasureOrder,
    PlacedControl,
    RecountOrder,
    RegistryChange,
    RulesChange,
    ScanBlock,
    StayReport,
    Tick,
    VisitBlock,
    WatchOrder,
    WindowBlock,
    frame,
    frame_of,
)
from schemas.messages import Venue
from schemas.partitions import partition_of
from tests.flood.bad import UNDECODABLE, Bad, because
from tests.golden.record import FRAME_SAMPLES
from tests.worlds import BEGIN

_MAGICS: Final = (SCANS_MAGIC, VISITS_MAGIC, WINDOWS_MAGIC, CONTROL_MAGIC)
_OWN_MAGICS: Final = {
    "scans": (SCANS_MAGIC, CONTROL_MAGIC),
    "visits": (VISITS_MAGIC,),
    "windows": (WINDOWS_MAGIC,),
    "health-records": (CONTROL_MAGIC,),
}
_NAMES: Final = ("", "a" * 201, "p\x00", "\x7f")
_TEXTS: Final = ("x", "a." * 20_000 + "b=1", "a=" + "[" * 5_000)
_BOUNDED: Final = (
    "offset", "scan", "change", "born_offset", "born_scan", "lineage", "reason", "start_ms", "end_ms",
)  # fmt: skip
_FAR: Final = (2**43 + 1, 2**62, 2**63 - 1, 2**64 - 1, -(2**63), -(2**43) - 1)


class Frames:
    """Bad frames of one topic with so many partitions."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.topic, self._partitions = topic, partitions
        names = (
            [topic]
            if topic in ("visits", "windows")
            else [name for name in FRAME_SAMPLES if name.startswith("control")]
        )
        names += ["scans"] if topic == "scans" else []
        self._bodies = [FRAME_SAMPLES[name] for name in names]
        self._good = [frame(magic, body) for magic, body in self._bodies]

    def make(self, dice: random.Random) -> Bad:
        """One of them."""
        key = None if self.topic != "health-records" else b"flood"
        partition = dice.randrange(self._partitions)
        if dice.random() < 0.6:
            kind, value = self._altered(dice)
            return Bad(self.topic, partition, key, value, kind, UNDECODABLE)
        made = dice.choice(_SAID[self.topic])(dice, partition, self._partitions)
        kind, value, reasons = made
        return Bad(self.topic, partition, key, value, kind, reasons)

    def _altered(self, dice: random.Random) -> tuple[str, bytes]:
        place = dice.randrange(len(self._good))
        good, (magic, body) = self._good[place], self._bodies[place]
        match dice.randrange(8):
            case 0:
                return "cut short", good[: dice.randrange(len(good))]
            case 1:
                at = dice.randrange(4, len(good))
                return "a bit flipped", good[:at] + bytes([good[at] ^ 1 << dice.randrange(8)]) + good[at + 1 :]
            case 2:
                others = [each for each in _MAGICS if each not in _OWN_MAGICS[self.topic]]
                return "frame of another topic", frame(dice.choice(others), body)
            case 3:
                return "framed random bytes", frame_of(magic, b"\xc1" + dice.randbytes(dice.randrange(300)))
            case 4:
                return "framed, nested deep", frame_of(magic, b"\x91" * dice.choice((1_500, 20_000)))
            case 5:
                lie = dice.choice((b"\xdd", b"\xdb", b"\xc6", b"\xdf")) + b"\xff\xff\xff\xff"
                return "framed, lying about lengths", frame_of(magic, lie)
            case 6:
                plain: Any = msgspec.to_builtins(body, builtin_types=(bytes,))
                fields = list(plain)
                fields[dice.randrange(1, min(len(fields), 3))] = dice.choice((None, {}, -1.5, [[]], {"a": 1}))
                return "framed, of another type", frame_of(magic, msgspec.msgpack.encode(fields))
        plain = list(msgspec.to_builtins(body, builtin_types=(bytes,)))
        return "framed and cut short", frame_of(magic, msgspec.msgpack.encode(plain)[: -1 - dice.randrange(3)])


Said = tuple[str, bytes, frozenset[str]]


def _block_columns(dice: random.Random, partition: int, partitions: int) -> Said:
    columns: dict[str, Any] = {"kinds": b"\0\0", "at_ms": _times(BEGIN, BEGIN), "arrived_at_ms": _times(BEGIN, BEGIN)}
    columns |= dice.choice(
        (
            {"kinds": b"\0"}, {"kinds": b"\0\x07"}, {"at_ms": b"1234567"}, {"at_ms": _times(BEGIN)},
            {"at_ms": _times(2**62, BEGIN)}, {"at_ms": _times(-(2**63), 0)}, {"arrived_at_ms": _times(1)},
            {"arrived_at_ms": b"x"}, {"arrived_at_ms": _times(2**43 + 1, 1)},
        )
    )  # fmt: skip
    return (
        "columns that differ or are out of range",
        frame(SCANS_MAGIC, ScanBlock(["a", "b"], ["v", "v"], **columns)),
        UNDECODABLE,
    )


def _block_rows(dice: random.Random, partition: int, partitions: int) -> Said:
    """A block in which no row can be taken; each is a letter of its own."""
    count = dice.choice((1, 2, 50))
    at = _times(*[BEGIN] * count)
    person = _away(dice, partition, partitions)
    fault, persons, venues = dice.choice(
        (("wrong_partition", [person] * count, ["v0"] * count), ("bad_person", [""] * count, ["v0"] * count))
    )
    if partitions == 1 and fault == "wrong_partition":
        fault, persons = "bad_person", ["\x00"] * count
    block = ScanBlock(persons, venues, bytes(count), at, at)
    return "block of scans that cannot be", frame(SCANS_MAGIC, block), because(fault)


def _orders(dice: random.Random, partition: int, partitions: int) -> Said:
    origin = (0, 0)
    watch = WatchOrder("t", "c", 1, "p", "forward", 0, 0, 0, 0)
    person, stay = _away(dice, partition, partitions), StayReport(origin, "p", "v", "d", BEGIN, BEGIN + 1)
    choices: list[tuple[Any, frozenset[str]]] = [
        (ErasureOrder(origin, dice.choice(_NAMES), BEGIN), because("bad_person")),
        (RecountOrder(origin, dice.choice(_NAMES), 1, BEGIN), because("bad_venue")),
        (RecountOrder(origin, "v", 2**31 - 1, BEGIN), because("bad_count")),
        (
            RulesChange(origin, "flood", dice.choice(_TEXTS)),
            because("refused_rules"),
        ),
        (Barrier(dice.choice(("", "a" * 501, "a\x00"))), because("bad_control")),
        (msgspec.structs.replace(watch, reply_partition=99), because("bad_control")),
        (msgspec.structs.replace(watch, person=dice.choice(_NAMES)), because("bad_person")),
        (msgspec.structs.replace(watch, linger_ms=2**43), because("bad_control")),
        (msgspec.structs.replace(stay, person=dice.choice(_NAMES)), because("bad_person")),
        (RegistryChange(origin, Venue(venue="flood", capacity=-1), BEGIN), because("refused_venue")),
        (Tick(dice.choice(_FAR)), UNDECODABLE),
        (ErasureOrder(origin, "p", dice.choice(_FAR)), UNDECODABLE),
        (RecountOrder(origin, "v", -1, BEGIN), UNDECODABLE),
    ]
    if partitions > 1:
        choices.append((msgspec.structs.replace(stay, person=person), because("wrong_partition")))
    control, reasons = dice.choice(choices)
    return f"{type(control).__name__} that cannot be", frame(CONTROL_MAGIC, control), reasons


def _health_orders(dice: random.Random, partition: int, partitions: int) -> Said:
    origin, person = (0, 0), _away(dice, partition, partitions)
    choices: list[tuple[Any, frozenset[str]]] = [
        (ErasureOrder(origin, dice.choice((*_NAMES, "a|b")), BEGIN), because("bad_person")),
        (ErasureOrder(origin, person, BEGIN), because("wrong_partition")),
        (
            RulesChange(origin, "indonesia", dice.choice(_TEXTS)),
            because("bad_rules"),
        ),
        (Barrier("q"), because("bad_control")),
        (WatchOrder("t", "c", 1, "p", "forward", 0, 0, 0, 0), because("bad_control")),
        (Tick(dice.choice(_FAR)), UNDECODABLE),
        (ErasureOrder(origin, "p", dice.choice(_FAR)), UNDECODABLE),
    ]
    control, reasons = dice.choice(choices)
    return f"{type(control).__name__} that cannot be", frame(CONTROL_MAGIC, control), reasons


def _visit_rows(dice: random.Random, partition: int, partitions: int) -> Said:
    magic, body = FRAME_SAMPLES["visits"]
    assert isinstance(body, VisitBlock)
    rows = np.frombuffer(body.rows, "<i8").reshape(-1, len(VISIT_COLUMNS)).copy()
    column = dice.choice(_BOUNDED)
    far = {"start_ms": (-(2**62), 2**62), "end_ms": (2**62, -(2**62))}.get(column, (-1, -(2**63), 2**62))
    if column == "change":
        far = (-1, -(2**62))
    rows[dice.randrange(len(rows)), VISIT_COLUMNS.index(column)] = dice.choice(far)
    bad = msgspec.structs.replace(body, rows=rows.tobytes(), controls=[])
    return "rows out of range", frame(magic, bad), UNDECODABLE


def _visit_heads(dice: random.Random, partition: int, partitions: int) -> Said:
    block = VisitBlock(0, 0, 0, NEVER_MS)
    bad = dice.choice(
        (
            {"source_partition": 10**6}, {"source_partition": -1}, {"next_offset": 2**62}, {"log_time_ms": 2**62},
            {"rows": b"123"}, {"persons": ["p"]}, {"persons": ["p"], "rows": bytes(96)},
            {"controls": [PlacedControl(0, 0, ErasureOrder((0, 0), dice.choice(_NAMES), 0))]},
            {"controls": [PlacedControl(0, 0, RecountOrder((0, 0), "", 1, 0))]},
            {"controls": [PlacedControl(0, 0, WatchOrder("t", "c", 1, "p", "forward", 99, 0, 0, 0))]},
            {"controls": [PlacedControl(0, 0, RegistryChange((0, 0), Venue(venue=""), 0))]},
            {"controls": [PlacedControl(2**62, 0, Barrier("q"))]},
        )
    )  # fmt: skip
    return "block that contradicts itself", frame(VISITS_MAGIC, msgspec.structs.replace(block, **bad)), UNDECODABLE


def _window_rows(dice: random.Random, partition: int, partitions: int) -> Said:
    row = [0, BEGIN, 1, 1, 0, 1, 600_000]
    change = dice.choice(((0, 5), (0, -1), (1, 2**62), (2, -1), (3, 2**40), (5, 2**62), (6, -5)))
    row[change[0]] = change[1]
    block = WindowBlock(0, (2**40, 0), 600_000, BEGIN, ["flood"], np.array([row], "<i8").tobytes())
    bad = dice.choice(
        (
            block, msgspec.structs.replace(block, rows=b"1234567"), msgspec.structs.replace(block, window_ms=-1),
            msgspec.structs.replace(block, position=(2**62, 0)), msgspec.structs.replace(block, venues=["\0"]),
            msgspec.structs.replace(block, venues=["a" * 3000]), msgspec.structs.replace(block, log_time_ms=2**62),
        )
    )  # fmt: skip
    return "rows out of range", frame(WINDOWS_MAGIC, bad), UNDECODABLE


_SAID: Final[dict[str, tuple[Callable[[random.Random, int, int], Said], ...]]] = {
    "scans": (_block_columns, _block_rows, _orders, _orders),
    "visits": (_visit_rows, _visit_heads),
    "windows": (_window_rows,),
    "health-records": (_health_orders,),
}


def _times(*times: int) -> bytes:
    return np.array(times, "<i8").tobytes()


def _away(dice: random.Random, partition: int, partitions: int) -> str:
    """Somebody of another partition."""
    while True:
        person = f"p1:{dice.getrandbits(128):032x}"
        if partitions == 1 or partition_of(person, partitions) != partition:
            return person

"""The visits agent's core, row by row: what it sends is a protocol, so its blocks may not change by a bit."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from contacts.deriver import Arrived, Deriver
from contacts.visits import Acceptance
from schemas.blocks import Control, ErasureOrder, RegistryChange, Tick
from schemas.messages import Scan
from schemas.partitions import partition_of
from tests.worlds import BEGIN, DAY, HOUR, World, world

GOLDEN = Path(__file__).with_name("deriver_blocks.json")
TARGETS = 3
SEEDS = 80


def town(seed: int) -> World:
    """A world: few people or many, two days or nine, on time or late."""
    chance = random.Random(f"deriver {seed}")
    return world(
        seed,
        people=chance.choice((1, 3, 12)),
        venues=chance.choice((3, 7, 11)),
        days=chance.choice((1, 2, 9)),
        scans=chance.choice((60, 200, 500)),
        late=chance.choice((0.0, 0.04, 0.2)),
    )


def blocks_of(seed: int, *, most: int) -> str:
    """A digest of every row, control and refusal of a seed's world, in batches of up to `most` scans, with snapshots.

    Each row with its lineage as it is: which number a lineage has in its block depends on where batches begin.
    """
    chance, borders, place = random.Random(f"blocks {seed}"), random.Random(f"borders {seed} {most}"), town(seed)
    deriver = _new()
    told = [bytearray() for _ in range(TARGETS)]
    refused: list[str] = []
    offset = 0

    def refuse(at_offset: int, number: int, reason: str) -> None:
        refused.append(f"{at_offset} {number} {reason}")

    def pass_on(first: int) -> None:
        for target, block in deriver.blocks(first, offset + 1):
            rows = struct.iter_unpack("<12q", block.rows)
            for person, row in zip(block.persons, rows, strict=True):
                told[target] += msgspec.msgpack.encode((person, row[:5], block.lineages[row[5]], row[6:]))
            for placed in block.controls:
                told[target] += f"{placed.offset} {placed.log_time_ms} {type(placed.control).__name__}".encode()

    def control(what: Control) -> None:
        nonlocal offset
        offset += 1
        deriver.control(offset, what)
        pass_on(offset)

    for number, venue in enumerate(place.registry()):
        if chance.random() < 0.8:
            control(RegistryChange((0, number), venue, 0))
    scans = place.shuffled(seed) if chance.random() < 0.6 else place.messages()
    between: dict[int, Control] = {}
    for number, venue in enumerate(place.registry()[-2:]):
        changed = msgspec.structs.replace(venue, valid_from_ms=BEGIN + chance.randrange(DAY))
        between[chance.randrange(1, len(scans))] = RegistryChange((1, number), changed, 0)
    for at in chance.sample(range(1, len(scans)), 4):
        between[at] = Tick(BEGIN + at * HOUR // 20)
    for erasure in place.erasures:
        between[chance.randrange(1, len(scans))] = ErasureOrder((0, 0), erasure.person, erasure.before)
    start = 0
    while start < len(scans):
        stop = start + borders.randrange(1, most + 1)
        stop = min([at for at in between if start < at < stop], default=min(stop, len(scans)))
        first = offset
        batch: list[Arrived] = []
        for row, scan in enumerate(scans[start:stop], start):
            offset += row % 5 == 0
            batch.append((offset, row % 5, *_fields(scan, row)))
        deriver.derive(batch, refuse)
        pass_on(first)
        deriver.prune()
        if borders.random() < 0.1:
            state, deriver = deriver.dump(), _new()
            deriver.load(state)
        start = stop
        if start in between:
            control(between[start])
    control(Tick(BEGIN + 30 * DAY, True))
    return blake2b(b"\n".join([*told, "\n".join(sorted(refused)).encode()]), digest_size=12).hexdigest()


def _new() -> Deriver:
    return Deriver(0, TARGETS, Acceptance(3 * DAY, 28 * DAY, 300_000), lambda venue: partition_of(venue, TARGETS))


def _fields(scan: Scan, row: int) -> tuple[str, str, str, int, int]:
    venue = scan.venue
    if row % 61 == 60:
        venue = ("", "\x07", "x" * 201, "pasar é", "toko " * 10)[row // 61 % 5]
    person = scan.person if row % 2 else f"ké{scan.person}"
    return person, venue, scan.kind, scan.at_ms, scan.arrived_at_ms or 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_blocks_are_those_that_were_always_made(seed: int) -> None:
    """Rows, positions, changes and flags are as in deriver_blocks.json, whatever the batches and snapshots."""
    wanted = msgspec.json.decode(GOLDEN.read_bytes(), type=list[str])
    assert blocks_of(seed, most=(1, 5, 50, 400)[seed % 4]) == wanted[seed]


def test_plain_python_makes_the_same_blocks() -> None:
    """Where numba is absent, or told to compile nothing, the loops are the same Python."""
    code = "from tests.test_deriver import blocks_of; print(*(blocks_of(seed, most=50) for seed in range(0, 80, 9)))"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == msgspec.json.decode(GOLDEN.read_bytes(), type=list[str])[::9]


def test_a_snapshot_of_another_format_is_refused() -> None:
    """What an earlier version wrote is not read as something else: its keeper throws it away and rebuilds."""
    parts = _new().dump()
    state = msgspec.msgpack.decode(parts["state"])
    del state["format"]
    with pytest.raises(ValueError, match="another version"):
        _new().load({**parts, "state": msgspec.msgpack.encode(state)})

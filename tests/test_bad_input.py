"""What bad input once broke, and what holds it now: each test names the fault it was."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import msgspec
import numpy as np
import pytest
from aiokafka import codec
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.default_records import DefaultRecordBatch

from contacts.doorrules import DoorRulesError, read_door_rules
from contacts.exposures import unpacked
from gateway.smallcopies import CountCopy, RuleCopy, VenueCopy
from gateway.statuses import Home, StatusCopy
from lacak.deadletter_commands import Refused as NotSent
from lacak.deadletter_commands import resent
from schemas.blocks import SCAN_BLOCKS, SCANS_MAGIC, BlockError, ScanBlock, frame, scan_of, unframe
from schemas.health import Status
from schemas.inflating import GZIP, LZ4, SNAPPY, ZSTD, TooLarge, inflate
from schemas.messages import MeetingRows, Scan, Venue
from schemas.partitions import partition_of
from streams.batches import Batch
from streams.deadletters import DeadLetters, TooManyDeadLetters
from streams.fetches import Log, Unpacker
from streams.outbox import LETTER_BYTES_MAX, MESSAGE_BYTES_MAX
from streams.records import Unreadable, unpack
from streams.refusing import Refused, without_refused
from streams.settings import DeadLetterLimits
from tests.flood import agents
from tests.flood.bad import Bad
from tests.flood.messages import Messages
from tests.flood.running import bad_records, standing_statuses
from tests.worlds import BEGIN

MB = 1 << 20
_ENCODERS = {GZIP: codec.gzip_encode, SNAPPY: codec.snappy_encode, LZ4: codec.lz4_encode, ZSTD: codec.zstd_encode}


@pytest.mark.parametrize("seed", range(4))
def test_every_agent_sets_aside_what_it_cannot_take(seed: int) -> None:
    """None raises, none lets a bad record pass in silence, and each letter has a reason that is right."""

    async def feed() -> None:
        everybody = agents.Agents()
        for offset, bad in enumerate(bad_records(seed, 2_000, agents.Log()._partitions)):
            letters = await everybody.take(bad, offset)
            if "unstorable" not in bad.reasons:  # that only PostgreSQL says
                assert letters, bad
            assert {letter.reason for letter in letters} <= bad.reasons, (bad, letters)

    asyncio.run(feed())


def taken(topic: str, partition: int, value: bytes, key: bytes = b"k") -> list[str]:
    """The reasons of the letters that come of one record."""

    async def one() -> list[str]:
        letters = await agents.Agents().take(Bad(topic, partition, key, value, "", frozenset()), 0)
        return [letter.reason for letter in letters]

    return asyncio.run(one())


def test_nesting_deeper_than_a_decoder_goes_is_a_letter() -> None:
    """msgspec raises RecursionError, also within a field that nobody reads: it ended every worker."""
    deep = b'{"person":"p","venue":"v","kind":"in","at_ms":1,"x":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert taken("scans", 0, deep) == ["undecodable"]
    assert set(taken("venues", 0, b'{"venue":"v","x":' + b"[" * 5000 + b"}")) == {"undecodable"}
    with pytest.raises(BlockError):
        unframe(SCANS_MAGIC, frame(SCANS_MAGIC, _nested(5000)), SCAN_BLOCKS)


def _nested(depth: int) -> Any:
    return [[], [], b"", b"", b"", [], "", msgspec.Raw(b"\x91" * depth + b"\x90")]


def test_a_key_of_a_hundred_thousand_parts_takes_no_memory() -> None:
    """tomllib keeps every beginning of a dotted key: 200 kB of rules took all memory there was."""
    for text in ("a." * 100_000 + "b = 1", '"a" . ' * 100_000 + "b = 1", "a = " + "[" * 100_000, "a = " + "9" * 5000):
        began = time.monotonic()
        with pytest.raises(DoorRulesError):
            read_door_rules("flood", text, "here")
        assert time.monotonic() - began < 5.0


def test_a_refused_scan_without_a_venues_name_is_a_letter() -> None:
    """Scans of those turned away were dropped before anybody looked at their venue."""
    value = b'{"person":"p","venue":"","kind":"refused","at_ms":%d,"arrived_at_ms":%d}' % (BEGIN, BEGIN)
    home = agents.partition_of_scans("p")
    assert taken("scans", home, value) == ["bad_venue"]


def test_a_question_that_cannot_be_answered_is_a_letter() -> None:
    """It was a line in a log; and a profile that is none, or an answer to nowhere, ended the worker."""
    good = {
        "query_id": "q", "trace_id": "t", "kind": "deadline", "reply_partition": 0, "person": "p",
        "direction": "forward", "window_start_ms": 0, "window_end_ms": 1, "profile_json": None,
    }  # fmt: skip
    assert taken("trace-queries", 0, b"no question") == ["undecodable"]
    assert taken("trace-queries", 0, json.dumps(good).encode()) == ["bad_question"]
    assert taken("trace-queries", 0, json.dumps({**good, "reply_partition": 2}).encode()) == ["bad_question"]


def test_a_test_result_in_another_partition_is_a_letter() -> None:
    """It opened a second dossier of the person, whose traces nobody withdrew."""
    value = b'{"person":"p1:1","outcome":"positive","specimen_ms":%d}' % BEGIN
    reasons = {tuple(taken("test-results", partition, value)) for partition in range(2)}
    assert reasons == {(), ("wrong_partition",)}


@pytest.mark.parametrize("field", ["columns", "rows"])
@pytest.mark.parametrize("packed", [zlib.compress, cramjam.zstd.compress])
def test_meetings_inflate_no_further_than_an_answer_holds(field: str, packed: Callable[[bytes], Any]) -> None:
    """100 kB of zlib in an answer took 100 MB; what names nobody raised in the middle of a report."""
    cut = bytes(packed(bytes(880)))[:-3]
    wrong = (bytes(packed(data)) for data in (bytes(100 * MB), b"1234567", bytes(88)))
    for data in (*wrong, cut, b"neither of them"):
        with pytest.raises(ValueError, match="meetings"):
            unpacked(MeetingRows(people=(), venues=(), categories=(), **{field: data}))


def test_meetings_of_half_a_person() -> None:
    """Their pseudonyms are 16 bytes each, of a key that has a name."""
    for key_id, pseudonyms in (("p1", bytes(17)), ("", bytes(16)), ("no key", bytes(16))):
        with pytest.raises(ValueError, match="pseudonyms"):
            unpacked(MeetingRows(key_id=key_id, pseudonyms=pseudonyms))


def test_meetings_of_older_workers_are_read() -> None:
    """They travelled row by row, and packed by zlib."""
    columns = np.arange(33).reshape(11, 3)
    columns[1:4], columns[10] = [[0, 1, 0], [1, 0, 1], [0, 0, 0]], [1, 2, 15]
    names: Any = {"people": ("a", "b"), "venues": ("v", "w"), "categories": ("mall",)}
    now, *before = (
        unpacked(MeetingRows(**names, **{field: bytes(packed(rows.astype("<i8").tobytes()))}))
        for packed, field, rows in (
            (cramjam.zstd.compress, "columns", columns),
            (zlib.compress, "columns", columns),
            (zlib.compress, "rows", columns.T),
        )
    )
    for each in before:
        assert (now.people, now.venues) == (each.people, each.venues)
        assert [column.tolist() for column in now.found.met] == [column.tolist() for column in each.found.met]
    assert now.found.met.end.tolist() == columns[5].tolist()


# Copies of gateways.


def status(person: str, offset: int, **more: Any) -> bytes:
    """A status as it travels."""
    made = Status(
        person=person, colour="green", since_ms=0, rule="r", reason="doses", log_time_ms=1, position=(offset, 0), **more
    )
    return msgspec.json.encode(made)


def test_statuses_made_at_large_offsets_are_copied() -> None:
    """From the 32 768th health record of a partition on the position overflowed, and no gateway read on."""
    copy = StatusCopy()
    for offset in (1, 32_767, 32_768, 10**9, 2**43 - 1):
        copy.take([(b"p", status("p", offset, doses=1))])
        copy.take([(b"p", status("p", offset - 1, doses=2))])
    assert copy.bad == 0
    assert copy.get("p") is not None
    assert copy.get("p").doses == 1  # type: ignore[union-attr]


def test_what_no_copy_can_take_is_counted_and_stops_none() -> None:
    """Bytes that are no UTF-8, nesting, a number out of range, an empty value: each ended the reading."""
    bad = (
        b"\xff", b'{"person":"\xff"}', b'{"x":' + b"[" * 5000, b"", status("p", 1).replace(b'"green"', b'"blue"'),
        status("p", 1).replace(b"[1,0]", b"[9223372036854775808,0]"),
    )  # fmt: skip
    statuses = StatusCopy()
    statuses.take([(b"p", status("p", 5)), *((b"p", value) for value in bad), (b"\xff", None)])
    assert statuses.get("p") is not None
    assert statuses.bad == len(bad) + 1
    venues, counts, rules = VenueCopy(), CountCopy(lambda _: None), RuleCopy(None)
    key, good = b"v\x1f0", msgspec.json.encode(Venue(venue="v", capacity=5))
    for copy in (venues, counts, rules):
        copy.take([(key, good), *((key, value) for value in bad)], 0)
        assert copy.bad >= len(bad)
    venues.take([(key, msgspec.json.encode(Venue(venue="v", capacity=-1)))], 0)
    assert venues.registry.capacity("v", 0) == 5
    assert [venue.capacity for venue in venues.messages.values()] == [5]


@pytest.mark.parametrize("seed", range(4))
def test_what_the_recorder_sets_aside_no_gateway_copies(seed: int) -> None:
    """A door would have acted by statuses and counts of nobody, under others' keys and from others' partitions, whose
    positions put them before the good ones for ever. The flood's own judge held such of six names for people."""
    dice, partitions = random.Random(seed), agents.Log()._partitions
    statuses, venues, counts, rules = StatusCopy(), VenueCopy(), CountCopy(lambda _: None), RuleCopy(None)
    kept: dict[str, VenueCopy | CountCopy | RuleCopy] = {"venues": venues, "occupancy": counts, "rules": rules}
    told = []
    for _ in range(2_000):
        bad = Messages("statuses", partitions["statuses"]).make(dice)
        told.append((bad.partition, bad.key, bad.value))
        before = statuses.bad
        statuses.take([(bad.key, bad.value)], Home(bad.partition, partitions["statuses"]))
        assert bad.value is None or statuses.bad == before + 1, bad
    assert (len(statuses), standing_statuses(told, partitions["statuses"])) == (0, {})
    together = StatusCopy()
    for partition in range(partitions["statuses"]):
        records = [(key, value) for where, key, value in told if where == partition]
        together.take(records, Home(partition, partitions["statuses"]))
    assert (len(together), together.bad) == (0, statuses.bad)
    for topic, copy in kept.items():
        makes = Messages(topic, partitions[topic])
        for _ in range(50 if topic == "rules" else 500):
            bad = makes.make(dice)
            copy.take([(bad.key, bad.value)], bad.partition)
            doors = [each for each in copy.messages.values() if getattr(each, "kind", "door") == "door"]
            assert doors == [], bad  # rules of colours are none of a gateway's business


def test_a_status_that_is_not_its_persons_changes_nothing_at_a_door() -> None:
    """However new it says it is; nor does a key without a value in another partition take anybody away."""
    home = partition_of("p1:a", 2)
    copy = StatusCopy()
    copy.take([(b"p1:a", status("p1:a", 1, doses=1))], Home(home, 2))
    copy.take([(b"p1:b", status("p1:a", 9, doses=2)), (None, status("p1:a", 9, doses=2))], Home(home, 2))
    copy.take([(b"p1:a", status("p1:a", 9, doses=2)), (b"p1:a", None)], Home(1 - home, 2))
    assert copy.bad == 4
    assert copy.get("p1:a") is not None
    assert copy.get("p1:a").doses == 1  # type: ignore[union-attr]


# Letters.


class Box:
    """Where letters go."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(
        self, topic: str, partition: int, value: bytes | None, key: bytes | None = None, _: int | None = None
    ) -> None:
        """Keep it."""
        self.sent.append(value or b"")

    async def flush(self) -> None:
        """At once."""


def test_a_letter_fits_its_topic_whatever_it_is_about() -> None:
    """The letter of a record of 8 MB was a third larger than any topic took: the worker ended, and again after it."""
    for size in (10, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1, 5 * MESSAGE_BYTES_MAX):
        box, value = Box(), bytes(size)
        DeadLetters(box, DeadLetterLimits()).letter(
            Batch("scans", 0, [7], [0], [bytes(MB)], [value], highwater=8), 0, 0, "undecodable", "x", 0
        )
        assert len(box.sent[0]) < LETTER_BYTES_MAX
        letter = msgspec.json.decode(box.sent[0], type=agents.DeadLetter)
        assert letter.size == (size if size > MESSAGE_BYTES_MAX else None)
        if letter.size is not None:
            with pytest.raises(NotSent, match="only the first"):
                resent(letter, agents.SETTINGS)


def test_a_row_of_a_block_has_a_letter_of_its_own_size() -> None:
    """Each of 10 000 rows that were refused took the whole block along: 400 kB became 4 GB."""
    count = 2_000
    times = np.full(count, BEGIN, "<i8").tobytes()
    block = frame(SCANS_MAGIC, ScanBlock(["\x00"] * count, ["v"] * count, bytes(count), times, times))

    async def one() -> list[agents.DeadLetter]:
        return await agents.Agents().take(Bad("scans", 0, None, block, "", frozenset()), 0)

    letters = asyncio.run(one())
    assert len(letters) == count
    assert sum(len(letter.value) for letter in letters) < 10 * len(block)
    assert msgspec.json.decode(letters[7].value, type=Scan) == scan_of(unframe(SCANS_MAGIC, block, SCAN_BLOCKS), 7)


def test_limits_can_be_off() -> None:
    """A share of 1 and a run of 0 let a worker go on whatever comes; a run of 0 stopped it at once."""
    letters = DeadLetters(Box(), DeadLetterLimits(share=1.0, run_length=0))
    for _ in range(50):
        letters.judge(100, 100)
    with pytest.raises(TooManyDeadLetters):
        DeadLetters(Box(), DeadLetterLimits(run_length=100)).judge(100, 100)


@pytest.mark.parametrize(
    "topic", ["venues", "declarations", "contact-decisions", "trace-queries", "health-records", "occupancy"]
)
def test_every_agent_minds_the_limit(topic: str) -> None:
    """The registry, the forwarder, the tracing and the contacts agent never asked whether there were too many."""

    async def feed() -> None:
        everybody = agents.Agents(DeadLetterLimits(run_length=20))
        for offset in range(40):
            await everybody.take(Bad(topic, 0, b"k", b"nonsense", "", frozenset()), offset)

    with pytest.raises(TooManyDeadLetters, match="20 rows one after the other"):
        asyncio.run(feed())


# Batches of the log.


@pytest.mark.parametrize("kind", list(_ENCODERS))
def test_nothing_inflates_past_the_limit(kind: int) -> None:
    """What fits comes out as it went in; one byte more is refused; damage is told, and nothing loops."""
    chance = random.Random(kind)
    for size in (0, 1, 1000, MB - 1, MB):
        data = chance.randbytes(size // 2) + bytes(size - size // 2)
        assert inflate(kind, _ENCODERS[kind](data), MB) == data
    for size in (MB + 1, 20 * MB):
        with pytest.raises(TooLarge):
            inflate(kind, _ENCODERS[kind](bytes(size)), MB)
    for _ in range(200):
        packed = _ENCODERS[kind](chance.randbytes(500))
        try:
            found = inflate(kind, packed[: chance.randrange(1, len(packed) - 1)], MB)
        except TooLarge:
            raise
        except ValueError:
            continue
        assert (kind, found) == (SNAPPY, b""), "what is cut short was read"  # a head without blocks is empty


def test_gzip_in_several_members_is_one() -> None:
    """As Java writes and reads it."""
    assert inflate(GZIP, gzip.compress(b"a" * 10) + gzip.compress(b"b" * 10), 20) == b"a" * 10 + b"b" * 10
    with pytest.raises(TooLarge):
        inflate(GZIP, gzip.compress(b"a" * 10) + gzip.compress(b"b" * 11), 20)


def test_snappy_without_blocks_is_read() -> None:
    """As some clients write it."""
    assert inflate(SNAPPY, bytes(cramjam.snappy.compress_raw(b"a" * 100)), 100) == b"a" * 100


def batch_of(values: list[bytes], kind: int, base: int) -> bytes:
    """A batch as a broker keeps it."""
    builder = DefaultRecordBatchBuilder(2, kind, 0, -1, -1, -1, 1 << 30)
    for number, value in enumerate(values):
        builder.append(number, BEGIN, b"k", value, [])
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8, "big")
    return bytes(made)


class _Fetched:
    def __init__(self, data: bytes) -> None:
        self._records, self.next_fetch_offset, self._check_crcs = Log(data), 0, True


class _Result:
    """A fetch result as aiokafka has it, of which the unpacker asks little."""

    def __init__(self, data: bytes) -> None:
        self._partition_records: Any = _Fetched(data)
        self._assignment = self

    def check_assignment(self, _: Any) -> bool:
        """It is ours."""
        return True

    def has_more(self) -> bool:
        """Whether there is something."""
        return self._partition_records is not None

    def _update_position(self) -> None:
        """Nobody asks."""

    def state_value(self, _: Any) -> Any:
        """Nothing is known."""
        return self

    highwater = None


@pytest.mark.parametrize("topic", ["scans", "venues"])
def test_a_bomb_is_one_letter_and_its_neighbours_are_read(topic: str) -> None:
    """A batch of 1 kB inflated to hundreds of MB in every reader of its partition; nothing went by it."""
    from aiokafka import TopicPartition

    bomb = batch_of([bytes(MB)] * 3, ZSTD, 2)
    assert len(bomb) < 5000
    data = batch_of([b"a", b"b"], 0, 0) + bomb + batch_of([b"c"], LZ4, 5)
    unpacker = Unpacker(4000, lambda name: name, 2 * MB)
    from streams.compression import bound_inflation

    bound_inflation(2 * MB)
    try:
        result, where = _Result(data), TopicPartition(topic, 0)
        batches = [unpacker.take(result, where, 1) for _ in range(3)]
    finally:
        bound_inflation(32 * MB)
    before, refused, behind = batches
    assert before is not None
    assert refused is not None
    assert behind is not None
    assert list(before.values) == [b"a", b"b"]
    assert (list(refused.offsets), refused.next_offset, refused.values[0]) == ([2], 5, bomb)
    assert isinstance(refused.values[0], Refused)
    assert (refused.values[0].reason, list(behind.values), list(behind.offsets)) == ("too-large", [b"c"], [5])

    async def through() -> tuple[list[Batch], list[bytes]]:
        box, keeper = Box(), _Keeper()

        async def stream() -> Any:
            for batch in (before, refused, behind):
                yield batch

        letters = DeadLetters(box, DeadLetterLimits())
        passed = [batch async for batch in without_refused(stream(), keeper, letters, lambda: 0)]
        assert keeper.did == [refused]
        return passed, box.sent

    passed, sent = asyncio.run(through())
    assert passed == [before, behind]
    letter = msgspec.json.decode(sent[0], type=agents.DeadLetter)
    assert (letter.reason, letter.offset, letter.value) == ("too-large", 2, bomb)


class _Keeper:
    def __init__(self) -> None:
        self.did: list[Batch] = []

    async def take(self, batch: Batch) -> Batch:
        """All of it is new."""
        return batch

    async def done(self, batch: Batch) -> None:
        """It has been dealt with."""
        self.did.append(batch)


def test_a_bomb_comes_as_one_record_to_who_reads_by_the_record() -> None:
    """Faust's own streams (the topics of traces) go by aiokafka's reader."""
    from streams.compression import bound_inflation

    bound_inflation(2 * MB)
    try:
        log = Log(batch_of([b"a"], 0, 0) + batch_of([bytes(MB)] * 3, LZ4, 1) + batch_of([b"c"], 0, 4))
        read = []
        while log.has_next():
            batch = log.next_batch()
            assert batch.validate_crc()
            read += [(record.offset, record.value) for record in batch]
    finally:
        bound_inflation(32 * MB)
    assert [offset for offset, _ in read] == [0, 1, 4]
    assert isinstance(read[1][1], Refused)


def test_commands_read_every_codec_and_no_bomb() -> None:
    """kafka-python knew no snappy here, and inflated whatever came: `lacak` could not read on in such a topic."""
    import streams.reader  # noqa: F401 - it is what bounds the reading

    for kind in (0, *_ENCODERS):
        read = list(DefaultRecordBatch(batch_of([b"a", b"b"], kind, 0)))
        assert [record.value for record in read] == [b"a", b"b"]
        bomb = DefaultRecordBatch(batch_of([bytes(33 * MB)], kind, 0)) if kind else None
        assert bomb is None or list(bomb) == []
    assert list(DefaultRecordBatch(batch_of([b""] * 100_001, ZSTD, 0))) == []


def test_a_batch_of_a_million_empty_records_is_refused() -> None:
    """They weigh nothing as they travel, and each would have been a letter."""
    data = batch_of([b""] * 100_001, ZSTD, 0)
    with pytest.raises(TooLarge, match="100001 records"):
        unpack(data, 0, len(data), check=True)
    assert len(list(MemoryRecords(data).next_batch())) == 100_001


def test_a_sound_checksum_over_nonsense_is_set_aside() -> None:
    """A batch that its sender made badly stopped the worker at each start: to read it again makes it no better."""
    from aiokafka.record.util import calc_crc32c

    data = bytearray(batch_of([b"abc"], 0, 0))
    data[-3:] = b"\xff\xff\xff"
    data[61] = 0x7E  # the first record's length
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    with pytest.raises(Unreadable):
        unpack(bytes(data), 0, len(data), check=True)

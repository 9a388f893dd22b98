"""The people a worker knows: 128-bit pseudonyms to dense numbers, exactly, in 22 to 28 bytes a person.

A pseudonym `KEY_ID:32 hex digits` is kept as two 64-bit halves and a tag that stands for its key id. Any other name is
kept under its BLAKE2b digest, and beside it as it is, so that two names are never taken for one. Numbers are given one
after the other and never to anybody else.
"""

from __future__ import annotations

import secrets
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.columns import Columns, Ints
from contacts.compiled import compiled
from contacts.pseudonyms import DIGITS, PSEUDONYM, People, Pseudonyms, halves_of, head_of, texts_of

_ALL_64: Final = (1 << 64) - 1
_HALVES: Final = struct.Struct(">qq")
_OTHER, _LAST_TAG, _DEAD = 0, 250, 255
_FULLEST: Final = 0.75
_SOON: Final = 0.68
_FEW: Final = 8
KEY: Final = np.dtype([("high", "<i8"), ("low", "<i8"), ("tag", "u1")])
"""What is kept of a person, in files."""

_PIECE: Final = 1 << 13

Tags = NDArray[np.uint8]


class _Keys:
    """What names are looked up by: two halves of 128 bits, and a tag."""

    def __init__(self, count: int) -> None:
        self.high = np.empty(count, np.int64)
        self.low = np.empty(count, np.int64)
        self.tag = np.empty(count, np.uint8)


class _Next:
    """A table being made of the keys there were, by whoever comes first: another thread, or who needs it."""

    def __init__(self, size: int, high: Ints, low: Ints, tag: Tags, mix: tuple[int, int, int]) -> None:
        self.table = np.zeros(size, np.uint32)
        self.count = len(tag)
        self._keys, self._mix = (high, low, tag), mix
        self._lock = threading.Lock()
        self.ready = False

    def fill(self) -> None:
        """Make it, or wait until it is made. A key that is wiped meanwhile may stand anywhere: nobody has it."""
        with self._lock:
            if not self.ready:
                with np.errstate(over="ignore"):
                    _fill(self.table, *self._keys, 0, *self._mix)
                self.ready = True


class _Small(msgspec.Struct):
    key_ids: list[str]
    others: dict[int, str]
    salts: dict[str, int]
    factors: tuple[int, int]
    id: str
    epoch: int


class Directory:
    """Names by number and numbers by name. A name that was forgotten and comes again gets a new number.

    `id` tells a directory from all others; `epoch` counts how often names were forgotten.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(8)
        self.epoch = 0
        self._columns = Columns(high="i8", low="i8", tag="u1")
        self._table = np.zeros(1024, np.uint32)
        self._next: _Next | None = None
        self._key_ids: list[str] = []
        self._tags: dict[str, int] = {}
        self._others: dict[int, str] = {}
        self._salts: dict[str, int] = {}  # of names whose digest was another's when they came
        self._factors = secrets.randbits(62) | 1, secrets.randbits(62) | 1
        # Who sends names must not know which ones meet in the table.

    def __len__(self) -> int:
        """How many numbers have been given."""
        return self._columns.length

    @property
    def bytes_held(self) -> int:
        """The memory of numbers and names, other names left out."""
        return self._columns.length * 17 + self._table.nbytes

    def take(self, names: People) -> Ints:
        """The numbers of names, new ones for those not known."""
        if not len(names):
            return np.empty(0, np.int64)
        self._make_table(len(self) + len(names))
        if isinstance(names, Pseudonyms) and (tag := self._tag(names.key_id, add=True)) != _OTHER:
            keys = _Keys(len(names))
            keys.high[:], keys.low[:], keys.tag[:] = names.halves[:, 0], names.halves[:, 1], tag
            return self._probe(keys, add=True)
        texts = texts_of(names)
        return self._look(texts, self._keys(texts, add=True), add=True)

    def find(self, names: Sequence[str]) -> Ints:
        """The numbers of names, -1 for those not known."""
        if not names:
            return np.empty(0, np.int64)
        return self._look(names, self._keys(names, add=False), add=False)

    def number(self, name: str) -> int:
        """The number of one name, -1 if it is not known.

        The same as `find`, a tenth of its time: a door asks for one person at a time.
        """
        key_id, _, digits = name.partition(":")
        tag = self._tags.get(key_id, _OTHER)
        if tag == _OTHER or len(digits) != DIGITS or not len(self._table):
            return int(self.find([name])[0])
        try:
            halves = bytes.fromhex(digits)
        except ValueError:
            return int(self.find([name])[0])
        if halves.hex() != digits:
            return int(self.find([name])[0])
        high, low = _HALVES.unpack(halves)
        table, columns = self._table, self._columns
        factor, second = self._factors
        mask = len(table) - 1
        slot = ((low * factor + high * second & _ALL_64) >> 65 - len(table).bit_length()) & mask
        lows, highs, tags = columns["low"], columns["high"], columns["tag"]
        while (number := table.item(slot) - 1) >= 0:
            if lows.item(number) == low and highs.item(number) == high and tags.item(number) == tag:
                return int(number)
            slot = (slot + 1) & mask
        return -1

    def ready(self) -> None:
        """Make the table now: else the next name waits until it is made, or is looked for among all."""
        self._make_table(len(self))

    def name(self, number: int) -> str:
        """The name of a number; empty where it was forgotten. Raises IndexError for a number that was never given."""
        tag = int(self._columns["tag"][number])
        if tag == _OTHER:
            return self._others.get(number, "")
        if tag == _DEAD:
            return ""
        high, low = (int(self._columns[half][number]) & (2**64 - 1) for half in ("high", "low"))
        return f"{self._key_ids[tag - 1]}:{high:016x}{low:016x}"

    def persons(self, numbers: Ints) -> People:
        """Persons by their numbers, named as `name` names each. Raises IndexError for a number that was never given."""
        tags = self._columns["tag"][numbers]
        alike = len(tags) > 0 and tags[0] not in (_OTHER, _DEAD) and bool((tags == tags[0]).all())
        if not alike:  # of several keys, or no pseudonyms, or forgotten: rare
            return [self.name(number) for number in numbers.tolist()]
        halves = np.stack([self._columns[half][numbers] for half in ("high", "low")], axis=1)
        return Pseudonyms(self._key_ids[int(tags[0]) - 1], halves.astype(np.uint64))

    def names(self, numbers: Ints) -> list[str]:
        """The names of many numbers. Raises IndexError for a number that was never given."""
        return texts_of(self.persons(numbers))

    @property
    def named(self) -> NDArray[np.bool_]:
        """By number: whether there is a name."""
        named: NDArray[np.bool_] = self._columns["tag"] != _DEAD
        return named

    def forget(self, numbers: Iterable[int]) -> None:
        """Wipe out names. Nothing may refer to their numbers any more."""
        gone = np.fromiter(numbers, np.int64)
        self.epoch += 1
        self._columns["tag"][gone] = _DEAD
        self._columns["high"][gone] = self._columns["low"][gone] = 0
        for number in gone.tolist():
            if (other := self._others.pop(number, None)) is not None:
                self._salts.pop(other, None)

    def stamp(self) -> bytes:
        """What a snapshot keeps of the directory that its numbers are of."""
        return msgspec.msgpack.encode((self.id, len(self), self.epoch))

    def epoch_of(self, stamp: bytes) -> int:
        """The epoch at which a stamp of this directory was made. Raises ValueError when it is another's, or newer."""
        name, count, epoch = msgspec.msgpack.decode(stamp, type=tuple[str, int, int])
        if name != self.id or count > len(self) or epoch > self.epoch:
            raise ValueError("the snapshot's persons are numbered by another directory")
        return epoch

    WIPED: Final = np.array([(0, 0, _DEAD)], KEY).tobytes()
    """The key of a person who was forgotten."""

    def keys(self, first: int, last: int) -> NDArray[np.void]:
        """The keys of the numbers `[first, last)`."""
        keys = np.empty(last - first, KEY)
        for name in ("high", "low", "tag"):
            keys[name] = self._columns[name][first:last]
        return keys

    def small(self) -> bytes:
        """What is needed beside the keys."""
        small = _Small(self._key_ids, self._others, self._salts, self._factors, self.id, self.epoch)
        return msgspec.msgpack.encode(small)

    def restore(self, count: int, pieces: Iterable[NDArray[np.void]], small: bytes) -> None:
        """Take up all that `keys` and `small` gave: so many keys, some at a time. What these raise changes nothing."""
        columns = Columns(high="i8", low="i8", tag="u1")
        columns.make_room(count)
        for keys in pieces:
            columns.grow(len(keys), **{name: keys[name] for name in ("high", "low", "tag")})
        rare = msgspec.msgpack.decode(small, type=_Small)
        self._key_ids, self._factors, self.id, self.epoch = rare.key_ids, rare.factors, rare.id, rare.epoch
        self._others, self._salts = rare.others, rare.salts
        self._tags = {key_id: number + 1 for number, key_id in enumerate(self._key_ids)}
        self._columns = columns
        self._table, self._next = np.zeros(0, np.uint32), None  # made when it is first needed

    def dump(self) -> dict[str, bytes]:
        """The whole state, as named parts."""
        return {"people": self.small(), "people.keys": self.keys(0, len(self)).tobytes()}

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Take up what `dump` gave."""
        keys = np.frombuffer(parts["people.keys"], KEY)
        self.restore(len(keys), [keys], parts["people"])

    def _keys(self, names: Sequence[str], *, add: bool) -> _Keys:
        keys = _Keys(len(names))
        if not self._alike(names, keys, add=add):
            for place, name in enumerate(names):
                self._key(name, keys, place, add=add)
        return keys

    def _alike(self, names: Sequence[str], keys: _Keys, *, add: bool) -> bool:
        """Names that are all pseudonyms of one key, at once: nearly always so."""
        head = head_of(names)
        if head is None:
            return False
        tag = self._tag(head[:-1], add=add)
        if tag == _OTHER:
            return False
        keys.tag[:] = tag
        for first in range(0, len(names), _PIECE):
            halves = halves_of(names[first : first + _PIECE], head)
            if halves is None:
                return False
            keys.high[first : first + _PIECE], keys.low[first : first + _PIECE] = halves[:, 0], halves[:, 1]
        return True

    def _key(self, name: str, keys: _Keys, place: int, *, add: bool, salt: int | None = None) -> None:
        found = PSEUDONYM.fullmatch(name)
        tag = self._tag(found[1], add=add) if found else _OTHER
        if found and tag != _OTHER:
            halves = bytes.fromhex(found[2])
        else:
            text = name.encode("utf-8", "surrogatepass")
            salt = self._salts.get(name, 0) if salt is None else salt
            halves = blake2b(text, digest_size=16, salt=salt.to_bytes(2, "big")).digest()
        keys.high[place], keys.low[place] = np.frombuffer(halves, ">i8")
        keys.tag[place] = tag

    def _tag(self, key_id: str, *, add: bool) -> int:
        """What stands for a key id; _OTHER when it is not known, or there are too many."""
        tag = self._tags.get(key_id, _OTHER)
        if tag == _OTHER and add and len(self._key_ids) < _LAST_TAG:
            self._key_ids.append(key_id)
            tag = self._tags[key_id] = len(self._key_ids)
        return tag

    def _look(self, names: Sequence[str], keys: _Keys, *, add: bool) -> Ints:
        found = self._probe(keys, add=add)
        for place in np.flatnonzero((keys.tag == _OTHER) & (found >= 0)).tolist():
            name = names[place]
            salt = self._salts.get(name, 1) - 1  # known when it comes twice in these names
            while (number := int(found[place])) >= 0 and self._others.setdefault(number, name) != name:
                salt += 1  # another name has this digest
                one = _Keys(1)
                self._key(name, one, 0, add=add, salt=salt)
                found[place] = self._probe(one, add=add)[0]
                if add:
                    self._salts[name] = salt
        return found

    def _probe(self, keys: _Keys, *, add: bool) -> Ints:
        if not len(self._table):  # just restored
            if not add and len(keys.high) <= _FEW:
                return self._seek(keys)
            self._make_table(len(self) + len(keys.high))
        found = np.empty(len(keys.high), np.int64)
        known = self._columns.length
        if add:
            self._columns.grow(len(found))
        columns = (self._columns["high"], self._columns["low"], self._columns["tag"])
        mix = self._mix(len(self._table))
        with np.errstate(over="ignore"):
            count = _find(keys.high, keys.low, keys.tag, self._table, *columns, known, add, *mix, found)
        if add:
            self._columns.shorten(count)
        return found

    def _seek(self, keys: _Keys) -> Ints:
        """The numbers of few keys, by looking at all: quicker than a table for the first question after a restart."""
        found = np.full(len(keys.high), -1, np.int64)
        for row, (high, low, tag) in enumerate(zip(keys.high, keys.low, keys.tag, strict=True)):
            same = np.flatnonzero(self._columns["low"] == low)
            same = same[(self._columns["high"][same] == high) & (self._columns["tag"][same] == tag)]
            found[row] = same[0] if len(same) else -1
        return found

    def growing(self) -> Callable[[], None] | None:
        """What makes the table that is needed next, for another thread; None: there is room, or it is being made.

        Without it, whoever first needs the table waits until it is made, a second for 20 million names.
        """
        if self._next is not None or len(self) <= _SOON * len(self._table):
            return None
        return self._begin(max(len(self), int(_FULLEST * len(self._table)) + 1)).fill

    def _make_table(self, needed: int) -> None:
        """See that there is a table with room for so many."""
        if self._next is not None and (self._next.ready or needed > _FULLEST * len(self._table)):
            self._take_up(self._next)
        if needed > _FULLEST * len(self._table):
            self._take_up(self._begin(needed))

    def _begin(self, needed: int) -> _Next:
        """Begin a table with room for so many."""
        size = 1024
        while needed > _FULLEST * size:
            size *= 2
        high, low, tag = (self._columns[name] for name in ("high", "low", "tag"))
        self._next = _Next(size, high, low, tag, self._mix(size))
        return self._next

    def _take_up(self, made: _Next) -> None:
        """Have a table in place of the one before, with those who came meanwhile."""
        made.fill()
        self._table, self._next = made.table, None
        columns = (self._columns["high"], self._columns["low"], self._columns["tag"])
        with np.errstate(over="ignore"):
            _fill(self._table, *columns, made.count, *self._mix(len(self._table)))

    def _mix(self, size: int) -> tuple[int, int, int]:
        """How keys are scattered over a table: by the uppermost bits, that all of a key's bits have their part in."""
        return *self._factors, 65 - size.bit_length()


@compiled
def _find(
    high: Ints, low: Ints, tag: Tags, table: NDArray[np.uint32], known_high: Ints, known_low: Ints, known_tag: Tags,
    count: int, add: bool, factor: int, second: int, shift: int, found: Ints,
) -> int:  # fmt: skip
    """Each key's number into `found`; with `add`, unknown keys become known. Returns how many are known then."""
    mask = len(table) - 1
    for row in range(len(high)):
        slot = ((low[row] * factor + high[row] * second) >> shift) & mask
        while True:
            number = int(table[slot]) - 1
            if number < 0:
                if add:
                    known_high[count] = high[row]
                    known_low[count] = low[row]
                    known_tag[count] = tag[row]
                    number = count
                    count += 1
                    table[slot] = count
                break
            if known_low[number] == low[row] and known_high[number] == high[row] and known_tag[number] == tag[row]:
                break
            slot = (slot + 1) & mask
        found[row] = number
    return count


@compiled
def _fill(
    table: NDArray[np.uint32], high: Ints, low: Ints, tag: Tags, first: int, factor: int, second: int, shift: int
) -> None:
    """Put all numbers from `first` on that are not dead into a table that has none of them."""
    mask = len(table) - 1
    for number in range(first, len(high)):
        if tag[number] != 255:
            slot = ((low[number] * factor + high[number] * second) >> shift) & mask
            while table[slot] != 0:
                slot = (slot + 1) & mask
            table[slot] = number + 1

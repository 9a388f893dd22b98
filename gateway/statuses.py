"""The local copy of `statuses`: what a door is told of each person, packed in columns, some 60 bytes a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, NamedTuple, get_args

import msgspec
import numpy as np

from contacts.columns import Columns, Ints
from contacts.people import Directory
from contacts.registry import are_names, is_name
from schemas.bounds import UNDECODABLE, DerivedMs, Number, Offset
from schemas.health import AgeBand, Colour, NegativeTest
from schemas.messages import TestKind
from schemas.partitions import partition_of, partitions_of

_NEVER: Final = -(1 << 62)
ABSENT: Final = -2
_BEFORE_ALL: Final = -1
_KINDS: Final[tuple[TestKind, ...]] = get_args(TestKind)
_STEP_BITS: Final = 20  # a record of the log makes few statuses; its offset takes the other 43 bits

TYPES: Final = {"sort": "u4", "since": "i8", "until": "i8", "position": "i8", "tests": "u4", "round": "u1"}
"""The columns of a person. `sort`: a number in `sorts`; `position`: the message's, -2 where there is none; `tests`: a
row of negative tests, 0 for none; `round`: of reading the topic from its beginning, in which the person was last
seen."""


_Step = Annotated[int, msgspec.Meta(ge=0, lt=1 << _STEP_BITS)]


class _Told(msgspec.Struct, gc=False):
    """What is kept of a message (schemas.health.Status)."""

    person: str
    colour: Colour
    since_ms: DerivedMs
    rule: str
    reason: str
    position: tuple[Offset, _Step]
    until_ms: DerivedMs | None = None
    doses: Number = 0
    full: bool = False
    booster: bool = False
    age_band: AgeBand | None = None
    negatives: tuple[NegativeTest, ...] = ()


class Sort(NamedTuple):
    """What many persons have in common: there are some thousands of them at most."""

    colour: Colour
    rule: str
    reason: str
    doses: int
    full: bool
    booster: bool
    age_band: AgeBand | None


class Standing(NamedTuple):
    """What a door knows of a person: the fields of schemas.health.Status."""

    colour: Colour
    since_ms: int
    until_ms: int | None
    rule: str
    reason: str
    doses: int
    full: bool
    booster: bool
    age_band: AgeBand | None
    negatives: tuple[NegativeTest, ...]


class Home(NamedTuple):
    """The partition that records come from, and how many the topic has."""

    partition: int
    partitions: int


ANYWHERE: Final = Home(0, 1)
Records = Sequence[tuple[bytes | None, bytes | None]]
_NUL: Final = b"\\u0000"  # as JSON has it; whether it is in a text that is kept is looked at then

_ONE: Final = msgspec.json.Decoder(_Told)
_MANY: Final = msgspec.json.Decoder(list[_Told])


class StatusCopy:
    """Statuses by person. Messages come in any order: of a person the one with the highest position holds."""

    def __init__(self) -> None:
        self.people = Directory()
        self.columns = Columns(**TYPES)
        self.tests = Columns(**dict.fromkeys(_KINDS, "i8"))
        self.tests.grow(1)  # row 0 stands for none
        self.free_tests: list[int] = []
        self.sorts: list[Sort] = []
        self._sort_numbers: dict[tuple[object, ...], int] = {}
        self.test_kinds = _KINDS
        self.round = 0
        self.count = 0
        self.bad = 0

    def __len__(self) -> int:
        """How many persons have a status."""
        return self.count

    @property
    def bytes_held(self) -> int:
        """The memory of it all, in bytes; names that are no pseudonyms are left out."""
        row = sum(np.dtype(kind).itemsize for kind in TYPES.values())
        return self.people.bytes_held + row * self.columns.length + 8 * len(_KINDS) * self.tests.length

    def get(self, person: str) -> Standing | None:
        """What is known of a person; None: nothing."""
        number = self.people.number(person)
        columns = self.columns
        if number < 0 or columns["position"].item(number) == ABSENT:
            return None
        sort = self.sorts[columns["sort"].item(number)]
        until: int = columns["until"].item(number)
        row: int = columns["tests"].item(number)
        return Standing(
            sort.colour,
            columns["since"].item(number),
            None if until == _NEVER else until,
            sort.rule,
            sort.reason,
            sort.doses,
            sort.full,
            sort.booster,
            sort.age_band,
            self._negatives(row) if row else (),
        )

    def _negatives(self, row: int) -> tuple[NegativeTest, ...]:
        times = ((kind, self.tests[kind].item(row)) for kind in _KINDS)
        return tuple(NegativeTest(test=kind, specimen_ms=at) for kind, at in times if at != _NEVER)

    def take(self, records: Records, home: Home = ANYWHERE) -> None:
        """Take in records of the topic, (key, value), in their order; one without a value takes its person away.

        What is no status, or not where and under what its person's are, is counted in `bad` and left out: it would hold
        for ever, for positions compare within a partition only.
        """
        first = 0
        for place, (key, value) in enumerate(records):
            if value is None:
                self._take(records[first:place], home)
                self._take_away(key or b"", home)
                first = place + 1
        self._take(records[first:], home)

    def _take_away(self, key: bytes, home: Home) -> None:
        try:
            person = key.decode()
        except UnicodeDecodeError:
            self.bad += 1
            return
        if partition_of(person, home.partitions) == home.partition:
            self.remove(person)
        else:
            self.bad += 1

    def _take(self, records: Records, home: Home) -> None:
        if not records:
            return
        keys, values = [key or b"" for key, _ in records], [value or b"" for _, value in records]
        try:
            text = b"[" + b",".join(values) + b"]"
            told = _MANY.decode(text)
            if len(told) == len(values) and _NUL not in text and _are_good(keys, told, home):
                self._store(told)
                return
        except UNDECODABLE:
            pass
        if told := self._one_by_one(keys, values, home):
            self._store(told)

    def _one_by_one(self, keys: list[bytes], values: list[bytes], home: Home) -> list[_Told]:
        found = []
        for key, value in zip(keys, values, strict=True):
            try:
                told = _ONE.decode(value)
            except UNDECODABLE:
                self.bad += 1
                continue
            good = is_name(told.person) and _are_good([key], [told], home)
            if good and "\0" not in told.rule and "\0" not in told.reason:
                found.append(told)
            else:
                self.bad += 1
        return found

    def _store(self, told: list[_Told]) -> None:
        numbers = self.people.take([each.person for each in told])
        if (fresh := len(self.people) - self.columns.length) > 0:
            self.columns.grow(fresh, position=ABSENT)
        position = np.array([each.position[0] << _STEP_BITS | each.position[1] for each in told], np.int64)
        self.columns["round"][numbers] = self.round
        newer = position > self.columns["position"][numbers]
        if not newer.all():
            told = [each for each, is_newer in zip(told, newer.tolist(), strict=True) if is_newer]
            numbers, position = numbers[newer], position[newer]
            if not told:
                return
        if len(np.unique(numbers)) < len(numbers):  # of several about a person the last in their order holds
            order = np.lexsort((-np.arange(len(position)), position))  # of equal positions the first holds
            last = {number: place for place, number in zip(order.tolist(), numbers[order].tolist(), strict=True)}
            chosen = np.fromiter(last.values(), np.int64)
            told = [told[place] for place in chosen.tolist()]
            numbers, position = numbers[chosen], position[chosen]
        self.count += int((self.columns["position"][numbers] == ABSENT).sum())
        self._write(told, numbers, position)

    def _write(self, told: list[_Told], numbers: Ints, position: Ints) -> None:
        """Each of these persons once."""
        count = len(told)
        columns, known = self.columns, self._sort_numbers
        if (tests := columns["tests"][numbers]).any():
            self.free_tests.extend(tests[tests > 0].tolist())
        columns["position"][numbers] = position
        columns["since"][numbers] = np.array([each.since_ms for each in told], np.int64)
        columns["until"][numbers] = np.array(
            [_NEVER if each.until_ms is None else each.until_ms for each in told], np.int64
        )
        sorts = []
        for each in told:
            sort = (each.colour, each.rule, each.reason, each.doses, each.full, each.booster, each.age_band)
            number = known.get(sort)
            if number is None:
                number = known[sort] = len(self.sorts)
                self.sorts.append(Sort(*sort))
            sorts.append(number)
        columns["sort"][numbers] = np.array(sorts, np.uint32)
        kept = [self._keep(each.negatives) if each.negatives else 0 for each in told]
        columns["tests"][numbers] = np.fromiter(kept, np.uint32, count)

    def _keep(self, negatives: Iterable[NegativeTest]) -> int:
        """A row of negative tests."""
        times = dict.fromkeys(_KINDS, _NEVER)
        for each in negatives:
            times[each.test] = max(times[each.test], each.specimen_ms)
        return self.keep_times(tuple(times.values()))

    def keep_times(self, times: Sequence[int]) -> int:
        """A row of negative tests, with a time for each kind."""
        if self.free_tests:
            row = self.free_tests.pop()
        else:
            row = self.tests.length
            self.tests.grow(1)
        for kind, at in zip(_KINDS, times, strict=True):
            self.tests[kind][row] = at
        return row

    def remove(self, person: str) -> None:
        """Forget a person, the name too."""
        if (number := self.people.number(person)) >= 0:
            self._remove(np.array([number]))

    def _remove(self, numbers: Ints) -> None:
        columns = self.columns
        self.count -= int((columns["position"][numbers] != ABSENT).sum())
        tests = columns["tests"][numbers]
        self.free_tests.extend(tests[tests > 0].tolist())
        for name in ("sort", "since", "until", "tests"):
            columns[name][numbers] = 0
        columns["position"][numbers] = ABSENT
        self.people.forget(numbers.tolist())

    def begin_again(self, *, other_log: bool) -> None:
        """The topic is read from its beginning: `end_again` forgets whom it no longer has.

        With `other_log` it is another cluster's topic: the positions known are no measure for its messages.
        """
        self.round = (self.round + 1) % 256
        if other_log:
            position = self.columns["position"]
            position[position != ABSENT] = _BEFORE_ALL

    def end_again(self) -> None:
        """The topic has been read from its beginning to its end."""
        columns = self.columns
        gone = np.flatnonzero((columns["round"] != self.round) & (columns["position"] != ABSENT))
        if len(gone):
            self._remove(gone)

    def restore_sorts(self, sorts: Iterable[Sort]) -> None:
        """Take up the sorts of a kept copy."""
        self.sorts = list(sorts)
        self._sort_numbers = {tuple(sort): number for number, sort in enumerate(self.sorts)}


def _are_good(keys: list[bytes], told: list[_Told], home: Home) -> bool:
    """Whether each is of a person, under that person's key and in that person's partition."""
    persons = [each.person for each in told]
    if not are_names(persons):
        return False
    joined = "\n".join(persons)  # no name has a line's end: equal texts are equal lists
    if "|" in joined or joined.encode() != b"\n".join(keys):
        return False
    return home.partitions == 1 or bool((partitions_of(persons, home.partitions) == home.partition).all())

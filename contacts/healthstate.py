"""What is known of the health of one partition's people, what was told of each, and when that must be looked at again.

A status is a function of a person's facts, the rules and log time. So that a replay tells the same at the same
positions, each record is taken in turn: log time moves, what is due by then is judged, then the record's own person.
Where very many are due at once (rules change, or their date comes) a record judges few of them and a tick many, in
order of time: nothing blocks longer than a batch, and what is left is `wants_tick`.

A state without a snapshot knows not what was told before it: it takes the log in silence up to where it ended when
reading began, and then tells of everybody.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import xxhash

from contacts.colours import ColourRules, colour_of, summary
from contacts.columns import Ints
from contacts.facts import Facts, Row
from contacts.healthrepair import Repair, record_of
from contacts.laterparts import LaterParts
from contacts.people import Directory
from schemas.health import HealthRecord, Status

RECORD_SLICE: Final = 1
TICK_SLICE: Final = 2000
"""How many people, besides its own, a record and a tick judge at most."""

NEVER_MS: Final = -(1 << 62)
"""The log time of a partition that has seen nothing; and no time at which anything must be looked at again."""

_FORMAT: Final = 1
_PART: Final = 1 << 15  # people in one part of a snapshot
_NUMBER_BITS: Final = 32
_NUMBERS: Final = (1 << _NUMBER_BITS) - 1
_SPARE: Final = 1000


RulesOf = Callable[[Mapping[str, str]], tuple[ColourRules, str]]


class Told(NamedTuple):
    """What is to be told of a person; no status: that nothing is known any more."""

    person: str
    status: Status | None


class HealthState:
    """People by number: their packed facts, what was told last (as a digest; 0: nothing), and until when it holds.

    `rules_of` gives the rules in force and their version, where these texts of files came over the log (by id); `zone`
    has their midnights. Up to the offset `silent_until` nothing is told.
    """

    def __init__(self, rules_of: RulesOf, zone: ZoneInfo, silent_until: int = 0) -> None:
        self.log_time_ms = NEVER_MS
        self.people = Directory()
        self.rule_texts: dict[str, str] = {}
        self._rules_of = rules_of
        self._rules, self._rules_version = rules_of({})
        self._zone = zone
        self._silent_until = silent_until
        self._facts: list[bytes] = []
        self._told = array("Q")
        self._until = array("q")
        self._due: list[int] = []  # a heap of (until << 32 | number); an entry counts while `_until` says the same
        self._waiting = 0
        self._sweep: int | None = None
        self._erased: dict[int, int] = {}
        self._repairs: dict[tuple[int, str], bool] = {}  # and whether it was given since this state was loaded
        self._origins: dict[int, int] = {}
        self._made: list[Told] = []
        self._position = (-1, 0)

    def __len__(self) -> int:
        """How many people are known."""
        return len(self._facts)

    # What the log says, each at its offset and with its arrival.

    def numbers(self, persons: list[str]) -> list[int]:
        """The numbers of people, for `take`."""
        found: list[int] = self.people.take(persons).tolist()
        self._make_room()
        return found

    def take(self, offset: int, at_ms: int, number: int, record: HealthRecord) -> None:
        """A record about the person with this number."""
        self._pass_time(offset, at_ms, RECORD_SLICE)
        key = number, record.record_id
        if self._erased and record.told_at_ms < self._erased.get(number, NEVER_MS):
            self._repairs[key] = False
            return
        packed = self._facts[number]
        held = Facts.unpack(packed) if packed else Facts()
        facts = held.take(record)
        if facts is not None:
            if self._repairs:
                self._repairs.pop(key, None)
            self._keep(number, facts, record.person)
        elif Facts().take(record) == Facts({record.record_id: held.rows[record.record_id]}):
            self._repairs.pop(key, None)  # the topic's newest says it
        else:
            self._repairs[key] = False

    def forgotten(self, offset: int, at_ms: int, person: str, record_id: str) -> None:
        """The topic has forgotten a record (a key without a value). What is held is held on; then it is told again."""
        self._pass_time(offset, at_ms, RECORD_SLICE)
        number = self.people.number(person)
        if number >= 0:
            self._repairs.pop((number, record_id), None)
            if record_id in self._rows(number):
                self._repairs[number, record_id] = False

    def erase(self, offset: int, at_ms: int, person: str, before_ms: int) -> None:
        """What was told of a person before a time goes, and what of it is still to come."""
        self._pass_time(offset, at_ms, RECORD_SLICE)
        number = self.numbers([person])[0]
        if before_ms <= self._erased.get(number, NEVER_MS):
            return
        self._erased[number] = before_ms
        rows = self._rows(number)
        gone = [record_id for record_id, row in rows.items() if row.told_ms < before_ms]
        if gone:
            self._repairs.update(dict.fromkeys(((number, record_id) for record_id in gone), False))
            self._keep(number, Facts({name: row for name, row in rows.items() if row.told_ms >= before_ms}))

    def tick(self, offset: int, at_ms: int) -> None:
        """Time has passed."""
        self._pass_time(offset, at_ms, TICK_SLICE)

    def change_rules(self, offset: int, at_ms: int, origin: tuple[int, int], rules_id: str, text: str) -> None:
        """A file of rules from here on. If it is the one in force, everybody is judged anew, by and by."""
        self._pass_time(offset, at_ms, RECORD_SLICE)
        partition, place = origin
        if place <= self._origins.get(partition, -1):
            return
        self._origins[partition] = place
        self.rule_texts[rules_id] = text
        before = self._rules_version
        self._rules, self._rules_version = self._rules_of(self.rule_texts)
        if self._rules_version != before:
            self._sweep = 0

    # What comes of it.

    def made(self) -> list[Told]:
        """What is to be told since this was last asked, in order."""
        made, self._made = self._made, []
        return made

    def repairs(self) -> list[Repair]:
        """What the topic should be told, so that its newest records say what is held; each is given once.

        Ask when the log has been read to its end: what is told anew needs no repair.
        """
        new = [key for key, given in self._repairs.items() if not given]
        self._repairs.update(dict.fromkeys(new, True))
        found = []
        for number, record_id in new:
            person, row = self.people.name(number), self._rows(number).get(record_id)
            found.append(Repair(person, record_id, None if row is None else record_of(person, record_id, row)))
        return found

    def wants_tick(self, now_ms: int, next_offset: int) -> bool:
        """Whether a tick at `now_ms` would tell anything; `next_offset` is where the log is read on."""
        if self._silent_until:
            return next_offset >= self._silent_until
        return self._sweep is not None or bool(self._due and self._due[0] >> _NUMBER_BITS <= now_ms)

    def row(self, person: str, record_id: str) -> Row | None:
        """What is held of one record."""
        number = self.people.number(person)
        return self._rows(number).get(record_id) if number >= 0 else None

    # Judging.

    def _pass_time(self, offset: int, at_ms: int, most: int) -> None:
        self.log_time_ms = max(self.log_time_ms, at_ms)
        self._position = offset, 0
        if self._silent_until:
            if offset < self._silent_until:
                return
            self._silent_until, self._sweep = 0, 0
        due, now_ms = self._due, self.log_time_ms
        while due and most and due[0] >> _NUMBER_BITS <= now_ms:
            entry = heappop(due)
            number = entry & _NUMBERS
            if self._until[number] == entry >> _NUMBER_BITS:
                self._holds_until(number, None)
                self._judge(number, Facts.unpack(self._facts[number]))
                most -= 1
        while self._sweep is not None and most:
            if self._sweep == len(self):
                self._sweep = None
                return
            number, self._sweep = self._sweep, self._sweep + 1
            if self._facts[number]:
                self._judge(number, Facts.unpack(self._facts[number]))
            elif number in self._erased:  # before a rebuild something may have been told
                self._tell(number, None)
            most -= 1

    def _keep(self, number: int, facts: Facts, person: str = "") -> None:
        self._facts[number] = facts.pack() if facts.rows else b""
        if self._silent_until:
            return
        if facts.rows:
            self._judge(number, facts, person)
        else:
            self._holds_until(number, None)
            self._told[number] = 0
            self._tell(number, None)

    def _judge(self, number: int, facts: Facts, person: str = "") -> None:
        """Tell of a person (by name where it is at hand), if there is anything new."""
        at_ms = self.log_time_ms
        judged = colour_of(facts, at_ms, self._rules, self._zone, used=False)
        doses, full, booster, age_band, negatives = summary(facts, at_ms, self._rules)
        self._holds_until(number, judged.until_ms)
        said = (
            judged.colour, judged.since_ms, judged.until_ms, judged.rule, judged.reason,
            doses, full, booster, age_band, negatives,
        )  # fmt: skip
        digest = xxhash.xxh3_64_intdigest(_ENCODE(said)) or 1
        if digest == self._told[number]:
            return
        self._told[number] = digest
        self._tell(
            number,
            Status(
                person=person or self.people.name(number),
                colour=judged.colour,
                since_ms=judged.since_ms,
                until_ms=judged.until_ms,
                rule=judged.rule,
                reason=judged.reason,
                log_time_ms=at_ms,
                position=self._position,
                doses=doses,
                full=full,
                booster=booster,
                age_band=age_band,
                negatives=negatives,
            ),
        )

    def _tell(self, number: int, status: Status | None) -> None:
        self._made.append(Told(self.people.name(number) if status is None else status.person, status))
        self._position = self._position[0], self._position[1] + 1

    def _holds_until(self, number: int, until_ms: int | None) -> None:
        held, new = self._until[number], NEVER_MS if until_ms is None else until_ms
        if held == new:
            return
        self._waiting += (new != NEVER_MS) - (held != NEVER_MS)
        self._until[number] = new
        if new != NEVER_MS:
            heappush(self._due, new << _NUMBER_BITS | number)
            if len(self._due) > 2 * self._waiting + _SPARE:
                self._tidy()

    def _tidy(self) -> None:
        """A heap of nothing but what counts. (A sorted list is one.)"""
        until: Ints = np.frombuffer(self._until, np.int64)
        numbers = np.flatnonzero(until != NEVER_MS)
        numbers = numbers[np.argsort(until[numbers], kind="stable")]
        self._due = [
            at << _NUMBER_BITS | number for at, number in zip(until[numbers].tolist(), numbers.tolist(), strict=True)
        ]
        self._waiting = len(self._due)

    # Keeping.

    def _rows(self, number: int) -> dict[str, Row]:
        packed = self._facts[number]
        return dict(Facts.unpack(packed).rows) if packed else {}

    def _make_room(self) -> None:
        new = len(self.people) - len(self._facts)
        if new > 0:
            self._facts += [b""] * new
            self._told.frombytes(bytes(8 * new))
            self._until += array("q", (NEVER_MS,)) * new

    def dump(self) -> Mapping[str, bytes]:
        """The whole state, as named parts; those of the people are packed when they are read."""
        state = {
            "format": _FORMAT,
            "log_time_ms": self.log_time_ms,
            "silent_until": self._silent_until,
            "sweep": self._sweep,
            "erased": self._erased,
            "repairs": list(self._repairs),
            "origins": self._origins,
            "rule_texts": self.rule_texts,
            "rules_version": self._rules_version,
        }
        small = {"state": msgspec.msgpack.encode(state), "told": self._told.tobytes(), "until": self._until.tobytes()}
        facts = {f"facts.{first // _PART}": self._facts[first : first + _PART] for first in range(0, len(self), _PART)}
        return LaterParts({**small, **self.people.dump()}, {name: _later(part) for name, part in facts.items()})

    @classmethod
    def load(cls, parts: Mapping[str, bytes], rules_of: RulesOf, zone: ZoneInfo) -> HealthState:
        """What `dump` gave. Where the rules are not those of then everybody is judged anew.

        Raises ValueError when it is of another format.
        """
        state: dict[str, Any] = msgspec.msgpack.decode(parts["state"], strict=False)
        if state.get("format") != _FORMAT:
            raise ValueError("another version of Lacak wrote it")
        loaded = cls(rules_of, zone, state["silent_until"])
        loaded.log_time_ms, loaded._sweep = state["log_time_ms"], state["sweep"]
        loaded.rule_texts = state["rule_texts"]
        loaded._rules, loaded._rules_version = rules_of(loaded.rule_texts)
        loaded._erased = {int(number): before for number, before in state["erased"].items()}
        loaded._repairs = dict.fromkeys(((number, record_id) for number, record_id in state["repairs"]), False)
        loaded._origins = {int(partition): origin for partition, origin in state["origins"].items()}
        loaded.people.load(parts)
        for part in range((len(loaded.people) + _PART - 1) // _PART):
            loaded._facts += _FACTS.decode(parts[f"facts.{part}"])
        loaded._told.frombytes(parts["told"])
        loaded._until.frombytes(parts["until"])
        loaded._tidy()
        if state["rules_version"] != loaded._rules_version:
            loaded._sweep = 0
        return loaded


def _later(part: list[bytes]) -> Any:
    return lambda: _ENCODE(part)


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_FACTS: Final = msgspec.msgpack.Decoder(list[bytes])

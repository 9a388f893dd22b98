"""Bad messages of the topics that carry JSON: spoiled ones, and well-formed ones that say what cannot be."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from schemas.keys import health_key
from schemas.partitions import partition_of
from tests.flood.bad import UNDECODABLE, Bad, because
from tests.flood.spoiling import Spoiler
from tests.golden.record import SAMPLES
from tests.pipeline import FAR_DAYS
from tests.worlds import BEGIN, DAY

Fields = dict[str, Any]

FIELDS: Final = {
    "scans": ("person", "at_ms"),
    "venues": ("venue", "valid_from_ms"),
    "erasures": ("person", "before_ms"),
    "occupancy": ("venue", "inside"),
    "clusters": ("venue", "log_time_ms"),
    "test-results": ("person", "specimen_ms"),
    "trace-requests": ("person", "hops"),
    "contact-decisions": ("person", "decided_at_ms"),
    "interview-contacts": ("person", "start_ms"),
    "cases": ("case_id", "specimen_ms"),
    "traces": ("trace_id", "revision"),
    "trace-queries": ("query_id", "reply_partition"),
    "trace-answers": ("trace_id", "partition"),
    "declarations": ("person", "start_ms"),
    "health-records": ("person", "told_at_ms"),
    "statuses": ("person", "since_ms"),
    "rules": ("rules_id", "published_at_ms"),
    "recounts": ("venue", "at_ms"),
    "door-events": ("event_id", "at_ms"),
}
"""Of each topic's message a text and a whole number that must be there."""

COMPACTED: Final = frozenset(
    {"venues", "erasures", "occupancy", "clusters", "cases", "traces", "health-records", "statuses", "rules"}
)
BY_PERSON: Final = frozenset(
    {"test-results", "trace-requests", "contact-decisions", "interview-contacts", "declarations", "health-records",
     "statuses", "scans"}
)  # fmt: skip
_NAMES: Final = ("", "a" * 201, "p\u0000", "tab\there", "\x7f", "line\nbreak")
_ID, _BOMB = "flood", zlib.compress(bytes(100_000_000), 9)
_RULES: Final = (
    "no TOML", "a = " + "[" * 20_000, "a." * 20_000 + "b = 1", "a = " + "9" * 5_000, "[[entry]]\nid = 1\n",
    "x" * 300_000, 'a = "\\ud800"', "entry = 1", "\x00", "[levels]\n" * 3,
)  # fmt: skip


def samples(topic: str) -> list[Fields]:
    """The good messages of a topic, as plain fields."""
    return [msgspec.json.decode(msgspec.json.encode(sample)) for sample in SAMPLES[topic]]


class Messages:
    """Bad messages of one topic of JSON with so many partitions."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.topic, self._partitions = topic, partitions
        text, number = FIELDS[topic]
        self._good = samples(topic)[-1]
        spoilt = [each for each in samples(topic) if number in each and text in each]
        self._spoiler = Spoiler(spoilt or [{**self._good, number: 1}], text, number)

    def make(self, dice: random.Random) -> Bad:
        """One of them."""
        if dice.random() < 0.55:
            kind, value = self._spoiler.spoil(dice)
            return Bad(self.topic, dice.randrange(self._partitions), b"flood", value, kind, UNDECODABLE)
        found = dice.choice(SAID)
        made = found(self, dice) if self.topic in TOPICS_OF.get(found, (self.topic,)) else None
        if made is None:
            made = self._own(dice)
        return made

    def _own(self, dice: random.Random) -> Bad:
        faults = OWN.get(self.topic)
        if not faults:
            kind, value = self._spoiler.spoil(dice)
            return Bad(self.topic, dice.randrange(self._partitions), b"flood", value, kind, UNDECODABLE)
        kind, changes, reasons = dice.choice(list(faults(dice)))
        return self.with_fields(kind, changes, reasons, dice)

    def with_fields(
        self, kind: str, changes: Fields, reasons: frozenset[str], dice: random.Random, away: int = 0
    ) -> Bad:
        """A well-formed message, under its own key, `away` partitions from where it belongs."""
        fields = {**self._good, **changes}
        person = str(fields.get("person", ""))
        home = partition_of(person, self._partitions) if self.topic in BY_PERSON else dice.randrange(self._partitions)
        partition = (home + away) % self._partitions
        return Bad(self.topic, partition, self.key(fields), msgspec.json.encode(fields), kind, reasons)

    def key(self, fields: Fields) -> bytes:
        """The key under which such a message goes."""
        match self.topic:
            case "venues":
                return f"{fields['venue']}\x1f{fields.get('valid_from_ms', 0)}".encode()
            case "rules":
                return f"{fields['kind']}/{fields['rules_id']}".encode()
            case "health-records":
                return health_key(str(fields["person"]), str(fields["record_id"]))
            case "occupancy" | "clusters" | "recounts" | "door-events":
                return str(fields["venue"]).encode()
            case "cases":
                return str(fields["case_id"]).encode()
            case "traces":
                return str(fields["trace_id"]).encode()
        return str(fields["person"]).encode() if "person" in fields else b"p1:0123"


def _nameless(of: Messages, dice: random.Random) -> Bad:
    field, reasons = (
        ("venue", because("bad_venue", "refused_venue"))
        if of.topic in ("venues", "occupancy", "clusters", "recounts")
        else ("person", because("bad_person", "bad_record"))
    )
    return of.with_fields("no name", {field: dice.choice(_NAMES)}, reasons, dice)


def _elsewhere(of: Messages, dice: random.Random) -> Bad:
    changes = {"person": f"p1:{dice.getrandbits(128):032x}"}
    away = dice.randrange(1, of._partitions) if of._partitions > 1 else 0
    if not away:
        return _nameless(of, dice)
    return of.with_fields("wrong partition", changes, because("wrong_partition"), dice, away)


def _under_another_key(of: Messages, dice: random.Random) -> Bad:
    changes = {"person": "p1:0123"} if of.topic in BY_PERSON else {}
    made = of.with_fields("wrong key", changes, because("bad_key", "refused_rules", "bad_rules"), dice)
    return made._replace(key=dice.choice((b"", b"\xff", b"other", (made.key or b"") + b"x")))


def _nothing(of: Messages, dice: random.Random) -> Bad:
    return Bad(of.topic, dice.randrange(of._partitions), b"flood", None, "no value", UNDECODABLE)


SAID: Final = (_nameless, _elsewhere, _under_another_key, _nothing)
TOPICS_OF: Final[dict[Callable[..., Bad], frozenset[str]]] = {
    _nameless: BY_PERSON
    | {"venues", "erasures", "occupancy", "clusters", "cases", "traces", "recounts", "trace-queries"},
    _elsewhere: BY_PERSON,
    _under_another_key: COMPACTED,
    _nothing: frozenset(FIELDS) - COMPACTED,
}


def _scans(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    at, person = BEGIN + dice.randrange(DAY), f"p1:{dice.getrandbits(128):032x}"
    well = {"person": person, "venue": "v0", "at_ms": at, "arrived_at_ms": at}
    yield "no venue's name", {**well, "venue": dice.choice(_NAMES)}, because("bad_venue")
    yield "in the future", {**well, "at_ms": at + 300_001 + dice.randrange(DAY)}, because("in_the_future")
    yield "too old", {**well, "at_ms": at - int(FAR_DAYS * DAY) - 1 - dice.randrange(DAY)}, because("too_old")
    yield "arrival ahead", {**well, "at_ms": 4 * 10**12, "arrived_at_ms": 4 * 10**12}, because("arrival_ahead")


def _venues(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    name = f"flood-{dice.randrange(10**6)}"
    yield "below zero", {"venue": name, "capacity": -1, "within": None}, because("refused_venue")
    yield "far too many", {"venue": name, "capacity": 2**70, "within": None}, because("refused_venue")
    yield "too long a stay", {"venue": name, "longest_stay_minutes": 1e300, "within": None}, because("refused_venue")
    yield "within itself", {"venue": name, "within": name}, because("refused_venue")


def _rules(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    kind = dice.choice(("door", "colours"))
    text = {"kind": kind, "rules_id": _ID, "text": dice.choice(_RULES)}
    yield "no rules", text, because("refused_rules", "bad_rules")


def _recounts(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    yield "impossible count", {"inside": dice.choice((-1, 2 * 10**9, 2**70, -(2**70)))}, because("bad_count")
    yield "in the future", {"at_ms": 4 * 10**12}, because("in_the_future")


def _requests(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    well = {"person": f"p1:{dice.getrandbits(128):032x}", "request_id": f"flood-{dice.getrandbits(64)}"}
    none = {"onset_ms": None, "specimen_ms": None}
    yield "no case", {**well, **none}, because("no_case")
    yield "too many hops", {**well, "hops": dice.choice((0, 99, 2**31 - 1))}, because("bad_hops")
    yield "too many people", {**well, "people_most": 2**31 - 1}, because("bad_people")
    yield "no time to search", {**well, "seconds_most": dice.choice((-1.0, -1e-9, 1e300))}, because("bad_seconds")
    yield "unknown profile", {**well, "profile": "no such"}, because("unknown_profile")
    yield "risk above one", {**well, "least_risk": dice.choice((1.5, -0.1, 1e308))}, UNDECODABLE


def _decisions(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    yield "no contact's name", {"contact": dice.choice(_NAMES)}, because("bad_person")
    yield "unknown word", {"grade": "perhaps"}, UNDECODABLE


def _interviews(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    yield "ends before it begins", {"end_ms": 0}, because("bad_interview")
    yield "no contact's name", {"contact": dice.choice(_NAMES)}, because("bad_interview")
    yield "with oneself", {"person": "p1:0", "contact": "p1:0"}, because("bad_interview")


def _queries(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    well = {"hop": 1, "people": [], "since_ms": [], "until_ms": [], "profile_json": None}
    yield "answer to nowhere", {"reply_partition": dice.choice((2, 99, 2**31 - 1))}, because("bad_question")
    yield (
        "columns differ",
        {"reply_partition": 0, "people": ["a"], "since_ms": [], "until_ms": [1, 2]},
        because("bad_question"),
    )
    yield (
        "no profile",
        {**well, "reply_partition": 0, "profile_json": dice.choice((None, 1, [], {}, "x"))},
        because("bad_question"),
    )
    yield "no hop", {**well, "reply_partition": 0, "hop": 0}, because("bad_question")


def _answers(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    none: Fields = {"meetings": None, "part": 0, "parts": 1, "partition": 0}
    rows = {"people": ["a"], "venues": ["v"], "categories": ["c"]}
    field = dice.choice(("columns", "rows"))
    yield "from nowhere", {**none, "partition": 2**31 - 1}, because("bad_answer")
    yield "no such part", {**none, "part": 5, "parts": 3}, because("bad_answer")
    yield "too many parts", {**none, "part": 0, "parts": 2**31 - 1}, because("bad_answer")
    if dice.random() < 0.02:
        yield "meetings that inflate", {**none, "meetings": {**rows, field: _text(_BOMB)}}, because("bad_answer")
    yield (
        "meetings cut short",
        {**none, "meetings": {**rows, field: _text(zlib.compress(b"1234567"))}},
        because("bad_answer"),
    )
    yield (
        "meetings of nobody",
        {**none, "meetings": {**rows, field: _text(zlib.compress(b"\x09" * 88))}},
        because("bad_answer"),
    )
    yield "no zlib", {**none, "meetings": {**rows, field: _text(dice.randbytes(40))}}, because("bad_answer")


def _declarations(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    well = {"person": f"p1:{dice.getrandbits(128):032x}", "withdrawn": False}
    yield "ends before it begins", {**well, "end_ms": 0}, because("bad_declaration")
    yield (
        "no country",
        {**well, "venue": "", "country": dice.choice(("", "my", "XXX", "1"))},
        because("bad_declaration"),
    )
    yield "no id", {**well, "declaration_id": dice.choice(_NAMES)}, because("bad_declaration")


def _health(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    well = {"person": f"p1:{dice.getrandbits(128):032x}"}
    yield "no id", {**well, "record_id": dice.choice(_NAMES)}, because("bad_record")
    yield "unknown fact", {**well, "fact": {"fact": "horoscope"}}, UNDECODABLE
    yield (
        "dose out of range",
        {**well, "fact": {"fact": "vaccination", "product": "x", "at_ms": 1, "dose": 2**70}},
        UNDECODABLE,
    )


def _statuses(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    well = {"person": f"p1:{dice.getrandbits(128):032x}"}
    yield "doses out of range", {**well, "doses": 2**31}, UNDECODABLE
    yield "position out of range", {**well, "position": [2**62, 0]}, UNDECODABLE
    yield "a NUL in a text", {**well, "reason": "a\u0000b"}, because("unstorable")


def _reports(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    yield "no id", {"trace_id": dice.choice(_NAMES[:1]), "case_id": dice.choice(_NAMES[:1])}, because("bad_record")
    yield "position out of range", {"position": [2**70, 0]}, UNDECODABLE


def _events(dice: random.Random) -> Iterator[tuple[str, Fields, frozenset[str]]]:
    yield "no id", {"event_id": dice.choice(("", "a" * 501, "\u0000"))}, because("bad_record")
    yield "a NUL in a text", {"event_id": f"e{dice.getrandbits(64)}", "detail": "\u0000"}, because("unstorable")
    yield "unknown word", {"deed": "slept"}, UNDECODABLE


OWN: Final[dict[str, Callable[[random.Random], Iterator[tuple[str, Fields, frozenset[str]]]]]] = {
    "scans": _scans,
    "venues": _venues,
    "rules": _rules,
    "recounts": _recounts,
    "trace-requests": _requests,
    "contact-decisions": _decisions,
    "interview-contacts": _interviews,
    "trace-queries": _queries,
    "trace-answers": _answers,
    "declarations": _declarations,
    "health-records": _health,
    "statuses": _statuses,
    "cases": _reports,
    "traces": _reports,
    "door-events": _events,
}


def _text(data: bytes) -> str:
    return msgspec.json.decode(msgspec.json.encode(data), type=str)

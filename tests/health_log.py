"""A partition of `health-records` on paper: entries as a state takes them, what readers make of what it tells, and
what the topic is after the broker has compacted it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

from contacts.colours import Facts, colour_of, load_colour_rules, summary
from contacts.coloursinforce import ColoursInForce
from contacts.healthrepair import Repair
from contacts.healthstate import HealthState, Told
from schemas.health import (
    ContactFact,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    Status,
    TestFact,
    TravelFact,
    VaccinationFact,
)
from tests.oracle_colours import Oracle

ZONE = ZoneInfo("Asia/Jakarta")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_630_256_400_000
"""30 August 2021, midnight in Jakarta."""


class Erased(NamedTuple):
    """An erasure in the log."""

    person: str
    before_ms: int


class Forgotten(NamedTuple):
    """A key without a value."""

    person: str
    record_id: str


class Rules(NamedTuple):
    """Rules that were published."""

    offset: int
    rules_id: str
    text: str


class Entry(NamedTuple):
    """One record of the log: when it came, and what it says; an int is a tick."""

    at_ms: int
    what: HealthRecord | Erased | Forgotten | Rules | int


def key(what: object) -> object:
    """What the broker compacts by."""
    if isinstance(what, (HealthRecord, Forgotten)):
        return what.person, what.record_id
    if isinstance(what, Erased):
        return what.person, ""
    return what.rules_id if isinstance(what, Rules) else "tick"


def new(silent_until: int = 0, colours: ColoursInForce | None = None) -> HealthState:
    """A state under Lacak's own rules."""
    return HealthState(colours or ColoursInForce(), ZONE, silent_until)


def again(state: HealthState) -> HealthState:
    """The state after a stop and a start, from its snapshot."""
    parts = state.dump()
    return HealthState.load({name: parts[name] for name in parts}, ColoursInForce(), ZONE)


def feed(state: HealthState, log: Sequence[Entry | None], first: int = 0, last: int | None = None) -> list[Told]:
    """Let a state take the entries `[first, last)`, each at its offset (None: compacted away); what it tells."""
    told: list[Told] = []
    for offset in range(first, len(log) if last is None else last):
        entry = log[offset]
        if entry is None:
            continue
        at_ms, what = entry
        if isinstance(what, HealthRecord):
            state.take(offset, at_ms, state.numbers([what.person])[0], what)
        elif isinstance(what, Erased):
            state.erase(offset, at_ms, *what)
        elif isinstance(what, Forgotten):
            state.forgotten(offset, at_ms, *what)
        elif isinstance(what, Rules):
            state.change_rules(offset, at_ms, (0, what.offset), what.rules_id, what.text)
        else:
            state.tick(offset, max(at_ms, what))
        told += state.made()
    return told


def read(told: Iterable[Told], held: Mapping[str, Status] | None = None) -> dict[str, Status]:
    """What a reader holds after these, newest position first."""
    found = dict(held or {})
    for person, status in told:
        if status is None:
            found.pop(person, None)
        elif person not in found or status.position > found[person].position:
            found[person] = status
    return found


def said(held: Mapping[str, Status]) -> dict[str, Status]:
    """What statuses say, wherever they were told."""
    return {name: msgspec.structs.replace(each, position=(0, 0), log_time_ms=0) for name, each in held.items()}


def repaired(log: Sequence[Entry | None], repairs: Iterable[Repair], at_ms: int) -> list[Entry | None]:
    """The log with what a state has the topic say."""
    more = [Entry(at_ms, Forgotten(r.person, r.record_id) if r.record is None else r.record) for r in repairs]
    return [*log, *more]


def compacted(log: Sequence[Entry | None]) -> list[Entry | None]:
    """The log after compaction: the newest of each key is left, at its offset; tombstones too, in the end, go."""
    newest = {key(entry.what): offset for offset, entry in enumerate(log) if entry is not None}
    return [
        entry
        if entry is not None and newest[key(entry.what)] == offset and not isinstance(entry.what, Forgotten)
        else None
        for offset, entry in enumerate(log)
    ]


def quiet(state: HealthState, log: list[Entry | None]) -> tuple[list[Entry | None], list[Told]]:
    """Tick a state until nothing is left to tell; the log with these ticks, and what was told."""
    told: list[Told] = []
    while state.wants_tick(state.log_time_ms, len(log)):
        log = [*log, Entry(state.log_time_ms, state.log_time_ms)]
        told += feed(state, log, len(log) - 1)
    return log, told


def expected(log: Sequence[Entry | None], at_ms: int) -> dict[str, Status]:
    """Of each record the latest told that no erasure took, and what the rules make of them: held against the oracle."""
    entries = [entry.what for entry in log if entry is not None]
    erased: dict[str, int] = {}
    for each in entries:
        if isinstance(each, Erased):
            erased[each.person] = max(each.before_ms, erased.get(each.person, each.before_ms))
    latest: dict[tuple[str, str], HealthRecord] = {}
    for each in entries:
        if isinstance(each, HealthRecord) and each.told_at_ms >= erased.get(each.person, each.told_at_ms):
            held = latest.get((each.person, each.record_id))
            if held is None or each.told_at_ms > held.told_at_ms:
                latest[each.person, each.record_id] = each
    found: dict[str, Status] = {}
    rules = load_colour_rules()
    for person in {name for name, _ in latest}:
        facts = Facts()
        for (name, _), record in latest.items():
            facts = (facts.take(record) or facts) if name == person else facts
        judged, more = colour_of(facts, at_ms, rules, ZONE), summary(facts, at_ms, rules)
        oracle = Oracle([record for (name, _), record in latest.items() if name == person], ZONE)
        assert (judged.colour, judged.reason) == (oracle.judge(at_ms)[0], oracle.judge(at_ms)[2])
        assert (more.doses, more.full, more.booster) == oracle.had(at_ms)
        found[person] = Status(
            person=person, colour=judged.colour, since_ms=judged.since_ms, until_ms=judged.until_ms, rule=judged.rule,
            reason=judged.reason, log_time_ms=0, position=(0, 0), **more._asdict(),
        )  # fmt: skip
    return found


PEOPLE = ("p1:" + "a" * 32, "p1:" + "b" * 32, "someone else")

_TIMES = st.integers(-40 * 24, 400 * 24).map(lambda hours: START + hours * HOUR)

FACTS = st.one_of(
    st.builds(
        lambda kind, outcome, at, wait: TestFact(
            test=kind, outcome=outcome, specimen_ms=at, result_ms=at + wait * HOUR
        ),
        st.sampled_from(["pcr", "antigen"]),
        st.sampled_from(["positive", "negative"]),
        _TIMES,
        st.integers(0, 40),
    ),
    st.builds(
        lambda product, at: VaccinationFact(product=product, at_ms=at),
        st.sampled_from(["CoronaVac", "Ad26.COV2.S"]),
        _TIMES,
    ),
    st.builds(lambda at: RecoveryFact(recovered_ms=at), _TIMES),
    st.builds(lambda band: PersonFact(age_band=band), st.sampled_from(["0-5", "6-11", "12-17", "18-59", "60+"])),
    st.builds(
        lambda grade, at: ContactFact(trace_id="f-1", grade=grade, registered_ms=at, last_exposure_ms=at, risk=0.5),
        st.sampled_from(["possible", "confirmed", "dismissed"]),
        _TIMES,
    ),
    st.builds(lambda at: TravelFact(place="", country="SG", start_ms=at - DAY, end_ms=at), _TIMES),
)


@st.composite
def logs(draw: st.DrawFn, most: int = 14) -> list[Entry | None]:
    """Logs of few people and many changes: records told late, twice or out of order, ticks over days, erasures.

    No two records are told at one time, so which of a key is the latest is plain. Of ticks and erasures, which are
    sent in order, the newest in the log is the greatest.
    """
    count = draw(st.integers(1, most))
    now = ticked = START
    said: list[HealthRecord] = []
    erased: dict[str, int] = {}
    entries: list[Entry | None] = []
    for number in range(count):
        now += draw(st.sampled_from([0, MINUTE, 5 * HOUR, 3 * DAY, 60 * DAY]))
        kind = draw(st.sampled_from(["record"] * 6 + ["tick", "tick", "erased", "again"]))
        person = draw(st.sampled_from(PEOPLE))
        if kind == "tick":
            ticked = max(ticked, now + draw(st.sampled_from([0, DAY, 11 * DAY])))
            entries.append(Entry(now, ticked))
        elif kind == "erased":
            before = max(now - draw(st.sampled_from([0, HOUR, 10 * DAY])), erased.get(person, 0))
            erased[person] = before
            entries.append(Entry(now, Erased(person, before)))
        elif kind == "again" and said:
            entries.append(Entry(now, draw(st.sampled_from(said))))
        else:
            told = now - draw(st.sampled_from([0, 0, 2 * HOUR, 20 * DAY])) - number
            record = HealthRecord(
                person=person, record_id=draw(st.sampled_from(["a", "b", "c"])), fact=draw(FACTS), told_at_ms=told,
                withdrawn=draw(st.sampled_from([False, False, False, True])),
            )  # fmt: skip
            said.append(record)
            entries.append(Entry(now, record))
    return entries

"""The judge: after a schedule, when all is level again, what stands is held against the oracles, kind by kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Set
from typing import Any, Final

import msgspec

from schemas.health import Status
from schemas.messages import Trace
from streams.reader import read_topic
from streams.settings import Settings
from tests.chaos import seen
from tests.chaos.expected import Expected, expect
from tests.chaos.load import Load
from tests.chaos.seen import Letter, Said, Stands
from tests.chaos.town import Town
from tests.health_log import expected as expected_statuses

_LOOK_SECONDS: Final = 1.0
_SHOWN: Final = 3
_LETTERED: Final = ("test-results", "venues")


class Difference(msgspec.Struct, frozen=True):
    """One kind of what stands that is not as it must be: how much is missing, too much or other; the first of it."""

    kind: str
    missing: int
    extra: int
    other: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}: {self.missing} missing, {self.extra} too much, {self.other} other; " + "; ".join(
            self.first
        )


class Verdict(msgspec.Struct, frozen=True):
    """What the judge found. `counts` says how much of each kind was compared; no differences: all is as it must be.
    `late` are the kinds that differed at the look before the last, for they take their time after the last scan."""

    counts: dict[str, int]
    differences: tuple[Difference, ...]
    seconds: float
    late: tuple[str, ...] = ()


class Judge:
    """Holds one run's state against what must stand. `watch` is called while it waits."""

    def __init__(self, settings: Settings, town: Town, load: Load, watch: Callable[[], None]) -> None:
        self._settings, self._town, self._load, self._watch = settings, town, load, watch

    def judge(self, seconds: float) -> Verdict:
        """Compare, again and again until all is equal or `seconds` have passed."""
        began = time.monotonic()
        deadline = began + seconds
        log = self._whole_log(deadline)
        wanted = expect(self._town, log, self._other_letters())
        late: tuple[str, ...] = ()
        while True:
            self._watch()
            differences, counts = self._compare(log, wanted)
            if not differences or time.monotonic() > deadline:
                return Verdict(counts, tuple(differences), time.monotonic() - began, late)
            late = tuple(each.kind for each in differences)
            time.sleep(_LOOK_SECONDS)

    def _whole_log(self, deadline: float) -> Said:
        """The log of scans, once all that the gateway answered is in it, or time is up."""
        while True:
            log = seen.said(self._settings, self._town.bad)
            if self._load.answered <= log.ids or time.monotonic() > deadline:
                return log
            self._watch()
            time.sleep(_LOOK_SECONDS)

    def _other_letters(self) -> set[Letter]:
        bad = {
            (topic, record.partition, record.offset, 0, self._town.bad[record.value])
            for topic in _LETTERED
            for record in read_topic(self._settings, topic)
            if record.value is not None and record.value in self._town.bad
        }
        return bad | {  # ticks of a worker whose clock is ahead
            (topic, record.partition, record.offset, 0, "arrival_ahead")
            for topic in ("scans", "health-records")
            for record in read_topic(self._settings, topic)
            if seen.is_tick_ahead(record)
        }

    def _compare(self, log: Said, wanted: Expected) -> tuple[list[Difference], dict[str, int]]:
        found: list[Difference | None] = []
        counts: dict[str, int] = {}

        def sets(kind: str, there: Collection[Any], must: Collection[Any]) -> None:
            counts[kind] = len(must)
            found.append(_sets(kind, there, must))

        def maps(kind: str, there: Mapping[Any, Any], must: Mapping[Any, Any]) -> None:
            counts[kind] = len(must)
            found.append(_maps(kind, there, must))

        said = {(scan.person, scan.venue, scan.kind, scan.at) for scan in log.scans}
        acknowledged = {(scan.person, scan.venue, scan.kind, scan.at_ms) for scan in self._load.said}
        sets("acknowledged scans", acknowledged & said, acknowledged)
        sets("answers of the gateway", self._load.answered & log.ids, self._load.answered)
        log_times = seen.log_times(self._settings)
        sets("visits", [str(visit) for visit in seen.visits(self._settings)], [str(visit) for visit in wanted.visits])
        letters = {(e.topic, e.partition, e.offset, e.row, e.reason) for e in seen.letters(self._settings)}
        sets("dead letters", letters, wanted.letters)
        windows = wanted.windows_by(log_times)
        inside = {venue: count for venue, count in wanted.inside_at(log_times).items() if count}
        statuses = expected_statuses(seen.health_log(self._settings), time.time_ns() // 1_000_000)
        in_database, in_topics = seen.in_database(self._settings.database), seen.in_topics(self._settings)
        told = {(trace.person, trace.direction) for trace in in_topics.traces.values()}
        for where, stands in (("topic", in_topics), ("PostgreSQL", in_database)):
            early = {
                key for key in stands.windows.keys() - windows.keys() if wanted.windows.get(key) == stands.windows[key]
            }
            maps(f"windows, {where}", {key: stands.windows[key] for key in stands.windows.keys() - early}, windows)
            maps(f"inside, {where}", {venue: n for venue, n in stands.inside.items() if n}, inside)
            maps(f"statuses, {where}", _told(stands.statuses), _told(statuses))
            self._traces(where, stands, wanted, told, max(log_times.values()), maps)
            ids = {t.person: t.case_id for t in stands.traces.values() if t.state != "withdrawn"}
            if ids.keys() <= self._town.cases.keys():
                sets(f"clusters, {where}", stands.clusters, wanted.clusters(ids))
            cases = sorted([(p, False) for p in self._town.cases] + [(p, True) for p in self._town.withdrawn])
            sets(f"cases, {where}", sorted(stands.cases.values()), cases)
        return [each for each in found if each is not None], counts

    def _traces(
        self,
        where: str,
        stands: Stands,
        wanted: Expected,
        told: Set[tuple[str, str]],
        ended_ms: int,
        maps: Callable[..., None],
    ) -> None:
        """`told`: of whom the topic holds any report. A case that was withdrawn before there was one has none.

        A trace that stood no longer at log time `ended_ms` is owed what came while it stood, and what was known when it
        was made, if that was later; it may have more.
        """
        there: dict[tuple[str, str, int], Any] = {}
        must: dict[tuple[str, str, int], Any] = {}
        for trace in sorted(stands.traces.values(), key=lambda each: each.trace_id):
            own = (trace.person, trace.direction)
            there[*own, sum(key[:2] == own for key in there)] = _report(trace)
            if trace.person in self._town.cases:
                must[*own, 0] = ("complete", *wanted.contacts(*own, trace.as_of_ms))
                until_ms = trace.standing_until_ms or ended_ms
                if there[*own, 0] != must[*own, 0] and until_ms < ended_ms:
                    ended = until_ms, {each.partition: each.offset for each in trace.as_of}
                    must[*own, 0] = ("complete", *wanted.contacts(*own, trace.as_of_ms, ended))
        for person in self._town.cases:
            for direction in ("forward", "backward"):
                must.setdefault((person, direction, 0), "no such trace")
        for person in self._town.withdrawn:
            for direction in ("forward", "backward"):
                if (person, direction) in told:
                    must[person, direction, 0] = ("withdrawn", None, {})
        maps(f"traces, {where}", there, must)


def _report(trace: Trace) -> tuple[str, tuple[int, int] | None, dict[str, list[tuple[str, int, int]]]]:
    contacts = {
        contact.person: sorted((row.venue, row.start_ms, row.end_ms) for row in contact.evidence)
        for contact in trace.contacts
    }
    window = None if trace.state == "withdrawn" else (trace.window_start_ms, trace.window_end_ms)
    return trace.state, window, contacts


def _told(statuses: Mapping[str, Status]) -> dict[str, tuple[Any, ...]]:
    return {
        person: (s.colour, s.since_ms, s.rule, s.reason, s.doses, s.full, s.booster, s.age_band)
        for person, s in statuses.items()
    }


def _sets(kind: str, there: Collection[Any], must: Collection[Any]) -> Difference | None:
    """Two collections without order; of what is there twice the number is compared."""
    missing = sorted(map(str, set(must) - set(there)))
    extra = sorted(map(str, set(there) - set(must)))
    if not missing and not extra and len(there) == len(must):
        return None
    first = [f"missing {each}" for each in missing[:_SHOWN]] + [f"too much {each}" for each in extra[:_SHOWN]]
    if not first:
        first = [f"{len(there)} where {len(must)} must be"]
    return Difference(kind, len(missing), max(len(extra), len(there) - len(must)), 0, tuple(first))


def _maps(kind: str, there: Mapping[Any, Any], must: Mapping[Any, Any]) -> Difference | None:
    missing = sorted(must.keys() - there.keys(), key=str)
    extra = sorted(there.keys() - must.keys(), key=str)
    other = sorted((key for key in must.keys() & there.keys() if must[key] != there[key]), key=str)
    if not (missing or extra or other):
        return None
    first = [f"missing {key}: {must[key]}" for key in missing[:_SHOWN]]
    first += [f"too much {key}: {there[key]}" for key in extra[:_SHOWN]]
    first += [f"{key} is {there[key]}, must be {must[key]}" for key in other[:_SHOWN]]
    return Difference(kind, len(missing), len(extra), len(other), tuple(each[:600] for each in first))

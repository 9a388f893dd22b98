"""What the tracing agent remembers, in two Faust tables: a dossier a person, and the report told last of each trace.

Tables are written when all that was sent is acknowledged (`settle`): what a crash leaves out is made and sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

import msgspec

from agents.tracemeters import TraceMeters
from contacts.erasing import without
from contacts.gradings import Registered, registered
from contacts.tracing import Dossier, withdrawn
from schemas.health import HealthRecord
from schemas.keys import health_key
from schemas.messages import Trace
from schemas.partitions import partition_of
from streams.clock import Clock
from streams.outbox import Outbox
from streams.settings import Settings

Table = MutableMapping[bytes, bytes]

_DOSSIERS = msgspec.json.Decoder(Dossier)
_REPORTS = msgspec.json.Decoder(Trace)


class _Beside(msgspec.Struct, omit_defaults=True):
    """What stands in a report's JSON besides what is told."""

    registered: dict[str, Registered] = {}


_BESIDE = msgspec.json.Decoder(_Beside)


class _Later:
    """A table as it will be."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._new: dict[bytes, bytes | None] = {}

    def get(self, key: str) -> bytes | None:
        name = key.encode()
        return self._new[name] if name in self._new else self._table.get(name)

    def put(self, key: str, value: bytes | None) -> None:
        self._new[key.encode()] = value

    def values(self) -> list[bytes]:
        there = {**dict(self._table.items()), **self._new}
        return [value for value in there.values() if value is not None]

    def names(self) -> set[bytes]:
        there = {*self._table.keys(), *self._new}
        return {name for name in there if name not in self._new or self._new[name] is not None}

    def settle(self) -> None:
        new, self._new = self._new, {}
        for name, value in new.items():
            if value is None:
                self._table.pop(name, None)
            else:
                self._table[name] = value


class Dossiers:
    """The dossiers and reports of the partitions that this worker holds.

    `least_risk` says from which risk the colour rules in force at a time (ms) count a possible contact; None: none.
    """

    def __init__(
        self,
        settings: Settings,
        people: Table,
        reports: Table,
        clock: Clock,
        outbox: Outbox,
        least_risk: Callable[[int], float | None],
        meters: TraceMeters,
    ) -> None:
        self._settings = settings
        self._people = _Later(people)
        self._reports = _Later(reports)
        self._clock = clock
        self._outbox = outbox
        self._least_risk = least_risk
        self._meters = meters
        self.arrived_ms = 0
        """When the message in hand came."""

    def settle(self) -> None:
        """All that was sent is acknowledged."""
        self._people.settle()
        self._reports.settle()

    def of(self, partition: int, person: str) -> Dossier:
        """The dossier of a person, an empty one if there is none."""
        data = self._people.get(person)
        return _DOSSIERS.decode(data) if data is not None else Dossier(person, partition)

    def all(self) -> Iterator[Dossier]:
        """Every dossier here."""
        return map(_DOSSIERS.decode, self._people.values())

    def save(self, dossier: Dossier) -> None:
        """Remember a dossier as it now is; one that holds nothing is forgotten."""
        nothing = dossier == Dossier(dossier.person, dossier.partition)
        self._people.put(dossier.person, None if nothing else msgspec.json.encode(dossier))
        self._meters.saved(dossier)

    def reported(self) -> frozenset[str]:
        """The traces of which a report has been told."""
        return frozenset(name.decode() for name in self._reports.names())

    def report(self, trace: str) -> Trace | None:
        """The report of a trace that was told last."""
        data = self._reports.get(trace)
        return _REPORTS.decode(data) if data is not None else None

    def publish(self, partition: int, made: Trace) -> None:
        """Tell a report, with a position above that of the one told last, and of whom it registers as a contact."""
        self._publish(partition, made, self._registered(made.trace_id))

    def forget(self, partition: int, trace: str) -> None:
        """Forget a trace's report, and let the topics forget it; nobody is a contact by it any more."""
        held = self.report(trace)
        if held is not None:
            self._register(withdrawn(held, held.position), self._registered(trace))
        self._reports.put(trace, None)
        self._outbox.send("traces", partition, None, key=trace.encode())

    def erase(self, partition: int, trace: str, person: str, before_ms: int) -> bool:
        """Tell a trace's report anew without what an erasure takes away, if it has any of that; whether it had.

        The status agent takes the person's own health records away.
        """
        if msgspec.json.encode(person) in (self._reports.get(trace) or b""):
            held, known = self.report(trace), self._registered(trace)
            if person in known and known[person].told_ms < before_ms:
                del known[person]
            if held is not None and (left := without(held, person, before_ms)) != held:
                self._publish(partition, left, known)
                return True
        return False

    def _publish(self, partition: int, made: Trace, known: dict[str, Registered]) -> None:
        held = self.report(made.trace_id)
        least_ms = held.position[1] + 1 if held is not None else 0
        made = msgspec.structs.replace(made, position=(made.revision, max(self._clock.now_ms(), least_ms)))
        data = msgspec.json.encode(made)
        self._outbox.send("traces", partition, data, key=made.trace_id.encode())
        known = self._register(made, known)
        beside = b"," + msgspec.json.encode(_Beside(known))[1:] if known else b"}"
        self._reports.put(made.trace_id, data[:-1] + beside)
        self._meters.told(made)

    def _registered(self, trace: str) -> dict[str, Registered]:
        data = self._reports.get(trace)
        return _BESIDE.decode(data).registered if data is not None else {}

    def _register(self, made: Trace, known: dict[str, Registered]) -> dict[str, Registered]:
        """Tell the contacts' health records of what a report changes. Under the clock `file` it is told at its cut."""
        at_ms = made.as_of_ms if self._settings.clock == "file" else self.arrived_ms
        if at_ms is None:
            return known
        known, records = registered(made, known, at_ms, self._least_risk(at_ms))
        for record in records:
            self._send(record)
        return known

    def _send(self, record: HealthRecord) -> None:
        home = partition_of(record.person, self._settings.partitions.cases)
        key = health_key(record.person, record.record_id)
        self._outbox.send("health-records", home, msgspec.json.encode(record), key=key)

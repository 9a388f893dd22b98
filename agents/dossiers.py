"""What the tracing agent remembers, in two Faust tables: a dossier a person, and the report told last of each trace."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import msgspec

from contacts.erasing import without
from contacts.tracing import Dossier
from schemas.messages import Trace
from streams.clock import Clock
from streams.outbox import Outbox

Table = MutableMapping[bytes, bytes]

_DOSSIERS = msgspec.json.Decoder(Dossier)
_REPORTS = msgspec.json.Decoder(Trace)


class Dossiers:
    """The dossiers and reports of the partitions that this worker holds."""

    def __init__(self, people: Table, reports: Table, clock: Clock, outbox: Outbox) -> None:
        self._people = people
        self._reports = reports
        self._clock = clock
        self._outbox = outbox

    def of(self, partition: int, person: str) -> Dossier:
        """The dossier of a person, an empty one if there is none."""
        data = self._people.get(person.encode())
        return _DOSSIERS.decode(data) if data is not None else Dossier(person, partition)

    def all(self) -> Iterator[Dossier]:
        """Every dossier here."""
        return map(_DOSSIERS.decode, list(self._people.values()))

    def save(self, dossier: Dossier) -> None:
        """Remember a dossier as it now is; one that holds nothing is forgotten."""
        if dossier == Dossier(dossier.person, dossier.partition):
            self._people.pop(dossier.person.encode(), None)
        else:
            self._people[dossier.person.encode()] = msgspec.json.encode(dossier)

    def report(self, trace: str) -> Trace | None:
        """The report of a trace that was told last."""
        data = self._reports.get(trace.encode())
        return _REPORTS.decode(data) if data is not None else None

    def publish(self, partition: int, made: Trace) -> None:
        """Tell a report, with a position above that of the one told last."""
        held = self.report(made.trace_id)
        least_ms = held.position[1] + 1 if held is not None else 0
        made = msgspec.structs.replace(made, position=(made.revision, max(self._clock.now_ms(), least_ms)))
        data = msgspec.json.encode(made)
        self._reports[made.trace_id.encode()] = data
        self._outbox.send("traces", partition, data, key=made.trace_id.encode())

    def forget(self, partition: int, trace: str) -> None:
        """Forget a trace's report, and let the topic forget it."""
        self._reports.pop(trace.encode(), None)
        self._outbox.send("traces", partition, None, key=trace.encode())

    def erase(self, partition: int, trace: str, person: str, before_ms: int) -> bool:
        """Tell a trace's report anew without what an erasure takes away, if it has any of that; whether it had."""
        if msgspec.json.encode(person) in (self._reports.get(trace.encode()) or b""):
            held = self.report(trace)
            if held is not None and (left := without(held, person, before_ms)) != held:
                self.publish(partition, left)
                return True
        return False

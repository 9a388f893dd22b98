"""What must stand after a run, by the oracles alone: a function of the log of scans, the registry and the erasures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from schemas.messages import Erasure
from schemas.partitions import partition_of
from tests import oracle, oracle_clusters, profile_oracle
from tests.chaos.seen import Cluster, Letter, Said, Window
from tests.chaos.town import HORIZON_MS, PARTITIONS, RETENTION_MS, TOLERANCE_MS, Town

_RULES = oracle.Rules(HORIZON_MS, RETENTION_MS, TOLERANCE_MS)
_THRESHOLDS = [oracle_clusters.Threshold("*", "either", 3, 2, 1, 3.0)]
_SLOT_MINUTES = 30
_WINDOW_MS = 600_000
PROFILE = profile_oracle.table("who")

Contacts = dict[str, list[tuple[str, int, int]]]
"""Of each contact the shared parts: venue, start, end."""


class Expected(NamedTuple):
    """The visits, all windows that ever will be by them, the letters, and the log that all this follows from."""

    town: Town
    visits: list[oracle.Visit]
    windows: dict[tuple[str, int], Window]
    letters: set[Letter]
    log: Said

    def windows_by(self, log_times: dict[int, int]) -> dict[tuple[str, int], Window]:
        """The windows that had ended by the log times of their partitions."""
        return {
            (venue, start): window
            for (venue, start), window in self.windows.items()
            if start + _WINDOW_MS <= log_times[home(venue, self.town.records)]
        }

    def inside_at(self, log_times: dict[int, int]) -> dict[str, int]:
        """How many are inside each venue at the log times, where there was ever anybody."""
        by_venue: dict[str, list[oracle.Visit]] = defaultdict(list)
        for visit in self.visits:
            for venue in (visit.venue, *visit.ancestors):
                by_venue[venue].append(visit)
        return {
            venue: oracle.inside(given, venue, log_times[home(venue, self.town.records)])
            for venue, given in by_venue.items()
        }

    def contacts(
        self, person: str, direction: str, as_of: int | None, ended: tuple[int, Mapping[int, int]] | None = None
    ) -> tuple[tuple[int, int], Contacts]:
        """The window of a case and its contacts, cut at a log time.

        `ended`: by the scans up to a log time, and up to an offset in each partition.
        """
        case = self.town.cases[person]
        window = profile_oracle.window(PROFILE, direction, case.onset_ms, case.specimen_ms)
        visits = self.visits if ended is None else _visits(self.town, _before(self.log, *ended))
        places = {visit.venue for visit in visits if visit.person == person}
        found = oracle.contacts(
            [visit for visit in visits if visit.venue in places], person, window,
            minimum_minutes=15, strict=False, per="stay", direction=direction, as_of=as_of,
        )  # fmt: skip
        return window, {
            who: sorted((row.venue, row.start, row.end) for row in rows) for who, (_, rows) in found.items()
        }

    def clusters(self, case_ids: dict[str, str]) -> list[Cluster]:
        """The clusters, where each case goes by the id that is given for its person."""
        found: list[Cluster] = []
        own = [visit for visit in self.visits if visit.person in case_ids]
        for venue in sorted({visit.venue for visit in own}):
            seen = []
            for visit in own:
                for direction in ("forward", "backward") if visit.venue == venue else ():
                    case = self.town.cases[visit.person]
                    first, last = profile_oracle.window(PROFILE, direction, case.onset_ms, case.specimen_ms)
                    start, end = max(visit.start, first), min(visit.end, last)
                    seen.append(oracle_clusters.Seen(case_ids[visit.person], direction, "any", start, end))
            found += [
                (venue, each.start, each.end, tuple(each.cases))
                for each in oracle_clusters.clusters(seen, _THRESHOLDS, _SLOT_MINUTES)
            ]
        return sorted(found)


def home(venue: str, records: Sequence[oracle.VenueRecord]) -> int:
    """The partition of `visits` that a venue lies in: that of its outermost."""
    return partition_of(([venue, *oracle.ancestors(venue, records)])[-1], PARTITIONS)


def _before(log: Said, until_ms: int, known: Mapping[int, int]) -> list[oracle.Scan]:
    """The scans that came before their partition had passed a log time, and those up to an offset of it."""
    found, reached = [], dict.fromkeys(known, 0)
    for scan, (partition, offset, _) in zip(log.scans, log.places, strict=True):
        reached[partition] = max(reached.get(partition, 0), scan.arrived)
        if reached[partition] <= until_ms or offset <= known.get(partition, -1):
            found.append(scan)
    return found


def _visits(town: Town, scans: Sequence[oracle.Scan]) -> list[oracle.Visit]:
    """The visits that scans make, without what was erased."""
    erasures = [
        oracle.Erasure(each.person, each.before_ms)
        for message in town.rare
        if message.topic == "erasures"
        for each in [msgspec.json.decode(message.value, type=Erasure)]
    ]
    by_person: dict[str, list[oracle.Scan]] = defaultdict(list)
    for scan in scans:
        by_person[scan.person].append(scan)
    visits: list[oracle.Visit] = []
    for person, own in by_person.items():  # the visits of one are a function of that person's scans
        gone = [each for each in erasures if each.person == person]
        visits += oracle.visits(own, town.records, _RULES, gone)
    return sorted(visits, key=lambda visit: (visit.start, visit.person, visit.venue, visit.reason == "self_reported"))


def expect(town: Town, log: Said, other: set[Letter]) -> Expected:
    """What must stand. `other` are the letters of topics other than `scans`."""
    visits = _visits(town, log.scans)
    windows: dict[tuple[str, int], Window] = {}
    by_home: dict[str, list[oracle.Visit]] = defaultdict(list)
    for visit in visits:
        by_home[([visit.venue, *visit.ancestors])[-1]].append(visit)
    for given in by_home.values():  # and the windows of a place of the visits there and within it
        windows.update(oracle.windows(given))
    letters = {*log.broken, *other}
    for scan, place in zip(log.scans, log.places, strict=True):
        if scan.at - scan.arrived > TOLERANCE_MS:
            letters.add(("scans", *place, "in_the_future"))
        elif scan.arrived - scan.at > RETENTION_MS:
            letters.add(("scans", *place, "too_old"))
    return Expected(town, visits, windows, letters, log)

"""`python -m bench.pictures [FOLDER]`: the pictures in docs/pictures, without a broker: traces of a made-up city, and
the poster of one of its doors, with a code of the test vectors."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from contacts.exposures import Question
from contacts.hops import Hops
from contacts.matching import contacts_of, may_count
from contacts.places import Places
from contacts.profiles import load_profiles
from contacts.registry import Registry
from contacts.risk import load_risk
from contacts.spread import Terms
from contacts.visits import derive_visits
from gateway.poster import poster
from lacak.city import City
from officer.picture import svg
from schemas.messages import Direction, TestResult, Trace, Venue

_PROFILE: Final = "who"
_ADDRESS: Final = "https://lacak.example.id"


class World:
    """A city's visits at one place, to trace in."""

    def __init__(self, people: int = 50, days: int = 14, seed: int = 2) -> None:
        self.city = City(people=people, days=days, seed=seed)
        self.zone = ZoneInfo(self.city.zone)
        registry = Registry()
        for venue in self.city.venues():
            registry.add(venue)
        scans = list(self.city.scans())
        self._places = Places.from_visits(derive_visits(scans, registry))
        for venue in self.city.venues():
            self._places.add_venue(venue)
        self._as_of_ms = max(scan.at_ms for scan in scans)

    def farthest(self, direction: Direction, hops: int) -> Trace:
        """Of the traces of all who tested positive the one over most hops, and of these the one of fewest people."""
        made = [self.trace(case, direction, hops) for case in self.city.test_results()]
        return max(made, key=lambda trace: (max([0, *(c.hop for c in trace.contacts)]), -len(trace.contacts)))

    def trace(self, case: TestResult, direction: Direction, hops: int) -> Trace:
        """A trace as the agents make it, of one partition."""
        profile, risk = load_profiles()[_PROFILE], load_risk()
        way = profile.infectious_window if direction == "forward" else profile.exposure_window
        window = way(case.onset_ms, case.specimen_ms, case.isolated_ms, self.zone)
        shared = self._places.shared_stays(case.person, *window, self._as_of_ms, profile.air, direction)
        rows = [
            (person, msgspec.structs.replace(stay, category=self._places.category(stay.venue, stay.start_ms)))
            for person, stay in may_count(shared, profile, self._places.category, direction)
        ]
        found = contacts_of(rows, profile, case.person)
        limits = msgspec.structs.replace(risk.limits, hops=hops)
        bound_ms = self._as_of_ms if direction == "forward" else None
        search = Hops(case.person, window, Terms(profile, risk, limits, direction, bound_ms))
        search.first(found)
        while search.going:
            people, asked = search.asked()
            question = Question(people, asked.since, asked.until, self._as_of_ms, profile.air, direction)
            search.take([self._places.meetings(question)] if people else [])
        return Trace(
            trace_id=f"{direction}-example", case_id="example", person=case.person, direction=direction,
            profile=profile.id, profile_version=profile.version, officer="example", purpose="example",
            state="complete", revision=1, position=(1, 0), requested_at_ms=0, window_start_ms=window[0],
            window_end_ms=window[1], as_of_ms=self._as_of_ms, contacts=search.contacts(), hops=hops,
            least_risk=limits.least_risk if hops > 1 else None, cut_by=search.cut_by, risk_numbers=risk.version,
        )  # fmt: skip


def example_poster() -> str:
    """A poster for a door that does not exist, signed by a key that everybody knows."""
    vectors = json.loads((Path(__file__).parents[1] / "tests" / "vectors" / "qr.json").read_text("utf-8"))["vectors"]
    return poster(Venue(venue="mall-kartini", name="Mall Kartini"), vectors[0]["token"], _ADDRESS).svg()


def main(folder: Path) -> None:
    """Draw a trace of each direction, and a poster."""
    world = World()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "poster.svg").write_text(example_poster(), encoding="utf-8")
    directions: tuple[Direction, ...] = ("forward", "backward")
    for direction in directions:
        trace = world.farthest(direction, 3)
        path = folder / f"{direction}.svg"
        path.write_text(svg(trace, world.zone) + "\n", encoding="utf-8")
        print(f"{path}: {dict(Counter(contact.hop for contact in trace.contacts))}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "docs/pictures"))

"""The city put together: a value of its parameters, from which everything else follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from lacak.city.doors import Doors, ScanColumns, merge, split
from lacak.city.infection import Disease, Outbreak
from lacak.city.people import People, build_people, draw_households, pseudonyms
from lacak.city.places import Places, build_places
from lacak.city.rhythm import DAY_MS, Day, Stays
from lacak.city.truth import Infection, TrueStay, Truth
from lacak.city.words import DISTRICTS
from schemas.blocks import KINDS
from schemas.messages import Scan, TestResult, Venue

_PEOPLE_A_DOOR: Final = 120  # assumed: 600 000 people have 5 000 public doors
_FEWEST_DOORS: Final = 48
_PEOPLE_A_DISTRICT: Final = 30_000
_SETUP, _RHYTHM, _DOORS, _SPREAD, _DISEASE = range(5)  # each subject draws from a stream of its own


@dataclass(frozen=True, kw_only=True)
class City:
    """A made-up regency in Lampung. The same parameters give the same bytes.

    `doors`: public places (default: one for 120 people, at least 48). Shares lie in [0, 1]: `scan_share` of the
    stays at a door are scanned, `checkout_share` of these are scanned again on leaving, `offline_share` of the doors
    are offline for `offline_hours` (least, most) each day, `duplicate_share` of the scans come twice,
    `refused_share` of the visits are turned away, `home_share` of the homes keep a code at the door.
    `first_infected` people carry the infection in (default: one in 1 000, at least 8). Raises ValueError for
    parameters out of range.
    """

    people: int = 2_000
    days: int = 2
    seed: int = 1
    start: date = date(2021, 10, 21)
    zone: str = "Asia/Jakarta"
    doors: int | None = None
    scan_share: float = 0.9
    checkout_share: float = 0.3
    offline_share: float = 0.02
    offline_hours: tuple[float, float] = (1.0, 8.0)
    duplicate_share: float = 0.02
    refused_share: float = 0.004
    home_share: float = 0.02
    first_infected: int | None = None
    disease: Disease = field(default_factory=Disease)

    def __post_init__(self) -> None:
        if self.people < 20:
            raise ValueError(f"a city needs at least 20 people, not {self.people}")
        if self.days < 1:
            raise ValueError(f"a city lives for at least one day, not {self.days}")
        names = ("scan_share", "checkout_share", "offline_share", "duplicate_share", "refused_share", "home_share")
        for name in names:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if not 0.0 <= self.offline_hours[0] <= self.offline_hours[1]:
            raise ValueError("offline_hours is (shortest, longest), both in hours")

    @cached_property
    def persons(self) -> list[str]:
        """The pseudonym of each person number."""
        return pseudonyms(self.seed, self.people)

    @cached_property
    def venue_ids(self) -> list[str]:
        """The id of each venue number."""
        return self._world[0].ids

    def venues(self) -> list[Venue]:
        """The registry: public places and the homes with a code at their door."""
        return self._world[0].venues()

    def columns(self) -> Iterator[ScanColumns]:
        """The scans as chunks of columns (a day's arrivals each), in order of arrival over all chunks."""
        places, people = self._world
        doors = Doors(
            people=people,
            places=places,
            offline_share=self.offline_share,
            duplicate_share=self.duplicate_share,
            offline_hours=self.offline_hours,
        )
        keeps_code = places.registered[people.base]
        waiting: ScanColumns | None = None
        for number, day, stays, _ in self._live():
            based = day.at_base(stays, keeps_code)
            whole = stays.add(based)
            new = doors.scan(self._stream(_DOORS, number), whole, self._midnight_ms(number))
            ready, waiting = split(merge(waiting, new), self._midnight_ms(number + 1))
            yield ready
        if waiting is not None and len(waiting.person):
            yield waiting

    def scans(self) -> Iterator[Scan]:
        """The scans in order of arrival, each with its `arrived_at_ms` and the gateway of its door."""
        persons, venues = self.persons, self.venue_ids
        for chunk in self.columns():
            rows = (column.tolist() for column in chunk)
            for person, venue, kind, at_ms, arrived_at_ms in zip(*rows, strict=True):
                yield Scan(
                    person=persons[person],
                    venue=venues[venue],
                    kind=KINDS[kind],
                    at_ms=at_ms,
                    arrived_at_ms=arrived_at_ms,
                    gateway=f"gw-{venue % 16:02d}",
                )

    @cached_property
    def truth(self) -> Truth:
        """Who infected whom, and the true stays."""
        outbreak = self._outbreak_at_end
        persons, venues, zero = self.persons, self.venue_ids, self._midnight_ms(0)
        caught = np.flatnonzero(outbreak.infector >= 0)
        caught = caught[np.argsort(outbreak.infected_at[caught], kind="stable")]
        return Truth(
            city=self,
            first=tuple(persons[i] for i in outbreak.first.tolist()),
            infections=tuple(
                Infection(
                    persons[int(outbreak.infector[i])],
                    persons[i],
                    venues[int(outbreak.venue[i])],
                    int(outbreak.infected_at[i]) + zero,
                )
                for i in caught.tolist()
            ),
        )

    def test_results(self) -> list[TestResult]:
        """Positive tests of a share of the infected whose specimen was taken within the run, by specimen.

        Without symptoms there is no onset. Who was tested stays in from the next day: `isolated_ms`.
        """
        outbreak, zero = self._outbreak_at_end, self._midnight_ms(0)
        specimen, onset = outbreak.specimen, outbreak.onset
        found = np.flatnonzero((specimen >= 0) & (specimen < self.days * DAY_MS))
        return [
            TestResult(
                person=self.persons[i],
                outcome="positive",
                specimen_ms=int(specimen[i]) + zero,
                onset_ms=int(onset[i]) + zero if outbreak.symptomatic[i] else None,
                isolated_ms=self._midnight_ms(int(specimen[i]) // DAY_MS + 1),
                laboratory=f"lab-{i % 3 + 1}",
            )
            for i in found[np.argsort(specimen[found], kind="stable")].tolist()
        ]

    def true_stays(self, person: str | None = None) -> Iterator[TrueStay]:
        """The true stays of everybody or of one person; see Truth.stays."""
        persons, venues = self.persons, self.venue_ids
        wanted = np.ones(self.people, np.bool_)
        if person is not None:
            wanted = np.array([name == person for name in persons])
        for number, day, stays, _ in self._live():
            midnight = self._midnight_ms(number)
            based = day.at_base(stays, wanted)
            rows = stays.add(based)
            rows = rows.take(np.flatnonzero(wanted[rows.person] & (rows.venue >= 0) & ~rows.refused))
            rows = rows.take(np.lexsort((rows.venue, rows.start, rows.person)))
            for who, where, start, end in zip(*(column.tolist() for column in rows[:4]), strict=True):
                yield TrueStay(persons[who], venues[where], start + midnight, end + midnight)

    @cached_property
    def _world(self) -> tuple[Places, People]:
        rng = self._stream(_SETUP, 0)
        districts = min(len(DISTRICTS), max(4, self.people // _PEOPLE_A_DISTRICT))
        household, home_district = draw_households(rng, self.people, districts)
        places = build_places(
            rng,
            people=self.people,
            doors=self.doors if self.doors is not None else max(_FEWEST_DOORS, self.people // _PEOPLE_A_DOOR),
            home_district=home_district,
            home_share=self.home_share,
        )
        return places, build_people(
            rng, places, household, days=self.days, scan_share=self.scan_share, checkout_share=self.checkout_share
        )

    @cached_property
    def _outbreak_at_end(self) -> Outbreak:
        *_, (_, _, _, outbreak) = self._live()
        return outbreak

    def _live(self) -> Iterator[tuple[int, Day, Stays, Outbreak]]:
        """Live through the days: (day number, the day, its stays outside the base, the outbreak after it)."""
        places, people = self._world
        first = self.first_infected if self.first_infected is not None else max(8, self.people // 1_000)
        outbreak = Outbreak(self._stream(_DISEASE, 0), people, places, self.disease, first=first, days=self.days)
        for number in range(self.days):
            weekday = (self.start + timedelta(days=number)).weekday()
            staying_in = outbreak.isolated(number)
            rng = self._stream(_RHYTHM, number)
            day = Day(rng, people, places, day=number, weekday=weekday, staying_in=staying_in)
            stays = day.walk(self.refused_share)
            exposed = np.zeros(len(places.ids), np.bool_)
            exposed[people.base[outbreak.infectious(number)]] = True
            based = day.at_base(stays, exposed[people.base])
            whole = stays.add(based)
            outbreak.spread(self._stream(_SPREAD, number), number, whole)
            yield number, day, stays, outbreak

    def _stream(self, subject: int, day: int) -> np.random.Generator:
        return np.random.default_rng([abs(self.seed), int(self.seed < 0), subject, day])

    def _midnight_ms(self, day: int) -> int:
        """The start of day number `day` in the city's zone, ms since the epoch."""
        at = datetime.combine(self.start + timedelta(days=day), datetime.min.time(), ZoneInfo(self.zone))
        return round(at.timestamp() * 1000)

"""The rhythm of a day: who goes where, from the first prayer to the last cup of coffee, as columns of stays.

A day is walked through in order of the clock. Each person has a moment from which they are free; an activity begins
at its own hour or when they are free, and falls out when that is too late for it. So nobody is in two places at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from lacak.city.habits import DAWN, DAY, EVENING, LUNCH_OUT, REFUSING, WORK, Activity
from lacak.city.people import ELDER, KEEPER, PUPIL, STAFF, VISITOR, WORKER, Bools, Floats, People
from lacak.city.places import CATEGORIES, Ints, Places

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
ELSEWHERE: Final = -1
"""The venue of a stay outside the city: across the strait."""
_LAST_MS: Final = int(23.7 * HOUR_MS)
_WAY_MS: Final = 6 * MINUTE_MS


class Stays(NamedTuple):
    """Stays of one day, as columns. `start`, `end` in ms after midnight.

    `inner`: within another stay of the same person (a shop in a mall). `opens`, `closes`: the stay really begins and
    ends here, and is not cut by midnight. `refused`: turned away at the door; such a stay has no length.
    """

    person: Ints
    venue: Ints
    start: Ints
    end: Ints
    inner: Bools
    opens: Bools
    closes: Bools
    refused: Bools

    def take(self, index: Ints | Bools) -> Stays:
        """Those rows."""
        return Stays(
            self.person[index], self.venue[index], self.start[index], self.end[index],
            self.inner[index], self.opens[index], self.closes[index], self.refused[index],
        )  # fmt: skip

    def add(self, more: Stays) -> Stays:
        """These rows and then `more`."""
        ints = [np.concatenate((old, new)) for old, new in zip(self[:4], more[:4], strict=True)]
        bools = [np.concatenate((old, new)) for old, new in zip(self[4:], more[4:], strict=True)]
        return Stays(ints[0], ints[1], ints[2], ints[3], bools[0], bools[1], bools[2], bools[3])


_FERRY_EVERY_MS: Final = 3 * HOUR_MS
_CROSSING_MS: Final = 2 * HOUR_MS
_DAY_TRIP: Final = 0.004


class Day:
    """One day of everybody. Make it, then `walk()` it once."""

    def __init__(
        self, rng: np.random.Generator, people: People, places: Places, *, day: int, weekday: int, staying_in: Bools
    ) -> None:
        """`weekday` as datetime.date.weekday(); `staying_in` marks who is in isolation and does not go out."""
        self._rng, self._people, self._places = rng, people, places
        self._day, self._weekday = day, weekday
        self._free = np.zeros(len(people), np.int64)
        self._until = np.full(len(people), DAY_MS, np.int64)
        self._here = (people.arrives_day <= day) & (day <= people.leaves_day)
        self._out = self._here & ~staying_in
        self._arrival = np.zeros(len(people), np.int64)
        self._parts: list[tuple[Ints, Ints, Ints, Ints, Bools]] = []

    def walk(self, refused_share: float) -> Stays:
        """All stays outside the base, refused visits among them."""
        travellers = self._leave_by_ferry()
        for activity in DAWN:
            self._do(activity)
        self._work()
        for activity in DAY:
            self._do(activity)
        for activity in EVENING:
            self._do(activity)
        self._come_back(travellers)
        person, venue, start, end = (np.concatenate([part[i] for part in self._parts]) for i in range(4))
        inner = np.concatenate([part[4] for part in self._parts])
        yes = np.ones(len(person), np.bool_)
        return self._turn_away(Stays(person, venue, start, end, inner, yes, yes.copy(), ~yes), refused_share)

    def at_base(self, stays: Stays, who: Bools) -> Stays:
        """The stays at home or in the hotel of the people marked in `who`: what is left of the day between `stays`."""
        outer = np.flatnonzero(who[stays.person] & ~stays.inner & ~stays.refused)
        present = np.flatnonzero(who & self._here)
        person = np.concatenate((stays.person[outer], present, present))
        edge = np.ones(len(present), np.bool_)
        begins = np.where(self._people.arrives_day[present] == self._day, self._arrival[present], 0)
        begins[self._people.role[present] != VISITOR] = 0
        start = np.concatenate((stays.start[outer], begins, self._until[present]))
        end = np.concatenate((stays.end[outer], begins, self._until[present]))
        order = np.lexsort((end, start, person))
        person, start, end = person[order], start[order], end[order]
        bound = np.concatenate((np.zeros(len(outer), np.bool_), edge, edge))[order]
        gap = np.flatnonzero((person[1:] == person[:-1]) & (start[1:] - end[:-1] > 4 * _WAY_MS))
        opens, closes = ~bound[gap] | (end[gap] > 0), ~bound[gap + 1] | (start[gap + 1] < DAY_MS)
        went, came = end[gap] + np.where(opens, _WAY_MS, 0), start[gap + 1] - np.where(closes, _WAY_MS, 0)
        return Stays(
            person[gap], self._people.base[person[gap]], went, came, np.zeros(len(gap), np.bool_), opens, closes,
            np.zeros(len(gap), np.bool_),
        )  # fmt: skip

    def _go(self, who: Ints, venue: Ints, start: Ints, length: Ints, latest_ms: int = _LAST_MS) -> tuple[Ints, Ints]:
        """Send `who` to `venue`, when they are free. Returns (rows that went, their starts)."""
        start = np.maximum(start, self._free[who] + _WAY_MS)
        fits = self._out[who] & (start <= latest_ms) & (start + length <= np.minimum(self._until[who], _LAST_MS))
        went = np.flatnonzero(fits)
        self._put(who[went], venue[went], start[went], start[went] + length[went])
        return went, start[went]

    def _put(self, who: Ints, venue: Ints, start: Ints, end: Ints) -> None:
        parent = np.where(venue >= 0, self._places.parent[venue], -1)
        inside = parent >= 0
        around = np.flatnonzero(inside)
        self._parts.append((who, venue, start, end, inside))
        margin = self._rng.integers(1 * MINUTE_MS, 5 * MINUTE_MS, (2, len(around)))
        yard = (who[around], parent[around], start[around] - margin[0], end[around] + margin[1])
        self._parts.append((*yard, np.zeros(len(around), np.bool_)))
        self._free[who] = end
        self._free[yard[0]] = yard[3]

    def _do(self, activity: Activity) -> None:
        rng, people = self._rng, self._people
        chances = np.array(activity.weekend if self._weekday >= 5 else activity.weekday)
        who = np.flatnonzero((rng.random(len(people)) < chances[people.role]) & self._out)
        start = self._hours(rng.normal(activity.hour, activity.spread, len(who)))
        length = self._hours(rng.gamma(6.0, activity.minutes / 360.0, len(who)))
        if activity.category == "worship":
            venue = people.congregation[who]
            away = (rng.random(len(who)) < 0.15) | (venue < 0)
            venue = np.where(away, self._places.pickers["worship"].near(rng, people.district[who], 0.5), venue)
        else:
            venue = self._places.pickers[activity.category].near(rng, people.district[who], activity.near)
        latest = int((activity.hour + 2.5 * activity.spread + 0.3) * HOUR_MS)
        went, began = self._go(who, venue, start, length, latest)
        if activity.category == "mall":
            self._shop_around(who[went], venue[went], began, began + length[went])

    def _shop_around(self, who: Ints, mall: Ints, start: Ints, end: Ints) -> None:
        """Up to three places inside the mall, one after another."""
        cursor = start + self._rng.integers(2 * MINUTE_MS, 12 * MINUTE_MS, len(who))
        wanted = self._rng.integers(0, 4, len(who))
        for turn in range(3):
            length = self._hours(self._rng.gamma(3.0, 22 / 180.0, len(who)))
            fits = (wanted > turn) & (cursor + length < end - MINUTE_MS)
            for one in np.unique(mall[fits]).tolist():
                inside = self._places.pickers.get(self._places.ids[one])
                if inside is None:
                    continue
                rows = np.flatnonzero(fits & (mall == one))
                venue = inside.anywhere(self._rng, len(rows))
                stay = (cursor[rows], cursor[rows] + length[rows], np.ones(len(rows), np.bool_))
                self._parts.append((who[rows], venue, *stay))
            cursor = np.where(fits, cursor + length, cursor) + self._rng.integers(MINUTE_MS, 9 * MINUTE_MS, len(who))

    def _work(self) -> None:
        """Work and school, with a break at noon for some: lunch, and the prayer on Friday."""
        rng, people = self._rng, self._people
        for role, (begin, begin_sd, stop, stop_sd, weekday, weekend) in WORK.items():
            chance = weekend if self._weekday >= 5 else weekday
            drawn = (rng.random(len(people)) < chance) & (people.role == role) & (people.day_place >= 0)
            who = np.flatnonzero(drawn & self._out & (self._until > 20 * HOUR_MS))
            start = self._hours(rng.normal(begin, begin_sd, len(who)))
            end = self._hours(rng.normal(stop, stop_sd, len(who)))
            prays = people.friday[who] & (self._weekday == 4)
            leaves = (prays | (rng.random(len(who)) < LUNCH_OUT)) & (role != PUPIL)
            noon = self._hours(np.where(prays, rng.normal(11.6, 0.08, len(who)), rng.normal(12.1, 0.25, len(who))))
            first_end = np.where(leaves, noon, end)
            length = np.maximum(first_end - np.maximum(start, self._free[who] + _WAY_MS), 30 * MINUTE_MS)
            went, _ = self._go(who, people.day_place[who], start, length)
            back = went[leaves[went]]
            near = self._places.pickers["restaurant"].near(rng, people.district[who[back]], 0.8)
            venue = np.where(prays[back], people.congregation[who[back]], near)
            pause = self._hours(np.where(prays[back], 0.9, rng.gamma(6.0, 0.65 / 6, len(back))))
            took, _ = self._go(who[back], venue, self._free[who[back]] + _WAY_MS, pause)
            again = back[took]
            rest = end[again] - self._free[who[again]] - _WAY_MS
            longer = again[rest > 30 * MINUTE_MS]
            self._go(who[longer], people.day_place[who[longer]], end[longer] * 0, rest[rest > 30 * MINUTE_MS])
        if self._weekday == 4:  # the Friday prayer of those who are not at work
            chance_others = people.friday & self._out & (self._free < 11 * HOUR_MS)
            others = np.flatnonzero(chance_others & np.isin(people.role, (KEEPER, ELDER, WORKER, STAFF)))
            start = self._hours(rng.normal(11.6, 0.1, len(others)))
            self._go(others, people.congregation[others], start, self._hours(rng.normal(0.95, 0.05, len(others))))

    def _leave_by_ferry(self) -> Ints:
        """Visitors come and go by ferry; a few residents cross for the day. Returns these residents."""
        rng, people = self._rng, self._people
        visitor = people.role == VISITOR
        coming = np.flatnonzero(self._here & visitor & (people.arrives_day == self._day))
        ashore = self._sail(coming, self._hours(rng.uniform(5.0, 11.5, len(coming))), inbound=True)
        self._arrival[coming] = ashore
        self._free[coming] = ashore
        leaving = np.flatnonzero(self._here & visitor & (people.leaves_day == self._day))
        if len(leaving):
            wished = self._hours(rng.uniform(12.5, 17.0, len(leaving)))
            self._until[leaving] = self._sail(leaving, wished, inbound=False)
        trip = (rng.random(len(people)) < _DAY_TRIP) & self._out & ~visitor & (people.role != PUPIL)
        who = np.flatnonzero(trip)
        self._sail(who, self._hours(rng.uniform(5.5, 7.5, len(who))), inbound=False)
        return who

    def _come_back(self, who: Ints) -> None:
        """The day's travellers come home in the evening; what lies between is elsewhere."""
        gone = self._free[who]
        self._sail(who, self._hours(self._rng.uniform(15.0, 17.0, len(who))), inbound=True)
        aboard = self._parts[-2][2]  # when they boarded the ferry home
        self._parts.append((who, np.full(len(who), ELSEWHERE), gone, aboard, np.zeros(len(who), np.bool_)))

    def _sail(self, who: Ints, wished: Ints, *, inbound: bool) -> Ints:
        """One crossing by the next ferry after `wished`, with the port before or after. Returns when it begins
        (outbound: the port is entered) or is over (inbound: the port is left)."""
        rng, pick = self._rng, self._places.pickers
        ferry, port = pick["ferry"].anywhere(rng, len(who)), pick["ferry_terminal"].anywhere(rng, len(who))
        offset = ferry * 37 * MINUTE_MS % _FERRY_EVERY_MS
        sails = offset + -(-(wished - offset) // _FERRY_EVERY_MS) * _FERRY_EVERY_MS
        boards = sails - rng.integers(4 * MINUTE_MS, 20 * MINUTE_MS, len(who))
        lands = sails + _CROSSING_MS + rng.integers(0, 10 * MINUTE_MS, len(who))
        linger = rng.integers(10 * MINUTE_MS, 40 * MINUTE_MS, len(who))
        no = np.zeros(len(who), np.bool_)
        at_port = (lands + MINUTE_MS, lands + linger) if inbound else (boards - linger, boards - MINUTE_MS)
        self._parts.append((who, ferry, boards, lands, no))
        self._parts.append((who, port, *at_port, no.copy()))
        self._free[who] = np.maximum(lands, at_port[1])
        if not inbound:
            self._out[who] = False
        return at_port[1] if inbound else at_port[0]

    def _turn_away(self, stays: Stays, share: float) -> Stays:
        """A share of the visits to public places ends at the door: refused, and the person goes home."""
        open_to_all = np.array([name in REFUSING for name in CATEGORIES])
        public = (stays.venue >= 0) & ~stays.inner & (stays.venue != self._people.day_place[stays.person])
        public &= open_to_all[self._places.category[stays.venue]]
        refused = public & (self._rng.random(len(stays.person)) < share)
        return stays._replace(end=np.where(refused, stays.start, stays.end), refused=refused)

    def _hours(self, hours: Floats) -> Ints:
        """Hours as whole milliseconds."""
        return np.maximum(hours * HOUR_MS, 0).astype(np.int64)

"""The places of one partition of `visits`: who was where, how many are inside, and the windows.

`Places` takes in blocks of visits from all partitions of `scans`. What it holds is a function of the rows and erasures
it has been given, whatever their order between sources, and however often they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Final, Self
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from contacts.air import Air, air_of
from contacts.allowances import Allowances
from contacts.archive import Shelf
from contacts.clustering import Clustering, VenueNow
from contacts.clusterrules import ClusterRules
from contacts.columns import Ints, distinct
from contacts.days import midnight_ms
from contacts.exposures import Named, Question, answered
from contacts.figures import Figures, figures_of
from contacts.incoming import NEVER, Incoming, Source
from contacts.index import VisitIndex
from contacts.occupancy import Count, Numbers, Told
from contacts.people import Directory
from contacts.presence import Change, steps_of_change
from contacts.recounts import Recounts
from contacts.registry import Registry
from contacts.retell import Retelling
from contacts.stays import Query, shared_stays
from contacts.store import fill, store
from contacts.tally import Tally
from contacts.upkeep import Upkeep
from contacts.visits import Visit
from contacts.watch import WatchList
from contacts.windows import Part, WindowRows, default_window_ms
from contacts.wire import WireBlock, as_wire
from schemas.blocks import WINDOW_COLUMNS, PlacedControl, RecountOrder, RulesChange, VisitBlock, WatchOrder
from schemas.bounds import TIME_MOST
from schemas.messages import Direction, SharedStay, SourceOffset, Venue

_FOREVER: Final = 1 << 62
_HELD_ROWS: Final = 8192  # rows are worked on in bulk: the fixed cost of a pass is that of some hundred rows
_PASSING_ROWS: Final = 65_536  # in a part of the log that nobody waits for
_DAY_MS: Final = 86_400_000


class _State(msgspec.Struct):
    """What of a snapshot is small."""

    window_ms: int
    sources: list[Source]
    venues: list[Venue]
    at_ms: int
    floor_ms: int


class Places:
    """The state of one partition of `visits`. Times in ms; `sources` is the number of partitions of `scans`.

    `people` is a directory of persons that other partitions share: without one there is one of its own, part of the
    snapshot. `shelf` is where settled visits are kept: without one, the memory.
    """

    def __init__(
        self,
        sources: int,
        window_ms: int,
        horizon_ms: int,
        retention_ms: int,
        zone: ZoneInfo,
        people: Directory | None = None,
        shelf: Shelf | None = None,
        cluster_rules: ClusterRules | None = None,
    ) -> None:
        self._window_ms, self._horizon_ms, self._retention_ms, self._zone = window_ms, horizon_ms, retention_ms, zone
        self._shares_people = people is not None
        self._index = VisitIndex(sources, people, shelf)
        self._upkeep = Upkeep(self._index, zone)
        self._incoming = Incoming(sources, self._index.lineages)
        self._tally = Tally(window_ms)
        self._registry = Registry()
        self._allowances = Allowances(self._registry, zone)
        self._recounts = Recounts(self._index, self._registry)
        self._watches, self._clusters = WatchList(), Clustering(cluster_rules)
        self._told = Told()
        self._floor_ms = NEVER
        self._replayed: Retelling | None = None
        self._held_rows = _HELD_ROWS

    @property
    def log_time_ms(self) -> int:
        """The least of the sources' log times; NEVER while one has not been heard."""
        return self._incoming.log_time_ms

    @property
    def shelf(self) -> Shelf:
        """Where settled visits are kept."""
        return self._index.archive.shelf

    @property
    def born(self) -> int:
        """How many visits rows have brought in this process."""
        return self._index.born

    def as_of(self) -> tuple[SourceOffset, ...]:
        """Up to where each source has been applied: its last offset covered (-1: none), and its log time."""
        return self._incoming.as_of()

    def apply(self, block: VisitBlock | WireBlock) -> list[PlacedControl]:
        """Take in a block; the controls in it that are new. What has been applied before is skipped.

        Raises BlockError, with nothing changed, when the block contradicts itself.
        """
        controls = self._incoming.add(as_wire(block) if isinstance(block, VisitBlock) else block)
        if self._incoming.waiting >= self._held_rows:
            self._settle()
        return controls

    def _settle(self) -> None:
        """Bring the rows that wait into the index, the counts and the windows."""
        if self._incoming.waiting:
            rows = self._incoming.take()
            self._touch(rows.lineage, rows.start, rows.end)
            self._clusters.touch(self._index, rows.persons, rows.lineage)
            self._count(store(self._index, rows))

    def _touch(self, lineage: Ints, start: Ints, end: Ints) -> None:
        """In a replay: these stays are, or were, in windows that may have been told of."""
        if self._replayed is not None:
            row, venue = self._index.lineages.places(lineage)
            first, until = start // self._window_ms, end // self._window_ms + 1
            self._replayed.touch(venue, first[row], until[row])

    def _count(self, change: Change) -> None:
        """Bring a change that the index holds into the counts and the windows."""
        lineage, start = (self._index.column(name)[change.rows] for name in ("lineage", "start"))
        self._touch(lineage, start, change.old_end)
        self._tally.add(steps_of_change(self._index, change), len(self._index.lineages.venues))
        if self._watches:
            self._watches.changed(self._index, change)
        if self._recounts:
            self._recounts.touched(change.rows)

    def add_venue(self, venue: Venue) -> None:
        """Take in a record of the registry. Raises RegistryError as the registry does."""
        self._registry.add(venue)
        self._index.lineages.venue(venue.venue)
        self._allowances.registered(venue.venue)
        self._recounts.registered()
        self._clusters.rename(self._index, venue.venue)

    def rule(self, change: RulesChange) -> None:
        """Take in published door rules. Raises DoorRulesError when they cannot be used."""
        self._allowances.take(change)

    def recount(self, order: RecountOrder) -> None:
        """Take in a count made by hand."""
        self._recounts.take(order)

    def category(self, venue: str, at_ms: int) -> str:
        """The venue's category at a time, as the registry has it."""
        return self._registry.category(venue, at_ms)

    def erase(self, person: str, before_ms: int) -> None:
        """Take away the person's visits that began before a time, and what they did to counts and windows."""
        self._settle()
        self._clusters.forget(person)
        number = self._index.people.number(person)
        if number >= 0:
            self._erase(number, before_ms)
            if not self._shares_people and not self.holds(number):
                self._index.people.forget([number])

    def _erase(self, number: int, before_ms: int) -> None:
        self._index.revive_all(number, before_ms)
        rows = self._index.of_person(number)
        start, end = self._index.column("start"), self._index.column("end")
        rows = rows[start[rows] < before_ms]
        self._clusters.visited(self._index, self._index.column("lineage")[rows])
        change = Change(rows, end[rows], self._index.column("reason")[rows])
        end[rows] = start[rows]
        self._count(change)
        self._index.clear(rows)
        self._watches.renumber()

    def watch(self, order: WatchOrder) -> None:
        """Watch for a standing trace, or no more; an order that is not newer than the one held does nothing."""
        self._clusters.order(self._index, order)
        if self._watches.is_news(order):
            self._settle()  # what came before the order is in the answer to the question behind it
            self._watches.put(order, self.log_time_ms)

    def concerned(self) -> list[WatchOrder]:
        """The standing traces to tell of now, each once: changed since the last call, or changed by time, or over."""
        self._settle()
        return self._watches.due(self._index, self.log_time_ms)

    def holds(self, number: int) -> bool:
        """Whether there is a visit of a person."""
        return self._index.holds(number)

    def people_forgotten(self) -> None:
        """Names in the shared directory were wiped out: who comes again has another number."""
        self._watches.renumber()

    def clusters(self, *, again: bool) -> tuple[int | None, list[VenueNow]]:
        """The venues whose clusters are others than the last call gave, with those they have that begin at or after a
        time (None: all). With `again`, to be asked for once after a replay, also those that it has touched."""
        self._settle()
        if self.log_time_ms == NEVER:
            return None, []
        return self._clusters.tell(self._index, self.category, self._floor_ms, again=again)

    def counts(self) -> list[Count]:
        """The venues whose numbers at `log_time_ms` differ from those given by the last call."""
        self._settle()
        if self.log_time_ms == NEVER:
            return []
        touched = self._touched()
        if self._replayed is not None:
            self._told.doubt(touched)
        venues = distinct(np.concatenate((touched, self._told.untold())))
        return self._told.news(self._index.lineages.venues, self._numbers(venues))

    def _touched(self) -> Ints:
        """The venues whose numbers at `log_time_ms` may differ from those of the last call."""
        at_ms = self.log_time_ms
        self._tally.inside.advance(at_ms)
        _, allowed_anew = self._allowances.at(at_ms, self._index.lineages)
        recounted = self._recounts.venues(at_ms) if self._recounts else allowed_anew[:0]
        self._grow_told(0 if self._replayed is None else -1)
        return distinct(np.concatenate((*self._tally.inside.touched(), allowed_anew, recounted)))

    def _numbers(self, venues: Ints) -> Numbers:
        """The numbers of venues as of the last call of `_touched`."""
        counts, allowed = self._tally.inside, self._allowances.allowed
        inside, assumed = counts.inside, counts.assumed
        return self._recounts.counted(
            self.log_time_ms, Numbers(venues, inside[venues], assumed[venues], allowed[venues])
        )

    def replaying(self) -> None:
        """From here on rows may come that have been told of before; `load` begins so too."""
        self._end_passing()
        self._replayed, self._held_rows = Retelling(), _HELD_ROWS

    def replayed(self) -> WindowRows | None:
        """The replay is over, or this much of it: the windows to publish now, with every one that it touched, gone or
        not. `counts` will give every venue that it touched.

        They must be published at once: what was told before is not known, and the next change may take one away.
        """
        self._settle()
        self._grow_told(-1)
        if self.log_time_ms != NEVER:
            self._told.doubt(self._touched())
        touched, self._replayed = self._replayed, None
        return self._close(touched)

    def pass_over(self) -> None:
        """Let time pass in a part of the log that has all been told of, and nobody needs to hear of again.

        Counts and windows are not asked for before `passed_over` or `replaying`.
        """
        self._replayed, self._held_rows = None, _PASSING_ROWS
        if not self._tally.passes_over and self.log_time_ms == NEVER and not len(self._index):
            self._tally.begin_passing()
            self._index.defer(True)
        self._settle()
        self._tally.pass_until(self.log_time_ms)

    def _end_passing(self) -> None:
        self._tally.end_passing(self.log_time_ms)
        self._index.defer(False)

    def passed_over(self) -> None:
        """All that is held has been told of, in `pass_over`'s part of the log; behind it a replay begins."""
        self.pass_over()
        self._end_passing()
        if self.log_time_ms != NEVER:
            self._touched()
            self._told.all_told(self._numbers(np.arange(len(self._index.lineages.venues))))
        self.replaying()

    def _grow_told(self, inside: int) -> None:
        """Make room for new venues; with -1 it is not known what was told of them, so they will be told of."""
        venues = len(self._index.lineages.venues)
        self._tally.inside.make_room(venues)
        self._told.make_room(venues, inside)

    def windows(self) -> WindowRows | None:
        """The windows that the log time has closed since the last call, and those closed before that have changed."""
        self._settle()
        return self._close(None)

    def _close(self, touched: Retelling | None) -> WindowRows | None:
        if self.log_time_ms == NEVER:
            return None
        cells = self._tally.windows.close(self.log_time_ms)
        if touched is not None:
            cells = self._tally.windows.also(cells, *touched.cells(self.log_time_ms // self._window_ms))
        if not len(cells.slot):
            return None
        venues, venue = np.unique(cells.venue, return_inverse=True)
        rows = np.empty((len(venue), len(WINDOW_COLUMNS)), np.int64)
        rows[:, 0], rows[:, 1], rows[:, 2:] = venue, cells.slot * self._window_ms, cells.numbers
        return WindowRows(self._index.lineages.venues.of(venues), rows)

    def shared_stays(
        self,
        person: str,
        window_start_ms: int,
        window_end_ms: int,
        as_of_ms: int | None,
        linger: Air | int = 0,
        direction: Direction = "forward",
    ) -> list[tuple[str, SharedStay]]:
        """All pairs of a stay of the person in the window and a stay of somebody else at the venue that share time.

        Sorted by the other person, venue, and start; "Contacts of a case" in docs/visits.md. `linger` says how long the
        air stays infectious (a profile's `air`, or ms). The evidence holds both stays whole, cut at `as_of_ms` only.
        """
        self._settle()
        query = Query(window_start_ms, window_end_ms, as_of_ms, air_of(linger), direction)
        return shared_stays(self._index, person, query)

    def meetings(self, question: Question) -> Named:
        """All meetings of many persons, each within a window of their own."""
        self._settle()
        return answered(self._index, question, self.category, self._allowances.dated)

    def figures(self) -> Figures:
        """What an operator wants to know, as of the last calls of `counts` and `clusters`."""
        return figures_of(self._index, *self._told.inside_and_allowed, self._clusters.standing, len(self._watches))

    def expire(self) -> bool:
        """Let go, by whole days of the zone, of what ended longer than the retention before the log time.

        Not before `windows` has told of those days, nor while files are written. Whether something was let go of.
        """
        if self.log_time_ms == NEVER or self._upkeep.busy:
            return False
        self._settle()
        midnight = midnight_ms(self.log_time_ms - self._retention_ms, self._zone)
        if midnight > self._floor_ms and self._tally.closed_until_ms >= midnight:
            self._floor_ms = midnight
            self._tally.forget(midnight)
            self._index.expire(midnight, self.log_time_ms - self._horizon_ms - 2 * _DAY_MS)
            self._watches.renumber()
            self._clusters.expire(midnight)
            if not self._shares_people:
                self._index.people.forget(unused_people(self._index.people, [self]))
            return True
        return False

    def settle(self, worker: Executor | None = None) -> None:
        """Settle days long over, wipe erased visits out of files, check files: one thing at a call.

        With a worker the files are written there meanwhile. Raises OSError, or Damaged.
        """
        if self.log_time_ms != NEVER:
            self._settle()
            self._upkeep.go_on(self.log_time_ms, worker)

    def dump(self) -> dict[str, Part | None]:
        """The whole state, as named parts; None stands for a file on the shelf."""
        self._settle()
        self._grow_told(0 if self._replayed is None else -1)
        at_ms, touched, tally = self._tally.dump(self.log_time_ms, len(self._index.lineages.venues))
        self._told.doubt(distinct(np.concatenate((*touched, np.empty(0, np.int64)))))
        state = _State(self._window_ms, self._incoming.sources, list(self._registry.venues()), at_ms, self._floor_ms)
        parts: dict[str, Part | None] = {**self._index.dump(), **tally}
        parts |= self._watches.dump() | self._clusters.dump() | self._recounts.dump()
        parts |= self._allowances.dump() | self._told.dump()
        if self._replayed is not None:
            parts |= self._replayed.dump()
        if self._shares_people:
            parts["directory"] = self._index.people.stamp()
        else:
            parts |= self._index.people.dump()
        return {"state": msgspec.msgpack.encode(state), **parts}

    @classmethod
    def load(
        cls,
        parts: Mapping[str, bytes],
        sources: int,
        window_ms: int,
        horizon_ms: int,
        retention_ms: int,
        zone: ZoneInfo,
        people: Directory | None = None,
        shelf: Shelf | None = None,
        cluster_rules: ClusterRules | None = None,
    ) -> Self:
        """The state that `dump` gave, replaying: what was told before that is not told again.

        Persons whom a shared directory has forgotten since then are erased. Raises ValueError when it
        was made with other partitions or windows.
        """
        places = cls(sources, window_ms, horizon_ms, retention_ms, zone, people, shelf, cluster_rules)
        state = msgspec.msgpack.decode(parts["state"], type=_State)
        if len(state.sources) != sources or state.window_ms != window_ms:
            raise ValueError("the snapshot is of another partition count or window length: set it aside and rebuild")
        places._incoming.sources, places._floor_ms = state.sources, state.floor_ms
        if people is None:
            places._index.people.load(parts)
        places._index.load(parts)
        places._tally.load(parts, state.at_ms)
        places._watches.load(parts)
        places._replayed = Retelling()
        places._replayed.load(parts)
        for venue in state.venues:
            places.add_venue(venue)
        places._allowances.load(parts)
        places._recounts.load(parts)
        places._clusters.load(parts, places._index)
        places._told.load(parts)
        places._grow_told(-1)
        if places.log_time_ms != NEVER:
            places._touched()
            places._told.look_again(places._numbers(np.arange(len(places._index.lineages.venues))))
        for number in places._index.nameless().tolist():
            places._erase(number, _FOREVER)
        return places

    @classmethod
    def from_visits(cls, visits: Iterable[Visit], window_ms: int | None = None) -> Self:
        """Places that hold these visits, with the log time past everything: for work on files."""
        places = cls(1, window_ms or default_window_ms(), 0, 0, ZoneInfo("UTC"))
        places._incoming.sources[0].log_time_ms = TIME_MOST
        places._count(fill(places._index, visits))
        return places


def unused_people(people: Directory, partitions: Iterable[Places]) -> list[int]:
    """The persons that have a name, and of whom none of the partitions that share a directory has a visit."""
    held = list(partitions)
    for places in held:
        places._settle()  # whom it has not taken up yet gets a number here
    used = np.zeros(len(people), np.bool_)
    for places in held:
        places._index.used_people(used)
    return np.flatnonzero(~used & people.named).tolist()

"""Local copies of the compacted topics that a door decides by: statuses, occupancy, venues and rules.

They are read by tasks of the event loop, a little at a time, and kept on disk: a gateway that starts without brokers
decides by what it had, and says how old that is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from contacts.doorrules import DoorRules, PlaceFacts, Requirements, allowed
from contacts.registry import Place, Registry
from gateway.kept import Standpoint, keep_plain, keep_statuses, load_plain, load_statuses
from gateway.ownscans import OwnScans
from gateway.reading import Reader, Records
from gateway.settings import GatewaySettings
from gateway.smallcopies import CountCopy, RuleCopy, SmallCopy, VenueCopy
from gateway.statuses import Home, Standing, StatusCopy
from schemas.messages import Occupancy, Venue
from schemas.partitions import partition_of

_LOG: Final = logging.getLogger(__name__)
_KEEP_SMALL_SECONDS: Final = 10.0
_SMALL: Final = ("occupancy", "venues", "rules")
_HOUR_MS: Final = 3_600_000
_VENUES_MOST: Final = 100_000


class Count(NamedTuple):
    """How many are inside: the last count, and this gateway's own scans that are not in it yet; never below 0.

    `counted` is the last count alone, None where there is none; `age_ms`: how long ago the copy was level with the
    brokers; None: never.
    """

    venue: str
    inside: int
    allowed: int | None
    counted: int | None
    log_time_ms: int | None
    age_ms: int | None


class Spot(NamedTuple):
    """What holds of a venue in `[from_ms, until_ms)`; `allowed`: how many may be inside, None where no rule says it."""

    venue: Venue | None
    place: Place
    facts: PlaceFacts
    requirements: Requirements
    allowed: int | None
    from_ms: int
    until_ms: int


class _Statuses:
    """A StatusCopy as readers take it. `partitions`: how many the topic has."""

    def __init__(self, copy: StatusCopy, partitions: Callable[[], int]) -> None:
        self.copy, self._partitions = copy, partitions

    def take(self, records: Records, partition: int) -> None:
        self.copy.take(records, Home(partition, self._partitions()))

    def begin_again(self, *, other_log: bool) -> None:
        self.copy.begin_again(other_log=other_log)

    def end_again(self) -> None:
        self.copy.end_again()


class Copies:
    """The copies, kept up to date by tasks of the event loop: `open`, then `start`; `stop` keeps them for later."""

    def __init__(self, settings: GatewaySettings, now_ms: Callable[[], int]) -> None:
        self._settings, self._now_ms = settings, now_ms
        self._folder: Path = settings.data_dir / "copies"
        self._listeners: list[Callable[[str], None]] = []
        self._counts = CountCopy(self._counted)
        self._venues = VenueCopy()
        self._rules = RuleCopy(settings.rules_folder)
        self._statuses = _Statuses(StatusCopy(), lambda: self.readers["statuses"].partitions)
        self._small: dict[str, SmallCopy[Any]] = {
            "occupancy": self._counts,
            "venues": self._venues,
            "rules": self._rules,
        }
        self.readers: dict[str, Reader] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._keeper = ThreadPoolExecutor(1, "keeper")  # one: what was begun before a stop ends before what follows it
        self._spots: dict[str, Spot] = {}
        self._version: tuple[int, int] = (-1, -1)
        self._statuses_kept = 0
        self.own = OwnScans(self.place, self._log_time, int(settings.copies.own_scans_seconds * 1000))

    @property
    def statuses(self) -> StatusCopy:
        """The copy of statuses."""
        return self._statuses.copy

    @property
    def registry(self) -> Registry:
        """The registry of venues, as copied."""
        return self._venues.registry

    @property
    def rules(self) -> DoorRules:
        """The rules of doors in force."""
        return self._rules.rules

    async def open(self) -> None:
        """Take up the copies kept by the last run. A damaged one is set aside, and said."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in _SMALL:
            self.readers[name] = self._reader(name, self._small[name], self._take_up_small(name))
        path = self._folder / "statuses"
        standpoint = Standpoint()
        try:
            self._statuses.copy, standpoint = await asyncio.to_thread(load_statuses, path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            _set_aside(path, error)
        self.readers["statuses"] = self._reader("statuses", self._statuses, standpoint)
        if self._now_ms() - standpoint.kept_at_ms > self._settings.copies.keep_hours_most * _HOUR_MS:
            self.readers["statuses"].read_again()

    def _reader(self, name: str, copy: Any, standpoint: Standpoint) -> Reader:
        return Reader(self._settings, name, copy, self._now_ms, standpoint)

    def _take_up_small(self, name: str) -> Standpoint:
        path, copy = self._folder / name, self._small[name]
        try:
            plain = load_plain(path)
            decode = msgspec.msgpack.Decoder(tuple[bytes, copy.kind]).decode  # type: ignore[name-defined]
            copy.restore([decode(raw) for raw in plain.messages])
        except FileNotFoundError:
            return Standpoint()
        except (OSError, ValueError) as error:
            _set_aside(path, error)
            return Standpoint()
        return plain.standpoint

    def start(self) -> None:
        """Begin to read; whether the brokers are there does not matter."""
        self._tasks = [
            asyncio.create_task(reader.run(), name=f"reader of {name}") for name, reader in self.readers.items()
        ]
        self._tasks.append(asyncio.create_task(self._keep_now_and_then(), name="keeper of copies"))

    async def stop(self) -> None:
        """Stop reading and keep the copies."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keep()
        self._keeper.shutdown()

    async def keep(self) -> None:
        """Put all copies on the disk."""
        await self._keep_small()
        await self._keep_statuses()

    async def _keep_small(self) -> None:
        """The loop gives the messages of a copy as they now are; a thread packs them and waits for the disk."""
        loop = asyncio.get_running_loop()
        for name in _SMALL:
            messages = list(self._small[name].messages.items())
            standpoint = self.readers[name].standpoint()
            await loop.run_in_executor(self._keeper, keep_plain, self._folder / name, messages, standpoint)

    async def _keep_statuses(self) -> None:
        reader = self.readers["statuses"]
        if reader.whole:  # half a copy would take the place of a whole one
            self._statuses_kept = reader.records
            await keep_statuses(self._folder / "statuses", self.statuses, reader.standpoint())

    async def _keep_now_and_then(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(_KEEP_SMALL_SECONDS)
            try:
                await self._keep_small()
                if loop.time() - last > self._settings.copies.keep_every_seconds:
                    last = loop.time()
                    await self._keep_statuses()
            except OSError as error:
                _LOG.warning("The copies cannot be kept for the next start: %s.", error.strerror)

    def refused(self) -> dict[str, int]:
        """How many messages of each topic were left out since the start, because they are none."""
        found = {name: copy.bad for name, copy in self._small.items()}
        found["statuses"] = self.statuses.bad
        return {name: count + self.readers[name].refused for name, count in found.items() if name in self.readers}

    def age_ms(self, name: str, now_ms: int | None = None) -> int | None:
        """How long ago the copy of a topic was level with the brokers; None: never."""
        level_at = self.readers[name].level_at_ms if name in self.readers else None
        if level_at is None:
            return None
        return max((self._now_ms() if now_ms is None else now_ms) - level_at, 0)

    @property
    def level(self) -> bool:
        """Whether every copy has been level with the brokers once, in this run or an earlier one."""
        return bool(self.readers) and all(reader.whole for reader in self.readers.values())

    def standing(self, person: str) -> Standing | None:
        """What is known of a person."""
        return self._statuses.copy.get(person)

    def venue(self, venue_id: str, at_ms: int | None = None) -> Venue | None:
        """The venue's record in force, now or at a time."""
        return self.registry.record(venue_id, self._now_ms() if at_ms is None else at_ms)

    def place(self, venue_id: str, at_ms: int) -> Place:
        """The venue as a check-in finds it."""
        spot = self._spots.get(venue_id)
        if spot is None or self._version != (self._venues.version, self._rules.version):
            spot = self.spot(venue_id, self._now_ms())
        return spot.place if spot.from_ms <= at_ms < spot.until_ms else self.registry.place(venue_id, at_ms)

    def spot(self, venue_id: str, at_ms: int) -> Spot:
        """What holds of a venue at a time."""
        version = self._venues.version, self._rules.version
        if version != self._version or len(self._spots) > _VENUES_MOST:
            self._version = version
            self._spots.clear()
        spot = self._spots.get(venue_id)
        if spot is None or not spot.from_ms <= at_ms < spot.until_ms:
            spot = self._spots[venue_id] = self._look_up(venue_id, at_ms)
        return spot

    def _look_up(self, venue_id: str, at_ms: int) -> Spot:
        registry = self.registry
        venue = registry.record(venue_id, at_ms)
        facts = PlaceFacts("other") if venue is None else PlaceFacts.of(venue)
        requirements = self.rules.in_force(facts, at_ms, self._settings.zone_info)
        most = None if venue is None else allowed(venue.capacity, requirements, venue.area_m2)
        borders = [each.valid_from_ms for each in registry.records(venue_id)]
        from_ms = max([requirements.from_ms, *(border for border in borders if border <= at_ms)])
        until_ms = min([requirements.until_ms, *(border for border in borders if border > at_ms)])
        return Spot(venue, registry.place(venue_id, at_ms), facts, requirements, most, from_ms, until_ms)

    def count(self, venue_id: str, now_ms: int | None = None, spot: Spot | None = None) -> Count:
        """How full a venue is now; `spot`: what holds of it now, where that is known."""
        now_ms = self._now_ms() if now_ms is None else now_ms
        told = self._counts.by_venue.get(venue_id)
        inside = max((told.inside if told else 0) + self.own.more(venue_id, now_ms), 0)
        most = (spot or self.spot(venue_id, now_ms)).allowed
        return Count(
            venue_id,
            inside,
            told.allowed if most is None and told else most,
            told.inside if told else None,
            told.log_time_ms if told else None,
            self.age_ms("occupancy", now_ms),
        )

    def on_count(self, told: Callable[[str], None]) -> Callable[[], None]:
        """Be told of each venue whose count has changed, in the loop; the result ends it."""
        self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def own_changed(self, venues: Any) -> None:
        """The gateway's own scans have changed these counts."""
        for told in self._listeners:
            for venue in venues:
                told(venue)

    def _counted(self, message: Occupancy) -> None:
        self.own.counted(message.venue, message.log_time_ms)
        for told in self._listeners:
            told(message.venue)

    def _log_time(self, venue_id: str) -> int:
        """How far the counts of the venue's partition are."""
        reader = self.readers.get("occupancy")
        if reader is None or not reader.partitions:
            return 0
        home = partition_of(self.registry.outermost(venue_id), reader.partitions)
        return self._counts.log_times.get(home, 0)


def _set_aside(path: Path, error: Exception) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    _LOG.warning("The kept copy %s cannot be used (%s): it is set aside as %s.", path.name, error, aside.name)
    try:
        path.replace(aside)
    except OSError:
        pass

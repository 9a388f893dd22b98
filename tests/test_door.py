"""The door: its decisions, what it publishes and when, guards and their answers, full places, and old copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.copies import Copies
from gateway.door import Door
from gateway.settings import CopyLimits, DoorLimits, GatewaySettings, SpoolLimits
from gateway.spool import Parcel, Spool, SpoolFull
from gateway.tickets import Ask, Companion, DoorError, Ticket
from schemas.door import DoorEvent, Recount, RuleSet
from schemas.health import Colour, Status
from schemas.keys import venue_key
from schemas.messages import Fallback, Occupancy, Scan, Venue

NOW_MS = 1_634_770_800_000  # 21 Oct 2021, 06:00 in Jakarta
HOUR_MS = 3_600_000
RULES = """
name = "The test's"
source = "the test"

[[entry]]
id = "all"
valid_from = 2021-01-01
colours = ["green", "yellow"]
source = "the test"
"""


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        """The time."""
        return self.ms


def named(number: int) -> str:
    """A pseudonym."""
    return f"p1:{number:032x}"


class World:
    """A door without brokers: its copies are filled by hand."""

    def __init__(self, door: Door, clock: Clock) -> None:
        self.door, self.clock = door, clock
        self._position = 0

    def level(self, *topics: str) -> None:
        """Copies are level with the brokers now; all, if none is named."""
        for topic in topics or ("statuses", "occupancy", "venues", "rules"):
            self.door.copies.readers[topic].level_at_ms = self.clock.ms

    def venue(self, venue: str, capacity: int | None = None, fallback: Fallback = "check", **more: Any) -> None:
        """Register a venue."""
        message = Venue(venue=venue, capacity=capacity, fallback=fallback, **more)
        self.door.copies._venues.take([(venue_key(venue, message.valid_from_ms), msgspec.json.encode(message))], 0)

    def status(self, number: int, colour: Colour, **more: Any) -> None:
        """Tell a status."""
        self._position += 1
        message = Status(
            person=named(number), colour=colour, since_ms=NOW_MS, rule="r", reason="doses", log_time_ms=NOW_MS,
            position=(0, self._position), **more,
        )  # fmt: skip
        self.door.copies.statuses.take([(named(number).encode(), msgspec.json.encode(message))])

    def counted(self, venue: str, inside: int, log_time_ms: int) -> None:
        """Tell a count."""
        self._position += 1
        message = Occupancy(venue=venue, inside=inside, log_time_ms=log_time_ms, position=(self._position, 0))
        self.door.copies._counts.take([(venue.encode(), msgspec.json.encode(message))], 0)

    def published(self) -> list[Scan]:
        """All scans in the spool."""
        rows = self.door.spool.read("scans", 0, 1 << 30)
        return [item for row in rows for item in row.items if isinstance(item, Scan)]

    def parcels(self, topic: str) -> list[bytes]:
        """All records of another topic in the spool."""
        rows = self.door.spool.read("others", 0, 1 << 30)
        found = [item for row in rows for item in row.items if isinstance(item, Parcel)]
        return [parcel.value for parcel in found if parcel.topic == topic]

    def events(self) -> list[tuple[str, str]]:
        """What was audited: (deed, person)."""
        found = [msgspec.json.decode(value, type=DoorEvent) for value in self.parcels("door-events")]
        return [(event.deed, event.person) for event in found]

    async def ask(self, number: int, venue: str = "mall", **more: Any) -> Ticket:
        """Somebody at the door."""
        return await self.door.ask(Ask(venue=venue, person=named(number), **more))


@asynccontextmanager
async def world(
    folder: Path, clock: Clock | None = None, spool_limits: SpoolLimits | None = None
) -> AsyncIterator[World]:
    """A door over a folder. Rules: green and yellow come in, unknown after a check."""
    clock = clock or Clock()
    settings = GatewaySettings(
        name="gate", data_dir=folder, spool=spool_limits or SpoolLimits(gather_ms=0.0),
        copies=CopyLimits(statuses_stale_seconds=3600.0, counts_stale_seconds=300.0),
        door=DoorLimits(answer_seconds=60.0),
    )  # fmt: skip
    spool = Spool(folder / "spool", settings.spool)
    spool.open()
    try:
        copies = Copies(settings, clock.now_ms)
        await copies.open()
        rules = RuleSet(kind="door", rules_id="indonesia", text=RULES, officer="o", purpose="p", published_at_ms=1)
        copies._rules.take([(b"door/indonesia", msgspec.json.encode(rules))], 0)
        assert copies._rules.bad == 0
        door = Door(settings, copies, spool, clock.now_ms)
        await door.open()
        found = World(door, clock)
        found.level()
        found.venue("mall", 3)
        yield found
    finally:
        await spool.close()


def run(folder: Path, use: Callable[[World], Awaitable[None]], **more: Any) -> None:
    """Use a world."""

    async def main() -> None:
        async with world(folder, **more) as found:
            await use(found)

    asyncio.run(main())


def outcome(ticket: Ticket) -> tuple[str, str]:
    """What was decided, and why."""
    assert ticket.decision is not None
    return ticket.decision.outcome, ticket.decision.reason


def test_the_colour_decides_and_an_in_is_published_only_for_who_goes_in(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        for number, colour in enumerate(("green", "yellow", "red", "black")):
            here.status(number, colour)
        answers = [outcome(await here.ask(number)) for number in range(5)]
        assert answers == [
            ("admit", "welcome"), ("admit", "welcome"), ("refuse", "colour"), ("refuse", "colour"), ("check", "unknown")
        ]  # fmt: skip
        assert [(scan.person, scan.kind) for scan in here.published()] == [
            (named(0), "in"), (named(1), "in"), (named(2), "refused"), (named(3), "refused")
        ]  # fmt: skip
        assert {(scan.gateway, scan.venue, scan.at_ms) for scan in here.published()} == {("gate", "mall", NOW_MS)}

    run(tmp_path, use)


def test_a_person_not_verified_is_unknown_whatever_their_status(tmp_path: Path) -> None:
    """Neither green nor black is told to somebody who only says who they are."""

    async def use(here: World) -> None:
        here.status(1, "black")
        here.status(2, "green")
        for number in (1, 2):
            ticket = await here.ask(number, verified=False)
            assert (outcome(ticket), ticket.colours) == (("check", "unknown"), (None,))

    run(tmp_path, use)


@pytest.mark.parametrize("admitted", [True, False])
def test_a_check_waits_for_the_guards_answer_through_a_restart(tmp_path: Path, admitted: bool) -> None:
    """Nothing is published before; the answer counts once, and the same again gives the same ticket."""
    clock = Clock()
    tickets = []

    async def ask(here: World) -> None:
        tickets.append(await here.ask(9, scan_id="mine"))
        assert (here.published(), here.events()) == ([], [])

    async def answer(here: World) -> None:
        ticket_id = tickets[0].ticket_id
        clock.ms += 1000
        first, second = await asyncio.gather(
            here.door.answer(ticket_id, admitted, "d1"), here.door.answer(ticket_id, admitted, "d1")
        )
        assert first == second == await here.door.answer(ticket_id, admitted, "d1")
        assert (first.admitted, first.decision) == (admitted, tickets[0].decision)
        (scan,) = here.published()
        assert (scan.kind, scan.at_ms, scan.scan_id) == ("in" if admitted else "refused", NOW_MS + 1000, "mine")
        assert here.events() == [("staff_admitted" if admitted else "staff_refused", named(9))]

    async def again(here: World) -> None:
        await here.door.answer(tickets[0].ticket_id, admitted, "d1")
        with pytest.raises(DoorError) as refused:
            await here.door.answer(tickets[0].ticket_id, not admitted, "d1")
        assert refused.value.code == "answered"
        assert len(here.published()) == 1

    for use in (ask, answer, again):
        run(tmp_path, use, clock=clock)


def test_an_answer_too_late_or_to_no_ticket_is_refused(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        ticket = await here.ask(9)
        here.clock.ms += 60_001
        for ticket_id, code in ((ticket.ticket_id, "expired"), ("0" * 24, "no_ticket")):
            with pytest.raises(DoorError) as refused:
                await here.door.answer(ticket_id, True, "d1")
            assert refused.value.code == code
        here.clock.ms += 60_001
        await here.ask(10)  # sweeps
        await here.door.event("bound", "mall", "d1")
        assert [row.ticket_id for row in here.door.spool.tickets()] != [ticket.ticket_id]
        assert here.published() == []

    run(tmp_path, use)


def test_a_place_is_full_with_the_gateways_own_scans_and_empties_with_them(tmp_path: Path) -> None:
    """Count and own scans together; who is inside already may come again; a check-out makes room at once."""

    async def use(here: World) -> None:
        for number in range(6):
            here.status(number, "green")
        here.counted("mall", 1, NOW_MS - 1000)
        assert [outcome(await here.ask(number))[0] for number in range(3)] == ["admit", "admit", "full"]
        assert here.door.copies.count("mall").inside == 3
        assert outcome(await here.ask(0))[0] == "admit"
        assert here.door.copies.count("mall").inside == 3
        await here.ask(1, kind="out")
        assert outcome(await here.ask(2))[0] == "admit"
        assert [scan.kind for scan in here.published()] == ["in", "in", "refused", "in", "out", "in"]

    run(tmp_path, use)


def test_many_who_ask_at_once_do_not_overfill_a_place(tmp_path: Path) -> None:
    """A place is taken at the decision, not when the disk has it."""

    async def use(here: World) -> None:
        for number in range(20):
            here.status(number, "green")
        answers = [outcome(each)[0] for each in await asyncio.gather(*(here.ask(number) for number in range(20)))]
        assert answers.count("admit") == 3
        assert answers.count("full") == 17

    run(tmp_path, use)


def test_full_looks_at_what_a_venue_lies_within(tmp_path: Path) -> None:
    """The shop has room and the mall has none; who is in the mall already may go into its shop."""

    async def use(here: World) -> None:
        here.venue("shop", 50, within="mall")
        for number in range(5):
            here.status(number, "green")
        here.counted("mall", 2, NOW_MS)
        assert outcome(await here.ask(0))[0] == "admit"
        ticket = await here.ask(1, "shop")
        assert ticket.decision is not None
        assert (ticket.decision.outcome, ticket.decision.venue) == ("full", "mall")
        assert outcome(await here.ask(0, "shop"))[0] == "admit"
        assert (here.door.copies.count("mall").inside, here.door.copies.count("shop").inside) == (3, 1)

    run(tmp_path, use)


def test_own_scans_are_in_the_sum_until_they_are_counted_and_no_longer(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        here.status(1, "green")
        await here.ask(1)
        copies, spool = here.door.copies, here.door.spool
        assert copies.count("mall").inside == 1
        rows = spool.next("scans", 10)
        assert rows is not None
        for mark in spool.sent("scans", [row.seq for row in rows]):
            copies.own.acknowledged(mark, NOW_MS + 50)
        assert copies.count("mall").inside == 1
        here.counted("mall", 0, NOW_MS + 49)
        assert copies.count("mall").inside == 1
        here.counted("mall", 1, NOW_MS + 50)
        assert copies.count("mall").inside == 1

    run(tmp_path, use)


def test_unsent_scans_count_after_a_restart(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        here.status(1, "green")
        await here.ask(1)

    async def look(here: World) -> None:
        assert here.door.copies.count("mall").inside == 1
        here.status(1, "green")
        await here.ask(1, kind="out")
        assert here.door.copies.count("mall").inside == 0

    run(tmp_path, use)

    async def registered(here: World) -> None:
        await look(here)

    run(tmp_path, registered)


@pytest.mark.parametrize("fallback", ["admit", "check", "refuse"])
def test_copies_too_old_leave_it_to_the_venues_fallback(tmp_path: Path, fallback: Fallback) -> None:
    """Up to the limit the last copies hold, and say how old they are; beyond it the fallback, never milder."""

    async def use(here: World) -> None:
        here.venue("mall", 3, fallback)
        here.status(1, "green")
        here.status(2, "black")
        here.clock.ms += 299_000
        ticket = await here.ask(1)
        assert (outcome(ticket)[0], ticket.statuses_age_ms, ticket.counts_age_ms) == ("admit", 299_000, 299_000)
        here.clock.ms += 2000  # counts too old
        assert outcome(await here.ask(3))[0] == ("refuse" if fallback == "refuse" else "check")
        here.clock.ms += HOUR_MS
        here.level("occupancy")
        assert outcome(await here.ask(1))[0] == fallback
        assert outcome(await here.ask(2)) == ("refuse", "colour")

    run(tmp_path, use)


def test_a_status_whose_time_is_over_ages(tmp_path: Path) -> None:
    """The next one is not here: the last holds on as long as a copy of that age would."""

    async def use(here: World) -> None:
        here.venue("mall", 30, "refuse")
        here.status(1, "green", until_ms=NOW_MS + 1000)
        here.clock.ms += HOUR_MS
        here.level()
        assert outcome(await here.ask(1))[0] == "admit"
        here.clock.ms += 2000
        here.level()
        assert outcome(await here.ask(1)) == ("refuse", "stale")

    run(tmp_path, use)


def test_a_group_is_one_decision_with_a_scan_each(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        here.status(1, "green")
        here.status(2, "green")
        here.status(3, "red")
        party = (Companion(named(2), "6-11"),)
        ticket = await here.ask(1, party=party, scan_id="s")
        assert (outcome(ticket)[0], ticket.scan_ids, ticket.inside) == ("admit", ("s", "s.1"), 2)
        assert [(scan.person, scan.scan_id) for scan in here.published()] == [(named(1), "s"), (named(2), "s.1")]
        ticket = await here.ask(1, party=(Companion(named(3)),))
        assert outcome(ticket)[0] == "refuse"
        assert ticket.colours == ("green", "red")
        for bad in ((Companion(named(1)),), tuple(Companion(named(each)) for each in range(10, 30))):
            with pytest.raises(DoorError) as refused:
                await here.ask(1, party=bad)
            assert refused.value.code == "bad_party"
        here.status(5, "green")
        assert outcome(await here.ask(5, party=(Companion(named(2)),)))[0] == "admit"  # 2 is inside already
        here.status(6, "green")
        assert outcome(await here.ask(6))[0] == "full"

    run(tmp_path, use)


def test_nothing_is_answered_when_nothing_can_be_kept(tmp_path: Path) -> None:
    """A full spool: every method says so, and the count is as before."""

    async def use(here: World) -> None:
        here.status(1, "green")
        for attempt in (here.ask(1), here.door.recount("mall", 2, "d"), here.door.event("bound", "mall", "d")):
            with pytest.raises(SpoolFull):
                await attempt
        with pytest.raises(SpoolFull):
            await here.door.bulk([Scan(person="p", venue="mall", kind="in", at_ms=NOW_MS)])
        assert here.door.copies.count("mall").inside == 0

    run(tmp_path, use, spool_limits=SpoolLimits(bytes_most=0, gather_ms=0.0))


def test_a_recount_is_published_audited_and_holds_here_at_once(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        here.counted("mall", 7, NOW_MS)
        await here.door.recount("mall", 2, "d1")
        assert here.door.copies.count("mall").inside == 2
        await here.door.recount("mall", 0, "d1")
        assert here.door.copies.count("mall").inside == 0
        told = [msgspec.json.decode(value, type=Recount) for value in here.parcels("recounts")]
        assert [(each.venue, each.inside, each.at_ms, each.device) for each in told] == [
            ("mall", 2, NOW_MS, "d1"), ("mall", 0, NOW_MS, "d1")
        ]  # fmt: skip
        assert [deed for deed, _ in here.events()] == ["recount", "everyone_out"]
        with pytest.raises(DoorError):
            await here.door.recount("mall", -1, "d1")

    run(tmp_path, use)


def test_a_typed_id_is_audited_whatever_comes_of_it(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        here.status(1, "green")
        here.status(2, "black")
        for number in (1, 2, 3):
            await here.ask(number, typed=True, device="d")
        assert here.events() == [("typed_id", named(number)) for number in (1, 2, 3)]

    run(tmp_path, use)


def test_bulk_takes_the_good_and_names_the_bad(tmp_path: Path) -> None:
    async def use(here: World) -> None:
        good = [Scan(person=named(each), venue="mall", kind="in", at_ms=NOW_MS, scan_id=f"{each}") for each in range(3)]
        bad = [Scan(person="", venue="mall", kind="in", at_ms=1), Scan(person="p", venue="m\n", kind="in", at_ms=1)]
        result = await here.door.bulk([good[0], bad[0], good[1], bad[1], good[2]])
        assert (result.accepted, [place for place, _ in result.rejected]) == (3, [1, 3])
        assert here.published() == [msgspec.structs.replace(each, gateway="gate") for each in good]
        assert here.door.copies.count("mall").inside == 3

    run(tmp_path, use)

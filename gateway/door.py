"""The door: one decision from statuses, rules and counts, and what comes of it, durable before anybody is answered."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from contacts.admission import Decision, Limits, Load, Visitor, decide
from contacts.registry import are_names
from gateway.client import BadScan, check_scan
from gateway.copies import Copies, Spot
from gateway.metrics import decided
from gateway.ownscans import Mark
from gateway.sender import Sender, Sent
from gateway.settings import GatewaySettings
from gateway.spool import Parcel, Spool, SpoolError, TicketRow
from gateway.tickets import Ask, Bulk, DoorError, Ticket, new_id
from schemas.bounds import TIME_MOST
from schemas.door import Deed, DoorEvent, Recount
from schemas.health import AgeBand, Colour
from schemas.messages import Fallback, Scan, ScanKind
from security.clients import mend_clients

_SWEEP_MS: Final = 60_000
_MANY: Final = 20_000
_LATER_MS: Final = 2000
_SWITCH_SECONDS: Final = 0.0005
_JSON: Final = msgspec.json.Encoder().encode
_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK: Final = msgspec.msgpack.Decoder(Ticket).decode
_STRANGER: Final = Visitor(status_age_ms=0)


class Door:
    """Decides and publishes. `open` it before the sender starts.

    Every method that publishes is done when what it publishes is on the disk. It raises SpoolError when there is no
    room there: then nothing was taken, and nobody may be told otherwise.
    """

    def __init__(self, settings: GatewaySettings, copies: Copies, spool: Spool, now_ms: Callable[[], int]) -> None:
        self._settings, self._now_ms = settings, now_ms
        self.copies, self.spool = copies, spool
        self.sender = Sender(settings, spool, now_ms, self._sent)
        limits = settings.copies
        self._limits = Limits(int(limits.statuses_stale_seconds * 1000), int(limits.counts_stale_seconds * 1000))
        self._answer_ms = int(settings.door.answer_seconds * 1000)
        self._tickets: dict[str, Ticket] = {}
        self._answering: dict[str, asyncio.Task[Ticket]] = {}
        self._swept_ms = 0

    async def open(self) -> None:
        """Take up what the last run left: tickets that wait for an answer, scans that wait for the brokers."""
        for ticket_row in self.spool.tickets():
            self._tickets[ticket_row.ticket_id] = _UNPACK(ticket_row.body or b"")
        after = 0
        while rows := await asyncio.to_thread(self.spool.read, "scans", after, _MANY):
            now_ms = self._now_ms()
            for row in rows:
                scans = [item for item in row.items if isinstance(item, Scan)]
                if mark := self.copies.own.add(scans, now_ms):
                    self.spool.mark(row.seq, mark)
            after = rows[-1].seq
            await asyncio.sleep(0)

    async def ask(self, ask: Ask) -> Ticket:
        """Decide about somebody at the door, and make durable what comes of it: the `in` of those who go in, a
        `refused` for those who do not, the ticket of those whom the staff check first; an `out` is always taken.

        Raises DoorError.
        """
        now_ms = self._now_ms()
        at_ms = now_ms if ask.at_ms is None else ask.at_ms
        ticket_id = new_id()
        persons = self._checked(ask, at_ms)
        scan_ids = _scan_ids(ask.scan_id or ticket_id, len(persons))
        parcels = [self._event("typed_id", ask.venue, ask.device, now_ms, ask.person)] if ask.typed else []
        party = persons[1:]
        if ask.kind == "out":
            ticket = Ticket(
                ticket_id=ticket_id, venue=ask.venue, person=ask.person, kind="out", at_ms=at_ms, scan_ids=scan_ids,
                party=party, counts_age_ms=self.copies.age_ms("occupancy", now_ms),
            )  # fmt: skip
            await self._put(self._scans(ticket, "out", at_ms), now_ms, parcels)
            decided("out", ())
            return ticket
        decision, colours, inside, most = self._decide(ask, persons, now_ms)
        waits = decision.outcome == "check"
        ticket = Ticket(
            ticket_id=ticket_id,
            venue=ask.venue,
            person=ask.person,
            kind="in",
            at_ms=at_ms,
            scan_ids=scan_ids,
            party=party,
            decision=decision,
            colours=colours,
            until_ms=now_ms + self._answer_ms if waits else None,
            inside=inside,
            allowed=most,
            statuses_age_ms=self.copies.age_ms("statuses", now_ms),
            counts_age_ms=self.copies.age_ms("occupancy", now_ms),
        )
        if waits:
            self._sweep(now_ms)
            self._tickets[ticket_id] = ticket
            try:
                await self.spool.put((), parcels, [_row(ticket)])
            except SpoolError:
                del self._tickets[ticket_id]
                raise
        else:
            kind: ScanKind = "in" if decision.outcome == "admit" else "refused"
            await self._put(self._scans(ticket, kind, at_ms), now_ms, parcels)
        decided(decision.outcome, colours)
        return ticket

    def _checked(self, ask: Ask, at_ms: int) -> tuple[str, ...]:
        """The persons, the one who scans first. Raises DoorError."""
        persons = (ask.person, *(each.person for each in ask.party)) if ask.party else (ask.person,)
        if len(persons) > 1:
            if len(ask.party) > self._settings.door.party_most:
                raise DoorError("bad_party", f"At most {self._settings.door.party_most} come in with one person.")
            if len(set(persons)) < len(persons):
                raise DoorError("bad_party", "Somebody is named twice.")
        if not are_names((ask.venue, *persons)) or not -TIME_MOST <= at_ms <= TIME_MOST:
            raise DoorError("bad_scan", "Venue and persons are 1 to 200 characters, none of them a control character.")
        return persons

    def _decide(
        self, ask: Ask, persons: tuple[str, ...], now_ms: int
    ) -> tuple[Decision, tuple[Colour | None, ...], int, int | None]:
        """The decision, the colours behind it, and how full the venue is with those who come in."""
        copies, own = self.copies, self.copies.own
        spot = copies.spot(ask.venue, now_ms)
        age_ms = copies.age_ms("statuses", now_ms)
        visitors = [self._visitor(ask.person, ask.verified, ask.age_band, age_ms, now_ms)]
        for each in ask.party:
            visitors.append(self._visitor(each.person, each.verified, each.age_band, age_ms, now_ms))  # noqa: PERF401
        loads = []
        for venue in (ask.venue, *spot.place.ancestors):
            count = copies.count(venue, now_ms, spot if venue is ask.venue else None)
            already = own.inside_already(persons, venue, now_ms)
            loads.append(Load(venue, count.inside, count.allowed, count.age_ms, already))
        decision = decide(visitors, spot.requirements, loads, _fallback(spot), now_ms, self._limits)
        colours = tuple(each.colour if each.known else None for each in visitors)
        comes_in = len(persons) - loads[0].already if decision.outcome == "admit" else 0
        return decision, colours, loads[0].inside + comes_in, loads[0].allowed

    def _visitor(
        self, person: str, verified: bool, age_band: AgeBand | None, age_ms: int | None, now_ms: int
    ) -> Visitor:
        if not verified:
            return _STRANGER if age_band is None else _STRANGER._replace(age_band=age_band)
        found = self.copies.standing(person)
        if found is None:
            return Visitor(age_band=age_band, status_age_ms=age_ms)
        if found.until_ms is not None and found.until_ms <= now_ms and age_ms is not None:
            # The next status is not here yet: as old as the moment from which this one no longer holds.
            age_ms = max(age_ms, now_ms - found.until_ms)
        return Visitor(
            found.colour,
            True,
            found.doses,
            found.full,
            found.booster,
            found.negatives,
            found.age_band or age_band,
            age_ms,
        )

    def ticket(self, ticket_id: str) -> Ticket | None:
        """A ticket that waits or waited for the guard, as it now is; None when it is none or was swept."""
        return self._tickets.get(ticket_id)

    def waiting(self, venue: str) -> list[Ticket]:
        """Who waits for a guard of this venue, the longest first."""
        now_ms = self._now_ms()
        found = [
            each
            for each in self._tickets.values()
            if each.venue == venue and each.admitted is None and (each.until_ms or 0) > now_ms
        ]
        return sorted(found, key=lambda ticket: ticket.at_ms)

    async def answer(self, ticket_id: str, admitted: bool, device: str) -> Ticket:
        """The guard's answer to a `check`, once: the same answer again gives the same ticket. Raises DoorError."""
        if (earlier := self._answering.get(ticket_id)) is not None:
            await asyncio.wait([earlier])
        ticket = self._tickets.get(ticket_id)
        if ticket is None:
            raise DoorError("no_ticket", "No such ticket waits for an answer here.")
        if ticket.admitted is not None:
            if ticket.admitted != admitted:
                said = "admitted" if ticket.admitted else "refused"
                raise DoorError("answered", f"The staff have {said} this person already.")
            return ticket
        now_ms = self._now_ms()
        if ticket.until_ms is None or now_ms > ticket.until_ms:
            raise DoorError("expired", "The ticket is too old: ask again.")
        task = self._answering[ticket_id] = asyncio.create_task(self._answer(ticket, admitted, device, now_ms))
        task.add_done_callback(lambda _: self._answering.pop(ticket_id, None))
        return await asyncio.shield(task)

    async def _answer(self, ticket: Ticket, admitted: bool, device: str, now_ms: int) -> Ticket:
        scans = self._scans(ticket, "in" if admitted else "refused", now_ms)
        deed: Deed = "staff_admitted" if admitted else "staff_refused"
        event = self._event(deed, ticket.venue, device, now_ms, ticket.person, ticket.ticket_id)
        answered = msgspec.structs.replace(ticket, admitted=admitted)
        await self._put(scans, now_ms, [event], [_row(answered)])
        self._tickets[ticket.ticket_id] = answered
        return answered

    async def bulk(self, scans: Sequence[Scan]) -> Bulk:
        """Take scans as they happened, without decisions: of systems that let people in themselves, or tell later."""
        rejected: list[tuple[int, str]] = []
        if not _all_good(scans):
            good = []
            for place, scan in enumerate(scans):
                try:
                    check_scan(scan)
                    good.append(scan)
                except BadScan as error:
                    rejected.append((place, str(error)))
            scans = good
        name = self._settings.name
        named = [scan if scan.gateway else _named(scan, name) for scan in scans]
        if named:
            await self._put(named, self._now_ms())
        return Bulk(accepted=len(named), rejected=tuple(rejected))

    async def recount(self, venue: str, inside: int, device: str, *, at_ms: int | None = None) -> str:
        """A guard has counted `inside` people (0: everyone is out). Returns the recount's id. Raises DoorError.

        This gateway's own count follows at once; everybody's, when the message has come round.
        """
        if not are_names((venue,)) or not 0 <= inside <= 1_000_000:
            raise DoorError("bad_count", "A count is a number of people from 0 to 1 000 000, at a venue.")
        now_ms = self._now_ms()
        recount_id = new_id()
        message = Recount(
            venue=venue,
            inside=inside,
            at_ms=now_ms if at_ms is None else at_ms,
            recount_id=recount_id,
            gateway=self._settings.name,
            device=device,
        )
        parcel = Parcel("recounts", venue.encode(), _JSON(message))
        event = self._event("recount" if inside else "everyone_out", venue, device, now_ms, detail=f"{inside} inside")
        mark = {venue: inside - self.copies.count(venue).inside}
        self.copies.own.adjust(mark)
        await self._put((), now_ms, [parcel, event], mark=mark)
        return recount_id

    async def event(self, deed: Deed, venue: str, device: str, *, person: str = "", detail: str = "") -> None:
        """Audit what staff did. `detail` holds no health data."""
        await self.spool.put((), [self._event(deed, venue, device, self._now_ms(), person, detail)])

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish other records (venues, declarations, health records) by way of the spool."""
        await self.spool.put((), parcels)

    def _event(self, deed: Deed, venue: str, device: str, at_ms: int, person: str = "", detail: str = "") -> Parcel:
        message = DoorEvent(
            event_id=new_id(),
            venue=venue,
            gateway=self._settings.name,
            device=device,
            deed=deed,
            at_ms=at_ms,
            person=person,
            detail=detail,
        )
        return Parcel("door-events", venue.encode(), _JSON(message))

    def _scans(self, ticket: Ticket, kind: ScanKind, at_ms: int) -> list[Scan]:
        name = self._settings.name
        return [
            Scan(person=person, venue=ticket.venue, kind=kind, at_ms=at_ms, scan_id=scan_id, gateway=name)
            for person, scan_id in zip((ticket.person, *ticket.party), ticket.scan_ids, strict=True)
        ]

    async def _put(
        self,
        scans: Sequence[Scan],
        now_ms: int,
        parcels: Sequence[Parcel] = (),
        tickets: Sequence[TicketRow] = (),
        mark: Mark | None = None,
    ) -> None:
        """Count scans from now on, and wait until all is durable; undo where that fails."""
        if mark is None:
            mark = self.copies.own.add(scans, now_ms)
        try:
            await self.spool.put(scans, parcels, tickets, mark or None)
        except SpoolError:
            self.copies.own.undo(mark)
            raise
        if mark:
            self.copies.own_changed(mark)

    def _sent(self, sent: Sent) -> None:
        later = 0 if sent.lane == "scans" else _LATER_MS  # a recount goes by way of the registry agent
        for mark in sent.marks:
            self.copies.own.acknowledged(mark, sent.at_ms + later)

    def _sweep(self, now_ms: int) -> None:
        """Now and then, forget tickets that nobody answered in time."""
        if now_ms - self._swept_ms < _SWEEP_MS:
            return
        self._swept_ms = now_ms
        over = [key for key, each in self._tickets.items() if (each.until_ms or 0) < now_ms]
        if over:
            for key in over:
                del self._tickets[key]
            gone = self.spool.put(tickets=[TicketRow(key, 0, None) for key in over])
            gone.add_done_callback(lambda done: done.exception())  # what stays is swept after the next start


def _row(ticket: Ticket) -> TicketRow:
    return TicketRow(ticket.ticket_id, ticket.until_ms or 0, _PACK(ticket))


def _scan_ids(first: str, count: int) -> tuple[str, ...]:
    return (first,) if count == 1 else (first, *(f"{first}.{number}" for number in range(1, count)))


def _fallback(spot: Spot) -> Fallback:
    return "check" if spot.venue is None else spot.venue.fallback


def _all_good(scans: Sequence[Scan]) -> bool:
    """Whether all may be published, asked of them together."""
    names = [scan.person for scan in scans]
    names += [scan.venue for scan in scans]
    times = [scan.at_ms for scan in scans]
    if not scans:
        return True
    good_times = min(times) >= -TIME_MOST and max(times) <= TIME_MOST
    return good_times and all(map(str.isascii, names)) and are_names(names)


def _named(scan: Scan, gateway: str) -> Scan:
    return Scan(
        person=scan.person,
        venue=scan.venue,
        kind=scan.kind,
        at_ms=scan.at_ms,
        arrived_at_ms=scan.arrived_at_ms,
        scan_id=scan.scan_id,
        gateway=gateway,
    )


@asynccontextmanager
async def open_door(settings: GatewaySettings, now_ms: Callable[[], int]) -> AsyncIterator[Door]:
    """A door with all behind it, in the running loop: copies that follow the brokers, the spool, and its sender.

    Without brokers in the settings the copies stay as they were kept, and what is put in waits in the spool. Raises
    SpoolError when the data folder cannot be used.
    """
    # The spool's thread lets go of the interpreter in every call of SQLite's, and waits so long to have it again.
    sys.setswitchinterval(_SWITCH_SECONDS)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a line for every attempt; ours say it once
    mend_clients()
    spool = Spool(settings.data_dir / "spool", settings.spool)
    spool.open()
    try:
        copies = Copies(settings, now_ms)
        await copies.open()
        door = Door(settings, copies, spool, now_ms)
        await door.open()
        if settings.brokers:
            copies.start()
            door.sender.start()
        try:
            yield door
        finally:
            await door.sender.stop()
            await copies.stop()
    finally:
        await spool.close()

"""What the demo shows: a city's day at a glance and one case traced, or a file's visits, peaks and one trace."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from datetime import time as dtime
from pathlib import Path

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.text import Text

from contacts.visits import Visit
from gateway.client import Gateway
from lacak.city import City
from lacak.clock import SystemClock
from lacak.demo_door import show_door
from lacak.deployment import Deployment
from lacak.level import reasons, standing_visits, wait_level, wait_registry
from lacak.officer_commands import inside_table, send
from lacak.publish import chunks
from lacak.report import Curve, Table, write_report
from lacak.venues import publish_venues
from officer.exports import local, to_tree
from officer.store import Inside, Store
from schemas.messages import ContactDecision, Scan, TestResult, Trace, TraceRequest, Venue
from streams.settings import DAY_MS, Settings

_OFFICER, _PURPOSE = "demo", "lacak demo"
_FRAME_SECONDS = 0.25
_SHOWN_PLACES, _SHOWN_CONTACTS, _SHOWN_DAYS = 12, 6, 10
_TRACE_SECONDS = 45.0  # where nothing was compiled before, the first answer takes seconds
_LOOK = "Look at the workers' logs."
_BARS = " ▁▂▃▄▅▆▇█"


def show_city(lacak: Deployment, *, console: Console, folder: Path, people: int, seed: int, seconds: float) -> None:
    """Two days of a made-up city in `seconds`, its mall, one positive test, the contacts, and the truth beside them."""
    settings, clock = lacak.settings, SystemClock()
    city = City(people=people, days=2, seed=seed)
    venues = city.venues()
    mall = max((venue for venue in venues if venue.category == "mall"), key=lambda venue: venue.capacity or 0)
    console.print(
        f"\n[bold]A made-up city of {people} people[/bold] with {len(venues)} doors that show a code. "
        f"Most who check in never check out; some doors are offline for hours.\n",
        highlight=False,
    )
    _register(settings, venues)
    scans = list(city.scans())
    with Store.opened(settings.database_access) as store:
        with Gateway(settings.broker_access, topic=settings.topic("scans")) as gateway:
            levels = _live_through(lacak, console, store, gateway, scans, mall, seconds)
            gateway.end_run(max(scan.arrived_at_ms or scan.at_ms for scan in scans) + 2 * DAY_MS)
        if not console.is_terminal:
            console.print(
                f"{mall.name} over the two days: {_sparkline(levels)} (at most {max(levels, default=0)} inside)"
            )
        _wait(lacak, console, scans)
        case = _case_of(city)
        spread = [each for each in city.truth.infections if each.infector == case.person]
        console.print(
            f"\nA laboratory reports that [bold]{case.person}[/bold] is positive, specimen of "
            f"{local(case.specimen_ms, settings.zone_info)}.",
            highlight=False,
        )
        began, began_ms = time.monotonic(), clock.now_ms()
        send(settings, "test-results", case.person, case)
        made = store.await_traces(case.person, began_ms, 2, _TRACE_SECONDS, complete=True)
        took = time.monotonic() - began
        if len(made) < 2:
            raise click.ClickException(f"The traces have not come within {_TRACE_SECONDS:.0f} s. {_LOOK}")
        forward = next(trace for trace in made if trace.direction == "forward")
        console.print(
            f"{took * 1000:.0f} ms later both traces are in PostgreSQL. [bold]Forward[/bold]: whom they met while "
            f"infectious; [bold]backward[/bold]: who may have infected them ({_found(made, 'backward')} contacts).\n",
            highlight=False,
        )
        console.print(_top(forward, settings))
        caught = {contact.person for contact in forward.contacts}
        infected = sum(each.infected in caught for each in spread)
        console.print(
            f"\nThe truth of this city: they infected {len(spread)} people in these days, of whom {infected} are among "
            f"the contacts; the others met them where nobody scanned, or only briefly.",
            highlight=False,
        )
        forward, confirmed = _decided(settings, store, clock, console, forward)
        doors = [
            (row.name or row.venue, row.allowed or 0, peak, entries) for row, peak, entries in _busiest(store, settings)
        ]
        page = write_report(
            folder,
            "A made-up city, two days, one positive test",
            [
                f"{len(scans)} scans of {people} people at {len(venues)} doors went through the topics of a real "
                f"broker and the agents. {case.person} tested positive; the traces were readable "
                f"{took * 1000:.0f} ms later.",
                f"The forward trace has {len(forward.contacts)} contacts under {forward.profile} of "
                f"{forward.profile_version}. In truth they infected {len(spread)} people; {infected} are among them.",
            ],
            Curve(f"People inside {mall.name}", _inside(store, mall)[1], store.curve(mall.venue)),
            [Table("The busiest places", ("place", "allowed", "peak", "entries"), doors)],
            forward,
            settings.zone_info,
        )
    zone = settings.zone_info
    day_after = datetime.fromtimestamp(scans[-1].at_ms / 1000, zone).date() + timedelta(days=1)
    noon_ms = int(datetime.combine(day_after, dtime(12), zone).timestamp() * 1000)
    show_door(settings, console, folder, mall, noon_ms, case.person, confirmed, "p1:" + "0" * 32)
    console.print(f"\nThe report with pictures: [bold]{page}[/bold]", highlight=False)


def show_file(
    lacak: Deployment, *, console: Console, folder: Path, scans: list[Scan], venues: list[Venue], person: str | None
) -> None:
    """A file's scans through the pipeline: visits by reason, peaks by day, who is inside at its end, one trace."""
    settings = lacak.settings
    if venues:
        _register(settings, venues)
    copies = len(scans) - len({(scan.person, scan.venue, scan.kind, scan.at_ms) for scan in scans})
    with Store.opened(settings.database_access) as store:
        _publish(settings, console, scans)
        _wait(lacak, console, scans)
        visits = standing_visits(settings)
        counted = reasons(visits)
        console.print(
            f"\n[bold]{len(scans):,} scans became {len(visits):,} visits[/bold], {copies:,} exact duplicates absorbed.",
            highlight=False,
        )
        for reason, count in counted.items():
            console.print(f"  {count:>9,}  {reason}", highlight=False)
        days = _days(store, settings)
        console.print("\nday          highest peak                        entries   inside at its end", highlight=False)
        for day, venue, peak, entries, inside in days[:_SHOWN_DAYS]:
            console.print(f"{day}   {peak:>6}  {venue:<24.24} {entries:>9}   {inside:>6}", highlight=False)
        if len(days) > _SHOWN_DAYS:
            left = max(day[4] for day in days)
            console.print(
                f"... and {len(days) - _SHOWN_DAYS} more in the report; inside at a day's end: at most {left}"
            )
        if not visits:
            raise click.ClickException("No scan became a visit: are there check-ins in the file?")
        trace = _trace_one(settings, store, visits, person)
        console.print()
        console.print(_top(trace, settings))
        page = write_report(
            folder,
            "A file through the pipeline",
            [f"{len(scans):,} scans became {len(visits):,} visits; {copies:,} exact duplicates were absorbed."],
            None,
            [
                Table("How the visits ended", ("reason", "visits"), list(counted.items())),
                Table("Days", ("day", "place", "highest peak", "entries", "inside at its end"), days),
            ],
            trace,
            settings.zone_info,
        )
    console.print(f"\nThe report with pictures: [bold]{page}[/bold]", highlight=False)


def _register(settings: Settings, venues: Sequence[Venue]) -> None:
    began_ms = SystemClock().now_ms() - 10_000
    publish_venues(settings, venues)
    wait_registry(settings, began_ms)


def _publish(settings: Settings, console: Console, scans: Sequence[Scan]) -> None:
    stamped = (msgspec.structs.replace(s, arrived_at_ms=s.arrived_at_ms or s.at_ms) for s in scans)
    with (
        Gateway(settings.broker_access, topic=settings.topic("scans")) as gateway,
        Progress(console=console, transient=True) as bar,
    ):
        task = bar.add_task("publishing", total=len(scans))
        for chunk in chunks(stamped):
            gateway.publish(chunk)
            bar.advance(task, len(chunk))
        gateway.end_run(max(scan.at_ms for scan in scans) + 2 * DAY_MS)


def _wait(lacak: Deployment, console: Console, scans: Sequence[Scan]) -> None:
    """Until every window is in PostgreSQL: the run's final tick is two days past the last scan."""
    last_ms = max(max(scan.at_ms, scan.arrived_at_ms or scan.at_ms) for scan in scans)
    with console.status("waiting until everything has come through"):
        wait_level(lacak.settings, last_ms + DAY_MS, watch=lacak.watch)


def _live_through(
    lacak: Deployment, console: Console, store: Store, gateway: Gateway, scans: Sequence[Scan], mall: Venue,
    seconds: float,
) -> list[int]:  # fmt: skip
    """Publish the scans as they arrive, in so many seconds, and show how full the places are; the mall's levels."""
    arrivals = [scan.arrived_at_ms or scan.at_ms for scan in scans]
    first, last = arrivals[0], arrivals[-1]
    levels: list[int] = []
    sent, began, shown = 0, time.monotonic(), 0.0
    with Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:
        while sent < len(scans):
            share = min((time.monotonic() - began) / seconds, 1.0) if seconds else 1.0
            now_ms = first + round(share * (last - first))
            until = sent
            while until < len(scans) and arrivals[until] <= now_ms:
                until += 1
            gateway.publish(scans[sent:until])
            gateway.flush()
            sent = until
            if time.monotonic() - shown >= 1.0 or sent == len(scans):
                shown = time.monotonic()
                lacak.watch()
                inside, allowed = _inside(store, mall)
                levels.append(inside)
                header = Text.assemble(
                    (local(now_ms, lacak.settings.zone_info), "bold"), f"   {sent:,} of {len(scans):,} scans\n",
                    (mall.name, "bold"), f"  {_sparkline(levels)}  {levels[-1]} inside, {allowed} allowed\n",
                )  # fmt: skip
                live.update(
                    Group(header, inside_table(lacak.settings, store.occupancy(limit=_SHOWN_PLACES))), refresh=True
                )
            time.sleep(_FRAME_SECONDS if seconds else 0.0)
    return levels


def _inside(store: Store, venue: Venue) -> tuple[int, int | None]:
    """How many are inside a venue, and how many may be."""
    told = store.occupancy(venue.venue)
    return (told[0].inside, told[0].allowed) if told else (0, venue.capacity)


def _sparkline(levels: Sequence[int]) -> str:
    most = max(max(levels, default=0), 1)
    return "".join(_BARS[min(round(level / most * 8), 8)] for level in levels[-60:])


def _case_of(city: City) -> TestResult:
    """The positive who infected most."""
    spread = Counter(infection.infector for infection in city.truth.infections)
    results = city.test_results()
    if not results:
        raise click.ClickException("In this city nobody is tested positive: try more --people or another --seed.")
    case = max(results, key=lambda result: (spread[result.person], -result.specimen_ms))
    return msgspec.structs.replace(case, officer=_OFFICER, purpose=_PURPOSE)


def _found(made: Iterable[Trace], direction: str) -> int:
    return sum(len(trace.contacts) for trace in made if trace.direction == direction)


def _top(trace: Trace, settings: Settings) -> Group:
    """The contacts with most minutes, and how many more there are."""
    ordered = sorted(trace.contacts, key=lambda each: (-each.minutes, each.person))
    shown = msgspec.structs.replace(trace, contacts=tuple(ordered[:_SHOWN_CONTACTS]))
    more = len(ordered) - _SHOWN_CONTACTS
    return Group(
        to_tree(shown, settings.zone_info),
        Text(f"    and {more} more, all in the report" if more > 0 else "", style="dim"),
        Text("    ~ marks an end that is only assumed: they never checked out", style="dim"),
    )


def _decided(settings: Settings, store: Store, clock: SystemClock, console: Console, trace: Trace) -> tuple[Trace, str]:
    """Confirm the contact with most minutes, as an officer would after an interview; the report after it, and whom."""
    if not trace.contacts:
        return trace, ""
    contact = max(trace.contacts, key=lambda each: (each.minutes, each.person)).person
    store.audit(_OFFICER, _PURPOSE, "confirmed", person=contact, trace_id=trace.trace_id)
    began_ms = clock.now_ms()
    decision = ContactDecision(
        trace_id=trace.trace_id, person=trace.person, contact=contact, grade="confirmed", officer=_OFFICER,
        purpose=_PURPOSE, decided_at_ms=began_ms,
    )  # fmt: skip
    send(settings, "contact-decisions", trace.person, decision)
    store.await_traces(trace.person, began_ms, 1, 10.0)
    console.print(f"An officer confirms [bold]{contact}[/bold]; the others stay possible.", highlight=False)
    return store.trace(trace.trace_id), contact


def _busiest(store: Store, settings: Settings) -> list[tuple[Inside, int, int]]:
    peaks: dict[str, tuple[int, int]] = {}
    for venue, _, peak, entries in store.peaks(settings.zone):
        most, all_entries = peaks.get(venue, (0, 0))
        peaks[venue] = max(most, peak), all_entries + entries
    top = sorted(peaks, key=lambda venue: -peaks[venue][1])[:_SHOWN_PLACES]
    return [(store.occupancy(venue)[0], *peaks[venue]) for venue in top]


def _days(store: Store, settings: Settings) -> list[tuple[str, str, int, int, int]]:
    """(day, fullest venue, its peak, entries everywhere, inside anywhere at its end), from the windows."""
    fullest: dict[str, tuple[int, str]] = {}
    entries: Counter[str] = Counter()
    for venue, day, peak, came in store.peaks(settings.zone):
        fullest[str(day)] = max(fullest.get(str(day), (0, "")), (peak, venue))
        entries[str(day)] += came
    left = store.inside_at_day_ends(settings.zone)
    return [(day, venue, peak, entries[day], left[day]) for day, (peak, venue) in sorted(fullest.items())]


def _trace_one(settings: Settings, store: Store, visits: Sequence[Visit], person: str | None) -> Trace:
    """A forward trace of the person, or of one who was in the fullest place, as if ill from their longest visit on."""
    fullest = max(store.peaks(settings.zone), key=lambda row: row[2])[0]
    own = [visit for visit in visits if (visit.person == person if person else visit.venue == fullest)]
    if not own:
        raise click.ClickException(f"{person!r} has no visit in this file.")
    longest = max(own, key=lambda visit: (visit.end_ms - visit.start_ms, visit.person))
    store.audit(_OFFICER, _PURPOSE, "trace forward", person=longest.person)
    began_ms = SystemClock().now_ms()
    request = TraceRequest(
        request_id=uuid.uuid4().hex, person=longest.person, officer=_OFFICER, purpose=_PURPOSE, direction="forward",
        profile="who", onset_ms=longest.start_ms,
    )  # fmt: skip
    send(settings, "trace-requests", longest.person, request)
    made = store.await_traces(longest.person, began_ms, 1, _TRACE_SECONDS, complete=True)
    if not made:
        raise click.ClickException(f"The trace has not come within {_TRACE_SECONDS:.0f} s. {_LOOK}")
    return made[0]

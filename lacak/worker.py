"""`lacak worker ROLE`: one process, one role, the agents of that role put together."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import click

from agents.contacts import Contacts
from agents.forwarding import TOPICS as FORWARDED
from agents.forwarding import Forwarder
from agents.occupancy import OccupancyKeeper
from agents.placemeters import Figured
from agents.recorder import TOPICS as RECORDED
from agents.recorder import Recorder
from agents.registry import TOPICS as REGISTERED
from agents.registry import Controls
from agents.status import Statuses
from agents.tracing import TOPICS as TRACED
from agents.tracing import Tracing
from agents.visits import Visits
from contacts.clusterrules import ClusterRulesError, load_cluster_rules
from contacts.colours import ColourRulesError
from contacts.coloursinforce import ColoursInForce, possible_from_risk
from contacts.profiles import ProfileError, find_profile, load_profiles
from contacts.risk import RiskError, load_risk
from lacak.clock import SystemClock
from lacak.deployment import ROLES
from lacak.settings import load_settings
from lacak.warm import warm
from schemas.heartbeats import Pulse
from streams.app import REFUSED, WorkerApp, attach, crash, make_app, run_worker
from streams.batches import Batch
from streams.deadletters import DeadLetters
from streams.grants import topics_of
from streams.health import Health
from streams.meters import TopicMeters
from streams.outbox import Outbox
from streams.partitions import DurableEachBatch, Owner
from streams.people_file import PeopleFile
from streams.postgres import Records
from streams.refusing import Refused
from streams.settings import Settings
from streams.snapshots import SnapshotStore
from streams.stagemetrics import STATE_PEOPLE
from streams.topics import TABLES, TopicError, check_topics, cluster_id, ensure_topics
from streams.watching import Watching

_TICK_SECONDS = 0.25
_LOOK_SECONDS = 0.2
_REMIND_SECONDS = 0.05
_STATUS_TICK_SECONDS = 0.05


@click.command()
@click.argument("role", type=click.Choice(ROLES))
def worker(role: str) -> None:
    """Run one worker process of one ROLE, until Ctrl-C or SIGTERM.

    \b
    registry  puts venues, erasures, door rules and recounts into the order of scans
    visits    derives visits from scans
    places    keeps the visit index: occupancy, windows, answers to traces
    tracing   opens cases, asks for traces, publishes reports
    status    makes colours of what is known of people's health, for doors
    recorder  writes what is published into PostgreSQL

    Start more of a role, each with its own LACAK_WORKER_INDEX, and they share its partitions. Workers of one role on
    one machine may share a data folder: a partition's snapshot is locked by the one that holds it.
    """
    settings = load_settings(role)
    try:
        if settings.broker_access.user:  # who logs in may see its own topics, and make none
            check_topics(settings, topics_of(role, settings))
        else:
            ensure_topics(settings)
        app = _BUILDERS[role](settings)
    except TopicError as error:
        raise click.ClickException(str(error)) from error
    except (ProfileError, RiskError, ClusterRulesError, ColourRulesError) as error:
        lasting = click.ClickException(str(error))
        lasting.exit_code = REFUSED
        raise lasting from error
    sys.exit(run_worker(app))


class _Parts:
    """What every role has: clock, outbox, dead letters, snapshots."""

    def __init__(self, settings: Settings, role: str) -> None:
        self.settings = settings
        self.role = role
        self.clock = SystemClock()
        self.outbox = Outbox(settings, lambda error: crash(self.app, error))
        self.letters = DeadLetters(self.outbox, settings.dead_letters)
        self.folder = settings.data_dir / "state" / role
        self.listened: dict[str, TopicMeters] = {}
        self.pulses: list[tuple[Pulse, TopicMeters]] = []
        self.app: WorkerApp

    def store(self) -> SnapshotStore:
        return SnapshotStore(self.folder, cluster_id(self.settings), self.settings.topic_prefix)

    def build(self, owners: dict[str, Any]) -> WorkerApp:
        datadir = self.folder / f"faust-{self.settings.worker_index}"
        clock, settings = self.clock, self.settings
        health = Health(self.role, settings.worker_index, settings.health, clock.monotonic, clock.now_ms)
        self.app = make_app(settings, self.role, owners, datadir=datadir, outbox=self.outbox, health=health)
        self.app.each_second.append(self._look)
        self._watching: Watching | None = None
        self.app.letters, self.app.now_ms = self.letters, clock.now_ms
        return self.app

    def _look(self) -> None:
        """See which partitions are held, and how they stand. In a rebalance that is not known."""
        app = self.app
        if app.rebalancing or app.consumer is None:
            return
        if self._watching is None:
            keepers = app.keepers.values()
            states = [keeper.state_meters for keeper in keepers if isinstance(keeper, Owner)]
            topics = [*(keeper.meters for keeper in keepers), *self.listened.values()]
            self._watching = Watching(self.clock, topics, states, app.consumer.known_ends)
        for topic, meters in self.listened.items():
            committed = {partition: at for (name, partition), at in app.consumer.others().items() if name == topic}
            meters.holds(frozenset(committed))
            for partition, at in committed.items():
                meters.done[partition] = max(meters.done.get(partition, 0), at)
        self._watching.look()
        for pulse, meters in self.pulses:
            pulse.hold(meters.held)

    def every(self, seconds: float, do: Callable[[], object]) -> None:
        """Call something again and again while the worker runs; what it raises ends the worker."""

        async def repeat() -> None:
            while not self.app.should_stop:
                await asyncio.sleep(seconds)
                try:
                    do()
                except Exception as error:
                    crash(self.app, error)

        self.app.task(repeat)

    def listen(self, topics: tuple[str, ...], take: Callable[[Batch], Awaitable[None]]) -> None:
        """Let `take` have each record of rare topics as a batch of one; what it raises ends the worker."""
        plain = {self.settings.topic(topic): topic for topic in topics}
        self.listened |= {topic: TopicMeters(topic) for topic in topics}

        async def agent(stream: Any) -> None:
            try:
                async for event in stream.events():
                    message = event.message
                    topic, began = plain[message.topic], self.clock.monotonic()
                    batch = Batch(
                        topic,
                        message.partition,
                        [message.offset],
                        [int(message.timestamp * 1000)],
                        [message.key],
                        [message.value],
                        highwater=message.offset + 1,
                    )
                    self.listened[topic].took(batch)
                    if isinstance(message.value, Refused):
                        refused = message.value
                        self.letters.letter(batch, 0, 0, refused.reason, refused.detail, self.clock.now_ms())
                        self.letters.judge(1, 1)
                        await self.letters.flush()
                    else:
                        await take(batch)
                    self.listened[topic].did(batch, self.clock.monotonic() - began)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                crash(self.app, error)

        channel = self.app.topic(*plain, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self.app.agent(channel, name=f"{self.role}.{topics[0]}")(agent)


def _registry(settings: Settings) -> WorkerApp:
    parts = _Parts(settings, "registry")
    owners = {topic: DurableEachBatch(topic, parts.clock.monotonic) for topic in REGISTERED}
    controls = Controls(settings, parts.clock, parts.outbox, parts.letters)
    parts.build(owners)
    for topic, owner in owners.items():
        attach(parts.app, topic, _bound(controls.run, owner))
    return parts.app


def _visits(settings: Settings) -> WorkerApp:
    warm()
    parts = _Parts(settings, "visits")
    visits = Visits(settings, parts.clock, parts.outbox, parts.letters)
    owner = Owner("scans", visits.make, visits.load, parts.store(), parts.outbox, settings, parts.clock.monotonic)
    parts.build({"scans": owner})
    attach(parts.app, "scans", _bound(visits.run, owner))
    parts.every(_TICK_SECONDS, lambda: visits.tick(owner.partitions))
    if settings.heartbeat_seconds > 0:
        parts.every(settings.heartbeat_seconds, lambda: visits.beat(owner.partitions))
    parts.pulses.append((visits.pulse, owner.meters))

    def look() -> None:
        for partition in owner.partitions:
            deriver = owner.state(partition)
            people = len(deriver.people) if deriver is not None else 0
            STATE_PEOPLE.labels("scans", str(partition)).set(people)

    parts.app.each_second.append(look)
    return parts.app


def _places(settings: Settings) -> WorkerApp:
    warm()
    parts = _Parts(settings, "places")
    contacts = Contacts(settings, parts.clock, parts.outbox, parts.letters, lambda partition: owner.state(partition))
    store = parts.store()
    people = PeopleFile(parts.folder, f"{settings.topic_prefix}people-{settings.worker_index}", store.cluster)
    keeper = OccupancyKeeper(
        settings,
        parts.clock,
        parts.outbox,
        parts.letters,
        contacts,
        people,
        lambda partition: store.home("visits", partition),
        lambda: owner.states(),
        load_cluster_rules(settings.cluster_rules, settings.rules_folder),
    )
    owner = Owner(
        "visits",
        keeper.make,
        keeper.load,
        store,
        parts.outbox,
        settings,
        parts.clock.monotonic,
        keeper.returned,
        people.sync,
        keeper.telling,
    )
    keeper.owner = owner
    parts.build({"visits": owner})
    attach(parts.app, "visits", _bound(keeper.run, owner))
    parts.listen(("trace-queries",), contacts.take)

    def look() -> None:
        for partition in owner.reading:
            places, position = owner.state(partition), owner.position(partition)
            if places is not None and isinstance(position, int):
                keeper.look(partition, places, position, owner.level(partition))

    parts.every(_LOOK_SECONDS, look)
    parts.pulses.append((keeper.meters.pulse, owner.meters))
    figured = Figured()

    def figure() -> None:
        states = {number: places for number in owner.partitions if (places := owner.state(number)) is not None}
        figured.look(states, len(people.people), contacts.questions())

    parts.app.each_second.append(figure)
    return parts.app


def _tracing(settings: Settings) -> WorkerApp:
    parts = _Parts(settings, "tracing")
    profiles, risk = load_profiles(settings.rules_folder), load_risk(settings.rules_folder)
    if settings.profile:
        find_profile(profiles, settings.profile)  # rather now than at the first positive test
    if not 1 <= settings.hops <= risk.limits.hops_most:
        raise RiskError(f"LACAK_HOPS={settings.hops}: a trace goes 1 to {risk.limits.hops_most} hops.")
    colours, zone = ColoursInForce(settings.colour_rules, settings.rules_folder), settings.zone_info
    app = parts.build({})
    people, reports = (  # by their types alone: with a schema Faust writes raw bytes, and reads them back as JSON
        app.Table(name, partitions=settings.partitions.cases, key_type=bytes, value_type=bytes)
        for name in TABLES["tracing"]
    )

    def least_risk(at_ms: int) -> float | None:
        return possible_from_risk(colours({})[0], at_ms, zone)

    tracing = Tracing(settings, parts.clock, parts.outbox, parts.letters, profiles, risk, people, reports, least_risk)
    parts.listen(TRACED, tracing.take)
    parts.pulses.append((tracing.meters.pulse, parts.listened["trace-answers"]))
    parts.every(_REMIND_SECONDS, tracing.remind)

    @app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
    async def resume(*_: Any, **__: Any) -> None:
        topic = settings.topic(TRACED[0])
        tracing.resume({tp.partition for tp in app.consumer.assignment() if tp.topic == topic})

    parts.keep = resume  # type: ignore[attr-defined]
    return app


def _status(settings: Settings) -> WorkerApp:
    warm()
    parts = _Parts(settings, "status")
    colours = ColoursInForce(settings.colour_rules, settings.rules_folder)
    statuses = Statuses(
        settings, parts.clock, parts.outbox, parts.letters, colours, lambda partition: owner.ends.get(partition, 0)
    )
    owner = Owner(
        "health-records", statuses.make, statuses.load, parts.store(), parts.outbox, settings, parts.clock.monotonic
    )
    forwarder = Forwarder(settings, parts.clock, parts.outbox, parts.letters, colours, owner)
    keepers = {topic: DurableEachBatch(topic, parts.clock.monotonic) for topic in FORWARDED}
    parts.build({"health-records": owner, **keepers})
    attach(parts.app, "health-records", _bound(statuses.run, owner))
    for topic, keeper in keepers.items():
        attach(parts.app, topic, _bound(forwarder.run, keeper))
    parts.every(_STATUS_TICK_SECONDS, lambda: statuses.tick(owner))
    parts.pulses.append((statuses.pulse, owner.meters))

    def look() -> None:
        for partition in owner.partitions:
            state = owner.state(partition)
            STATE_PEOPLE.labels("health-records", str(partition)).set(len(state) if state is not None else 0)

    parts.app.each_second.append(look)
    return parts.app


def _recorder(settings: Settings) -> WorkerApp:
    parts = _Parts(settings, "recorder")
    owners = {topic: DurableEachBatch(topic, parts.clock.monotonic) for topic in RECORDED}
    recorder = Recorder(parts.clock, parts.letters, Records(settings.database_access), settings.partitions.cases)
    parts.build(owners)
    parts.pulses += [(pulse, owners[topic].meters) for topic, pulse in recorder.pulses.items()]
    for topic, owner in owners.items():
        attach(parts.app, topic, _bound(recorder.run, owner))
    return parts.app


def _bound(
    run: Callable[[AsyncIterator[Batch], Any], Awaitable[None]], owner: Any
) -> Callable[[AsyncIterator[Batch]], Awaitable[None]]:
    return lambda batches: run(batches, owner)


_BUILDERS: dict[str, Callable[[Settings], WorkerApp]] = {
    "registry": _registry,
    "visits": _visits,
    "places": _places,
    "tracing": _tracing,
    "status": _status,
    "recorder": _recorder,
}

"""The Faust app of one worker process, and how the process runs, stops cleanly, and fails loudly.

A worker is one process of one role. An agent that raises ends the process (Faust would count its batch as done): what
was not made durable is read again by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import faust
import uvloop

from contacts.archive import Damaged
from security.clients import mend_clients
from security.settings import SecurityError
from streams import metrics, scraping
from streams.batches import Batch
from streams.deadletters import DeadLetters, TooManyDeadLetters
from streams.driver import BatchTransport
from streams.health import Health, look
from streams.heap import give_back_now_and_then, keep_little
from streams.outbox import MESSAGE_BYTES_MAX, Outbox, OutboxError
from streams.partitions import DurableEachBatch, Owner
from streams.refusing import without_refused
from streams.sensor import Sensor
from streams.settings import Settings
from streams.snapshots import SnapshotError
from streams.topics import TopicError, app_id

FAILED: Final = 1
"""Exit code of a worker that may be started again."""
REFUSED: Final = 3
"""Exit code of a worker that would fail again: somebody has to look first."""

METADATA_AGE_MS: Final = 5_000
"""How old what a client knows of the topics may become. A broker that has just come back may know none of them yet: a
leader that divides the group's partitions then gives nobody any, and divides them anew only when it hears of more."""

_LEAVE_SECONDS: Final = 8.0
"""How long leaving the group may take at most: by then all is durable and committed."""
_HUNG_SECONDS: Final = 300.0
_REBALANCE_SECONDS: Final = 120.0
_BEAT_SECONDS: Final = 0.5
_ASK_SECONDS: Final = 5.0
_GC_THRESHOLDS: Final = (200_000, 20, 100)
"""State is millions of small lists without cycles: at Python's own thresholds looking them over costs 2 us a scan."""


class StopTooSlow(RuntimeError):
    """A clean stop took longer than it may; nothing is lost, but some of it is done again."""


_TOLD: Final = (
    Damaged,
    scraping.PortTaken,
    OutboxError,
    SecurityError,
    StopTooSlow,
    TooManyDeadLetters,
    SnapshotError,
    TopicError,
)  # their messages are sentences already

log = logging.getLogger(__name__)


class BatchSchema(faust.Schema):  # type: ignore[misc]
    """Leaves a batch as it is: agents decode, so that a bad record costs nothing but itself."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """The function that makes an event of a message."""

        async def decode(message: Any, **_: Any) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode


class WorkerApp(faust.App):  # type: ignore[misc]
    """A Faust app that knows its keepers and its outbox."""

    settings: Settings
    role: str
    keepers: Mapping[str, Owner[Any] | DurableEachBatch]
    outbox: Outbox | None
    health: Health | None = None
    stopping = False
    each_second: list[Callable[[], object]]
    """What is looked at once a second, in the main loop; what it raises ends the worker."""
    letters: DeadLetters | None = None
    now_ms: Callable[[], int]
    failure: BaseException | None = None
    failed: asyncio.Event | None = None


def make_app(
    settings: Settings,
    role: str,
    owners: Mapping[str, Owner[Any] | DurableEachBatch],
    *,
    datadir: Path,
    outbox: Outbox | None = None,
    health: Health | None = None,
) -> WorkerApp:
    """The app of one worker. `owners` by topic name without prefix: these topics come in batches.

    `health` is told how the worker stands while it runs; without it nobody can ask. `outbox` is started before the app
    and stopped after it; its failures end the worker. Call it within the event loop or before; `datadir` is the
    worker's own folder (Faust keeps its tables there).
    """
    transport = settings.transport
    datadir.mkdir(parents=True, exist_ok=True)
    mend_clients()
    app = WorkerApp(
        app_id(settings, role),
        broker=";".join(f"kafka://{address}" for address in settings.broker_access.addresses),
        broker_credentials=settings.broker_access.faust(),
        datadir=str(datadir),
        store="memory://",
        autodiscover=False,
        env_prefix="LACAK_FAUST_",
        web_enabled=False,
        canonical_url=f"http://{role}-{settings.worker_index}:6066",  # a name for the assignor; nothing listens
        broker_client_id=f"{settings.deployment}-{role}-{settings.worker_index}",
        consumer_group_instance_id=f"{role}-{settings.worker_index}",
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        broker_commit_interval=1.0,
        broker_commit_livelock_soft_timeout=86_400.0,
        broker_session_timeout=float(transport.session_timeout_seconds),
        broker_heartbeat_interval=max(1.0, transport.session_timeout_seconds / 10),
        broker_request_timeout=max(60.0, 2.0 * transport.session_timeout_seconds),
        broker_rebalance_timeout=60.0,
        broker_max_poll_interval=_HUNG_SECONDS,
        stream_buffer_maxsize=transport.queued_batches,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        processing_guarantee="at_least_once",
        producer_acks=-1,
        producer_linger=0.02,
        producer_max_batch_size=262_144,
        producer_max_request_size=MESSAGE_BYTES_MAX,
        producer_compression_type=None if transport.compression == "none" else transport.compression,
        producer_request_timeout=30.0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.partitions.cases,
        topic_replication_factor=transport.replication,
        worker_redirect_stdouts=False,
    )
    app.settings, app.role, app.keepers, app.outbox, app.health = settings, role, owners, outbox, health
    app.each_second = []
    app.transport = BatchTransport(
        app.conf.broker_consumer,
        app,
        keepers=owners,
        prefix=settings.topic_prefix,
        fetch_max_records=transport.fetch_max_records,
        partition_bytes=transport.fetch_partition_kib * 1024,
        inflated_most=transport.inflated_max_bytes,
        flush=outbox.flush if outbox is not None else None,
    )
    app.sensors.add(Sensor(lambda error: crash(app, error)))
    return app


def attach(app: WorkerApp, topic: str, run: Callable[[AsyncIterator[Batch]], Awaitable[None]]) -> None:
    """Let `run` read a batched topic: its batches come one after the other. What it raises ends the worker."""

    async def agent(stream: Any) -> None:
        try:
            batches = aiter(stream)
            if app.letters is not None:
                batches = without_refused(batches, app.keepers[topic], app.letters, app.now_ms)
            await run(batches)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            crash(app, error)

    channel = app.topic(app.settings.topic(topic), schema=BatchSchema())
    app.agent(channel, name=f"{app.role}.{topic}")(agent)


def crash(app: WorkerApp, error: BaseException) -> None:
    """End the worker: nothing more is made durable. The first error is the one that is told."""
    if app.failure is None:
        app.failure = error
        if app.failed is not None:
            app.failed.set()


def run_worker(app: WorkerApp) -> int:
    """Run until SIGTERM or SIGINT, then stop cleanly: 0. An error ends the process at once with one sentence, last.

    On an error nothing is tidied up: the process ends as by kill -9, which is what the protocol is made for.
    """
    settings = app.settings
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(*_GC_THRESHOLDS)
    keep_little()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        error = runner.run(_run(app))
        if error is not None:
            _end(app, error)
    return 0


def _end(app: WorkerApp, error: BaseException) -> None:
    if isinstance(error, _TOLD):
        sentence = str(error)
    else:
        log.error("unexpected error", exc_info=error)
        sentence = f"unexpected {type(error).__name__}: {error}".rstrip(": ")
    print(f"The {app.role} worker {app.settings.worker_index} ended: {sentence}", file=sys.stderr, flush=True)
    logging.shutdown()
    os._exit(REFUSED if isinstance(error, (TooManyDeadLetters, TopicError)) else FAILED)


async def _run(app: WorkerApp) -> BaseException | None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    app.failed = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        if app.settings.metrics_port:
            scraping.serve(app.settings, app.role, app.health)
        if app.outbox is not None:
            await app.outbox.start()
    except (scraping.PortTaken, OutboxError) as error:
        return error
    starting = asyncio.create_task(app.start())
    watching = asyncio.create_task(_watch(app))
    beside = (_tell(app, app.health), _ask(app, app.health), give_back_now_and_then())
    telling = [asyncio.create_task(each) for each in beside]
    ends: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(event.wait()) for event in (stop, app.failed, app._crashed)
    ]
    waiting: set[asyncio.Future[Any]] = {*ends, starting, watching, *telling}
    while not any(end.done() for end in ends):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done.intersection((starting, watching, *telling)):
            if task.exception() is not None:
                crash(app, task.exception())  # type: ignore[arg-type]
    if not stop.is_set():
        return app.failure or app.crash_reason or RuntimeError("the Faust app ended")
    watching.cancel()
    limit = app.settings.health.stop_seconds
    stopping = asyncio.create_task(_stop(app, starting, limit))
    done, _ = await asyncio.wait({stopping}, timeout=limit + 1.0)  # a library may hold back what cancels it
    return stopping.result() if done else app.failure or _too_slow(limit)


def _too_slow(limit: float) -> StopTooSlow:
    why = f"it could not stop cleanly within {limit:.0f} s. Nothing is lost; what was not committed is done again."
    return StopTooSlow(why)


async def _stop(app: WorkerApp, starting: asyncio.Task[Any], limit: float) -> BaseException | None:
    """The batch in hand, last snapshots, a last commit, and good-bye to the group: within the time there is."""
    app.stopping = True
    deadline = time.monotonic() + limit
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + limit):
            await asyncio.gather(*(keeper.close() for keeper in app.keepers.values()))
            if app.failure is not None:
                return app.failure
            if starting.done():
                await app.consumer.commit()
        starting.cancel()
        app.consumer.leaves = app.settings.transport.leave_on_stop
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(app.stop(), max(min(deadline - time.monotonic(), _LEAVE_SECONDS), 0.5))
        if app.outbox is not None:
            await asyncio.wait_for(app.outbox.stop(), max(deadline - time.monotonic(), 0.5))
    except TimeoutError:
        return app.failure or _too_slow(limit)
    except Exception as error:
        return app.failure or error
    for keeper in app.keepers.values():
        keeper.unlock()
    logging.shutdown()
    os._exit(0)  # a consumer thread that does not end in time must not hold the process


async def _tell(app: WorkerApp, health: Health | None) -> None:
    """Some times a second: how the worker stands."""
    while health is not None:
        look(app, health)
        await asyncio.sleep(_BEAT_SECONDS)


async def _ask(app: WorkerApp, health: Health | None) -> None:
    """Every few seconds: whether the brokers answer."""
    while health is not None:
        await asyncio.sleep(_ASK_SECONDS)
        if app.started and await app.consumer.answers(_ASK_SECONDS):
            health.answered()


async def _watch(app: WorkerApp) -> None:
    """Every second: snapshots that are due in quiet partitions, ages for the metrics, and whether anything hangs."""
    rebalancing_since = time.monotonic()
    while True:
        asleep = time.monotonic()
        await asyncio.sleep(1.0)
        now = time.monotonic()
        metrics.LOOP_DELAY.set(max(now - asleep - 1.0, 0.0))
        for keeper in app.keepers.values():
            await keeper.warm()
            keeper.housekeep()
            if keeper.in_hand_seconds() > _HUNG_SECONDS:
                raise RuntimeError(f"a batch of {keeper.topic} has been in hand for {_HUNG_SECONDS:.0f} s")
        uncommitted = now - app.consumer.committed_at
        metrics.COMMIT_AGE.set(uncommitted)
        metrics.REBALANCING.set(bool(app.rebalancing))
        for each in app.each_second:
            each()
        if uncommitted > _HUNG_SECONDS:
            raise RuntimeError(f"offsets could not be committed for {_HUNG_SECONDS:.0f} s")
        if not app.rebalancing:
            rebalancing_since = now
        elif now - rebalancing_since > _REBALANCE_SECONDS:
            raise RuntimeError(f"a rebalance has not ended for {_REBALANCE_SECONDS:.0f} s")

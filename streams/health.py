"""Whether a worker lives and is ready, for whoever starts it anew or waits for it: told by its loop, judged when asked.

Live: its loop has turned lately. Only that: a broker or a database that is away is no reason to start every worker
anew. Ready: it is a stable member of its group, the brokers answer, its states have all that was in the log when
reading began, nothing has been in hand or uncommitted for long, and it is not far behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streams.settings import HealthLimits

if TYPE_CHECKING:
    from streams.app import WorkerApp

_FINE: Final = 200
_NOT: Final = 503


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is answered; `reasons` are sentences without ids. `partitions` by topic are those the worker holds."""

    state: str
    role: str
    index: int
    reasons: tuple[str, ...] = ()
    partitions: Mapping[str, tuple[int, ...]] = {}


class Health:
    """What one worker's loop tells, and what is answered from it. Its methods may be called in any thread.

    `clock` gives seconds that never go back, `now_ms` the time of day.
    """

    def __init__(
        self, role: str, index: int, limits: HealthLimits, clock: Callable[[], float], now_ms: Callable[[], int]
    ) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.clock = clock
        self._role, self._index = role, index
        self._turned = self._answered = clock()
        self._told: tuple[tuple[str, ...], Mapping[str, tuple[int, ...]]] = (("It is starting.",), {})

    def turned(self, reasons: tuple[str, ...], partitions: Mapping[str, tuple[int, ...]]) -> None:
        """The loop has turned, and says what speaks against being ready."""
        self._told = reasons, partitions
        self._turned = self.clock()

    def answered(self) -> None:
        """The brokers have answered."""
        self._answered = self.clock()

    def live(self) -> tuple[int, Probe]:
        """The status and body of /live."""
        hung = self._hung()
        return (_NOT, self._probe("hung", (hung,))) if hung else (_FINE, self._probe("live"))

    def ready(self) -> tuple[int, Probe]:
        """The status and body of /ready."""
        reasons, partitions = self._told
        if hung := self._hung():
            reasons = (hung, *reasons)
        silent = self.clock() - self._answered
        if silent > self.limits.broker_seconds:
            reasons = (*reasons, f"No broker has answered for {silent:.0f} s.")
        if reasons:
            return _NOT, self._probe("not ready", reasons, partitions)
        return _FINE, self._probe("ready", partitions=partitions)

    def _hung(self) -> str:
        quiet = self.clock() - self._turned
        return f"The event loop has not turned for {quiet:.0f} s." if quiet > self.limits.live_seconds else ""

    def _probe(
        self, state: str, reasons: tuple[str, ...] = (), partitions: Mapping[str, tuple[int, ...]] | None = None
    ) -> Probe:
        return Probe(state, self._role, self._index, reasons, partitions or {})


def look(app: WorkerApp, health: Health) -> None:
    """Tell how the worker stands. Called in its loop, some times a second."""
    held = {topic: tuple(sorted(keeper.partitions)) for topic, keeper in app.keepers.items()}
    health.turned(tuple(_against(app, health)), held)


def _against(app: WorkerApp, health: Health) -> Iterator[str]:
    """What speaks against being ready, but for the brokers' silence."""
    if app.stopping:
        yield "It is stopping."
        return
    consumer: Any = app.consumer if app.started else None
    if consumer is None or not consumer.joined:
        yield "It is joining its group."
        return
    if app.rebalancing:
        yield "Its group is being rebalanced."
    elif getattr(app, "in_recovery", False):
        yield "Its tables are being recovered."
    limits, now_ms = health.limits, health.now_ms()
    for topic, keeper in app.keepers.items():
        if rebuilding := keeper.rebuilding():
            yield f"The state of {topic}, {_named(rebuilding)}, is being rebuilt."
        if (seconds := keeper.in_hand_seconds()) > limits.commit_seconds:
            yield f"A batch of {topic} has been in hand for {seconds:.0f} s."
        if late := [each for each, waited in keeper.waited(now_ms).items() if waited > limits.behind_seconds]:
            yield f"Records of {topic}, {_named(late)}, wait for more than {limits.behind_seconds:.0f} s."
    if (uncommitted := health.clock() - consumer.committed_at) > limits.commit_seconds:
        yield f"Offsets have not been committed for {uncommitted:.0f} s."


def _named(partitions: list[int]) -> str:
    return f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, sorted(partitions)))}"

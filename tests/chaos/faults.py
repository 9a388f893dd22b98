"""Doing a schedule's faults: each begins at its time and ends at its own, all from the main thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.chaos.proxy import Network
from tests.chaos.schedule import Fault, Schedule
from tests.chaos.system import FAKETIME, Member, System


class Faults:
    """The faults of one run. `step` is called often and does what is due; `ends` are when they were over (monotonic
    seconds), in the order of the schedule."""

    def __init__(self, schedule: Schedule, system: System, network: Network) -> None:
        self._schedule, self._system, self._network = schedule, system, network
        self._began = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._over: dict[int, float] = {}
        self.notes: list[str] = []

    def begin(self) -> None:
        """The load has begun."""
        self._began = time.monotonic()
        for number, fault in enumerate(self._schedule.faults):
            self._due.append((fault.at, number, lambda number=number, fault=fault: self._do(number, fault)))  # type: ignore[misc]

    @property
    def going(self) -> bool:
        """Whether a fault is still to come, or to end."""
        return bool(self._due)

    @property
    def ends(self) -> list[float]:
        """When each was over."""
        return [self._over.get(number, float("inf")) for number in range(len(self._schedule.faults))]

    @property
    def last_end(self) -> float:
        """When the last was over."""
        return max(self._over.values(), default=time.monotonic())

    def step(self) -> None:
        """Do what is due."""
        passed = time.monotonic() - self._began
        for due in sorted((each for each in self._due if each[0] <= passed), key=lambda each: each[:2]):
            self._due.remove(due)
            due[2]()

    def heal(self) -> None:
        """Whatever happened, leave the servers as they were."""
        self._network.heal()
        for number, broker in enumerate(self._system.cluster.brokers, 1):
            if not broker.ready():
                self.notes.append(f"broker {number} was not ready at the end")
                broker.kill()
                broker.start()
        server = self._system.database.server
        if not server.pid or server.fell:
            server.start()

    def _do(self, number: int, fault: Fault) -> None:
        end = self._beginning(fault)

        def over() -> None:
            end()
            self._over[number] = time.monotonic()

        if fault.seconds <= 0:
            over()
        else:
            self._due.append((time.monotonic() - self._began + fault.seconds, number, over))

    def _beginning(self, fault: Fault) -> Callable[[], None]:
        """Begin a fault; what is returned ends it."""
        system = self._system
        match fault.kind:
            case "kill":
                return self._kill(fault.target)
            case "stop":
                return system.stop(fault.target)
            case "network":
                name = system.cluster.name if fault.target == "brokers" else fault.target
                self._network.behave(name, fault.way, fault.amount)
                return lambda: self._network.behave(name)
            case "clock":
                if FAKETIME is None:
                    self.notes.append("no clock was set: there is no libfaketime here")
                system.set_clock(fault.target, fault.amount)
                return lambda: system.set_clock(fault.target, 0.0)
            case "disk":
                self.notes.append(f"the disk was full by {system.fill_disk(fault.target)}")
                return lambda: system.free_disk(fault.target)
            case "join":
                member = system.join(fault.target)
                return lambda: self._go(member, asked=bool(fault.amount))
            case "leave":
                member = system.named(fault.target)[0]
                member.leave()
                return member.start
            case "roll":
                for each in list(system.members):
                    each.leave()
                    each.start()
                return lambda: None
        raise AssertionError(fault)

    def _go(self, member: Member, *, asked: bool) -> None:
        if asked:
            member.leave()
        else:
            member.kill()

    def _kill(self, target: str) -> Callable[[], None]:
        system = self._system
        if target == "postgres":
            system.database.server.kill()
            return system.database.server.start
        if target.startswith("broker-"):
            broker = system.cluster.brokers[int(target.removeprefix("broker-")) - 1]
            broker.kill()
            return broker.start
        member = system.named(target)[0]
        member.kill()
        return member.start

"""A schedule: what goes wrong, when and for how long, as data; made from a seed, printed, or read from a file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

Kind = Literal["kill", "stop", "network", "clock", "disk", "join", "leave", "roll"]
Way = Literal["", "cut", "slow", "narrow", "stalled", "half_open"]

ROLES: Final = ("registry", "visits", "places", "tracing", "status", "recorder")
"""Roles of worker processes; a target may name one of several: `visits-1`."""

SESSION_SECONDS: Final = 6
"""The session timeout of every worker under the harness: who is silent for so long has lost its partitions."""


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault: it begins `at` seconds into the load and is over `seconds` later.

    kill     `target` ends by SIGKILL and is started again when the fault is over: a worker, `gateway`, `postgres`, or
             a broker (`broker-1`)
    stop     SIGSTOP, and SIGCONT when it is over: a worker
    network  `way`, between `target` (`brokers`, `postgres`) and all its clients. cut: connections are refused and those
             there are reset; slow: every piece comes `amount` ms later; narrow: `amount` bytes a second; stalled:
             nothing passes, and goes on when it is over; half_open: what is sent vanishes, and connections of that time
             are reset when it is over
    clock    the clock of `target`'s processes is `amount` seconds off (a worker's role, `gateway`)
    disk     the disk under the snapshots of `target` is full
    join     another worker of the role `target`, which is killed (`amount` 0) or asked to leave (1) when it is over
    leave    `target` is asked to stop, and started again when it is over
    roll     every worker and the gateway is restarted, one after the other
    """

    at: float
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    way: Way = ""
    amount: float = 0.0

    @property
    def end(self) -> float:
        """When it is over, in seconds into the load."""
        return self.at + self.seconds

    def __str__(self) -> str:
        words = {"clock": f"clock of {self.target} {self.amount:+.0f} s", "roll": "rolling restart"}
        words["network"] = f"{self.target} {self.way.replace('_', '-')}"
        words["network"] += {"slow": f" {self.amount:.0f} ms", "narrow": f" {self.amount / 1024:.0f} KiB/s"}.get(
            self.way, ""
        )
        words["disk"] = f"full disk of {self.target}"
        words["join"] = f"one more {self.target}, then {'asked to leave' if self.amount else 'killed'}"
        text = words.get(self.kind, f"{self.kind} {self.target}")
        return text if self.kind == "roll" else f"{text} for {self.seconds:.0f} s"


class Schedule(msgspec.Struct, frozen=True):
    """The faults of one run over one town, and what stands at its start.

    `brokers` is 1, or 3 with every record on 3 of them, of which 2 must have it. `workers` counts those of a role where
    it is not 1. The load lasts `seconds`.
    Workers of a role share a folder of snapshots, or each has its `own_folders`, as on machines of their own.
    """

    seed: int
    faults: tuple[Fault, ...]
    brokers: Literal[1, 3] = 1
    workers: dict[str, int] = {}
    people: int = 1500
    scans: int = 3000
    seconds: float = 30.0
    own_folders: bool = False

    def __str__(self) -> str:
        return ", ".join(f"{fault.at:.0f} s: {fault}" for fault in self.faults)


class ScheduleError(ValueError):
    """A file that holds no schedule; the message says where."""


def make(seed: int) -> Schedule:
    """The schedule of a seed: two to four faults that may overlap; every kind comes in any 20 seeds in a row."""
    chance = random.Random(f"schedule {seed}")
    kinds = tuple(_MAKERS)
    first = kinds[seed % len(kinds)]
    brokers: Literal[1, 3] = 3 if first == "one broker of three" or seed % 7 == 3 else 1
    others = chance.sample([kind for kind in kinds if kind != first and kind not in _LONG], chance.choice((1, 2, 2, 3)))
    if brokers == 1:
        others = [kind for kind in others if kind != "one broker of three"]
    faults = [_MAKERS[kind](chance, brokers) for kind in (first, *others)]
    workers = {fault.target: 2 for fault in faults if fault.kind in ("stop", "leave") and fault.target in _SHARED}
    workers |= {fault.target.partition("-")[0]: 2 for fault in faults if "-" in fault.target and _is_worker(fault)}
    ordered = tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind, fault.target)))
    return Schedule(seed, ordered, brokers, workers, own_folders=seed % 2 == 0)


_SHARED: Final = ("visits", "places")
_LONG: Final = ("a broker away for a minute", "a rolling restart")


def _is_worker(fault: Fault) -> bool:
    return fault.target.partition("-")[0] in ROLES


def _at(chance: random.Random) -> float:
    return round(chance.uniform(3.0, 16.0), 1)


def _length(chance: random.Random, least: float, most: float) -> float:
    return round(chance.uniform(least, most), 1)


def _kill(roles: tuple[str, ...]) -> Callable[[random.Random, int], Fault]:
    return lambda chance, _: Fault(_at(chance), "kill", chance.choice(roles), _length(chance, 0.2, 3.0))


def _network(chance: random.Random, target: str) -> Fault:
    way: Way = chance.choice(("cut", "slow", "narrow", "stalled", "half_open"))
    amount = {"slow": float(chance.choice((50, 200, 800))), "narrow": float(chance.choice((16, 64, 256)) * 1024)}
    return Fault(_at(chance), "network", target, _length(chance, 4.0, 12.0), way, amount.get(way, 0.0))


def _clock(chance: random.Random, _: int) -> Fault:
    amount = float(chance.choice((-7200, -3600, -90, 90, 600, 3600)))
    return Fault(_at(chance), "clock", chance.choice((*ROLES, "gateway")), _length(chance, 5.0, 12.0), "", amount)


_MAKERS: Final[dict[str, Callable[[random.Random, int], Fault]]] = {
    "a visits worker killed": _kill(("visits",)),
    "a places worker killed": _kill(("places",)),
    "the network of the brokers": lambda chance, _: _network(chance, "brokers"),
    "the broker killed": lambda chance, n: Fault(_at(chance), "kill", f"broker-{chance.randint(1, n)}", 3.0),
    "a worker that sleeps and wakes": lambda chance, _: Fault(
        _at(chance), "stop", chance.choice(("visits", "places")), _length(chance, 8.0, 12.0)
    ),
    "a full disk": lambda chance, _: Fault(
        _at(chance), "disk", chance.choice(("visits", "places", "status")), _length(chance, 4.0, 9.0)
    ),
    "the tracing worker killed": _kill(("tracing",)),
    "one broker of three": lambda chance, n: Fault(_at(chance), "kill", f"broker-{chance.randint(1, n)}", 12.0),
    "PostgreSQL killed": lambda chance, _: Fault(_at(chance), "kill", "postgres", _length(chance, 1.0, 8.0)),
    "a clock that is wrong": _clock,
    "one worker more under load": lambda chance, _: Fault(
        _at(chance), "join", chance.choice(_SHARED), _length(chance, 4.0, 10.0), "", float(chance.choice((0, 1)))
    ),
    "the status worker killed": _kill(("status",)),
    "the gateway killed": lambda chance, _: Fault(_at(chance), "kill", "gateway", _length(chance, 0.2, 5.0)),
    "the network of PostgreSQL": lambda chance, _: _network(chance, "postgres"),
    "a worker that leaves": lambda chance, _: Fault(
        _at(chance), "leave", chance.choice(_SHARED), _length(chance, 3.0, 8.0)
    ),
    "the recorder killed": _kill(("recorder", "registry")),
    "any worker sleeps": lambda chance, _: Fault(
        _at(chance), "stop", chance.choice(("tracing", "status", "recorder", "registry")), _length(chance, 8.0, 12.0)
    ),
    "a rolling restart": lambda chance, _: Fault(_at(chance), "roll"),
    "a broker away for a minute": lambda chance, n: Fault(_at(chance), "kill", f"broker-{chance.randint(1, n)}", 60.0),
}


def load(path: Path) -> Schedule:
    """The schedule of a file, TOML or JSON by its name. Raises ScheduleError."""
    try:
        content = path.read_bytes()
        if path.suffix == ".json":
            return msgspec.json.decode(content, type=Schedule)
        return msgspec.toml.decode(content, type=Schedule)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ScheduleError(f"{path}: {error}") from error


def printed(schedule: Schedule) -> str:
    """The schedule as a line of JSON, which `load` reads."""
    return msgspec.json.encode(schedule).decode()

"""A steady stream of scans that happen now: `python -m bench.load`, a process of its own beside `bench.trace`.

It says `sent N late SECONDS` once a second: what it has sent, and how far it is behind its own rate.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final

import numpy as np

from bench.producing import Producer
from bench.workload import Shape, Workload
from schemas.partitions import partitions_of

_SLICE_SECONDS: Final = 0.05
_OUT_SHARE: Final = 0.2


class Crowd:
    """People who go in and out of venues at random, now."""

    def __init__(self, shape: Shape, partitions: int) -> None:
        self._workload = Workload(shape)
        self._random = np.random.default_rng([shape.seed, time.time_ns()])
        self._homes = partitions_of(self._workload.people, partitions)
        self._partitions = partitions

    def scans(self, count: int, first_ms: int, last_ms: int) -> list[list[tuple[bytes, bytes]]]:
        """So many scans between two times, in order, by partition."""
        random, people, venues = self._random, self._workload.people, self._workload.venues
        person = random.integers(0, len(people), count)
        venue = random.choice(len(venues), count, p=self._workload.popularity).tolist()
        out = (random.random(count) < _OUT_SHARE).tolist()
        at = np.linspace(first_ms, last_ms, count, dtype=np.int64).tolist()
        lanes: list[list[tuple[bytes, bytes]]] = [[] for _ in range(self._partitions)]
        homes = self._homes[person].tolist()
        for home, who, where, leaves, when in zip(homes, person.tolist(), venue, out, at, strict=True):
            name, kind = people[who], "out" if leaves else "in"
            value = f'{{"person":"{name}","venue":"{venues[where].venue}","kind":"{kind}","at_ms":{when}}}'
            lanes[home].append((name.encode(), value.encode()))
        return lanes


async def flow(brokers: str, topic: str, crowd: Crowd, rate: float, seconds: float) -> int:
    """Send at a rate for some time, and say how it goes. Returns how many were sent."""
    sent, said = 0, 0.0
    async with Producer(brokers, topic) as producer:
        began, before_ms = time.monotonic(), _now_ms()
        while (passed := time.monotonic() - began) < seconds:
            due = int(rate * passed) - sent
            if due > 0:
                now_ms = _now_ms()
                lanes = crowd.scans(min(due, int(rate)), before_ms, now_ms)
                before_ms = now_ms
                await asyncio.gather(*(producer.send(number, lane) for number, lane in enumerate(lanes) if lane))
                sent += sum(map(len, lanes))
            if passed - said >= 1.0:
                said = passed
                print(f"sent {sent} late {max(0.0, passed - sent / rate):.1f}", flush=True)
            await asyncio.sleep(max(0.0, _SLICE_SECONDS - (time.monotonic() - began - passed)))
    print(f"sent {sent} late {max(0.0, time.monotonic() - began - sent / rate):.1f}", flush=True)
    return sent


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    """Send until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("brokers")
    parser.add_argument("topic")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1000.0, help="scans a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--people", type=int, default=600_000)
    parser.add_argument("--venues", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    crowd = Crowd(Shape(0, given.people, given.venues, given.seed), given.partitions)
    asyncio.run(flow(given.brokers, given.topic, crowd, given.rate, given.seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

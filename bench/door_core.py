"""The gateway without HTTP: decisions and bulk scans with everything durable, and the copy of the statuses.

    python -m bench.door_core [--people 10000000] [--seconds 10] [--broker kafka|tansu]

Gateway, broker and load share the machine; `cpu` is that of the gateway's process alone, load included.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import numpy as np
import uvloop

from bench.machine import broker_name, describe, resident_mib, running_broker
from bench.producing import Producer
from gateway.copies import Copies
from gateway.door import Door, open_door
from gateway.settings import GatewaySettings
from gateway.tickets import Ask
from schemas.health import NegativeTest, Status
from schemas.messages import Scan, Venue
from schemas.partitions import partitions_of
from streams.settings import Partitions, Settings
from streams.topics import ensure_topics

_AT_MS: Final = 1_634_770_800_000
_VENUES: Final = 200
_CHUNK: Final = 20_000
_CALLERS: Final = 64
_BULK: Final = 500


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def person(number: int) -> str:
    """A pseudonym."""
    return f"p1:{hashlib.blake2b(int(number).to_bytes(8, 'big'), digest_size=16).hexdigest()}"


def statuses(first: int, last: int) -> Iterator[tuple[bytes, bytes]]:
    """Records of `statuses`: nine of ten people green, a tenth with a negative test."""
    for number in range(first, last):
        who = person(number)
        status = Status(
            person=who,
            colour="green" if number % 10 else "yellow",
            since_ms=_AT_MS - number,
            rule="indonesia@2021-08-30 green.doses" if number % 10 else "indonesia@2021-08-30 yellow.doses",
            reason="doses",
            log_time_ms=_AT_MS,
            position=(number & 1, number),
            until_ms=None,
            doses=2 if number % 10 else 1,
            full=bool(number % 10),
            age_band="18-59",
            negatives=(NegativeTest(test="pcr", specimen_ms=now_ms() - 3_600_000),) if number % 10 == 3 else (),
        )
        yield who.encode(), msgspec.json.encode(status)


async def publish(brokers: str, people: int, partitions: Partitions) -> None:
    """The registry and the statuses."""
    async with Producer(brokers, "venues") as producer:
        venues = [
            Venue(venue=f"mall-{number}", category="mall", region="ID-LA", capacity=1_000_000)
            for number in range(_VENUES)
        ]
        await producer.send(0, [(f"{each.venue}\x1f0".encode(), msgspec.json.encode(each)) for each in venues])
    async with Producer(brokers, "statuses") as producer:
        for first in range(0, people, _CHUNK):
            records = list(statuses(first, min(first + _CHUNK, people)))
            homes = partitions_of([key.decode() for key, _ in records], partitions.cases)
            for partition in range(partitions.cases):
                chosen = np.flatnonzero(homes == partition).tolist()
                await producer.send(partition, [records[each] for each in chosen])


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99 and p99.9 in ms."""
    return {
        name: round(float(np.quantile(seconds, share)) * 1e3, 2)
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
    }


async def measure_load(settings: GatewaySettings, people: int) -> dict[str, Any]:
    """Read all statuses from the topic into an empty copy, then keep it and take it up again."""
    copies = Copies(settings, now_ms)
    await copies.open()
    copies.statuses.take([*statuses(0, 1), (person(0).encode(), None)])  # numba is loaded now
    before, began, cpu = round(resident_mib()), time.perf_counter(), time.process_time()
    copies.start()
    lags = []
    while not copies.level:
        turn = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - turn - 0.005)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    assert len(copies.statuses) == people, len(copies.statuses)
    after = round(resident_mib())
    began = time.perf_counter()
    await copies.stop()
    kept = time.perf_counter() - began
    found = {
        "people": people,
        "seconds": round(seconds, 1),
        "cpu_us_each": round(used / people * 1e6, 2),
        "memory_mib": after,
        "memory_before_mib": before,
        "bytes_each": round(copies.statuses.bytes_held / people, 1),
        "keep_seconds": round(kept, 1),
        "loop_held_up": quantiles(lags),
    }
    del copies
    began = time.perf_counter()
    again = Copies(settings, now_ms)
    await again.open()
    found["take_up_seconds"] = round(time.perf_counter() - began, 1)
    assert len(again.statuses) == people
    return found


async def measure_asks(door: Door, people: int, seconds: float, rate: float | None = None) -> dict[str, Any]:
    """Ask from many callers, as quickly as they are answered, or at a rate."""
    took: list[float] = []
    outcomes: dict[str, int] = {}
    chance = np.random.default_rng(1)
    askers = cycle([(person(number), f"mall-{number % _VENUES}") for number in chance.integers(0, people, 50_000)])
    end = time.perf_counter() + seconds

    async def one() -> None:
        who, venue = next(askers)
        began = time.perf_counter()
        ticket = await door.ask(Ask(venue=venue, person=who))
        took.append(time.perf_counter() - began)
        assert ticket.decision is not None
        outcomes[ticket.decision.outcome] = outcomes.get(ticket.decision.outcome, 0) + 1

    async def caller() -> None:
        while time.perf_counter() < end:
            await one()

    began, cpu = time.perf_counter(), time.process_time()
    if rate is None:
        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    else:
        running = set()
        due = began
        while due < end:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
            due += chance.exponential(1 / rate)
        await asyncio.gather(*running)
    spent = time.perf_counter() - began
    return {
        "per_second": round(len(took) / spent),
        "cpu_us_each": round((time.process_time() - cpu) / len(took) * 1e6, 1),
        **quantiles(took),
        "outcomes": outcomes,
        "waiting": door.spool.waiting(),
    }


async def measure_bulk(door: Door, people: int, seconds: float) -> dict[str, Any]:
    """Hand over lists of scans, as quickly as they are taken."""
    lists = []
    for first in range(0, 100_000, _BULK):
        at_ms = now_ms()
        lists.append(
            [
                Scan(
                    person=person(number % people),
                    venue=f"mall-{number % _VENUES}",
                    kind="in",
                    at_ms=at_ms,
                    scan_id=f"b{number}",
                    gateway="bench",
                )
                for number in range(first, first + _BULK)
            ]
        )
    took: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    count = 0

    async def caller(start: int) -> None:
        nonlocal count
        place = start
        while time.perf_counter() - began < seconds:
            turn = time.perf_counter()
            count += (await door.bulk(lists[place % len(lists)])).accepted
            took.append(time.perf_counter() - turn)
            place += 1

    await asyncio.gather(*(caller(each * 50) for each in range(4)))
    assert await door.sender.drain(60)
    spent = time.perf_counter() - began
    return {
        "scans_per_second": round(count / spent),
        "cpu_us_each": round((time.process_time() - cpu) / count * 1e6, 2),
        **quantiles(took),
    }


async def measure_change(door: Door, brokers: str, people: int) -> dict[str, float]:
    """From a status in the topic's producer to the same at the door."""
    took = []
    async with Producer(brokers, "statuses") as producer:
        for turn in range(200):
            who = person(turn)
            status = Status(
                person=who, colour="black", since_ms=turn, rule="bench", reason="case", log_time_ms=_AT_MS,
                position=(9, 2 * people + turn),
            )  # fmt: skip
            home = int(partitions_of([who], 2)[0])
            began = time.perf_counter()
            await producer.send(home, [(who.encode(), msgspec.json.encode(status))])
            while (found := door.copies.standing(who)) is None or found.colour != "black":  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            took.append(time.perf_counter() - began)
    return quantiles(took)


async def measure(brokers: str, people: int, seconds: float) -> dict[str, Any]:
    """All figures."""
    partitions = Partitions()
    ensure_topics(Settings(brokers=brokers, partitions=partitions))
    await publish(brokers, people, partitions)
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        settings = GatewaySettings(name="bench", brokers=brokers, data_dir=Path(folder))
        found["statuses"] = await measure_load(settings, people)
        async with open_door(settings, now_ms) as door:
            while not door.copies.level:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await measure_asks(door, people, 1.0)
            found["asks"] = await measure_asks(door, people, seconds)
            half = found["asks"]["per_second"] / 2
            found["asks_at_half"] = await measure_asks(door, people, seconds, half)
            found["asks_at_2500"] = await measure_asks(door, people, seconds, 2500.0)
            assert await door.sender.drain(60)
            found["bulk"] = await measure_bulk(door, people, seconds)
            found["change_visible"] = await measure_change(door, brokers, people)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--broker", choices=("kafka", "tansu"), default="kafka")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, running_broker(options.broker, Path(folder)) as brokers:
        found = uvloop.run(measure(brokers, options.people, options.seconds))
    print(json.dumps({"machine": describe(broker_name(options.broker)), **found}, indent=2))


if __name__ == "__main__":
    main()

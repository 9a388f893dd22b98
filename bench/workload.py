"""A day of scans as gateways would send them: heavy-tailed, out of order, the same for the same seed.

What is made up here is for measuring only; `lacak.city` makes days that mean something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from schemas.messages import Venue
from schemas.partitions import partitions_of
from streams.settings import DAY_MS

DAY_START_MS: Final = 1_634_749_200_000
"""2021-10-21 00:00 in Jakarta."""

_HOUR_MS: Final = 3_600_000
_CATEGORIES: Final = (("shop", 0.45), ("restaurant", 0.25), ("office", 0.12), ("market", 0.1), ("worship", 0.08))
_HOURS: Final = np.array([1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 22, 26, 30, 26, 22, 20, 22, 28, 30, 26, 18, 10, 4, 2], float)
_OUT_SHARE: Final = 0.25  # of the visits: a fifth of the scans
_LATE_SHARE: Final = 0.02
_SHUFFLE_MS: Final = 4 * 60_000
_MALL_SHARE: Final = 0.03
_WITHIN_SHARE: Final = 0.3
_BATCH_BYTES: Final = 512 * 1024


class Shape(NamedTuple):
    """How large a workload is."""

    scans: int = 2_000_000
    people: int = 600_000
    venues: int = 5_000
    seed: int = 1


class Scans(NamedTuple):
    """Scans in order of arrival, as columns: indexes of people and venues, whether out, two times."""

    person: NDArray[np.int64]
    venue: NDArray[np.int64]
    out: NDArray[np.bool_]
    at_ms: NDArray[np.int64]
    arrived_at_ms: NDArray[np.int64]


class Workload:
    """People, venues, and the scans of a day."""

    def __init__(self, shape: Shape, start_ms: int = DAY_START_MS) -> None:
        self.shape = shape
        self.start_ms = start_ms
        self._random = np.random.default_rng(shape.seed)
        names = self._random.bytes(16 * shape.people).hex()
        self.people = [f"b1:{names[at : at + 32]}" for at in range(0, len(names), 32)]
        self.venues = list(_venues(shape.venues, self._random))
        weights = 1.0 / (np.arange(shape.venues) + 10.0) ** 0.9
        self.popularity = weights / weights.sum()

    def scans(self) -> Scans:
        """The day's scans. Times of arrival are those of the log: they never go back by more than the shuffling."""
        random, shape = self._random, self.shape
        visits = math.ceil(shape.scans / (1 + _OUT_SHARE)) + 1
        person = random.integers(0, shape.people, visits)
        venue = random.choice(shape.venues, visits, p=self.popularity)
        hour = random.choice(24, visits, p=_HOURS / _HOURS.sum())
        begin = self.start_ms + hour * _HOUR_MS + random.integers(0, _HOUR_MS, visits)
        leaves = random.random(visits) < _OUT_SHARE
        end = begin + (random.lognormal(math.log(40 * 60_000), 0.7, visits)).astype(np.int64) + 60_000
        person = np.concatenate([person, person[leaves]])
        venue = np.concatenate([venue, venue[leaves]])
        out = np.concatenate([np.zeros(visits, bool), np.ones(int(leaves.sum()), bool)])
        at = np.concatenate([begin, end[leaves]])
        late = random.random(len(at)) < _LATE_SHARE
        delay = random.integers(0, _SHUFFLE_MS, len(at))
        delay[late] = random.integers(_HOUR_MS, 8 * _HOUR_MS, int(late.sum()))
        arrived = at + delay
        order = np.argsort(arrived, kind="stable")[: shape.scans]
        return Scans(person[order], venue[order], out[order], at[order], arrived[order])

    def records(self, scans: Scans, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """Some of the scans as `(key, value)`: one JSON message each, as docs/publishing.md has it."""
        people, venues = self.people, self.venues
        found = []
        for person, venue, out, at, arrived in zip(
            *(column[start:stop].tolist() for column in scans),
            strict=True,
        ):
            name = people[person]
            kind = "out" if out else "in"
            value = (
                f'{{"person":"{name}","venue":"{venues[venue].venue}","kind":"{kind}",'
                f'"at_ms":{at},"arrived_at_ms":{arrived}}}'
            )
            found.append((name.encode(), value.encode()))
        return found

    def homes(self, scans: Scans, partitions: int) -> NDArray[np.int64]:
        """The partition of each scan."""
        return partitions_of(self.people, partitions)[scans.person]

    def end_ms(self) -> int:
        """A time that no scan's arrival or end reaches."""
        return self.start_ms + 3 * DAY_MS


def _venues(count: int, random: np.random.Generator) -> Iterator[Venue]:
    """Malls first, spread over the ranks by name only; some of the others lie within one."""
    malls = max(1, int(count * _MALL_SHARE))
    ranks = random.permutation(count).tolist()
    mall_ranks = set(ranks[:malls])
    names = [f"v{rank:05d}" for rank in range(count)]
    kinds, shares = zip(*_CATEGORIES, strict=True)
    kind_of = random.choice(len(kinds), count, p=np.array(shares)).tolist()
    inside = (random.random(count) < _WITHIN_SHARE).tolist()
    mall_of = random.choice(sorted(mall_ranks), count).tolist()
    capacity = random.integers(20, 2000, count).tolist()
    order = sorted(range(count), key=lambda rank: rank not in mall_ranks)  # a venue is registered after its mall
    for rank in order:
        mall = rank in mall_ranks
        yield Venue(
            venue=names[rank],
            name=f"Venue {rank}",
            category="mall" if mall else kinds[kind_of[rank]],
            capacity=capacity[rank],
            within=names[mall_of[rank]] if inside[rank] and not mall else None,
        )


class Producer:
    """Sends ready bytes in large batches, in order of each partition. Use it as an async context manager."""

    def __init__(self, brokers: str, topic: str) -> None:
        self._brokers, self._topic = brokers, topic
        self._producer: AIOKafkaProducer

    async def __aenter__(self) -> Producer:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._brokers, acks="all", compression_type="lz4", max_batch_size=_BATCH_BYTES,
            max_request_size=8 << 20,
        )  # fmt: skip
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, partition: int, records: list[tuple[bytes, bytes]]) -> None:
        """Send records to one partition; returns when they are acknowledged."""
        sent = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                batch.close()
                sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            batch.close()
            sent.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        for each in sent:
            await each

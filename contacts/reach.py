"""Whom dated contacts lead to, and from whom: over any number of steps, each at the same time as the last or later.

A way is a chain of contacts, the target of each the source of the next. In the `strict` dialect each contact is later
than the one before it, else it may also be at the same time. Who is asked about is never counted (docs/reach.md).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.closure import plan_unions, unite
from contacts.columns import Ints, distinct
from contacts.dated import DatedContacts

_BLOCK_BYTES = 256 << 20
_UINT8_ROWS = 255

Direction = Literal["in", "out"]


class Reached(NamedTuple):
    """People, as columns of one length.

    `person`: index into DatedContacts.people, ascending. `distance`: contacts on the shortest way. `at_ms`: out, when a
    way first reaches them; in, the last time at which a way from them to the root begins.
    """

    person: Ints
    distance: Ints
    at_ms: Ints


class ReachCounts(NamedTuple):
    """How many others, for each of DatedContacts.people: in direct contact, and over any number of steps."""

    in_degree: Ints
    out_degree: Ints
    in_reach: Ints
    out_reach: Ints


def reach(contacts: DatedContacts, root: int, direction: Direction, strict: bool) -> Reached:
    """Whom the root (an index into `contacts.people`) reaches, or, with `in`, who reaches it.

    Level by level, each contact looked at once: O(contacts x log) and one numpy round a level.
    """
    if direction == "out":
        return _spread(contacts, root, strict)
    found = _spread(contacts.backward(), root, strict)
    return found._replace(at_ms=-found.at_ms)


def _spread(contacts: DatedContacts, root: int, strict: bool) -> Reached:
    """Earliest arrivals with one contact more at every level. Times are numbered from 1; 0 is before all."""
    times, moment = np.unique(contacts.at_ms, return_inverse=True)
    moment = moment.astype(np.int64) + 1
    never = len(times) + 1
    span = never + 2
    key = contacts.source * span + moment
    order = np.argsort(key)
    key, target, moment = key[order], contacts.target[order], moment[order]

    count = len(contacts.people)
    arrived = np.full(count, never, np.int64)
    distance = np.zeros(count, np.int64)
    seen = np.searchsorted(key, np.arange(1, count + 1) * span)  # a person's contacts from here on are done with
    arrived[root] = 0
    front, level = np.array([root], np.int64), 0
    while len(front):
        level += 1
        first = np.searchsorted(key, front * span + arrived[front] + strict)
        rows = _ranges(first, seen[front])
        seen[front] = first
        met, when = target[rows], moment[rows]
        sooner = when < arrived[met]
        met, when = met[sooner], when[sooner]
        np.minimum.at(arrived, met, when)
        front = distinct(met)
        distance[front[distance[front] == 0]] = level
    found = np.flatnonzero(distance)
    return Reached(found, distance[found], times[arrived[found] - 1])


def _ranges(first: Ints, last: Ints) -> Ints:
    """The numbers of all ranges `[first, last)`, one after the other."""
    length = last - first
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(int(length.sum()))


def reach_of_all(contacts: DatedContacts, strict: bool, block_bytes: int = _BLOCK_BYTES) -> ReachCounts:
    """Everyone's counts at once.

    From the last contact to the first, the source's set of people takes in the target's (contacts/closure.py). Sets are
    rows of bits, for as many people at a time as `block_bytes` holds: a row counts whom one reaches, a column by whom
    one is reached. O(contacts x people / 64) words.
    """
    into, taken = np.zeros(len(contacts.people), np.int64), np.zeros(len(contacts.people), np.int64)
    active = distinct(np.concatenate((contacts.source, contacts.target)))
    count = len(active)
    plan = plan_unions(
        np.searchsorted(active, contacts.source),
        np.searchsorted(active, contacts.target),
        contacts.at_ms,
        count,
        strict,
    )
    width = max(1, min(-(-count // 64), block_bytes // (8 * max(plan.rows, 1))))
    for first in range(0, count, 64 * width):
        person = np.arange(first, min(first + 64 * width, count))
        place = person - first
        sets = np.zeros((plan.rows, width), np.uint64)
        sets.view(np.uint8)[person, place >> 3] = np.left_shift(1, place & 7)
        unite(sets, plan)
        own = sets[:count]
        taken[active] += np.bitwise_count(own).sum(axis=1, dtype=np.int64)
        into[active[person]] = _column_sums(own.view(np.uint8))[: len(person)]
    into[active] -= 1  # their own bit
    taken[active] -= 1
    return ReachCounts(*contacts.degrees(), into, taken)


def _column_sums(rows: NDArray[np.uint8]) -> Ints:
    """How many rows have each bit set."""
    sums = np.zeros(8 * rows.shape[1], np.int64)
    for first in range(0, len(rows), _UINT8_ROWS):  # so many ones fit into a byte
        bits = np.unpackbits(rows[first : first + _UINT8_ROWS], axis=1, bitorder="little")
        sums += np.add.reduce(bits, axis=0, dtype=np.uint8)
    return sums

"""In which order sets are united so that, from the last contact to the first, each source's set takes in its target's.

The difficulty is contacts at one time: they may follow one another in any order, or, in the strict dialect, not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contacts.columns import Ints, among, distinct


class Plan(NamedTuple):
    """Unions to be made one after the other: row `into[i]` takes in row `taken[i]`.

    The first `people` of the `rows` are people's; the others are spare: written anew, not added to.
    """

    into: list[int]
    taken: list[int]
    people: int
    rows: int


def plan_unions(source: Ints, target: Ints, at_ms: Ints, people: int, strict: bool) -> Plan:
    """The unions that these contacts mean among rows 0 to `people`."""
    order = np.lexsort((target, source, -at_ms))
    source, target, at_ms = source[order], target[order], at_ms[order]
    new = np.ones(len(source), np.bool_)
    new[1:] = (source[1:] != source[:-1]) | (target[1:] != target[:-1]) | (at_ms[1:] != at_ms[:-1])
    source, target, at_ms = source[new], target[new], at_ms[new]

    begins = np.flatnonzero(np.diff(at_ms, prepend=at_ms[:1] - 1))
    borders = np.append(begins, len(at_ms))
    moment = np.repeat(np.arange(len(begins)), np.diff(borders))
    on_a_way = among(moment * people + source, distinct(moment * people + target))
    linked = distinct(moment[on_a_way])  # times at which someone is a target and a source

    plan = Plan([], [], people, people)
    rows, done = people, 0
    for first, last in zip(borders[linked].tolist(), borders[linked + 1].tolist(), strict=True):
        _add(plan, source[done:first].tolist(), target[done:first].tolist())
        pairs = source[first:last].tolist(), target[first:last].tolist()
        if strict:
            rows = max(rows, _apart(plan, *pairs))
        else:
            _together(plan, *pairs)
        done = last
    _add(plan, source[done:].tolist(), target[done:].tolist())
    return plan._replace(rows=rows)


def _add(plan: Plan, into: list[int], taken: list[int]) -> None:
    plan.into.extend(into)
    plan.taken.extend(taken)


def _apart(plan: Plan, source: list[int], target: list[int]) -> int:
    """Contacts at one time, none of which follows another: what is taken is as it was before; rows then needed."""
    spare = {person: plan.people + place for place, person in enumerate(sorted({*source} & {*target}))}
    _add(plan, [*spare.values(), *source], [*spare, *(spare.get(person, person) for person in target)])
    return plan.people + len(spare)


def _together(plan: Plan, source: list[int], target: list[int]) -> None:
    """Contacts at one time that may follow one another in any order: who can reach each other have one set."""
    follows: dict[int, list[int]] = {}
    for giver, taker in zip(source, target, strict=True):
        follows.setdefault(giver, []).append(taker)
    for members in _components(follows):
        first, *others = members
        beyond = {taker for giver in members for taker in follows[giver]}.difference(members)
        _add(plan, [first] * (len(beyond) + len(others)), [*beyond, *others])
        _add(plan, others, [first] * len(others))


def _components(follows: dict[int, list[int]]) -> Iterator[list[int]]:
    """The strongly connected components of those who lead on, each after all that it leads to (Tarjan, 1972)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    on_path: set[int] = set()

    def enter(person: int) -> tuple[int, Iterator[int]]:
        number[person] = low[person] = len(number)
        path.append(person)
        on_path.add(person)
        return person, iter(follows[person])

    for start in follows:
        work = [] if start in number else [enter(start)]
        while work:
            person, rest = work[-1]
            for other in rest:
                if other in on_path:
                    low[person] = min(low[person], number[other])
                elif other in follows and other not in number:
                    work.append(enter(other))
                    break
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[person])
                if low[person] == number[person]:
                    members = [path.pop()]
                    while members[-1] != person:
                        members.append(path.pop())
                    on_path.difference_update(members)
                    yield members


def unite(sets: NDArray[np.uint64], plan: Plan) -> None:
    """Carry out the plan on rows of bits, in place. Of many people most sets are empty in a block, and passed over."""
    rows = list(sets)
    filled: list[bool] = (sets != 0).any(axis=1).tolist()
    for into, taken in zip(plan.into, plan.taken, strict=True):
        if into >= plan.people:
            filled[into] = filled[taken]
            if filled[taken]:
                rows[into][:] = rows[taken]
        elif filled[taken]:
            np.bitwise_or(rows[into], rows[taken], out=rows[into])
            filled[into] = True

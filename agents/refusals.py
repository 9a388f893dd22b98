"""Refusals: messages that are well written and cannot be taken, and what the tracing agent refuses before it looks a
person up."""

from __future__ import annotations

from typing import Final

from contacts.controls import BAD_PERSON, WRONG_PARTITION
from contacts.exposures import Named, unpacked
from contacts.registry import is_name
from schemas.messages import TraceAnswer, TraceRequest
from schemas.partitions import partition_of

_PARTS_MOST: Final = 10_000
"""In so many records an answer comes at most."""
_DAY_SECONDS: Final = 86_400.0


class Refused(ValueError):
    """A message that is not taken: its reason as a dead letter, and what is wrong."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def check_person(person: str, partition: int, partitions: int) -> None:
    """Raises Refused for what is no name, and in another partition than its own: there it would have a dossier more."""
    if not is_name(person):
        raise Refused("bad_person", BAD_PERSON)
    if partition_of(person, partitions) != partition:
        raise Refused("wrong_partition", WRONG_PARTITION)


def check_limits(request: TraceRequest, hops_most: int, people_most: int) -> None:
    """Raises Refused for a trace that may not go so far."""
    if not 1 <= request.hops <= hops_most:
        raise Refused("bad_hops", f"a trace goes 1 to {hops_most} hops")
    if not 1 <= (request.people_most or 1) <= people_most:
        raise Refused("bad_people", f"a trace reaches at most {people_most} people")
    if request.seconds_most is not None and not 0 <= request.seconds_most <= _DAY_SECONDS:
        raise Refused("bad_seconds", "a trace takes more than no time, and less than a day")


def check_answer(person: str, answer: TraceAnswer, partitions: int) -> Named | None:
    """The meetings of an answer. Raises Refused for one that none of the `partitions` of visits gives."""
    if not is_name(person):
        raise Refused("bad_key", f"the key is no person's name: {BAD_PERSON}")
    if answer.partition >= partitions:
        raise Refused("bad_answer", f"there is no partition {answer.partition} of visits")
    if answer.part >= answer.parts or answer.parts > _PARTS_MOST:
        raise Refused("bad_answer", f"it is part {answer.part} of {answer.parts}")
    try:
        return unpacked(answer.meetings) if answer.meetings is not None else None
    except ValueError as error:
        raise Refused("bad_answer", str(error)) from error

"""What aiokafka's clients lack: they pause between attempts to reach brokers that refuse them, have no topic made by
asking for it, do not join a group anew for a commit of who they were before, and are ended whole.

aiokafka 0.14: when no broker is reached, `AIOKafkaClient._metadata_update` answers at once, and the fetcher asks
anew at once while a partition has no leader: a worker left without brokers by a chaos run kept 90 % of a core busy, and
wrote thousands of lines a second to its log. Who asks for the metadata of a topic that is not there has brokers that
make topics by themselves make it, with a number of partitions that is not ours. A commit that the group refuses lets
go of the membership, even of the one that is just being asked for: two members that commit every second kept each other
joining for minutes after the brokers had been silent for longer than a session. And `stop` lets errors of background
tasks, and the cancellation of its own futures, out before it closes connections: a gateway on a slow machine kept a
connection and a task more for every time that it had connected anew (docs/adr/0021).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import aiokafka.client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import UnknownMemberIdError
from aiokafka.protocol.metadata import MetadataRequest

_PAUSE_SECONDS: Final = 0.5
"""So much later than the brokers it is noticed, at most, that they are back."""

_update = AIOKafkaClient._metadata_update


async def _patient_update(client: AIOKafkaClient, *args: Any) -> bool:
    found: bool = await _update(client, *args)
    if not found:
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


_commit = GroupCoordinator._do_commit_offsets
_reset = GroupCoordinator.reset_generation
_rejoin = GroupCoordinator.request_rejoin
_leave = GroupCoordinator._maybe_leave_group
_NO_GENERATION: Final = -1
_commits_as: ContextVar[tuple[int, str] | None] = ContextVar("commits_as", default=None)


async def _commit_as_member(group: GroupCoordinator, *args: Any) -> None:
    """Commit as the member that one is. Raises UnknownMemberIdError, without asking, for who is none yet."""
    if group.generation == _NO_GENERATION and group._subscription.partitions_auto_assigned():
        raise UnknownMemberIdError(group.group_id)
    before = _commits_as.set((group.generation, group.member_id))
    try:
        await _commit(group, *args)
    finally:
        _commits_as.reset(before)


def _is_of_before(group: GroupCoordinator) -> bool:
    """Whether this comes of a commit that was another member's, or whose member is being joined anew already."""
    committed_as = _commits_as.get()
    now = group.generation, group.member_id
    return committed_as is not None and (group._performed_join_prepare or committed_as != now)


def _reset_if_current(group: GroupCoordinator) -> None:
    if not _is_of_before(group):
        _reset(group)
        _rejoin(group)  # aiokafka's asks for it as nobody, which is not who committed


def _rejoin_if_current(group: GroupCoordinator) -> None:
    if not _is_of_before(group):
        _rejoin(group)


async def _leave_from_any_generation(group: GroupCoordinator) -> None:
    """Leave also a group that was never divided anew on a broker that counts its generations from 0."""
    if group.generation == 0:
        group.generation = 1  # the request does not hold it
    await _leave(group)


def mend_clients() -> None:
    """Have every client of this process pause, make no topics, and join anew only for what concerns its membership; to
    be called before the first is made, and again does nothing."""
    GroupCoordinator._do_commit_offsets = _commit_as_member
    GroupCoordinator.reset_generation, GroupCoordinator.request_rejoin = _reset_if_current, _rejoin_if_current
    GroupCoordinator._maybe_leave_group = _leave_from_any_generation
    AIOKafkaClient._metadata_update = _patient_update
    aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


async def let_go(of: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a consumer or a producer, end its tasks and close its connections whatever comes of that. Raises as its
    `stop` does."""
    try:
        await of.stop()
    finally:
        if isinstance(of, AIOKafkaProducer):
            await of.client.close()
        else:
            await _end_fetching(of._fetcher)
            await of._client.close()


async def _end_fetching(fetcher: Fetcher | None) -> None:
    """End what would connect anew once the connections are closed: `close` gives up at the first task it cancels."""
    left = [] if fetcher is None else [fetcher._fetch_task, *fetcher._pending_tasks]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)

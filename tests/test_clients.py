"""Clients without brokers wait and ask again, make no topics, and are ended whole."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import CommitFailedError
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from deploy.embedded import Tansu
from security.clients import let_go, mend_clients
from tests.pipeline import Broker


def test_a_client_without_brokers_tries_now_and_then(tmp_path: Path) -> None:
    """Who asks for metadata as soon as the last answer has come, as the fetcher does while a partition has no leader,
    gets some answers in two seconds, where aiokafka alone gives thousands."""
    mend_clients()
    server = Tansu(tmp_path / "tansu")
    server.start()

    async def live() -> list[bool]:
        client = AIOKafkaClient(bootstrap_servers=server.bootstrap)
        await client.bootstrap()
        try:
            assert await client.force_metadata_update()
            await asyncio.to_thread(server.stop)
            answers, until = [], time.monotonic() + 2.0
            while time.monotonic() < until:
                answers.append(await client.force_metadata_update())
            return answers
        finally:
            await client.close()

    try:
        answers = asyncio.run(live())
    finally:
        server.stop()
    assert not any(answers)
    assert len(answers) <= 5


def test_asking_makes_no_topic(broker: Broker) -> None:
    """A topic that is not there is not made, with whatever number of partitions, by a client that asks for it."""
    mend_clients()
    name = f"absent-{time.time_ns()}"

    async def live() -> None:
        client = AIOKafkaClient(bootstrap_servers=broker.bootstrap)
        await client.bootstrap()
        try:
            await client.add_topic(name)
            assert client.cluster.partitions_for_topic(name) is None
        finally:
            await client.close()

    asyncio.run(live())
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        assert name not in admin.list_topics()


def test_a_refused_commit_of_before_leaves_the_membership(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit sent under an older generation is refused, and the member that its sender has become stays one; that of
    who is no member is not sent; that of the member itself, when the group does not know it any more, lets go of it."""
    mend_clients()
    name = f"commits-{time.time_ns()}"
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])

    async def live() -> None:
        consumer = AIOKafkaConsumer(name, bootstrap_servers=broker.bootstrap, group_id=name, enable_auto_commit=False)
        await consumer.start()
        try:
            group = consumer._coordinator
            tp = min(consumer.assignment())
            member = group.generation, group.member_id
            await consumer.commit({tp: 0})

            with monkeypatch.context() as patched:
                send = group._send_req

                async def send_and_become(request: object) -> object:
                    group.generation, group.member_id = member
                    return await send(request)

                patched.setattr(group, "_send_req", send_and_become)
                for before in ((member[0] + 7, member[1]), (member[0], "somebody")):
                    group.generation, group.member_id = before
                    with pytest.raises(CommitFailedError):
                        await consumer.commit({tp: 0})
                    assert (group.generation, group.member_id) == member
                    assert not group.need_rejoin(consumer._subscription.subscription)
            group.generation, group.member_id = -1, ""
            with pytest.raises(CommitFailedError):
                await consumer.commit({tp: 0})
            assert not group.need_rejoin(consumer._subscription.subscription)
            group.generation, group.member_id = member
            await consumer.commit({tp: 0})
            group.member_id = "somebody"
            with pytest.raises(CommitFailedError):
                await consumer.commit({tp: 0})
            assert group.member_id != "somebody"
            assert group.need_rejoin(consumer._subscription.subscription)
        finally:
            await let_go(consumer)

    asyncio.run(live())


@pytest.mark.parametrize("kind", [AIOKafkaConsumer, AIOKafkaProducer])
def test_connections_are_closed_though_stopping_fails(
    broker: Broker, kind: type[AIOKafkaConsumer | AIOKafkaProducer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancellation of aiokafka's own futures, and whatever else comes out of `stop`, leaves nothing open."""

    async def fails(*_: object) -> None:
        raise asyncio.CancelledError

    async def live() -> None:
        each = kind(bootstrap_servers=broker.bootstrap)
        await each.start()
        client = each.client if kind is AIOKafkaProducer else each._client
        await client.force_metadata_update()
        task, connections = client._sync_task, list(client._conns.values())
        assert any(connection.connected() for connection in connections)
        inner = each._sender if kind is AIOKafkaProducer else each._coordinator
        close = inner.close
        monkeypatch.setattr(inner, "close", fails)
        with pytest.raises(asyncio.CancelledError):
            await let_go(each)
        assert task.done()
        assert kind is AIOKafkaProducer or each._fetcher._fetch_task.done()
        assert not any(connection.connected() for connection in connections)
        await close()

    asyncio.run(live())

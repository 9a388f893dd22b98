"""What is sent by an outbox: nothing of it is left behind by a clean stop."""

from __future__ import annotations

import asyncio
import time

from streams.outbox import Outbox
from streams.reader import read_topic
from streams.settings import Partitions, Settings, Transport
from streams.topics import ensure_topics
from tests.pipeline import Broker


def test_a_stop_sends_what_is_left(broker: Broker) -> None:
    """Records that wait to be put together when the outbox stops are sent first."""
    settings = Settings(
        brokers=broker.bootstrap,
        topic_prefix=f"outbox-{time.time_ns()}-",
        partitions=Partitions(scans=1, visits=1, cases=1),
        transport=Transport(linger_ms=200),
    )
    ensure_topics(settings)

    async def live() -> None:
        outbox = Outbox(settings)
        await outbox.start()
        for number in range(3):
            outbox.send("scans", 0, b"%d" % number)
        await outbox.stop()

    asyncio.run(live())
    assert [record.value for record in read_topic(settings, "scans")] == [b"0", b"1", b"2"]

"""Clients without brokers: they wait and ask again, and neither keep a core busy nor fill a log."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from aiokafka.client import AIOKafkaClient

from deploy.embedded import Tansu
from security.patience import be_patient


def test_a_client_without_brokers_tries_now_and_then(tmp_path: Path) -> None:
    """Who asks for metadata as soon as the last answer has come, as the fetcher does while a partition has no leader,
    gets some answers in two seconds, where aiokafka alone gives thousands."""
    be_patient()
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

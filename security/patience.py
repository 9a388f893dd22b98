"""aiokafka's clients pause between attempts to reach brokers that refuse them.

aiokafka 0.14: when no broker is reached, `AIOKafkaClient._metadata_update` answers at once, and the fetcher asks
anew at once while a partition has no leader: a worker left without brokers by a chaos run kept 90 % of a core busy, and
wrote thousands of lines a second to its log.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient

_PAUSE_SECONDS: Final = 0.5
"""So much later than the brokers it is noticed, at most, that they are back."""

_update = AIOKafkaClient._metadata_update


async def _patient_update(client: AIOKafkaClient, *args: Any) -> bool:
    found: bool = await _update(client, *args)
    if not found:
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


def be_patient() -> None:
    """Have every client of this process pause; to be called before the first is made, and again does nothing."""
    AIOKafkaClient._metadata_update = _patient_update

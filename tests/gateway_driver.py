"""A gateway under load, as a process that tests kill: `python -m tests.gateway_driver BROKERS FOLDER FIRST [drain]`.

Eight callers ask one after the other; a line `number outcome age` goes out when the answer is there, and not before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import count
from pathlib import Path

from gateway.door import Door, open_door
from gateway.settings import CopyLimits, GatewaySettings, SendLimits
from gateway.tickets import Ask

CALLERS = 8
PEOPLE = 40
EACH = 1_000_000


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def person(number: int) -> str:
    """Who asks with a number: each caller has people of its own."""
    return f"p1:{number // EACH % CALLERS * 1000 + number % 5:032x}"


def settings(brokers: str, folder: Path) -> GatewaySettings:
    """Of all gateways in a test: quick to notice."""
    return GatewaySettings(
        name="gate", brokers=brokers, data_dir=folder,
        send=SendLimits(timeout_seconds=3.0, retry_seconds_most=0.5),
        copies=CopyLimits(statuses_stale_seconds=600.0, counts_stale_seconds=600.0),
    )  # fmt: skip


async def caller(door: Door, first: int) -> None:
    """Ask one after the other, without end."""
    for number in count(first):
        ticket = await door.ask(
            Ask(venue="mall", person=person(number), scan_id=str(number), kind="in" if number % 3 else "out")
        )
        said = ticket.decision.outcome if ticket.decision else "out"
        sys.stdout.write(f"{number} {said} {ticket.counts_age_ms}\n")
        sys.stdout.flush()
        await asyncio.sleep(0.005)


async def main(brokers: str, folder: Path, first: int, drain: bool) -> None:
    """Serve until killed, or until nothing waits."""
    async with open_door(settings(brokers, folder), now_ms) as door:
        if drain:
            if not await door.sender.drain(60):
                sys.exit("what waits does not leave")
            return
        while not door.copies.level:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await door.copies.keep()
        await asyncio.gather(*(caller(door, first + each * EACH) for each in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["drain"]))

"""Whether a gateway decides by what is so: the age of its copies, and what waits in its spool."""

from __future__ import annotations

from gateway.metrics import AWAY, COPY_AGE, COPY_REFUSED, SPOOL, SPOOL_BYTES
from gateway.parts import Parts
from gateway.spool import LANES
from gateway.wire import CopyState, Readiness


def readiness(parts: Parts) -> Readiness:
    """How the gateway stands, and what is amiss in words."""
    reasons: list[str] = []
    copies: list[CopyState] = []
    stale = parts.settings.copies
    for name, age_ms, most in (
        ("statuses", parts.copies.age_ms("statuses"), stale.statuses_stale_seconds),
        ("counts", parts.copies.age_ms("occupancy"), stale.counts_stale_seconds),
    ):
        copies.append(CopyState(copy=name, loaded=age_ms is not None, age_ms=age_ms))
        if age_ms is None:
            reasons.append(f"The copy of {name} was never loaded.")
        elif age_ms > most * 1000:
            reasons.append(f"The copy of {name} is {age_ms / 1000:.0f} s old: doors fall back after {most:.0f} s.")
    waiting = sum(parts.spool.waiting(lane) for lane in LANES)
    why = parts.spool.refuses
    if why is not None:
        reasons.append(f"Nothing can be taken: {why}.")
    if not parts.copies.level:
        reasons.append("The copies have not been level with the brokers since the start.")
    never = any(not copy.loaded for copy in copies)
    return Readiness(
        state="starting" if never else "refusing" if why is not None else "degraded" if reasons else "ready",
        reasons=tuple(reasons),
        copies=tuple(copies),
        spool_messages=waiting,
        spool_bytes=parts.spool.waiting_bytes,
    )


def measure(parts: Parts) -> None:
    """Set the gauges that are looked up only when somebody asks."""
    SPOOL.set(sum(parts.spool.waiting(lane) for lane in LANES))
    SPOOL_BYTES.set(parts.spool.waiting_bytes)
    away_since_ms = parts.door.sender.away_since_ms
    AWAY.set(0.0 if away_since_ms is None else max(parts.clock.now_ms() - away_since_ms, 0) / 1000)
    for name in ("statuses", "occupancy"):
        reader = parts.copies.readers[name]
        reader.pulse.hold(range(reader.partitions))
    for name, age_ms in (("statuses", parts.copies.age_ms("statuses")), ("counts", parts.copies.age_ms("occupancy"))):
        COPY_AGE.labels(name).set(-1 if age_ms is None else age_ms / 1000)
    for name, refused in parts.copies.refused().items():
        COPY_REFUSED.labels(name).set(refused)

"""Which message each JSON topic carries."""

from __future__ import annotations

from schemas.door import DoorEvent, Recount, RuleSet
from schemas.health import Declaration, HealthRecord, Status
from schemas.messages import (
    Case,
    ContactDecision,
    DeadLetter,
    Erasure,
    InterviewContact,
    Message,
    Occupancy,
    Scan,
    TestResult,
    Trace,
    TraceAnswer,
    TraceQuery,
    TraceRequest,
    Venue,
    VenueClusters,
)

JSON_TOPICS: dict[str, type[Message]] = {
    "scans": Scan,
    "venues": Venue,
    "erasures": Erasure,
    "test-results": TestResult,
    "trace-requests": TraceRequest,
    "contact-decisions": ContactDecision,
    "interview-contacts": InterviewContact,
    "occupancy": Occupancy,
    "cases": Case,
    "clusters": VenueClusters,
    "traces": Trace,
    "declarations": Declaration,
    "health-records": HealthRecord,
    "statuses": Status,
    "rules": RuleSet,
    "recounts": Recount,
    "door-events": DoorEvent,
    "dead-letters": DeadLetter,
    "trace-queries": TraceQuery,
    "trace-answers": TraceAnswer,
}
"""The message that each JSON topic carries (`scans` also takes blocks, `visits` and `windows` carry blocks only)."""

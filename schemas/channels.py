"""The catalogue of topics: what each carries, by what key, who sends and who reads it, and how long it is kept.

Everything else that lists topics (the published contracts, docs/messages.md, the topics made at start) is made from
this or checked against it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from schemas.blocks import Control, ScanBlock, VisitBlock, WindowBlock
from schemas.catalogue import JSON_TOPICS

DAY_MS: Final = 86_400_000
_LONGEST_STAY_DAYS: Final = 1  # visits.md: a longest stay is never over 24 hours
_SAME_CASE_DAYS: Final = 90  # design.md: positive tests within 90 days are one case

Group = Literal["scans", "visits", "cases", "one"]
"""Topics of one group have equal partition counts, a setting of the deployment; `one` is a single partition."""
Keep = Literal["scans", "visits", "facts", "reports", "questions", "letters", "always"]
"""How long a topic is kept; see retention_ms."""
Cleanup = Literal["delete", "compact", "compact,delete"]


class Framed(NamedTuple):
    """A binary body that travels in a frame: its name, its magic, and the type that MessagePack decodes to."""

    name: str
    magic: str
    body: object


class Channel(NamedTuple):
    """One topic. `key` and `placed` say what the record's key is and which partition it goes to."""

    topic: str
    about: str
    key: str
    placed: str
    group: Group
    cleanup: Cleanup
    keep: Keep
    senders: tuple[str, ...]
    readers: tuple[str, ...]
    message: type[msgspec.Struct] | None
    frames: tuple[Framed, ...] = ()

    @property
    def compacted(self) -> bool:
        """Whether the newest record of each key stays, and a record without a value forgets its key."""
        return "compact" in self.cleanup


SCAN_FRAME: Final = Framed("ScanBlock", "LKS1", ScanBlock)
VISIT_FRAME: Final = Framed("VisitBlock", "LKV1", VisitBlock)
WINDOW_FRAME: Final = Framed("WindowBlock", "LKW1", WindowBlock)
CONTROL_FRAME: Final = Framed("Control", "LKC1", Control)
FRAMES: Final = (SCAN_FRAME, VISIT_FRAME, WINDOW_FRAME, CONTROL_FRAME)

_BY_KEY: Final = "murmur2 of the key, as Kafka's own clients do"


def _channel(
    topic: str,
    about: str,
    key: str,
    group: Group,
    cleanup: Cleanup,
    keep: Keep,
    *,
    senders: tuple[str, ...],
    readers: tuple[str, ...],
    placed: str = _BY_KEY,
    frames: tuple[Framed, ...] = (),
) -> Channel:
    return Channel(topic, about, key, placed, group, cleanup, keep, senders, readers, JSON_TOPICS.get(topic), frames)


CHANNELS: Final = (
    _channel(
        "scans",
        "What the doors saw: plain messages, blocks, and control records (ticks, registry, erasures, heartbeats, ...).",
        "person (none for a control record)",
        "scans",
        "delete",
        "scans",
        placed=f"{_BY_KEY}; a block holds persons of one partition; a control record goes into every partition",
        frames=(SCAN_FRAME, CONTROL_FRAME),
        senders=("gateways", "lacak publish", "visits agent", "registry agent", "tracing agent", "status agent"),
        readers=("visits agent",),
    ),
    _channel(
        "venues",
        "The registry: what holds of a place from a date on.",
        "venue and valid_from_ms",
        "one",
        "compact",
        "always",
        senders=("lacak venues import", "gateways"),
        readers=("registry agent", "recorder agent", "gateways"),
    ),
    _channel(
        "erasures",
        "Persons to forget, and before when. Every agent applies them and reads them before a rebuild.",
        "person",
        "one",
        "compact",
        "always",
        senders=("officers",),
        readers=("registry agent", "recorder agent", "status agent"),
    ),
    _channel(
        "visits",
        "Changes of visits, with their origin.",
        "none",
        "visits",
        "delete",
        "visits",
        placed="murmur2 of the rows' outermost venue; an empty block, which states log time, goes to every partition",
        frames=(VISIT_FRAME,),
        senders=("visits agent",),
        readers=("occupancy agent",),
    ),
    _channel(
        "occupancy",
        "How many are inside a venue, whenever that changes. And heartbeats.",
        "venue",
        "visits",
        "compact",
        "always",
        placed="the partition of `visits` that its venue lies in",
        frames=(CONTROL_FRAME,),
        senders=("occupancy agent",),
        readers=("recorder agent", "gateways", "lacak occupancy"),
    ),
    _channel(
        "windows",
        "Entries, exits, peak and mean of each venue and window, as they stand.",
        "none",
        "visits",
        "delete",
        "facts",
        placed="the partition of `visits` that its venues lie in",
        frames=(WINDOW_FRAME,),
        senders=("occupancy agent",),
        readers=("recorder agent",),
    ),
    _channel(
        "clusters",
        "The clusters of a venue, whenever its case visits have changed.",
        "venue",
        "visits",
        "compact",
        "always",
        placed="the partition of `visits` that its venue lies in",
        senders=("occupancy agent",),
        readers=("recorder agent",),
    ),
    _channel(
        "test-results",
        "What laboratories report, revise and withdraw.",
        "person",
        "cases",
        "delete",
        "facts",
        senders=("laboratories", "lacak test-result", "lacak health import"),
        readers=("tracing agent", "status agent"),
    ),
    _channel(
        "trace-requests",
        "Traces of an officer's choosing.",
        "person",
        "cases",
        "delete",
        "facts",
        senders=("officers",),
        readers=("tracing agent",),
    ),
    _channel(
        "contact-decisions",
        "An officer confirms or dismisses a contact.",
        "person of the case",
        "cases",
        "delete",
        "facts",
        senders=("officers",),
        readers=("tracing agent",),
    ),
    _channel(
        "interview-contacts",
        "Contacts known from interviews.",
        "person of the case",
        "cases",
        "delete",
        "facts",
        senders=("officers", "lacak contacts add"),
        readers=("tracing agent",),
    ),
    _channel(
        "cases",
        "Episodes of persons with positive tests, as last revised.",
        "case_id",
        "cases",
        "compact,delete",
        "reports",
        placed="the partition of the test result that opened it",
        senders=("tracing agent",),
        readers=("recorder agent",),
    ),
    _channel(
        "traces",
        "The whole report of each trace, as it is now. And heartbeats.",
        "trace_id",
        "cases",
        "compact,delete",
        "reports",
        placed="the partition of the message that opened it",
        frames=(CONTROL_FRAME,),
        senders=("tracing agent",),
        readers=("recorder agent", "officers"),
    ),
    _channel(
        "trace-queries",
        "Whom did this person meet: one to every partition of `visits`.",
        "person",
        "visits",
        "delete",
        "questions",
        placed="every partition gets its own",
        senders=("tracing agent",),
        readers=("contacts agent",),
    ),
    _channel(
        "trace-answers",
        "What one partition of `visits` knows, and at which cut; that a standing trace has changed; whom to forget;"
        " heartbeats.",
        "person",
        "cases",
        "delete",
        "questions",
        placed="the query's or the watch's reply_partition; an erasure goes to every partition",
        frames=(CONTROL_FRAME,),
        senders=("contacts agent", "tracing agent", "registry agent", "occupancy agent"),
        readers=("tracing agent",),
    ),
    _channel(
        "declarations",
        "Where people say that they were: at registered venues, elsewhere, abroad.",
        "person",
        "cases",
        "delete",
        "facts",
        senders=("officers", "gateways"),
        readers=("status agent", "recorder agent"),
    ),
    _channel(
        "health-records",
        "Tests, vaccinations, recoveries, contacts, travel, age bands: what colours are made of. And control records.",
        "person, a bar and the record's id; of control records: `tick`, the person and a bar, `rules/` and their id",
        "cases",
        "compact",
        "always",
        placed="murmur2 of the person; rules go into every partition",
        frames=(CONTROL_FRAME,),
        senders=("lacak health import", "status agent", "tracing agent"),
        readers=("status agent", "recorder agent"),
    ),
    _channel(
        "statuses",
        "The colour of each person, and what doors may ask besides. And heartbeats.",
        "person",
        "cases",
        "compact",
        "always",
        frames=(CONTROL_FRAME,),
        senders=("status agent",),
        readers=("gateways", "recorder agent"),
    ),
    _channel(
        "rules",
        "Dated rules of doors and colours, a file each.",
        "kind, a stroke and the id of the rules",
        "one",
        "compact",
        "always",
        senders=("lacak rules publish",),
        readers=("gateways", "registry agent", "status agent"),
    ),
    _channel(
        "recounts",
        "How many a guard has counted inside.",
        "venue",
        "one",
        "delete",
        "facts",
        senders=("gateways",),
        readers=("registry agent",),
    ),
    _channel(
        "door-events",
        "What staff did at doors and with identities, for the audit.",
        "venue",
        "visits",
        "delete",
        "facts",
        senders=("gateways",),
        readers=("recorder agent",),
    ),
    _channel(
        "dead-letters",
        "What could not be decoded or accepted, with reason, origin and bytes.",
        "letter_id",
        "one",
        "delete",
        "letters",
        senders=("every agent",),
        readers=("lacak dead-letters",),
    ),
)

TOPICS: Final = {channel.topic: channel for channel in CHANNELS}


def retention_ms(keep: Keep, *, horizon_ms: int, retention_ms: int) -> int:
    """How long a topic is kept under a deployment's horizon and retention, in ms; -1 is always (compaction alone)."""
    days: dict[Keep, int] = {
        "scans": horizon_ms + 2 * _LONGEST_STAY_DAYS * DAY_MS,
        "visits": retention_ms + DAY_MS,
        "facts": retention_ms,
        "reports": retention_ms + _SAME_CASE_DAYS * DAY_MS,
        "questions": horizon_ms,
        "letters": 7 * DAY_MS,
        "always": -1,
    }
    return days[keep]


KEPT: Final[dict[Keep, str]] = {
    "scans": "the horizon plus twice the greatest longest stay",
    "visits": "the retention plus a day",
    "facts": "the retention",
    "reports": "the retention plus 90 days, in which positive tests are one case",
    "questions": "the horizon",
    "letters": "7 days",
    "always": "always, the newest of each key",
}
"""retention_ms in words."""

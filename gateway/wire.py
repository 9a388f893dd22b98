"""What callers send and are sent over HTTP. Times are integer milliseconds since the epoch.

Nothing that a device is sent has a place for a colour or a health reason: those are for the person's own screen
(gateway.pages), and a test holds these types to it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from gateway.copies import Count
from gateway.problems import Fault
from schemas.bounds import TIME_MOST
from schemas.health import AgeBand
from schemas.messages import Fallback, ScanKind, Venue

_NAME_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
_LAST_MS: Final = TIME_MOST

VenueId = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=200, pattern=_NAME_PATTERN, description="A venue's id.", examples=["mall-1"]),
]
PersonToken = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=200,
        pattern=_NAME_PATTERN,
        description="A person's pseudonym, `KEY_ID:PSEUDONYM`; never a name, a number or a phone.",
        examples=["p1:5f3c0a9be2d14c7781aa03c9d1e0f6b2"],
    ),
]
TimeMs = Annotated[
    int, msgspec.Meta(ge=0, lt=_LAST_MS, description="Milliseconds since the epoch.", examples=[1_634_781_600_000])
]
ScanId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
        description="The caller's id of the scan; the gateway makes one if it is left out.",
    ),
]
TypedId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=1_000,
        description="What staff typed: a pseudonym, or an identity number where the gateway has the key that makes "
        "pseudonyms. It becomes a pseudonym before anything is written down.",
    ),
]
Token = Annotated[
    str, msgspec.Meta(min_length=1, max_length=2_000, description="A signed code as scanned (docs/qr.md).")
]


class Request(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """What callers send: an unknown field is a fault, as it is likely a misspelt one."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What callers are sent: fields may be added later."""


class PastScan(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A scan that happened at `at_ms`: one of many, from a system that lets people in by itself or sends late."""

    person: PersonToken
    venue: VenueId
    kind: ScanKind
    at_ms: TimeMs
    scan_id: ScanId | None = None


class BulkReply(Reply, frozen=True, omit_defaults=False, kw_only=True):
    """What became of many scans: `accepted` are durable; `errors` tells the first of those `rejected`."""

    accepted: int
    rejected: int = 0
    errors: tuple[Fault, ...] = ()


class Child(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A child that comes with the one who scans. `age_band` counts where the child's status says none."""

    person: PersonToken
    age_band: AgeBand | None = None


class ScanRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A person at a door, alone or with those they bring (`children`: decided together, all come in or none).

    `venue`, or `code` as the person's phone scanned it. `at_ms` is when it happened, now if left out.
    """

    kind: Literal["in", "out"] = "in"
    person: PersonToken
    venue: VenueId | None = None
    code: Token | None = None
    age_band: AgeBand | None = None
    children: Annotated[tuple[Child, ...], msgspec.Meta(max_length=50)] = ()
    at_ms: TimeMs | None = None
    scan_id: ScanId | None = None


Outcome = Literal["admit", "check", "refuse", "full", "out"]


class GuardAnswer(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """The decision, and what the guard does now.

    `todo` is what the guard does, by language. `check`: staff look and tell POST /v1/answers, naming `ticket`, before
    `answer_by_ms`. `scan_ids` are those of the scans made, one a person
    (none yet at a `check`). `inside` and `allowed` are of the venue, with
    those who come in now; the ages are of the copies it was decided by (left out: there is none).
    """

    ticket: str
    outcome: Outcome
    todo: dict[Literal["id", "en"], str] = {}
    scan_ids: tuple[str, ...] = ()
    answer_by_ms: int | None = None
    inside: int | None = None
    allowed: int | None = None
    statuses_age_ms: int | None = None
    counts_age_ms: int | None = None


class AnswerRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """What staff found at a check: whether the person goes in."""

    ticket: ScanId
    admitted: bool


class AnswerReply(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """The guard's answer is written down: `admitted` published an `in`, else a `refused`."""

    ticket: str
    admitted: bool


class RecountRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A count by hand. Give one of `inside` (people counted, now) and `everyone_out`."""

    venue: VenueId
    inside: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    everyone_out: bool = False


class RecountReply(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """The recount is on its way to the counts; it does not change the visits."""

    recount_id: str
    venue: str
    inside: int
    at_ms: int


class CardRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A person without a phone, at a staff scanner: the `token` of a card, or an `id` typed by staff (audited)."""

    venue: VenueId
    kind: Literal["in", "out"] = "in"
    token: Token | None = None
    typed_id: TypedId | None = None


class DeclarationRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """Where a person says that they were in `[start_ms, end_ms)`: at a registered `venue`, or at a `place` in `country`
    (ISO 3166-1 alpha-2)."""

    person: PersonToken
    start_ms: TimeMs
    end_ms: TimeMs
    declaration_id: ScanId | None = None
    venue: VenueId | None = None
    place: Annotated[str, msgspec.Meta(max_length=200, pattern=_LINE)] = ""
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$", examples=["ID"])] = "ID"
    withdrawn: bool = False


class DeclarationReply(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """The declaration is written down; the same id again takes its place."""

    declaration_id: str


class VenueRequest(Request, frozen=True, omit_defaults=True, kw_only=True):
    """A venue as it is from `valid_from_ms` on. `within` never changes; `fallback` is what its doors do when they know
    too little."""

    venue: VenueId
    name: Annotated[str, msgspec.Meta(max_length=200, pattern=_LINE)] = ""
    category: Annotated[str, msgspec.Meta(min_length=1, max_length=60, pattern=_LINE, examples=["mall"])] = "other"
    region: Annotated[str, msgspec.Meta(max_length=100, pattern=_LINE)] = ""
    capacity: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    area_m2: Annotated[float, msgspec.Meta(gt=0, le=1e8)] | None = None
    assumed_stay_minutes: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | None = None
    longest_stay_minutes: Annotated[float, msgspec.Meta(gt=0, le=100_000)] | None = None
    within: VenueId | None = None
    valid_from_ms: Annotated[int, msgspec.Meta(ge=0, lt=_LAST_MS)] = 0
    fallback: Fallback = "check"
    route: Annotated[str, msgspec.Meta(max_length=100, pattern=_LINE, examples=["ID-LA > ID-BT"])] = ""


class VenueList(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """Venues by id, from the one after `after` on; `next_after` where there are more."""

    venues: tuple[Venue, ...]
    next_after: str | None = None


class ImportFault(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """A line of the file that was not taken."""

    line: int
    detail: str


class ImportReply(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """What became of the file: how many records were taken, how many were known already, and the first faults."""

    taken: int
    known: int
    rejected: int
    faults: tuple[ImportFault, ...] = ()


class OccupancyReply(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """How full a venue is: the last count with this gateway's own scans since. `allowed` is None where no capacity is
    known; `age_ms` is how old the count is."""

    venue: str
    inside: int
    allowed: int | None = None
    age_ms: int | None = None


def occupancy_reply(count: Count) -> OccupancyReply:
    """A count as it is sent."""
    return OccupancyReply(venue=count.venue, inside=count.inside, allowed=count.allowed, age_ms=count.age_ms)


class CopyState(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """One local copy: whether it is loaded, and how far it is behind."""

    copy: str
    loaded: bool
    age_ms: int | None = None


class Readiness(Reply, frozen=True, omit_defaults=False, kw_only=True):
    """Whether the gateway decides by what is so. `degraded` still decides, `refusing` has no room for scans; `reasons`
    says what is amiss."""

    state: Literal["ready", "degraded", "refusing", "starting"]
    reasons: tuple[str, ...] = ()
    copies: tuple[CopyState, ...] = ()
    spool_messages: int = 0
    spool_bytes: int = 0


class Alive(Reply, frozen=True, omit_defaults=False, kw_only=True):
    """The process answers."""

    state: Literal["alive"] = "alive"


class ProblemKind(Reply, frozen=True, omit_defaults=True, kw_only=True):
    """A kind of problem, explained."""

    kind: str
    status: int
    title: str
    remedy: str

"""One typed message per public topic: plain JSON, one message a record.

Times are integer milliseconds since the epoch (`_ms`); minutes are real numbers (`_minutes`). A person is a
pseudonym that names the key which made it, `KEY_ID:PSEUDONYM` (`p1:5f3c...`); no name or number ever travels.
Fields may be added with a default; they are never renamed, retyped or taken away (tests/golden holds yesterday's).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.bounds import (
    NUMBER_MOST,
    BoundMs,
    DerivedMs,
    LogTimeMs,
    Number,
    Offset,
    Partition,
    Position,
    Share,
    TimeMs,
)

ScanKind = Literal["in", "out", "refused"]
EndReason = Literal["assumed", "checked_out", "next_check_in", "scanned_again", "late", "self_reported"]
Direction = Literal["forward", "backward"]
Grade = Literal["possible", "confirmed", "dismissed"]
TestOutcome = Literal["positive", "negative", "withdrawn"]
TestKind = Literal["pcr", "antigen", "other"]
Fallback = Literal["admit", "check", "refuse"]
Limit = Literal["hops", "people", "seconds"]
TraceState = Literal["complete", "behind", "incomplete", "withdrawn"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What every message has in common: JSON objects, defaults left out, unknown fields ignored by readers.

    None is part of a cycle, so the collector need not look them over: a report holds tens of thousands.
    """


class Scan(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `scans`, keyed by person: one event from a gateway.

    `arrived_at_ms` is given only by replays and file runs; it must not be more than 300 s later than its record.
    """

    person: str
    venue: str
    kind: ScanKind
    at_ms: TimeMs
    arrived_at_ms: TimeMs | None = None
    scan_id: str | None = None
    gateway: str | None = None


class Venue(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `venues` (compacted), keyed by venue and `valid_from_ms`: what holds of a place from a date on.

    `fallback` is what its doors do when they know too little: statuses or counts too old, or none. `route`, of places
    from which one travels: the regions between, `ID-LA > ID-BT`.
    """

    venue: str
    name: str = ""
    category: str = "other"
    region: str = ""
    capacity: int | None = None
    assumed_stay_minutes: float | None = None
    longest_stay_minutes: float | None = None
    within: str | None = None
    valid_from_ms: TimeMs = 0
    area_m2: float | None = None
    fallback: Fallback = "check"
    route: str = ""


class Erasure(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `erasures` (compacted), keyed by person: forget everything before `before_ms` (the erasure's arrival)."""

    person: str
    before_ms: TimeMs
    officer: str
    purpose: str


class TestResult(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `test-results`, keyed by person. Dates are the instant given, or midnight of the deployment's day.

    `withdrawn` takes back the result with the same `specimen_ms`; a later message with the same specimen revises it.
    `result_ms` is when the laboratory gave the result; None: when the message reached the programme.
    """

    __test__ = False  # not a test class of pytest's

    person: str
    outcome: TestOutcome
    specimen_ms: TimeMs
    onset_ms: TimeMs | None = None
    isolated_ms: TimeMs | None = None
    laboratory: str | None = None
    officer: str = "system"
    purpose: str = "laboratory report"
    test: TestKind = "pcr"
    result_ms: TimeMs | None = None


class TraceRequest(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `trace-requests`, keyed by person: a trace of the officer's choosing.

    Without `onset_ms` and `specimen_ms` the person must have a case, whose dates are then used. Over several hops
    nobody below `least_risk` (0 to 1) is followed, and the trace stops at `people_most` people or after `seconds_most`;
    None: as the risk numbers in force say.
    """

    request_id: str
    person: str
    officer: str
    purpose: str
    direction: Direction = "forward"
    profile: str | None = None
    onset_ms: TimeMs | None = None
    specimen_ms: TimeMs | None = None
    isolated_ms: TimeMs | None = None
    hops: Number = 1
    least_risk: Share | None = None
    people_most: Number | None = None
    seconds_most: float | None = None


class ContactDecision(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `contact-decisions`, keyed by the case's person: an officer confirms or dismisses one contact."""

    trace_id: str
    person: str
    contact: str
    grade: Literal["confirmed", "dismissed"]
    officer: str
    purpose: str
    decided_at_ms: TimeMs


class InterviewContact(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `interview-contacts`, keyed by the case's person: a contact known from an interview, not from scans.

    They were together in `[start_ms, end_ms)`. A later message about the same contact, times and venue takes its place.
    """

    person: str
    contact: str
    start_ms: TimeMs
    end_ms: TimeMs
    officer: str
    purpose: str
    told_at_ms: TimeMs
    venue: str = ""


class Occupancy(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `occupancy` (compacted), keyed by venue: how many are inside at `log_time_ms`.

    `allowed` is capacity times the share in force (None: capacity unknown); `assumed_end_share` is the share of
    those inside whose end is only assumed. Readers ignore a message whose `position` is not above the last.
    """

    venue: str
    inside: Number
    log_time_ms: TimeMs
    position: Position
    allowed: Number | None = None
    assumed_end_share: float = 0.0


class StayEvidence(Message, frozen=True, omit_defaults=True, kw_only=True):
    """One stay as evidence: `[start_ms, end_ms)`, whether its end is only assumed, and whether a self-reported visit
    is part of it."""

    start_ms: DerivedMs
    end_ms: DerivedMs
    end_assumed: bool = False
    self_reported: bool = False


class SharedStay(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Why someone is a contact: the shared part `[start_ms, end_ms)` of two stays at one venue, and both stays.

    `score` is what this part counts under a profile that scores, by the profile's own scale.
    `case_stay` is that of the case, or at a later hop that of the contact who exposed this one; `category` the venue's.
    `told_by` is the officer who heard of it in an interview; without one it was found by scans.
    """

    venue: str
    start_ms: DerivedMs
    end_ms: DerivedMs
    minutes: float
    case_stay: StayEvidence
    contact_stay: StayEvidence
    score: float | None = None
    category: str = ""
    told_by: str | None = None


class Contact(Message, frozen=True, omit_defaults=True, kw_only=True):
    """A contact of a case under a profile's rule, with all evidence. `possible` until somebody decides.

    Under a profile that scores, `score` is that of the worst day and `level` what the profile calls it.
    `hop` counts the steps from the case; `exposed_by` names those between the case and this person, the last of them
    being who shared the stays in `evidence`. `risk` (0 to 1) is over all exposures within the trace's hops, and
    `earliest_ms` when they may have been infected first (backward: when they may have infected last).
    """

    person: str
    minutes: float
    rule: str
    evidence: tuple[SharedStay, ...]
    grade: Grade = "possible"
    decided_by: str | None = None
    score: float | None = None
    level: Literal["low", "high"] | None = None
    hop: Number = 1
    risk: float | None = None
    earliest_ms: DerivedMs | None = None
    exposed_by: tuple[str, ...] = ()


class SourceOffset(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Up to where one scans partition stands in an answer: `offset` applied, `log_time_ms` reached."""

    partition: Partition
    offset: Offset
    log_time_ms: LogTimeMs


class Trace(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `traces` (compacted), keyed by trace_id: the whole report of one trace, as it is now.

    `state` is `complete` (every partition answered at the barrier), `behind` (some answered before reaching it:
    `behind_partitions`) or `incomplete` (`missing_partitions` did not answer; it is being retried), or `withdrawn`.
    `revision` grows with every re-run; `position` (revision, when it was made in ms) orders the messages of one trace.
    `cut_by` names the limits but for which it would have gone on: `hops`, `people`, `seconds`; `risk_numbers` is the
    version of the numbers that made the risks.
    A trace stands until log time `standing_until_ms`: what changes until then comes as another report; then it has
    `ended`.
    """

    trace_id: str
    case_id: str
    person: str
    direction: Direction
    profile: str
    profile_version: str
    officer: str
    purpose: str
    state: TraceState
    revision: Number
    position: Position
    requested_at_ms: TimeMs
    window_start_ms: DerivedMs
    window_end_ms: DerivedMs
    as_of_ms: TimeMs | None = None
    as_of: tuple[SourceOffset, ...] = ()
    missing_partitions: tuple[Partition, ...] = ()
    behind_partitions: tuple[Partition, ...] = ()
    contacts: tuple[Contact, ...] = ()
    hops: Number = 1
    least_risk: Share | None = None
    cut_by: tuple[Limit, ...] = ()
    risk_numbers: str = ""
    standing_until_ms: DerivedMs | None = None
    ended: bool = False


class Case(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `cases` (compacted), keyed by case_id: one episode of a person, its facts as last revised."""

    case_id: str
    person: str
    specimen_ms: TimeMs
    onset_ms: TimeMs | None = None
    isolated_ms: TimeMs | None = None
    withdrawn: bool = False
    specimens_ms: tuple[TimeMs, ...] = ()
    revision: Number = 1
    position: Position = (-1, 0)


class Cluster(Message, frozen=True, omit_defaults=True, kw_only=True):
    """One cluster: within `[start_ms, end_ms)`, whole slots, `cases` different cases were at the venue.

    `category` is the venue's when the first of their visits began; `rule` names what raised it
    (`default@2021-10-21 * either`: rules and version, category, visits counted); `slot_cases` is how many cases each of
    its slots has, first to last.
    """

    cluster_id: str
    category: str
    start_ms: DerivedMs
    end_ms: DerivedMs
    cases: Number
    case_ids: tuple[str, ...]
    risk: float
    rule: str
    slot_cases: tuple[Number, ...] = ()


class VenueClusters(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `clusters` (compacted), keyed by venue: all clusters of a venue that begin at or after `since_ms`, as now.

    One that was told before, begins no earlier than that (None: whenever) and is not among them is withdrawn; an
    earlier one stands as last told. Readers ignore a message whose `position` is below the last.
    """

    venue: str
    log_time_ms: TimeMs
    position: Position
    clusters: tuple[Cluster, ...] = ()
    since_ms: DerivedMs | None = None


class DeadLetter(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `dead-letters`: what could not be accepted, with its bytes. `letter_id` is its origin; take an id once.

    Of a row of a block `value` is the row alone, as a message of its topic. Of more bytes than a record of any topic
    holds, `value` has the first ones, and `size` says how many there were.
    """

    letter_id: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    row: int
    at_ms: TimeMs
    key: bytes | None = None
    value: bytes = b""
    size: int | None = None


class TraceQuery(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `trace-queries`, one to every partition: whom did this person meet, at the cut of a barrier?

    `kind` is `ask`, or `deadline`: then answer with what is there. `profile_json` is the whole profile, so that
    every partition applies the same version. The answer goes to `reply_partition` of `trace-answers`.

    At a later `hop` the question is about `people`, each within `[since_ms, until_ms)` of their own, and cut where the
    first hop was: at log time `as_of_ms`, by a partition that has come to `as_of`.
    """

    query_id: str
    trace_id: str
    kind: Literal["ask", "deadline"]
    reply_partition: Partition
    person: str
    direction: Direction
    window_start_ms: DerivedMs
    window_end_ms: DerivedMs
    profile_json: msgspec.Raw = msgspec.Raw(b"null")
    hop: Number = 1
    people: tuple[str, ...] = ()
    since_ms: tuple[BoundMs, ...] = ()
    until_ms: tuple[BoundMs, ...] = ()
    as_of_ms: TimeMs | None = None
    as_of: tuple[SourceOffset, ...] = ()


MEETING_COLUMNS = (
    "exposer",  # index into the question's people
    "other",  # index into people
    "venue",  # index into venues
    "category",  # index into categories
    "start_ms",  # the shared part
    "end_ms",
    "exposer_start_ms",  # both stays, whole
    "exposer_end_ms",
    "other_start_ms",
    "other_end_ms",
    "assumed",  # bits. 1: the exposer's end is only assumed; 2: the other's is; 4: self-reported is part of the
    # exposer's stay; 8: of the other's
)
"""The columns of `MeetingRows.rows`."""


class MeetingRows(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Who met whom, many at once: `columns` is zstd of little-endian int64, column-major (len(MEETING_COLUMNS), n).

    Where all people are pseudonyms of one key, `pseudonyms` holds 16 bytes of each, and `people` is empty.
    Older workers sent zlib, and before that `rows`, row-major, always with `people`: so coordinators are upgraded
    before places.
    """

    people: tuple[str, ...] = ()
    key_id: str = ""
    pseudonyms: bytes = b""
    venues: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    rows: bytes = b""
    columns: bytes = b""


class TraceAnswer(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Topic `trace-answers`: what one partition of `visits` knows, with the exact cut it stands at.

    Every `hop` is answered with `meetings`, the first with the case as the only exposer. `shared` is how older workers
    answered the first: so coordinators are upgraded before places.
    `kind` is `answer`, `behind` (the deadline came first) or `not_ready` (still rebuilding). `changed` answers no
    question: something that the standing trace watches has changed by `as_of`. `deadline`, `overdue` and `retry` are
    the coordinator's own reminders to itself, of no partition (-1). The key is the case's person. `erasure` comes from
    the registry: forget the person of the key, who may be in anybody's reports, before `at_ms`.
    """

    query_id: str
    trace_id: str
    kind: Literal["answer", "behind", "not_ready", "deadline", "overdue", "retry", "changed", "erasure"]
    partition: Annotated[int, msgspec.Meta(ge=-1, le=NUMBER_MOST)]
    as_of_ms: TimeMs | None = None
    as_of: tuple[SourceOffset, ...] = ()
    shared: tuple[tuple[str, SharedStay], ...] = ()
    at_ms: TimeMs = 0
    hop: Number = 1
    meetings: MeetingRows | None = None
    part: Number = 0
    parts: Number = 1

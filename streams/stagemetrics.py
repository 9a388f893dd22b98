"""The metrics that only one role tells, by role. The rules of `streams.metrics` hold here too."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from streams.metrics import SECONDS, WAITS

_PEOPLE: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)

SCANS: Final = Counter("lacak_scans_total", "Scans accepted, by kind: in, out or refused.", ["kind"])
CHECK_INS: Final = Counter(
    "lacak_check_ins_total", "Check-ins accepted, by the venue's category and region.", ["category", "region"]
)
LATE_SCANS: Final = Counter("lacak_late_scans_total", "Scans that came later than the horizon: visits marked late.")
SCAN_LATENESS: Final = Histogram(
    "lacak_scan_lateness_seconds",
    "How long after its own time a scan arrived.",
    buckets=(1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 259_200.0),
)

OCCUPANCY_SECONDS: Final = Histogram(
    "lacak_occupancy_seconds", "Time from a scan's record to the counts it changes being acknowledged.", buckets=WAITS
)
PEOPLE_INSIDE: Final = Gauge("lacak_people_inside", "People inside venues now.", ["partition"])
VENUES: Final = Gauge(
    "lacak_venues",
    "Venues with people inside, by how full they are: unlimited, below_80, from_80, full, over.",
    ["partition", "fullness"],
)
INDEX_VISITS: Final = Gauge("lacak_index_visits", "Visits in the index.", ["partition"])
INDEX_BYTES: Final = Gauge(
    "lacak_index_bytes", "Memory that a partition's index takes, without its files.", ["partition"]
)
INDEX_PEOPLE: Final = Gauge("lacak_index_people", "People in the worker's directory, which its indexes share.")
CLUSTERS: Final = Gauge("lacak_clusters", "Clusters of cases that stand.", ["partition"])
WATCHES: Final = Gauge("lacak_watches", "Standing traces that a partition watches for.", ["partition"])
QUESTIONS: Final = Gauge("lacak_questions_open", "Questions of traces that wait for their barriers.", ["partition"])
ANSWERS: Final = Counter("lacak_answers_total", "Answers to traces: answer, behind or not_ready.", ["kind"])
ANSWER_SECONDS: Final = Histogram("lacak_answer_seconds", "Time to make an answer to a trace.", buckets=SECONDS)

TRACES: Final = Gauge(
    "lacak_traces", "Traces that are kept, by state: asked, complete, incomplete, ...; ended: it stands no longer.",
    ["direction", "state"],
)  # fmt: skip
CASES: Final = Counter("lacak_cases_total", "Cases opened, revised and withdrawn.", ["change"])
REPORTS: Final = Counter("lacak_reports_total", "Reports of traces told, by state.", ["direction", "state"])
REPORT_SECONDS: Final = Histogram(
    "lacak_report_seconds",
    "Time from the arrival of what asked for a trace to its first whole report being acknowledged.",
    ["direction"],
    buckets=WAITS,
)
REPORT_CONTACTS: Final = Histogram(
    "lacak_report_contacts", "Contacts in the first whole report of a trace.", ["direction"], buckets=_PEOPLE
)
DECISIONS: Final = Counter("lacak_contact_decisions_total", "Contacts confirmed or dismissed.", ["decision"])

STATUS_CHANGES: Final = Counter("lacak_status_changes_total", "Statuses told to doors, by colour.", ["colour"])
STATUS_SECONDS: Final = Histogram(
    "lacak_status_seconds", "Time from a health record's arrival to what doors are told of it being acknowledged.",
    buckets=WAITS,
)  # fmt: skip

DATABASE_SECONDS: Final = Histogram(
    "lacak_database_seconds", "Time of a transaction in PostgreSQL.", ["topic"], buckets=SECONDS
)
DATABASE_WAIT_SECONDS: Final = Histogram(
    "lacak_database_wait_seconds", "Time that a batch waited for the connection to PostgreSQL.", buckets=SECONDS
)
DATABASE_CONNECTED: Final = Gauge("lacak_database_connected", "1 while there is a connection to PostgreSQL, else 0.")
DATABASE_CONNECTS: Final = Counter("lacak_database_connects_total", "Connections made to PostgreSQL.")
DATABASE_FAILURES: Final = Counter("lacak_database_failures_total", "Transactions that failed and were tried again.")

STAGES: Final = {
    "visits": (SCANS, CHECK_INS, LATE_SCANS, SCAN_LATENESS),
    "places": (
        OCCUPANCY_SECONDS, PEOPLE_INSIDE, VENUES, INDEX_VISITS, INDEX_BYTES, INDEX_PEOPLE, CLUSTERS, WATCHES, QUESTIONS,
        ANSWERS, ANSWER_SECONDS,
    ),
    "tracing": (TRACES, CASES, REPORTS, REPORT_SECONDS, REPORT_CONTACTS, DECISIONS),
    "status": (STATUS_CHANGES, STATUS_SECONDS),
    "recorder": (
        DATABASE_SECONDS, DATABASE_WAIT_SECONDS, DATABASE_CONNECTED, DATABASE_CONNECTS, DATABASE_FAILURES,
    ),
}  # fmt: skip
"""What each role tells besides what every worker does."""

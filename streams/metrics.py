"""Every metric of the workers, in one place: what each worker tells, whatever its role (docs/metrics.md).

Base units; labels are topics, partitions, reasons and other words of which there are few, never ids. To every sample a
worker adds the label `stage`, its role (`schemas.exposition`). What only one role tells is in `streams.stagemetrics`.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Info

SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
WAITS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""For what an operator promises: finer around a few seconds."""

_PLACE: Final = ["topic", "partition"]

WORKER: Final = Info("lacak_worker", "What this process is: its role and index.")

RECORDS_IN: Final = Counter("lacak_records_in_total", "Records taken by agents.", ["topic"])
EVENTS_IN: Final = Counter(
    "lacak_events_in_total", "Events in the records taken: scans, rows of blocks, else messages.", ["topic"]
)
BATCHES_IN: Final = Counter("lacak_batches_in_total", "Batches taken by agents.", ["topic"])
IN_PROGRESS: Final = Gauge("lacak_in_progress_records", "Records that an agent has taken and not yet done.", ["topic"])
BATCH_SECONDS: Final = Histogram(
    "lacak_batch_seconds", "Time from taking a batch to having done it.", ["topic"], buckets=SECONDS
)
RECORDS_OUT: Final = Counter("lacak_records_out_total", "Records acknowledged by the brokers.", ["topic"])
EVENTS_OUT: Final = Counter(
    "lacak_events_out_total", "Events in the records sent: rows of blocks, else messages.", ["topic"]
)
BYTES_OUT: Final = Counter("lacak_bytes_out_total", "Bytes of those records, before compression.", ["topic"])
OUTSTANDING: Final = Gauge("lacak_outstanding_sends", "Records sent and not yet acknowledged.")
ACKNOWLEDGE_SECONDS: Final = Histogram(
    "lacak_acknowledge_seconds", "Time until the brokers acknowledged a batch of records.", buckets=SECONDS
)
SEND_ERRORS: Final = Counter("lacak_send_errors_total", "Sends that the brokers refused for good.")

LAG_RECORDS: Final = Gauge("lacak_lag_records", "Records that the partition has and the agent has not done.", _PLACE)
LAG_SECONDS: Final = Gauge("lacak_lag_seconds", "How old the oldest record not done may be; 0: none is left.", _PLACE)
LOG_TIME: Final = Gauge("lacak_log_time_seconds", "Log time reached, in seconds since the epoch.", _PLACE)
EVENT_TIME_LAG: Final = Gauge(
    "lacak_event_time_lag_seconds", "How far the log time reached is behind the clock.", _PLACE
)
DEAD_LETTERS: Final = Counter("lacak_dead_letters_total", "What was set aside, and why.", ["topic", "reason"])

HELD: Final = Gauge("lacak_partitions_held", "Partitions that are this worker's.", ["topic"])
REBALANCES: Final = Counter("lacak_rebalances_total", "Rebalances this worker went through.")
REBALANCING: Final = Gauge(
    "lacak_rebalance_in_progress", "1 while the worker stands still because its group divides its partitions, else 0."
)
REBALANCE_SECONDS: Final = Histogram(
    "lacak_rebalance_seconds", "Time from a rebalance's begin until partitions are read again.", buckets=WAITS
)
COMMITS: Final = Counter("lacak_commits_total", "Commits of offsets, done or refused.", ["result"])
COMMIT_AGE: Final = Gauge("lacak_commit_age_seconds", "Time for which offsets that could be committed have not been.")
LOOP_DELAY: Final = Gauge("lacak_loop_delay_seconds", "By how much the last of the loop's turns a second came late.")

RECOVERING: Final = Gauge(
    "lacak_recovery_in_progress", "1 while the state lacks what was in the log when reading began, else 0.", _PLACE
)
RECOVERY_SECONDS: Final = Gauge("lacak_recovery_seconds", "How long the recovery under way, or the last, took.", _PLACE)
RECOVERY_RATIO: Final = Gauge(
    "lacak_recovery_ratio", "How much of what was to be read for the state has been read, 0 to 1.", _PLACE
)
SNAPSHOT_AGE: Final = Gauge(
    "lacak_snapshot_age_seconds", "Age of the last snapshot, or time since the partition was taken up.", _PLACE
)
UNSAVED: Final = Gauge("lacak_unsaved_seconds", "Time for which the state has held what is in no snapshot.", _PLACE)
SNAPSHOT_SECONDS: Final = Histogram(
    "lacak_snapshot_seconds", "Time to acknowledge outputs and write a snapshot.", ["topic"], buckets=SECONDS
)
SNAPSHOT_BYTES: Final = Gauge("lacak_snapshot_bytes", "Size of the last snapshot.", _PLACE)

WORKERS: Final = (
    WORKER, RECORDS_IN, EVENTS_IN, BATCHES_IN, IN_PROGRESS, BATCH_SECONDS, RECORDS_OUT, EVENTS_OUT, BYTES_OUT,
    OUTSTANDING, ACKNOWLEDGE_SECONDS, SEND_ERRORS, LAG_RECORDS, LAG_SECONDS, DEAD_LETTERS, HELD, REBALANCES,
    REBALANCING, REBALANCE_SECONDS, COMMITS, COMMIT_AGE, LOOP_DELAY,
)  # fmt: skip
"""What every worker tells."""

TIMED: Final = (LOG_TIME, EVENT_TIME_LAG)
"""What the roles tell whose log time moves on by itself: visits and places."""

STATES: Final = (
    RECOVERING, RECOVERY_SECONDS, RECOVERY_RATIO, SNAPSHOT_AGE, UNSAVED, SNAPSHOT_SECONDS, SNAPSHOT_BYTES,
)  # fmt: skip
"""What workers tell that keep states: visits, places and status."""

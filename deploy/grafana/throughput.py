"""The dashboard that operators watch all day: is it alive, does it keep up, what fails, who holds what."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from deploy.grafana.panels import GREEN, RED, YELLOW, Query, Step, board, choices, graph, listing, number, spread

_RATE = "[$__rate_interval]"


def _quantile(share: float, metric: str, by: str = "", more: str = "") -> str:
    labels = ", ".join(["le", *by.split()])
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{@{more}}}{_RATE})))"


def _alive() -> list[object]:
    late = [Step(None, GREEN), Step(10, YELLOW), Step(30, RED)]
    return [
        number(
            "Heartbeat",
            """Age of the newest heartbeat that has gone the whole way: through scans, visits and counts into
            PostgreSQL. One comes every few seconds; when this grows, something on the way stands still, and
            the panel Heartbeat by stage says where.""",
            "s", Query('max(lacak_heartbeat_age_seconds{@, stage="recorder"})', "age"), decimals=1,
            steps=[Step(None, GREEN), Step(15, YELLOW), Step(30, RED)], none="no recorder",
        ),
        number(
            "Scans",
            "Scans a second that the visits workers take.",
            "eps", Query(f'sum(rate(lacak_events_in_total{{@, topic="scans"}}{_RATE}))', "scans"), decimals=1,
        ),
        number(
            "Greatest lag",
            "How old the oldest record may be that a worker has not done; 0: nothing waits. Of a partition that "
            "nobody holds nobody tells it: then the heartbeat is old.",
            "s", Query("max(lacak_lag_seconds{@})", "lag"), decimals=1, steps=late,
        ),
        number(
            "Counted within two seconds",
            """Share of scans whose place's count was with the brokers within two seconds of the scan's record.
            Promised: 99 of 100. Counts are told once a second, so half a second of it is waiting for that.""",
            "percentunit",
            Query(
                f'sum(rate(lacak_occupancy_seconds_bucket{{@, le="2.0"}}{_RATE}))'
                f" / sum(rate(lacak_occupancy_seconds_count{{@}}{_RATE}))",
                "within two seconds",
            ),
            decimals=1, steps=[Step(None, RED), Step(0.95, YELLOW), Step(0.99, GREEN)], none="no scans",
        ),
        number(
            "Dead letters",
            "What could not be accepted in the time shown. Nothing of it is lost: `lacak dead-letters list`.",
            "short",
            Query("round(sum(increase(lacak_dead_letters_total{@}[$__range]))) or vector(0)", "letters"), decimals=0,
            steps=[Step(None, GREEN), Step(1, YELLOW)],
        ),
        number(
            "Not answering",
            "Workers and gateways that Prometheus knows and that do not answer it now.",
            "short", Query("count(up{@} == 0) or vector(0)", "processes"), decimals=0,
            steps=[Step(None, GREEN), Step(1, RED)],
        ),
    ]  # fmt: skip


def _flow() -> list[object]:
    return [
        graph(
            "Events in",
            """Events a second that each stage takes, by topic: scans, rows of blocks, else messages. In a quiet chain
            visits takes as many scans as doors send.""",
            "eps",
            Query(f"sum by (stage, topic) (rate(lacak_events_in_total{{@}}{_RATE}))", "{{stage}}: {{topic}}"),
        ),
        graph(
            "Events out",
            "Events a second in what each stage sends, by topic.",
            "eps",
            Query(f"sum by (stage, topic) (rate(lacak_events_out_total{{@}}{_RATE}))", "{{stage}}: {{topic}}"),
        ),
        graph(
            "In progress",
            "Records that agents have taken and not yet done.",
            "short",
            Query("sum by (stage, topic) (lacak_in_progress_records{@})", "{{stage}}: {{topic}}"),
        ),
    ]


def _lag() -> list[object]:
    return [
        graph(
            "Lag in seconds",
            """How old the oldest record may be that a stage has not done, of its partitions the worst. Beyond 30 s and
            growing it raises LacakLagGrowing.""",
            "s",
            Query("max by (stage, topic) (lacak_lag_seconds{@})", "{{stage}}: {{topic}}"),
            steps=[Step(None, GREEN), Step(30, RED)],
        ),
        graph(
            "Lag in records",
            "Records that partitions hold and a stage has not done, by the broker's own ends. A record may be a block.",
            "short",
            Query("sum by (stage, topic) (lacak_lag_records{@})", "{{stage}}: {{topic}}"),
        ),
        graph(
            "Log time behind the clock",
            """How far the log time of the slowest partition is behind the clock. It stands still where nothing arrives
            and nobody ticks; while scans flow it is below 2 s.""",
            "s",
            Query("max by (stage, topic) (lacak_event_time_lag_seconds{@})", "{{stage}}: {{topic}}"),
        ),
    ]


def _latency() -> list[object]:
    return [
        graph(
            "From a scan to the count of its place",
            "Time from a scan's record to the acknowledged count that it changed. Promised: 99 of 100 within 2 s; "
            "counts are told once a second.",
            "s",
            *(Query(_quantile(share, "lacak_occupancy_seconds"), f"{share:.0%} within") for share in (0.5, 0.95, 0.99)),
            steps=[Step(None, GREEN), Step(2, RED)],
        ),
        graph(
            "From a test to its report",
            """Time from the arrival of a positive test, or of an officer's request, to its first whole report.
            Promised: 99 of 100 within a second. Empty while nobody is traced.""",
            "s",
            *(
                Query(_quantile(share, "lacak_report_seconds", "direction"), f"{{{{direction}}}}: {share:.0%} within")
                for share in (0.5, 0.95)
            ),
            steps=[Step(None, GREEN), Step(1, RED)],
        ),
        graph(
            "From a health record to the door",
            "Time from a health record's arrival to the acknowledged status that doors are told.",
            "s",
            *(Query(_quantile(share, "lacak_status_seconds"), f"{share:.0%} within") for share in (0.5, 0.95)),
        ),
        spread(
            "Scan to count, all of them",
            "How many scans a second took each of these times. A second band above says that a part of them waits.",
            "s",
            Query(f"sum by (le) (rate(lacak_occupancy_seconds_bucket{{@}}{_RATE}))", "{{le}}"),
        ),
        graph(
            "Heartbeat by stage",
            """Age of the newest heartbeat at each stage, of its partitions the oldest. The first stage on the way
            (visits, places, recorder) where it grows is the one that waits.""",
            "s",
            Query("max by (stage, topic) (lacak_heartbeat_age_seconds{@})", "{{stage}}: {{topic}}"),
            steps=[Step(None, GREEN), Step(30, RED)],
        ),
        graph(
            "Time of a batch",
            "How long agents take for a batch, 99 of 100 within.",
            "s",
            Query(_quantile(0.99, "lacak_batch_seconds", "stage topic"), "{{stage}}: {{topic}}"),
        ),
    ]


def _skew() -> list[object]:
    return [
        graph(
            "Lag by partition",
            "The five partitions with the greatest lag. One alone has a busy place or person, or a slow worker.",
            "s",
            Query(
                "topk(5, max by (stage, topic, partition) (lacak_lag_seconds{@}))",
                "{{stage}}: {{topic}} {{partition}}",
            ),
        ),
        graph(
            "Visits in the index, by partition",
            "How many visits each partition of places holds: about the same, unless few places have most visits.",
            "short",
            Query("max by (partition) (lacak_index_visits{@})", "partition {{partition}}"),
        ),
        graph(
            "The fullest partition against the mean",
            """Times the mean that the greatest partition holds: of visits in the index, of people inside, of people
            known to a state. 1: all are equal.""",
            "none",
            Query("max(lacak_index_visits{@}) / avg(lacak_index_visits{@})", "visits in the index"),
            Query("max(lacak_people_inside{@}) / avg(lacak_people_inside{@})", "people inside"),
            Query(
                "max by (stage) (lacak_state_people{@}) / avg by (stage) (lacak_state_people{@})",
                "people of {{stage}}",
            ),
        ),
    ]


def _failures() -> list[object]:
    return [
        graph(
            "Dead letters by reason",
            "What is set aside, each second. It should be empty; the reason says who has to look.",
            "eps",
            Query(
                f"sum by (topic, reason) (rate(lacak_dead_letters_total{{@}}{_RATE}))", "{{topic}}: {{reason}}"
            ),
        ),
        graph(
            "Failures",
            """Commits refused, sends that the brokers refused for good, transactions and rounds of sending that failed
            and were tried again, answers of traces that came behind or not at all.""",
            "eps",
            Query(f'sum(rate(lacak_commits_total{{@, result!="done"}}{_RATE})) or vector(0)', "commits refused"),
            Query(f"sum(rate(lacak_send_errors_total{{@}}{_RATE}))", "sends refused"),
            Query(f"sum(rate(lacak_database_failures_total{{@}}{_RATE}))", "transactions again"),
            Query(f"sum(rate(lacak_gateway_send_failures_total{{@}}{_RATE}))", "gateway's sending again"),
            Query(f'sum(rate(lacak_answers_total{{@, kind!="answer"}}{_RATE})) or vector(0)', "answers behind"),
        ),
        listing(
            "Alerts",
            "What is pending or firing now. Each has a page in docs/runbooks.",
            "short",
            Query(
                'sum by (alertname, severity, alertstate, stage, instance) (ALERTS{alertname=~"Lacak.*"})',
                "{{alertname}} {{alertstate}}",
            ),
            names={
                "alertname": "alert", "severity": "severity", "alertstate": "state", "stage": "stage",
                "instance": "instance", "Value": "",
            },
        ),
    ]  # fmt: skip


def _groups() -> list[object]:
    return [
        graph(
            "Partitions held",
            "Partitions of each worker, by topic. After a worker has gone, the others of its role hold its partitions.",
            "short",
            Query("sum by (stage, instance, topic) (lacak_partitions_held{@})", "{{stage}} {{instance}}: {{topic}}"),
            stacked=True,
        ),
        graph(
            "Rebalances",
            "Rebalances within the last minutes, by role.",
            "short",
            Query("sum by (stage) (increase(lacak_rebalances_total{@}[$__rate_interval]))", "{{stage}}"),
        ),
        graph(
            "Time of a rebalance",
            "Time from the begin of a rebalance until partitions are read again, 95 of 100 within.",
            "s",
            Query(_quantile(0.95, "lacak_rebalance_seconds", "stage"), "{{stage}}"),
        ),
        graph(
            "Age of what is not committed",
            "For how long a worker has had offsets that it could commit. It goes up and down with the snapshots.",
            "s",
            Query("max by (stage, instance) (lacak_commit_age_seconds{@})", "{{stage}} {{instance}}"),
            steps=[Step(None, GREEN), Step(120, RED)],
        ),
        graph(
            "State that is in no snapshot",
            "For how long states have held what a restart would have to read again. Snapshots are made every 30 s.",
            "s",
            Query("max by (stage, topic) (lacak_unsaved_seconds{@})", "{{stage}}: {{topic}}"),
            steps=[Step(None, GREEN), Step(300, RED)],
        ),
        graph(
            "Rebuilding",
            """How much of what a partition's state needs has been read, the partition that has least. 1: nothing is
            being rebuilt. Until then traces lack its answer.""",
            "percentunit",
            Query("min by (stage, topic) (lacak_recovery_ratio{@})", "{{stage}}: {{topic}}"),
            most=1,
        ),
    ]


def _kafka() -> list[object]:
    return [
        graph(
            "Time until acknowledged",
            "Time until the brokers acknowledged what a worker sent, 99 of 100 within.",
            "s",
            Query(_quantile(0.99, "lacak_acknowledge_seconds", "stage"), "{{stage}}"),
        ),
        graph(
            "Sent and not acknowledged",
            "Records that wait for the brokers. A worker waits at 2,000: then the brokers are what is slow.",
            "short",
            Query("sum by (stage, instance) (lacak_outstanding_sends{@})", "{{stage}} {{instance}}"),
            steps=[Step(None, GREEN), Step(2000, RED)],
        ),
        graph(
            "Bytes sent",
            "Bytes a second of the records sent, before compression, by topic.",
            "Bps",
            Query(f"sum by (topic) (rate(lacak_bytes_out_total{{@}}{_RATE}))", "{{topic}}"),
            stacked=True,
        ),
        graph(
            "Records in a batch",
            "Records that a worker takes at once. It grows with lag: much at once is cheaper.",
            "short",
            Query(
                f"sum by (stage, topic) (rate(lacak_records_in_total{{@}}{_RATE}))"
                f" / sum by (stage, topic) (rate(lacak_batches_in_total{{@}}{_RATE}))",
                "{{stage}}: {{topic}}",
            ),
        ),
        graph(
            "Commits",
            "Commits of offsets a second, done and refused.",
            "ops",
            Query(f"sum by (stage, result) (rate(lacak_commits_total{{@}}{_RATE}))", "{{stage}}: {{result}}"),
        ),
        graph(
            "PostgreSQL",
            "Time of the recorder's transactions by topic, 95 of 100 within, and how long a batch waited for its turn.",
            "s",
            Query(_quantile(0.95, "lacak_database_seconds", "topic"), "{{topic}}"),
            Query(_quantile(0.95, "lacak_database_wait_seconds"), "waiting"),
        ),
    ]


def _gateways() -> list[object]:
    return [
        graph(
            "Requests",
            "Requests a second, by route and status.",
            "reqps",
            Query(f"sum by (route, status) (rate(lacak_gateway_requests_total{{@}}{_RATE}))", "{{route}} {{status}}"),
        ),
        graph(
            "Time of a decision",
            "Time from a request's head to its answer, for the route that decides at doors.",
            "s",
            *(
                Query(
                    _quantile(share, "lacak_gateway_request_seconds", more=', route="/v1/scans"'),
                    f"{share:.0%} within",
                )
                for share in (0.5, 0.99)
            ),
        ),
        graph(
            "Refused requests",
            "Requests refused a second, by the kind of problem: docs/gateway.md says what each means.",
            "reqps",
            Query(f"sum by (problem) (rate(lacak_gateway_problems_total{{@}}{_RATE}))", "{{problem}}"),
        ),
        graph(
            "Waiting in the spool",
            "Messages that wait at gateways for the brokers. While these are away all of them wait, and none is lost.",
            "short",
            Query("sum by (instance) (lacak_gateway_spool_messages{@})", "{{instance}}"),
        ),
        graph(
            "Brokers away",
            "For how long the brokers have taken nothing from a gateway.",
            "s",
            Query("max by (instance) (lacak_gateway_brokers_away_seconds{@})", "{{instance}}"),
            steps=[Step(None, GREEN), Step(30, RED)],
        ),
        graph(
            "Age of the copies",
            "When a gateway last read its copies: it uses no counts older than 5 minutes, no statuses older than an "
            "hour. How old what it reads is tells its heartbeat.",
            "s",
            Query("max by (instance, copy) (lacak_gateway_copy_age_seconds{@})", "{{instance}}: {{copy}}"),
        ),
    ]


def _resources() -> list[object]:
    return [
        graph(
            "CPU",
            "Cores that each process uses. A worker has one loop: near 1 it can do no more, its role needs another.",
            "none",
            Query(f"sum by (stage, instance) (rate(process_cpu_seconds_total{{@}}{_RATE}))", "{{stage}} {{instance}}"),
        ),
        graph(
            "Memory",
            "Resident memory of each process.",
            "bytes",
            Query("sum by (stage, instance) (process_resident_memory_bytes{@})", "{{stage}} {{instance}}"),
            stacked=True,
        ),
        graph(
            "Disk free",
            "Share of the disk of the data folder that is free.",
            "percentunit",
            Query(
                "min by (instance) (lacak_disk_free_bytes{@}) / min by (instance) (lacak_disk_size_bytes{@})",
                "{{instance}}",
            ),
            most=1,
        ),
        graph(
            "Delay of the loop",
            "By how much a worker's turn that is due each second came late. Beyond a second its CPU is not enough.",
            "s",
            Query("max by (stage, instance) (lacak_loop_delay_seconds{@})", "{{stage}} {{instance}}"),
        ),
        graph(
            "Open files",
            "Files and connections that each process holds, of those it may.",
            "percentunit",
            Query(
                "max by (stage, instance) (process_open_fds{@}) / max by (stage, instance) (process_max_fds{@})",
                "{{stage}} {{instance}}",
            ),
        ),
        listing(
            "What runs",
            "Version of each process, and since when it runs.",
            "dateTimeAsIso",
            Query(
                "max by (stage, instance, version, python) (lacak_build_info{@})"
                " * on (instance) group_left () (max by (instance) (process_start_time_seconds{@}) * 1000)",
                "{{stage}} {{instance}} {{version}}",
            ),
            names={"stage": "stage", "instance": "instance", "version": "Lacak", "python": "Python", "Value": "since"},
        ),
    ]


def throughput() -> dashboard.Dashboard:
    """The dashboard."""
    made = board(
        "lacak-throughput",
        "Lacak: throughput",
        "Is it alive, does it keep up, what fails. From the top: alive, flow, lag, latency; below, why.",
        [
            ("Is it alive?", _alive()),
            ("Flow", _flow()),
            ("Lag", _lag()),
            ("Latency", _latency()),
            ("What fails", _failures()),
            ("Skew between partitions", _skew()),
            ("Workers and their partitions", _groups()),
            ("Kafka and PostgreSQL", _kafka()),
            ("Gateways", _gateways()),
            ("Resources", _resources()),
        ],
        refresh="10s",
        since="now-1h",
    )
    return choices(made, "lacak_build_info")

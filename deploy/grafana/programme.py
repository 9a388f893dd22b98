"""The dashboard of the programme: where people are, who is traced and how quickly, what doors say."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from deploy.grafana.panels import GREEN, RED, YELLOW, Query, Step, bars, board, choices, graph, number

_RATE = "[$__rate_interval]"
_RANGE = "[$__range]"


def _now() -> list[object]:
    return [
        number(
            "People inside",
            "People inside registered places now, as scans tell it; many of their ends are only assumed.",
            "short", Query("sum(lacak_people_inside{@})", "people"), decimals=0,
        ),
        number(
            "Places full",
            "Places with as many people inside as are allowed, or more.",
            "short", Query('sum(lacak_venues{@, fullness=~"full|over"}) or vector(0)', "places"), decimals=0,
            steps=[Step(None, GREEN), Step(1, YELLOW)],
        ),
        number(
            "Check-ins an hour",
            "Check-ins accepted, at the pace of the last minutes.",
            "short", Query(f'3600 * sum(rate(lacak_scans_total{{@, kind="in"}}{_RATE}))', "check-ins"), decimals=0,
        ),
        number(
            "New cases",
            "Cases opened in the time shown.",
            "short",
            Query(f'round(sum(increase(lacak_cases_total{{@, change="opened"}}{_RANGE}))) or vector(0)', "cases"),
            decimals=0,
        ),
        number(
            "Traces that lack an answer",
            "Reports that say of themselves that they are not whole: a partition has not answered, or answered behind.",
            "short", Query('sum(lacak_traces{@, state=~"incomplete|behind"}) or vector(0)', "traces"), decimals=0,
            steps=[Step(None, GREEN), Step(1, RED)],
        ),
        number(
            "Clusters",
            "Places and times where several cases were together, as they stand: `lacak clusters`.",
            "short", Query("sum(lacak_clusters{@})", "clusters"), decimals=0,
        ),
    ]  # fmt: skip


def _check_ins() -> list[object]:
    return [
        graph(
            "Check-ins by category",
            "Check-ins a second, by the category of the place.",
            "eps",
            Query(f"sum by (category) (rate(lacak_check_ins_total{{@}}{_RATE}))", "{{category}}"),
            width=12,
            stacked=True,
        ),
        graph(
            "Check-ins by region",
            "Check-ins a second, by the region of the place; the ten with the most.",
            "eps",
            Query(f"topk(10, sum by (region) (rate(lacak_check_ins_total{{@}}{_RATE})))", "{{region}}"),
            width=12,
        ),
        graph(
            "Scans by kind",
            "Scans a second: in, out, refused. Most people who check in never check out.",
            "eps",
            Query(f"sum by (kind) (rate(lacak_scans_total{{@}}{_RATE}))", "{{kind}}"),
        ),
        graph(
            "How late scans come",
            "Time between a scan and its arrival, half and 95 of 100 within. Doors that were offline send late.",
            "s",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate(lacak_scan_lateness_seconds_bucket{{@}}{_RATE})))",
                    f"{share:.0%} within",
                )
                for share in (0.5, 0.95)
            ),
        ),
        graph(
            "Scans that stand alone",
            "Scans a second that came later than the horizon of 3 days: each is a visit of its own, marked late.",
            "eps",
            Query(f"sum(rate(lacak_late_scans_total{{@}}{_RATE}))", "late"),
        ),
    ]


def _places() -> list[object]:
    return [
        graph(
            "Places by how full they are",
            "Places with people inside: below 80% of those allowed, from 80%, full, over, or without a limit.",
            "short",
            Query("sum by (fullness) (lacak_venues{@})", "{{fullness}}"),
            width=12,
            stacked=True,
        ),
        graph(
            "Places near what is allowed",
            """Places from 80% of those allowed, full, and over. Which they are: the dashboard of venues, or
            `lacak occupancy`.""",
            "short",
            Query('sum by (fullness) (lacak_venues{@, fullness=~"from_80|full|over"})', "{{fullness}}"),
            width=12,
        ),
    ]


def _traces() -> list[object]:
    contacts = "lacak_report_contacts"
    return [
        graph(
            "Cases",
            "Cases opened, revised and withdrawn, within the last minutes.",
            "short",
            Query(f"sum by (change) (increase(lacak_cases_total{{@}}{_RATE}))", "{{change}}"),
        ),
        graph(
            "Traces by state",
            "Traces that are kept, by state. A complete trace stands, and is asked again, until its window has passed.",
            "short",
            Query("sum by (state) (lacak_traces{@})", "{{state}}"),
            stacked=True,
        ),
        graph(
            "Time to trace",
            "Time from the arrival of a test or request to the first whole report, half and 95 of 100 within.",
            "s",
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le) (rate(lacak_report_seconds_bucket{{@}}{_RATE})))",
                    f"{share:.0%} within",
                )
                for share in (0.5, 0.95)
            ),
            steps=[Step(None, GREEN), Step(1, RED)],
        ),
        graph(
            "Contacts of a case",
            """Contacts in the first whole report of a trace: the mean, and 90 of 100 have at most. All are
            only possible until somebody decides.""",
            "short",
            Query(
                f"sum by (direction) (rate({contacts}_sum{{@}}{_RATE}))"
                f" / sum by (direction) (rate({contacts}_count{{@}}{_RATE}))",
                "{{direction}}: mean",
            ),
            Query(
                f"histogram_quantile(0.9, sum by (le, direction) (rate({contacts}_bucket{{@}}{_RATE})))",
                "{{direction}}: 90% have at most",
            ),
        ),
        graph(
            "Reports told",
            "Reports of traces within the last minutes, by state: first ones, and those that say something new.",
            "short",
            Query(f"sum by (state) (increase(lacak_reports_total{{@}}{_RATE}))", "{{state}}"),
        ),
        bars(
            "Contacts decided",
            "Contacts that officers confirmed or dismissed in the time shown.",
            "short",
            Query(f"round(sum by (decision) (increase(lacak_contact_decisions_total{{@}}{_RANGE})))", "{{decision}}"),
        ),
        graph(
            "Traces watched for",
            "Standing traces for which places look out, of the partition that has most, and questions that wait.",
            "short",
            Query("max(lacak_watches{@})", "watched"),
            Query("sum(lacak_questions_open{@})", "questions waiting"),
            width=12,
        ),
        graph(
            "Clusters over time",
            "Clusters of cases that stand, over all partitions.",
            "short",
            Query("sum(lacak_clusters{@})", "clusters"),
            width=12,
        ),
    ]


def _doors() -> list[object]:
    return [
        graph(
            "Decisions at doors",
            "What gateways decided, each second: admit, check, refuse, full.",
            "eps",
            Query(f"sum by (outcome) (rate(lacak_gateway_decisions_total{{@}}{_RATE}))", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Colours at doors",
            "Colours of the people whom gateways decided about, each second.",
            "eps",
            Query(f"sum by (colour) (rate(lacak_gateway_colours_total{{@}}{_RATE}))", "{{colour}}"),
            stacked=True,
        ),
        graph(
            "Colours told",
            "Statuses told to doors within the last minutes, by colour: of whom something changed.",
            "short",
            Query(f"sum by (colour) (increase(lacak_status_changes_total{{@}}{_RATE}))", "{{colour}}"),
            stacked=True,
        ),
    ]


def programme() -> dashboard.Dashboard:
    """The dashboard."""
    made = board(
        "lacak-programme",
        "Lacak: programme",
        "Where people are, who is traced and how quickly, what doors say. Counts only: no person and no place by name.",
        [
            ("Now", _now()),
            ("Check-ins", _check_ins()),
            ("Places", _places()),
            ("Cases, traces and clusters", _traces()),
            ("Doors", _doors()),
        ],
        refresh="30s",
        since="now-6h",
    )
    return choices(made, "lacak_build_info")

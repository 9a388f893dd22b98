"""The dashboard of venues, from PostgreSQL, for those who may see single places: never a person, a case or a device.

Its data source connects as a user in the role `lacak_dashboards`, which reads the views of the schema `dashboards` and
nothing else (deploy/migrations/0006_dashboards.sql).
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.panels import POSTGRES, board, sql_graph, sql_number, sql_table

_CHOSEN = "region in (${region:sqlstring}) and category in (${category:sqlstring})"


def _place() -> list[object]:
    return [
        sql_number(
            "Inside now",
            "People inside the place, as last told.",
            "short", "select inside from dashboards.occupancy where venue = ${venue:sqlstring}",
        ),
        sql_number(
            "Allowed",
            "How many may be inside: the capacity times the share in force.",
            "short", "select allowed from dashboards.occupancy where venue = ${venue:sqlstring}",
        ),
        sql_number(
            "How full",
            "People inside, of those allowed. Nothing: the place has no limit.",
            "percentunit", "select share from dashboards.occupancy where venue = ${venue:sqlstring}",
        ),
        sql_number(
            "Ends assumed",
            "Share of those inside whose end is only assumed, as they have not checked out yet.",
            "percentunit", "select assumed_end_share from dashboards.occupancy where venue = ${venue:sqlstring}",
        ),
        sql_number(
            "Entries",
            "People who came in, in the windows shown.",
            "short",
            "select sum(entries) from dashboards.windows"
            " where venue = ${venue:sqlstring} and $__timeFilter(window_start)",
        ),
        sql_number(
            "Highest peak",
            "Most people at once, in the windows shown.",
            "short",
            "select max(peak) from dashboards.windows where venue = ${venue:sqlstring} and $__timeFilter(window_start)",
        ),
        sql_graph(
            "People inside",
            "Peak and mean of each window, and how many are allowed now.",
            "short",
            "select window_start as time, line.name as metric, line.value"
            " from dashboards.windows w left join dashboards.occupancy o using (venue)"
            " cross join lateral (values ('peak', w.peak::double precision), ('mean', w.mean),"
            " ('allowed now', o.allowed::double precision)) as line (name, value)"
            " where venue = ${venue:sqlstring} and $__timeFilter(window_start) order by 1",
            steps=True,
        ),
        sql_graph(
            "Entries and exits",
            "People who came in and went in each window; of the exits, those that are only assumed.",
            "short",
            "select window_start as time, line.name as metric, line.value from dashboards.windows"
            " cross join lateral (values ('entries', entries), ('exits', exits), ('exits assumed', assumed_exits))"
            " as line (name, value) where venue = ${venue:sqlstring} and $__timeFilter(window_start) order by 1",
            steps=True,
        ),
        sql_table(
            "Clusters here",
            "When several cases were together here: how many, not who. `lacak clusters` tells an officer who.",
            "short",
            "select starts, ends, cases, risk, rule, raised from dashboards.clusters"
            " where venue = ${venue:sqlstring} order by starts desc limit 50",
        ),
        sql_table(
            "What staff did",
            "Answers, typed ids, recounts and the like at this door, by hour and kind.",
            "short",
            "select hour, deed, times from dashboards.deeds where venue = ${venue:sqlstring} and $__timeFilter(hour)"
            " order by hour desc, deed limit 200",
        ),
    ]  # fmt: skip


def _all() -> list[object]:
    return [
        sql_table(
            "The fullest places",
            "Places of the chosen regions and categories, the fullest first.",
            "short",
            "select name, category, region, inside, allowed, share as full, log_time as at from dashboards.occupancy"
            f" where {_CHOSEN} order by share desc nulls last, inside desc limit 30",
            units={"full": "percentunit"},
        ),
        sql_table(
            "The busiest places",
            "Entries and highest peak of each place in the time shown, the busiest first.",
            "short",
            "select name, category, region, sum(entries) as entries, max(peak) as peak from dashboards.windows"
            f" where {_CHOSEN} and $__timeFilter(window_start) group by venue, name, category, region"
            " order by entries desc limit 30",
        ),
        sql_table(
            "Places where clusters were raised",
            "Clusters of the chosen regions and categories that began in the time shown, the greatest risk first.",
            "short",
            "select name, category, region, starts, ends, cases, risk from dashboards.clusters"
            f" where {_CHOSEN} and $__timeFilter(starts) order by risk desc, cases desc limit 30",
        ),
        sql_graph(
            "Entries by category",
            "People who came in, by category of the place, for each window.",
            "short",
            "select window_start as time, category as metric, sum(entries) as value from dashboards.windows"
            f" where {_CHOSEN} and $__timeFilter(window_start) group by 1, 2 order by 1",
            steps=True,
        ),
    ]


def venue() -> dashboard.Dashboard:
    """The dashboard."""
    made = board(
        "lacak-venue",
        "Lacak: a venue",
        "One place, and the fullest and busiest of a region. From PostgreSQL, for those who may see single places.",
        [("The place", _place()), ("All places of the chosen regions and categories", _all())],
        refresh="1m",
        since="now-24h",
    )
    made = made.with_variable(
        dashboard.DatasourceVariable("database").label("Data source").type("grafana-postgresql-datasource")
    )
    made = made.with_variable(_choice("region", "select distinct region from dashboards.venues order by 1", many=True))
    made = made.with_variable(
        _choice("category", "select distinct category from dashboards.venues order by 1", many=True)
    )
    return made.with_variable(
        _choice(
            "venue",
            "select name || ' (' || venue || ')' as __text, venue as __value from dashboards.venues"
            f" where {_CHOSEN} order by name, venue",
        )
    )


def _choice(name: str, sql: str, *, many: bool = False) -> dashboard.QueryVariable:
    """A variable whose values a query gives; Grafana quotes them as SQL needs it where several may be chosen."""
    made = dashboard.QueryVariable(name).label(name.capitalize()).datasource(POSTGRES).query(sql)
    made = made.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(many).include_all(many)
    if many:
        made = made.current(model.VariableOption(selected=True, text="All", value="$__all"))
    return made

"""What all dashboards share: panels of a few kinds, the variables that choose what they show, and the JSON of it all.

In a PromQL expression `@` stands for the matchers of the variables, `job=~"$job", instance=~"$instance"`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
PROMETHEUS: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
POSTGRES: Final = model.DataSourceRef(type_val="grafana-postgresql-datasource", uid="${database}")
TAG: Final = "lacak"

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


class Query(NamedTuple):
    """A PromQL expression and what its series are called: `{{label}}` stands for a label's value."""

    expression: str
    legend: str


class Step(NamedTuple):
    """From which value on something has a colour; None: from the least."""

    value: float | None
    colour: str


Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | bargauge.Panel


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    steps: Sequence[Step] = (),
    most: float | None = None,
) -> timeseries.Panel:
    """Lines over time, from zero; with `steps` the last of them is drawn as a line that should not be crossed."""
    panel = timeseries.Panel().line_width(1).fill_opacity(25 if stacked else 8).min(0)
    panel = panel.show_points(kinds.VisibilityMode.NEVER).legend(_legend()).tooltip(_tooltip())
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
    if most is not None:
        panel = panel.max(most)
    if steps:
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphTresholdsStyleMode.DASHED)
        )
    return _asked(_dressed(panel, title, description, unit, width, 8), queries)  # type: ignore[no-any-return]


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    width: int = 4,
    steps: Sequence[Step] = (),
    decimals: int | None = None,
    none: str = "none",
    words: dict[str, tuple[str, str]] | None = None,
) -> stat.Panel:
    """One number with its recent course behind it; `none` is shown where there is nothing, and `words` stand for
    values: text and colour."""
    panel = stat.Panel().graph_mode(kinds.BigValueGraphMode.AREA).no_value(none)
    panel = panel.color_mode(kinds.BigValueColorMode.VALUE).thresholds(_thresholds(steps or [Step(None, BLUE)]))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel = panel.decimals(decimals)
    if words:
        options = {
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
        panel = panel.mappings([model.ValueMap(options=options)])
    return _asked(_dressed(panel, title, description, unit, width, 4), [query])  # type: ignore[no-any-return]


def bars(title: str, description: str, unit: str, query: Query, *, width: int = 8, most: float | None = None) -> Any:
    """The values of now side by side, the greatest first."""
    panel = bargauge.Panel().orientation(kinds.VizOrientation.HORIZONTAL).min(0)
    panel = panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).thresholds(_thresholds([Step(None, BLUE)]))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if most is not None:
        panel = panel.max(most)
    return _asked(_dressed(panel, title, description, unit, width, 8), [query], instant=True)


def spread(title: str, description: str, unit: str, query: Query, *, width: int = 8) -> heatmap.Panel:
    """How often each duration came, over time: the buckets of a histogram."""
    panel = heatmap.Panel().calculate(False).show_legend().show_tooltip()
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(kinds.AxisPlacement.LEFT))
    panel = panel.color(
        heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
    )
    panel = _dressed(panel, title, description, unit, width, 8)
    target = _target(query, 0).format(prometheus_model.PromQueryFormat.HEATMAP)
    return panel.with_target(target)  # type: ignore[no-any-return]


def listing(
    title: str, description: str, unit: str, *queries: Query, width: int = 8, names: dict[str, str] | None = None
) -> table.Panel:
    """The series of now as rows: a column for each label that is left and one for each query; `names` are the columns'
    headings by label, and `Value #A` for the first query; a heading that is empty hides its column."""
    panel = _dressed(table.Panel().show_header(True), title, description, unit, width, 8)
    for index, query in enumerate(queries):
        panel = panel.with_target(_target(query, index).instant().format(prometheus_model.PromQueryFormat.TABLE))
    headings = {"Time": "", **(names or {})}
    return panel.with_transformation(  # type: ignore[no-any-return]
        model.DataTransformerConfig(id_val="merge", options={})
    ).with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {name: True for name, heading in headings.items() if not heading},
                "renameByName": {name: heading for name, heading in headings.items() if heading},
                "indexByName": {name: index for index, name in enumerate(headings)},
            },
        )
    )


class Sql:
    """A query of the PostgreSQL datasource, of which the SDK has no model of its own: the fields that Grafana's
    editor writes for a query in code."""

    def __init__(self, text: str, *, series: bool = False) -> None:
        self._text, self._series = text, series

    def build(self) -> Any:
        """What stands in a panel's targets."""
        return SqlTarget(self._text, "time_series" if self._series else "table")


class SqlTarget:
    """The target as it is written."""

    def __init__(self, text: str, form: str) -> None:
        self.text, self.form = text, form

    def to_json(self) -> dict[str, object]:
        """As the SDK's encoder writes it."""
        return {
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": self.form,
            "rawQuery": True,
            "rawSql": self.text,
            "refId": "A",
        }


def sql_table(
    title: str, description: str, unit: str, text: str, *, width: int = 12, units: dict[str, str] | None = None
) -> table.Panel:
    """Rows of a query; `units` are those of columns, by their name."""
    panel = _dressed(table.Panel().show_header(True), title, description, unit, width, 9).datasource(POSTGRES)
    for column, each in (units or {}).items():
        panel = panel.override_by_name(column, [model.DynamicConfigValue(id_val="unit", value=each)])
    return panel.with_target(Sql(text))  # type: ignore[arg-type, no-any-return]


def sql_number(title: str, description: str, unit: str, text: str, *, width: int = 4) -> stat.Panel:
    """The one number that a query gives."""
    panel = stat.Panel().graph_mode(kinds.BigValueGraphMode.NONE).no_value("none")
    panel = panel.color_mode(kinds.BigValueColorMode.VALUE).thresholds(_thresholds([Step(None, BLUE)]))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _dressed(panel, title, description, unit, width, 4).datasource(POSTGRES).with_target(Sql(text))  # type: ignore[arg-type, no-any-return]


def sql_graph(
    title: str, description: str, unit: str, text: str, *, width: int = 12, steps: bool = False
) -> timeseries.Panel:
    """Lines over time of a query with the columns `time`, `metric` and `value`; as stairs where values hold until the
    next."""
    panel = timeseries.Panel().line_width(1).fill_opacity(8).min(0).legend(_legend()).tooltip(_tooltip())
    panel = panel.show_points(kinds.VisibilityMode.NEVER)
    if steps:
        panel = panel.line_interpolation(kinds.LineInterpolation.STEP_AFTER)
    return _dressed(panel, title, description, unit, width, 8).datasource(POSTGRES).with_target(Sql(text, series=True))  # type: ignore[arg-type, no-any-return]


def board(
    uid: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[Any]]], *, refresh: str, since: str
) -> dashboard.Dashboard:
    """A dashboard of rows of panels, that nobody changes in Grafana; its variables are still to be added."""
    made = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    made = made.refresh(refresh).time(since, "now").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    made = made.link(
        dashboard.DashboardLink("Lacak").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
        .include_vars(False).keep_time(True)
    )  # fmt: skip
    for name, panels in rows:
        made = made.with_row(dashboard.Row(name))
        for panel in panels:
            made = made.with_panel(panel)
    return made


def choices(made: dashboard.Dashboard, metric: str) -> dashboard.Dashboard:
    """Add the variables of a Prometheus dashboard: the datasource, and jobs and instances that have `metric`."""
    made = made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for name, query in (
        ("job", f"label_values({metric}, job)"),
        ("instance", f'label_values({metric}{{job=~"$job"}}, instance)'),
    ):
        variable = dashboard.QueryVariable(name).label(name.capitalize()).datasource(PROMETHEUS).query(query)
        variable = variable.multi(True).include_all(True).all_value(".+").sort(model.VariableSort.ALPHABETICAL_ASC)
        variable = variable.current(model.VariableOption(selected=True, text="All", value="$__all"))
        made = made.with_variable(variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED))
    return made


def written(made: dashboard.Dashboard) -> str:
    """A dashboard's JSON, the same for the same dashboard; panels are numbered in their order."""
    built = made.build()
    for number_, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number_
    return json.dumps(built, cls=JSONEncoder, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _asked(panel: Any, queries: Sequence[Query], *, instant: bool = False) -> Any:
    for index, query in enumerate(queries):
        target = _target(query, index)
        panel = panel.with_target(target.instant() if instant else target.range())
    return panel


def _target(query: Query, index: int) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(" ".join(query.expression.replace("@", MATCHERS).split()))
    return target.legend_format(query.legend).ref_id("ABCDEFGH"[index]).datasource(PROMETHEUS)


def _dressed(panel: Any, title: str, description: str, unit: str, width: int, height: int) -> Any:
    described = " ".join(description.split())
    return panel.title(title).description(described).unit(unit).span(width).height(height).datasource(PROMETHEUS)


def _thresholds(steps: Sequence[Step]) -> dashboard.ThresholdsConfig:
    made = [model.Threshold(value=step.value, color=step.colour) for step in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def _legend() -> common.VizLegendOptions:
    made = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).show_legend(True)
    return made.placement(kinds.LegendPlacement.BOTTOM)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)

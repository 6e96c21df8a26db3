"""Panels: one function a picture. Each has a title, a unit, and a description that ends with the metrics it shows."""

import re
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel = Builder[model.Panel]
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="$datasource")
GREEN, YELLOW, RED = "green", "yellow", "red"
_LABELS: Final = {
    "training": ("Training", 170),
    "kind": ("Kind", 130),
    "algorithm": ("Algorithm", 90),
    "seed": ("Seed", 60),
    "namespace": ("Namespace", 100),
    "phase": ("Phase", 110),
}
"""Columns of labels in a table, in their order: heading and width in pixels."""
_METRIC: Final = re.compile(r"\b(?:igpo_|DCGM_|process_|namespace_kind_training|ALERTS)\w*(?::\w+)*")


@dataclass(frozen=True)
class Query:
    """One expression and the name of its series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Looks:
    """How a panel looks. `steps`: from which value on it turns yellow and red; descending for 'low is bad'."""

    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: tuple[tuple[float | None, str], ...] = ((None, GREEN),)
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    roof: float | None = None
    """What the axis reaches at least: a graph of nothing but 0 would otherwise go up to 100."""
    colors: tuple[tuple[str, str], ...] = ()
    """Last word of a legend and the color of its series, so that a color means the same in each graph."""
    no_value: str = "–"


@dataclass(frozen=True)
class Column:
    """One column of a table: an instant query, its heading and its unit."""

    expr: str
    heading: str
    unit: str = "short"
    decimals: int | None = None


def number(title: str, text: str, query: Query, looks: Looks, *, spark: bool = True) -> Panel:
    """The last value, one tile a run, over its history."""
    graph = options.BigValueGraphMode.AREA if spark else options.BigValueGraphMode.NONE
    by_value = dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)
    panel = stat.Panel().color_scheme(by_value).graph_mode(graph).color_mode(options.BigValueColorMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _dressed(panel, title, text, [query], looks)


def lines(
    title: str, text: str, queries: list[Query], looks: Looks, *, log: bool = False, marks: bool = False
) -> Panel:
    """Values over time; `marks` draws the thresholds."""
    panel = _graph(looks).fill_opacity(5)
    if log:
        scale = common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    if marks:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        )
    return _dressed(panel, title, text, queries, looks)


def stack(title: str, text: str, queries: list[Query], looks: Looks, *, percent: bool = False) -> Panel:
    """Parts of a whole over time, as they are or as shares of 100 %."""
    mode = options.StackingMode.PERCENT if percent else options.StackingMode.NORMAL
    panel = _graph(looks).fill_opacity(60).line_width(0).stacking(common.StackingConfig().mode(mode).group("A"))
    return _dressed(panel, title, text, queries, looks)


def lengths(title: str, text: str, expr: str, looks: Looks) -> Panel:
    """A histogram's buckets over time."""
    panel = heatmap.Panel().calculate(calculate=False).y_axis(heatmap.YAxisConfig().unit("short"))
    panel = panel.color(heatmap.HeatmapColorOptions().scheme("Blues").steps(32).reverse(reverse=False))
    _describe(panel, title, text, expr, looks)
    return panel.unit(looks.unit).with_target(
        prometheus.Dataquery()
        .datasource(SOURCE)
        .expr(expr)
        .legend_format("{{le}}")
        .format(PromQueryFormat.HEATMAP)
        .range()
        .ref_id("A")
    )


def timeline(title: str, text: str, query: Query, looks: Looks) -> Panel:
    """Which of several states was on when."""
    panel = statetimeline.Panel().merge_values(merge_values=True).show_value(options.VisibilityMode.NEVER)
    panel = panel.color_scheme(_palette())
    return _dressed(panel, title, text, [query], looks)


def rows(title: str, text: str, columns: list[Column], looks: Looks, hidden: tuple[str, ...] = ()) -> Panel:
    """A table: the labels of the queries, then a column for each of them."""
    panel = table.Panel().filterable(filterable=True).min_width(80)
    _describe(panel, title, text, " ".join(column.expr for column in columns), looks)
    panel.unit(looks.unit).no_value(looks.no_value)
    names = {label: heading for label, (heading, _) in _LABELS.items()}
    for heading, width in _LABELS.values():
        panel.override_by_name(heading, [model.DynamicConfigValue("custom.width", width)])
    for index, column in enumerate(columns):
        ref = chr(ord("A") + index)
        target = prometheus.Dataquery().datasource(SOURCE).expr(column.expr).instant()
        panel.with_target(target.format(PromQueryFormat.TABLE).ref_id(ref))
        names[f"Value #{ref}" if len(columns) > 1 else "Value"] = column.heading
        properties = [model.DynamicConfigValue("unit", column.unit)]
        if column.decimals is not None:
            properties.append(model.DynamicConfigValue("decimals", column.decimals))
        panel.override_by_name(column.heading, properties)
    panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    excluded = dict.fromkeys(("Time", *hidden), True)
    order = {name: place for place, name in enumerate(names)}
    organize: dict[str, Any] = {"excludeByName": excluded, "renameByName": names, "indexByName": order}
    return panel.with_transformation(model.DataTransformerConfig("organize", options=organize))


def _palette() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)


def _graph(looks: Looks) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(options.LegendDisplayMode.LIST)
    legend = legend.placement(options.LegendPlacement.BOTTOM).show_legend(show_legend=True)
    panel = timeseries.Panel().legend(legend).line_width(2).show_points(options.VisibilityMode.AUTO)
    panel.color_scheme(_palette())
    if looks.roof is not None:
        panel.axis_soft_max(looks.roof)
    for word, color in looks.colors:
        fixed = {"mode": model.FieldColorModeId.FIXED.value, "fixedColor": color}
        panel.override_by_regexp(f"/(^| ){word}$/", [model.DynamicConfigValue("color", fixed)])
    return panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)).interval("15s")


class _Canvas(Protocol):
    """What all kinds of panels have in common."""

    def build(self) -> model.Panel: ...
    def title(self, title: str, /) -> Self: ...
    def description(self, description: str, /) -> Self: ...
    def datasource(self, datasource: model.DataSourceRef, /) -> Self: ...
    def span(self, columns: int, /) -> Self: ...
    def height(self, rows: int, /) -> Self: ...
    def unit(self, unit: str, /) -> Self: ...
    def decimals(self, decimals: float, /) -> Self: ...
    def min(self, value: float, /) -> Self: ...
    def max(self, value: float, /) -> Self: ...
    def no_value(self, text: str, /) -> Self: ...
    def thresholds(self, thresholds: Builder[model.ThresholdsConfig], /) -> Self: ...
    def with_target(self, target: Builder[Dataquery], /) -> Self: ...


P = TypeVar("P", bound=_Canvas)


def _dressed(panel: P, title: str, text: str, queries: list[Query], looks: Looks) -> P:
    _describe(panel, title, text, " ".join(query.expr for query in queries), looks)
    steps = [model.Threshold(value, color) for value, color in looks.steps]
    panel.unit(looks.unit).no_value(looks.no_value)
    panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if looks.decimals is not None:
        panel.decimals(looks.decimals)
    if looks.low is not None:
        panel.min(looks.low)
    if looks.high is not None:
        panel.max(looks.high)
    for index, query in enumerate(queries):
        target = prometheus.Dataquery().datasource(SOURCE).expr(query.expr).range()
        panel.with_target(target.legend_format(query.legend).ref_id(chr(ord("A") + index)))
    return panel


def _describe(panel: _Canvas, title: str, text: str, exprs: str, looks: Looks) -> None:
    metrics = ", ".join(f"`{name}`" for name in dict.fromkeys(_METRIC.findall(exprs)))
    panel.title(title).description(f"{text} Metric: {metrics}").datasource(SOURCE)
    panel.span(looks.width).height(looks.height)

"""The frame of every dashboard: variables, links, rows, identities."""

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from igpo_monitoring.panels import SOURCE, Panel
from igpo_monitoring.promql import of_runs

TAG: Final = "igpo"


@dataclass(frozen=True)
class Row:
    """A row of panels under a heading."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard. `known_by`: the metric whose labels are the choices of namespace, kind and run."""

    uid: str
    title: str
    text: str
    known_by: str
    rows: tuple[Row, ...]
    ranks: str = ""
    """The metric whose label `rank` is a choice as well; empty: there is none."""
    since: str = "now-6h"


def build(board: Board) -> model.Dashboard:
    """Lay the rows out, number the panels and add what all dashboards share."""
    builder = (
        dashboard.Dashboard(f"IGPO / {board.title}")
        .uid(board.uid)
        .description(board.text)
        .tags([TAG])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh("1m")
        .timezone("browser")
        .variables(_variables(board))
        .link(_siblings())
        .annotation(_restarts())
    )
    for row in board.rows:
        head = dashboard.Row(row.title)
        if row.collapsed:
            head = head.collapsed(collapsed=True)
            for panel in row.panels:
                head.with_panel(panel)
            builder.with_row(head)
        else:
            builder.with_row(head)
            for panel in row.panels:
                builder.with_panel(panel)
    return _numbered(builder.build())


def _numbered(built: model.Dashboard) -> model.Dashboard:
    number = 0
    for panel in built.panels or []:
        number += 1
        panel.id_val = number
        if isinstance(panel, model.RowPanel):
            for inner in panel.panels:
                number += 1
                inner.id_val = number
    return built


def _variables(board: Board) -> list[Builder[model.VariableModel]]:
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    namespace = _choice("namespace", "Namespace", f"label_values({board.known_by}, namespace)")
    kind = _choice("kind", "Kind", f'label_values({board.known_by}{{namespace=~"$namespace"}}, kind)')
    within = f'{board.known_by}{{namespace=~"$namespace", kind=~"$kind"}}'
    training = _choice("training", "Training", f"label_values({within}, training)")
    found: list[Builder[model.VariableModel]] = [source, namespace, kind, training]
    if board.ranks:
        found.append(_choice("rank", "Rank", f"label_values({of_runs(board.ranks)}, rank)"))
    return found


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _siblings() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("IGPO").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(as_dropdown=True).include_vars(include_vars=True).keep_time(keep_time=True)


def _restarts() -> dashboard.AnnotationQuery:
    moved = of_runs("igpo_operator_run_restarts_total")
    query = dashboard.AnnotationQuery().name("Restarts").datasource(SOURCE).enable(enable=True).icon_color("orange")
    return query.expr(f"sum by (namespace, kind, training, reason) (changes({moved}[2m])) > 0")

"""IGPO / Compare runs: the same numbers of several runs against steps, and a table of where each stands."""

from typing import Final

from grafana_foundation_sdk.builders import prometheus, xychart
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import xychart as xymodel
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from igpo_monitoring.board import Board, Row
from igpo_monitoring.panels import SOURCE, Column, Looks, Panel, Query, lines, rows
from igpo_monitoring.promql import LEGEND_KIND, RUN, last, of_runs


def _against_steps(title: str, text: str, name: str, *matchers: str, unit: str = "none") -> Panel:
    """One line a run: `name` over the step at the same moment."""
    panel = xychart.Panel().title(title).datasource(SOURCE).span(12).height(9).unit(unit)
    panel.description(f"{text} The horizontal axis is the step. Metric: `{name}`, `igpo_trainer_step`")
    for ref, expr in (("A", last("igpo_trainer_step")), ("B", last(name, *matchers))):
        target = prometheus.Dataquery().datasource(SOURCE).expr(expr).range().interval("15s")
        panel.with_target(target.format(PromQueryFormat.TABLE).ref_id(ref))
    by_name = {"Value #A": "Step", "Value #B": title}
    for transformation, options in (
        ("merge", {}),
        ("organize", {"excludeByName": {}, "indexByName": {}, "renameByName": by_name}),
        ("partitionByValues", {"fields": ["namespace", "kind", "training"], "keepFields": False}),
    ):
        panel.with_transformation(model.DataTransformerConfig(transformation, options=options))
    axes = (("x", "Step"), ("y", title))
    x, y = (xychart.MatcherConfig().id("byName").options(field) for _, field in axes)
    series = (
        xychart.XYSeriesConfig()
        .x(xychart.XychartXYSeriesConfigX().matcher(x))
        .y(xychart.XychartXYSeriesConfigY().matcher(y))
    )
    panel.mapping(xymodel.SeriesMapping.AUTO).series([series]).show(xymodel.XYShowMode.POINTS_AND_LINES)
    return panel


def _final(name: str, *matchers: str) -> str:
    """The last value in the chosen time, also of a run whose pods are gone."""
    return f"max by ({RUN}) (last_over_time({of_runs(name, *matchers)}[$__range]))"


_TABLE = rows(
    "Where each run stands",
    "Last values in the chosen time; pods that are gone count. All-wrong groups are before and after rescue, accuracy "
    "is on the held-out rows.",
    [
        Column(
            f"max by ({RUN}, algorithm, model, seed, spec_hash) (last_over_time({of_runs('igpo_run_info')}[$__range]))",
            "Info",
        ),
        Column(_final("igpo_trainer_step"), "Step", "none"),
        Column(_final("igpo_trainer_planned_steps"), "Of", "none"),
        Column(_final("igpo_reward_mean", 'reward="total"'), "Reward", "none", 3),
        Column(
            _final("igpo_step_groups_ratio", 'stage="initial"', 'outcome="all_wrong"'), "All wrong", "percentunit", 1
        ),
        Column(
            _final("igpo_step_groups_ratio", 'stage="final"', 'outcome="all_wrong"'),
            "After rescue",
            "percentunit",
            1,
        ),
        Column(_final("igpo_eval_accuracy_ratio", 'dataset="holdout"'), "Held out", "percentunit", 1),
        Column(_final("igpo_trainer_loss"), "Loss", "none", 4),
    ],
    Looks(width=24, height=6),
    hidden=("Value #A", "model", "spec_hash"),
)

COMPARE: Final = Board(
    uid="igpo-compare-runs",
    title="Compare runs",
    text="Several runs side by side: choose them in Training.",
    known_by="igpo_run_info",
    rows=(
        Row("Runs", (_TABLE,)),
        Row(
            "Against steps",
            (
                _against_steps("Reward", "Mean reward before rescue.", "igpo_reward_mean", 'reward="total"'),
                _against_steps("All-wrong groups", "Share before rescue.", "igpo_step_groups_ratio", 'stage="initial"',
                               'outcome="all_wrong"', unit="percentunit"),
                _against_steps("Hint-token entropy", "In nats.", "igpo_token_entropy_nats", 'token="hint"'),
                _against_steps("Generated entropy", "In nats.", "igpo_token_entropy_nats", 'token="generated"'),
            ),
        ),
        Row(
            "Against time",
            (
                lines("Held-out accuracy", "Of every evaluation.",
                      [Query(last("igpo_eval_accuracy_ratio", 'dataset="holdout"'), LEGEND_KIND)],
                      Looks(unit="percentunit", low=0, high=1)),
                lines("Loss", "Objective of IGPO, cross-entropy of SFT.",
                      [Query(last("igpo_trainer_loss"), LEGEND_KIND)], Looks(unit="none")),
                lines("Step time", "Without evaluation and saving.",
                      [Query(last("igpo_trainer_step_duration_seconds"), LEGEND_KIND)], Looks(unit="s", low=0)),
            ),
        ),
    ),
    since="now-24h",
)  # fmt: skip

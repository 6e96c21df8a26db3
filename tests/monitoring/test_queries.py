"""Dashboards and rules ask only for series that somebody exports, and keep runs of different kinds apart."""

import re
from typing import Any

import pytest

from igpo_monitoring.promql import SELECTED
from igpo_trainer.observe.catalogue import METRICS, SCRAPE_LABELS, Type
from promworld.boards import filled, queries
from promworld.operator import exported_names
from promworld.promql import names, nodes, parsed, selectors

VALUES = {
    "namespace": "lab",
    "kind": "IGPOTraining",
    "training": "gsm8k",
    "rank": "0",
    "__rate_interval": "5m",
    "__range": "6h",
}
FOREIGN = {
    "ALERTS",
    "up",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_XID_ERRORS",
}
RUN = {"namespace", "kind", "training"}
Body = dict[str, Any]


def _trainer_names() -> dict[str, str]:
    """Every name of a series that a trainer exports, and the metric that it belongs to."""
    found = {}
    for metric in METRICS.values():
        parts = ("_bucket", "_sum", "_count") if metric.type is Type.HISTOGRAM else ("",)
        found |= {metric.name + part: metric.name for part in parts}
    return found


@pytest.fixture
def exprs(rules: list[Body]) -> dict[str, str]:
    """Every expression of every dashboard and rule, by where it is."""
    found = {f"{query.name}: {query.expr}": filled(query.expr, VALUES) for query in queries()}
    return found | {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


def test_every_metric_that_is_asked_for_exists(exprs: dict[str, str], rules: list[Body]) -> None:
    known = (
        _trainer_names().keys() | exported_names() | FOREIGN | {rule["record"] for rule in rules if "record" in rule}
    )
    asked = {name: place for place, expr in exprs.items() for s in selectors(expr) for name in names(s)}
    assert {name: place for name, place in asked.items() if name not in known} == {}


def test_every_label_of_a_trainers_metric_exists_and_can_have_the_value(exprs: dict[str, str]) -> None:
    known = _trainer_names()
    for place, expr in exprs.items():
        for selector in selectors(expr):
            for name in names(selector):
                if name in known:
                    labels = {label.name: label for label in METRICS[known[name]].labels}
                    for matcher in selector.matchers.matchers:
                        if matcher.name in SCRAPE_LABELS | {"__name__"}:
                            continue
                        label = labels[matcher.name]
                        wanted = set(matcher.value.split("|"))
                        assert label.open or wanted <= set(label.values), f"{place}: {name} {matcher.name}"


def test_every_sum_and_join_over_runs_keeps_kind_beside_training(exprs: dict[str, str]) -> None:
    for place, expr in exprs.items():
        for node in nodes(parsed(expr)):
            modifier = getattr(node, "modifier", None)
            text = str(modifier) if modifier is not None else ""
            labels = set(re.findall(r"\w+", text))
            assert ("training" in labels) == (labels >= RUN), f"{place}: {text}"


def test_every_selector_of_a_dashboard_that_names_a_run_names_its_kind() -> None:
    for query in queries():
        if "$training" in query.expr:
            assert SELECTED in query.expr or "igpo|lasft" in query.expr, query.name


def test_recording_rules_are_named_by_level_metric_and_operation(rules: list[Body]) -> None:
    for rule in rules:
        if "record" in rule:
            level, metric, operation = rule["record"].split(":")
            assert set(level.split("_")) >= RUN
            assert not metric.endswith("_total")
            assert operation


def test_every_alert_says_what_is_wrong_where_and_where_to_read_on(rules: list[Body]) -> None:
    for rule in rules:
        if "alert" in rule:
            assert re.fullmatch(r"IGPO[A-Za-z]+", rule["alert"])
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            notes = rule["annotations"]
            assert "{{" not in notes["summary"]
            assert notes["summary"].endswith(".")
            assert "{{ $labels." in notes["description"]
            assert notes["runbook_url"].endswith(f"/{rule['alert']}.md")
            assert notes["dashboard_url"].startswith("https://grafana.example/d/igpo-")

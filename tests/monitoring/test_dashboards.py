"""The rules of Grafana's dashboard linter, and a few of our own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.models import units

from igpo_monitoring.dashboards import DASHBOARDS, rendered
from promworld.boards import FOLDER, boards, filled, panels, queries
from promworld.promql import bare_counters, parsed, windows

Body = dict[str, Any]
UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
PROMETHEUS = {"type": "prometheus", "uid": "$datasource"}
RAW_COUNTERS = {
    "igpo-training-health/Restarts": "a total that the operator keeps in status: it neither resets nor moves often",
    "igpo-operator/Restarts": "the same",
    "igpo-operator/Where the runs are": "the same",
    "igpo-sft/Traces": "set once, maybe before the first scrape sees its 0: increase() would miss it",
    "igpo-sft/Dropped": "the same",
}
"""Panels that show a counter as it is, and why they may."""
# The linter's rules on variables `job` and `instance` do not apply: a run is found by namespace, kind and training.


@pytest.fixture(params=sorted(boards()))
def board(request: pytest.FixtureRequest) -> Body:
    """Each committed dashboard."""
    found: Body = boards()[request.param]
    return found


def test_the_committed_dashboards_are_those_of_the_code(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "igpo_monitoring", str(tmp_path)], check=True, env=_environment(), timeout=60)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        path.name: path.read_text() for path in FOLDER.iterdir()
    }


def test_there_are_four_and_each_is_always_rendered_alike() -> None:
    assert [board.uid for board in DASHBOARDS] == [
        "igpo-training-health",
        "igpo-compare-runs",
        "igpo-sft",
        "igpo-operator",
    ]
    for each in DASHBOARDS:
        assert rendered(each) == rendered(each)


def test_the_first_row_of_training_health_is_what_the_method_is_about() -> None:
    first = boards()["igpo-training-health"]["panels"][1:5]
    assert [panel["title"] for panel in first] == [
        "Reward",
        "All-wrong groups before rescue",
        "All-wrong groups after rescue",
        "Hint-token entropy",
    ]
    assert {panel["gridPos"]["y"] for panel in first} == {1}


def test_it_is_read_only_identified_and_linked_to_its_siblings(board: Body) -> None:
    assert board["editable"] is False
    assert board["uid"] in {each.uid for each in DASHBOARDS}
    assert board["tags"] == ["igpo"]
    assert board["graphTooltip"] == 1
    assert board["schemaVersion"] >= 36
    assert board["description"]
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == ("dashboards", ["igpo"], True, True)
    assert len(json.dumps(board)) < 1_000_000


def test_it_has_one_data_source_variable_that_everything_uses(board: Body) -> None:
    sources = [variable for variable in board["templating"]["list"] if variable["type"] == "datasource"]
    assert [(v["name"], v["label"], v["query"]) for v in sources] == [("datasource", "Data source", "prometheus")]
    for panel in panels(board):
        assert panel["datasource"] == PROMETHEUS, panel["title"]
        assert all(target["datasource"] == PROMETHEUS for target in panel["targets"]), panel["title"]
    assert all(annotation["datasource"] == PROMETHEUS for annotation in board["annotations"]["list"])


def test_its_variables_follow_the_time_and_have_kind_beside_training(board: Body) -> None:
    variables = [variable for variable in board["templating"]["list"] if variable["type"] == "query"]
    assert [variable["name"] for variable in variables][:3] == ["namespace", "kind", "training"]
    for variable in variables:
        assert variable["datasource"] == PROMETHEUS
        assert variable["refresh"] == 2
        assert variable["label"]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["query"]["query"].startswith("label_values(")
    assert 'kind=~"$kind"' in variables[2]["query"]["query"]


def test_every_panel_explains_itself_and_has_a_unit(board: Body) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["title"]
        assert ". Metric: `" in panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap(board: Body) -> None:
    every = [*board["panels"], *(inner for panel in board["panels"] for inner in panel.get("panels", []))]
    assert len({panel["id"] for panel in every}) == len(every)
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_rates_look_back_as_far_as_grafana_says_and_counters_are_shown_as_rates() -> None:
    rate, whole = 300, 21600
    values = {
        "__rate_interval": f"{rate}s",
        "__range": f"{whole}s",
        "namespace": "a",
        "kind": "a",
        "training": "a",
        "rank": "0",
    }
    raw = set()
    for query in queries():
        expr = filled(query.expr, values)
        parsed(expr)
        for function, seconds in windows(expr):
            assert seconds == (whole if function == "last_over_time" else rate), query.name
        if bare_counters(expr):
            raw.add(query.name)
    assert raw == set(RAW_COUNTERS)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2] / "monitoring")}

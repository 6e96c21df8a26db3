"""The generator of schemas and READMEs, and that what it wrote is committed."""

import json
from pathlib import Path

import pytest

from chartworld.helm import CHART, CRDS_CHART
from igpo_charts.__main__ import generated, main
from igpo_charts.readme import readme_of
from igpo_charts.schema import schema_of
from igpo_charts.values import InvalidValuesError, Value, read_values

MONITORING = """
monitoring:
  # -- PodMonitor of the trainers.
  # Needs the CRDs of the Prometheus operator.
  podMonitor:
    # -- Create it.
    enabled: false
    # -- Labels that a Prometheus selects by, e.g. `release`.
    labels: {}
    # -- Time between two scrapes.
    interval: 15s
  alerts:
    # @default -- see below
    # -- Thresholds | of the alerts.
    thresholds:
      stalledSeconds: 900 # at least
      allWrongRatio: 0.6
  # a remark that is no text of the README
  folders: []
"""


def _values(folder: Path, text: str) -> tuple[Value, ...]:
    path = folder / "values.yaml"
    path.write_text(text, encoding="utf-8")
    return read_values(path)


@pytest.mark.parametrize("chart", [CHART, CRDS_CHART], ids=lambda chart: chart.name)
def test_the_committed_schema_and_readme_are_up_to_date_in(chart: Path) -> None:
    for path, text in generated(chart).items():
        assert path.read_text(encoding="utf-8") == text, f"run `make generate` and commit {path.name}"


def test_every_value_of_the_charts_is_explained() -> None:
    def silent(parent: str, values: tuple[Value, ...]) -> list[str]:
        found = [f"{parent}{value.name}" for value in values if not value.text and not value.children]
        return found + [path for value in values for path in silent(f"{parent}{value.name}.", value.children)]

    for chart in (CHART, CRDS_CHART):
        assert silent("", read_values(chart / "values.yaml")) == []


def test_comments_in_the_style_of_helm_docs_become_a_strict_schema(tmp_path: Path) -> None:
    schema = schema_of(_values(tmp_path, MONITORING))
    monitoring = schema["properties"]["monitoring"]
    assert schema["additionalProperties"] is monitoring["additionalProperties"] is False
    pods = monitoring["properties"]["podMonitor"]
    assert pods["description"] == "PodMonitor of the trainers. Needs the CRDs of the Prometheus operator."
    assert pods["properties"]["enabled"] == {"type": "boolean", "description": "Create it."}
    assert pods["properties"]["labels"] == {
        "type": "object",
        "description": "Labels that a Prometheus selects by, e.g. `release`.",
    }
    thresholds = monitoring["properties"]["alerts"]["properties"]["thresholds"]["properties"]
    assert thresholds == {"stalledSeconds": {"type": "integer"}, "allWrongRatio": {"type": "number"}}
    assert monitoring["properties"]["folders"] == {"type": "array"}


def test_the_readme_has_a_row_for_every_text(tmp_path: Path) -> None:
    text = readme_of("# chart\n\n<!-- values -->\n", _values(tmp_path, MONITORING))
    assert text.splitlines() == [
        "# chart",
        "",
        "| value | default | meaning |",
        "|---|---|---|",
        "| `monitoring.podMonitor` |  | PodMonitor of the trainers. Needs the CRDs of the Prometheus operator. |",
        "| `monitoring.podMonitor.enabled` | `false` | Create it. |",
        "| `monitoring.podMonitor.labels` | `{}` | Labels that a Prometheus selects by, e.g. `release`. |",
        '| `monitoring.podMonitor.interval` | `"15s"` | Time between two scrapes. |',
        "| `monitoring.alerts.thresholds` | see below | Thresholds \\| of the alerts. |",
    ]


def test_a_directive_adds_to_what_the_default_says_or_stands_in_its_place(tmp_path: Path) -> None:
    text = """
# -- Added to.
# @schema {minimum: 1}
count: 3
# -- Replaced.
# @schema {type: [boolean, "null"]}
maybe:
# -- A free map.
# @schema {type: object}
resources:
  limits: {memory: 1Gi}
# -- A map in braces.
selector: {matchLabels: {a: b}}
# -- Unknown.
anything:
# -- A list of texts.
# @schema {items: {type: string}}
names: []
"""
    properties = schema_of(_values(tmp_path, text))["properties"]
    bare = {name: {k: v for k, v in schema.items() if k != "description"} for name, schema in properties.items()}
    assert bare["count"] == {"type": "integer", "minimum": 1}
    assert bare["maybe"] == {"type": ["boolean", "null"]}
    assert bare["resources"] == bare["selector"] == {"type": "object"}
    assert bare["anything"] == {}
    assert bare["names"] == {"type": "array", "items": {"type": "string"}}


def test_the_fields_of_a_model_are_values_in_camel_case(tmp_path: Path) -> None:
    text = "# -- Settings.\n# @model igpo_operator.apply.config:OperatorConfig except port address\nconfig: {}\n"
    (config,) = _values(tmp_path, text)
    schema = schema_of([config])["properties"]["config"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["logLevel"]["enum"] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert schema["properties"]["workers"]["maximum"] == 64
    assert "port" not in schema["properties"]
    assert "| `config.workers` | `4` | Runs that are reconciled" in readme_of("<!-- values -->", [config])


def test_helm_may_share_values_with_a_subchart(tmp_path: Path) -> None:
    schema = schema_of(_values(tmp_path, "crds:\n  # -- Keep.\n  keep: true\n"), {"crds"})
    assert "global" in schema["properties"]
    assert "global" in schema["properties"]["crds"]["properties"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "\n# @schema minimum\na: 1\n",
            r"values.yaml:2: @schema minimum is no map; write e.g. # @schema \{minimum: 1\}",
        ),
        ("# @model json:JSONDecoder\na: {}\n", "values.yaml:2: @model json:JSONDecoder is no pydantic model"),
        (
            "# @model igpo_operator.apply.config:OperatorConfig except prot\na: {}\n",
            "has no prot; correct what follows",
        ),
    ],
)
def test_a_comment_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidValuesError, match=problem):
        _values(tmp_path, text)


def test_the_command_writes_compares_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Chart.yaml").write_text("name: boats\n")
    (tmp_path / "values.yaml").write_text("# -- Number of masts.\nmasts: 3\n")
    (tmp_path / "README.in.md").write_text("<!-- values -->\n")
    assert main(["--check", str(tmp_path)]) == 1
    assert "values.schema.json is not up to date; run make generate" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert json.loads((tmp_path / "values.schema.json").read_text())["properties"]["masts"]["type"] == "integer"
    assert main(["--check", str(tmp_path)]) == 0
    (tmp_path / "values.yaml").write_text("# @schema 3\nmasts: 3\n")
    assert main([str(tmp_path)]) == 64
    assert "values.yaml:1: @schema 3 is no map" in capsys.readouterr().err

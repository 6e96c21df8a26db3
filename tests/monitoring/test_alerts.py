"""Every alert by Prometheus' own tool: when it fires, and when it stays silent."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from igpo_cluster import programs

CASES: dict[str, Any] = YAML(typ="safe", pure=True).load(Path(__file__).with_name("alert_cases.yaml"))
Body = dict[str, Any]

pytestmark = pytest.mark.timeout(1800)  # the first test may have to build promtool


def test_promtool_finds_no_fault_with_the_rules(rule_file: Path) -> None:
    output = _promtool("check", "rules", "--lint=all", "--lint-fatal", str(rule_file))
    assert "SUCCESS" in output


def test_every_alert_has_a_case_that_fires_and_one_that_stays_silent(rules: list[Body]) -> None:
    assert {rule["alert"] for rule in rules if "alert" in rule} == CASES["alerts"].keys()
    for name, case in CASES["alerts"].items():
        assert case["fires"], name
        assert case["silent"], name


def test_every_alert_fires_when_it_should_and_stays_silent_otherwise(rule_file: Path, tmp_path: Path) -> None:
    tests = [test for name, case in CASES["alerts"].items() for test in _tests(name, case)]
    path = tmp_path / "tests.yaml"
    path.write_text(json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in _promtool("test", "rules", str(path))


def _tests(name: str, case: Body) -> Iterator[Body]:
    run: Mapping[str, str] = case.get("run", CASES["run"])
    firing = {"alertname": name, "alertstate": "firing"}
    expected = {"labels": f"ALERTS{_selector(firing | run | case['labels'])}", "value": 1}
    for verdict, samples in (("fires", [expected]), ("silent", [])):
        for index, series in enumerate(case[verdict]):
            inputs = [{"series": _labelled(key, run), "values": values} for key, values in series.items()]
            question = {"expr": f"ALERTS{_selector(firing)}", "eval_time": case["at"], "exp_samples": samples}
            yield {
                "name": f"{name} {verdict} {index + 1}",
                "interval": "1m",
                "input_series": inputs,
                "promql_expr_test": [question],
            }


def _labelled(series: str, run: Mapping[str, str]) -> str:
    """Add the run's labels to a series that does not say for itself which namespace it is of."""
    name, _, labels = series.removesuffix("}").partition("{")
    own = [labels] if labels else []
    added = [] if "namespace=" in labels else [f'{key}="{value}"' for key, value in run.items()]
    return f"{name}{{{', '.join(own + added)}}}"


def _selector(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _promtool(*arguments: str) -> str:
    words = [str(programs.locate("promtool")), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""What the chart makes of its rules and dashboards."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from igpo_cluster import programs

ROOT = Path(__file__).parents[2]
_ENABLED = {
    "trainers": {"podMonitor": True},
    "operator": {"serviceMonitor": True},
    "rules": {"enabled": True, "grafanaUrl": "https://grafana.example"},
}


@pytest.fixture(scope="session")
def rule_groups() -> list[dict[str, Any]]:
    """The groups of the PrometheusRule with the values of the chart."""
    words = [str(programs.locate("helm")), "template", "igpo", str(ROOT / "charts" / "igpo-operator"), "-f", "-"]
    words += ["-n", "igpo-system", "--kube-version", "1.35.4", "--api-versions", "monitoring.coreos.com/v1"]
    words += ["--show-only", "templates/monitoring/prometheusrule.yaml"]
    values = json.dumps({"monitoring": _ENABLED})
    done = subprocess.run(words, input=values, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    groups: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(done.stdout)["spec"]["groups"]
    return groups


@pytest.fixture(scope="session")
def rules(rule_groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rules, recordings first."""
    return [rule for group in rule_groups for rule in group["rules"]]


@pytest.fixture(scope="session")
def rule_file(rule_groups: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file that Prometheus loads."""
    path = tmp_path_factory.mktemp("rules") / "igpo.rules.yaml"
    path.write_text(json.dumps({"groups": rule_groups}))
    return path

"""The rules of the chart, as helm renders them with its values."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from igpo_cluster import programs

_CHART = Path(__file__).parents[3] / "charts" / "igpo-operator"
_VALUES = {"rules": {"enabled": True, "grafanaUrl": "https://grafana.example"}}


def rule_groups() -> list[dict[str, Any]]:
    """The groups of the PrometheusRule."""
    words = [str(programs.locate("helm")), "template", "igpo", str(_CHART), "-f", "-", "-n", "igpo-system"]
    words += ["--kube-version", "1.35.4", "--api-versions", "monitoring.coreos.com/v1"]
    words += ["--show-only", "templates/monitoring/prometheusrule.yaml"]
    values = json.dumps({"monitoring": _VALUES})
    done = subprocess.run(words, input=values, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    groups: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(done.stdout)["spec"]["groups"]
    return groups


def write_rule_file(path: Path) -> Path:
    """Write them as a file that Prometheus loads."""
    path.write_text(json.dumps({"groups": rule_groups()}))
    return path

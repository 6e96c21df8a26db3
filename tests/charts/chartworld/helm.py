"""The real helm: what it renders, and what it refuses."""

import copy
import json
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from igpo_cluster import programs

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "igpo-operator"
CRDS_CHART = CHART / "charts" / "igpo-crds"
RELEASE, NAMESPACE = "igpo", "igpo-system"
KUBERNETES = "1.35.4"
MONITORING = ("monitoring.coreos.com/v1", "grafana.integreatly.org/v1beta1")
"""What the operators of Prometheus and Grafana serve; a release refuses to be monitored where they are missing."""
Body = dict[str, Any]


def run_helm(*words: str | Path, values: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; `values` go in by `--values -`."""
    given = ["--values", "-"] if values is not None else []
    command = [str(programs.locate("helm")), *map(str, words), *given]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=120)


def helm(*words: str | Path, values: Mapping[str, Any] | None = None) -> str:
    """Run helm; its stdout."""
    done = run_helm(*words, values=values)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(
    values: Mapping[str, Any] | None = None,
    *,
    chart: Path = CHART,
    kubernetes: str = KUBERNETES,
    apis: Sequence[str] = MONITORING,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
) -> list[Body]:
    """The objects of a release, in a cluster that serves `apis` beside its own."""
    words = ("template", release, chart, "-n", namespace, *_cluster(kubernetes, apis))
    return documents(helm(*words, values=values or {}))


def refusal(
    values: Mapping[str, Any], *, chart: Path = CHART, kubernetes: str = KUBERNETES, apis: Sequence[str] = MONITORING
) -> str:
    """What helm says instead of rendering."""
    done = run_helm("template", RELEASE, chart, "-n", NAMESPACE, *_cluster(kubernetes, apis), values=values)
    assert done.returncode != 0, "helm renders this"
    assert done.stdout == ""
    return done.stderr


def documents(text: str) -> list[Body]:
    """The objects of a stream of YAML."""
    return copy.deepcopy(_parsed(text))


def read(path: Path) -> Body:
    """One YAML file."""
    found: Body = YAML(typ="safe", pure=True).load(path)
    return found


def every(objects: list[Body], kind: str) -> list[Body]:
    """The objects of a kind."""
    return [item for item in objects if item["kind"] == kind]


def only(objects: list[Body], kind: str) -> Body:
    """The one object of a kind."""
    (found,) = every(objects, kind)
    return found


def _cluster(kubernetes: str, apis: Sequence[str]) -> list[str]:
    return ["--kube-version", kubernetes, *(word for api in apis for word in ("--api-versions", api))]


@cache
def _parsed(text: str) -> list[Body]:
    """The CRDs take seconds to read, and are the same in most releases."""
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]

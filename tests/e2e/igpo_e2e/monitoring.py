"""Prometheus and Alertmanager as a cluster has them: run by the Prometheus operator, which reads what the chart makes.

The operator is installed by the files of its own release, with its rights; it is its Prometheus that finds the pods and
loads the rules, nobody edits a configuration. Only the images are made here, one program each.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from igpo_cluster import program_image, programs
from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from igpo_e2e.manifests import ROOT
from igpo_e2e.operator import Operator
from igpo_e2e.prometheus import Prometheus
from igpo_e2e.webhook import Webhook, receiving

NAMESPACE = "monitoring"
STALLED_SECONDS = 10
PAGES = "https://git.example/igpo/docs/runbooks"
_NAME = "igpo"
_PROGRAMS = ("prometheus-operator", "prometheus-config-reloader", "prometheus", "alertmanager")
_MODULE, _RELEASE = "prometheus-operator", "github.com/prometheus-operator/prometheus-operator"
_SELECTED = {"release": "watch"}
_API = "monitoring.coreos.com/v1"
_USER = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 2000}
_ENDPOINT = {"interval": "1s", "scrapeTimeout": "1s"}

VALUES: dict[str, Any] = {
    "labels": _SELECTED,
    "trainers": {"podMonitor": True, **_ENDPOINT},
    "operator": {"serviceMonitor": True, **_ENDPOINT},
    "rules": {
        "enabled": True,
        "runbookUrl": PAGES,
        "grafanaUrl": "https://grafana.example",
        "thresholds": {"stalledSeconds": STALLED_SECONDS},
        "overrides": {"IGPOTrainingStalled": {"for": "5s"}},
    },
    "dashboards": {"configMaps": True},
}
"""Values of the chart: everything on, and what takes minutes in seconds. Pods of the tests linger for 4 s."""


@dataclass(frozen=True)
class Monitoring:
    """What runs while `monitoring` does."""

    prometheus: Prometheus
    webhook: Webhook


def locate_programs() -> None:
    """Build what is missing before any time limit runs."""
    for name in _PROGRAMS:
        programs.locate(name)


@contextmanager
def monitoring(cluster: Cluster, operator: Operator) -> Iterator[Monitoring]:
    """Install it all and switch on the chart's monitoring until the block ends; then nothing of it is left."""
    images = {name: program_image.load(cluster, name) for name in _PROGRAMS}
    with ExitStack() as undo:
        undo.callback(_remove, cluster)
        cluster.apply_crds(_folder() / "prometheus-operator-crd")
        cluster.create_namespace(NAMESPACE)
        cluster.apply(*_rights(), _deployment(images), namespace=NAMESPACE)
        undo.callback(operator.install)
        operator.install(monitoring=VALUES)
        webhook = undo.enter_context(receiving(urlsplit(cluster.server).hostname or ""))
        cluster.apply(*_alertmanager(images, webhook), _prometheus(images), namespace=NAMESPACE)
        words = ("-n", NAMESPACE, "--for=condition=Available", "--timeout=180s")
        cluster.kubectl("wait", f"prometheus/{_NAME}", f"alertmanager/{_NAME}", *words, timeout=200)
        pod = cluster.get("pod", f"prometheus-{_NAME}-0", "-n", NAMESPACE)
        prometheus = Prometheus(f"http://{pod['status']['podIP']}:9090")
        until(lambda: prometheus.now("up == 1"), "a first scrape", within=60, every=0.5)
        yield Monitoring(prometheus, webhook)


def _remove(cluster: Cluster) -> None:
    cluster.delete_namespace(NAMESPACE)
    cluster.kubectl("wait", f"namespace/{NAMESPACE}", "--for=delete", "--timeout=120s", timeout=130)
    for document in _rights():
        if document["kind"].startswith("ClusterRole"):
            cluster.kubectl("delete", document["kind"], document["metadata"]["name"], "--ignore-not-found")
    cluster.kubectl("delete", "-f", _folder() / "prometheus-operator-crd", "--ignore-not-found")


@cache
def _folder() -> Path:
    """The examples of the release that is pinned."""
    return programs.module_folder(_MODULE, _RELEASE) / "example"


def _rights() -> list[dict[str, Any]]:
    """Accounts and roles of the operator and of Prometheus."""
    folders = [_folder() / "rbac" / name for name in ("prometheus-operator", "prometheus")]
    files = [path for folder in folders for what in ("account", "role*") for path in folder.glob(f"*-{what}.yaml")]
    return [_read(path) for path in sorted(files)]


def _deployment(images: dict[str, str]) -> dict[str, Any]:
    deployment = _read(_folder() / "rbac" / "prometheus-operator" / "prometheus-operator-deployment.yaml")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = images["prometheus-operator"]
    # Its own limits of a fifth, and for the reloader of a hundredth, of a core would be most of the waiting.
    container.pop("resources")
    reloader = f"--prometheus-config-reloader={images['prometheus-config-reloader']}"
    container["args"] = [reloader, "--config-reloader-cpu-limit=0", "--config-reloader-cpu-request=0"]
    return deployment


def _read(path: Path) -> dict[str, Any]:
    """A document of the release, in our namespace where it says `default`."""
    text = json.dumps(YAML(typ="safe", pure=True).load(path))
    return dict(json.loads(text.replace('"namespace": "default"', f'"namespace": "{NAMESPACE}"')))


def _prometheus(images: dict[str, str]) -> dict[str, Any]:
    """It selects monitors and rules by label, as that of kube-prometheus-stack does, in all namespaces."""
    selectors = {
        f"{kind}{what}": by
        for kind in ("podMonitor", "serviceMonitor", "rule")
        for what, by in (("Selector", {"matchLabels": _SELECTED}), ("NamespaceSelector", {}))
    }
    spec = {
        "image": images["prometheus"],
        "version": _prometheus_version(),
        "replicas": 1,
        "serviceAccountName": "prometheus",
        "securityContext": _USER,
        "evaluationInterval": "1s",
        "alerting": {"alertmanagers": [{"namespace": NAMESPACE, "name": "alertmanager-operated", "port": "web"}]},
        **selectors,
    }
    return {"apiVersion": _API, "kind": "Prometheus", "metadata": {"name": _NAME}, "spec": spec}


def _prometheus_version() -> str:
    """v3.16.0 is the Go module v0.316.0."""
    _, both, patch = programs.pinned_version("prometheus", "github.com/prometheus/prometheus").split(".")
    return f"v{both[0]}.{int(both[1:])}.{patch}"


def _alertmanager(images: dict[str, str], webhook: Webhook) -> list[dict[str, Any]]:
    """With the inhibition that docs/monitoring.md recommends."""
    page = (ROOT / "docs" / "monitoring.md").read_text()
    recommended = re.search(r"```yaml\n(inhibit_rules:.*?)```", page, re.DOTALL)
    assert recommended, "docs/monitoring.md has no inhibit_rules"
    config = {
        "route": {
            "receiver": "webhook",
            "group_by": ["namespace", "kind", "training"],
            "group_wait": "1s",
            "group_interval": "1s",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook.url}]}],
        **YAML(typ="safe", pure=True).load(recommended[1]),
    }
    spec = {
        "image": images["alertmanager"],
        "version": programs.pinned_version(_MODULE, "github.com/prometheus/alertmanager"),
        "replicas": 1,
        "securityContext": _USER,
        "configSecret": "alertmanager",
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "alertmanager"},
            "stringData": {"alertmanager.yaml": json.dumps(config)},
        },
        {"apiVersion": _API, "kind": "Alertmanager", "metadata": {"name": _NAME}, "spec": spec},
    ]

"""The operator as the chart installs it: values for tests, its pod, its process, its metrics."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from igpo_cluster import programs
from igpo_cluster.cluster import Cluster
from igpo_cluster.errors import ClusterError
from igpo_cluster.images import Images
from igpo_cluster.waiting import until
from igpo_e2e.manifests import ROOT, merged

CHART = ROOT / "charts" / "igpo-operator"
RELEASE = "igpo"
NAMESPACE = "igpo-system"
DEPLOYMENT = "igpo-igpo-operator"

QUICK = {
    "scrapeSeconds": 2,
    "lingerSeconds": 4,
    "progressIntervalSeconds": 2,
    "restartBaseSeconds": 1,
    "waitBaseSeconds": 2,
}
"""Settings that let a test see in seconds what takes minutes on a real cluster."""


@dataclass(frozen=True)
class Operator:
    """A release of the chart."""

    cluster: Cluster
    images: Images
    values: dict[str, Any] = field(default_factory=dict)
    chart: Path = CHART
    namespace: str = NAMESPACE

    @property
    def account(self) -> str:
        """The operator as the audit log names it."""
        return f"system:serviceaccount:{self.namespace}:{DEPLOYMENT}"

    def install(self, **values: Any) -> None:
        """Install or upgrade the release and wait until the operator is ready; values go over those of the tests."""
        given = merged(merged(self._defaults(), self.values), values)
        command = ["upgrade", "--install", RELEASE, str(self.chart), "--namespace", self.namespace]
        waiting = ("--create-namespace", "--wait", "--timeout", "3m")
        self.helm(*command, *waiting, "--values", "-", stdin=json.dumps(given))

    def uninstall(self) -> None:
        """Remove the release, if it is there; CRDs and runs stay."""
        self.helm("uninstall", RELEASE, "--namespace", self.namespace, "--wait", "--ignore-not-found")

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """Run helm against the cluster; returns stdout.

        Raises:
            ClusterError: helm fails; the message is its stderr.
        """
        words = [str(programs.locate("helm")), "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise ClusterError(f"helm {' '.join(arguments)}: {done.stderr.strip()}\n{self._why_not_ready()}")
        return done.stdout

    def pod(self) -> dict[str, Any]:
        """The one pod of the operator that is not going away."""

        def look() -> dict[str, Any] | None:
            selector = f"app.kubernetes.io/instance={RELEASE}"
            pods = self.cluster.items("pods", "-n", self.namespace, "-l", selector)
            staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            return staying[0] if len(staying) == 1 and staying[0]["status"].get("podIP") else None

        return until(look, "one pod of the operator", within=60, every=0.5)

    def wait_ready(self) -> None:
        """Wait until the operator's container is ready again, e.g. after it was killed."""
        self.cluster.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "-n", self.namespace, "--timeout=120s")

    def kill(self) -> None:
        """Kill -9 the operator's process; the kubelet starts it again."""
        pids = list(_pids("igpo_operator"))
        if not pids:
            raise ClusterError(f"no process runs igpo_operator on this node\n{self._why_not_ready()}")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def scale(self, replicas: int) -> None:
        """Stop (0) or start (1) the operator and wait until it has."""
        self.cluster.kubectl("scale", f"deployment/{DEPLOYMENT}", f"--replicas={replicas}", "-n", self.namespace)
        if replicas:
            self.wait_ready()
        else:
            selector = f"app.kubernetes.io/instance={RELEASE}"
            self.cluster.kubectl("wait", "pod", "-l", selector, "-n", self.namespace, "--for=delete", "--timeout=60s")

    def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Samples of the operator's /metrics by name."""
        return samples(f"http://{self.pod()['status']['podIP']}:8080/metrics")

    def log(self) -> str:
        """The operator's log, of all its lives."""
        now = self.cluster.kubectl("logs", f"deployment/{DEPLOYMENT}", "-n", self.namespace)
        with suppress(ClusterError):
            return self.cluster.kubectl("logs", f"deployment/{DEPLOYMENT}", "-n", self.namespace, "--previous") + now
        return now

    def _defaults(self) -> dict[str, Any]:
        operator, trainer = (image.rpartition(":") for image in (self.images.operator, self.images.trainer))
        return {
            "image": {"repository": operator[0], "tag": operator[2], "pullPolicy": "Never"},
            "trainerImage": {"repository": trainer[0], "tag": trainer[2]},
            "config": QUICK,
        }

    def _why_not_ready(self) -> str:
        with suppress(ClusterError):
            return self.cluster.kubectl("describe", "pods", "-n", self.namespace) + self.log()
        return ""


def samples(url: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Scrape a /metrics page: samples by name, each with its labels and value."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def _pids(module: str) -> Iterable[int]:
    """Processes inside containers that run `python -m module`."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                contained = (folder / "ns" / "pid").readlink() != Path("/proc/self/ns/pid").readlink()
                if module.encode() in words and contained:
                    yield int(folder.name)

"""Runs on kwok nodes: small manifests, and pods that end when a test says so."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from igpo_cluster import kwok
from igpo_cluster.cluster import Cluster
from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until
from igpo_operator.describe import describe, status


def sft(name: str, *, replicas: int = 2, gpus: int = 0, **spec: Any) -> dict[str, Any]:
    """A LengthAlignedSFT from nothing."""
    workers = {"replicas": replicas} | ({"gpusPerWorker": gpus} if gpus else {})
    return {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": "LengthAlignedSFT",
        "metadata": {"name": name},
        "spec": {
            "model": {
                "scratch": {"hiddenSize": 32, "layers": 1, "heads": 2, "intermediateSize": 64, "maxPositions": 64}
            },
            "dataset": {"source": "builtin:word-problems", "maxPromptTokens": 40},
            "length": {"target": 24},
            "sampling": {"completionLength": 24, "steps": 6, "blockLength": 12, "temperature": 0},
            "training": {"steps": 30, "batchSize": 8},
            "workers": workers,
            "storage": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
        }
        | spec,
    }


@dataclass
class Team:
    """A namespace of a cluster with runs in it."""

    cluster: Cluster
    namespace: str
    _volumes: list[str] = field(default_factory=list)

    def add_volumes(self, count: int) -> None:
        """Volumes that claims of 1Gi can be bound to."""
        names = [f"{self.namespace}-{len(self._volumes) + i}" for i in range(count)]
        self.cluster.apply(*(_volume(name) for name in names))
        self._volumes += names

    def remove_volumes(self) -> None:
        """Delete the volumes again."""
        if self._volumes:
            self.cluster.kubectl("delete", "pv", "--wait=false", "--ignore-not-found", *self._volumes)

    def apply(self, *runs: dict[str, Any]) -> None:
        """`kubectl apply`."""
        self.cluster.apply(*runs, namespace=self.namespace)

    def run(self, name: str, kind: str = "lengthalignedsft.igpo.dev") -> dict[str, Any]:
        """The run as stored."""
        return self.cluster.get(kind, name, f"--namespace={self.namespace}")

    def status(self, name: str, kind: str = "lengthalignedsft.igpo.dev") -> dict[str, Any]:
        """The status, empty at first."""
        status: dict[str, Any] = self.run(name, kind).get("status", {})
        return status

    def pods(self) -> dict[str, dict[str, Any]]:
        """Pods by name."""
        found = self.cluster.items("pods", f"--namespace={self.namespace}")
        return {pod["metadata"]["name"]: pod for pod in found}

    def wait_for_phase(self, name: str, *phases: str, within: float = 40.0) -> dict[str, Any]:
        """Wait until the run is in one of the phases; its status."""

        def probe() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status.get("phase") in phases else None

        try:
            return until(probe, f"{name} to be {' or '.join(phases)}", within, every=0.2)
        except ClusterError as error:
            raise ClusterError(f"{error}: {json.dumps(self.status(name), indent=1)}") from error

    def wait_for_attempt(self, name: str, number: int, phase: str, within: float = 40.0) -> dict[str, Any]:
        """Wait until this attempt is in a phase; the run's status."""

        def probe() -> dict[str, Any] | None:
            status = self.status(name)
            here = (status.get("attempt", {}).get("number"), status.get("phase")) == (number, phase)
            return status if here else None

        return until(probe, f"attempt {number} of {name} to be {phase}", within, every=0.2)

    def wait_for_condition(self, name: str, kind: str, reason: str, within: float = 40.0) -> dict[str, Any]:
        """Wait until a condition is True for a reason."""

        def probe() -> dict[str, Any] | None:
            found = self.status(name).get("conditions", [])
            return next((c for c in found if c["type"] == kind and c["reason"] == reason), None)

        return until(probe, f"{name} to have {kind}/{reason}", within, every=0.2)

    def end(self, pod: str, code: int = 0, step: int | None = None, **said: Any) -> None:
        """Let a pod's trainer end with a code and the termination message that goes with it."""
        message = {"code": code, "reason": "done" if code == 0 else "it broke", "step": step} | said
        kwok.end_pod(self.cluster, self.namespace, pod, code, message=json.dumps(message))

    def end_all(self, name: str, attempt: int, replicas: int = 2, step: int = 30) -> None:
        """Let every rank of an attempt end well."""
        for rank in range(replicas):
            self.end(f"{name}-lasft-a{attempt}-{rank}", 0, step=step)


def igpo(team: Team, *words: str, kubeconfig: Path | None = None) -> str:
    """What `igpo describe …` or `igpo status …` prints for a user of the team's cluster."""
    app = typer.Typer()
    app.command("describe")(describe)
    app.command("status")(status)
    environment = {"KUBECONFIG": str(kubeconfig or team.cluster.kubeconfig), "COLUMNS": "240"}
    return CliRunner().invoke(app, list(words), env=environment, catch_exceptions=False).output


def _volume(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/var/lib/none/{name}"},
        },
    }

"""kwok plays the kubelet of nodes that do not exist: pods there run at once and cost nothing."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from igpo_cluster import processes, programs
from igpo_cluster.cluster import Cluster

STAGES = Path(__file__).parent / "kwok_stages.yaml"
HOLD = "igpo-cluster/hold-deletion"
"""A pod with this annotation stays Terminating until the annotation is taken off or the pod is deleted by force."""
FROZEN = "frozen-"
"""Pods on a node whose name starts like this are scheduled and never start."""


def start(cluster: Cluster, arguments: Sequence[str] = ()) -> None:
    """Start kwok for the nodes that `add_nodes` makes."""
    command: list[str | Path] = [
        programs.locate("kwok"),
        f"--kubeconfig={cluster.kubeconfig}",
        f"--config={STAGES}",
        "--cidr=198.18.128.0/17",  # addresses for benchmarks; the default holds 254 pods
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        *arguments,
    ]
    processes.start("kwok", command, cluster.folder)


def add_nodes(
    cluster: Cluster, *names: str, gpus: int = 0, pods: int = 110, cpu: str = "64", taint: bool = False
) -> None:
    """Add nodes of `gpus` nvidia.com/gpu each; with `taint`, only pods that tolerate kwok.x-k8s.io/node come.

    Returns when all are Ready.
    """
    cluster.apply(*(_node(name, gpus, pods, cpu, taint) for name in names))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *(f"node/{name}" for name in names))


def remove_nodes(cluster: Cluster, *names: str) -> None:
    """Delete nodes; their pods are then gone too, as the node they ran on."""
    cluster.kubectl("delete", "node", "--ignore-not-found", *names)


def end_pod(cluster: Cluster, namespace: str, name: str, exit_code: int, message: str = "", reason: str = "") -> None:
    """Let all containers of a pod on a kwok node end with `exit_code` and the termination `message`."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    why = reason or ("Completed" if exit_code == 0 else "Error")
    pod = cluster.get("pod", name, f"--namespace={namespace}")
    ended = {"exitCode": exit_code, "reason": why, "message": message, "startedAt": now, "finishedAt": now}
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "started": False,
            "state": {"terminated": ended},
        }
        for container in pod["spec"]["containers"]
    ]
    patch_pod(cluster, namespace, name, phase="Succeeded" if exit_code == 0 else "Failed", containerStatuses=containers)


def patch_pod(cluster: Cluster, namespace: str, name: str, **status: Any) -> None:
    """Merge `status` into a pod's status, as its kubelet would."""
    patch = json.dumps({"status": status})
    cluster.kubectl(
        "patch", "pod", name, f"--namespace={namespace}", "--subresource=status", "--type=merge", f"--patch={patch}"
    )


def _node(name: str, gpus: int, pods: int, cpu: str, taint: bool) -> dict[str, Any]:
    resources = {"cpu": cpu, "memory": "512Gi", "pods": str(pods), "ephemeral-storage": "1Ti"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "type": "kwok",
    }
    taints = [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}] if taint else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": taints},
        "status": {"allocatable": resources, "capacity": resources},
    }

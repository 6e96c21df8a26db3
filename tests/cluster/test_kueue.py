from collections.abc import Iterator
from typing import Any

import pytest

from igpo_cluster import kueue, kwok
from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until


@pytest.fixture
def queue(queued_control_plane: Cluster) -> Iterator[str]:
    cluster = queued_control_plane
    kwok.add_nodes(cluster, "kueue-node", gpus=8)
    cluster.create_namespace("queueing")
    kueue.add_priority(cluster, "urgent", 1000)
    kueue.add_queue(cluster, "gpus", "queueing", gpus=4, preemption=True)
    yield "gpus"
    cluster.delete_namespace("queueing")
    kwok.remove_nodes(cluster, "kueue-node")


def _group(name: str, pods: int, priority: str = "") -> list[dict[str, Any]]:
    labels = {"kueue.x-k8s.io/queue-name": "gpus", "kueue.x-k8s.io/pod-group-name": name}
    if priority:
        labels["kueue.x-k8s.io/priority-class"] = priority
    limits = {"nvidia.com/gpu": "2"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{number}",
                "labels": labels,
                "annotations": {"kueue.x-k8s.io/pod-group-total-count": str(pods)},
            },
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "trainer", "image": "any", "resources": {"limits": limits}}],
            },
        }
        for number in range(pods)
    ]


def _phases(cluster: Cluster, group: str) -> set[str]:
    pods = cluster.items("pods", "-n", "queueing", "-l", f"kueue.x-k8s.io/pod-group-name={group}")
    return {pod["status"].get("phase", "") for pod in pods}


def test_a_group_waits_for_quota_and_an_urgent_one_takes_it(queued_control_plane: Cluster, queue: str) -> None:
    cluster = queued_control_plane
    cluster.apply(*_group("first", 2), namespace="queueing")
    until(lambda: _phases(cluster, "first") == {"Running"}, "the first group running")
    cluster.apply(*_group("second", 1), namespace="queueing")
    assert _phases(cluster, "second") == {"Pending"}
    until(lambda: kueue.used_gpus(cluster, queue) == 4, "the first group's quota in the queue's status")
    cluster.apply(*_group("third", 2, "urgent"), namespace="queueing")
    until(lambda: _phases(cluster, "third") == {"Running"}, "the urgent group running")
    assert "Running" not in _phases(cluster, "first")

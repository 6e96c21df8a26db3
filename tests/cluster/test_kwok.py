from collections.abc import Iterator
from typing import Any

import pytest

from igpo_cluster import kwok
from igpo_cluster.cluster import Cluster

_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture
def node(control_plane: Cluster, namespace: str) -> Iterator[str]:
    kwok.add_nodes(control_plane, f"{namespace}-node", gpus=2)
    yield f"{namespace}-node"
    kwok.remove_nodes(control_plane, f"{namespace}-node")


def _pod(name: str, gpus: int, **metadata: Any) -> dict[str, Any]:
    container = {
        "name": "trainer",
        "image": "any",
        "securityContext": _SECURITY,
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def _wait(cluster: Cluster, namespace: str, name: str, condition: str) -> None:
    cluster.kubectl("wait", f"--for={condition}", f"pod/{name}", "-n", namespace, "--timeout=20s")


def test_a_pod_that_fits_runs_and_one_that_does_not_stays_pending(
    control_plane: Cluster, namespace: str, node: str
) -> None:
    kwok.add_nodes(control_plane, node, gpus=2)
    control_plane.apply(_pod("fits", 2), namespace=namespace)
    _wait(control_plane, namespace, "fits", "condition=Ready")
    status = control_plane.get("pod", "fits", "-n", namespace)["status"]
    assert status["phase"] == "Running"
    assert "running" in status["containerStatuses"][0]["state"]
    control_plane.apply(_pod("waits", 3), namespace=namespace)
    _wait(control_plane, namespace, "waits", "condition=PodScheduled=False")


def test_a_pod_ends_with_the_exit_code_and_message_that_the_test_says(
    control_plane: Cluster, namespace: str, node: str
) -> None:
    control_plane.apply(_pod("p", 1), namespace=namespace)
    _wait(control_plane, namespace, "p", "condition=Ready")
    kwok.end_pod(control_plane, namespace, "p", 75, message='{"code": 75}')
    status = control_plane.get("pod", "p", "-n", namespace)["status"]
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (status["phase"], ended["exitCode"], ended["message"]) == ("Failed", 75, '{"code": 75}')


def test_a_deleted_pod_goes_at_once_unless_it_is_held(control_plane: Cluster, namespace: str, node: str) -> None:
    control_plane.apply(_pod("goes", 1), _pod("held", 1, annotations={kwok.HOLD: "true"}), namespace=namespace)
    for name in ("goes", "held"):
        _wait(control_plane, namespace, name, "condition=Ready")
    control_plane.kubectl("delete", "pod", "goes", "held", "-n", namespace, "--wait=false")
    _wait(control_plane, namespace, "goes", "delete")
    held = control_plane.get("pod", "held", "-n", namespace)
    assert held["metadata"]["deletionTimestamp"]
    assert held["status"]["phase"] == "Running"
    control_plane.kubectl("annotate", "pod", "held", "-n", namespace, f"{kwok.HOLD}-")
    _wait(control_plane, namespace, "held", "delete")


def test_a_pod_on_a_frozen_node_is_scheduled_and_never_starts(control_plane: Cluster, namespace: str) -> None:
    frozen = f"{kwok.FROZEN}{namespace}"
    kwok.add_nodes(control_plane, frozen, gpus=1)
    pod = _pod("p", 1)
    pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": frozen}
    control_plane.apply(pod, namespace=namespace)
    _wait(control_plane, namespace, "p", "condition=PodScheduled")
    assert control_plane.get("pod", "p", "-n", namespace)["status"]["phase"] == "Pending"
    kwok.remove_nodes(control_plane, frozen)

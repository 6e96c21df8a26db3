"""The level with a node. These tests start and kill whole clusters, so they run before and apart from tests/e2e."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from igpo_cluster import processes, workspace
from igpo_cluster.cluster import Cluster
from igpo_cluster.full import FullCluster
from igpo_cluster.images import load
from igpo_cluster.machine import Machine
from igpo_cluster.node import NODE
from igpo_cluster.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HARNESS = Path(processes.__file__).parents[1]
START_AND_HANG = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from igpo_cluster.control_plane import Options
from igpo_cluster.full import FullCluster
with FullCluster(Options(name="killed")) as cluster:
    print(cluster.folder, flush=True)
    threading.Event().wait()
"""
GREET = """
import pathlib, socket, sys, time
me, peer = sys.argv[1:]
volume = pathlib.Path("/data")
volume.joinpath(me).write_text("here")
server = socket.create_server(("", 7000))
deadline = time.monotonic() + 60
while True:
    try:
        with socket.create_connection((peer + ".gang", 7000), timeout=1) as call:
            call.sendall(me.encode())
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
connection, _ = server.accept()
print("heard", connection.recv(100).decode(), "beside", *sorted(path.name for path in volume.iterdir()))
"""


def _restricted_pod(name: str, peer: str, image: str) -> dict[str, Any]:
    container = {
        "name": "trainer",
        "image": image,
        "command": ["python3", "-c", GREET, name, peer],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "gang"}},
        "spec": {
            "hostname": name,
            "subdomain": "gang",
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }


def _traces(folder: Path, machine: Machine) -> list[str]:
    found = [f"process {pid}" for pid in processes.marked(folder)]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{machine.control_group}")]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    found += [line for line in links.splitlines() if machine.link in line or "cni0" in line]
    found += [line for line in routes.splitlines() if machine.link in line]
    found += [line for line in rules.splitlines() if "KUBE" in line]
    return found + ([str(folder)] if folder.exists() else [])


def test_a_killed_harness_leaves_a_node_that_the_next_start_removes_before_its_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_HANG, HARNESS], stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout
        folder = Path(harness.stdout.readline().strip())
        machine = workspace.Workspace(folder).state.machine
        assert machine is not None
        harness.send_signal(signal.SIGKILL)
    assert _traces(folder, Machine(machine))
    with FullCluster() as cluster:
        second = cluster.folder
        assert processes.marked(folder) == []
        assert not folder.exists()
        assert cluster.items("nodes")[0]["metadata"]["name"] == NODE
    assert _traces(folder, Machine(machine)) == []
    assert _traces(second, Machine(machine)) == []


def test_a_harness_killed_while_it_starts_leaves_nothing_after_a_sweep() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_HANG, HARNESS], stdout=subprocess.PIPE, text=True
    ) as harness:

        def node_starts() -> Path | None:
            found = [space.folder for space in workspace.every() if space.folder.name.startswith("killed")]
            return found[0] if found and (found[0] / "kubelet.json").exists() else None

        folder = until(node_starts, "a kubelet")
        machine = workspace.Workspace(folder).state.machine
        harness.send_signal(signal.SIGKILL)
    workspace.sweep()
    assert machine is not None
    assert _traces(folder, Machine(machine)) == []


def test_two_restricted_pods_meet_by_name_and_share_a_volume(cluster: Cluster) -> None:
    image = load(cluster, "operator")
    cluster.create_namespace("gang", pod_security="restricted")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gang"},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": "gang"}},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    pods = [_restricted_pod("anna", "bert", image), _restricted_pod("bert", "anna", image)]
    cluster.apply(service, claim, *pods, namespace="gang")
    for name in ("anna", "bert"):
        done = "jsonpath={.status.phase}=Succeeded"
        cluster.kubectl("wait", f"--for={done}", f"pod/{name}", "-n", "gang", "--timeout=90s")
    assert cluster.kubectl("logs", "anna", "-n", "gang") == "heard bert beside anna bert\n"
    cluster.delete_namespace("gang")


def test_the_host_reaches_pods_and_services(cluster: Cluster) -> None:
    service = cluster.get("service", "kubernetes", "-n", "default")
    address = service["spec"]["clusterIP"]
    answer = subprocess.run(
        ["curl", "--insecure", "--silent", "--max-time", "20", "--retry", "5", f"https://{address}/version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout)["major"] == "1"


def test_a_node_without_kubelet_is_noticed_and_comes_back(cluster: Cluster, full: FullCluster) -> None:
    with full.kubelet_stopped():
        unknown = "jsonpath={.status.conditions[?(@.type=='Ready')].status}=Unknown"
        cluster.kubectl("wait", f"--for={unknown}", f"node/{NODE}", "--timeout=60s")
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=30s")

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes import client

from igpo_cluster import processes, workspace
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.test.igpo.dev"},
    "spec": {
        "group": "test.igpo.dev",
        "names": {"kind": "Boat", "plural": "boats", "singular": "boat"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"masts": {"type": "integer"}},
                                "x-kubernetes-validations": [{"rule": "self.masts > 0", "message": "add a mast"}],
                            }
                        },
                    }
                },
            }
        ],
    },
}
HARNESS = Path(processes.__file__).parents[1]
START_AND_HANG = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from igpo_cluster.control_plane import ControlPlane, Options
with ControlPlane(Options(name="killed")) as cluster:
    print(cluster.folder, flush=True)
    threading.Event().wait()
"""


def test_a_crd_is_established_and_its_rules_are_enforced(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "boats.json").write_text(json.dumps(CRD))
    control_plane.apply_crds(tmp_path)
    boat = {"apiVersion": "test.igpo.dev/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"masts": 2}}
    control_plane.apply(boat, namespace=namespace)
    assert control_plane.get("boat", "b", "-n", namespace)["spec"] == {"masts": 2}
    with pytest.raises(ClusterError, match="add a mast"):
        control_plane.apply({**boat, "spec": {"masts": 0}}, namespace=namespace)
    control_plane.kubectl("delete", "-f", tmp_path)


def test_the_python_client_talks_to_the_cluster(control_plane: Cluster, namespace: str) -> None:
    names = [item.metadata.name for item in client.CoreV1Api(control_plane.api).list_namespace().items]
    assert namespace in names


def test_the_audit_log_counts_the_writes_since_a_mark_by_namespace_and_user(
    control_plane: Cluster, namespace: str
) -> None:
    control_plane.kubectl("create", "configmap", "before", "-n", namespace)
    mark = control_plane.audit.mark()
    control_plane.kubectl("create", "configmap", "after", "-n", namespace)
    writes = mark.writes(user="admin", namespace=namespace)
    assert [(write.verb, write.resource, write.name) for write in writes] == [("create", "configmaps", "after")]
    assert mark.writes(user="nobody") == []


def test_reads_of_an_audited_user_are_in_the_audit_log_and_rbac_binds_that_user(
    control_plane: Cluster, namespace: str
) -> None:
    mark = control_plane.audit.mark()
    kubeconfig = control_plane.user("igpo-test-user", ["igpo.dev/audited"])
    with pytest.raises(ClusterError, match="forbidden"):
        control_plane.kubectl("get", "pods", "-n", namespace, f"--kubeconfig={kubeconfig}")
    seen = [
        (request.verb, request.resource, request.code)
        for request in mark.requests()
        if request.user == "igpo-test-user"
    ]
    assert ("list", "pods", 403) in seen


def test_a_cluster_leaves_no_process_and_no_file() -> None:
    with ControlPlane(Options(name="short")) as cluster:
        folder = cluster.folder
        assert len(processes.marked(folder)) == 4
    assert processes.marked(folder) == []
    assert not folder.exists()


def test_a_program_that_does_not_start_is_an_error_with_its_log_and_leaves_nothing() -> None:
    options = Options(name="broken", arguments={"kube-apiserver": ["--no-such-flag"]})
    with pytest.raises(ClusterError, match=r"(?s)kube-apiserver ended with 1.*no-such-flag"), ControlPlane(options):
        pass
    assert "broken" not in [space.folder.name.split("-")[0] for space in workspace.every()]


def test_the_next_start_removes_what_a_killed_harness_left() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_HANG, HARNESS], stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout
        folder = Path(harness.stdout.readline().strip())
        assert len(processes.marked(folder)) == 4
        harness.send_signal(signal.SIGKILL)
    assert len(processes.marked(folder)) == 4
    workspace.sweep()
    until(lambda: not processes.marked(folder), "the end of the processes of the killed harness")
    assert not folder.exists()

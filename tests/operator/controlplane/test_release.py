"""Releases of the chart, installed, upgraded and uninstalled by the real helm on a real API server.

Those for single namespaces are what docs/install.md, charts/igpo-operator/README.md and
charts/igpo-operator/charts/igpo-crds/README.md tell people to type.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chartworld.helm import CHART, CRDS_CHART, Body, every, helm, read, rendered, run_helm
from igpo_cluster import kwok, programs
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until
from operatorworld.runs import sft

pytestmark = pytest.mark.timeout(300)  # the first test may have to build helm

CRDS = ["igpotrainings.igpo.dev", "lengthalignedsfts.igpo.dev"]
USER = "someone"


@pytest.fixture(scope="module")
def empty() -> Iterator[Cluster]:
    """A control plane of these tests' own, without CRDs; a node of kwok says that the operator's pods run."""
    with ControlPlane(Options(name="empty", kwok=True)) as cluster:
        kwok.add_nodes(cluster, "node")
        for name in ("igpo-system", "team-a", "team-b"):
            cluster.create_namespace(name, pod_security="restricted")
        yield cluster


def _helm(cluster: Cluster, *words: str | Path, values: dict[str, Any] | None = None) -> str:
    return helm("--kubeconfig", cluster.kubeconfig, *words, values=values)


def _install(cluster: Cluster, namespace: str, values: dict[str, Any]) -> str:
    words = ("upgrade", "--install", "igpo", CHART, "-n", namespace, "--wait", "--timeout", "2m")
    return _helm(cluster, *words, values=values)


def _crds(cluster: Cluster) -> list[str]:
    return [crd["metadata"]["name"] for crd in cluster.items("crds")]


def _of_release(cluster: Cluster) -> list[str]:
    """What of any release of the chart is in the cluster, CRDs aside."""
    kinds = "deployments,roles,rolebindings,clusterroles,clusterrolebindings,serviceaccounts,networkpolicies,jobs,pods"
    found = cluster.items(kinds, "--all-namespaces", "-l", "app.kubernetes.io/instance=igpo")
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found]


def test_a_release_is_installed_upgraded_and_uninstalled_and_leaves_crds_and_runs(empty: Cluster) -> None:
    alone = {"crds": {"enabled": False}}
    notes = _helm(empty, "install", "igpo", CHART, "-n", "igpo-system", "--dry-run=server", values=alone)
    missing = "helm upgrade --install igpo-crds charts/igpo-operator/charts/igpo-crds --namespace igpo-system"
    assert missing in notes
    notes = _install(empty, "igpo-system", {})
    assert missing not in notes
    assert "igpo-operator 0.1.0 works in every namespace." in notes
    assert "helm test igpo --namespace igpo-system --timeout 1620s" in notes
    assert "kubectl apply -f examples/igpo-run.yaml" in notes
    until(lambda: _crds(empty) == CRDS, "the CRDs")
    until(lambda: _is_served(empty), "runs to be accepted", every=0.5)
    empty.apply(sft("kept"), namespace="team-a")
    _install(empty, "igpo-system", {"config": {"logLevel": "DEBUG"}})
    deployment = empty.get("deployment", "igpo-igpo-operator", "--namespace=igpo-system")
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "IGPO_OPERATOR_LOG_LEVEL", "value": "DEBUG"} in environment
    _helm(empty, "uninstall", "igpo", "-n", "igpo-system", "--wait")
    until(lambda: not _of_release(empty), "the release to be gone", every=0.5)
    assert _crds(empty) == CRDS
    assert empty.get("lengthalignedsft", "kept", "--namespace=team-a")["spec"]["training"] == {
        "steps": 30,
        "batchSize": 8,
    }
    _install(empty, "igpo-system", {"crds": {"keep": False}})  # adopts the CRDs that its predecessor has left
    _helm(empty, "uninstall", "igpo", "-n", "igpo-system", "--wait")
    until(lambda: not _crds(empty), "the CRDs to go as crds.keep says", every=0.5)


def test_two_namespaced_releases_share_the_crds_and_one_may_go(empty: Cluster) -> None:
    _helm(empty, "upgrade", "--install", "igpo-crds", CRDS_CHART, "-n", "igpo-system")
    until(lambda: _is_served(empty), "runs to be accepted", every=0.5)
    for namespace in ("team-a", "team-b"):
        values = {"scope": "Namespaced", "watchNamespaces": [namespace], "crds": {"enabled": False}}
        notes = _install(empty, namespace, values)
        assert f"igpo-operator 0.1.0 works in {namespace}." in notes
        assert f"kubectl get -n {namespace} igpo,lasft" in notes
        assert "The CRDs are missing" not in notes
    account = "system:serviceaccount:{0}:igpo-igpo-operator"
    assert _may(empty, account.format("team-a"), "create", "pods", "team-a")
    assert not _may(empty, account.format("team-a"), "create", "pods", "team-b")
    assert not _may(empty, account.format("team-a"), "get", "nodes", "team-a")
    _helm(empty, "uninstall", "igpo", "-n", "team-a", "--wait")
    assert not _may(empty, account.format("team-a"), "create", "pods", "team-a")
    assert _may(empty, account.format("team-b"), "create", "pods", "team-b")
    assert _crds(empty) == CRDS
    _helm(empty, "uninstall", "igpo", "-n", "team-b", "--wait")
    _helm(empty, "uninstall", "igpo-crds", "-n", "igpo-system")
    assert _crds(empty) == CRDS
    until(lambda: not _of_release(empty), "the releases to be gone", every=0.5)


def test_a_second_release_that_would_own_the_crds_is_refused_with_the_way_out(empty: Cluster) -> None:
    values = {"scope": "Namespaced", "watchNamespaces": ["team-a"]}
    words = ("--kubeconfig", empty.kubeconfig, "install", "igpo", CHART, "-n", "team-a")
    done = run_helm(*words, values=values)
    assert done.returncode != 0
    assert "set crds.enabled to false and install the chart igpo-crds once for all" in done.stderr
    assert not _of_release(empty)


def test_who_may_view_edit_or_administer_a_namespace_may_do_so_with_runs(served: Cluster, namespace: str) -> None:
    roles = [role for role in every(rendered(release=namespace), "ClusterRole") if "rules" in role]
    aggregated = [role for role in roles if any("aggregate-to" in label for label in role["metadata"]["labels"])]
    assert len(aggregated) == 3
    served.apply(*aggregated)
    allowed = {
        "view": {"get", "list", "watch"},
        "edit": {"get", "list", "watch", "create", "update", "patch", "delete"},
        "admin": {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
    }
    try:
        for role, verbs in allowed.items():
            user = f"{USER}-{role}-{namespace}"
            served.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", namespace)
            until(lambda user=user: CRDS[0] in _rights(served, user, namespace), f"{role} to be aggregated")
            rights = _rights(served, user, namespace)
            for resource in CRDS:
                assert rights[resource] == verbs
                plural, group = resource.split(".", 1)
                assert rights[f"{plural}.{group}/status"] == {"get"}
            assert not set(CRDS) & _rights(served, user, "default").keys()
    finally:
        served.kubectl("delete", "clusterrole", *(role["metadata"]["name"] for role in aggregated))


@pytest.fixture(scope="module")
def monitored(served: Cluster) -> Cluster:
    """A control plane with the CRDs of the operators of Prometheus and Grafana that the chart has objects for."""
    prometheus = programs.module_folder("prometheus-operator", "github.com/prometheus-operator/prometheus-operator")
    for name in ("podmonitors", "servicemonitors", "prometheusrules"):
        served.apply_crds(prometheus / "example" / "prometheus-operator-crd" / f"monitoring.coreos.com_{name}.yaml")
    grafana = programs.released_folder("github.com/grafana/grafana-operator/v5", "v5.18.0")
    served.apply_crds(grafana / "config" / "crd" / "bases" / "grafana.integreatly.org_grafanadashboards.yaml")
    return served


@pytest.mark.parametrize("case", sorted(path.name for path in (CHART / "ci").glob("*-values.yaml")))
def test_the_api_server_accepts_what_is_rendered(case: str, monitored: Cluster) -> None:
    objects: list[Body] = rendered(read(CHART / "ci" / case))
    for item in objects:
        if item["metadata"].get("namespace"):  # those of the values do not exist here
            item["metadata"]["namespace"] = "default"
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    answer = monitored.kubectl(*words, stdin=listed)
    assert answer.count("serverside-applied") == len(objects)


def _is_served(cluster: Cluster) -> bool:
    return all(name in cluster.kubectl("api-resources", "-o", "name", "--cached=false").split() for name in CRDS)


def _rights(cluster: Cluster, user: str, namespace: str) -> dict[str, set[str]]:
    """Verbs by resource, as `kubectl auth can-i --list` tells them."""
    found: dict[str, set[str]] = {}
    listed = cluster.kubectl("auth", "can-i", "--list", "--no-headers", f"--as={user}", "-n", namespace)
    for line in listed.splitlines():
        resource, verbs = line.split()[0], line.rpartition("[")[2].rstrip("] ").split()
        found.setdefault(resource, set()).update(verbs)
    return found


def _may(cluster: Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    try:
        return "yes" in cluster.kubectl("auth", "can-i", verb, resource, f"--as={user}", "-n", namespace)
    except ClusterError:  # no is exit status 1
        return False

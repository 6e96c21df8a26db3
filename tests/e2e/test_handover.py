"""From the release before: what helm refuses and why, and whose the CRDs are. Helm and a control plane, no node.

The commands are those of docs/upgrade.md.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from chartworld.helm import CHART, CRDS_CHART, helm, run_helm
from igpo_cluster import kwok
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.history import previous_tree
from igpo_cluster.waiting import until
from igpo_e2e.manifests import SFT, tiny
from igpo_e2e.run import Body, Run

SYSTEM, TEAM = "igpo-system", "team-a"
CRDS = {"igpotrainings.igpo.dev", "lengthalignedsfts.igpo.dev"}
ONE_TEAM = {"watchNamespaces": [TEAM]}
NAMESPACED = {"scope": "Namespaced", **ONE_TEAM}
WITHOUT_CRDS = {**NAMESPACED, "crds": {"enabled": False}}


@pytest.fixture
def empty() -> Iterator[Cluster]:
    """A control plane without CRDs; a node of kwok says that the operator's pods run."""
    with ControlPlane(Options(name="handover", kwok=True)) as cluster:
        kwok.add_nodes(cluster, "node")
        for name in (SYSTEM, TEAM):
            cluster.create_namespace(name, pod_security="restricted")
        yield cluster


def _before(cluster: Cluster, values: Body) -> Run:
    """The release before, and a run of its time."""
    chart = previous_tree() / "charts" / "igpo-operator"
    _helm(cluster, "install", "igpo", chart, "-n", SYSTEM, "--wait", values=values)
    until(lambda: set(_served(cluster)) >= CRDS, "runs to be accepted", every=0.5)
    return Run(cluster, SFT, TEAM, "old").apply(tiny(SFT, "old"))


def test_a_release_with_the_crds_is_upgraded_as_it_is_and_keeps_them_and_all_runs(empty: Cluster) -> None:
    run = _before(empty, {})
    uids = _uids(empty, run)
    assert _refusal(empty, {}, "--reuse-values").count("crds.install is called crds.enabled now") == 1
    assert "--reset-then-reuse-values" in _refusal(empty, {"crds": {"install": True}})
    _upgrade(empty, {})
    assert _uids(empty, run) == uids
    _helm(empty, "uninstall", "igpo", "-n", SYSTEM, "--wait")
    assert _uids(empty, run) == uids


def test_a_release_for_some_namespaces_is_told_each_step_and_hands_the_crds_over(empty: Cluster) -> None:
    run = _before(empty, ONE_TEAM)
    uids = _uids(empty, run)
    assert f"watchNamespaces names {TEAM}, but scope is Cluster" in _refusal(empty, ONE_TEAM)
    told = _refusal(empty, NAMESPACED)
    assert "set crds.enabled to false and install the chart igpo-crds once for all" in told
    assert "--take-ownership" in told

    _upgrade(empty, NAMESPACED | {"crds": {"allowNamespaced": True}})  # one way: it keeps what it has
    assert _uids(empty, run) == uids
    _upgrade(empty, WITHOUT_CRDS)  # the other: they stay, and belong to the release igpo-crds from then on
    assert _uids(empty, run) == uids
    words = ("upgrade", "--install", "igpo-crds", CRDS_CHART, "-n", SYSTEM)
    refused = run_helm("--kubeconfig", empty.kubeconfig, *words)
    assert refused.returncode != 0
    assert "invalid ownership metadata" in refused.stderr
    _helm(empty, *words, "--take-ownership")
    assert _uids(empty, run) == uids
    assert {crd["metadata"]["annotations"]["meta.helm.sh/release-name"] for crd in empty.items("crds")} == {"igpo-crds"}
    for release in ("igpo", "igpo-crds"):
        _helm(empty, "uninstall", release, "-n", SYSTEM, "--wait")
    assert _uids(empty, run) == uids


def _helm(cluster: Cluster, *words: Any, values: Body | None = None) -> str:
    return helm("--kubeconfig", cluster.kubeconfig, *words, values=values)


def _upgrade(cluster: Cluster, values: Body) -> None:
    _helm(cluster, "upgrade", "igpo", CHART, "-n", SYSTEM, "--wait", "--timeout", "2m", values=values)


def _refusal(cluster: Cluster, values: Body, *words: str) -> str:
    done = run_helm("--kubeconfig", cluster.kubeconfig, "upgrade", "igpo", CHART, "-n", SYSTEM, *words, values=values)
    assert done.returncode != 0, "helm upgrades this"
    return done.stderr


def _uids(cluster: Cluster, run: Run) -> dict[str, str]:
    """Of the CRDs and of a run: another UID is another object."""
    found = {crd["metadata"]["name"]: str(crd["metadata"]["uid"]) for crd in cluster.items("crds")}
    assert found.keys() == CRDS
    return found | {run.name: str(run.body()["metadata"]["uid"])}


def _served(cluster: Cluster) -> list[str]:
    return cluster.kubectl("api-resources", "-o", "name", "--cached=false").split()

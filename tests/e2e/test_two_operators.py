"""Two operators for a namespace each, beside one for all others: each works where it was told to, and nowhere else."""

import secrets
from collections.abc import Iterator

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.images import Images
from igpo_cluster.waiting import until
from igpo_e2e.manifests import SFT, tiny
from igpo_e2e.operator import RELEASE, Operator
from igpo_e2e.recorder import Record
from igpo_e2e.run import Run

OF_JOBS = {"system:kube-controller-manager", "system:serviceaccount:kube-system:job-controller"}
"""Who makes the pod that `helm test` runs."""
Pair = tuple[Operator, Operator]


@pytest.fixture(scope="module")
def teams(cluster: Cluster, images: Images, operator: Operator, record: Record) -> Iterator[Pair]:
    """Two releases of one name in the namespaces that they work in; the operator of all namespaces knows of both."""
    first, second = (_team(cluster, images, f"team-{secrets.token_hex(3)}") for _ in range(2))
    try:
        for team in (first, second):
            cluster.create_namespace(team.namespace, pod_security="restricted")
            team.install()
            said = f"namespace {team.namespace} has an operator of its own"
            until(lambda said=said: said in operator.log(), said, within=60, every=1)  # type: ignore[misc]
        yield first, second
    finally:
        for team in (first, second):
            team.uninstall()
            cluster.delete_namespace(team.namespace)


def _team(cluster: Cluster, images: Images, namespace: str) -> Operator:
    values = {"scope": "Namespaced", "watchNamespaces": [namespace], "crds": {"enabled": False}}
    return Operator(cluster, images, values, namespace=namespace)


def test_each_of_two_namespaced_operators_trains_the_runs_of_its_namespace_and_touches_no_other(
    cluster: Cluster, operator: Operator, teams: Pair
) -> None:
    first, second = teams
    mark = cluster.audit.mark()
    run = Run(cluster, SFT, first.namespace, "tiny").apply(tiny(SFT, "tiny", workers={"replicas": 1}))
    output = second.helm("test", RELEASE, "--namespace", second.namespace, "--timeout", "8m")
    assert "Phase:          Succeeded" in output, "the other trains its own, by the chart's test"
    assert run.wait_complete()["attempt"]["number"] == 1

    for team, other in ((first, second), (second, first)):
        writes = mark.writes(team.account)
        assert {write.namespace for write in writes} == {team.namespace}
        assert not [write for write in writes if write.code == 403]
        creators = {
            one.user
            for one in mark.writes(namespace=team.namespace)
            if (one.verb, one.resource) == ("create", "pods") and one.user not in OF_JOBS
        }
        assert creators == {team.account}
        assert not mark.writes(operator.account, team.namespace)
        assert other.namespace not in team.log()
    known = {labels["namespace"] for labels, _ in first.metrics()["igpo_operator_run_info"]}
    assert known == {first.namespace}


def test_a_namespaced_operator_has_no_right_outside_of_its_namespace(cluster: Cluster, teams: Pair) -> None:
    first, second = teams
    rights = [
        (item["kind"], item["metadata"]["name"])
        for item in cluster.items("clusterrolebindings")
        if any(one.get("namespace") in {first.namespace, second.namespace} for one in item.get("subjects", []))
    ]
    assert rights == []
    bound = {item["metadata"]["namespace"] for item in cluster.items("rolebindings", "-A") if _binds(item, first)}
    assert bound == {first.namespace}


def _binds(binding: dict[str, object], team: Operator) -> bool:
    subjects = binding.get("subjects")
    found = subjects if isinstance(subjects, list) else []
    return any(one.get("namespace") == team.namespace for one in found)

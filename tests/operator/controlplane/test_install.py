"""What an installation gives the operator: the chart's rights, one namespace or all of them, CRDs of some version."""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chartworld.helm import ROOT, rendered
from igpo_cluster import kwok
from igpo_cluster.audit import AuditLog
from igpo_cluster.cluster import Cluster
from igpo_cluster.control_plane import ControlPlane, Options
from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft

RIGHTS = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"}

pytestmark = pytest.mark.timeout(300)  # the first test may have to build helm


@pytest.fixture(scope="module")
def alone() -> Iterator[Cluster]:
    """A control plane of these tests' own: an operator of all namespaces would work for other tests, too."""
    with ControlPlane(Options(name="alone", kwok=True)) as cluster:
        cluster.apply_crds(ROOT / "crds")
        kwok.add_nodes(cluster, "node")
        yield cluster


@pytest.fixture
def teams(alone: Cluster) -> Iterator[tuple[Team, Team]]:
    """Two namespaces."""
    pair = Team(alone, f"team-{secrets.token_hex(3)}"), Team(alone, f"team-{secrets.token_hex(3)}")
    for team in pair:
        alone.create_namespace(team.namespace, pod_security="restricted")
        team.add_volumes(1)
    yield pair
    for team in pair:
        alone.delete_namespace(team.namespace)
        team.remove_volumes()


def test_with_a_role_the_operator_does_its_whole_job_in_one_namespace_and_looks_into_no_other(
    alone: Cluster, teams: tuple[Team, Team], operators: Callable[..., OperatorProcess]
) -> None:
    ours, theirs = teams
    account = _install(alone, ours.namespace, _scoped(ours))
    audit = alone.audit.mark()
    theirs.apply(sft("tiny"))
    operator = operators(account, namespaces=ours.namespace, may_read_nodes="false").start()
    _live(ours)
    assert operator.stop() == 0
    assert "Traceback" not in operator.log
    assert theirs.status("tiny") == {}
    assert _refused(audit, ours.namespace) == set()
    asked = {request.namespace for request in audit.requests() if request.user == _account(ours.namespace)}
    assert asked <= {ours.namespace, ""}
    assert _used(audit, ours.namespace) >= {
        *((verb, "pods") for verb in ("create", "delete", "list", "patch", "watch")),
        *((verb, kind) for verb in ("delete", "patch") for kind in ("configmaps", "services", "networkpolicies")),
        ("create", "persistentvolumeclaims"), ("create", "events"), ("update", "lengthalignedsfts/status"),
    }  # fmt: skip
    alone.kubectl("delete", "lasft", "tiny", f"--namespace={theirs.namespace}")


def test_with_a_cluster_role_the_operator_does_its_whole_job_in_all_namespaces(
    alone: Cluster, teams: tuple[Team, Team], operators: Callable[..., OperatorProcess]
) -> None:
    home = "operators-home"
    alone.create_namespace(home, pod_security="restricted")
    account = _install(alone, home, {})
    audit = alone.audit.mark()
    operator = operators(account, own_namespace=home).start()
    for team in teams:
        _live(team)
    assert operator.stop() == 0
    assert "Traceback" not in operator.log
    assert _refused(audit, home) == set()
    leases = {
        request.namespace for request in audit.requests() if (request.resource, request.verb) == ("leases", "create")
    }
    assert leases & {home, *(team.namespace for team in teams)} == {home}
    alone.kubectl("delete", "clusterrolebinding", f"igpo-operator-{home}")


def test_an_operator_of_all_namespaces_leaves_one_alone_in_which_another_holds_the_lease_and_takes_over_after_it(
    alone: Cluster, teams: tuple[Team, Team], operators: Callable[..., OperatorProcess]
) -> None:
    wide_only, shared = teams
    home = f"{shared.namespace}-home"
    alone.create_namespace(home)
    own = operators(alone.kubeconfig, namespaces=shared.namespace, identity="own").start()
    own.wait_for_log("holding the Lease")
    wide = operators(alone.kubeconfig, own_namespace=home, identity="wide").start()
    wide.wait_for_log(f"namespace {shared.namespace} has an operator of its own")
    wide.wait_for_log("holding the Lease")
    for team in teams:
        team.apply(sft("tiny"))
    for team in teams:
        team.wait_for_phase("tiny", "Running")
    assert f"{shared.namespace}/tiny" in own.log
    assert f"{shared.namespace}/tiny" not in wide.log
    assert f"{wide_only.namespace}/tiny" in wide.log
    assert f"{wide_only.namespace}/tiny" not in own.log
    own.kill()
    wide.wait_for_log(f"namespace {shared.namespace} has no operator of its own any more")
    shared.end_all("tiny", 1)
    shared.wait_for_phase("tiny", "Complete")


def test_under_an_older_crd_runs_wait_and_say_so_and_running_ones_are_left_alone_until_it_is_replaced(
    alone: Cluster, teams: tuple[Team, Team], operators: Callable[..., OperatorProcess]
) -> None:
    team, name = teams[0], "lengthalignedsfts.igpo.dev"
    account = _install(alone, team.namespace, _scoped(team))
    team.add_volumes(2)
    operator = operators(account, namespaces=team.namespace, may_read_nodes="false").start()
    team.apply(sft("before"))
    team.wait_for_phase("before", "Running")
    assert operator.stop() == 0
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/attempt/properties/notBefore"
    try:
        patch = json.dumps([{"op": "remove", "path": path}])
        alone.kubectl("patch", "crd", name, "--type=json", f"--patch={patch}")
        until(lambda: "notBefore" not in alone.kubectl("explain", "lasft.status.attempt"), "the old schema", every=0.2)
        operator.start()
        team.apply(sft("after"))
        for run, phase in (("before", "Running"), ("after", "Pending")):
            stalled = team.wait_for_condition(run, "Stalled", "CRDOutdated")
            assert "older than this operator: it lacks status.attempt.notBefore; install" in stalled["message"]
            assert "kubectl apply --server-side -f crds/" in stalled["message"]
            assert team.status(run)["phase"] == phase
        team.end("before-lasft-a1-1", 1)
    finally:
        alone.apply_crds(ROOT / "crds")
    team.wait_for_phase("after", "Running")
    until(lambda: team.status("before")["attempt"]["number"] == 2, "the failure to be seen to", every=0.2)
    assert "Traceback" not in operator.log


def test_two_namespaced_operators_in_one_cluster_each_do_their_own(
    alone: Cluster, teams: tuple[Team, Team], operators: Callable[..., OperatorProcess]
) -> None:
    working = []
    for team in teams:
        account = _install(alone, team.namespace, _scoped(team))
        working.append(operators(account, namespaces=team.namespace, may_read_nodes="false").start())
    audit = alone.audit.mark()
    for team in teams:
        team.apply(sft("tiny"))
    for team in teams:
        team.wait_for_phase("tiny", "Running")
    first, second = teams
    first.end("tiny-lasft-a1-1", 1, step=5)
    until(lambda: first.status("tiny")["attempt"]["number"] == 2, "attempt 2 of the first", every=0.2)
    second.end_all("tiny", 1)
    second.wait_for_phase("tiny", "Complete")
    for team, operator, other in zip(teams, working, reversed(teams), strict=True):
        assert operator.running
        assert f"{team.namespace}/tiny" in operator.log
        assert f"{other.namespace}/tiny" not in operator.log
        assert _refused(audit, team.namespace) == set()
        asked = {request.namespace for request in audit.requests() if request.user == _account(team.namespace)}
        assert other.namespace not in asked


def _scoped(team: Team) -> dict[str, Any]:
    """Values of a release for one namespace without any right on the cluster."""
    return {"scope": "Namespaced", "watchNamespaces": [team.namespace], "crds": {"enabled": False}}


def _live(team: Team) -> None:
    """A run with everything in it: a failure, a suspend, a queue's label, an end, and release after the end."""
    run = sft("tiny", runPolicy={"queueName": "nobodys", "ttlSecondsAfterFinished": 0})
    team.apply(run)
    team.wait_for_phase("tiny", "Running")
    team.end("tiny-lasft-a1-1", 1, step=5)
    until(lambda: _at(team, 2, "Running"), "attempt 2 to run", every=0.2)
    team.apply(run | {"spec": run["spec"] | {"suspend": True}})
    team.wait_for_phase("tiny", "Suspended")
    team.apply(run | {"spec": run["spec"] | {"suspend": False}})
    until(lambda: _at(team, 3, "Running"), "attempt 3 to run", every=0.2)
    team.end_all("tiny", 3)
    team.wait_for_phase("tiny", "Complete")
    until(lambda: team.status("tiny").get("released"), "what the run leaves to be released", every=0.2)
    assert not team.pods()


def _at(team: Team, attempt: int, phase: str) -> bool:
    status = team.status("tiny")
    return bool(status["attempt"]["number"] == attempt and status["phase"] == phase)


def _install(cluster: Cluster, namespace: str, values: dict[str, Any]) -> Path:
    """Apply the rights of the chart's service account; a kubeconfig of it, all of whose requests are audited."""
    objects = rendered(values, release="igpo-operator", namespace=namespace)
    cluster.apply(*(one for one in objects if one["kind"] in RIGHTS))
    return cluster.user(_account(namespace), ["igpo.dev/audited"])


def _account(namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:igpo-operator"


def _refused(audit: AuditLog, home: str) -> set[tuple[str, str, str]]:
    """What the operator asked for and had no right to."""
    ours = (request for request in audit.requests() if request.user == _account(home))
    return {(request.verb, request.resource, request.namespace) for request in ours if request.code == 403}


def _used(audit: AuditLog, home: str) -> set[tuple[str, str]]:
    return {(request.verb, request.resource) for request in audit.requests() if request.user == _account(home)}
